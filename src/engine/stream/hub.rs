//! Where reader, workers and writer meet: the queue of batches, the permits, memory to be used again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use super::batch::{Batch, Events};
use crate::engine::error::Error;
use crate::task::lock;

/// What ends a stream early.
#[derive(Debug)]
pub(super) struct Control {
    is_stopped: AtomicBool,
    /// The batch after which nothing counts any more.
    cut: AtomicU64,
    workers: Mutex<Vec<Thread>>,
}

impl Control {
    pub(super) fn new() -> Control {
        Control {
            is_stopped: AtomicBool::new(false),
            cut: AtomicU64::new(u64::MAX),
            workers: Mutex::default(),
        }
    }

    /// The calling thread wants to know of a stop.
    pub(super) fn enlist(&self) {
        lock(&self.workers).push(thread::current());
    }

    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.wake();
    }

    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Nothing after batch `seq` counts any more.
    pub(super) fn cut_after(&self, seq: u64) {
        self.cut.fetch_min(seq, Ordering::AcqRel);
        self.wake();
    }

    #[inline]
    pub(super) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Acquire)
    }

    fn wake(&self) {
        for worker in lock(&self.workers).iter() {
            worker.unpark();
        }
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
    queue: VecDeque<Batch<P>>,
    permits: usize,
    is_closed: bool,
    idle: Vec<Thread>,
    free_batches: Vec<Batch<P>>,
    free_events: Vec<Events>,
    read_error: Option<Error>,
}

/// What a worker gets.
pub(super) enum Taken<P> {
    Batch(Batch<P>),
    /// Nothing yet; the worker is woken when there is.
    Nothing,
    /// Nothing ever again.
    Closed,
}

impl<P> Hub<P> {
    pub(super) fn new(queued_max: usize, permits: usize) -> Hub<P> {
        Hub {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                permits,
                is_closed: false,
                idle: Vec::new(),
                free_batches: Vec::new(),
                free_events: Vec::new(),
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

    /// Memory for events.
    pub(super) fn take_events(&self) -> Events {
        self.state().free_events.pop().unwrap_or_default()
    }

    /// Queues events, once there is room and there are permits; false if nobody wants them any more.
    pub(super) fn push(&self, seq: u64, events: Events) -> bool {
        // A source that gives more than it may has to wait until it is alone.
        let permits = events.len().min(self.permits_max);
        let mut state = self.state();
        while !state.is_closed && (state.permits < permits || state.queue.len() >= self.queued_max)
        {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return false;
        }
        state.permits -= permits;
        let mut batch = state.free_batches.pop().unwrap_or_else(Batch::new);
        batch.reset(seq, permits);
        batch.events = events;
        state.queue.push_back(batch);
        let worker = state.idle.pop();
        drop(state);
        if let Some(worker) = worker {
            worker.unpark();
        }
        true
    }

    /// The next batch for the calling worker.
    pub(super) fn take(&self, worker: &Thread) -> Taken<P> {
        let mut state = self.state();
        state.idle.retain(|idle| idle.id() != worker.id());
        match state.queue.pop_front() {
            Some(batch) => {
                drop(state);
                self.room.notify_one();
                Taken::Batch(batch)
            }
            None if state.is_closed => Taken::Closed,
            None => {
                state.idle.push(worker.clone());
                Taken::Nothing
            }
        }
    }

    /// Takes back the memory of events that have become executions.
    pub(super) fn recycle_events(&self, events: Events) {
        let mut state = self.state();
        if state.free_events.len() <= self.queued_max {
            state.free_events.push(events);
        }
    }

    /// Takes back permits and memory.
    pub(super) fn recycle(&self, batch: Batch<P>) {
        let mut state = self.state();
        state.permits += batch.permits;
        if state.free_batches.len() <= self.queued_max {
            state.free_batches.push(batch);
        }
        drop(state);
        self.room.notify_one();
    }

    /// Nothing is queued any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        self.room.notify_all();
        for worker in idle {
            worker.unpark();
        }
    }

    /// Closes when what is returned is dropped, even by a panic.
    pub(super) fn close_at_end(&self) -> impl Drop + '_ {
        struct Closer<'h, P>(&'h Hub<P>);
        impl<P> Drop for Closer<'_, P> {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        Closer(self)
    }

    pub(super) fn set_read_error(&self, error: Error) {
        self.state().read_error = Some(error);
    }

    pub(super) fn take_read_error(&self) -> Option<Error> {
        self.state().read_error.take()
    }
}
