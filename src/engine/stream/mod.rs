//! One execution for every event of a source, on worker threads.
//!
//! Everything moves in batches, so that an event costs its execution and little else:
//!
//! 1. The reader polls a [`Source`], which fills [`Events`], and hands them to the engine as one batch of starts. What the
//!    engine does not take in now is handed to it later.
//! 2. A worker runs each event's execution at once, to its end, if it can. A [`Recorder`], one for each worker, puts down
//!    what came of it on the batch's page.
//! 3. An execution that has to wait is parked by the runtime. With [`Order::Events`] it leaves a page of its own behind, for
//!    later; with [`Order::Completion`] its page is sent when it ends.
//! 4. A batch of which every execution has ended goes to the writer, the thread that runs the stream, which gives the pages
//!    to the [`Sink`]: in the order of the events, or with [`Order::Completion`] as executions end.
//! 5. Once the sink has taken its result, an event is settled: its [`Ack`] hears the [`Verdict`], which [`Delivery`] decides.
//!    An event that is to be delivered again stays in flight, and goes to the engine once more when its delay has passed.
//!
//! Of an event without an `Ack` nothing is kept, unless the stream has to deliver it again or has dead letters.
//!
//! What bounds the memory is a number of permits, and one of bytes: the reader takes them for every event, and gets them
//! back when it is settled. A slow execution at the head of an ordered stream so holds the reader in the end.
//!
//! Every event that was read is settled exactly once, whatever happens: a batch that is dropped says that its events are
//! lost, and so does an `Ack`. [`StreamReport`] adds it all up.
//!
//! A stream ends in one of five ways: its source ends; an event is refused and the recorder says stop, then everything
//! before that event still comes to its end; the sink fails; somebody drains it, then everything in flight comes to its end
//! in time; or somebody stops it. With a failed sink or a stop what is under way is abandoned.

mod ack;
mod channel;
mod control;
mod delivery;
mod directory;
mod events;
mod hub;
mod lines;
mod outlet;
mod pipeline;
mod reader;
mod report;
mod simulated;
mod writer;

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::channel as mailbox;
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::thread;
use std::time::Duration;

use super::error::{Error, ErrorKind};
use super::machine::StateMachine;
use super::run::Engine;
use crate::history::Observer;
use crate::interp::{MachineIdentity, StartError};
use crate::runtime::Ended;
use crate::task::lock;
use control::Control;
use hub::Hub;
use outlet::{Common, Mail};
use reader::{Reader, Starter};
use writer::Writer;

pub use ack::{Ack, Outcome, Settled, Verdict};
pub use channel::{ChannelSource, EventSender, Message, Receipt, SendError, channel};
pub use delivery::{DeadLetter, Delivery, DoneWhen};
pub use directory::{AfterDone, DirectoryOptions, DirectorySource};
pub use events::{Event, Events};
pub use lines::{EVENT_BYTES_MAX, LineSource};
pub use pipeline::{Pipeline, PipelineEvent, PipelineRecorder};
pub use report::{StreamEnd, StreamReport};
pub use simulated::SimulatedStream;

/// Events of a batch, at most.
pub(super) const BATCH_EVENTS_MAX: usize = 256;
/// Bytes at which a batch is full.
pub(super) const BATCH_BYTES: usize = 64 * 1024;
/// Batches that wait for a worker, for each worker.
const QUEUED_PER_WORKER: usize = 4;

/// Where events come from.
///
/// ```
/// use std::task::Context;
///
/// use quickstep::engine::{Ack, Error, Event, Events, Reading, Source};
///
/// /// Numbers, until one is done.
/// struct Numbers(u64);
///
/// impl Source for Numbers {
///     fn poll(&mut self, _: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error> {
///         while !events.is_full() && self.0 > 0 {
///             self.0 -= 1;
///             let number = self.0;
///             events.push_event(Event::new(number.to_string().as_bytes()).ack(Ack::new(move |settled| {
///                 println!("{number}: {:?}", settled.verdict);
///                 Ok(())
///             })));
///         }
///         Ok(if self.0 > 0 { Reading::More } else { Reading::End })
///     }
/// }
/// ```
pub trait Source: Send + 'static {
    /// Puts the next events into `events`, which is empty: as many as are there, and no more than
    /// [`Events::events_max`].
    ///
    /// If there are none now it may wait, on its reader's thread; such a stream leaves that thread behind if it is
    /// stopped meanwhile. Or it says [`Reading::Idle`], and is polled again once the waker of `context` is woken.
    ///
    /// # Errors
    ///
    /// If events cannot be read; the stream ends with those that were read before.
    fn poll(&mut self, context: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error>;
}

