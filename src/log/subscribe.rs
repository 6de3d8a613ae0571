//! [`Subscription`]: events for somebody in the same process, as they are flushed.
//!
//! Subscribers have one queue of blocks and one thread, started for the first of them; it renders what they want. Neither
//! a worker nor that thread ever waits for one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use super::block::Block;
use super::decode::Decoder;
use super::filter::Filter;
use super::queue::{Policy, Queue};
use super::render::{LineFormat, Renderer};
use crate::history::{EventType, LogLevel};

/// An event for a subscriber.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscribedEvent {
    /// Name of the machine.
    pub machine: Box<str>,
    /// ARN of the execution.
    pub execution_arn: Box<str>,
    /// Number of the event in its execution.
    pub id: u64,
    /// Its type.
    pub event_type: EventType,
    /// The lowest level of log that holds it.
    pub level: LogLevel,
    /// AWS's JSON, without a line's end.
    pub json: Box<str>,
}

/// Events that a filter lets through, for whoever fetches them. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    subscriber: Arc<Subscriber>,
    all: Arc<Subscribers>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.all.remove(&self.subscriber);
    }
}

impl Subscription {
    /// The next event, if one is there.
    #[must_use]
    pub fn try_next(&self) -> Option<SubscribedEvent> {
        self.subscriber.lock().events.pop_front()
    }

    /// The next event; `None` if none comes in that time, or the stream is closed.
    #[must_use]
    pub fn next_within(&self, timeout: Duration) -> Option<SubscribedEvent> {
        let state = self.subscriber.lock();
        let (mut state, _) = self
            .subscriber
            .arrived
            .wait_timeout_while(state, timeout, |state| {
                state.events.is_empty() && !state.is_closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.events.pop_front()
    }

    /// Events that were dropped because too many waited. Where all subscribers together were too slow, what was dropped
    /// was not looked at: it counts whether the filter would have let it through or not.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.subscriber.dropped.load(Ordering::Relaxed)
    }

    /// True once the stream is closed: nothing will come but what waits.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.subscriber.lock().is_closed
    }
}

#[derive(Debug)]
struct Subscriber {
    filter: Filter,
    events_max: usize,
    state: Mutex<State>,
    arrived: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<SubscribedEvent>,
    is_closed: bool,
}

impl Subscriber {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of blocks that wait for being rendered.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// All subscribers of a stream.
#[derive(Debug)]
pub(super) struct Subscribers {
    count: AtomicUsize,
    queue: Queue,
    list: Mutex<List>,
    /// Grows with every change of what is logged: also with every subscriber that comes or goes.
    pub(super) epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct List {
    subscribers: Vec<Arc<Subscriber>>,
    has_thread: bool,
    is_closed: bool,
    /// Events that were dropped for subscribers that are gone.
    dropped: u64,
}

impl Subscribers {
    pub(super) fn new() -> Arc<Subscribers> {
        Arc::new(Subscribers {
            count: AtomicUsize::new(0),
            queue: Queue::new(Policy::Drop, QUEUE_BYTES),
            list: Mutex::default(),
            epoch: AtomicU64::new(1),
        })
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    pub(super) fn add(
        self: &Arc<Subscribers>,
        filter: Filter,
        events_max: usize,
    ) -> io::Result<Subscription> {
        let mut list = self.list();
        if !list.has_thread {
            let all = Arc::clone(self);
            thread::Builder::new()
                .name("quickstep-log".to_owned())
                .spawn(move || all.run())?;
            list.has_thread = true;
        }
        let subscriber = Arc::new(Subscriber {
            filter,
            events_max,
            state: Mutex::new(State {
                events: VecDeque::new(),
                is_closed: list.is_closed,
            }),
            arrived: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        list.subscribers.push(Arc::clone(&subscriber));
        self.count.fetch_add(1, Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::Release);
        Ok(Subscription {
            subscriber,
            all: Arc::clone(self),
        })
    }

    fn remove(&self, gone: &Arc<Subscriber>) {
        let mut list = self.list();
        list.subscribers.retain(|other| !Arc::ptr_eq(other, gone));
        list.dropped += gone.dropped.load(Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Hands a block on, if anybody may want it.
    pub(super) fn publish(&self, block: &Arc<Block>) {
        if !self.is_empty() && self.queue.push(block).is_err() {
            for subscriber in &self.list().subscribers {
                subscriber
                    .dropped
                    .fetch_add(block.events.into(), Ordering::Relaxed);
            }
        }
    }

    pub(super) fn close(&self) {
        self.queue.close();
        let mut list = self.list();
        list.is_closed = true;
        if !list.has_thread {
            list.close();
        }
    }

    /// Subscribers there are, and events that were dropped for them and those before.
    pub(super) fn counters(&self) -> (u64, u64) {
        let list = self.list();
        let dropped = list.subscribers.iter();
        let dropped = dropped.map(|subscriber| subscriber.dropped.load(Ordering::Relaxed));
        (
            list.subscribers.len() as u64,
            list.dropped + dropped.sum::<u64>(),
        )
    }

    fn run(&self) {
        let mut decoder = Decoder::default();
        let mut renderer = Renderer::default();
        let (mut line, mut scratch) = (Vec::new(), Vec::new());
        while let Some(block) = self.queue.pop() {
            let subscribers = self.list().subscribers.clone();
            decoder.begin();
            while let Ok(Some(entry)) = decoder.next(&block.items) {
                let mut event: Option<SubscribedEvent> = None;
                for subscriber in &subscribers {
                    if !subscriber.filter.wants(&entry, &mut renderer, &mut scratch) {
                        continue;
                    }
                    let event = event.get_or_insert_with(|| {
                        line.clear();
                        renderer.forget();
                        renderer.line(&entry, LineFormat::Json, &mut line);
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
                        SubscribedEvent {
                            machine: text(entry.machine()),
                            execution_arn: text(entry.execution_arn()),
                            id: entry.id,
                            event_type: entry.event_type,
                            level: entry.event_type.level(),
                            json: text(line.trim_ascii_end()),
                        }
                    });
                    subscriber.deliver(event);
                }
            }
        }
        let mut list = self.list();
        list.is_closed = true;
        list.close();
    }
}

impl List {
    fn close(&self) {
        for subscriber in &self.subscribers {
            subscriber.lock().is_closed = true;
            subscriber.arrived.notify_all();
        }
    }
}

impl Subscriber {
    fn deliver(&self, event: &SubscribedEvent) {
        let mut state = self.lock();
        if state.events.len() >= self.events_max {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.events.push_back(event.clone());
        drop(state);
        self.arrived.notify_one();
    }
}
