//! TLS handshakes that fail.

use rcgen::{CertificateParams, DnType, date_time_ymd};
use sigver::SignalingHub;
use sigver::client::{Connector, JoinError, JoinStep, Retry};
use sigver::protocol::MemberId;
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::time::Instant;

use crate::servers::{certificate, connector, listen, serve, tcp, tls};

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a valid name")
}

/// Joins a server with this certificate, which the connector trusts. Returns the error.
async fn error(params: CertificateParams) -> JoinError {
    let (acceptor, pem) = certificate(params);
    let address = listen(move |socket| {
        let acceptor = acceptor.clone();
        async move { assert!(acceptor.accept(socket).await.is_err(), "the client rejects the certificate") }
    })
    .await;
    let connector = connector(&format!("wss://{address}")).ca(pem).expect("a valid certificate");
    connector.join("K").await.expect_err("an invalid certificate")
}

fn cause(error: &JoinError) -> String {
    assert_eq!(error.to_string(), "TLS handshake with 127.0.0.1 failed");
    std::error::Error::source(error).expect("a cause").to_string()
}

#[tokio::test]
async fn invalid_certificate_is_reported_and_not_retried() {
    let mut expired = params("127.0.0.1");
    expired.not_after = date_time_ymd(2020, 1, 1);
    for (params, expected) in [(expired, "certificate expired"), (params("example.org"), "not valid for name")] {
        let error = error(params).await;
        assert!(cause(&error).contains(expected), "{}", cause(&error));
        assert_eq!(error.retry(), Retry::Never);
    }
    let server = tls(&SignalingHub::new()).await;
    let mut other = params("127.0.0.1");
    other.distinguished_name.push(DnType::CommonName, "another CA");
    let (_, other) = certificate(other);
    let error = connector(&server.url).ca(other).expect("valid").join("K").await.expect_err("an unknown issuer");
    assert!(cause(&error).contains("UnknownIssuer"), "{}", cause(&error));
    assert_eq!(error.retry(), Retry::Never);
}

/// A connector that does not depend on the certificates of this machine.
fn trusting(url: &str) -> Connector {
    connector(url).ca(certificate(params("127.0.0.1")).1).expect("a valid certificate")
}

#[tokio::test]
async fn server_without_tls_is_reported() {
    let url = tcp(&SignalingHub::new()).await.url.replace("ws://", "wss://");
    let error = trusting(&url).join("K").await.expect_err("no TLS");
    assert!(cause(&error).contains("corrupt message"), "{}", cause(&error));
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn connection_that_ends_during_the_tls_handshake_is_retried() {
    let (client_end, mut server_end) = duplex(4096);
    server_end.write_all(&[22, 3]).await.expect("the pipe has room");
    drop(server_end);
    let error = trusting("wss://127.0.0.1").encrypt(client_end).await.expect_err("no TLS");
    assert!(matches!(error, JoinError::Tls { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
}

#[tokio::test(start_paused = true)]
async fn tls_handshake_without_an_answer_times_out_after_10_s() {
    let (client_end, _server_end) = duplex(4096);
    let (start, connector) = (Instant::now(), trusting("wss://127.0.0.1"));
    let error = connector.encrypt(client_end).await.expect_err("no answer");
    assert!(matches!(error, JoinError::Timeout { step: JoinStep::Tls, .. }), "{error:?}");
    assert_eq!((error.retry(), start.elapsed().as_secs()), (Retry::Later, 10));
}

#[tokio::test]
async fn stream_of_the_app_is_encrypted_if_the_url_is() {
    let hub = SignalingHub::new();
    let (acceptor, pem) = certificate(params("hub.example"));
    for (url, version) in [("wss://hub.example/signal", Some("TLS 1.3")), ("ws://hub.example/signal", None)] {
        let connector = connector(url).ca(&pem).expect("a valid certificate");
        let (client_end, server_end) = duplex(4096);
        let (acceptor, served) = (acceptor.clone(), hub.clone());
        tokio::spawn(async move {
            match version {
                Some(_) => serve(acceptor.accept(server_end).await.expect("a TLS handshake"), served).await,
                None => serve(server_end, served).await,
            }
        });
        let socket = connector.encrypt(client_end).await.expect("a trusted certificate");
        assert_eq!(socket.tls_version(), version);
        let mut client = connector.handshake(socket, "K").await.expect("joined");
        client.connect(MemberId(1), &[]).await.expect("an answer");
    }
}
