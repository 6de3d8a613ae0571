//! Sockets: connections are taken, and the end.
//!
//! 1. A connection is taken once there is room for one; it has a future of its own (`connection`).
//! 2. Headers and bodies have bounds of size and time, and all bodies that are being read have one together, so that clients
//!    cannot fill the memory however many they are.
//! 3. At the end no connection is taken any more, requests under way are waited for, and then it is over.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Connection, House, OpenOnes};
use super::{ServerOptions, StartError};

/// What hyper reads at a time.
const HEADERS_BYTES_MIN: usize = 8 * 1024;

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    house: Arc<House>,
    connections: Arc<Semaphore>,
    connections_max: u32,
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
        // More than a system has sockets for.
        let connections_max = u32::try_from(options.connections_max).unwrap_or(u32::MAX);
        let connections_max = connections_max.clamp(1, 1 << 24);
        Ok(Server {
            listener,
            addr,
            house: Arc::new(House {
                app,
                headers_time_max: options.headers_time_max,
                headers_bytes_max: options.headers_bytes_max.max(HEADERS_BYTES_MIN),
                write_time_max: options.write_time_max,
                tls: options.tls,
                open: OpenOnes::default(),
            }),
            connections: Arc::new(Semaphore::new(connections_max as usize)),
            connections_max,
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
        self.house.app.catalogue.is_durable()
    }

    /// True if EXPRESS executions that nobody waits for do, too.
    #[must_use]
    pub fn keeps_express(&self) -> bool {
        self.house.app.executor.keeps_starts()
    }

    /// Serves until `shutdown` is ready; then ends the requests under way and returns how many executions were still
    /// running, which are lost.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> usize {
        self.house.app.executor.recover();
        let mut shutdown = pin!(shutdown);
        tokio::select! {
            () = self.serve() => {}
            () = &mut shutdown => {}
        }
        let app = Arc::clone(&self.house.app);
        app.closing.send_replace(true);
        let draining_seconds = self.drain_time.as_secs();
        tracing::info!(draining_seconds, "told to end");
        // Whoever looks at /readyz needs some time to send its clients elsewhere.
        let _ = tokio::time::timeout(self.drain_time, self.serve()).await;
        drop(self.listener);
        self.house.open.end();
        // With the last connection all permits are there again.
        let all = self.connections.acquire_many(self.connections_max);
        let finished = tokio::time::timeout(self.shutdown_time_max, all).await;
        let connections = app.metrics.connections();
        if finished.is_err() {
            tracing::warn!(connections, "requests that took too long are cut off");
        }
        // What was logged may have to be waited for.
        let closed = tokio::task::spawn_blocking(move || app.executor.close()).await;
        let executions = closed.unwrap_or(0);
        tracing::info!(executions_lost = executions, "ended");
        executions
    }

    /// Takes connections, for ever.
    async fn serve(&self) {
        loop {
            let Some(accepted) = accept(&self.listener, &self.connections).await else {
                continue;
            };
            let Accepted {
                stream,
                peer,
                permit,
            } = accepted;
            let connection = Arc::new(Connection::new(&self.house, peer));
            tokio::spawn(async move {
                connection.converse(stream).await;
                drop(permit);
            });
        }
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
