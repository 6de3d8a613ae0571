//! What the world does to an engine: starts, answers, stops. Handlers do so too, in the middle of a turn.

use std::sync::Arc;

use quickstep::Engine;
use quickstep::engine::{Error, ErrorKind, Limit, StartRequest};
use quickstep::task::{TaskAnswer, TaskToken};

use crate::calls::{Answer, Call, Say, Way, text};
use crate::handlers::{failure, task_answer};
use crate::hub::{Hub, Sink, State, trace};
use crate::machines::{KINDS, Kind};
use crate::model::{End, Fate, Start, Told, must};
use crate::random::Random;

/// Answers to tasks that were called so many calls ago still come, too late.
const CALLS_REMEMBERED: usize = 40;

/// Makes up a start of a machine.
fn draw(random: &mut Random, kind: Kind, id: u64) -> Start {
    let count = match kind {
        // More than a turn's slice, now and then.
        Kind::Loop if random.once_in(12) => random.between(300, 800),
        _ => random.between(1, 9),
    };
    let seconds = match random.below(10) {
        0 => 0,
        1 => random.between(290, 310),
        2 => random.between(60, 400),
        _ => random.between(1, 12),
    };
    let items: Vec<u64> = (0..random.below(5)).collect();
    let filler = "x".repeat(random.index(40));
    let is_json = !random.once_in(25);
    let end = if is_json { "}" } else { "" };
    Start {
        kind,
        input: format!(
            r#"{{"id":{id},"n":{count},"s":{seconds},"items":{items:?},"f":"{filler}"{end}"#
        ),
        seconds,
        count,
        is_json,
        name: None,
        seed: None,
        fate: Fate::Asked,
        is_owed: false,
        has_ended: false,
        end_is_durable: false,
        attempt: 1,
        attempt_is_unsure: false,
        drawn: None,
        may_be_left: false,
    }
}

/// Asks for a start: its number, its input, a seed if it is to have one.
fn ask(state: &mut State, kind: Kind) -> (u64, String, Option<u64>) {
    let State { model, random, .. } = state;
    let is_named = random.once_in(2);
    let seed = random.once_in(3).then(|| random.next());
    let id = model.ask(|id| Start {
        name: is_named.then(|| format!("start-{id}")),
        seed,
        ..draw(random, kind, id)
    });
    state.met.starts += 1;
    (id, state.model.starts[&id].input.clone(), seed)
}

fn any_kind(state: &mut State) -> Kind {
    state.random.pick(&KINDS)
}

/// What an error says of starts that were asked for.
fn refused(hub: &Hub, ids: &[u64], error: &Error) {
    let mut state = hub.lock();
    trace!(hub, state, "{ids:?} refused: {error:?}");
    let limit = error.throttled().map(|throttled| throttled.limit);
    let fate = match error.kind() {
        ErrorKind::Throttled => Fate::Refused,
        ErrorKind::Poisoned => Fate::Doubtful,
        // The disk stands still, in the middle of a commit. Any other error of it is met before anything is appended.
        ErrorKind::Journal if error.to_string().contains("not on the disk yet") => Fate::Doubtful,
        ErrorKind::Journal => Fate::Refused,
        kind => {
            state.check(Err(format!("{kind:?} for {ids:?}: {error}")));
            Fate::Doubtful
        }
    };
    state.met.refused += u64::from(fate == Fate::Refused);
    state.met.full += u64::from(limit == Some(Limit::Journal));
    state.met.doubtful += u64::from(fate == Fate::Doubtful);
    if error.kind() == ErrorKind::Poisoned {
        state.met.poisoned += u64::from(!state.is_poisoned);
        state.is_poisoned = true;
    }
    for id in ids {
        state.model.start(*id).fate = fate;
    }
}

/// A start that the engine may have taken in: then it runs, and nobody is told.
fn doubtful(hub: &Hub, id: u64) {
    let mut state = hub.lock();
    if state.model.starts[&id].fate == Fate::Doubtful {
        let is_recorded = !state.is_poisoned;
        state.model.begin(id, 1, false, is_recorded);
    }
}

/// How somebody hears that a start is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hears {
    /// The call returns.
    AtOnce,
    /// A function is called, some time.
    Later,
}

/// Starts one.
pub(crate) fn start(hub: &Arc<Hub>, engine: &Engine) {
    let (kind, hears) = {
        let mut state = hub.lock();
        let kind = any_kind(&mut state);
        let hears = match state.random.once_in(3) {
            true => Hears::Later,
            false => Hears::AtOnce,
        };
        (kind, hears)
    };
    start_of(hub, engine, kind, hears);
}

