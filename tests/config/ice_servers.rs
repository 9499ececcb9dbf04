//! ICE servers, and the secrets of TURN servers.

use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::process::{FREE_PORT, sigver, spawn, start, utf8, write};
use crate::{check, print, rejects};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";
const PRIMARY: &str = "SIGVER_TURN_SECRET";
const SECONDARY: &str = "SIGVER_TURN_SECONDARY_SECRET";
const FLAG: &str = "--turn-secret-file";

/// Requests this path with `Accept: application/json`, and returns the body of the response.
async fn get(address: &str, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: application/json\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("the server reads");
    let mut response = String::new();
    socket.read_to_string(&mut response).await.expect("the response is UTF-8");
    response.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

/// Returns the URLs of each server, and which secret has signed its credential.
async fn servers(address: &str) -> Vec<(Value, &'static str)> {
    let answer: Value = serde_json::from_str(&get(address, "/K").await).expect("JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let signed = |server: &Value| {
        let Some(username) = text(&server["username"]) else { return "no secret" };
        let credential = BASE64.decode(text(&server["credential"]).expect("text").as_bytes()).expect("base64");
        let signs = |secret: &&str| {
            let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length");
            mac.chain_update(&username).verify_slice(&credential).is_ok()
        };
        [SECRET, OTHER].into_iter().find(signs).expect("one of the secrets")
    };
    let servers = answer["iceServers"].as_array().expect("an array");
    servers.iter().map(|server| (server["urls"].clone(), signed(server))).collect()
}

#[tokio::test]
async fn credentials_are_signed_with_the_configured_secrets() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = write(folder.path(), "first", &format!("{SECRET}\n"));
    let second = write(folder.path(), "second", OTHER);
    let [first, second] = [&first, &second].map(|path| utf8(path));
    let text = format!("ice_servers = [\"turn:a\", \"turns:b\"]\nturn_secret_files = [{second:?}]");
    let file = write(folder.path(), "sigver.toml", &text);
    let urls = ["--ice-server", "turn:a", "--ice-server", "turns:b"];
    let one = [&urls[..], &[FLAG, first]].concat();
    let two = [&urls[..], &[FLAG, first, FLAG, second]].concat();
    let config = ["--config", utf8(&file)];
    let variable = ("SIGVER_ICE_SERVERS", "turn:a,turns:b");
    let both = json!(["turn:a", "turns:b"]);
    for (args, variables, expected) in [
        (&*one, &[][..], vec![(both.clone(), SECRET)]),
        // Over UDP, a browser uses only the first credential for a server.
        (&two, &[], vec![(both.clone(), SECRET), (json!(["turns:b"]), OTHER)]),
        (&config, &[], vec![(both.clone(), OTHER)]),
        (&[], &[variable, (PRIMARY, SECRET)], vec![(both.clone(), SECRET)]),
        (
            &[],
            &[variable, (PRIMARY, SECRET), (SECONDARY, OTHER)],
            vec![(both.clone(), SECRET), (json!(["turns:b"]), OTHER)],
        ),
        // The environment takes precedence over the file, and a flag over both.
        (&config, &[(PRIMARY, SECRET)], vec![(both.clone(), SECRET)]),
        (&one, &[(PRIMARY, OTHER)], vec![(both.clone(), SECRET)]),
    ] {
        let (_process, address) = spawn(sigver(&FREE_PORT).args(args).envs(variables.iter().copied())).await;
        assert_eq!(servers(&address).await, expected, "{args:?} {variables:?}");
    }
}

#[tokio::test]
async fn stun_servers_need_no_secret_and_health_checks_keep_their_paths() {
    let args = ["--ice-server", "stun:a.example:3478", "--ice-server", "stuns:b.example", "--turn-ttl", "5m"];
    let (_process, address) = start(&args).await;
    assert_eq!(servers(&address).await, [(json!(["stun:a.example:3478", "stuns:b.example"]), "no secret")]);
    assert!(get(&address, "/?key=healthz").await.ends_with("\"ttl\":300}"));
    for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        assert_eq!(get(&address, path).await, body);
    }
}

