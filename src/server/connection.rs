//! One connection: from its first byte to its end.
//!
//! 1. Until its first byte comes, a connection is a socket and a timer; what HTTP needs is made then.
//! 2. Its requests come one after the other. It ends with its client, with the server, or when the client has been quiet
//!    for too long: between requests, or in the middle of a head.
//! 3. There is one timer for a connection, which nobody sets again for a request: it looks in now and then.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use super::app::App;
use super::metrics::OpenConnection;
use super::patience::Patient;
use super::route::respond;
use super::tls::Tls;
use crate::stdx::FixedMap;
use crate::task::lock;

/// How often a connection is looked at within the time that its client may be quiet.
const LOOKS: u32 = 4;

/// What all connections of a server have in common.
#[derive(Debug)]
pub(super) struct House {
    pub(super) app: Arc<App>,
    pub(super) headers_time_max: Duration,
    pub(super) headers_bytes_max: usize,
    pub(super) write_time_max: Duration,
    pub(super) tls: Option<Tls>,
    pub(super) open: OpenOnes,
}

/// The connections that are open, to be told that the server ends.
#[derive(Debug, Default)]
pub(super) struct OpenOnes {
    is_ending: AtomicBool,
    next: AtomicU64,
    wakers: Mutex<FixedMap<u64, Waker>>,
}

impl OpenOnes {
    /// Every connection ends with the request under way, or at once.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
        for waker in std::mem::take(&mut *lock(&self.wakers)).into_values() {
            waker.wake();
        }
    }

    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    /// Makes a connection known by the waker of its future, which it keeps.
    fn enter(&self, waker: Waker) -> Entered<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.wakers).insert(number, waker);
        Entered { open: self, number }
    }
}

/// A connection that is known.
struct Entered<'a> {
    open: &'a OpenOnes,
    number: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        lock(&self.open.wakers).remove(&self.number);
    }
}

/// How a connection stands, told by what reads and writes it to what looks at the time.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// True from the head of a request to the last byte of its answer's body.
    is_busy: AtomicBool,
    /// True while an answer cannot be written since the client does not read: which has a bound of its own.
    is_stalled: AtomicBool,
    /// Requests that were answered.
    answered: AtomicU32,
}

impl Pulse {
    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }
}

/// A connection of a client.
#[derive(Debug)]
pub(super) struct Connection {
    house: Arc<House>,
    pub(super) peer: SocketAddr,
    pulse: Arc<Pulse>,
    _counted: OpenConnection,
}

/// A connection whose request is being done: it is not the client who is waited for.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

impl Drop for Busy {
    fn drop(&mut self) {
        let pulse = &self.0.pulse;
        pulse.answered.fetch_add(1, Ordering::Relaxed);
        pulse.is_busy.store(false, Ordering::Release);
    }
}

/// The patience with a client that is quiet.
struct Patience<'s> {
    sleep: Pin<&'s mut Sleep>,
    tick: Duration,
    is_armed: bool,
    /// Looks since which nothing was asked.
    quiet: u32,
    answered: u32,
}

impl<'s> Patience<'s> {
    fn new(sleep: Pin<&'s mut Sleep>, tick: Duration) -> Patience<'s> {
        Patience {
            sleep,
            tick,
            is_armed: false,
            quiet: 0,
            answered: 0,
        }
    }

    /// True once the client has been quiet for too long; else the connection's future is woken when to look again.
    fn is_over(&mut self, context: &mut Context<'_>, pulse: &Pulse) -> bool {
        loop {
            // The waker of a connection's future does not change, so that it is enough to leave it once.
            if self.is_armed && !self.sleep.is_elapsed() {
                return false;
            }
            self.is_armed = true;
            if self.sleep.as_mut().poll(context).is_pending() {
                return false;
            }
            let is_busy = pulse.is_busy.load(Ordering::Acquire);
            let is_waited_for = !is_busy && !pulse.is_stalled.load(Ordering::Relaxed);
            let answered = pulse.answered.load(Ordering::Relaxed);
            self.quiet = match is_waited_for && answered == self.answered {
                true => self.quiet + 1,
                false => 0,
            };
            if self.quiet == LOOKS {
                return true;
            }
            self.answered = answered;
            self.sleep.as_mut().reset(Instant::now() + self.tick);
            self.is_armed = false;
        }
    }
}

impl Connection {
    pub(super) fn new(house: &Arc<House>, peer: SocketAddr) -> Connection {
        Connection {
            peer,
            pulse: Arc::default(),
            _counted: OpenConnection::new(&house.app),
            house: Arc::clone(house),
        }
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.house.app
    }

