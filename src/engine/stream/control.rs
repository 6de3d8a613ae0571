//! What ends a stream: [`Control`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::Order;
use crate::runtime::{Place, Shared};
use crate::task::lock;

/// Ends the reading, and has reader and writer look at what is new.
pub(super) type EndReading = Box<dyn Fn() + Send>;

/// A moment that does not come.
const NEVER: u64 = u64::MAX;

/// What ends a stream early, and the executions that are to be given up then.
pub(super) struct Control {
    is_stopped: AtomicBool,
    has_panicked: AtomicBool,
    /// When what is in flight is given up, in nanoseconds of the clock; the maximum, if nobody drains the stream.
    drained_at: AtomicU64,
    /// The batch after which nothing counts any more.
    cut: AtomicU64,
    shared: Weak<Shared>,
    order: Order,
    /// There while the stream runs.
    end_reading: Mutex<Option<EndReading>>,
    /// By batch: executions that wait, or did.
    parked: Mutex<BTreeMap<u64, Vec<Place>>>,
}

impl Control {
    pub(super) fn new(shared: &Arc<Shared>, order: Order) -> Control {
        Control {
            is_stopped: AtomicBool::new(false),
            has_panicked: AtomicBool::new(false),
            drained_at: AtomicU64::new(NEVER),
            cut: AtomicU64::new(u64::MAX),
            shared: Arc::downgrade(shared),
            order,
            end_reading: Mutex::default(),
            parked: Mutex::default(),
        }
    }

    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.end_reading();
        self.abandon_from(0);
    }

    /// No further event is read, and what is in flight is given up after `patience`.
    pub(super) fn drain(&self, patience: Duration) {
        if let Some(shared) = self.shared.upgrade() {
            let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
            let until = shared.clock.nanos().saturating_add(patience).min(NEVER - 1);
            self.drained_at.fetch_min(until, Ordering::SeqCst);
        }
        self.end_reading();
    }

    fn end_reading(&self) {
        if let Some(end_reading) = &*lock(&self.end_reading) {
            end_reading();
        }
    }

    /// The stream runs: what ends its reading. It is ended at once if it was before.
    pub(super) fn begin(&self, end_reading: EndReading) {
        *lock(&self.end_reading) = Some(end_reading);
        if self.is_stopped() {
            self.stop();
        } else if self.drained_at().is_some() {
            self.end_reading();
        }
    }

    /// The stream runs no more.
    pub(super) fn finish(&self) {
        lock(&self.end_reading).take();
    }

    /// When what is in flight is given up, if somebody drains the stream.
    pub(super) fn drained_at(&self) -> Option<u64> {
        let at = self.drained_at.load(Ordering::SeqCst);
        (at != NEVER).then_some(at)
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
