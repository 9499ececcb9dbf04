//! Flags, environment variables and the file set the same settings.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Output;

use crate::process::{run, sigver, utf8, write};
use crate::{check, print};

/// Returns the names of all methods in these files that set a number or a duration.
fn limits_in(paths: &[&str]) -> Vec<String> {
    let code = paths.iter().map(|path| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read_to_string(path).expect("the source exists")
    });
    let code = code.collect::<String>();
    let methods = code.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
    let limits = methods.filter_map(|method| {
        let (name, parameters) = method.split_once("(mut self, ")?;
        let (_, parameter_type) = parameters.split_once(')')?.0.split_once(": ")?;
        ["usize", "u32", "u64", "Duration"].contains(&parameter_type).then(|| name.to_owned())
    });
    limits.collect()
}

#[tokio::test]
async fn every_limit_of_the_builder_has_a_flag_a_variable_and_a_key() {
    let hub = limits_in(&["src/hub/builder.rs", "src/hub/builder/observability.rs", "src/hub/builder/rates.rs"]);
    let cluster = limits_in(&["src/hub/cluster/config.rs", "src/cluster/redis/builder.rs"]);
    assert!(hub.len() >= 25 && cluster.len() >= 7, "{hub:?} {cluster:?}");
    let help = String::from_utf8(run(&["--help"]).await.stdout).expect("UTF-8");
    let printed = print(&[], &[]).await;
    let (printed_hub, printed_cluster) = printed.split_once("\n[cluster]\n").expect("a table");
    let hub = hub.into_iter().map(|name| (name.clone(), name, printed_hub));
    let cluster = cluster.into_iter().map(|name| (format!("cluster_{name}"), name, printed_cluster));
    for (name, key, printed) in hub.chain(cluster) {
        let flag = format!("--{} <", name.replace('_', "-"));
        let variable = format!("[env: SIGVER_{}=]", name.to_uppercase());
        let (_, after_flag) = help.split_once(&flag).unwrap_or_else(|| panic!("no {flag} in {help}"));
        // The text of a long flag begins on the next line.
        let text = after_flag.split("\n      --").next().unwrap_or_default();
        assert!(text.contains(&variable) && text.contains("[default: "), "{flag}{text}");
        assert!(printed.lines().any(|line| line.starts_with(&format!("{key} = "))), "no {key} in {printed}");
    }
}

#[tokio::test]
async fn flag_takes_precedence_over_variable_over_file_over_default() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "port = 1\nmax_peers = 2\nheartbeat_interval = \"2s\"\nallowed_origins = [\"https://file.example\"]\n\
        cluster.name = \"file\"\n";
    let file = write(folder.path(), "sigver.toml", text);
    let file = utf8(&file);
    let from_file = ["--config", file];
    let flags: Vec<_> = from_file
        .into_iter()
        .chain("-p 3 --heartbeat-interval 4s --allowed-origin https://flag.example --cluster-name flag".split(' '))
        .collect();
    let variables = [
        ("SIGVER_PORT", "5"),
        ("SIGVER_MAX_PEERS", "6"),
        ("SIGVER_HEARTBEAT_INTERVAL", "1s"),
        ("SIGVER_ALLOWED_ORIGINS", "https://one.example,https://two.example"),
        ("SIGVER_CLUSTER_NAME", "variable"),
    ];
    let file_variable = [("SIGVER_CONFIG", file)];
    for (args, variables, expected) in [
        (
            &*flags,
            &variables[..],
            [
                "port = 3",
                "max_peers = 6",
                "heartbeat_interval = \"4s\"",
                "[\"https://flag.example\"]",
                "name = \"flag\"",
            ],
        ),
        (
            &from_file,
            &variables,
            [
                "port = 5",
                "max_peers = 6",
                "heartbeat_interval = \"1s\"",
                "[\"https://one.example\", \"https://two.example\"]",
                "name = \"variable\"",
            ],
        ),
        (
            &from_file,
            &[],
            [
                "port = 1",
                "max_peers = 2",
                "heartbeat_interval = \"2s\"",
                "[\"https://file.example\"]",
                "name = \"file\"",
            ],
        ),
        (
            &[],
            &[],
            [
                "port = 8000",
                "max_peers = 100000",
                "heartbeat_interval = \"5s\"",
                "max_groups = 100000",
                "name = \"sigver\"",
            ],
        ),
        (
            &[],
            &file_variable,
            ["port = 1", "max_peers = 2", "heartbeat_interval = \"2s\"", "drain_timeout = \"5s\"", "name = \"file\""],
        ),
    ] {
        let printed = print(args, variables).await;
        for setting in expected {
            assert!(printed.lines().any(|line| line.ends_with(setting)), "no {setting} in {printed}");
        }
    }
}

