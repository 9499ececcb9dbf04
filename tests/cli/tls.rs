//! TLS: which files the server accepts, and what it sends.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use sigver::client::{InvalidResponse, JoinError};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::common::websocket::connector;
use crate::process::{start, utf8, write};
use crate::{Certificate, fails, self_signed, trusting};

#[tokio::test]
async fn incomplete_tls_options_are_rejected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(folder.path(), "file", "");
    let file = utf8(&file);
    fails(&["--key", file], &["key is set; requires cert"]).await;
    fails(&["--cert", file], &["cert is set; requires key"]).await;
    fails(&["--ca", file], &["ca is set; requires key and cert"]).await;
    fails(&["--key", file, "--ca", file], &["key is set; requires cert"]).await;
}

#[tokio::test]
async fn invalid_key_and_certificate_files_are_rejected() {
    let certificate = Certificate::new();
    let folder = certificate.folder.path();
    let other = write(folder, "other.pem", &self_signed().cert.pem());
    let empty = write(folder, "empty.pem", "");
    let missing = folder.join("missing.pem");
    let [key, cert, other, empty, missing] =
        [&certificate.key, &certificate.cert, &other, &empty, &missing].map(|path| utf8(path));

    fails(&["--key", missing, "--cert", cert], &["cannot read --key", missing]).await;
    fails(&["--key", key, "--cert", missing], &["cannot read --cert", missing]).await;
    fails(&["--key", empty, "--cert", cert], &["cannot read --key", empty]).await;
    fails(&["--key", key, "--cert", empty], &["cannot read --cert", empty]).await;
    fails(&["--key", key, "--cert", cert, "--ca", missing], &["cannot read --ca", missing]).await;
    fails(&["--key", key, "--cert", other], &["cannot use the key and the certificate"]).await;
}

#[tokio::test]
async fn intermediate_certificates_are_sent() {
    let authority = |name: &str| {
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().expect("a key"))
    };
    let (params, key) = authority("root");
    let root = CertifiedIssuer::self_signed(params, key).expect("a root");
    let (params, key) = authority("intermediate");
    let intermediate = CertifiedIssuer::signed_by(params, key, &root).expect("an intermediate");
    let key = KeyPair::generate().expect("a key");
    let leaf =
        CertificateParams::new(["localhost".to_owned()]).and_then(|params| params.signed_by(&key, &intermediate));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let ca = write(folder.path(), "ca.pem", &intermediate.pem());
    let cert = write(folder.path(), "cert.pem", &leaf.expect("a certificate").pem());
    let key = write(folder.path(), "key.pem", &key.serialize_pem());
    let without_ca = ["-k", utf8(&key), "-c", utf8(&cert)];
    let with_ca = ["-k", utf8(&key), "-c", utf8(&cert), "-a", utf8(&ca)];

    let tls = trusting([root.der()]);
    for (args, is_trusted) in [(&without_ca[..], false), (&with_ca, true)] {
        let (_process, address) = start(args).await;
        let socket = TcpStream::connect(address).await.expect("the server listens");
        let name = ServerName::try_from("localhost").expect("a valid name");
        assert_eq!(tls.connect(name, socket).await.is_ok(), is_trusted);
    }
}

#[tokio::test]
async fn tls_server_rejects_plaintext() {
    let (_process, address) = start(&Certificate::new().args()).await;
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let handshake = connector("ws://localhost/K").handshake_url(socket).await;
    // The server answers with an alert of TLS.
    assert!(matches!(handshake, Err(JoinError::InvalidResponse(InvalidResponse::NotHttp))), "{handshake:?}");
}
