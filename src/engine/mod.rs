//! The engine: runs executions of state machines, one at a time, by the batch or as a stream.
//!
//! [`Engine::start`] takes in an execution and returns at once; [`Engine::start_sync`] runs it on the caller's thread, as
//! far as that goes, and waits for its end; [`Engine::start_batch`] takes in many, whose results go to a [`ResultSink`]. A
//! [`Stream`] runs one execution for every event of a source, and hands over what comes of them in the order of the
//! events or as they end; a [`Source`] can hear what became of each; a [`Pipeline`] is a stream between two channels. All
//! of them share the engine's workers.
//!
//! An engine is durable if it is told so ([`EngineBuilder::durability`]): it acknowledges asynchronous starts once they are
//! on the disk, and [`Engine::recover`] runs those again that a crash has left unfinished.
//!
//! The engine performs what the interpreter asks for: it gives it the time, waits, and calls the handlers of tasks. It
//! knows no sockets, and no files but those of a [`DirectorySource`].

mod builder;
mod durable;
mod error;
mod handle;
#[cfg(feature = "server")]
mod host;
mod inline;
mod logged;
mod machine;
mod name;
mod run;
mod simulation;
mod stream;

pub use crate::journal::{Counters as JournalCounters, Options as JournalOptions};
pub use crate::runtime::admission::{
    EXECUTIONS_LIMIT_MAX, EXECUTIONS_MAX, INPUT_BYTES_MAX, Limit, Limits, Refusals, StartRate,
    Throttled,
};
pub use crate::runtime::clock::{Clock, SystemClock, TimeMode};
pub use crate::runtime::result::ExecutionResult;
pub use crate::runtime::{Counts, Ended};
pub use builder::EngineBuilder;
#[cfg(feature = "server")]
pub(crate) use durable::KeptStart;
pub use durable::{DurabilityMode, JournalReport, Recovered, UnknownMachine};
pub use error::{Error, ErrorKind};
pub use handle::{ExecutionHandle, ResultSink, StartRequest};
pub use machine::{StateMachine, StateMachineBuilder};
pub use name::check_name;
pub use run::{Engine, Report};
pub use simulation::Simulation;
pub use stream::{
    Ack, AfterDone, ChannelSource, DeadLetter, Delivery, DirectoryOptions, DirectorySource,
    DoneWhen, EVENT_BYTES_MAX, Event, EventSender, Events, LineSource, Message, Order, Outcome,
    Pipeline, PipelineEvent, PipelineRecorder, Reading, Receipt, Recorder, Refusal, Refused,
    SendError, Settled, SimulatedStream, Sink, Source, Stopper, Stream, StreamEnd, StreamOptions,
    StreamReport, Verdict, channel,
};
