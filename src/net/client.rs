//! The client: one call is one request and its whole answer.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Uri;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::{PathAndQuery, Scheme};
use tokio::time::timeout;

use super::address::AddressFilter;
use super::connect::{Connection, Connector, Origin};
use super::error::{Error, ErrorKind};
use super::pool::{Permit, Pool};

/// What is sent: its address is absolute.
pub type Request = hyper::Request<Bytes>;

/// What came back, whole.
pub type Response = hyper::Response<Bytes>;

/// Bounds of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most connections to one origin; who wants another waits.
    pub connections_max: usize,
    /// Most of them that lie idle.
    pub idle_max: usize,
    /// How long one may lie idle. Others close theirs after a while, and a request that meets that end is lost.
    pub idle_time_max: Duration,
    /// Most origins at a time.
    pub origins_max: usize,
    /// How long it may take to open a connection.
    pub connect_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 256,
            idle_max: 64,
            idle_time_max: Duration::from_secs(20),
            origins_max: 1024,
            connect_time_max: Duration::from_millis(3_100),
        }
    }
}

/// Makes a [`Client`].
#[derive(Clone, Debug, Default)]
pub struct ClientBuilder {
    limits: Limits,
    filter: AddressFilter,
    authorities: Option<Box<Path>>,
}

impl ClientBuilder {
    /// Other bounds than the usual ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> ClientBuilder {
        self.limits = limits;
        self
    }

    /// Which addresses may be called.
    #[must_use]
    pub fn filter(mut self, filter: AddressFilter) -> ClientBuilder {
        self.filter = filter;
        self
    }

    /// A file of certificates in PEM that others are checked with, instead of the system's.
    #[must_use]
    pub fn authorities(mut self, path: &Path) -> ClientBuilder {
        self.authorities = Some(path.into());
        self
    }

    /// The client. Nothing is opened or read before its first call.
    #[must_use]
    pub fn build(self) -> Client {
        let connector = Connector {
            filter: self.filter,
            connect_time_max: self.limits.connect_time_max,
            authorities: self.authorities,
            tls: OnceLock::new(),
        };
        Client(Arc::new(Shared {
            connector,
            pool: Arc::new(Pool::new(self.limits)),
        }))
    }
}

/// A client of HTTP/1.1. Its clones share their connections. It is called on a tokio runtime; a call ends when its future
/// is dropped, and its connection with it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Connector,
    pool: Arc<Pool>,
}

impl Default for Client {
    fn default() -> Client {
        Client::builder().build()
    }
}

impl Client {
    /// A builder with the usual bounds, that calls any address.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Sends a request and reads the whole answer, whatever its status: at most `answer_bytes_max` of its body, within
    /// `time_max` in all.
    ///
    /// # Errors
    ///
    /// If there is no such answer; its kind says why.
    pub async fn send(
        &self,
        request: Request,
        time_max: Duration,
        answer_bytes_max: usize,
    ) -> Result<Response, Error> {
        let origin = origin(request.uri())?;
        let host = origin.host.clone();
        match timeout(time_max, self.exchange(origin, request, answer_bytes_max)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorKind::TimedOut,
                format!("{host} gave no whole answer within {time_max:?}"),
            )
            .sent()),
        }
    }

    /// How many connections lie idle and are open still.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.0.pool.idle()
    }

    async fn exchange(
        &self,
        origin: Origin,
        request: Request,
        answer_bytes_max: usize,
    ) -> Result<Response, Error> {
        let pool = &self.0.pool;
        let mut request = in_origin_form(request, &origin)?;
        let permit = pool.permit(origin.clone()).await?;
        loop {
            let (mut connection, is_fresh) = match pool.take(&permit) {
                Some(connection) => (connection, false),
                None => (self.0.connector.connect(&origin).await?, true),
            };
            if let Err(error) = connection.sender.ready().await {
                if is_fresh {
                    return Err(Error::of_exchange(&origin.host, &error));
                }
                continue;
            }
            match connection.sender.try_send_request(request).await {
                Ok(answer) => {
                    let read = self.read(answer, permit, connection, &origin, answer_bytes_max);
                    return read.await.map_err(Error::sent);
                }
                Err(mut failed) => match failed.take_message() {
                    // Not a byte of it was written: the other side closed the connection while it lay idle.
                    Some(unsent) if !is_fresh => request = unsent,
                    Some(_) => return Err(Error::of_exchange(&origin.host, failed.error())),
                    None => return Err(Error::of_exchange(&origin.host, failed.error()).sent()),
                },
            }
        }
    }

    async fn read(
        &self,
        answer: hyper::Response<Incoming>,
        permit: Permit,
        connection: Connection,
        origin: &Origin,
        bytes_max: usize,
    ) -> Result<Response, Error> {
        let too_large = || {
            let message = format!("the answer of {} exceeds {bytes_max} bytes", origin.host);
            Error::new(ErrorKind::TooLarge, message)
        };
        let (head, mut body) = answer.into_parts();
        let announced = body.size_hint().lower();
        if announced > bytes_max as u64 {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::of_exchange(&origin.host, &error))?;
            if let Some(data) = frame.data_ref() {
                if data.len() > bytes_max - whole.len() {
                    return Err(too_large());
                }
                whole.extend_from_slice(data);
            }
        }
        self.0.pool.put(permit, connection);
        Ok(Response::from_parts(head, whole.freeze()))
    }
}

