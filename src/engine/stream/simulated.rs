//! [`SimulatedStream`]: reader and writer of a stream on one thread, for tests.

use std::fmt;
use std::sync::Arc;

use super::outlet::Common;
use super::reader::{Reader, Step};
use super::writer::Writer;
use super::{Halves, Recorder, Sink, Source, StreamReport};

/// Gives the two halves of a stream their turns; made by [`Stream::simulate`](super::Stream::simulate).
///
/// ```
/// use std::io::Cursor;
///
/// use quickstep::engine::{LineSource, PipelineRecorder, Stream, StreamOptions};
/// use quickstep::{Engine, StateMachine};
///
/// let machine = StateMachine::compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#);
/// let (engine, mut workers) = Engine::builder().workers(1).build_simulated()?;
/// let stream = Stream::new(&engine, &machine.unwrap(), StreamOptions::default());
/// let mut results = Vec::new();
/// let mut stream = stream.simulate(LineSource::new(Cursor::new("1\n2")), || PipelineRecorder, &mut results);
/// while stream.turn() || workers.turn(0) {}
/// assert!(stream.is_over());
/// assert_eq!(stream.finish().done, 2);
/// assert_eq!(results.len(), 2);
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
pub struct SimulatedStream<R: Recorder, S, K> {
    common: Arc<Common<R>>,
    /// Until nothing more is read.
    reader: Option<Reader<R, S>>,
    writer: Writer<R, K>,
    /// When the reader looks again though nothing has changed; the maximum, if it does not.
    wake_at: u64,
}

impl<R: Recorder, S: Source, K: Sink<R::Page>> SimulatedStream<R, S, K> {
    pub(super) fn new(halves: Halves<R, S, K>) -> SimulatedStream<R, S, K> {
        SimulatedStream {
            common: halves.common,
            reader: Some(halves.reader),
            writer: halves.writer,
            wake_at: 0,
        }
    }

    /// One turn of the reader, and one of the writer. False if there was nothing to do.
    pub fn turn(&mut self) -> bool {
        let has_read = self.read();
        self.writer.turn() || has_read
    }

    fn read(&mut self) -> bool {
        let now = self.writer.nanos();
        if !self.common.hub.has_changed() && now < self.wake_at {
            return false;
        }
        let Some(reader) = &mut self.reader else {
            return false;
        };
        match reader.step() {
            Step::Went => self.wake_at = 0,
            Step::Wait(after) => {
                let nanos = after.map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
                self.wake_at = nanos.map_or(u64::MAX, |nanos| now.saturating_add(nanos));
                return false;
            }
            Step::End => self.reader = None,
        }
        true
    }

    /// When there is something to do next though nothing has changed, by [`Clock::nanos`](crate::engine::Clock::nanos).
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        let wake_at = (self.reader.is_some() && self.wake_at < u64::MAX).then_some(self.wake_at);
        wake_at.into_iter().chain(self.writer.next_due()).min()
    }

    /// True if every event that was read is settled, and no other will be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.writer.is_over(self.writer.nanos())
    }

    /// Ends the stream, whatever is under way; what it has done.
    #[must_use]
    pub fn finish(self) -> StreamReport {
        drop(self.reader);
        self.common.control.finish();
        self.writer.finish()
    }
}

impl<R: Recorder, S, K> fmt::Debug for SimulatedStream<R, S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedStream")
            .field("wake_at", &self.wake_at)
            .finish_non_exhaustive()
    }
}
