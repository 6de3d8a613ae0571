//! One execution for every event of a stream, on worker threads.
//!
//! Everything moves in batches, so that an event costs its execution and little else:
//!
//! 1. The reader thread fills [`Events`] from a [`Source`] and hands them to the engine as one batch of starts.
//! 2. A worker runs each event's execution at once, to its end, if it can. A [`Recorder`], one for each worker, puts down
//!    what came of it on the batch's page.
//! 3. An execution that has to wait is parked by the runtime. With [`Order::Events`] it leaves a page of its own behind, for
//!    later; with [`Order::Completion`] its page is sent when it ends.
//! 4. A batch of which every execution has ended goes to the thread that runs the stream, which gives the pages to the
//!    [`Sink`]: in the order of the events, or with [`Order::Completion`] as executions end.
//!
//! What bounds the memory is a number of permits: the reader takes one for every event, and the sink gives it back. A
//! slow execution at the head of an ordered stream so holds the reader in the end.
//!
//! A stream ends in one of four ways: its source ends; an event is refused and the recorder says stop, then everything
//! before that event still comes to its end; the sink fails; or somebody stops it. In the last two cases what is under
//! way is abandoned.

mod batch;
mod hub;
mod lines;
mod outlet;
mod pipeline;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use super::error::{Error, ErrorKind};
use super::machine::StateMachine;
use super::run::Engine;
use crate::history::Observer;
use crate::interp::{Invocation, MachineIdentity, StartError};
use crate::runtime::Ended;
use crate::runtime::outlet::Outlet;
use crate::task::lock;
use hub::{Control, Hub};
use outlet::{Common, Part, StreamBatch};

pub use batch::Events;
pub use lines::{EVENT_BYTES_MAX, LineSource};
pub use pipeline::{Pipeline, PipelineEvent};

/// Events of a batch, at most.
pub(super) const BATCH_EVENTS_MAX: usize = 256;
/// Bytes at which a batch is full.
pub(super) const BATCH_BYTES: usize = 64 * 1024;
/// How long the reader waits when the engine has as much to do as it may.
const THROTTLED_WAIT: Duration = Duration::from_millis(5);
/// Events of the first batch; each is twice as large as the one before. Short streams so reach all workers.
const FIRST_BATCH_EVENTS: usize = 16;
/// Batches that wait for a worker, for each worker.
const QUEUED_PER_WORKER: usize = 4;

/// Where events come from.
pub trait Source: Send + 'static {
    /// Puts the next events into `events`, which is empty: as many as are there, one at least unless this is the end,
    /// and no more than [`Events::events_max`].
    ///
    /// # Errors
    ///
    /// If events cannot be read; the stream ends with those that were read before.
    fn read(&mut self, events: &mut Events) -> Result<Reading, Error>;
}

/// Whether there is more to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// There may be.
    More,
    /// There is not.
    End,
}

/// Puts down what comes of executions: one for each worker. As an [`Observer`] it sees the events of their history.
pub trait Recorder: Observer + Send + 'static {
    /// What comes of a run of neighbouring events. Its memory is used again.
    type Page: Default + Send + 'static;

    /// An execution starts or goes on: the events that are observed next belong to it. Called only if this recorder
    /// observes.
    fn turn_to(&mut self, _machine: &Arc<MachineIdentity>, _seed: u64) {}

    /// An empty page begins, for so many executions at most.
    fn begin(&mut self, _page: &mut Self::Page, _executions: usize) {}

    /// An execution has ended.
    fn ended(&mut self, ended: &Ended<'_>, page: &mut Self::Page);

    /// An event was no input for an execution. Says whether the stream goes on.
    fn refused(&mut self, refused: &Refused, page: &mut Self::Page) -> ControlFlow<()>;

    /// An execution was stopped with the stream.
    fn abandoned(&mut self, _line: u64) {}

    /// There is nothing to do for a while: what is buffered should go out.
    fn idle(&mut self) {}
}

/// Where pages go, in the order of their events or as they come.
pub trait Sink<P> {
    /// Takes what is on a page, and leaves it empty.
    ///
    /// # Errors
    ///
    /// If nobody wants it any more; the stream stops.
    fn write(&mut self, page: &mut P) -> io::Result<()>;
}

/// An event that is no input for an execution.
#[derive(Debug)]
pub struct Refused {
    /// Number of the event, from 1.
    pub line: u64,
    /// Why.
    pub reason: Refusal,
}

