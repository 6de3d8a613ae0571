//! Sockets and HTTP: connections, their bounds, and the end.
//!
//! 1. A connection is taken once there is room for one; it has a future of its own.
//! 2. Its requests come one after the other. Headers and bodies have bounds of size and time, and all bodies that are
//!    being read have one together, so that clients cannot fill the memory however many they are.
//! 3. At the end no connection is taken any more, requests under way are waited for, and then it is over.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::app::App;
use super::limits::{HEADERS_BYTES_MAX, HEADERS_MAX, SHUTDOWN_TIME_MAX};
use super::route::respond;
use super::tls::Tls;
use super::{ServerOptions, StartError};

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    app: Arc<App>,
    connections: Arc<Semaphore>,
    headers_time_max: Duration,
    tls: Option<Tls>,
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
            tls: options.tls,
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
            let (app, tls) = (Arc::clone(&self.app), self.tls.clone());
            let (headers_time_max, watcher) = (self.headers_time_max, graceful.watcher());
            tokio::spawn(async move {
                match tls {
                    None => converse(app, stream, headers_time_max, watcher).await,
                    Some(tls) => {
                        let greeted = tokio::time::timeout(
                            headers_time_max,
                            TlsAcceptor::from(tls.0).accept(stream),
                        );
                        // Whoever speaks no TLS, or takes too long for it, is not answered.
                        if let Ok(Ok(stream)) = greeted.await {
                            converse(app, stream, headers_time_max, watcher).await;
                        }
                    }
                }
                drop(permit);
            });
        }
        drop(self.listener);
        self.app.closing.send_replace(true);
        // Those that take longer are cut off.
        let _ = tokio::time::timeout(SHUTDOWN_TIME_MAX, graceful.shutdown()).await;
        self.app.executor.open()
    }
}

/// Answers the requests of one connection.
async fn converse(
    app: Arc<App>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    headers_time_max: Duration,
    watcher: Watcher,
) {
    let service = service_fn(move |request| respond(Arc::clone(&app), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(headers_time_max)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADERS_BYTES_MAX)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's affair.
    let _ = watcher.watch(connection).await;
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
