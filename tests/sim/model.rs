//! The model: what the engine has said, and so what it owes.
//!
//! It knows the starts that were asked for and what became of each. Whatever the engine does is held against it at once:
//! a call, an end, what is found after a crash.

use std::collections::{BTreeMap, BTreeSet};

use quickstep::Status;
use quickstep::task::Failure;

use crate::calls::Call;
use crate::machines::{Kind, retry_delay};

/// What was said to whoever asked for a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Nothing yet.
    Asked,
    /// It was accepted.
    Acknowledged,
    /// The disk has failed meanwhile: it may run or not.
    Doubtful,
    /// It was refused: it never runs.
    Refused,
}

/// A start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) kind: Kind,
    pub(crate) input: String,
    /// Seconds that it waits, if it does.
    pub(crate) seconds: u64,
    pub(crate) count: u64,
    pub(crate) is_json: bool,
    pub(crate) name: Option<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) fate: Fate,
    /// It was acknowledged, or found after a crash.
    pub(crate) is_owed: bool,
    /// Somebody was told its end.
    pub(crate) has_ended: bool,
    pub(crate) end_is_durable: bool,
    /// The last attempt that was begun.
    pub(crate) attempt: u32,
    /// The number of the attempt did not get onto the disk, since the journal was full.
    pub(crate) attempt_is_unsure: bool,
    /// What it drew: the same whenever it runs.
    pub(crate) drawn: Option<String>,
    /// It was part of a batch that was refused after some of it had been appended: a crash may leave that part.
    pub(crate) may_be_left: bool,
}

/// An execution that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) attempt: u32,
    /// False if nobody is told its end.
    pub(crate) is_heard: bool,
    /// False if the journal does not know of it.
    pub(crate) is_recorded: bool,
    /// The numbers of its calls.
    pub(crate) calls: Vec<usize>,
    /// The causes of stops, and whether it was running then.
    pub(crate) stops: Vec<(String, bool)>,
    /// It has begun by then.
    pub(crate) began_by: Option<u64>,
    /// By when a retry has to have begun.
    pub(crate) retry_by: Option<(usize, u64)>,
}

/// How an execution ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: Status,
    pub(crate) output: Option<String>,
    pub(crate) failure: Option<Failure>,
    pub(crate) start: u64,
    pub(crate) stop: u64,
    pub(crate) name: String,
}

/// What somebody is told of an execution.
#[derive(Debug)]
pub(crate) enum Told {
    Ended(End),
    /// Its input was not JSON.
    Refused,
    /// The engine was shut down.
    Abandoned,
}

/// A start that was found in the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) id: u64,
    pub(crate) machine: String,
    pub(crate) name: String,
    pub(crate) attempts: u32,
}

/// How many executions of an engine have ended how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) timed_out: u64,
    pub(crate) aborted: u64,
    pub(crate) refused: u64,
    pub(crate) abandoned: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) starts: BTreeMap<u64, Start>,
    pub(crate) running: BTreeMap<u64, Running>,
    /// Those that ended in the life of this engine, and whose ends may not be on the disk.
    ended: BTreeSet<u64>,
    unsynced: Vec<u64>,
    /// Starts in the journal that have no end, as far as this can be known.
    pub(crate) unfinished: u64,
    /// Executions under way of which nobody will be told.
    pub(crate) unheard: usize,
    pub(crate) tally: Tally,
    names: BTreeMap<String, u64>,
    next: u64,
}

pub(crate) type Checked = Result<(), String>;

macro_rules! must {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}
pub(crate) use must;

impl Model {
    pub(crate) fn ask(&mut self, make: impl FnOnce(u64) -> Start) -> u64 {
        self.next += 1;
        let start = make(self.next);
        if let Some(name) = &start.name {
            self.names.insert(name.clone(), self.next);
        }
        self.starts.insert(self.next, start);
        self.next
    }

    pub(crate) fn start(&mut self, id: u64) -> &mut Start {
        self.starts.get_mut(&id).expect("every start is known")
    }

