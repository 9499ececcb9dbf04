//! The guide's table of limits is complete and matches the defaults of the hub.

use sigver::{Cause, SignalingHub};

const LIMITS: &str = include_str!("../src/guide/limits.md");

/// Returns the value of a limit in the form that the table uses.
fn table_cell(name: &str, value: &str) -> String {
    let Ok(number) = value.parse::<u64>() else {
        // `Duration::ZERO` is printed in nanoseconds.
        return value.strip_suffix("ns").or(value.strip_suffix('s')).expect("a time in seconds").to_owned() + " s";
    };
    for (unit, bytes) in [("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if name.contains("bytes") && number % bytes == 0 {
            return format!("{} {unit}", number / bytes);
        }
    }
    match number {
        10_000.. => format!("{} {:03}", number / 1000, number % 1000),
        _ => number.to_string(),
    }
}

#[test]
fn limits_table_lists_every_setting_with_its_default() {
    let hub = format!("{:?}", SignalingHub::new());
    let (_, config) = hub.split_once("Config { ").expect("the hub's Debug output contains its settings");
    let settings = config.split(" }").next().expect("split returns at least one part").split(", ");
    let mut count = 0;
    for setting in settings {
        let (name, value) = setting.split_once(": ").expect("a name and a value");
        let row = format!("| `{name}` | {} |", table_cell(name, value));
        assert!(LIMITS.contains(&row), "src/guide/limits.md has no row {row:?}");
        count += 1;
    }
    assert!(count >= 20, "the hub's Debug output has {count} settings; must be at least 20");
}

#[test]
fn every_limit_with_a_close_code_is_a_cause() {
    let causes: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    let mut count = 0;
    for row in LIMITS.lines().filter(|row| row.starts_with("| `") && row.ends_with(" |")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        // The cause of `admission_timeout` is `admission`.
        if cells.len() == 6 && cells[4].parse::<u16>().is_ok() && name != "admission_timeout" {
            assert!(causes.contains(&name), "{name} is not the name of a cause");
            count += 1;
        }
    }
    assert!(count >= 10, "src/guide/limits.md has {count} rows with a close code; must be at least 10");
}
