//! What the operator of the stand-alone server can set, and where.

#![cfg(all(feature = "cli", unix))]

mod common;
#[path = "common/process.rs"]
mod process;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};

use common::open;
use process::{address, run, sigver, start, text, write};
use sigver::memory::TestClient;
use sigver::protocol::GroupKey;
use sigver::{SignedKeys, Transport};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

const ANYWHERE: [&str; 4] = ["-h", "127.0.0.1", "-p", "0"];
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// The names of all methods of `HubBuilder` that take a number or a time.
fn limits() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/hub/builder.rs");
    let code = std::fs::read_to_string(path).expect("the source is there");
    let methods = code.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
    let limits = methods.filter_map(|method| {
        let (name, parameters) = method.split_once("(mut self, ")?;
        let (_, kind) = parameters.split_once(')')?.0.split_once(": ")?;
        ["usize", "u32", "u64", "Duration"].contains(&kind).then(|| name.to_owned())
    });
    limits.collect()
}

/// What `--print-config` says.
async fn printed(args: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = sigver(args);
    let output = command.arg("--print-config").envs(variables.iter().copied()).output().await.expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What `--check-config` says: the error, if there is one.
async fn checked(args: &[&str], variables: &[(&str, &str)]) -> Result<(), String> {
    let mut command = sigver(args);
    let output = command.arg("--check-config").envs(variables.iter().copied()).output().await.expect("it starts");
    let Output { status, stdout, stderr } = output;
    let error = String::from_utf8(stderr).expect("text");
    match status.code() {
        Some(0) => {
            assert_eq!((&*stdout, &*error), (&b"The configuration is sound\n"[..], ""));
            Ok(())
        }
        Some(1) => {
            assert!(stdout.is_empty() && error.starts_with("sigver: "), "{error}");
            Err(error)
        }
        _ => panic!("{error}"),
    }
}

/// The server does not take a file of this text, and says all of these words.
async fn refuses_file(content: &str, words: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "sigver.toml", content);
    let error = checked(&["--config", text(&file)], &[]).await.expect_err(content);
    for word in words.iter().chain([&"sigver.toml"]) {
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    }
}

/// The server does not take these options, and says all of these words.
async fn refuses(args: &[&str], words: &[&str]) {
    let error = checked(args, &[]).await.expect_err("it is wrong");
    assert_eq!(error.lines().count(), 1, "{error}");
    for word in words {
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    }
}