    /// Says that a request is being done, for as long as what is returned is kept.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.pulse.is_busy.store(true, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Answers one request after the other, to the end.
    pub(super) async fn converse(self: Arc<Self>, stream: TcpStream) {
        let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
        let house = Arc::clone(&self.house);
        let _entered = house.open.enter(waker);
        let tick = house.headers_time_max / LOOKS;
        let sleep = pin!(tokio::time::sleep(tick));
        let mut patience = Patience::new(sleep, tick);
        // What follows the first byte has memory of its own: most connections are quiet most of the time.
        match &house.tls {
            None => {
                if self.begins(&stream, &mut patience).await {
                    Box::pin(self.hold(stream, &mut patience)).await;
                }
            }
            Some(tls) => Box::pin(self.greet(stream, tls, &mut patience)).await,
        }
    }

    /// Waits for the first byte; false if there will be none.
    async fn begins(&self, stream: &TcpStream, patience: &mut Patience<'_>) -> bool {
        let mut byte = [0];
        poll_fn(|context| {
            // That a socket is said to be readable proves nothing.
            if let Poll::Ready(peeked) = stream.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
                return Poll::Ready(peeked.is_ok_and(|bytes| bytes > 0));
            }
            match self.house.open.is_ending() || patience.is_over(context, &self.pulse) {
                true => Poll::Ready(false),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Begins with TLS. Whoever speaks none, or takes too long for it, is not answered.
    async fn greet(self: Arc<Self>, stream: TcpStream, tls: &Tls, patience: &mut Patience<'_>) {
        let greeting = TlsAcceptor::from(Arc::clone(&tls.0)).accept(stream);
        let peer = self.peer;
        let mut greeting = pin!(tokio::time::timeout(self.house.headers_time_max, greeting));
        let greeted = poll_fn(|context| match greeting.as_mut().poll(context) {
            Poll::Ready(greeted) => Poll::Ready(Some(greeted)),
            // No request is under way: the end does not wait for one.
            Poll::Pending if self.house.open.is_ending() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match greeted.await {
            Some(Ok(Ok(stream))) => self.hold(stream, patience).await,
            Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "no TLS"),
            Some(Err(_)) => tracing::debug!(%peer, "TLS took too long"),
            None => tracing::debug!(%peer, "the server ends before TLS has begun"),
        }
    }

    async fn hold(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        patience: &mut Patience<'_>,
    ) {
        let house = &self.house;
        let stream = Patient::new(stream, house.write_time_max, Arc::clone(&self.pulse));
        let itself = Arc::clone(&self);
        let service = service_fn(move |request| respond(Arc::clone(&itself), request));
        let connection = hyper::server::conn::http1::Builder::new()
            // The time is looked at here; a timer of its own for each head would cost more than the head.
            .header_read_timeout(None)
            // A hundred headers are hyper's own bound, which costs less than one that is set.
            .max_header_size(house.headers_bytes_max)
            .max_buf_size(house.headers_bytes_max)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut is_told = false;
        poll_fn(|context| {
            if !is_told && house.open.is_ending() {
                is_told = true;
                connection.as_mut().graceful_shutdown();
            }
            // A connection that breaks is the client's affair.
            let is_over = connection.as_mut().poll(context).is_ready();
            match is_over || patience.is_over(context, &self.pulse) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