    /// It was taken in, and somebody is told its end, or not.
    pub(crate) fn begin(&mut self, id: u64, attempt: u32, is_heard: bool, is_recorded: bool) {
        let start = self.start(id);
        start.attempt = start.attempt.max(attempt);
        let running = Running {
            attempt,
            is_heard,
            is_recorded,
            calls: Vec::new(),
            stops: Vec::new(),
            began_by: None,
            retry_by: None,
        };
        self.unheard += usize::from(!is_heard);
        self.unfinished += u64::from(is_recorded);
        self.running.insert(id, running);
    }

    /// It was found, and runs again.
    pub(crate) fn begin_again(&mut self, found: &Found, attempt: u32, is_full: bool) -> Checked {
        let id = found.id;
        let before = self.start(id).attempt;
        must!(
            attempt == found.attempts + 1,
            "{id} runs again as attempt {attempt}, after {}",
            found.attempts
        );
        must!(
            attempt > before || self.start(id).attempt_is_unsure,
            "{id} runs a second time as attempt {attempt}"
        );
        self.begin(id, attempt, true, true);
        self.unfinished -= 1;
        self.start(id).attempt_is_unsure = is_full;
        Ok(())
    }

    /// Executions under way whose ends somebody will be told.
    pub(crate) fn heard(&self) -> usize {
        self.running.len() - self.unheard
    }

    /// The bytes of the inputs of what is under way.
    pub(crate) fn input_bytes(&self) -> u64 {
        let inputs = self.running.keys().map(|id| self.starts[id].input.len());
        inputs.sum::<usize>() as u64
    }

    pub(crate) fn acknowledge(&mut self, id: u64) {
        let start = self.start(id);
        start.fate = Fate::Acknowledged;
        start.is_owed = true;
    }

    /// What the name of an execution is found to be.
    pub(crate) fn name(&mut self, id: u64, name: &str) -> Checked {
        let start = self.start(id);
        if let Some(known) = &start.name {
            must!(known == name, "{id} is named {known}, and now {name}");
            return Ok(());
        }
        start.name = Some(name.to_owned());
        if let Some(other) = self.names.insert(name.to_owned(), id) {
            return Err(format!("{id} and {other} are both named {name}"));
        }
        Ok(())
    }

    /// A handler is called.
    pub(crate) fn called(&mut self, number: usize, calls: &[Call], name: &str) -> Checked {
        let call = &calls[number];
        let (id, attempt) = (call.start, call.attempt);
        self.name(id, name)?;
        let start = self.start(id);
        must!(start.fate != Fate::Refused, "{id} was refused, and runs");
        let Some(running) = self.running.get_mut(&id) else {
            return Err(format!("{id} is called, but not under way"));
        };
        must!(
            running.attempt == attempt,
            "{id} runs as attempt {attempt}, and should as {}",
            running.attempt
        );
        let before = running.calls.last().map(|before| &calls[*before]);
        let kind = self.starts[&id].kind;
        if kind.has_one_task() {
            match (call.retry, before) {
                (0, None) => {}
                (retry, Some(before)) if retry == before.retry + 1 => {
                    let failed = before.last().map_or(u64::MAX, |given| given.at);
                    let least = failed.min(before.due()) + retry_delay(retry);
                    must!(
                        call.at >= least,
                        "{id}: retry {retry} at {}, before {least}",
                        call.at
                    );
                }
                (retry, before) => {
                    return Err(format!("{id}: retry {retry} follows {before:?}"));
                }
            }
        }
        running.calls.push(number);
        Ok(())
    }

    /// Somebody is told what became of an execution.
    pub(crate) fn told(&mut self, id: u64, told: &Told, now: u64, calls: &[Call]) -> Checked {
        must!(
            !self.ended.contains(&id),
            "{id} ends twice in one life: {told:?}"
        );
        let Some(running) = self.running.remove(&id) else {
            return Err(format!("{id} ends and is not under way: {told:?}"));
        };
        self.unheard -= usize::from(!running.is_heard);
        let end = match told {
            Told::Abandoned => {
                self.tally.abandoned += 1;
                return Ok(());
            }
            Told::Refused => {
                self.tally.refused += 1;
                must!(!self.starts[&id].is_json, "{id} is JSON, and was refused");
                None
            }
            Told::Ended(end) => Some(end),
        };
        self.ended.insert(id);
        if running.is_recorded {
            self.unfinished -= 1;
            self.unsynced.push(id);
        }
        self.start(id).has_ended = true;
        let Some(end) = end else {
            return Ok(());
        };
        self.name(id, &end.name)?;
        match end.status {
            Status::Succeeded => self.tally.succeeded += 1,
            Status::TimedOut => self.tally.timed_out += 1,
            Status::Aborted => self.tally.aborted += 1,
            Status::Failed | Status::Running => self.tally.failed += 1,
        }
        let start = self.starts.get_mut(&id).expect("every start is known");
        crate::outcome::check(id, start, &running, end, now, calls)
            .map_err(|error| format!("{id} ({:?}): {error}: {end:?}", start.kind))
    }

