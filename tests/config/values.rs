//! `--check-config` reports values outside of their range and settings that require others.

use crate::common::open;
use crate::process::{start, utf8, write};
use crate::{check, rejects};

#[tokio::test]
async fn check_reports_the_first_invalid_setting() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = write(folder.path(), "key.pem", &pair.signing_key.serialize_pem());
    let cert = write(folder.path(), "cert.pem", &pair.cert.pem());
    let missing = folder.path().join("missing");
    let [key, cert, missing] = [&key, &cert, &missing].map(|path| utf8(path));

    assert_eq!(check(&[], &[]).await, Ok(()));
    assert_eq!(check(&["-k", key, "-c", cert], &[]).await, Ok(()));
    rejects(&["--config", missing], &["cannot read --config", missing]).await;
    rejects(&["-k", key], &["key is set; requires cert"]).await;
    rejects(&["-k", missing, "-c", cert], &["cannot read --key", missing]).await;
    rejects(&["-k", cert, "-c", cert], &["cannot read --key", cert]).await;
    rejects(&["--max-peers", "0"], &["max_peers is 0; must be at least 1"]).await;
    rejects(&["--heartbeat-interval", "9s"], &["heartbeat_interval is 9s; must be greater than 0 and at most 5s"])
        .await;
    rejects(&["--max-handshakes", "0"], &["max_handshakes is 0; must be at least 1"]).await;
    rejects(&["--max-handshakes-per-ip", "0"], &["max_handshakes_per_ip is 0; must be at least 1"]).await;
    rejects(&["--drain-timeout", "2days"], &["drain_timeout is 2days; must be at most 1day"]).await;
    rejects(&["--allowed-origin", "app.example"], &["allowed_origins is \"app.example\"", "https://app.example"]).await;
    rejects(&["--allow-missing-origin"], &["allow_missing_origin is true; requires allowed_origins"]).await;
    rejects(&["--trusted-proxy", "10.0.0.0/8"], &["requires client_ip_header", "x-forwarded-for or forwarded"]).await;
    rejects(&["--client-ip-header", "forwarded"], &["client_ip_header is set; requires trusted_proxies"]).await;
    rejects(&["--trusted-proxy", "ten", "--client-ip-header", "forwarded"], &["trusted_proxies is \"ten\""]).await;
}

#[tokio::test]
async fn empty_list_of_origins_without_allow_missing_origin_is_an_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let empty = write(folder.path(), "empty.toml", "allowed_origins = []");
    rejects(&["--config", utf8(&empty)], &["allowed_origins is empty"]).await;
    let native = write(folder.path(), "native.toml", "allowed_origins = []\nallow_missing_origin = true");
    assert_eq!(check(&["--config", utf8(&native)], &[]).await, Ok(()));
    let explicit_default = write(folder.path(), "default.toml", "allow_missing_origin = false");
    assert_eq!(check(&["--config", utf8(&explicit_default)], &[]).await, Ok(()));
}

#[tokio::test]
async fn limits_from_flags_and_from_the_file_apply() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(folder.path(), "sigver.toml", "max_peers = 1\n");
    for args in [["--max-peers", "1"], ["--config", utf8(&file)]] {
        let (_process, address) = start(&args).await;
        let mut first = open(&address, "/K").await;
        assert!(first.connect(1, &[]).await);
        assert_eq!(open(&address, "/K").await.recv_close().await.code, 1013);
    }
}