/// Opens a socket with a header, or says the status that the handshake gets instead.
async fn open_with(
    address: &str,
    name: &'static str,
    value: &str,
) -> Result<TestClient<impl Transport + Unpin + use<>>, u16> {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let mut request = "ws://localhost/K".into_client_request().expect("a URL");
    request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header"));
    match tokio_tungstenite::client_async(request, socket).await {
        Ok((stream, _)) => Ok(TestClient::new(sigver::hyper::transport(stream))),
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn every_limit_of_the_builder_has_a_flag_a_variable_and_a_key_of_the_file() {
    let limits = limits();
    assert!(limits.len() >= 21, "{limits:?}");
    let help = String::from_utf8(run(&["--help"]).await.stdout).expect("text");
    let printed = printed(&[], &[]).await;
    for name in limits {
        let flag = format!("--{} <", name.replace('_', "-"));
        let variable = format!("[env: SIGVER_{}=]", name.to_uppercase());
        let line = help.lines().find(|line| line.contains(&flag)).unwrap_or_else(|| panic!("no {flag} in {help}"));
        assert!(line.contains(&variable) && line.contains("[default: "), "{line}");
        assert!(printed.lines().any(|line| line.starts_with(&format!("{name} = "))), "no {name} in {printed}");
    }
}

#[tokio::test]
async fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let content = "port = 1\nmax_peers = 2\nheartbeat = \"2s\"\norigins = [\"https://file.example\"]\n";
    let file = write(folder.path(), "sigver.toml", content);
    let from_file = ["--config", text(&file)];
    let flags = ["--config", text(&file), "-p", "3", "--heartbeat", "4s", "--origin", "https://flag.example"];
    let variables = [
        ("SIGVER_PORT", "5"),
        ("SIGVER_MAX_PEERS", "6"),
        ("SIGVER_HEARTBEAT", "1s"),
        ("SIGVER_ORIGINS", "https://one.example,https://two.example"),
    ];
    for (args, variables, rule) in [
        (&flags[..], &variables[..], ["port = 3", "max_peers = 6", "heartbeat = \"4s\"", "[\"https://flag.example\"]"]),
        (
            &from_file,
            &variables,
            ["port = 5", "max_peers = 6", "heartbeat = \"1s\"", "[\"https://one.example\", \"https://two.example\"]"],
        ),
        (&from_file, &[], ["port = 1", "max_peers = 2", "heartbeat = \"2s\"", "[\"https://file.example\"]"]),
        (&[], &[], ["port = 8000", "max_peers = 100000", "heartbeat = \"5s\"", "max_groups = 100000"]),
        (&[], &[("SIGVER_CONFIG", text(&file))], ["port = 1", "max_peers = 2", "heartbeat = \"2s\"", "drain = \"5s\""]),
    ] {
        let printed = printed(args, variables).await;
        for setting in rule {
            assert!(printed.lines().any(|line| line.ends_with(setting)), "no {setting} in {printed}");
        }
    }
}

#[tokio::test]
async fn what_is_printed_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = write(folder.path(), "secret", SECRET);
    let args: Vec<_> = "-h ::1 -p 9 -k a.key -c b.cert -a c.ca --drain 1m30s --origin https://a.example --origin \
        https://*.b.example --allow-missing-origin --trusted-proxy 10.0.0.0/8 --client-ip-header forwarded --heartbeat 1500ms \
        --max-message-bytes 1000 --max-outbox-bytes 18446744073709551615 --bytes-per-second 3MiB \
        --signed-keys-secret-file"
        .split_whitespace()
        .chain([text(&secret)])
        .collect();
    let first = printed(&args, &[]).await;
    assert!(!first.contains(SECRET), "{first}");
    for word in ["a.key", "b.cert", "c.ca", "*.b.example", "forwarded", "1s 500ms", "= 1000\n", "3MiB", text(&secret)] {
        assert!(first.contains(word), "no {word} in {first}");
    }
    let file = write(folder.path(), "sigver.toml", &first);
    assert_eq!(printed(&["--config", text(&file)], &[]).await, first);
    assert!(checked(&["--config", text(&file)], &[]).await.expect_err("there are no files").contains("a.key"));
}

#[tokio::test]
async fn what_cannot_be_printed_is_an_error() {
    let mut command = sigver(&["--print-config", "--key"]);
    let command = command.arg(OsStr::from_bytes(b"no UTF-8: \xff"));
    let Output { status, stderr, .. } = command.output().await.expect("it starts");
    let error = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(1), "{error}");
    assert!(error.starts_with("sigver: the settings cannot be printed: "), "{error}");
}

