//! Opening connections: names, addresses, TLS, and hyper's handshake.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::address::AddressFilter;
use super::error::{Error, ErrorKind};

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most headers of an answer.
const HEADERS_MAX: usize = 200;

/// What connections are pooled by: who is called, and how.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Origin {
    pub(super) is_tls: bool,
    /// In lower case; an IPv6 address without its brackets.
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

/// An open connection. What drives it ends with it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Whether it could take another request, as far as can be known.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Opens connections.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) filter: AddressFilter,
    pub(super) connect_time_max: Duration,
    /// Certificates of authorities in PEM, instead of the system's.
    pub(super) authorities: Option<Box<Path>>,
    pub(super) tls: OnceLock<Result<Arc<rustls::ClientConfig>, String>>,
}

impl Connector {
    /// Opens a connection within the time that it may take.
    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connection, Error> {
        match timeout(self.connect_time_max, self.open(origin)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorKind::TimedOut,
                format!(
                    "failed to connect to {}:{} within {:?}",
                    origin.host, origin.port, self.connect_time_max
                ),
            )),
        }
    }

    async fn open(&self, origin: &Origin) -> Result<Connection, Error> {
        let stream = self.reach(origin).await?;
        if !origin.is_tls {
            return handshake(stream, origin).await;
        }
        let config = self.tls()?;
        let wrong = |error: &dyn std::fmt::Display| {
            let message = format!("failed to set up TLS with {}: {error}", origin.host);
            Error::new(ErrorKind::Tls, message)
        };
        let name = ServerName::try_from(origin.host.to_string()).map_err(|error| wrong(&error))?;
        let connector = TlsConnector::from(config);
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| wrong(&error))?;
        handshake(stream, origin).await
    }

    /// Connects to the first address of the host that answers, of those that the filter allows.
    async fn reach(&self, origin: &Origin) -> Result<TcpStream, Error> {
        let (host, port) = (&*origin.host, origin.port);
        let found = tokio::net::lookup_host((host, port)).await;
        let addresses: Vec<SocketAddr> = found
            .map_err(|error| {
                let message = format!("failed to resolve the name {host}: {error}");
                Error::new(ErrorKind::Unresolved, message)
            })?
            .collect();
        let mut last = None;
        let allowed = |address: &SocketAddr| self.filter.allows(address.ip());
        let (addresses, refused): (Vec<_>, Vec<_>) = addresses.into_iter().partition(allowed);
        let begun = Instant::now();
        for (tried, address) in addresses.iter().enumerate() {
            // One that does not answer leaves the others their share of the time.
            let left = self.connect_time_max.saturating_sub(begun.elapsed());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let connected = timeout(share, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    // Requests are written whole; to wait for more would only delay their ends. Where the option
                    // cannot be set, things are slower and not wrong.
                    stream.set_nodelay(true).ok();
                    return Ok(stream);
                }
                Err(error) => {
                    last = Some(Error::of_io(
                        &format!("failed to connect to {host}:{port}"),
                        &error,
                    ));
                }
            }
        }
        Err(match (last, refused.first()) {
            (Some(error), _) => error,
            (None, Some(address)) => Error::new(
                ErrorKind::Forbidden,
                format!(
                    "{host} has the address {}, which must not be called",
                    address.ip()
                ),
            ),
            (None, None) => Error::new(
                ErrorKind::Unresolved,
                format!("the name {host} has no address"),
            ),
        })
    }

    /// What TLS needs, read when it is needed first: files of the system, some milliseconds.
    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, Error> {
        let config = self
            .tls
            .get_or_init(|| tls_config(self.authorities.as_deref()));
        config
            .clone()
            .map_err(|message| Error::new(ErrorKind::Tls, message))
    }
}

fn tls_config(authorities: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let mut problem = None;
    match authorities {
        Some(path) => {
            let wrong =
                |error| format!("failed to read authorities in {}: {error}", path.display());
            let certificates = CertificateDer::pem_file_iter(path).map_err(wrong)?;
            let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(wrong)?;
            roots.add_parsable_certificates(certificates);
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            problem = found.errors.first().map(ToString::to_string);
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        let why = problem.map(|problem| format!(" ({problem})"));
        return Err(format!(
            "there are no certificates of authorities to check others with{}: install the system's (ca-certificates), or \
             name a file of them in SSL_CERT_FILE or AWS_CA_BUNDLE",
            why.unwrap_or_default()
        ));
    }
    let provider = Arc::new(ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    origin: &Origin,
) -> Result<Connection, Error> {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Error::of_exchange(&origin.host, &error))?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer learns of the error from hyper; if nobody does, the connection is just gone.
        connection.await.ok();
    });
    Ok(Connection { sender, driver })
}