#[tokio::test]
async fn printed_settings_are_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret = write(folder.path(), "secret", crate::secrets::SECRET);
    let args: Vec<_> =
        "-h ::1 -p 9 -k a.key -c b.cert -a c.ca --drain-timeout 1m30s --allowed-origin https://a.example \
        --allowed-origin https://*.b.example --allow-missing-origin --trusted-proxy 10.0.0.0/8 \
        --client-ip-header forwarded --ice-server stun:s.example,turn:t.example --turn-secret-file t.txt --turn-ttl 2h \
        --max-handshakes 500 --heartbeat-interval 1500ms --max-message-bytes 1000 \
        --max-total-outbox-bytes 18446744073709551615 --bytes-per-second 3MiB --cluster-url redis://127.0.0.1:7000,b \
        --cluster-user me --cluster-password-file p.txt --cluster-ca-certificates ca.pem --cluster-allow-unencrypted \
        --cluster-beat-interval 1s --cluster-max-outbox-bytes-per-node 8MiB --signed-keys-secret-file"
            .split_whitespace()
            .chain([utf8(&secret)])
            .collect();
    let first = print(&args, &[]).await;
    assert!(!first.contains(crate::secrets::SECRET), "{first}");
    for word in [
        "a.key",
        "b.cert",
        "c.ca",
        "*.b.example",
        "forwarded",
        "ice_servers = [\"stun:s.example\", \"turn:t.example\"]\nturn_secret_files = [\"t.txt\"]\nturn_ttl = \"2h\"\n",
        "max_handshakes = 500\n",
        "max_handshakes_per_ip = 64\n",
        "1s 500ms",
        "= 1000\n",
        "3MiB",
        "[cluster]\nurl = \"redis://127.0.0.1:7000,b\"\nname = \"sigver\"\nuser = \"me\"\npassword_file = \"p.txt\"\n",
        "allow_unencrypted = true\n",
        "beat_interval = \"1s\"\n",
        "max_outbox_bytes_per_node = \"8MiB\"\n",
        utf8(&secret),
    ] {
        assert!(first.contains(word), "no {word} in {first}");
    }
    let file = write(folder.path(), "sigver.toml", &first);
    assert_eq!(print(&["--config", utf8(&file)], &[]).await, first);
    assert!(check(&["--config", utf8(&file)], &[]).await.expect_err("the files do not exist").contains("t.txt"));
}

#[tokio::test]
async fn path_that_is_not_utf_8_cannot_be_printed() {
    let mut command = sigver(&["--print-config", "--key"]);
    let command = command.arg(OsStr::from_bytes(b"not UTF-8: \xff"));
    let Output { status, stderr, .. } = command.output().await.expect("it starts");
    let error = String::from_utf8(stderr).expect("UTF-8");
    assert_eq!(status.code(), Some(1), "{error}");
    assert!(error.starts_with("sigver: cannot print the settings: "), "{error}");
}

#[tokio::test]
async fn probe_ignores_settings_of_the_server() {
    let mut probe = sigver(&["probe", "ws://no.such.host.invalid/"]);
    let probe = probe.env("SIGVER_MAX_PEERS", "0").env("SIGVER_CONFIG", "/nowhere").env("SIGVER_DRAIN_TIMEOUT", "1s");
    let Output { status, stdout, .. } = probe.output().await.expect("it starts");
    let output = String::from_utf8(stdout).expect("UTF-8");
    assert!(status.code() == Some(1) && output.contains("FAILED: 1 of 2 checks"), "{output}");
}