/// Why an event is no input for an execution.
#[derive(Debug)]
pub enum Refusal {
    /// It is not JSON, or too large for an input.
    Start(StartError),
    /// It is so long that it was not kept; its bytes.
    TooLong(u64),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Start(error) => error.fmt(f),
            Refusal::TooLong(bytes) => write!(
                f,
                "it has {bytes} bytes; lines of more than {EVENT_BYTES_MAX} bytes are not read"
            ),
        }
    }
}

/// In which order pages go to the sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Order {
    /// In that of the events.
    #[default]
    Events,
    /// In that in which executions end.
    Completion,
}

/// How a stream is run.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Most executions that have started, or are about to, and whose results the sink has not taken.
    pub in_flight: usize,
    /// The order of results.
    pub order: Order,
}

impl Default for StreamOptions {
    /// 10,000 executions in flight, in the order of the events.
    fn default() -> StreamOptions {
        StreamOptions {
            in_flight: 10_000,
            order: Order::Events,
        }
    }
}

/// How a stream ended.
#[derive(Debug)]
pub enum StreamEnd {
    /// Every event has its result.
    Finished,
    /// A recorder stopped it at an event that was refused.
    Refused,
    /// A [`Stopper`] stopped it.
    Stopped,
    /// Its source failed.
    ReadFailed(Error),
    /// Its sink failed.
    WriteFailed(io::Error),
}

/// Stops a stream from elsewhere.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Control>);

impl Stopper {
    /// No further execution starts, those that wait are abandoned, and the stream ends. The thread that reads from the
    /// source may be left behind, if the source does not come back to it.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// Runs one execution for every event of a source: see the steps at the head of its module.
#[derive(Debug)]
pub struct Stream {
    engine: Engine,
    machine: StateMachine,
    options: StreamOptions,
    control: Arc<Control>,
}

impl Stream {
    /// A stream of executions of `machine`.
    #[must_use]
    pub fn new(engine: &Engine, machine: &StateMachine, options: StreamOptions) -> Stream {
        Stream {
            engine: engine.clone(),
            machine: machine.clone(),
            options: StreamOptions {
                in_flight: options.in_flight.max(1),
                ..options
            },
            control: Arc::new(Control::new(engine.shared(), options.order)),
        }
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.control))
    }

    /// Runs it to its end; returns how it ended, and the recorders that `recorder` has made, one for each worker.
    ///
    /// # Panics
    ///
    /// If a recorder has panicked.
    pub fn run<R: Recorder>(
        self,
        source: impl Source,
        recorder: impl Fn() -> R,
        sink: &mut impl Sink<R::Page>,
    ) -> (StreamEnd, Vec<R>) {
        let workers = match self.engine.workers() {
            Ok(shared) => shared.workers(),
            Err(error) => return (StreamEnd::ReadFailed(error), Vec::new()),
        };
        let in_flight = self.options.in_flight;
        let hub = Arc::new(Hub::new(workers * QUEUED_PER_WORKER, in_flight));
        let common = Arc::new(Common {
            control: Arc::clone(&self.control),
            hub: Arc::clone(&hub),
            recorders: (0..workers).map(|_| Mutex::new(recorder())).collect(),
            order: self.options.order,
        });
        let (sender, receiver) = channel();
        let sender = Arc::new(Mutex::new(Some(sender)));
        let (stopped, hub_stopped) = (Arc::clone(&sender), Arc::clone(&hub));
        self.control.at_stop(Box::new(move || {
            // The source may not come back to the reader: no further batch is waited for.
            drop(lock(&stopped).take());
            hub_stopped.close();
        }));
        let reader = Reader {
            engine: self.engine.clone(),
            machine: self.machine.clone(),
            common: Arc::clone(&common),
            sender,
            events_max: (in_flight / (2 * workers)).clamp(1, BATCH_EVENTS_MAX),
            first_number: self.engine.shared().take_numbers(1 << 40),
        };
        let reader = thread::spawn(move || reader.run(source));
        let end = write(&receiver, &hub, &self.control, self.options.order, sink);
        hub.close();
        let failed = hub.take_read_error();
        let end = match (end, failed) {
            (StreamEnd::Finished, Some(error)) => StreamEnd::ReadFailed(error),
            (end, _) => end,
        };
        // Otherwise the source may not come back to its thread.
        let is_read = matches!(end, StreamEnd::Finished | StreamEnd::ReadFailed(_));
        let has_panicked = is_read && reader.join().is_err();
        assert!(!self.control.has_panicked(), "a recorder has panicked");
        let recorders = common.recorders.iter().map(|used| {
            let mut used = lock(used);
            used.idle();
            std::mem::replace(&mut *used, recorder())
        });
        let recorders = recorders.collect();
        if has_panicked {
            let error = Error::new(ErrorKind::Read, "the source of the events panicked");
            return (StreamEnd::ReadFailed(error), recorders);
        }
        (end, recorders)
    }
}

