//! Sockets and HTTP: connections, their bounds, and the way of a request to the protocol and back.
//!
//! 1. A connection is taken once there is room for one; it has a future of its own.
//! 2. Its requests come one after the other. Headers and bodies have bounds of size and time, and all bodies that are
//!    being read have one together, so that clients cannot fill the memory however many they are.
//! 3. At the end no connection is taken any more, requests under way are waited for, and then it is over.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::app::App;
use super::error::ApiError;
use super::limits::{
    BODIES_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX, REQUEST_BYTES_MAX, SHUTDOWN_TIME_MAX,
};
use super::operations::Headers;
use super::{ServerOptions, StartError, protocol};

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    app: Arc<App>,
    connections: Arc<Semaphore>,
    headers_time_max: Duration,
}

impl Server {
    /// Opens the catalogue and the socket. Must be called on a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// If the catalogue, the file of answers or the address cannot be used.
    pub async fn bind(options: ServerOptions) -> Result<Server, StartError> {
        let app = Arc::new(super::app(&options)?);
        let wrong = |error| StartError::Listen(options.addr, error);
        let listener = TcpListener::bind(options.addr).await.map_err(wrong)?;
        let addr = listener.local_addr().map_err(wrong)?;
        Ok(Server {
            listener,
            addr,
            app,
            connections: Arc::new(Semaphore::new(options.connections_max.max(1))),
            headers_time_max: options.headers_time_max,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// True if state machines and activities outlive the process.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.app.catalogue.is_durable()
    }

    /// Serves until `shutdown` is ready; then ends the requests under way and returns how many executions were still
    /// running, which are lost.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> usize {
        let graceful = GracefulShutdown::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &self.connections) => accepted,
                () = &mut shutdown => break,
            };
            let Some((stream, permit)) = accepted else {
                continue;
            };
            let app = Arc::clone(&self.app);
            let service = service_fn(move |request| respond(Arc::clone(&app), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.headers_time_max)
                .max_headers(HEADERS_MAX)
                .max_header_size(HEADERS_BYTES_MAX)
                .max_buf_size(HEADERS_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                // A connection that breaks is the client's affair.
                let _ = connection.await;
                drop(permit);
            });
        }
        drop(self.listener);
        self.app.closing.send_replace(true);
        // Those that take longer are cut off.
        let _ = tokio::time::timeout(SHUTDOWN_TIME_MAX, graceful.shutdown()).await;
        let app = self.app;
        // What was logged may have to be waited for.
        let closed = tokio::task::spawn_blocking(move || app.executor.close()).await;
        closed.unwrap_or(0)
    }
}

/// How long the server waits if the system has no more sockets for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Accepted = (TcpStream, tokio::sync::OwnedSemaphorePermit);

/// Takes a connection, once there is room.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written in one piece; waiting for more would only delay them.
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            let of_client = matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionRefused
            );
            if !of_client {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None
        }
    }
}

type Answer = Response<Full<Bytes>>;

async fn respond(app: Arc<App>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let id = app.ids.uuid();
    let mut answer = match (request.method(), request.uri().path()) {
        (&Method::POST, "/") => api(&app, request).await,
        (&Method::GET, "/healthz") => plain(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") => match *app.closing.borrow() {
            false => plain(StatusCode::OK, "ready\n"),
            true => plain(StatusCode::SERVICE_UNAVAILABLE, "closing\n"),
        },
        _ => plain(
            StatusCode::NOT_FOUND,
            "This is the API of Step Functions: POST / with X-Amz-Target. See also /healthz and /readyz.\n",
        ),
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert("x-amzn-requestid", id);
    }
    Ok(answer)
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

async fn api(app: &App, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let result = match read(app, &parts.headers, body).await {
        Ok(body) => guarded(called(app, &parts.headers, body)).await,
        Err(error) => Err(error),
    };
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (
            StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST),
            error.body(),
        ),
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
        // What is left of the body is not read.
        let close = HeaderValue::from_static("close");
        answer
            .headers_mut()
            .insert(hyper::header::CONNECTION, close);
    }
    answer
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn called(app: &App, headers: &HeaderMap, mut body: Body<'_>) -> Result<Vec<u8>, ApiError> {
    let content_type = text(headers, "content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let known = ["application/x-amz-json-1.0", "application/x-amz-json-1.1"];
    if !known
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known))
    {
        let message =
            format!("The Content-Type has to be application/x-amz-json-1.0, not '{media_type}'");
        return Err(ApiError::new("UnsupportedMediaTypeException", message).with_status(415));
    }
    let Some(target) = text(headers, "x-amz-target") else {
        let message = "The header X-Amz-Target, which names the operation, is missing";
        return Err(ApiError::new("MissingActionException", message));
    };
    let operation_headers = Headers {
        trace: text(headers, "x-amzn-trace-id"),
    };
    // It is counted until the answer is there.
    let mut bytes = std::mem::take(&mut body.bytes);
    protocol::call(app, target, operation_headers, &mut bytes).await
}

/// A body, counted from its first byte to the answer.
struct Body<'a> {
    bytes: Vec<u8>,
    counter: &'a AtomicUsize,
    counted: usize,
}

impl<'a> Body<'a> {
    fn new(counter: &'a AtomicUsize) -> Body<'a> {
        Body {
            bytes: Vec::new(),
            counter,
            counted: 0,
        }
    }

    fn push(&mut self, data: &[u8]) -> Result<(), ApiError> {
        if self.bytes.len() + data.len() > REQUEST_BYTES_MAX {
            return Err(too_large());
        }
        self.counted += data.len();
        let all = self.counter.fetch_add(data.len(), Ordering::Relaxed) + data.len();
        if all > BODIES_BYTES_MAX {
            let message = "Too many large requests at a time; try again";
            return Err(ApiError::new("ThrottlingException", message).with_status(503));
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

fn too_large() -> ApiError {
    let message = format!("The request has more than {REQUEST_BYTES_MAX} bytes");
    ApiError::new("RequestEntityTooLargeException", message).with_status(413)
}

async fn read<'a>(
    app: &'a App,
    headers: &HeaderMap,
    mut incoming: Incoming,
) -> Result<Body<'a>, ApiError> {
    let announced = incoming.size_hint().lower();
    let encoded = headers
        .get("content-encoding")
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        let message = "Requests with a Content-Encoding are not understood";
        return Err(ApiError::new("UnsupportedMediaTypeException", message).with_status(415));
    }
    if announced > REQUEST_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut body = Body::new(&app.bodies);
    let reading = async {
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| {
                let message = format!("The request could not be read: {error}");
                ApiError::new("SerializationException", message)
            })?;
            if let Some(data) = frame.data_ref() {
                body.push(data)?;
            }
        }
        Ok::<_, ApiError>(())
    };
    match tokio::time::timeout(app.body_time_max, reading).await {
        Ok(result) => result?,
        Err(_) => {
            let message = "The request took too long to arrive";
            return Err(ApiError::new("RequestTimeoutException", message).with_status(408));
        }
    }
    Ok(body)
}

/// An operation's answer; a panic, which is a defect, is an error for this client alone.
async fn guarded(
    operation: impl Future<Output = Result<Vec<u8>, ApiError>>,
) -> Result<Vec<u8>, ApiError> {
    let mut operation = pin!(operation);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| operation.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(ApiError::internal(
                "A defect of quickstep; its message is on the standard error",
            ))),
        },
    )
    .await
}
