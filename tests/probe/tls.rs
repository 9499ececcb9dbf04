//! TLS servers and their certificates.

use rcgen::date_time_ymd;

use crate::process::{sigver, start, utf8, write};
use crate::servers::{certificate_for, start_tls};
use crate::{fails, passes, probe};

#[tokio::test]
async fn probe_passes_for_a_tls_server_with_its_ca() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_process, address, cert) = start_tls(folder.path(), certificate_for("127.0.0.1")).await;
    let output = passes(&[&format!("wss://{address}/"), "--ca", utf8(&cert)], &["idle"]).await;
    assert!(output.contains("TLS 1.3"), "{output}");
}

#[tokio::test]
async fn probe_reports_untrusted_certificate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_process, address, _) = start_tls(folder.path(), certificate_for("127.0.0.1")).await;
    fails(&[&format!("wss://{address}/")], "tls", &["--ca FILE", "UnknownIssuer"]).await;
}

#[tokio::test]
async fn probe_reports_a_machine_that_trusts_no_ca() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_process, address, _) = start_tls(folder.path(), certificate_for("127.0.0.1")).await;
    let empty = write(folder.path(), "empty.pem", "");
    let mut command = sigver(&["probe", &format!("wss://{address}/")]);
    command.env("SSL_CERT_FILE", empty).env_remove("SSL_CERT_DIR");
    let output = command.output().await.expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("tls           FAILED   this machine trusts no CA") && text.contains("--ca FILE"), "{text}");
}

#[tokio::test]
async fn probe_reports_expired_certificate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut params = certificate_for("127.0.0.1");
    params.not_after = date_time_ymd(2020, 1, 1);
    let (_process, address, cert) = start_tls(folder.path(), params).await;
    let words = ["the certificate has expired", "Renew it"];
    fails(&[&format!("wss://{address}/"), "--ca", utf8(&cert)], "tls", &words).await;
}

#[tokio::test]
async fn probe_reports_certificate_for_another_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_process, address, cert) = start_tls(folder.path(), certificate_for("example.org")).await;
    let words = ["the certificate is for another name", "only valid for", "example.org"];
    fails(&[&format!("wss://{address}/"), "--ca", utf8(&cert)], "tls", &words).await;
}

#[tokio::test]
async fn probe_reports_wrong_scheme_for_the_port() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_tls, tls, _) = start_tls(folder.path(), certificate_for("127.0.0.1")).await;
    let (_plain, plain) = start(&[]).await;
    fails(&[&format!("ws://{tls}")], "websocket", &["use wss://"]).await;
    fails(&[&format!("wss://{plain}")], "tls", &["se ws://"]).await;
}

#[tokio::test]
async fn missing_ca_file_is_an_error() {
    let (code, output) = probe(&["wss://127.0.0.1/", "--ca", "no such file"]).await;
    assert_eq!(code, 1);
    assert!(output.starts_with("sigver: cannot read --ca no such file"), "{output}");
}
