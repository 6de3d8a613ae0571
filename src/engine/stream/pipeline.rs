//! [`Pipeline`]: a stream between two channels.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::{
    Ended, EventSender, Recorder, Refused, Sink, Stopper, Stream, StreamOptions, StreamReport,
    channel,
};
use crate::engine::error::{Error, ErrorKind};
use crate::engine::machine::StateMachine;
use crate::engine::run::Engine;
use crate::history::{HistoryEvent, Observer};
use crate::runtime::result::ExecutionResult;

/// A stream whose events come from a channel, and whose results go to another.
///
/// Both channels are bounded: a receiver that is slow holds the sender in the end.
///
/// ```
/// use quickstep::engine::{Outcome, Pipeline, StreamOptions};
/// use quickstep::{Engine, StateMachine};
///
/// let machine = StateMachine::compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#)
///     .expect("the definition is valid");
/// let engine = Engine::builder().build()?;
/// let pipeline = Pipeline::start(&engine, &machine, StreamOptions::default());
/// pipeline.events.send("1").unwrap();
/// let receipt = pipeline.events.submit("[2]").unwrap();
/// drop(pipeline.events);
/// let outputs: Vec<_> = pipeline.results.iter().map(|event| event.result.unwrap().output.unwrap()).collect();
/// assert_eq!(outputs, ["1", "[2]"]);
/// assert_eq!(receipt.wait().outcome, Outcome::Succeeded);
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
#[derive(Debug)]
pub struct Pipeline {
    /// Takes events: JSON text. The pipeline ends when this and its clones are dropped.
    pub events: EventSender,
    /// Gives results. A pipeline whose results nobody wants stops.
    pub results: Receiver<PipelineEvent>,
    stopper: Stopper,
    thread: JoinHandle<StreamReport>,
}

/// What came of an event.
#[derive(Debug)]
pub struct PipelineEvent {
    /// Number of the event, from 1.
    pub number: u64,
    /// What came of its execution; an error if it is no input for one.
    pub result: Result<ExecutionResult, Error>,
}

impl Pipeline {
    /// Starts a pipeline.
    #[must_use]
    pub fn start(engine: &Engine, machine: &StateMachine, options: StreamOptions) -> Pipeline {
        let capacity = options.in_flight.max(1);
        let (events, source) = channel(capacity);
        let (sink, results) = sync_channel(capacity);
        let stream = Stream::new(engine, machine, options);
        let stopper = stream.stopper();
        let thread = thread::spawn(move || {
            let mut sink = ChannelSink(sink);
            stream.run(source, || PipelineRecorder, &mut sink).0
        });
        Pipeline {
            events,
            results,
            stopper,
            thread,
        }
    }

    /// What drains or stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits for the end; results that nobody has taken are dropped. Other clones of `events` have to be dropped for it.
    ///
    /// # Panics
    ///
    /// If the pipeline has panicked.
    #[must_use]
    pub fn finish(self) -> StreamReport {
        drop(self.events);
        self.results.into_iter().for_each(drop);
        match self.thread.join() {
            Ok(report) => report,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Puts down results, in vectors of [`PipelineEvent`]s.
#[derive(Clone, Copy, Debug)]
pub struct PipelineRecorder;

impl Observer for PipelineRecorder {
    const ENABLED: bool = false;

    fn observe(&mut self, _: &HistoryEvent<'_>) {}
}

impl Recorder for PipelineRecorder {
    type Page = Vec<PipelineEvent>;

    fn ended(&mut self, ended: &Ended<'_>, page: &mut Vec<PipelineEvent>) {
        page.push(PipelineEvent {
            number: ended.line,
            result: Ok(ended.to_result()),
        });
    }

    fn refused(&mut self, refused: &Refused, page: &mut Vec<PipelineEvent>) -> ControlFlow<()> {
        let message = refused.reason.to_string();
        page.push(PipelineEvent {
            number: refused.line,
            result: Err(Error::new(ErrorKind::InvalidInput, message)),
        });
        ControlFlow::Continue(())
    }
}

struct ChannelSink(SyncSender<PipelineEvent>);

impl Sink<Vec<PipelineEvent>> for ChannelSink {
    fn write(&mut self, page: &mut Vec<PipelineEvent>) -> io::Result<()> {
        for event in page.drain(..) {
            self.0
                .send(event)
                .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(())
    }
}