/// What parts are sent through, until the stream is stopped.
type PartSender<P> = Mutex<Option<Sender<Part<P>>>>;

/// What the reader thread has.
struct Reader<R: Recorder> {
    engine: Engine,
    machine: StateMachine,
    common: Arc<Common<R>>,
    /// What batches send their pages through, until the stream is stopped.
    sender: Arc<PartSender<R::Page>>,
    events_max: usize,
    first_number: u64,
}

impl<R: Recorder> Reader<R> {
    fn run(self, source: impl Source) {
        self.read(source);
        drop(lock(&self.sender).take());
    }

    fn read(&self, mut source: impl Source) {
        let mut wanted = FIRST_BATCH_EVENTS.min(self.events_max);
        let mut line = 1;
        let mut events = Events::default();
        for seq in 0.. {
            events.begin(wanted);
            let reading = match source.read(&mut events) {
                Ok(reading) => reading,
                Err(error) => {
                    self.common.hub.set_read_error(error);
                    Reading::End
                }
            };
            if !events.is_empty() && !self.push(seq, line, &events) {
                return;
            }
            line += events.len() as u64;
            if reading == Reading::End {
                return;
            }
            wanted = (wanted * 2).min(self.events_max);
        }
    }

    /// Starts the executions of events; false if nobody wants them any more.
    fn push(&self, seq: u64, first_line: u64, events: &Events) -> bool {
        let Some(permits) = self.common.hub.take_permits(events.len()) else {
            return false;
        };
        let is_one = |event: &[u8]| !event.is_empty() || !events.skips_empty();
        let is_one = |event: &[u8]| is_one(event) || events.too_long.is_some();
        let count = events.iter().filter(|event| is_one(event)).count();
        let Some(sender) = lock(&self.sender).clone() else {
            return false;
        };
        let batch = StreamBatch::new(&self.common, seq, events.too_long, count, permits, sender);
        if count == 0 {
            batch.finish_empty();
            return true;
        }
        let outlet = Arc::new(batch) as Arc<dyn Outlet>;
        let group = self
            .engine
            .group(&self.machine, outlet, Invocation::Synchronous);
        let shared = self.engine.shared();
        let number = self.first_number.wrapping_add(first_line);
        let mut starts = shared.new_batch(&group, first_line, number);
        let mut bytes = 0;
        for (offset, event) in events.iter().enumerate() {
            if is_one(event) {
                starts.push_at(offset, event, None, None);
                bytes += event.len() as u64;
            }
        }
        while let Err(throttled) = shared.admit(count, bytes) {
            if throttled.retry_after.is_none() || self.common.control.is_stopped() {
                self.common.control.stop();
                return false;
            }
            thread::park_timeout(THROTTLED_WAIT);
        }
        shared.start_batch(starts);
        true
    }
}

/// The thread that runs the stream.
fn write<P>(
    receiver: &Receiver<Part<P>>,
    hub: &Hub<P>,
    control: &Control,
    order: Order,
    sink: &mut impl Sink<P>,
) -> StreamEnd {
    let mut early: BTreeMap<u64, Part<P>> = BTreeMap::new();
    let mut next = 0;
    let mut end = StreamEnd::Finished;
    let mut put = |mut part: Part<P>, end: &mut StreamEnd| {
        for page in &mut part.pages[..part.used] {
            if let Err(error) = sink.write(page) {
                *end = StreamEnd::WriteFailed(error);
                control.stop();
                hub.close();
                return;
            }
        }
        if part.is_cut {
            *end = StreamEnd::Refused;
            if order == Order::Events {
                control.stop();
            }
        }
        hub.recycle(part.permits, part.pages);
    };
    for part in receiver {
        let over = match end {
            StreamEnd::Finished => false,
            StreamEnd::Refused => order == Order::Events,
            StreamEnd::Stopped | StreamEnd::ReadFailed(_) | StreamEnd::WriteFailed(_) => true,
        };
        match order {
            _ if over => {}
            Order::Completion => put(part, &mut end),
            Order::Events => {
                early.insert(part.seq, part);
                while matches!(end, StreamEnd::Finished)
                    && let Some(part) = early.remove(&next)
                {
                    next += 1;
                    put(part, &mut end);
                }
            }
        }
    }
    // A stream that was stopped has gaps.
    while matches!(end, StreamEnd::Finished)
        && let Some((_, part)) = early.pop_first()
    {
        put(part, &mut end);
    }
    match end {
        StreamEnd::Finished if control.is_stopped() => StreamEnd::Stopped,
        end => end,
    }
}
