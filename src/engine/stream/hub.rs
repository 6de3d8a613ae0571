//! Where reader, workers and writer of a stream meet: its permits, what ends it, and memory to be used again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::Order;
use crate::engine::error::Error;
use crate::runtime::{Place, Shared};
use crate::task::lock;

/// Something to be done when a stream is stopped.
pub(super) type AtStop = Box<dyn FnOnce() + Send>;

/// What ends a stream early, and the executions that are to be given up then.
pub(super) struct Control {
    is_stopped: AtomicBool,
    has_panicked: AtomicBool,
    /// The batch after which nothing counts any more.
    cut: AtomicU64,
    shared: Weak<Shared>,
    order: Order,
    /// Done once, when the stream is stopped.
    at_stop: Mutex<Option<AtStop>>,
    /// By batch: executions that wait, or did.
    parked: Mutex<BTreeMap<u64, Vec<Place>>>,
}

impl Control {
    pub(super) fn new(shared: &Arc<Shared>, order: Order) -> Control {
        Control {
            is_stopped: AtomicBool::new(false),
            has_panicked: AtomicBool::new(false),
            cut: AtomicU64::new(u64::MAX),
            shared: Arc::downgrade(shared),
            order,
            at_stop: Mutex::default(),
            parked: Mutex::default(),
        }
    }

    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        if let Some(at_stop) = lock(&self.at_stop).take() {
            at_stop();
        }
        self.abandon_from(0);
    }

    /// Has something done once, when the stream is stopped; at once if it has been.
    pub(super) fn at_stop(&self, at_stop: AtStop) {
        *lock(&self.at_stop) = Some(at_stop);
        if self.is_stopped() {
            self.stop();
        }
    }

    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    /// Something of the user's has panicked on a worker.
    pub(super) fn panicked(&self) {
        self.has_panicked.store(true, Ordering::SeqCst);
        self.stop();
    }

    pub(super) fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::SeqCst)
    }

    /// Nothing after batch `seq` counts any more.
    pub(super) fn cut_after(&self, seq: u64) {
        self.cut.fetch_min(seq, Ordering::SeqCst);
        if self.order == Order::Events {
            self.abandon_from(seq + 1);
        }
    }

    /// True if what a batch comes to is still wanted.
    #[inline]
    pub(super) fn wants(&self, seq: u64) -> bool {
        !self.is_stopped() && seq <= self.cut.load(Ordering::SeqCst)
    }

    fn abandon_from(&self, seq: u64) {
        let unwanted = lock(&self.parked).split_off(&seq);
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        for place in unwanted.into_values().flatten() {
            shared.abandon(place);
        }
    }

    /// An execution of a batch waits: it is given up if it is not wanted any more.
    pub(super) fn parked(&self, seq: u64, place: Place) {
        let mut parked = lock(&self.parked);
        let places = parked.entry(seq).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
        drop(parked);
        // Looked at after the place is in the list: either it is found there, or this is seen here.
        if self.is_stopped() || self.order == Order::Events && !self.wants(seq) {
            self.abandon_from(seq);
        }
    }

    /// A batch has ended.
    pub(super) fn ended(&self, seq: u64) {
        lock(&self.parked).remove(&seq);
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("is_stopped", &self.is_stopped)
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

/// Reader, workers and writer of one stream.
#[derive(Debug)]
pub(super) struct Hub<P> {
    state: Mutex<State<P>>,
    /// Wakes the reader: there is room in the queue, or there are permits.
    room: Condvar,
    queued_max: usize,
    permits_max: usize,
}

#[derive(Debug)]
struct State<P> {
    /// Batches that no worker has begun.
    queued: usize,
    permits: usize,
    is_closed: bool,
    free_pages: Vec<Vec<P>>,
    read_error: Option<Error>,
}

impl<P> Hub<P> {
    pub(super) fn new(queued_max: usize, permits: usize) -> Hub<P> {
        Hub {
            state: Mutex::new(State {
                queued: 0,
                permits,
                is_closed: false,
                free_pages: Vec::new(),
                read_error: None,
            }),
            room: Condvar::new(),
            queued_max,
            permits_max: permits,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        lock(&self.state)
    }

    /// Takes permits for `events`, once there is room and there are so many; `None` if nobody wants them any more.
    pub(super) fn take_permits(&self, events: usize) -> Option<(usize, Vec<P>)> {
        // A source that gives more than it may has to wait until it is alone.
        let permits = events.min(self.permits_max);
        let mut state = self.state();
        while !state.is_closed && (state.permits < permits || state.queued >= self.queued_max) {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return None;
        }
        state.permits -= permits;
        state.queued += 1;
        Some((permits, state.free_pages.pop().unwrap_or_default()))
    }

    /// A worker has begun with a batch. True if none is queued any more.
    pub(super) fn begun(&self) -> bool {
        let mut state = self.state();
        state.queued -= 1;
        let is_empty = state.queued == 0;
        drop(state);
        self.room.notify_one();
        is_empty
    }

    /// Takes back permits and memory.
    pub(super) fn recycle(&self, permits: usize, pages: Vec<P>) {
        let mut state = self.state();
        state.permits += permits;
        if state.free_pages.len() <= self.queued_max {
            state.free_pages.push(pages);
        }
        drop(state);
        self.room.notify_one();
    }

    /// Nothing is taken any more.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.room.notify_all();
    }

    pub(super) fn set_read_error(&self, error: Error) {
        self.state().read_error = Some(error);
    }

    pub(super) fn take_read_error(&self) -> Option<Error> {
        self.state().read_error.take()
    }
}