    /// Everything that was appended to the journal is on the disk.
    pub(crate) fn ends_are_durable(&mut self) {
        for id in std::mem::take(&mut self.unsynced) {
            self.start(id).end_is_durable = true;
        }
    }

    /// A process begins that finds these starts in the journal.
    pub(crate) fn restart(&mut self, found: &[Found], is_durable: bool) -> Checked {
        self.running.clear();
        self.ended.clear();
        self.unsynced.clear();
        self.unheard = 0;
        self.unfinished = found.len() as u64;
        self.tally = Tally::default();
        let mut ids = BTreeSet::new();
        for found in found {
            let id = found.id;
            must!(ids.insert(id), "{id} is found twice");
            self.name(id, &found.name)?;
            let start = self.start(id);
            must!(!start.end_is_durable, "{id} has ended, and is found again");
            must!(
                start.fate != Fate::Refused || start.may_be_left,
                "{id} was refused, and is found"
            );
            let machine = start.kind.machine().identity().arn().to_owned();
            must!(found.machine == machine, "{id} has become {found:?}");
            must!(
                found.attempts >= start.attempt || start.attempt_is_unsure,
                "{id} has begun attempt {}, and the journal knows of {}",
                start.attempt,
                found.attempts
            );
            // What was found is made durable.
            (start.is_owed, start.fate) = (true, Fate::Acknowledged);
        }
        for (id, start) in &mut self.starts {
            let is_found = ids.contains(id);
            must!(
                is_found || !start.is_owed || start.has_ended || !is_durable,
                "{id} was acknowledged, and is lost: {start:?}"
            );
            // Without a journal, and where it was lost before it was acknowledged, nobody owes it any more.
            start.is_owed = is_found;
        }
        Ok(())
    }

    /// Everything had its turn, between these two moments: nothing that was to happen until the first is open.
    pub(crate) fn check_not_late(&mut self, from: u64, to: u64, calls: &mut [Call]) -> Checked {
        for (id, running) in &mut self.running {
            if !running.is_heard {
                continue;
            }
            let start = &self.starts[id];
            let began = *running.began_by.get_or_insert(to);
            let until = |millis: u64| began.saturating_add(millis);
            let kind = start.kind;
            let ends = match kind {
                _ if !start.is_json => Some(0),
                Kind::Short | Kind::Query | Kind::Loop => Some(0),
                Kind::Wait => {
                    Some((start.seconds * 1_000).min(kind.deadline().unwrap_or(u64::MAX)))
                }
                _ => kind.deadline(),
            };
            must!(
                ends.is_none_or(|ends| from < until(ends)),
                "{id} ({kind:?}) began by {began}, and has not ended at {from}"
            );
            must!(
                running.stops.is_empty(),
                "{id} ({kind:?}) was stopped, and has not ended"
            );
            for number in &running.calls {
                calls[*number].seen(to);
            }
            let last = running.calls.last().copied();
            let Some(number) = last.filter(|_| kind.has_one_task()) else {
                continue;
            };
            let call = &calls[number];
            let given = call.last();
            if given.is_none() && call.due_at_last() > from {
                continue;
            }
            // An answer that nobody had time to take may have met a timeout.
            let fails_again = given.is_none_or(|given| !given.is_in_time || given.say.is_retried());
            let late = |what| format!("{id} ({kind:?}) {what} after call {number}: {call:?}");
            must!(
                fails_again && call.retry < call.times().retries,
                "{}",
                late("has not ended")
            );
            match running.retry_by {
                Some((of, by)) if of == number => {
                    must!(from < by, "{}", late("is not tried again"));
                }
                _ => running.retry_by = Some((number, to + retry_delay(call.retry + 1))),
            }
        }
        Ok(())
    }
}
