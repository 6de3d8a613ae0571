//! Tasks that clients do: the queues of activities, and what is told of a task by its token.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use crate::engine::Engine;
use crate::runtime::{Heard, Place, place_of};
use crate::stdx::FixedMap;
use crate::task::{Failure, TaskAnswer, TaskHandler, TaskRequest, TaskToken, lock};

/// Why a token is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenError {
    /// Nobody made it.
    Invalid,
    /// The task has ended.
    TimedOut,
    /// What came of the answer could not be kept.
    NotKept,
}

/// Length of the tokens that are given out.
const TOKEN_CHARS: usize = 64;

/// Whether a text has the form of a token.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == TOKEN_CHARS && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The token of that text, if it might have been given out once.
pub(super) fn token(text: &str) -> Result<TaskToken, TokenError> {
    match is_token(text) {
        true => Ok(TaskToken::new(text)),
        false => Err(TokenError::Invalid),
    }
}

/// Finds executions by their tokens, which name the place where the execution was when it started: in this process, or in
/// one before. Several processes may have had the same place.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Moved>);

#[derive(Debug, Default)]
struct Moved {
    places: FixedMap<u64, Vec<Place>>,
    /// How many there are before those of executions that have ended are dropped.
    sweep_at: usize,
}

/// So few places are not worth the sweeping.
const PLACES_MIN: usize = 1_000;

impl Places {
    /// The execution whose tokens name the place `named` is now at `place`.
    pub(super) fn moved(&self, engine: &Engine, named: u64, place: Place) {
        // An execution that has handed out no token names no place.
        if named == 0 {
            return;
        }
        let mut moved = lock(&self.0);
        if moved.places.len() >= moved.sweep_at.max(PLACES_MIN) {
            moved.places.retain(|_, places| {
                places.retain(|place| engine.is_in_flight(*place));
                !places.is_empty()
            });
            moved.sweep_at = moved.places.len() * 2;
        }
        moved.places.entry(named).or_default().push(place);
    }

    /// Where the execution may be.
    fn of(&self, token: &TaskToken) -> Vec<Place> {
        let Some(named) = place_of(token) else {
            return Vec::new();
        };
        let moved = lock(&self.0).places.get(&named.as_number()).cloned();
        let mut places = moved.unwrap_or_default();
        places.push(named);
        places
    }

    /// False if the execution of a token has ended.
    fn is_in_flight(&self, engine: &Engine, token: &TaskToken) -> bool {
        let places = self.of(token);
        places.into_iter().any(|place| engine.is_in_flight(place))
    }

    /// Tells an execution what became of a task, and says what came of that.
    pub(super) async fn tell(
        &self,
        engine: &Engine,
        token: &TaskToken,
        answer: TaskAnswer,
    ) -> Heard {
        for place in self.of(token) {
            let (sender, receiver) = oneshot::channel();
            let told = move |heard| {
                // A client that has gone does not want to know.
                let _ = sender.send(heard);
            };
            engine.post(place, token, answer.clone(), Box::new(told));
            match receiver.await {
                Ok(Heard::Unwanted) | Err(_) => {}
                Ok(heard) => return heard,
            }
        }
        Heard::Unwanted
    }
}

/// A task that waits for a worker of its activity.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) token: TaskToken,
    pub(super) input: String,
}

/// The tasks of one activity.
#[derive(Debug, Default)]
pub(super) struct Queue {
    offers: Mutex<Offers>,
    pub(super) arrived: Notify,
}

#[derive(Debug, Default)]
struct Offers {
    waiting: VecDeque<Offer>,
    /// How many there are before those of executions that have ended are dropped.
    sweep_at: usize,
}

/// So few offers are not worth the sweeping.
const OFFERS_MIN: usize = 1_000;

impl Queue {
    pub(super) fn pop(&self) -> Option<Offer> {
        lock(&self.offers).waiting.pop_front()
    }

    /// Adds an offer. `is_wanted` says of which tasks the execution has not ended.
    fn push(&self, offer: Offer, is_wanted: impl Fn(&TaskToken) -> bool) {
        let mut offers = lock(&self.offers);
        if offers.waiting.len() >= offers.sweep_at.max(OFFERS_MIN) {
            offers.waiting.retain(|offer| is_wanted(&offer.token));
            offers.sweep_at = offers.waiting.len() * 2;
        }
        offers.waiting.push_back(offer);
        drop(offers);
        self.arrived.notify_one();
    }
}

/// The tasks of all activities.
#[derive(Debug, Default)]
pub(super) struct Activities(Mutex<FixedMap<Box<str>, Arc<Queue>>>);

/// Activities whose empty queues are kept.
const QUEUES_KEPT: usize = 1_000;

impl Activities {
    /// The queue of an activity.
    pub(super) fn queue(&self, arn: &str) -> Arc<Queue> {
        let mut queues = lock(&self.0);
        // Queues that nobody uses are forgotten, so that names that come and go do not heap up.
        if queues.len() > QUEUES_KEPT && !queues.contains_key(arn) {
            queues.retain(|_, queue| {
                Arc::strong_count(queue) > 1 || !lock(&queue.offers).waiting.is_empty()
            });
        }
        Arc::clone(queues.entry(arn.into()).or_default())
    }
}

/// Hands tasks on to clients: those of activities to their queues; the others' clients have their tokens already.
#[derive(Debug)]
pub(super) struct HandOn {
    pub(super) activities: Arc<Activities>,
    pub(super) places: Arc<Places>,
    pub(super) engine: Engine,
}

impl TaskHandler for HandOn {
    fn call(&self, request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
        // What a service answers at first is not known.
        response.extend_from_slice(b"{}");
        if request.resource().ends_with(".waitForTaskToken") {
            return Ok(());
        }
        let offer = Offer {
            token: request.token(),
            input: request.input_json(),
        };
        let queue = self.activities.queue(request.resource());
        queue.push(offer, |token| self.places.is_in_flight(&self.engine, token));
        Ok(())
    }
}