/// Starts one of a machine; returns its number.
pub(crate) fn start_of(hub: &Arc<Hub>, engine: &Engine, kind: Kind, hears: Hears) -> u64 {
    let (id, input, seed, name) = {
        let mut state = hub.lock();
        let (id, input, seed) = ask(&mut state, kind);
        let name = state.model.starts[&id].name.clone();
        trace!(hub, state, "start {id}: {kind:?}");
        (id, input, seed, name)
    };
    let request = request(&input, name.as_deref(), seed);
    let handle = if hears == Hears::Later {
        let (told, life) = (Arc::clone(hub), hub.lock().life);
        engine.start_then(kind.machine(), request, move |result| {
            acknowledged(&told, life, id, result);
        })
    } else {
        let result = engine.start(kind.machine(), request);
        if result.is_ok() {
            hub.lock().model.acknowledge(id);
        }
        result
    };
    match handle {
        Ok(handle) => {
            let mut state = hub.lock();
            let is_poisoned = state.is_poisoned && hears == Hears::AtOnce;
            state.check(match is_poisoned {
                true => Err(format!("a poisoned journal acknowledges {id}")),
                false => Ok(()),
            });
            let is_durable = engine.journal_counters().is_some();
            state.model.begin(id, 1, true, is_durable);
            let checked = state.model.name(id, &handle.name());
            state.check(checked);
            drop(state);
            hub.keep(id, handle);
        }
        Err(error) => {
            refused(hub, &[id], &error);
            doubtful(hub, id);
        }
    }
    id
}

fn request<'a>(input: &'a str, name: Option<&'a str>, seed: Option<u64>) -> StartRequest<'a> {
    let mut request = StartRequest::new(input.as_bytes());
    if let Some(name) = name {
        request = request.name(name);
    }
    match seed {
        Some(seed) => request.seed(seed),
        None => request,
    }
}

/// The engine calls back about a start.
fn acknowledged(hub: &Hub, life: u32, id: u64, result: Result<(), Error>) {
    let mut state = hub.lock();
    // The process is gone.
    if state.life != life || state.engine.is_none() {
        return;
    }
    trace!(hub, state, "{id} acknowledged: {result:?}");
    match result {
        Ok(()) => {
            state.met.acknowledged_later += 1;
            state.model.acknowledge(id);
        }
        Err(_) => {
            state.met.doubtful += 1;
            state.is_poisoned = true;
            state.model.start(id).fate = Fate::Doubtful;
        }
    }
}

/// Starts several at once.
pub(crate) fn start_batch(hub: &Arc<Hub>, engine: &Engine) {
    let (kind, ids, inputs, life) = {
        let mut state = hub.lock();
        let kind = any_kind(&mut state);
        let most = if state.random.once_in(6) { 40 } else { 6 };
        let count = state.random.between(1, most);
        let (mut ids, mut inputs) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let State { model, random, .. } = &mut *state;
            let id = model.ask(|id| draw(random, kind, id));
            inputs.push(model.starts[&id].input.clone());
            ids.push(id);
        }
        trace!(hub, state, "batch {ids:?}: {kind:?}");
        state.met.batches += 1;
        state.met.starts += count;
        (kind, ids, inputs, state.life)
    };
    let sink = Sink {
        hub: Arc::clone(hub),
        life,
        ids: ids.clone(),
    };
    let slices = inputs.iter().map(String::as_bytes);
    let result = engine.start_batch(kind.machine(), slices, sink);
    let is_durable = engine.journal_counters().is_some();
    if let Err(error) = &result {
        refused(hub, &ids, error);
        let mut state = hub.lock();
        state.met.batches_refused += 1;
        if state.model.starts[&ids[0]].fate == Fate::Refused {
            // What was appended of it has ended; a crash may come before that is on the disk.
            ids.iter()
                .for_each(|id| state.model.start(*id).may_be_left = true);
            return;
        }
    }
    let mut state = hub.lock();
    let is_poisoned = state.is_poisoned;
    for id in ids {
        if result.is_ok() {
            state.model.acknowledge(id);
        }
        state
            .model
            .begin(id, 1, result.is_ok(), is_durable && !is_poisoned);
    }
}

/// Runs one to its end, on this thread.
pub(crate) fn run(hub: &Arc<Hub>, engine: &Engine) {
    let (id, input, seed, kind, name) = {
        let mut state = hub.lock();
        let kind = state.random.pick(&[Kind::Short, Kind::Query]);
        let (id, input, seed) = ask(&mut state, kind);
        let name = state.model.starts[&id].name.clone();
        trace!(hub, state, "run {id}: {kind:?}");
        state.met.synchronous += 1;
        (id, input, seed, kind, name)
    };
    let result = engine.start_sync(kind.machine(), request(&input, name.as_deref(), seed));
    match result {
        Err(error) if error.kind() != ErrorKind::InvalidInput => refused(hub, &[id], &error),
        result => {
            hub.lock().model.begin(id, 1, true, false);
            let told = crate::hub::told(result);
            let life = hub.lock().life;
            hub.told(id, life, &told);
            let mut state = hub.lock();
            // Such executions are not among the workers' counts.
            let tally = &mut state.model.tally;
            match told {
                Told::Ended(End { .. }) => tally.succeeded -= 1,
                Told::Refused | Told::Abandoned => tally.refused -= 1,
            }
        }
    }
}

