//! A scripted HTTP endpoint: it keeps what it was asked, and answers as a function says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `POST /path?query`
    pub(crate) line: String,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What is done with a request.
pub(crate) enum Reaction {
    /// Status, headers and body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Bytes, and then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, until the other side closes the connection.
    Silence,
}

/// JSON with a status.
pub(crate) fn json(status: u16, body: impl ToString) -> Reaction {
    let headers = vec![("Content-Type", "application/json".to_owned())];
    Reaction::Answer(status, headers, body.to_string())
}

type React = dyn Fn(usize, &Asked) -> Reaction + Send + Sync;

/// An endpoint. Its threads end with the process.
pub(crate) struct Endpoint {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: Arc<Mutex<usize>>,
}

impl Endpoint {
    /// Answers each request as `react` says, which has its number, from 0.
    pub(crate) fn start(
        react: impl Fn(usize, &Asked) -> Reaction + Send + Sync + 'static,
    ) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let endpoint = Endpoint {
            addr,
            asked: Arc::default(),
            open: Arc::default(),
        };
        let (asked, open) = (Arc::clone(&endpoint.asked), Arc::clone(&endpoint.open));
        let react: Arc<React> = Arc::new(react);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (asked, open, react) =
                    (Arc::clone(&asked), Arc::clone(&open), Arc::clone(&react));
                std::thread::spawn(move || {
                    *open.lock().unwrap() += 1;
                    // The other side may go at any time.
                    let _ = serve(stream, &asked, &*react);
                    *open.lock().unwrap() -= 1;
                });
            }
        });
        endpoint
    }

    /// What has been asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        *self.open.lock().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

fn serve(stream: TcpStream, asked: &Mutex<Vec<Asked>>, react: &React) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let number = {
            let mut asked = asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        match react(number, &request) {
            Reaction::Answer(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                let whole = format!("{head}\r\n{body}");
                reader.get_mut().write_all(whole.as_bytes())?;
            }
            Reaction::Bytes(bytes) => {
                reader.get_mut().write_all(&bytes)?;
                return Ok(());
            }
            Reaction::Silence => {
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest)?;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let request_line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body)?;
    Ok(Some(Asked {
        line: request_line,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }))
}
