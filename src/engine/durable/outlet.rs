//! [`ToJournal`]: ends on their way to the journal.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::history::{Failure, HistoryEvent, LogLevel};
use crate::interp::{MachineIdentity, Status};
use crate::journal::{EndRecord, EndStatus, Journal, Lsn};
use crate::runtime::Place;
use crate::runtime::outlet::{Ended, Outlet, Receiver, RefusedStart};
use crate::runtime::ticket::Ticket;

/// Hands everything on to another outlet, and the ends to the journal as well.
#[derive(Debug)]
pub(super) struct ToJournal {
    pub(super) inner: Arc<dyn Outlet>,
    pub(super) journal: Journal,
    pub(super) starts: Starts,
}

/// How the starts of a group are found.
#[derive(Debug)]
pub(super) enum Starts {
    /// Each has a ticket that says it.
    OfTickets,
    /// By line: the lines from which on starts follow one another, and the start of each of these lines.
    OfLines(Box<[(u64, Lsn)]>),
}

impl Starts {
    fn find(&self, line: u64, ticket: Option<&Arc<Ticket>>) -> Option<Lsn> {
        match self {
            Starts::OfTickets => Some(ticket?.recorded?.start),
            Starts::OfLines(runs) => {
                let after = runs.partition_point(|(first, _)| *first <= line);
                let (first, start) = runs.get(after.checked_sub(1)?)?;
                Some(Lsn(start.0 + (line - first)))
            }
        }
    }
}

impl Outlet for ToJournal {
    fn lend(&self, worker: usize, turn: &mut dyn FnMut(&mut dyn Receiver)) {
        let mut ends = Ends {
            journal: &self.journal,
            ends: Vec::new(),
        };
        self.inner.lend(worker, &mut |receiver| {
            turn(&mut Journaled {
                receiver,
                starts: &self.starts,
                ends: &mut ends.ends,
            });
        });
    }
}

/// The ends of a turn. They are appended when it is over, even by a panic.
struct Ends<'a> {
    journal: &'a Journal,
    ends: Vec<EndRecord>,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if !self.ends.is_empty() {
            // It fails once the journal is closed or poisoned. The executions then run again after recovery, as they may;
            // a poisoned journal says so to everybody who starts something.
            let (Ok(()) | Err(_)) = self.journal.append_ends(&self.ends);
        }
    }
}

struct Journaled<'a, 'r> {
    receiver: &'a mut (dyn Receiver + 'r),
    starts: &'a Starts,
    ends: &'a mut Vec<EndRecord>,
}

impl Journaled<'_, '_> {
    fn end(&mut self, line: u64, ticket: Option<&Arc<Ticket>>, status: EndStatus) {
        if let Some(start) = self.starts.find(line, ticket) {
            self.ends.push(EndRecord { start, status });
        }
    }
}

impl Receiver for Journaled<'_, '_> {
    fn observes(&self) -> bool {
        self.receiver.observes()
    }

    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, name: Option<&str>, seed: u64) {
        self.receiver.turn_to(machine, name, seed);
    }

    fn wants_level(&self, level: LogLevel) -> bool {
        self.receiver.wants_level(level)
    }

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.receiver.observe(event);
    }

    fn states_max(&self) -> u32 {
        self.receiver.states_max()
    }

    fn overrun(&mut self, is_done: bool) -> Option<Failure> {
        self.receiver.overrun(is_done)
    }

    fn checkpoint(&mut self, freeze: &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), Failure> {
        self.receiver.checkpoint(freeze)
    }

    fn wants(&self) -> bool {
        self.receiver.wants()
    }

    fn parked(&mut self, line: u64, place: Place) {
        self.receiver.parked(line, place);
    }

    fn ended(&mut self, ended: &Ended<'_>) {
        // Told first: a sink that panics has not taken it, and is told again after recovery.
        self.receiver.ended(ended);
        let status = match ended.status() {
            Status::Succeeded => EndStatus::Succeeded,
            Status::TimedOut => EndStatus::TimedOut,
            Status::Aborted => EndStatus::Aborted,
            Status::Failed | Status::Running => EndStatus::Failed,
        };
        self.end(ended.line, ended.ticket, status);
    }

    fn refused(&mut self, refused: &RefusedStart<'_>) -> ControlFlow<()> {
        let goes_on = self.receiver.refused(refused);
        // It will not be JSON the next time either.
        self.end(refused.line, refused.ticket, EndStatus::Failed);
        goes_on
    }

    fn abandoned(&mut self, line: u64, ticket: Option<&Arc<Ticket>>) {
        self.receiver.abandoned(line, ticket);
    }

    fn dropped(&mut self, line: u64, ticket: Option<&Arc<Ticket>>) {
        self.receiver.dropped(line, ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_runs() {
        let starts = Starts::OfLines(Box::new([(0, Lsn(7)), (3, Lsn(20))]));
        let found: Vec<_> = (0..5).map(|line| starts.find(line, None)).collect();
        assert_eq!(found, [7, 8, 9, 20, 21].map(|lsn| Some(Lsn(lsn))));
        assert_eq!(Starts::OfLines(Box::new([])).find(0, None), None);
        assert_eq!(Starts::OfTickets.find(0, None), None);
    }
}
