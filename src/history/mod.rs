//! History events: what happened in an execution, in AWS's order, with AWS's ids, types and details.
//!
//! The interpreter builds events only for an [`Observer`] that asks for them. An event borrows from the execution; who
//! wants to keep it renders it. This module knows nothing of how executions run.

mod event;
mod json;

pub use event::{Details, Failure, HistoryEvent, LogLevel};
pub use json::LogContext;

/// Receives the events of executions.
pub trait Observer {
    /// False if no event is wanted: then none is built.
    const ENABLED: bool;

    /// Receives one event.
    fn observe(&mut self, event: &HistoryEvent<'_>);
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