/// As much of an address as everybody may see: names, passwords, paths and queries can be secrets.
pub(crate) fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match uri.scheme_str() {
        Some(scheme) => format!("{scheme}://{host}"),
        None if host.is_empty() => "an address without a host".to_owned(),
        None => host.to_owned(),
    }
}

/// Who is called.
fn origin(uri: &Uri) -> Result<Origin, Error> {
    let wrong = |what: &str| Error::new(ErrorKind::InvalidUrl, format!("{}: {what}", shown(uri)));
    let is_tls = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(wrong("an address begins with https:// or http://")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("there is no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("names and passwords do not belong into an address"));
    }
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    if host.is_empty() {
        return Err(wrong("there is no host"));
    }
    let port = match authority.port_u16() {
        Some(0) => return Err(wrong("there is no port 0")),
        Some(port) => port,
        None if is_tls => 443,
        None => 80,
    };
    Ok(Origin {
        is_tls,
        host: host.to_ascii_lowercase().into(),
        port,
    })
}

/// The request as it is written to a connection: its path alone, and the host in a header.
fn in_origin_form(request: Request, origin: &Origin) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let (mut head, body) = request.into_parts();
    if !head.headers.contains_key(HOST) {
        let is_v6 = origin.host.contains(':');
        let host = match is_v6 {
            true => format!("[{}]", origin.host),
            false => origin.host.to_string(),
        };
        let usual = if origin.is_tls { 443 } else { 80 };
        let host = match origin.port == usual {
            true => host,
            false => format!("{host}:{}", origin.port),
        };
        let value = HeaderValue::try_from(host)
            .map_err(|error| Error::new(ErrorKind::InvalidUrl, error.to_string()))?;
        head.headers.insert(HOST, value);
    }
    let path = head.uri.path_and_query().cloned();
    head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Ok(hyper::Request::from_parts(head, Full::new(body)))
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Request, in_origin_form, origin};
    use crate::net::ErrorKind;

    fn request(address: &str) -> Request {
        hyper::Request::get(address).body(Bytes::new()).unwrap()
    }

    #[test]
    fn addresses() {
        for (address, is_tls, host, port, header, path) in [
            ("http://a", false, "a", 80, "a", "/"),
            ("https://A.b/", true, "a.b", 443, "a.b", "/"),
            ("https://a:80/x?y=%20z", true, "a", 80, "a:80", "/x?y=%20z"),
            (
                "http://[::1]:4566/a//b",
                false,
                "::1",
                4566,
                "[::1]:4566",
                "/a//b",
            ),
        ] {
            let request = request(address);
            let origin = origin(request.uri()).unwrap();
            assert_eq!(
                (origin.is_tls, &*origin.host, origin.port),
                (is_tls, host, port)
            );
            let sent = in_origin_form(request, &origin).unwrap();
            assert_eq!(sent.headers()["host"], header);
            assert_eq!(sent.uri(), path);
        }
    }

    #[test]
    fn addresses_that_are_none() {
        for (address, shown) in [
            ("/x?key=secret", "an address without a host: "),
            ("ftp://a/?key=secret", "ftp://a: "),
            ("http://user:secret@a/b?key=secret", "http://a: "),
            ("http://a:0/?key=secret", "http://a:0: "),
        ] {
            let error = origin(request(address).uri()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{address}");
            let error = error.to_string();
            assert!(error.starts_with(shown), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
