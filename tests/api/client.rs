//! A client of the server: HTTP/1.1 by hand, so that tests see what is on the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use quickstep::server::{Server, ServerOptions};
use serde_json::Value;

/// A server in this process, which ends with the value.
pub(crate) struct Host {
    pub(crate) addr: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    running: Option<tokio::task::JoinHandle<usize>>,
}

impl Host {
    /// Starts a server on a free port.
    pub(crate) fn start(options: ServerOptions) -> Host {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let options = ServerOptions {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..options
        };
        let server = runtime
            .block_on(Server::bind(options))
            .expect("the server starts");
        let addr = server.local_addr();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let running = runtime.spawn(server.run(async move {
            // Dropped without a word, the server is cut off with its runtime.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Host {
            addr,
            runtime: Some(runtime),
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// Tells the server to end, and waits until it has: how many executions had not ended.
    pub(crate) fn stop(mut self) -> usize {
        let stop = self.stop.take().expect("it is stopped once");
        stop.send(()).expect("the server runs");
        let running = self.running.take().expect("it is stopped once");
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        runtime
            .block_on(running)
            .expect("the server does not panic")
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Connection {
        connect(self.addr)
    }
}

/// A connection to a server.
pub(crate) fn connect(addr: SocketAddr) -> Connection {
    let stream = TcpStream::connect(addr).expect("the server listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(90)))
        .expect("a socket has timeouts");
    Connection {
        reader: BufReader::new(stream),
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {:?}", String::from_utf8_lossy(&self.body));
        })
    }
}

impl Connection {
    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads a line; nothing if the server has closed the connection.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let bytes = self.reader.read_line(&mut line).ok()?;
        (bytes > 0).then_some(line)
    }

    /// Reads one answer; nothing if the server has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Answer> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().unwrap_or(0));
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).ok()?;
        Some(Answer {
            status,
            headers,
            body,
        })
    }

    /// Sends a body to an operation.
    pub(crate) fn post(&mut self, operation: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: sync-anything\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Target: AWSStepFunctions.{operation}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat())
            .expect("the server reads");
        self.receive().expect("the server answers")
    }

    /// Calls an operation: the answer's status and body.
    pub(crate) fn call(&mut self, operation: &str, params: &Value) -> (u16, Value) {
        let answer = self.post(operation, params.to_string().as_bytes());
        (answer.status, answer.json())
    }
}
