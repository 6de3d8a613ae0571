//! A server that does what a test says with each request, and knows how many connections it has.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is done with a request.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// It is answered with these bytes, and the connection stays.
    Answer(Vec<u8>),
    /// These bytes are written, and the connection ends.
    End(Vec<u8>),
    /// These bytes are written and the request's body is not read, so that the end of the connection is a reset.
    Reset(Vec<u8>),
    /// These bytes are written, and nothing more.
    Stall(Vec<u8>),
}

/// An answer with a status, headers (each with its line's end) and a body.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n");
    let mut out = head.into_bytes();
    out.extend_from_slice(body);
    out
}

/// Nobody waits longer for something that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server. Its threads end with the test.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    /// Requests as they came.
    requests: Arc<Mutex<Vec<String>>>,
    /// A message for each connection that the client has closed.
    closed: Receiver<()>,
}

impl Scripted {
    /// A server that asks `deed` about each request, which it numbers from 0.
    pub(crate) fn start(deed: impl Fn(usize, &str) -> Deed + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (sender, closed) = channel();
        let server = Arc::new(Server {
            deed: Box::new(deed),
            accepted: Arc::clone(&accepted),
            requests: Arc::clone(&requests),
            number: AtomicUsize::new(0),
        });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                let sender = Sender::clone(&sender);
                server.accepted.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    server.serve(stream);
                    // Nobody listens once the test is over.
                    sender.send(()).ok();
                });
            }
        });
        Scripted {
            address,
            accepted,
            requests,
            closed,
        }
    }

    /// A server that does the same with every request.
    pub(crate) fn always(deed: Deed) -> Scripted {
        Scripted::start(move |_, _| deed.clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until so many connections have ended.
    pub(crate) fn wait_closed(&self, count: usize) {
        for n in 0..count {
            let closed = self.closed.recv_timeout(PATIENCE);
            assert!(closed.is_ok(), "{n} of {count} connections have ended");
        }
    }

    /// Waits until no connection is left of those that were made.
    pub(crate) fn wait_all_closed(&self) {
        self.wait_closed(self.accepted());
    }
}

/// What is done with a request, by its number and its head.
type Script = Box<dyn Fn(usize, &str) -> Deed + Send + Sync>;

struct Server {
    deed: Script,
    accepted: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    number: AtomicUsize,
}

impl Server {
    fn serve(&self, mut stream: TcpStream) {
        loop {
            let Some(head) = read_head(&mut stream) else {
                return;
            };
            let number = self.number.fetch_add(1, Ordering::SeqCst);
            let deed = (self.deed)(number, &head);
            if !matches!(deed, Deed::Reset(_)) {
                let Some(body) = read_body(&mut stream, &head) else {
                    return;
                };
                self.requests.lock().unwrap().push(head + &body);
            }
            let (bytes, goes_on) = match &deed {
                Deed::Answer(bytes) => (bytes, true),
                Deed::End(bytes) | Deed::Reset(bytes) | Deed::Stall(bytes) => (bytes, false),
            };
            // The client may be gone by now, as some tests want it.
            if stream.write_all(bytes).is_err() {
                return;
            }
            match deed {
                _ if goes_on => {}
                Deed::Stall(_) => {
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).ok();
                    return;
                }
                _ => return,
            }
        }
    }
}

/// The head of a request; nothing once there is none.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// The body that belongs to a head.
fn read_body(stream: &mut TcpStream, head: &str) -> Option<String> {
    let mut lines = head.lines().map(str::to_ascii_lowercase);
    let length = lines.find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(String::from_utf8_lossy(&body).into_owned())
}