#[tokio::test]
async fn an_unknown_name_in_the_file_is_an_error_that_says_the_nearest() {
    refuses_file("port = 0\nmax_peer = 3\n", &["line 2, column 1", "there is no `max_peer`; `max_peers` would be one"])
        .await;
    refuses_file("max-groups = 3", &["line 1", "`max_groups` would be one"]).await;
    refuses_file("colour = 3", &["there is no `colour`, but host, port,", "max_peers"]).await;
    refuses_file("[limits]\nmax_peers = 3", &["there is no `limits`"]).await;
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_an_error_that_says_where_and_what_would_be_right() {
    refuses_file("port = 0\nmax_peers = \"3\"\n", &["line 2, column 13", "max_peers", "expected usize"]).await;
    refuses_file("max_groups = -1\n", &["line 1, column 14", "max_groups", "`-1`"]).await;
    refuses_file("heartbeat = 5\n", &["line 1, column 13", "a time with its unit, such as \"5s\""]).await;
    refuses_file("drain = \"5\"\n", &["line 1, column 9", "drain", "time unit needed", "1m 30s"]).await;
    refuses_file("max_outbox_bytes = \"1MB\"\n", &["line 1, column 16", "max_outbox_bytes", "65536, 64KiB or 1MiB"])
        .await;
    refuses_file("bytes_per_second = 4294967296\n", &["bytes_per_second", "`4294967296`"]).await;
    refuses_file("client_ip_header = \"via\"\n", &["client_ip_header", "`x-forwarded-for` or `forwarded`"]).await;
    refuses_file(
        "origins = \"https://app.example\"\n",
        &["line 1, column 11", "allowed_origins", "expected a sequence"],
    )
    .await;
    refuses_file("port = \n", &["line 1"]).await;

    for (args, words) in [
        (["--max-peers", "many"], ["--max-peers", "many"]),
        (["--heartbeat", "5"], ["--heartbeat", "time unit needed"]),
        (["--max-outbox-bytes", "1MB"], ["--max-outbox-bytes", "64KiB"]),
        (["--client-ip-header", "via"], ["--client-ip-header", "x-forwarded-for"]),
    ] {
        let Output { status, stderr, .. } = run(&args).await;
        let error = String::from_utf8(stderr).expect("text");
        assert_eq!(status.code(), Some(2), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[tokio::test]
async fn a_check_says_the_first_thing_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    let key = write(folder.path(), "key.pem", &pair.signing_key.serialize_pem());
    let cert = write(folder.path(), "cert.pem", &pair.cert.pem());
    let missing = folder.path().join("missing");
    let [key, cert, missing] = [&key, &cert, &missing].map(|path| text(path));

    assert_eq!(checked(&[], &[]).await, Ok(()));
    assert_eq!(checked(&["-k", key, "-c", cert], &[]).await, Ok(()));
    refuses(&["--config", missing], &["cannot read --config", missing]).await;
    refuses(&["-k", key], &["--key is given without --cert"]).await;
    refuses(&["-k", missing, "-c", cert], &["cannot read --key", missing]).await;
    refuses(&["-k", cert, "-c", cert], &["cannot read --key", cert]).await;
    refuses(&["--max-peers", "0"], &["max_peers is 0; it has to be at least 1"]).await;
    refuses(&["--heartbeat", "9s"], &["heartbeat_interval is 9s; it has to be more than 0 and at most 5s"]).await;
    refuses(&["--drain", "2days"], &["drain is 2days; it has to be at most a day"]).await;
    refuses(&["--origin", "app.example"], &["origins is \"app.example\"", "https://app.example"]).await;
    refuses(&["--allow-missing-origin"], &["--allow-missing-origin is given without --origin"]).await;
    refuses(&["--trusted-proxy", "10.0.0.0/8"], &["--client-ip-header", "x-forwarded-for or forwarded"]).await;
    refuses(&["--client-ip-header", "forwarded"], &["--client-ip-header is given without --trusted-proxy"]).await;
    refuses(&["--trusted-proxy", "ten", "--client-ip-header", "forwarded"], &["trusted_proxies is \"ten\""]).await;

    let nobody = write(folder.path(), "nobody.toml", "origins = []");
    refuses(&["--config", text(&nobody)], &["origins is empty"]).await;
    let native = write(folder.path(), "native.toml", "origins = []\nwithout_origin = true");
    assert_eq!(checked(&["--config", text(&native)], &[]).await, Ok(()));
}

#[tokio::test]
async fn a_limit_that_is_set_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "sigver.toml", "host = \"127.0.0.1\"\nport = 0\nmax_peers = 1\n");
    let flag: Vec<_> = ANYWHERE.into_iter().chain(["--max-peers", "1"]).collect();
    for args in [&flag[..], &["--config", text(&file)]] {
        let (_process, line) = start(&mut sigver(args)).await;
        let mut first = open(address(&line), "/K").await;
        assert!(first.connect(1, &[]).await);
        assert_eq!(open(address(&line), "/K").await.recv_close().await, 1013);
    }
}

#[tokio::test]
async fn pages_of_other_origins_get_403() {
    let args: Vec<_> = ANYWHERE.into_iter().chain(["--origin", "https://app.example"]).collect();
    let (_process, line) = start(&mut sigver(&args)).await;
    let address = address(&line);
    assert!(open_with(address, "origin", "https://app.example").await.is_ok());
    assert_eq!(open_with(address, "origin", "https://evil.example").await.err(), Some(403));
    assert_eq!(open_with(address, "x-no-origin", "").await.err(), Some(403));

    let args: Vec<_> = args.into_iter().chain(["--allow-missing-origin"]).collect();
    let (_process, line) = start(&mut sigver(&args)).await;
    assert!(open_with(process::address(&line), "x-no-origin", "").await.is_ok());
}

#[tokio::test]
async fn peers_behind_a_trusted_proxy_count_for_their_own_addresses() {
    let one_each = ["--max-peers-per-ip", "1", "--trusted-proxy", "127.0.0.1", "--client-ip-header", "x-forwarded-for"];
    let args: Vec<_> = ANYWHERE.into_iter().chain(one_each).collect();
    let (_process, line) = start(&mut sigver(&args)).await;
    let mut here = open(address(&line), "/K").await;
    assert!(here.connect(1, &[]).await, "a peer from the proxy itself");
    assert_eq!(open(address(&line), "/K").await.recv_close().await, 1013);
    let mut elsewhere = open_with(address(&line), "x-forwarded-for", "192.0.2.1").await.expect("it counts for another");
    assert!(!elsewhere.connect(2, &[]).await, "it is bound to the first");
    let mut same = open_with(address(&line), "x-forwarded-for", "192.0.2.1").await.expect("a handshake");
    assert_eq!(same.recv_close().await, 1013);
}

#[tokio::test]
async fn signed_keys_are_taken_by_one_secret_or_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let ticket = |secret: &str| {
        let keys = SignedKeys::new(secret).expect("long enough");
        let expires = SystemTime::now() + Duration::from_secs(3600);
        format!("/{}", keys.sign(&GroupKey::new("room").expect("a key"), expires).expect("short enough"))
    };
    let first = write(folder.path(), "first", &format!("{SECRET}\n"));
    let second = write(folder.path(), "second", OTHER);
    let content = format!("signed_keys_secret_files = [{:?}]", text(&second));
    let file = write(folder.path(), "sigver.toml", &content);
    let one = ["--signed-keys-secret-file", text(&first)];
    let two = ["--signed-keys-secret-file", text(&first), "--signed-keys-secret-file", text(&second)];
    let config = ["--config", text(&file)];
    let secret = ("SIGVER_SIGNED_KEYS_SECRET", SECRET);
    let also = ("SIGVER_SIGNED_KEYS_ALSO_SECRET", OTHER);
    for (args, variables, takes) in [
        (&one[..], &[][..], [true, false]),
        (&two, &[], [true, true]),
        (&config, &[], [false, true]),
        (&[], &[secret], [true, false]),
        (&[], &[secret, also], [true, true]),
        // The environment goes before the file, and a flag before both.
        (&config, &[secret], [true, false]),
        (&one, &[(secret.0, OTHER)], [true, false]),
    ] {
        let mut command = sigver(&ANYWHERE);
        let (_process, line) = start(command.args(args).envs(variables.iter().copied())).await;
        assert_eq!(open(address(&line), "/room").await.recv_close().await, 1008);
        for (secret, takes) in [SECRET, OTHER].into_iter().zip(takes) {
            let mut peer = open(address(&line), &ticket(secret)).await;
            match takes {
                true => _ = peer.connect(1, &[]).await,
                false => assert_eq!(peer.recv_close().await, 1008, "{args:?} {variables:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_none_is_refused_and_never_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let short = write(folder.path(), "short", "tooshort");
    let none = write(folder.path(), "none.toml", "signed_keys_secret_files = []");
    let missing = folder.path().join("missing");
    let flag = "--signed-keys-secret-file";
    refuses(&[flag, text(&short)], &["short", "8 bytes long", "at least 32 bytes"]).await;
    refuses(&[flag, text(&missing)], &["cannot read --signed-keys-secret-file", text(&missing)]).await;
    refuses(&[flag, "a", flag, "b", flag, "c"], &["signed_keys_secret_files has 3 files", "one, or two"]).await;
    refuses(&["--config", text(&none)], &["signed_keys_secret_files has 0 files"]).await;

    let error = checked(&[], &[("SIGVER_SIGNED_KEYS_SECRET", "tooshort")]).await.expect_err("8 bytes");
    assert!(error.contains("SIGVER_SIGNED_KEYS_SECRET") && !error.contains("tooshort"), "{error}");
    let error = checked(&[], &[("SIGVER_SIGNED_KEYS_ALSO_SECRET", SECRET)]).await.expect_err("half");
    assert!(error.contains("SIGVER_SIGNED_KEYS_ALSO_SECRET is given without SIGVER_SIGNED_KEYS_SECRET"), "{error}");

    let printed = printed(&[], &[("SIGVER_SIGNED_KEYS_SECRET", SECRET)]).await;
    assert!(printed.starts_with("# The secrets") && !printed.contains(SECRET), "{printed}");
}

#[tokio::test]
async fn a_probe_has_nothing_to_do_with_the_settings_of_a_server() {
    let mut probe = sigver(&["probe", "ws://no.such.host.invalid/"]);
    let probe = probe.env("SIGVER_MAX_PEERS", "0").env("SIGVER_CONFIG", "/nowhere").env("SIGVER_DRAIN", "1s");
    let Output { status, stdout, .. } = probe.output().await.expect("it starts");
    let said = String::from_utf8(stdout).expect("text");
    assert!(status.code() == Some(1) && said.contains("NOT well: 1 of 2 checks failed"), "{said}");
}
