//! HTTP/1.1 for a client that waits for microseconds: sockets that never block, and answers that are taken apart as they
//! come.
//!
//! A [`Lane`] is a connection with one request under way at most. Who drives lanes waits for all of them at once
//! ([`wait`]), to the microsecond; executors have timers of a millisecond.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::schedule::Nanos;

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of an answer's body that is read as a whole.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a connection may take to come about.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Bundles of root certificates of the usual systems.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Where requests go.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// As in the `Host` header.
    pub(crate) authority: String,
    host: String,
    addr: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Endpoint {
    /// An address such as `http://127.0.0.1:8083`.
    ///
    /// # Errors
    ///
    /// If it is none, if its name is unknown, or if certificates cannot be read.
    pub(crate) fn parse(url: &str, certificates: Option<&Path>) -> Result<Endpoint, String> {
        let (is_tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => {
                return Err(format!(
                    "`{url}` is no address: http://HOST:PORT or https://HOST is wanted"
                ));
            }
        };
        let authority = rest.trim_end_matches('/').to_owned();
        if authority.is_empty() || authority.contains(['/', '?', '@']) {
            return Err(format!(
                "`{url}` is no address: a path or a user cannot be part of it"
            ));
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = match (has_port, is_tls) {
            (true, _) => authority.clone(),
            (false, true) => format!("{authority}:443"),
            (false, false) => format!("{authority}:80"),
        };
        let addr = with_port
            .to_socket_addrs()
            .map_err(|error| format!("{with_port}: {error}"))?
            .next()
            .ok_or_else(|| format!("{with_port} has no address"))?;
        let host = with_port.rsplit_once(':').map_or("", |(host, _)| host);
        let tls = match is_tls {
            true => Some(Arc::new(roots(certificates)?)),
            false => None,
        };
        Ok(Endpoint {
            host: host.trim_matches(['[', ']']).to_owned(),
            authority,
            addr,
            tls,
        })
    }

    /// The same with something before the host's name, as AWS has it for synchronous calls.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::parse`].
    pub(crate) fn prefixed(&self, prefix: &str) -> Result<Endpoint, String> {
        let authority = format!("{prefix}{}", self.authority);
        let url = format!(
            "{}://{authority}",
            if self.tls.is_some() { "https" } else { "http" }
        );
        let mut prefixed = Endpoint::parse(&url, None)?;
        prefixed.tls.clone_from(&self.tls);
        Ok(prefixed)
    }

    fn connect(&self) -> io::Result<Socket> {
        let tcp = TcpStream::connect_timeout(&self.addr, CONNECT_TIME_MAX)?;
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        let tls = match &self.tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                let session = rustls::ClientConnection::new(Arc::clone(config), name);
                Some(Box::new(session.map_err(io::Error::other)?))
            }
        };
        Ok(Socket { tcp, tls })
    }
}

fn roots(certificates: Option<&Path>) -> Result<rustls::ClientConfig, String> {
    let bundle = certificates
        .or_else(|| BUNDLES.iter().map(Path::new).find(|path| path.exists()))
        .ok_or("no root certificates found; name a file of them in PEM with --ca")?;
    let shown = bundle.display();
    let mut roots = rustls::RootCertStore::empty();
    let found =
        CertificateDer::pem_file_iter(bundle).map_err(|error| format!("{shown}: {error}"))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| format!("{shown}: {error}"))?;
        // A bundle may have some that are not understood.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(format!("{shown} has no certificate that can be a root"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A socket that does not block.
struct Socket {
    tcp: TcpStream,
    tls: Option<Box<rustls::ClientConnection>>,
}

impl Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.tcp.write(bytes);
        };
        let taken = tls.writer().write(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.tcp.read(into);
        };
        match tls.reader().read(into) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return read,
        }
        tls.read_tls(&mut self.tcp)?;
        tls.process_new_packets().map_err(io::Error::other)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.tcp)?;
        }
        tls.reader().read(into)
    }

    fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