#[tokio::test]
async fn invalid_ice_servers_are_rejected_and_secrets_are_never_printed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let short = write(folder.path(), "short", "tooshort");
    let secret = write(folder.path(), "secret", SECRET);
    let empty = write(folder.path(), "empty.toml", "ice_servers = []");
    let missing = folder.path().join("missing");
    let [short, secret] = [&short, &secret].map(|path| utf8(path));
    rejects(&["--ice-server", "turn:a"], &["turn: or turns: URL is set; requires turn_secret_files"]).await;
    rejects(&[FLAG, secret], &["the secret of TURN servers is set; requires ice_servers"]).await;
    rejects(&["--ice-server", "stun:a", FLAG, secret], &["requires ice_servers with a turn: or turns: URL"]).await;
    rejects(&["--ice-server", "turn:a", FLAG, short], &["short: turn_secret is 8 bytes long; must be at least"]).await;
    rejects(&["--ice-server", "turn:a", FLAG, utf8(&missing)], &["cannot read --turn-secret-file"]).await;
    rejects(&["--ice-server", "turn:a", FLAG, secret, FLAG, secret], &["requires ice_servers with a turns: URL"]).await;
    rejects(&[FLAG, "a", FLAG, "b", FLAG, "c"], &["turn_secret_files has 3 files; must have 1, or 2"]).await;
    rejects(&["--ice-server", "https://a"], &["ice_servers is \"https://a\"; must be a stun:, stuns:, turn:"]).await;
    rejects(&["--ice-server", "turn:a?x", FLAG, secret], &["ice_servers is \"turn:a?x\"; must have no query"]).await;
    rejects(&["--ice-server", "stun:a", "--turn-ttl", "59s"], &["turn_ttl is 59s; must be 60s to 604800s"]).await;
    rejects(&["--config", utf8(&empty)], &["ice_servers is empty; must have at least one URL"]).await;

    let url = ("SIGVER_ICE_SERVERS", "turn:a");
    let error = check(&[], &[url, (PRIMARY, "tooshort")]).await.expect_err("8 bytes");
    assert!(error.contains(PRIMARY) && !error.contains("tooshort"), "{error}");
    let error = check(&[], &[url, (SECONDARY, SECRET)]).await.expect_err("no primary secret");
    assert!(error.contains(&format!("{SECONDARY} is set; requires {PRIMARY}")), "{error}");
    assert_eq!(check(&[], &[url, (PRIMARY, SECRET)]).await, Ok(()));

    let printed = print(&[], &[url, (PRIMARY, SECRET)]).await;
    assert!(printed.starts_with("# The secrets of TURN servers are") && !printed.contains(SECRET), "{printed}");
    assert!(printed.contains("ice_servers = [\"turn:a\"]\n") && printed.contains("turn_ttl = \"1h\"\n"), "{printed}");
}

#[tokio::test]
async fn changed_secret_files_are_reloaded_and_an_invalid_one_keeps_the_previous_secret() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(folder.path(), "secret", SECRET);
    // Atomically, because the server may read the file at any moment.
    let replace = |text| std::fs::rename(write(folder.path(), "new", text), &file).expect("the file exists");
    let args = ["--ice-server", "turn:a", "--ice-server", "stun:b", FLAG, utf8(&file)];
    let (mut process, address) = start(&args).await;
    let mut log = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
    let mut line_with = async |text: &'static str| {
        let found = async {
            loop {
                let line = log.next_line().await.expect("the log is readable").expect("the server runs");
                if line.contains(text) {
                    return line;
                }
            }
        };
        timeout(Duration::from_secs(60), found).await.expect(text)
    };
    let signed_by = |secret| [(json!(["stun:b"]), "no secret"), (json!(["turn:a"]), secret)];

    let pid = process.id().expect("the process runs").to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().await.expect("kill starts").success());
    line_with("TURN secrets reloaded").await;
    assert_eq!(servers(&address).await, signed_by(SECRET), "the file has not changed");

    replace(OTHER);
    line_with("TURN secrets reloaded").await;
    assert_eq!(servers(&address).await, signed_by(OTHER));

    replace("tooshort");
    let line = line_with("TURN secret reload failed, keeping the previous ones").await;
    assert!(line.contains("WARN") && line.contains("8 bytes long"), "{line}");
    assert_eq!(servers(&address).await, signed_by(OTHER));
    std::fs::remove_file(&file).expect("the file exists");
    let line = line_with("TURN secret reload failed").await;
    assert!(line.contains("cannot read --turn-secret-file"), "{line}");

    replace(SECRET);
    line_with("TURN secrets reloaded").await;
    assert_eq!(servers(&address).await, signed_by(SECRET));
}
