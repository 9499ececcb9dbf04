//! The guide's table of limits is whole and right.

use sigver::SignalingHub;

const GUIDE: &str = include_str!("../src/guide.md");

/// A limit's value as the table writes it.
fn written(name: &str, value: &str) -> String {
    let Ok(number) = value.parse::<u64>() else {
        // No time at all is shown in nanoseconds.
        return value.strip_suffix("ns").or(value.strip_suffix('s')).expect("seconds").to_owned() + " s";
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
fn every_limit_is_in_the_guide_with_its_default() {
    let hub = format!("{:?}", SignalingHub::new());
    let (_, limits) = hub.split_once("Limits { ").expect("a hub shows its limits");
    let limits = limits.split(" }").next().expect("they end").split(", ");
    let mut count = 0;
    for limit in limits {
        let (name, value) = limit.split_once(": ").expect("a name and a value");
        let row = format!("| `{name}` | {} |", written(name, value));
        assert!(GUIDE.contains(&row), "the guide has no row {row:?}");
        count += 1;
    }
    assert!(count >= 20, "{count} limits");
}

#[test]
fn every_limit_that_puts_out_has_a_guard_of_its_name() {
    let names: Vec<_> = sigver::Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    for row in GUIDE.lines().filter(|row| row.starts_with("| `") && row.ends_with(" |")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        if cells.len() == 6 && cells[4].parse::<u16>().is_ok() && name != "admission_timeout" {
            assert!(names.contains(&name), "{name} has no cause");
        }
    }
}
