//! Tasks that clients answer: tokens, and the queues of activities.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use super::live::Live;
use crate::interp::FrameHandle;
use crate::stdx::FixedMap;
use crate::task::{Failure, lock};

/// What a client says of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TaskAnswer<'a> {
    Heartbeat,
    /// JSON text of the result.
    Succeeded(&'a str),
    Failed(&'a Failure),
}

/// Why a token is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenError {
    /// Nobody made it.
    Invalid,
    /// The task has ended.
    TimedOut,
}

/// Length of the tokens that are given out.
const TOKEN_CHARS: usize = 64;

/// True if a token might have been given out once.
pub(super) fn is_token(token: &str) -> bool {
    token.len() == TOKEN_CHARS && token.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A task that waits for a client.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) live: Weak<Live>,
    pub(super) frame: FrameHandle,
}

/// A task that waits for a worker of its activity.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) waiting: Waiting,
    pub(super) token: Box<str>,
    pub(super) input: String,
}

/// The tasks of one activity.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) offers: Mutex<VecDeque<Offer>>,
    pub(super) arrived: Notify,
}

/// All tasks that wait for clients.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    waiting: Mutex<FixedMap<Box<str>, Waiting>>,
    activities: Mutex<FixedMap<Box<str>, Arc<Queue>>>,
}

impl Tokens {
    pub(super) fn insert(&self, token: &str, waiting: Waiting) {
        lock(&self.waiting).insert(token.into(), waiting);
    }

    pub(super) fn get(&self, token: &str) -> Option<Waiting> {
        lock(&self.waiting).get(token).cloned()
    }

    pub(super) fn remove_all<'t>(&self, tokens: impl IntoIterator<Item = &'t str>) {
        let mut waiting = lock(&self.waiting);
        for token in tokens {
            waiting.remove(token);
        }
    }

    /// The queue of an activity.
    pub(super) fn queue(&self, arn: &str) -> Arc<Queue> {
        let mut activities = lock(&self.activities);
        // Queues that nobody uses are forgotten, so that names that come and go do not heap up.
        if activities.len() > 1_000 && !activities.contains_key(arn) {
            activities
                .retain(|_, queue| Arc::strong_count(queue) > 1 || !lock(&queue.offers).is_empty());
        }
        Arc::clone(activities.entry(arn.into()).or_default())
    }

    /// Puts a task into the queue of its activity.
    pub(super) fn offer(&self, arn: &str, offer: Offer) {
        let queue = self.queue(arn);
        lock(&queue.offers).push_back(offer);
        queue.arrived.notify_one();
    }
}
