//! One execution for every event of a stream, on worker threads.
//!
//! Everything moves in batches, so that an event costs its execution and little else:
//!
//! 1. The reader thread fills a batch with the bytes of whole events from a [`Source`] and queues it.
//! 2. A worker takes a batch and runs each event's execution at once, to its end, if it can: it keeps one execution's
//!    memory for that. A [`Recorder`] puts down what came of it on the batch's page.
//! 3. An execution that has to wait, for time or for an asynchronous task, moves to the worker's slab. In the batch it
//!    leaves a page of its own behind, for later. A timer or an answer takes it up again, on the same worker.
//! 4. A batch of which every execution has ended goes to the thread that runs the stream, which gives the pages to the
//!    [`Sink`]: in the order of the events, or with [`Order::Completion`] as executions end. Then the batch's memory
//!    goes back to the reader.
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
mod pipeline;
mod worker;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{io, thread};

use super::error::{Error, ErrorKind};
use super::machine::StateMachine;
use super::result::ExecutionResult;
use super::run::Engine;
use super::turn::Run;
use crate::history::{Failure, Observer};
use crate::interp::{Execution, MachineIdentity, Outcome, StartError, Status};
use crate::program::Program;
use crate::stdx::Timestamp;
use batch::Batch;
use hub::{Control, Hub};
use worker::Worker;

pub use batch::Events;
pub use lines::{EVENT_BYTES_MAX, LineSource};
pub use pipeline::{Pipeline, PipelineEvent};

/// Events of a batch, at most.
pub(super) const BATCH_EVENTS_MAX: usize = 256;
/// Bytes at which a batch is full.
pub(super) const BATCH_BYTES: usize = 64 * 1024;
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
pub trait Recorder: Observer + Send {
    /// What comes of a run of neighbouring events. Its memory is used again.
    type Page: Default + Send + 'static;

    /// An execution starts or goes on: the events that are observed next belong to it. Called only if this recorder
    /// observes.
    fn turn_to(&mut self, _machine: &MachineIdentity, _seed: u64) {}

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

/// An execution that has ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// Number of its event, from 1.
    pub line: u64,
    /// Nanoseconds that it really took.
    pub nanos: u64,
    /// The time at its end, by its own clock.
    pub stop_time: Timestamp,
    pub(super) run: &'a Run,
    pub(super) program: &'a Program,
    pub(super) seed: u64,
}

impl<'a> Ended<'a> {
    /// How it ended.
    #[must_use]
    pub fn status(&self) -> Status {
        self.run.execution.status()
    }

    /// Why it did not succeed.
    #[must_use]
    pub fn failure(&self) -> Option<&'a Failure> {
        self.run.execution.outcome().and_then(Outcome::failure)
    }

    /// Appends the output as compact JSON, if it succeeded.
    pub fn write_output(&self, out: &mut Vec<u8>) {
        self.run.execution.write_output(self.program, out);
    }

    /// Milliseconds of waiting that virtual time has spared.
    #[must_use]
    pub fn skipped_millis(&self) -> u64 {
        self.run.skipped_millis.unsigned_abs()
    }

    /// The execution itself.
    #[must_use]
    pub fn execution(&self) -> &'a Execution {
        &self.run.execution
    }

    /// All of it, for keeping.
    #[must_use]
    pub fn to_result(&self) -> ExecutionResult {
        let duration = std::time::Duration::from_nanos(self.nanos);
        ExecutionResult::new(self.run, self.program, self.seed, self.stop_time, duration)
    }
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
    /// Worker threads; one at least.
    pub workers: usize,
    /// Most executions that have started, or are about to, and whose results the sink has not taken.
    pub in_flight: usize,
    /// The order of results.
    pub order: Order,
}

