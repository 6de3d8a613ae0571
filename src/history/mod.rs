//! History events: what happened in an execution, in AWS's order, with AWS's ids, types and details.
//!
//! The interpreter builds events only for an [`Observer`] that asks for them. An event borrows from the execution; who
//! wants to keep it renders it. This module knows nothing of how executions run.

mod event;
mod event_type;
mod fields;
mod json;

pub use event::{Details, Failure, HistoryEvent, LogLevel};
pub use event_type::EventType;
pub(crate) use fields::{Field, Fields};
pub use json::{LOG_DOCUMENT_BYTES_MAX, LogContext};
pub(crate) use json::{LogLine, Object, Variables, write_log_line};

/// Receives the events of executions.
pub trait Observer {
    /// False if no event is wanted: then none is built.
    const ENABLED: bool;

    /// False if no event of this level is wanted now: then it is not built. It may change between turns.
    #[inline(always)]
    fn wants(&self, _level: LogLevel) -> bool {
        Self::ENABLED
    }

    /// Receives one event.
    fn observe(&mut self, event: &HistoryEvent<'_>);

    /// States that may be entered before [`Observer::overrun`] is to be asked.
    #[inline(always)]
    fn states_max(&self) -> u32 {
        u32::MAX
    }

    /// The failure that the execution has to end with, if it has more events than it may, or has not ended (`is_done`)
    /// and has no room for another.
    #[inline(always)]
    fn overrun(&mut self, _is_done: bool) -> Option<Failure> {
        None
    }

    /// Called before what was observed takes effect outside of the execution: before a task is handed out, and before the
    /// execution waits. `freeze` appends the execution as it stands. With an error it ends at once, without that effect.
    ///
    /// # Errors
    ///
    /// If the execution cannot go on, as when what was observed cannot be written down: the failure to end it with.
    #[inline(always)]
    fn checkpoint(&mut self, _freeze: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
        Ok(())
    }
}

/// Wants no events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl Observer for NoEvents {
    const ENABLED: bool = false;

    fn observe(&mut self, _: &HistoryEvent<'_>) {}
}

/// Passes events on to a function.
#[derive(Debug, Clone)]
pub struct EachEvent<F>(pub F);

impl<F: FnMut(&HistoryEvent<'_>)> Observer for EachEvent<F> {
    const ENABLED: bool = true;

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        (self.0)(event);
    }
}
