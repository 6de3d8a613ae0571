//! The engine: runs executions of state machines, one at a time or as a stream.
//!
//! [`Engine::run`] runs one execution on the caller's thread; [`Engine::execution`] does so with a name or a seed of the
//! caller's. A [`Stream`] runs one execution for every event of a
//! source on worker threads, and hands over what comes of them in the order of the events or as they end; a
//! [`Pipeline`] is a stream between two channels.
//!
//! The engine performs what the interpreter asks for: it gives it the time, waits, and calls the handlers of tasks. It
//! knows neither files nor sockets.

mod clock;
mod error;
mod machine;
mod name;
mod request;
mod result;
mod run;
mod stream;
mod turn;

pub use clock::{Clock, SystemClock, TimeMode};
pub use error::{Error, ErrorKind};
pub use machine::{StateMachine, StateMachineBuilder};
pub use name::check_name;
pub use request::ExecutionRequest;
pub use result::ExecutionResult;
pub use run::{Engine, EngineBuilder};
pub use stream::{
    EVENT_BYTES_MAX, Ended, Events, LineSource, Order, Pipeline, PipelineEvent, Reading, Recorder,
    Refusal, Refused, Sink, Source, Stopper, Stream, StreamEnd, StreamOptions,
};