impl Default for StreamOptions {
    /// A worker for every core, 10,000 executions in flight, in the order of the events.
    fn default() -> StreamOptions {
        StreamOptions {
            workers: thread::available_parallelism().map_or(1, std::num::NonZero::get),
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
                workers: options.workers.max(1),
                in_flight: options.in_flight.max(1),
                ..options
            },
            control: Arc::new(Control::new()),
        }
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.control))
    }

    /// Runs it to its end; returns how it ended, and the recorders that `recorder` has made, one for each worker.
    pub fn run<R: Recorder>(
        self,
        source: impl Source,
        recorder: impl Fn() -> R,
        sink: &mut impl Sink<R::Page>,
    ) -> (StreamEnd, Vec<R>) {
        let StreamOptions {
            workers, in_flight, ..
        } = self.options;
        let hub = Arc::new(Hub::new(workers * QUEUED_PER_WORKER, in_flight));
        let events_max = (in_flight / (2 * workers)).clamp(1, BATCH_EVENTS_MAX);
        let reader = {
            let hub = Arc::clone(&hub);
            thread::spawn(move || read(source, &hub, events_max))
        };
        let bindings = self.engine.bindings(&self.machine);
        let first_number = self.engine.take_numbers(1 << 40);
        // Every batch that is sent holds permits, but pages of late results are batches too.
        let (sender, receiver) = sync_channel(workers * QUEUED_PER_WORKER);
        let (end, recorders) = thread::scope(|scope| {
            let handles: Vec<_> = (0..workers)
                .map(|_| {
                    let (recorder, sender, hub) = (recorder(), sender.clone(), Arc::clone(&hub));
                    let (stream, bindings) = (&self, &bindings);
                    scope.spawn(move || {
                        let metrics = stream.engine.writer(&stream.machine);
                        let tools = (&**bindings, &metrics);
                        Worker::new(stream, tools, &hub, sender, recorder, first_number).run()
                    })
                })
                .collect();
            drop(sender);
            let end = write(&receiver, &hub, &self.control, self.options.order, sink);
            let recorders = handles.into_iter().map(|handle| match handle.join() {
                Ok(recorder) => recorder,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            (end, recorders.collect())
        });
        hub.close();
        let failed = hub.take_read_error();
        let end = match (end, failed) {
            (StreamEnd::Finished, Some(error)) => StreamEnd::ReadFailed(error),
            (end, _) => end,
        };
        // Otherwise the source may not come back to its thread.
        let is_read = matches!(end, StreamEnd::Finished | StreamEnd::ReadFailed(_));
        if is_read && reader.join().is_err() {
            let error = Error::new(ErrorKind::Read, "the source of the events panicked");
            return (StreamEnd::ReadFailed(error), recorders);
        }
        (end, recorders)
    }
}

/// The reader thread.
fn read<P>(mut source: impl Source, hub: &Hub<P>, events_max: usize) {
    let _closer = hub.close_at_end();
    let mut wanted = FIRST_BATCH_EVENTS.min(events_max);
    let mut line = 1;
    for seq in 0.. {
        let mut events = hub.take_events();
        events.begin(line, wanted);
        let reading = match source.read(&mut events) {
            Ok(reading) => reading,
            Err(error) => {
                hub.set_read_error(error);
                Reading::End
            }
        };
        line += events.len() as u64;
        if !events.is_empty() && !hub.push(seq, events) {
            return;
        }
        if reading == Reading::End {
            return;
        }
        wanted = (wanted * 2).min(events_max);
    }
}

/// The thread that runs the stream.
fn write<P>(
    receiver: &Receiver<Batch<P>>,
    hub: &Hub<P>,
    control: &Control,
    order: Order,
    sink: &mut impl Sink<P>,
) -> StreamEnd {
    let mut early: std::collections::BTreeMap<u64, Batch<P>> = std::collections::BTreeMap::new();
    let mut next = 0;
    let mut end = StreamEnd::Finished;
    let mut put = |mut batch: Batch<P>, end: &mut StreamEnd| {
        for page in &mut batch.pages[..batch.used] {
            if let Err(error) = sink.write(page) {
                *end = StreamEnd::WriteFailed(error);
                control.stop();
                return;
            }
        }
        if batch.is_cut {
            *end = StreamEnd::Refused;
            if order == Order::Events {
                control.stop();
            }
        }
        hub.recycle(batch);
    };
    for batch in receiver {
        let over = match end {
            StreamEnd::Finished => false,
            StreamEnd::Refused => order == Order::Events,
            StreamEnd::Stopped | StreamEnd::ReadFailed(_) | StreamEnd::WriteFailed(_) => true,
        };
        match order {
            _ if over => {}
            Order::Completion => put(batch, &mut end),
            Order::Events => {
                early.insert(batch.seq, batch);
                while matches!(end, StreamEnd::Finished)
                    && let Some(batch) = early.remove(&next)
                {
                    next += 1;
                    put(batch, &mut end);
                }
            }
        }
    }
    // A stream that was stopped has gaps.
    while matches!(end, StreamEnd::Finished)
        && let Some((_, batch)) = early.pop_first()
    {
        put(batch, &mut end);
    }
    match end {
        StreamEnd::Finished if control.is_stopped() => StreamEnd::Stopped,
        end => end,
    }
}

type BatchSender<P> = SyncSender<Batch<P>>;
