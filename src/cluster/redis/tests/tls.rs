//! Encrypted connections.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;

/// A server with a certificate for 127.0.0.1, and the certificate of its authority.
struct TlsServer {
    server: Server,
    ca: String,
    _folder: TempDir,
}

static SERVER: LazyLock<Option<TlsServer>> = LazyLock::new(TlsServer::start);

impl TlsServer {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let mut params = CertificateParams::new([]).expect("the names are valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("the name is valid");
        let certificate = params.signed_by(&key, &ca).expect("a certificate");
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("the folder is writable");
            path.display().to_string()
        };
        let settings = [
            "port 0".to_owned(),
            "tls-port PORT".to_owned(),
            "tls-auth-clients no".to_owned(),
            format!("tls-cert-file {}", file("cert.pem", certificate.pem())),
            format!("tls-key-file {}", file("key.pem", key.serialize_pem())),
            format!("tls-ca-cert-file {}", file("ca.pem", ca.pem())),
        ];
        let server = Server::start(&settings.each_ref().map(String::as_str))?;
        Some(Self { server, ca: ca.pem(), _folder: folder })
    }

    fn builder(&self, host: &str) -> RedisBackplaneBuilder {
        RedisBackplane::builder(format!("rediss://{host}:{}", self.server.port), "test")
    }

    fn backplane(&self) -> RedisBackplane {
        self.builder("127.0.0.1").ca_certificates(self.ca.as_str()).build().expect("the settings are valid")
    }
}

conformance_tests!(
    #[tokio::test]
    async {
        SERVER.as_ref().map(TlsServer::backplane)
    }
);

#[tokio::test]
async fn certificate_must_be_trusted_and_name_the_host() {
    let Some(tls) = &*SERVER else { return };
    for (builder, expected) in [
        (tls.builder("127.0.0.1"), "UnknownIssuer"),
        (tls.builder("localhost").ca_certificates(tls.ca.as_str()), "not valid for name \"localhost\""),
    ] {
        let backplane = builder.build().expect("the settings are valid");
        let error = backplane.beat(NodeId(1), &[]).await.expect_err("no trust").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn wrong_scheme_for_the_port_is_an_error() {
    let (Some(tls), Some(plain)) = (&*SERVER, &*SHARED) else { return };
    assert!(backplane(&tls.server).beat(NodeId(1), &[]).await.is_err());
    let url = format!("rediss://127.0.0.1:{}", plain.port);
    let builder = RedisBackplane::builder(url, "test").ca_certificates(tls.ca.as_str());
    let error = builder.build().expect("the settings are valid").beat(NodeId(1), &[]).await.expect_err("no TLS");
    assert!(error.to_string().starts_with(&plain.address()), "{error}");
}
