//! Those who do the tasks: at once, later, never, twice; rightly, wrongly, or not as an answer at all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quickstep::EngineBuilder;
use quickstep::task::{Failure, OwnedTaskRequest, TaskAnswer, TaskRequest};

use crate::actions;
use crate::calls::{Answer, Say, Way, text};
use crate::hub::{Hub, Request};

/// The longest that a function takes, beyond the timeouts of its tasks.
const SLOW_MILLIS_MAX: u64 = 14_000;

pub(crate) fn register(builder: EngineBuilder, hub: &Arc<Hub>) -> EngineBuilder {
    let (flaky, later, token) = (Arc::clone(hub), Arc::clone(hub), Arc::clone(hub));
    let queue = Arc::clone(hub);
    builder
        .task(
            "arn:aws:lambda:*:function:flaky",
            move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
                answer_at_once(&flaky, request, response)
            },
        )
        .task_async(
            "arn:aws:lambda:*:function:later",
            move |request: OwnedTaskRequest| answer_later(&later, &request),
        )
        .task_callback(
            "arn:aws:lambda:*:function:token",
            move |request: &TaskRequest<'_>, _: &mut Vec<u8>| hand_on(&token, request),
        )
        .task_callback(
            "arn:aws:states:::sqs:*",
            move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
                response.extend_from_slice(br#"{"MessageId":"m"}"#);
                hand_on(&queue, request)
            },
        )
}

/// What a handler says, most of the time that it has done its work.
fn say(hub: &Hub) -> Say {
    let mut state = hub.lock();
    if state.is_draining {
        return Say::Done;
    }
    match state.random.below(20) {
        0..12 => Say::Done,
        12..16 => Say::Error("Busy"),
        16..18 => Say::Error("Fatal"),
        18 => Say::Panic,
        _ => Say::Garbage,
    }
}

pub(crate) fn failure(error: &str, call: usize) -> Failure {
    Failure::new(error, call.to_string())
}

fn answer_at_once(
    hub: &Arc<Hub>,
    request: &TaskRequest<'_>,
    response: &mut Vec<u8>,
) -> Result<(), Failure> {
    let call = Request::with(request, |request| hub.called(request, Way::AtOnce));
    actions::within(hub);
    let is_slow = {
        let mut state = hub.lock();
        !state.is_draining && state.random.once_in(12)
    };
    if is_slow {
        let millis = hub.lock().random.below(SLOW_MILLIS_MAX);
        hub.clock.advance_nanos(millis * 1_000_000);
    }
    let say = say(hub);
    let number = hub.give(call, say);
    match say {
        Say::Done => response.extend_from_slice(text(call, number).as_bytes()),
        Say::Error(error) => return Err(failure(error, call)),
        // Without the hook that shows it.
        Say::Panic => std::panic::resume_unwind(Box::new("on purpose")),
        Say::Garbage | Say::Heartbeat => response.extend_from_slice(b"{\"half\":"),
    }
    Ok(())
}

/// Hands a task on; somebody answers it by its token.
fn hand_on(hub: &Arc<Hub>, request: &TaskRequest<'_>) -> Result<(), Failure> {
    let call = Request::with(request, |request| hub.called(request, Way::Token));
    let (fails, answers) = {
        let mut state = hub.lock();
        state.calls[call].token = Some(request.token());
        let is_draining = state.is_draining;
        let random = &mut state.random;
        (
            !is_draining && random.once_in(15),
            !is_draining && random.once_in(8),
        )
    };
    if fails {
        hub.give(call, Say::Error("Busy"));
        return Err(failure("Busy", call));
    }
    if answers {
        // The answer overtakes the handler that hands the task on.
        let say = say(hub);
        actions::answer(hub, call, say);
    }
    actions::within(hub);
    Ok(())
}

/// What the token's owner says.
pub(crate) fn task_answer(call: usize, number: u64, say: Say) -> TaskAnswer {
    match say {
        Say::Done => TaskAnswer::Succeeded(text(call, number).into_bytes()),
        Say::Error(error) => TaskAnswer::Failed(failure(error, call)),
        Say::Garbage => TaskAnswer::Succeeded(b"[1,".to_vec()),
        Say::Heartbeat => TaskAnswer::Heartbeat,
        Say::Panic => TaskAnswer::Failed(Failure::new("Task.Panicked", "by its token")),
    }
}

/// A future that somebody else lets answer.
struct Later {
    hub: Arc<Hub>,
    call: usize,
}

impl Future for Later {
    type Output = Result<Vec<u8>, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = {
            let mut state = self.hub.lock();
            let call = &mut state.calls[self.call];
            if call.answer.is_none() {
                call.waker = Some(context.waker().clone());
            }
            call.answer.clone()
        };
        match answer {
            None => Poll::Pending,
            Some(Answer::Is(answer)) => Poll::Ready(answer),
            Some(Answer::Panic(text)) => std::panic::resume_unwind(Box::new(text)),
        }
    }
}

fn answer_later(hub: &Arc<Hub>, request: &OwnedTaskRequest) -> Later {
    let asked = Request {
        input: &request.input,
        name: &request.execution_name,
        state: &request.state,
        retry: request.attempt,
        attempt: request.execution_attempt,
    };
    let call = hub.called(&asked, Way::Future);
    let answers = {
        let mut state = hub.lock();
        !state.is_draining && state.random.once_in(5)
    };
    if answers {
        let say = say(hub);
        actions::answer(hub, call, say);
    }
    Later {
        hub: Arc::clone(hub),
        call,
    }
}