/// Where an answer's reading stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Head,
    Length(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilEnd,
    Whole,
}

/// An answer, as far as it has come.
#[derive(Debug)]
pub(crate) struct Answer {
    raw: Vec<u8>,
    at: usize,
    part: Part,
    pub(crate) status: u16,
    /// What has come of the body and was not taken yet.
    pub(crate) body: Vec<u8>,
    closes: bool,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer {
            raw: Vec::new(),
            at: 0,
            part: Part::Head,
            status: 0,
            body: Vec::new(),
            closes: false,
        }
    }
}

impl Answer {
    /// Ready for the next answer. What has come of it stays.
    fn next(&mut self) {
        self.raw.drain(..self.at);
        self.at = 0;
        self.part = Part::Head;
        self.status = 0;
        self.body.clear();
        self.closes = false;
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.part == Part::Whole
    }

    /// Takes in bytes; none stand for the end of the connection.
    ///
    /// # Errors
    ///
    /// If they are no HTTP, or too many, or end too early.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        if bytes.is_empty() {
            return match self.part {
                Part::UntilEnd => {
                    self.part = Part::Whole;
                    Ok(())
                }
                _ => Err("the connection ended before the answer"),
            };
        }
        self.raw.extend_from_slice(bytes);
        while self.step()? {}
        if self.at == self.raw.len() {
            self.raw.clear();
            self.at = 0;
        }
        match self.body.len() > BODY_BYTES_MAX {
            true => Err("the answer is too long"),
            false => Ok(()),
        }
    }

    /// Goes on by a part; false if there is not enough for it.
    fn step(&mut self) -> Result<bool, &'static str> {
        let rest = &self.raw[self.at..];
        match self.part {
            Part::Whole => Ok(false),
            Part::Head => self.head(),
            Part::UntilEnd => {
                self.body.extend_from_slice(rest);
                self.at = self.raw.len();
                Ok(false)
            }
            Part::Length(left) => {
                let taken = self.take(left);
                self.part = match left - taken {
                    0 => Part::Whole,
                    left => Part::Length(left),
                };
                Ok(false)
            }
            Part::Chunk(left) => {
                let taken = self.take(left);
                self.part = match left - taken {
                    0 => Part::ChunkEnd,
                    left => Part::Chunk(left),
                };
                Ok(self.part == Part::ChunkEnd)
            }
            Part::ChunkSize | Part::ChunkEnd | Part::Trailers => {
                let Some(end) = memchr::memchr(b'\n', rest) else {
                    return match rest.len() > HEAD_BYTES_MAX {
                        true => Err("a line of the answer is too long"),
                        false => Ok(false),
                    };
                };
                let line = rest[..end].trim_ascii();
                self.part = match self.part {
                    Part::ChunkSize => match httparse::parse_chunk_size(&rest[..=end]) {
                        Ok(httparse::Status::Complete((_, 0))) => Part::Trailers,
                        Ok(httparse::Status::Complete((_, size))) => {
                            Part::Chunk(usize::try_from(size).map_err(|_| "a chunk is too long")?)
                        }
                        _ => return Err("a chunk has no size"),
                    },
                    Part::ChunkEnd => Part::ChunkSize,
                    _ if line.is_empty() => Part::Whole,
                    _ => Part::Trailers,
                };
                self.at += end + 1;
                Ok(true)
            }
        }
    }

    fn take(&mut self, most: usize) -> usize {
        let taken = most.min(self.raw.len() - self.at);
        self.body
            .extend_from_slice(&self.raw[self.at..self.at + taken]);
        self.at += taken;
        taken
    }

    fn head(&mut self) -> Result<bool, &'static str> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let rest = &self.raw[self.at..];
        let length = match response.parse(rest) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if rest.len() <= HEAD_BYTES_MAX => return Ok(false),
            _ => return Err("the answer is no HTTP"),
        };
        self.status = response.code.unwrap_or_default();
        let mut part = Part::UntilEnd;
        for header in response.headers.iter() {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                part = match length.ok_or("the answer's length is no number")? {
                    0 => Part::Whole,
                    length => Part::Length(length),
                };
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                part = Part::ChunkSize;
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case(b"close");
            }
        }
        self.at += length;
        // What precedes the answer proper, such as `100 Continue`.
        if (100..200).contains(&self.status) {
            return Ok(true);
        }
        self.part = part;
        self.closes |= part == Part::UntilEnd;
        Ok(self.part != Part::Whole)
    }
}