/// Whether there is more to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// There may be.
    More,
    /// Not before the waker is woken, or before so much time has passed.
    Idle(Option<Duration>),
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

impl<P, K: Sink<P> + ?Sized> Sink<P> for &mut K {
    fn write(&mut self, page: &mut P) -> io::Result<()> {
        (**self).write(page)
    }
}

/// Keeps all of it: for tests.
impl<T> Sink<Vec<T>> for Vec<T> {
    fn write(&mut self, page: &mut Vec<T>) -> io::Result<()> {
        self.append(page);
        Ok(())
    }
}

/// An event that is no input for an execution.
#[derive(Debug)]
pub struct Refused {
    /// Number of the event, from 1.
    pub line: u64,
    /// The name that its source gave to its execution.
    pub name: Option<Box<str>>,
    /// Why.
    pub reason: Refusal,
}

/// Why an event is no input for an execution.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not JSON, or too large for an input.
    Start(StartError),
    /// It is so long that it was not kept; its bytes.
    TooLong(u64),
    /// It is larger than all inputs that the engine may have in flight.
    OverLimit {
        /// Its bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The name that its source gave it cannot be one of an execution.
    Name(Box<str>),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Start(error) => error.fmt(f),
            Refusal::TooLong(bytes) => write!(
                f,
                "it has {bytes} bytes; lines of more than {EVENT_BYTES_MAX} bytes are not read"
            ),
            Refusal::OverLimit { bytes, limit } => write!(
                f,
                "it has {bytes} bytes, and all inputs in flight may have {limit} together (Limits::input_bytes)"
            ),
            Refusal::Name(problem) => f.write_str(problem),
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
    /// Most events that were read and are not settled: those that wait to be delivered again among them.
    pub in_flight: usize,
    /// Bytes of events in flight at which no further batch is read; the last one may have 64 KiB and an event.
    pub in_flight_bytes: usize,
    /// The order of results.
    pub order: Order,
    /// When events are done, and how often they are delivered.
    pub delivery: Delivery,
}

impl Default for StreamOptions {
    /// 10,000 events or 256 MiB in flight, in the order of the events, each delivered once.
    fn default() -> StreamOptions {
        StreamOptions {
            in_flight: 10_000,
            in_flight_bytes: 256 * 1024 * 1024,
            order: Order::Events,
            delivery: Delivery::default(),
        }
    }
}

/// Ends a stream from elsewhere.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Control>);

impl Stopper {
    /// No further event is read; those in flight come to their end, or are stopped after `patience`. The thread that reads
    /// from the source may be left behind, if the source does not come back to it.
    pub fn drain(&self, patience: Duration) {
        self.0.drain(patience);
    }

