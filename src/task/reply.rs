//! The way back of answers that come later: a [`Reply`] is handed out, an [`Inbox`] receives.
//!
//! 1. Who runs executions has an inbox, and gives a reply to each task that it starts.
//! 2. Whoever does the task sends the answer through the reply, from any thread; the inbox wakes whom it concerns. A task that a
//!    service has accepted may be told so before.
//! 3. A reply that is dropped without an answer sends a failure: no task is forgotten.
//! 4. The owner drops a task's [`Pending`] when the answer is of no use any more; whoever does the task learns of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use super::Failure;
use super::mock::ExecPending;
use crate::interp::FrameHandle;
use crate::program::TaskId;
use crate::stdx::Timestamp;

/// Which execution of an inbox's owner an answer belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) slot: u32,
    /// Tells the executions apart that have been in the slot.
    pub(crate) generation: u32,
}

/// What became of a task.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) address: Address,
    pub(crate) frame: FrameHandle,
    /// When its handler was called, by the engine's clock, if that is known.
    pub(crate) called_nanos: Option<u64>,
    pub(crate) said: Said,
}

/// What an answer says of a task.
#[derive(Debug)]
pub(crate) enum Said {
    /// It is over.
    Ended(Result<Vec<u8>, Failure>),
    /// Its service has accepted it, and said this; it goes on.
    #[cfg(feature = "server")]
    Submitted(Vec<u8>),
    /// Its service has not accepted it.
    #[cfg(feature = "server")]
    NotSubmitted(Failure),
}

/// Takes answers, from any thread.
pub(crate) trait Inbox: Send + Sync + std::fmt::Debug {
    /// Takes an answer. Whether somebody still waits for it is not said.
    fn post(&self, answer: Answer);

    /// The time of the engine's clock, if it is known here.
    fn nanos(&self) -> Option<u64> {
        None
    }
}

/// Tells the time of the engine's clock.
pub(crate) type Nanos = Box<dyn Fn() -> u64 + Send + Sync>;

/// Answers for one thread.
pub(crate) struct ThreadInbox {
    answers: Mutex<Vec<Answer>>,
    owner: Thread,
    nanos: Option<Nanos>,
}

impl std::fmt::Debug for ThreadInbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ThreadInbox")
            .field(&self.owner.id())
            .finish()
    }
}

impl ThreadInbox {
    /// An inbox that wakes the calling thread, and may know the time.
    pub(crate) fn of_this_thread(nanos: Option<Nanos>) -> Arc<ThreadInbox> {
        Arc::new(ThreadInbox {
            answers: Mutex::new(Vec::new()),
            owner: std::thread::current(),
            nanos,
        })
    }

    /// True if it wakes the calling thread.
    pub(crate) fn is_of_this_thread(&self) -> bool {
        self.owner.id() == std::thread::current().id()
    }

    /// Moves what has come to the end of `answers`.
    pub(crate) fn take(&self, answers: &mut Vec<Answer>) {
        answers.append(&mut lock(&self.answers));
    }
}

impl Inbox for ThreadInbox {
    fn post(&self, answer: Answer) {
        lock(&self.answers).push(answer);
        self.owner.unpark();
    }

    fn nanos(&self) -> Option<u64> {
        self.nanos.as_ref().map(|nanos| nanos())
    }
}

/// A lock whose holders never leave it half-changed, so that a panic elsewhere is no reason to stop.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be answered once.
#[derive(Debug)]
pub(crate) struct Reply {
    inbox: Arc<dyn Inbox>,
    address: Address,
    frame: FrameHandle,
    called_nanos: Option<u64>,
    sent: bool,
}

impl Reply {
    pub(crate) fn new(inbox: &Arc<dyn Inbox>, address: Address, frame: FrameHandle) -> Reply {
        Reply {
            inbox: Arc::clone(inbox),
            address,
            frame,
            called_nanos: None,
            sent: false,
        }
    }

    /// The task's handler is about to be called.
    pub(crate) fn called(&mut self) {
        self.called_nanos = self.inbox.nanos();
    }

    pub(crate) fn send(mut self, result: Result<Vec<u8>, Failure>) {
        self.end(Said::Ended(result));
    }

    /// The service has accepted the task, with this answer; more is to come.
    #[cfg(feature = "server")]
    pub(crate) fn submitted(&self, answer: Vec<u8>) {
        self.post(Said::Submitted(answer));
    }

    /// The service has not accepted the task.
    #[cfg(feature = "server")]
    pub(crate) fn not_submitted(mut self, failure: Failure) {
        self.end(Said::NotSubmitted(failure));
    }

    /// Whoever has the task's token answers.
    #[cfg(feature = "server")]
    pub(crate) fn leave(mut self) {
        self.sent = true;
    }

    fn end(&mut self, said: Said) {
        self.sent = true;
        self.post(said);
    }

    fn post(&self, said: Said) {
        self.inbox.post(Answer {
            address: self.address,
            frame: self.frame,
            called_nanos: self.called_nanos,
            said,
        });
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.sent {
            let failure = Failure::new(
                "Task.Dropped",
                "the handler ended without an answer, as when its runtime shuts down",
            );
            self.end(Said::Ended(Err(failure)));
        }
    }
}

/// A task under way. Dropping it calls the task off, unless it was finished.
#[derive(Debug)]
pub(crate) struct Pending {
    work: Option<Work>,
    begun: Option<Begun>,
}

/// What metrics want to know of a task when it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) task: TaskId,
    /// When it was handed out, by the engine's clock.
    pub(crate) nanos: u64,
    /// When it times out, by the execution's.
    pub(crate) due: Timestamp,
}

#[derive(Debug)]
enum Work {
    Future(tokio::task::AbortHandle),
    Exec(ExecPending),
}

impl Pending {
    pub(crate) fn future(handle: tokio::task::AbortHandle) -> Pending {
        Pending {
            work: Some(Work::Future(handle)),
            begun: None,
        }
    }

    pub(crate) fn exec(pending: ExecPending) -> Pending {
        Pending {
            work: Some(Work::Exec(pending)),
            begun: None,
        }
    }

    /// One that cannot be called off: its answer is on the way, or comes by its token.
    pub(crate) const fn outside() -> Pending {
        Pending {
            work: None,
            begun: None,
        }
    }

    /// The same, with what metrics want to know.
    pub(crate) fn begun(mut self, begun: Begun) -> Pending {
        self.begun = Some(begun);
        self
    }

    /// What metrics want to know.
    pub(crate) const fn what_begun(&self) -> Option<Begun> {
        self.begun
    }

    /// It times out at another time, since it has given a sign of life.
    pub(crate) fn put_off(&mut self, due: Timestamp) {
        if let Some(begun) = &mut self.begun {
            begun.due = due;
        }
    }

    /// The answer has come: there is nothing to call off.
    pub(crate) fn finish(mut self) {
        self.work = None;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        match &self.work {
            Some(Work::Future(handle)) => handle.abort(),
            Some(Work::Exec(pending)) => pending.cancel(),
            None => {}
        }
    }
}