/// A connection, which is made when it is needed.
pub(crate) struct Lane {
    endpoint: Endpoint,
    socket: Option<Socket>,
    out: Vec<u8>,
    written: usize,
    pub(crate) answer: Answer,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Lane {
    pub(crate) fn new(endpoint: &Endpoint) -> Lane {
        Lane {
            endpoint: endpoint.clone(),
            socket: None,
            out: Vec::new(),
            written: 0,
            answer: Answer::default(),
        }
    }

    pub(crate) fn authority(&self) -> &str {
        &self.endpoint.authority
    }

    /// Connects, if it is not connected.
    ///
    /// # Errors
    ///
    /// Of the socket.
    pub(crate) fn connect(&mut self) -> io::Result<()> {
        if self.socket.is_none() {
            self.socket = Some(self.endpoint.connect()?);
        }
        Ok(())
    }

    /// Finds out whether the other side has closed the connection while nothing was under way.
    pub(crate) fn look(&mut self) {
        if let Some(socket) = &mut self.socket
            && !matches!(socket.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
        {
            self.close();
        }
    }

    /// Begins a request, whose bytes `write` appends, on a connection that it makes if there is none.
    ///
    /// # Errors
    ///
    /// Of the socket.
    pub(crate) fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.connect()?;
        self.answer.next();
        self.out.clear();
        self.written = 0;
        write(&mut self.out);
        self.push()
    }

    /// Adds to a request that is being sent.
    ///
    /// # Errors
    ///
    /// Of the socket.
    pub(crate) fn send_more(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        write(&mut self.out);
        self.push()
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    fn push(&mut self) -> io::Result<()> {
        let socket = self.socket.as_mut().ok_or(ErrorKind::NotConnected)?;
        while self.written < self.out.len() || socket.wants_write() {
            match socket.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes and reads what can be at once. True if the answer is whole, or has more of its body than before.
    ///
    /// # Errors
    ///
    /// If the connection has broken, or what came is no answer. The lane connects anew the next time.
    pub(crate) fn advance(&mut self) -> Result<bool, String> {
        let advanced = self.try_advance();
        if advanced.is_err() {
            self.close();
        } else if self.answer.is_whole() && self.answer.closes {
            // The answer stays.
            self.socket = None;
        }
        advanced
    }

    fn try_advance(&mut self) -> Result<bool, String> {
        let mut buffer = [0_u8; 16 * 1024];
        let mut has_more = false;
        self.push().map_err(|error| error.to_string())?;
        let socket = self.socket.as_mut().ok_or("not connected")?;
        while !self.answer.is_whole() {
            match socket.read(&mut buffer) {
                Ok(read) => {
                    self.answer.feed(&buffer[..read])?;
                    has_more = true;
                    // Less than there is room for was all there was; a look for more would be a call for nothing.
                    if read < buffer.len() && socket.tls.is_none() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(has_more)
    }

    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.answer = Answer::default();
    }

    /// Sends a request and waits for its answer: status and body.
    ///
    /// # Errors
    ///
    /// If there is none within `patience`.
    pub(crate) fn call(
        &mut self,
        patience: Duration,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(u16, Vec<u8>), String> {
        let pacer = super::pacer::Pacer::new(Duration::ZERO);
        let until = super::pacer::nanos(patience);
        self.send(write)
            .inspect_err(|_| self.close())
            .map_err(|error| format!("{}: {error}", self.endpoint.authority))?;
        loop {
            if self.advance()? && self.answer.status != 0 && self.answer.part == Part::Whole {
                return Ok((self.answer.status, std::mem::take(&mut self.answer.body)));
            }
            let now = super::pacer::Pace::now(&pacer);
            if now >= until {
                self.close();
                return Err(format!("{} does not answer", self.endpoint.authority));
            }
            wait([&*self], until - now);
        }
    }
}

/// Waits until one of the lanes can go on, for `time` at most.
#[cfg(target_os = "linux")]
pub(crate) fn wait<'l>(lanes: impl IntoIterator<Item = &'l Lane>, time: Nanos) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let mut descriptors: Vec<PollFd<'_>> = lanes
        .into_iter()
        .filter_map(|lane| {
            let socket = lane.socket.as_ref()?;
            let flags = match lane.unsent() > 0 || socket.wants_write() {
                true => PollFlags::IN | PollFlags::OUT,
                false => PollFlags::IN,
            };
            Some(PollFd::new(&socket.tcp, flags))
        })
        .collect();
    let time = Timespec {
        tv_sec: i64::try_from(time / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(time % 1_000_000_000).unwrap_or(0),
    };
    // A signal wakes it; whoever waits looks again anyway.
    let _ = poll(&mut descriptors, Some(&time));
}

/// Waits a little: other systems are looked at often.
#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::disallowed_methods,
    reason = "there is nothing else to wait with"
)]
pub(crate) fn wait<'l>(_: impl IntoIterator<Item = &'l Lane>, time: Nanos) {
    std::thread::sleep(Duration::from_nanos(time.min(50_000)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWERS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
        HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n\
        3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n\
        HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n";

    proptest! {
        #[test]
        fn answers_are_the_same_in_whatever_pieces_they_come(sizes in prop::collection::vec(1_usize..40, 1..60)) {
            let mut found = Vec::new();
            let mut answer = Answer::default();
            let mut rest = ANSWERS;
            let mut sizes = sizes.into_iter().cycle();
            while !rest.is_empty() || !answer.raw.is_empty() {
                if rest.is_empty() {
                    while answer.step().unwrap() {}
                } else {
                    let (piece, after) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                    rest = after;
                    answer.feed(piece).unwrap();
                }
                while answer.is_whole() {
                    found.push((answer.status, answer.body.clone(), answer.closes));
                    answer.next();
                    while answer.step().unwrap() {}
                }
            }
            let expected: Vec<(u16, Vec<u8>, bool)> = vec![
                (200, b"hello".to_vec(), false),
                (400, b"abc0123456789abcdef".to_vec(), true),
                (204, Vec::new(), false),
            ];
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn whatever_comes_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let mut answer = Answer::default();
            let _ = answer.feed(&bytes);
            let mut chunked = Answer::default();
            chunked.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            let _ = chunked.feed(&bytes);
        }
    }

    #[test]
    fn an_answer_that_ends_early_is_none() {
        let mut answer = Answer::default();
        answer
            .feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell")
            .unwrap();
        assert!(answer.feed(b"").is_err());
        let mut answer = Answer::default();
        answer.feed(b"HTTP/1.1 200 OK\r\n\r\nhell").unwrap();
        answer.feed(b"").unwrap();
        assert!(answer.is_whole() && answer.closes);
    }

    #[test]
    fn addresses_are_read() {
        let endpoint = Endpoint::parse("http://127.0.0.1:8083/", None).unwrap();
        assert_eq!(endpoint.authority, "127.0.0.1:8083");
        assert_eq!(
            Endpoint::parse("http://127.0.0.1", None)
                .unwrap()
                .addr
                .port(),
            80
        );
        for wrong in [
            "127.0.0.1:1",
            "ftp://x",
            "http://",
            "http://a/b",
            "http://u@127.0.0.1",
        ] {
            assert!(Endpoint::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
