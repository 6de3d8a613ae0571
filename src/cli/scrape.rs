//! `--metrics ADDRESS`: an endpoint that Prometheus scrapes while the command runs.
//!
//! It answers one connection at a time, with little patience: whoever scrapes asks a few times a minute, and must not be
//! able to hold anything up. Nothing is counted or kept for it; the text is made when it is asked for.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::metrics::{Metrics, prometheus};

/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long a connection may take for each read and write.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Reads of a request's head: an end for whoever sends a byte at a time.
const READS_MAX: usize = 64;

/// Listens, and answers from a thread of its own until the process ends. Returns where: the address may have asked for any
/// free port.
pub(super) fn serve(address: &str, metrics: &Metrics) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let local = listener.local_addr()?;
    let metrics = metrics.clone();
    std::thread::Builder::new()
        .name("quickstep-metrics".to_owned())
        .spawn(move || {
            for connection in listener.incoming() {
                match connection {
                    // Whoever hangs up early has no answer, and that is all.
                    Ok(connection) => drop(answer(connection, &metrics)),
                    // What is short, such as numbers for files, may be so for a while.
                    Err(_) => std::thread::park_timeout(ACCEPT_PAUSE),
                }
            }
        })?;
    Ok(local)
}

fn answer(mut connection: TcpStream, metrics: &Metrics) -> io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let response = match read_head(&mut connection)? {
        Some(head) => respond(&head, metrics),
        None => status(
            "431 Request Header Fields Too Large",
            "the request is too long\n",
        ),
    };
    connection.write_all(&response)?;
    connection.flush()
}

/// The head of a request, up to its empty line; `None` if it is too long.
fn read_head(connection: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut part = [0; 2048];
    for _ in 0..READS_MAX {
        let read = connection.read(&mut part)?;
        head.extend_from_slice(&part[..read]);
        if read == 0 || head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Some(head));
        }
        if head.len() > HEAD_BYTES_MAX {
            break;
        }
    }
    Ok(None)
}

fn respond(head: &[u8], metrics: &Metrics) -> Vec<u8> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next(), words.next());
    let path = target.and_then(|target| target.split(|byte| *byte == b'?').next());
    match (method, path) {
        (Some(b"GET"), Some(b"/metrics")) => {
            let body = prometheus::render(&metrics.snapshot());
            response("200 OK", prometheus::CONTENT_TYPE, &body)
        }
        (Some(b"GET"), Some(_)) => status("404 Not Found", "there is only /metrics\n"),
        _ => status("405 Method Not Allowed", "there is only GET /metrics\n"),
    }
}

fn status(status: &str, body: &str) -> Vec<u8> {
    response(status, "text/plain; charset=utf-8", body)
}

fn response(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let metrics = Metrics::new();
        for (request, expected) in [
            (&b"GET /metrics HTTP/1.1\r\n\r\n"[..], "200 OK"),
            (b"GET /metrics?name=a HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK"),
            (b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
            (b"\xFF\x00", "405 Method Not Allowed"),
            (b"", "405 Method Not Allowed"),
        ] {
            let response = String::from_utf8(respond(request, &metrics)).unwrap();
            assert!(
                response.starts_with(&format!("HTTP/1.1 {expected}\r\n")),
                "{response}"
            );
            let (head, body) = response.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
        }
    }

    #[test]
    fn a_head_has_an_end() {
        assert_eq!(
            read_head(&mut &b"GET / HTTP/1.1\r\n\r\n"[..]).unwrap(),
            Some(b"GET / HTTP/1.1\r\n\r\n".to_vec())
        );
        assert_eq!(read_head(&mut io::repeat(b'a')).unwrap(), None);
        // A byte at a time.
        let mut slow = io::repeat(b'a').take(READS_MAX as u64 + 1);
        struct Drops<R>(R);
        impl<R: Read> Read for Drops<R> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                self.0.read(&mut out[..1])
            }
        }
        assert_eq!(read_head(&mut Drops(&mut slow)).unwrap(), None);
    }
}
