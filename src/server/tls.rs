//! TLS: the server's certificate and key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate with its key, ready to be served: TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct Tls(pub(super) Arc<rustls::ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Why a certificate or its key cannot be used.
#[derive(Debug)]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for TlsError {}

impl Tls {
    /// Reads two files in PEM: the certificate, followed by those that lead to its root; and the key.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or if they do not belong together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let wrong = |path: &Path, problem: String| TlsError {
            path: path.to_owned(),
            problem,
        };
        let of_pem = |path: &Path, what: &str, error: pem::Error| match error {
            pem::Error::NoItemsFound => wrong(path, format!("there is no {what} in PEM")),
            pem::Error::Io(error) => wrong(path, error.to_string()),
            other => wrong(path, format!("not PEM: {other}")),
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| of_pem(certificate, "certificate", error))?;
        if chain.is_empty() {
            return Err(of_pem(certificate, "certificate", pem::Error::NoItemsFound));
        }
        let secret =
            PrivateKeyDer::from_pem_file(key).map_err(|error| of_pem(key, "private key", error))?;
        let provider = Arc::new(ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(|error| {
                let files = format!("with the key {}: {error}", key.display());
                wrong(certificate, files)
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls(Arc::new(config)))
    }
}