    /// No further execution starts, those that wait are abandoned, and the stream ends once workers have come back from
    /// what they are at. The thread that reads from the source may be left behind, if the source does not come back to
    /// it.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// Takes events that were given up.
type DeadLetters = Box<dyn FnMut(&DeadLetter<'_>) -> io::Result<()> + Send>;

/// Runs one execution for every event of a source: see the steps at the head of its module.
pub struct Stream {
    engine: Engine,
    machine: StateMachine,
    options: StreamOptions,
    control: Arc<Control>,
    dead_letters: Option<DeadLetters>,
}

/// The two halves of a stream that runs.
struct Halves<R: Recorder, S, K> {
    common: Arc<Common<R>>,
    reader: Reader<R, S>,
    writer: Writer<R, K>,
}

impl Stream {
    /// A stream of executions of `machine`.
    #[must_use]
    pub fn new(engine: &Engine, machine: &StateMachine, options: StreamOptions) -> Stream {
        Stream {
            engine: engine.clone(),
            machine: machine.clone(),
            control: Arc::new(Control::new(engine.shared(), options.order)),
            options: StreamOptions {
                in_flight: options.in_flight.max(1),
                in_flight_bytes: options.in_flight_bytes.max(1),
                ..options
            },
            dead_letters: None,
        }
    }

    /// Hands over events that were given up, before their sources hear of it: see [`Verdict::Rejected`]. If that fails, they
    /// are to be delivered again, and the stream ends.
    #[must_use]
    pub fn dead_letters(
        mut self,
        take: impl FnMut(&DeadLetter<'_>) -> io::Result<()> + Send + 'static,
    ) -> Stream {
        self.dead_letters = Some(Box::new(take));
        self
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.control))
    }

    /// Runs it to its end; returns what it has done, and the recorders that `recorder` has made, one for each worker. The
    /// recorder of a worker that is still at work is not among them.
    ///
    /// # Panics
    ///
    /// If a recorder has panicked.
    pub fn run<R: Recorder>(
        self,
        source: impl Source,
        recorder: impl Fn() -> R,
        sink: &mut impl Sink<R::Page>,
    ) -> (StreamReport, Vec<R>) {
        if let Err(error) = self.engine.workers() {
            let mut report = StreamReport::new();
            report.end = StreamEnd::ReadFailed(error);
            return (report, Vec::new());
        }
        let halves = self.halves(source, &recorder, sink);
        let (common, mut writer) = (halves.common, halves.writer);
        let guard = Guard(&common);
        let reader = thread::spawn(move || halves.reader.run());
        writer.run();
        // Otherwise the source may not come back to its thread.
        let has_panicked = common.hub.is_left() && reader.join().is_err();
        let mut report = writer.finish();
        drop(guard);
        let recorders = common.take_recorders(&recorder, report.in_flight > 0);
        if has_panicked {
            let error = Error::new(ErrorKind::Read, "the source of the events panicked");
            report.end = StreamEnd::ReadFailed(error);
        }
        (report, recorders)
    }

    /// Gives its turns to a test, with those of the engine's workers: see
    /// [`EngineBuilder::build_simulated`](super::EngineBuilder::build_simulated).
    #[must_use]
    pub fn simulate<R: Recorder, S: Source, K: Sink<R::Page>>(
        self,
        source: S,
        recorder: impl Fn() -> R,
        sink: K,
    ) -> SimulatedStream<R, S, K> {
        SimulatedStream::new(self.halves(source, &recorder, sink))
    }

    fn halves<R: Recorder, S: Source, K: Sink<R::Page>>(
        self,
        source: S,
        recorder: &impl Fn() -> R,
        sink: K,
    ) -> Halves<R, S, K> {
        let shared = self.engine.shared();
        let workers = shared.workers();
        let in_flight = self.options.in_flight;
        let (sender, receiver) = mailbox();
        let hub = Arc::new(Hub::new(workers * QUEUED_PER_WORKER, &self.options));
        let (end_hub, end_sender) = (Arc::clone(&hub), sender.clone());
        let keeps_payloads = self.dead_letters.is_some() || self.options.delivery.may_repeat();
        let common = Arc::new(Common {
            control: Arc::clone(&self.control),
            hub,
            recorders: (0..workers).map(|_| Mutex::new(recorder())).collect(),
            order: self.options.order,
            delivery: self.options.delivery,
            sender,
        });
        let starter = Arc::new(Starter {
            first_number: shared.take_numbers(1 << 40),
            engine: self.engine,
            machine: self.machine,
            common: Arc::clone(&common),
            keeps_payloads,
        });
        let events_max = (in_flight / (2 * workers)).clamp(1, BATCH_EVENTS_MAX);
        let reader = Reader::new(Arc::clone(&starter), source, events_max);
        let writer = Writer::new(starter, receiver, sink, self.dead_letters);
        // The source may not come back to the reader: no further batch is waited for.
        self.control.begin(Box::new(move || {
            end_hub.close();
            // If the stream has ended, nobody looks.
            let _ = end_sender.send(Mail::Look);
        }));
        Halves {
            common,
            reader,
            writer,
        }
    }
}

impl<R: Recorder> Common<R> {
    /// The recorders, with what they had not handed on; without those of workers that are still at work.
    fn take_recorders(&self, recorder: &impl Fn() -> R, some_are_at_work: bool) -> Vec<R> {
        assert!(!self.control.has_panicked(), "a recorder has panicked");
        let recorders = self.recorders.iter().filter_map(|used| {
            let mut used = match some_are_at_work {
                true => used.try_lock().ok()?,
                false => lock(used),
            };
            used.idle();
            Some(std::mem::replace(&mut *used, recorder()))
        });
        recorders.collect()
    }
}

/// Ends reading, also if a sink panics.
struct Guard<'c, R: Recorder>(&'c Common<R>);

impl<R: Recorder> Drop for Guard<'_, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.control.stop();
        }
        self.0.hub.close();
        self.0.control.finish();
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("machine", &self.machine.name())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
