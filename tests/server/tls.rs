//! TLS, with certificates made for each test.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quickstep::server::{ServerOptions, Tls};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::Host;

/// A certificate for this machine and its key, in files.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn identity(folder: &Path, name: &str) -> Identity {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = folder.join(format!("{name}.pem"));
    let key = folder.join(format!("{name}.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Identity {
        certificate,
        key,
        der: made.cert.der().clone(),
    }
}

fn host(identity: &Identity) -> Host {
    Host::start(ServerOptions {
        tls: Some(Tls::open(&identity.certificate, &identity.key).unwrap()),
        headers_time_max: Duration::from_millis(300),
        ..ServerOptions::default()
    })
}

/// A client that trusts one certificate.
fn trusting(
    der: &CertificateDer<'static>,
    host: &Host,
) -> StreamOwned<ClientConnection, std::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, std::net::TcpStream::connect(host.addr).unwrap())
}

const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.0\r\n\
    X-Amz-Target: AWSStepFunctions.ListActivities\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

#[test]
fn the_api_is_served_over_tls() {
    let folder = folder("tls-served");
    let (ours, other) = (identity(&folder, "ours"), identity(&folder, "other"));
    let host = host(&ours);
    let mut stream = trusting(&ours.der, &host);
    stream.write_all(REQUEST).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("{\"activities\":[]}"), "{answer}");
    let refused = trusting(&other.der, &host).write_all(REQUEST).unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

/// They get no answer, and do not stay.
#[test]
fn whoever_speaks_no_tls_is_let_go() {
    let folder = folder("tls-plain");
    let ours = identity(&folder, "ours");
    let host = host(&ours);
    for sent in [REQUEST, b"", b"\x16\x03\x01\x02\x00"] {
        let mut plain = std::net::TcpStream::connect(host.addr).unwrap();
        plain
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        plain.write_all(sent).unwrap();
        let mut answer = Vec::new();
        // The end, or a reset where not all was read.
        let _ = plain.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    let mut stream = trusting(&ours.der, &host);
    stream.write_all(REQUEST).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn files_that_are_no_identity_are_refused() {
    let folder = folder("tls-refused");
    let (ours, other) = (identity(&folder, "ours"), identity(&folder, "other"));
    let text = folder.join("text.pem");
    std::fs::write(&text, "hello\n").unwrap();
    let none = folder.join("none.pem");
    for (certificate, key, expected) in [
        (&none, &ours.key, "none.pem: "),
        (&ours.certificate, &none, "none.pem: "),
        (&text, &ours.key, "text.pem: there is no certificate in PEM"),
        (
            &ours.key,
            &ours.key,
            "ours.key: there is no certificate in PEM",
        ),
        (
            &ours.certificate,
            &text,
            "text.pem: there is no private key in PEM",
        ),
        (&ours.certificate, &other.key, "other.key: "),
    ] {
        let error = Tls::open(certificate, key).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