/// Gives an answer to a call.
pub(crate) fn answer(hub: &Arc<Hub>, call: usize, say: Say) {
    let number = hub.give(call, say);
    let mut state = hub.lock();
    let engine = state.engine.clone();
    let Call {
        way,
        token,
        answer,
        waker,
        ..
    } = &mut state.calls[call];
    match (*way, token.clone(), engine) {
        (Way::Future, ..) => {
            if answer.is_none() {
                *answer = Some(match say {
                    Say::Done => Answer::Is(Ok(text(call, number).into_bytes())),
                    Say::Error(error) => Answer::Is(Err(failure(error, call))),
                    Say::Panic => Answer::Panic("on purpose".to_owned()),
                    Say::Garbage | Say::Heartbeat => Answer::Is(Ok(b"}".to_vec())),
                });
            }
            let waker = waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        (Way::Token, Some(token), Some(engine)) => {
            drop(state);
            let taken = engine.complete(&token, task_answer(call, number, say));
            let mut state = hub.lock();
            trace!(hub, state, "answer {number}: {taken:?}");
            let Call {
                start,
                life,
                attempt,
                ..
            } = state.calls[call];
            let is_under_way = state.life == life
                && (state.model.running.get(&start))
                    .is_some_and(|running| running.is_heard && running.attempt == attempt);
            if is_under_way && let Err(error) = taken {
                state.check(Err(format!(
                    "{start} is under way, and its token is {error}"
                )));
            }
        }
        _ => {}
    }
}

/// Answers some task with a token that only looks like its own: the execution has a turn, and nothing else changes.
pub(crate) fn forge(hub: &Arc<Hub>) {
    let (token, engine) = {
        let mut state = hub.lock();
        let State { random, calls, .. } = &mut *state;
        let tokens = calls.iter().rev().take(CALLS_REMEMBERED);
        let tokens: Vec<_> = tokens.filter_map(|call| call.token.as_ref()).collect();
        if tokens.is_empty() {
            return;
        }
        let mut text = tokens[random.index(tokens.len())].to_string();
        let last = if text.ends_with('0') { "1" } else { "0" };
        text.replace_range(text.len() - 1.., last);
        trace!(hub, state, "a forged token: {text}");
        state.met.forged += 1;
        (TaskToken::new(&text), state.engine.clone())
    };
    if let Some(engine) = engine {
        let answer = TaskAnswer::Succeeded(b"\"forged\"".to_vec());
        // Whether there is an execution at that place is said, and no more.
        let (Ok(()) | Err(_)) = engine.complete(&token, answer);
    }
}

/// Answers some call of this life, open or not.
pub(crate) fn answer_any(hub: &Arc<Hub>) {
    let chosen = {
        let mut state = hub.lock();
        let first = state.first_call;
        let State { random, calls, .. } = &mut *state;
        let first = first.max(calls.len().saturating_sub(CALLS_REMEMBERED));
        let is_open = |call: &Call| call.way != Way::AtOnce && call.last().is_none();
        let open: Vec<usize> = (first..calls.len())
            .filter(|call| is_open(&calls[*call]) || random.once_in(10))
            .filter(|call| calls[*call].way != Way::AtOnce)
            .collect();
        if open.is_empty() {
            return;
        }
        let call = open[random.index(open.len())];
        let is_token = calls[call].way == Way::Token;
        let say = match random.below(20) {
            0..11 => Say::Done,
            11..13 => Say::Error("Busy"),
            13 => Say::Error("Fatal"),
            14 => Say::Garbage,
            15 => Say::Panic,
            _ if is_token => Say::Heartbeat,
            _ => Say::Done,
        };
        (call, say)
    };
    answer(hub, chosen.0, chosen.1);
}

/// Stops some execution, under way or not.
pub(crate) fn stop_any(hub: &Arc<Hub>, is_within: bool) {
    let (id, handle) = {
        let mut state = hub.lock();
        let State {
            random, handles, ..
        } = &mut *state;
        if handles.is_empty() {
            return;
        }
        let at = random.index(handles.len());
        handles[at].clone()
    };
    let cause = {
        let mut state = hub.lock();
        state.answers += 1;
        state.met.stops += 1;
        format!("stop {}", state.answers)
    };
    let taken = handle.stop(Some("Stopped"), Some(&cause));
    let mut state = hub.lock();
    trace!(hub, state, "{cause} of {id}: {taken}");
    let Some(running) = state.model.running.get_mut(&id) else {
        return state.check((|| {
            must!(!taken, "{id} has ended, and can be stopped");
            Ok(())
        })());
    };
    if taken {
        running.stops.push((cause, is_within));
    } else {
        state.check(Err(format!("{id} is under way, and cannot be stopped")));
    }
}

/// What a handler does besides its work, in the middle of a worker's turn.
pub(crate) fn within(hub: &Arc<Hub>) {
    let (what, engine) = {
        let mut state = hub.lock();
        if state.is_draining {
            return;
        }
        (state.random.below(24), state.engine.clone())
    };
    let Some(engine) = engine else {
        return;
    };
    match what {
        0 | 1 => {
            hub.lock().met.inner_answers += 1;
            answer_any(hub);
        }
        2 => {
            hub.lock().met.inner_starts += 1;
            start(hub, &engine);
        }
        3 => {
            hub.lock().met.inner_stops += 1;
            stop_any(hub, true);
        }
        _ => {}
    }
}
