//! What the server is held against: hyper on one thread, which reads the same bodies, and answers with bytes that it has.
//!
//! `bare IP:PORT BYTES` answers each request with the same body of so many bytes, with the headers that the server has.
//! `compare` runs both.
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::convert::Infallible;
use std::error::Error;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const ID: HeaderValue = HeaderValue::from_static("00000000-0000-4000-8000-000000000000");

async fn answer(
    request: Request<Incoming>,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // As much of it as comes: whoever sends less than announced ends the connection.
    if let Ok(collected) = request.into_body().collect().await {
        std::hint::black_box(collected.to_bytes());
    }
    let mut answer = Response::new(Full::new(body));
    answer.headers_mut().insert("content-type", JSON);
    answer.headers_mut().insert("x-amzn-requestid", ID);
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [addr, bytes] = &arguments[..] else {
        return Err("IP:PORT and a number of bytes are wanted".into());
    };
    let body = Bytes::from(vec![b'x'; bytes.parse()?]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let body = body.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(request, body.clone()));
                let connection = hyper::server::conn::http1::Builder::new()
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(stream), service);
                // A connection that breaks is the client's affair.
                let _ = connection.await;
            });
        }
    })
}
