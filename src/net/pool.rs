//! Connections that are open, by origin: how many, and how long they may lie idle.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::client::Limits;
use super::connect::{Connection, Origin};
use super::error::{Error, ErrorKind};
use crate::stdx::FixedMap;
use crate::task::lock;

/// The connections of a client.
#[derive(Debug)]
pub(super) struct Pool {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    origins: FixedMap<Origin, PerOrigin>,
    /// A task is under way that closes what lies idle too long.
    has_sweeper: bool,
}

#[derive(Debug)]
struct PerOrigin {
    /// As many as connections may be open.
    permits: Arc<Semaphore>,
    /// The one that was used last is the last.
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// The right to a connection to an origin.
#[derive(Debug)]
pub(super) struct Permit {
    origin: Origin,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Pool {
        Pool {
            limits,
            state: Mutex::default(),
        }
    }

    /// Waits until one more connection to the origin may be used.
    pub(super) async fn permit(&self, origin: Origin) -> Result<Permit, Error> {
        let permits = self.permits(&origin)?;
        let permit = permits.acquire_owned().await.map_err(|_| {
            // Nobody closes a semaphore here; if somebody did, there is no connection to be had.
            Error::new(ErrorKind::Unreachable, "the client is closed")
        })?;
        Ok(Permit {
            origin,
            _permit: permit,
        })
    }

    fn permits(&self, origin: &Origin) -> Result<Arc<Semaphore>, Error> {
        let mut state = lock(&self.state);
        if let Some(known) = state.origins.get(origin) {
            return Ok(Arc::clone(&known.permits));
        }
        if state.origins.len() >= self.limits.origins_max {
            forget_unused(&mut state);
        }
        if state.origins.len() >= self.limits.origins_max {
            let message = format!("{} hosts are being called already", self.limits.origins_max);
            return Err(Error::new(ErrorKind::Unreachable, message));
        }
        let permits = Arc::new(Semaphore::new(self.limits.connections_max));
        let known = PerOrigin {
            permits: Arc::clone(&permits),
            idle: Vec::new(),
        };
        state.origins.insert(origin.clone(), known);
        Ok(permits)
    }

    /// A connection that lies idle, if there is one.
    pub(super) fn take(&self, permit: &Permit) -> Option<Connection> {
        let mut state = lock(&self.state);
        let idle = &mut state.origins.get_mut(&permit.origin)?.idle;
        let oldest = Instant::now().checked_sub(self.limits.idle_time_max);
        while let Some(last) = idle.pop() {
            if oldest.is_some_and(|oldest| last.since < oldest) {
                // Those before it are older yet.
                idle.clear();
                return None;
            }
            if last.connection.is_open() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Takes a connection back, or closes it.
    pub(super) fn put(self: &Arc<Self>, permit: Permit, connection: Connection) {
        if !connection.is_open() {
            return;
        }
        let mut state = lock(&self.state);
        let Some(origin) = state.origins.get_mut(&permit.origin) else {
            return;
        };
        if origin.idle.len() >= self.limits.idle_max {
            return;
        }
        origin.idle.push(Idle {
            connection,
            since: Instant::now(),
        });
        if !state.has_sweeper {
            state.has_sweeper = true;
            let task = sweep(Arc::downgrade(self), self.limits.idle_time_max);
            tokio::spawn(Sweeper(Arc::downgrade(self)).run(task));
        }
    }

    /// How many connections lie idle and are open still.
    pub(super) fn idle(&self) -> usize {
        let state = lock(&self.state);
        let idle = state.origins.values().flat_map(|origin| &origin.idle);
        idle.filter(|idle| idle.connection.is_open()).count()
    }
}

/// Drops origins that have no connection and that nobody is calling.
fn forget_unused(state: &mut State) {
    state.origins.retain(|_, origin| {
        origin.idle.retain(|idle| idle.connection.is_open());
        !origin.idle.is_empty() || Arc::strong_count(&origin.permits) > 1
    });
}

/// Says that there is no sweeper any more, however it ends: with its runtime, for instance.
struct Sweeper(Weak<Pool>);

impl Sweeper {
    async fn run(self, task: impl Future<Output = ()>) {
        task.await;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            lock(&pool.state).has_sweeper = false;
        }
    }
}

/// Closes what lies idle too long, until nothing does.
async fn sweep(pool: Weak<Pool>, idle_time_max: Duration) {
    loop {
        tokio::time::sleep(idle_time_max).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let mut state = lock(&pool.state);
        let oldest = Instant::now().checked_sub(idle_time_max);
        #[expect(clippy::iter_over_hash_type, reason = "each of them by itself")]
        for origin in state.origins.values_mut() {
            origin
                .idle
                .retain(|idle| oldest.is_none_or(|oldest| idle.since > oldest));
        }
        forget_unused(&mut state);
        if state.origins.values().all(|origin| origin.idle.is_empty()) {
            // While the lock is held, so that whoever puts one back next begins another sweep.
            state.has_sweeper = false;
            return;
        }
    }
}
