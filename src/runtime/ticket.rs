//! [`Ticket`]: the result of one execution, for whoever waits for it.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};

use super::outlet::{Ended, Group, Outlet, Receiver, RefusedStart};
use super::result::ExecutionResult;
use super::slab::Place;
use crate::interp::StartError;
use crate::journal::Lsn;
use crate::task::lock;

/// Why there is no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoResult {
    /// The input was none.
    Refused(StartError),
    /// The engine has shut down before the execution ended.
    Abandoned,
    /// Something panicked while the execution had its turn.
    Lost,
    /// A callback was given the result.
    Given,
}

/// What came of an execution, or did not.
pub(crate) type TicketResult = Result<ExecutionResult, NoResult>;

type Callback = Box<dyn FnOnce(TicketResult) + Send>;

/// What a journal has of a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recorded {
    pub(crate) start: Lsn,
    /// Which attempt at it this is, from 1.
    pub(crate) attempt: u32,
}

/// The result of one execution, and its place while it is under way.
pub(crate) struct Ticket {
    pub(crate) group: Arc<Group>,
    pub(crate) place: Place,
    pub(crate) seed: u64,
    /// What a journal has of its start.
    pub(crate) recorded: Option<Recorded>,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    result: Option<TicketResult>,
    /// Of everybody who waits in a future: a handle can be cloned.
    wakers: Vec<Waker>,
    callback: Option<Callback>,
}

impl Ticket {
    pub(crate) fn new(
        group: Arc<Group>,
        place: Place,
        seed: u64,
        recorded: Option<Recorded>,
    ) -> Ticket {
        Ticket {
            group,
            place,
            seed,
            recorded,
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    pub(crate) fn settle(&self, result: TicketResult) {
        let mut state = lock(&self.state);
        let wakers = std::mem::take(&mut state.wakers);
        let (kept, given) = match state.callback.take() {
            Some(callback) => (Err(NoResult::Given), Some((callback, result))),
            None => (result, None),
        };
        state.result = Some(kept);
        drop(state);
        self.ended.notify_all();
        // First those who cannot panic.
        for waker in wakers {
            waker.wake();
        }
        if let Some((callback, result)) = given {
            callback(result);
        }
    }

    /// What panicked may have settled it before.
    pub(super) fn lose(&self) {
        if !self.has_ended() {
            self.settle(Err(NoResult::Lost));
        }
    }

    /// The result, if there is one.
    pub(crate) fn result(&self) -> Option<TicketResult> {
        lock(&self.state).result.clone()
    }

    /// True if there is a result.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.state).result.is_some()
    }

    /// Waits for the result.
    pub(crate) fn wait(&self) -> TicketResult {
        let mut state = lock(&self.state);
        loop {
            if let Some(result) = &state.result {
                return result.clone();
            }
            state = self
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The result, or the waker is woken when there is one.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<TicketResult> {
        let mut state = lock(&self.state);
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                if !state.wakers.iter().any(|known| known.will_wake(waker)) {
                    state.wakers.push(waker.clone());
                }
                Poll::Pending
            }
        }
    }

    /// Calls `callback` with the result, at once if it is there already. Nobody else gets it then, and is told so.
    pub(crate) fn then(&self, callback: Callback) {
        let mut state = lock(&self.state);
        let is_taken = state.callback.is_some();
        let result = match &mut state.result {
            Some(result) => std::mem::replace(result, Err(NoResult::Given)),
            None if is_taken => Err(NoResult::Given),
            None => {
                state.callback = Some(callback);
                return;
            }
        };
        drop(state);
        callback(result);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// The outlet of executions that were started one by one: results go to their tickets.
#[derive(Debug)]
pub(crate) struct Tickets;

impl Outlet for Tickets {
    fn lend(&self, _: usize, turn: &mut dyn FnMut(&mut dyn Receiver)) {
        turn(&mut ToTickets);
    }
}

struct ToTickets;

impl Receiver for ToTickets {
    fn ended(&mut self, ended: &Ended<'_>) {
        if let Some(ticket) = ended.ticket {
            ticket.settle(Ok(ended.to_result()));
        }
    }

    fn refused(&mut self, refused: &RefusedStart<'_>) -> ControlFlow<()> {
        if let Some(ticket) = refused.ticket {
            ticket.settle(Err(NoResult::Refused(refused.error.clone())));
        }
        ControlFlow::Continue(())
    }

    fn abandoned(&mut self, _: u64, ticket: Option<&Arc<Ticket>>) {
        if let Some(ticket) = ticket {
            ticket.settle(Err(NoResult::Abandoned));
        }
    }
}
