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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use super::app::App;
use super::limits::HEADERS_MAX;
use super::metrics::OpenConnection;
use super::patience::Patient;
use super::route::respond;
use super::tls::Tls;
use super::{ServerOptions, StartError};

/// What hyper reads at a time.
const HEADERS_BYTES_MIN: usize = 8 * 1024;

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    app: Arc<App>,
    connections: Arc<Semaphore>,
    headers_time_max: Duration,
    headers_bytes_max: usize,
    write_time_max: Duration,
    tls: Option<Tls>,
    drain_time: Duration,
    shutdown_time_max: Duration,
}

impl Server {
    /// Opens the catalogue and the socket. Must be called on a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// If the catalogue, the file of answers or the address cannot be used.
    pub async fn bind(options: ServerOptions) -> Result<Server, StartError> {
        let app = Arc::new(super::app(&options)?);
        app.machines.are_of(&app);
        let wrong = |error| StartError::Listen(options.addr, error);
        let listener = TcpListener::bind(options.addr).await.map_err(wrong)?;
        let addr = listener.local_addr().map_err(wrong)?;
        Ok(Server {
            listener,
            addr,
            app,
            connections: Arc::new(Semaphore::new(options.connections_max.max(1))),
            headers_time_max: options.headers_time_max,
            write_time_max: options.write_time_max,
            headers_bytes_max: options.headers_bytes_max.max(HEADERS_BYTES_MIN),
            tls: options.tls,
            drain_time: options.drain_time,
            shutdown_time_max: options.shutdown_time_max,
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
        tokio::select! {
            () = self.serve(&graceful) => {}
            () = &mut shutdown => {}
        }
        self.app.closing.send_replace(true);
        let draining_seconds = self.drain_time.as_secs();
        tracing::info!(draining_seconds, "told to end");
        // Whoever looks at /readyz needs some time to send its clients elsewhere.
        let _ = tokio::time::timeout(self.drain_time, self.serve(&graceful)).await;
        drop(self.listener);
        let finished = tokio::time::timeout(self.shutdown_time_max, graceful.shutdown()).await;
        let connections = self.app.metrics.connections();
        if finished.is_err() {
            tracing::warn!(connections, "requests that took too long are cut off");
        }
        let app = self.app;
        // What was logged may have to be waited for.
        let closed = tokio::task::spawn_blocking(move || app.executor.close()).await;
        let executions = closed.unwrap_or(0);
        tracing::info!(executions_lost = executions, "ended");
        executions
    }

    /// Takes connections, for ever.
    async fn serve(&self, graceful: &GracefulShutdown) {
        loop {
            let Some(accepted) = accept(&self.listener, &self.connections).await else {
                continue;
            };
            let Accepted {
                stream,
                peer,
                permit,
            } = accepted;
            let counted = OpenConnection::new(&self.app);
            let conversation = Conversation {
                app: Arc::clone(&self.app),
                peer,
                headers_time_max: self.headers_time_max,
                headers_bytes_max: self.headers_bytes_max,
                write_time_max: self.write_time_max,
                watcher: graceful.watcher(),
            };
            let tls = self.tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => conversation.hold(stream).await,
                    Some(tls) => conversation.greet(stream, tls).await,
                }
                drop((permit, counted));
            });
        }
    }
}

/// What there is to a connection, beside its bytes.
struct Conversation {
    app: Arc<App>,
    peer: SocketAddr,
    headers_time_max: Duration,
    headers_bytes_max: usize,
    write_time_max: Duration,
    watcher: Watcher,
}

impl Conversation {
    /// Begins with TLS. Whoever speaks none, or takes too long for it, is not answered.
    async fn greet(self, stream: TcpStream, tls: Tls) {
        let greeting = TlsAcceptor::from(tls.0).accept(stream);
        let peer = self.peer;
        match tokio::time::timeout(self.headers_time_max, greeting).await {
            Ok(Ok(stream)) => self.hold(stream).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => tracing::debug!(%peer, "TLS took too long"),
        }
    }

    /// Answers one request after the other.
    async fn hold(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let Conversation {
            app,
            peer,
            headers_time_max,
            headers_bytes_max,
            write_time_max,
            watcher,
        } = self;
        let stream = Patient::new(stream, write_time_max);
        let service = service_fn(move |request| respond(Arc::clone(&app), peer, request));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(headers_time_max)
            .max_headers(HEADERS_MAX)
            .max_header_size(headers_bytes_max)
            .max_buf_size(headers_bytes_max)
            .serve_connection(TokioIo::new(stream), service);
        // A connection that breaks is the client's affair.
        let _ = watcher.watch(connection).await;
    }
}

/// How long the server waits if the system has no more sockets for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Takes a connection, once there is room.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> Option<Accepted> {
    if connections.available_permits() == 0 {
        tracing::warn!("there are as many connections as may be: others wait until one ends");
    }
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are written in one piece; waiting for more would only delay them.
            let _ = stream.set_nodelay(true);
            Some(Accepted {
                stream,
                peer,
                permit,
            })
        }
        Err(error) => {
            let of_client = matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionRefused
            );
            if !of_client {
                tracing::warn!(%error, "no connection can be taken; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None
        }
    }
}
