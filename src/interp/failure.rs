//! `Retry` and `Catch` (ASL specification, "Errors").

use super::context::values;
use super::execution::{FrameStatus, Outcome};
use super::redrive::Fate;
use super::run::{Raised, Run};
use crate::asl::JitterStrategy;
use crate::history::{Details, Failure, Observer};
use crate::program::{ErrorEquals, Retrier, StateType};
use crate::value::Val;

impl ErrorEquals {
    /// True if the list names the error, by itself or by a wildcard.
    fn matches(&self, failure: &Failure, missed_heartbeat: bool) -> bool {
        let error = failure.error_name();
        self.all
            || self.task_failed && error != "States.Timeout"
            || self.names.iter().any(|name| {
                // AWS reports a missed heartbeat as States.Timeout; both names match it.
                **name == *error || missed_heartbeat && **name == *"States.HeartbeatTimeout"
            })
    }
}

/// Errors of the engine's own making that no `Retry` or `Catch` takes up.
fn is_terminal(failure: &Failure) -> bool {
    failure.error_name() == "States.Runtime"
}

impl<O: Observer> Run<'_, O> {
    /// Retries the frame's state, or goes on with a catcher, or ends the scope. True if the frame can run on.
    pub(super) fn state_failed(&mut self, frame: u32, failure: Failure) -> bool {
        let f = &self.execution.frames[frame as usize];
        if !f.in_state {
            // ItemSelector failed: that is the Map's own failure, as no state of the iteration has begun.
            self.scope_failed(frame, failure);
            return false;
        }
        if self.retry(frame, &failure) {
            return self.execution.frames[frame as usize].status == FrameStatus::Ready;
        }
        let terminal = is_terminal(&failure);
        let state_type =
            self.program.states[self.execution.frames[frame as usize].state.index()].state_type;
        let forked = std::mem::take(&mut self.execution.frames[frame as usize].forked);
        match state_type {
            StateType::Parallel if forked => {
                self.frame_event(frame, Details::ParallelStateFailed);
            }
            StateType::Map if forked => {
                self.frame_event(frame, Details::MapStateFailed);
            }
            _ => {}
        }
        if !terminal && self.catch(frame, &failure) {
            return true;
        }
        self.scope_failed(frame, failure);
        false
    }

    /// Arranges the next attempt, if a retrier has one left for the error.
    fn retry(&mut self, frame: u32, failure: &Failure) -> bool {
        let info = &self.program.states[self.execution.frames[frame as usize].state.index()];
        if info.retriers.is_empty() || is_terminal(failure) {
            return false;
        }
        let missed_heartbeat = self.execution.frames[frame as usize].missed_heartbeat;
        let Some(index) = info
            .retriers
            .iter()
            .position(|retrier| retrier.errors.matches(failure, missed_heartbeat))
        else {
            return false;
        };
        let retrier = &info.retriers[index];
        let f = &mut self.execution.frames[frame as usize];
        f.retries.resize(info.retriers.len(), 0);
        let attempt = f.retries[index];
        if attempt >= retrier.max_attempts {
            return false;
        }
        f.retries[index] += 1;
        f.retry_count += 1;
        let counts = &mut self.execution.counts;
        counts.retries = counts.retries.saturating_add(1);
        self.execution.fuel = self.execution.fuel.saturating_sub(1);
        let f = &mut self.execution.frames[frame as usize];
        f.forked = false;
        f.pc = info.body;
        f.value = f.data;
        let millis = self.delay_millis(retrier, attempt);
        if millis == 0 {
            self.execution.frames[frame as usize].status = FrameStatus::Ready;
        } else {
            self.sleep(frame, self.now.plus_millis(millis));
        }
        true
    }

    fn delay_millis(&mut self, retrier: &Retrier, attempt: u32) -> i64 {
        let millis = delay_millis(retrier, attempt);
        match retrier.jitter {
            JitterStrategy::None => millis,
            JitterStrategy::Full => (millis as f64 * self.execution.random.next_f64()) as i64,
        }
    }

    /// Goes on with the first catcher that names the error.
    fn catch(&mut self, frame: u32, failure: &Failure) -> bool {
        let info = &self.program.states[self.execution.frames[frame as usize].state.index()];
        let missed_heartbeat = self.execution.frames[frame as usize].missed_heartbeat;
        let Some(catcher) = info
            .catchers
            .iter()
            .find(|catcher| catcher.errors.matches(failure, missed_heartbeat))
        else {
            return false;
        };
        let counts = &mut self.execution.counts;
        counts.catches = counts.catches.saturating_add(1);
        let error_output = self.error_output(failure);
        let f = &mut self.execution.frames[frame as usize];
        f.value = error_output;
        f.pc = catcher.start;
        f.status = FrameStatus::Ready;
        true
    }

    /// `{"Error": …, "Cause": …}`: a part that is absent is null, but a timeout's cause is empty, as AWS has it.
    fn error_output(&mut self, failure: &Failure) -> Val {
        let keys = &self.program.keys;
        let is_timeout = failure.error_name() == "States.Timeout";
        let doc = &mut self.execution.doc;
        let error = failure
            .error
            .as_ref()
            .map_or(Val::NULL, |error| doc.push_string(error));
        let cause = match &failure.cause {
            Some(cause) => doc.push_string(cause),
            None if is_timeout => doc.push_string(""),
            None => Val::NULL,
        };
        doc.push_object(
            &self.program.constants,
            &[(keys.Error, error), (keys.Cause, cause)],
        )
    }

    /// The scope of a frame has failed: the execution, or the join that waits for it.
    pub(super) fn scope_failed(&mut self, frame: u32, failure: Failure) {
        let f = &self.execution.frames[frame as usize];
        let (parent, missed_heartbeat) = (f.parent, f.missed_heartbeat);
        let outer = parent.map(|join| self.execution.joins[join as usize].frame);
        let fate = self.fate(outer, &failure, missed_heartbeat);
        if fate == Fate::Ends {
            self.execution.stop_here(self.program, frame);
        }
        match parent {
            Some(join) => self.join_failed(join, frame, failure, fate),
            None => {
                self.frame_event(frame, Details::ExecutionFailed { failure: &failure });
                self.execution.outcome = Some(Outcome::Failed(failure));
                self.execution.ready.clear();
            }
        }
    }

    /// What becomes of the execution by a failure that reaches a frame.
    fn fate(&self, reached: Option<u32>, failure: &Failure, missed_heartbeat: bool) -> Fate {
        let mut reached = reached;
        while let Some(frame) = reached {
            let f = &self.execution.frames[frame as usize];
            let info = &self.program.states[f.state.index()];
            if f.in_state && !is_terminal(failure) {
                let retriers = info.retriers.iter();
                let matching = retriers
                    .enumerate()
                    .find(|(_, retrier)| retrier.errors.matches(failure, missed_heartbeat));
                let is_retried = matching.is_some_and(|(index, retrier)| {
                    f.retries.get(index).copied().unwrap_or(0) < retrier.max_attempts
                });
                let mut catchers = info.catchers.iter();
                if is_retried || catchers.any(|it| it.errors.matches(failure, missed_heartbeat)) {
                    return Fate::GoesOn;
                }
            }
            reached = f
                .parent
                .map(|join| self.execution.joins[join as usize].frame);
        }
        Fate::Ends
    }

    /// The scope of a frame has ended.
    pub(super) fn scope_succeeded(&mut self, frame: u32, output: Val) {
        match self.execution.frames[frame as usize].parent {
            Some(join) => self.join_succeeded(join, frame, output),
            None => {
                self.frame_event(frame, Details::ExecutionSucceeded { output });
                self.execution.outcome = Some(Outcome::Succeeded(output));
            }
        }
    }

    #[cold]
    pub(super) fn no_choice(&self, frame: u32) -> Raised {
        self.raise(
            frame,
            "States.NoChoiceMatched",
            "Failed to transition out of the state. The state does not point to a next state.",
        )
    }

    /// A number that a `…Path` field names.
    pub(super) fn number_operand(
        &mut self,
        frame: u32,
        load: crate::program::LoadId,
        value: Val,
    ) -> Result<i64, Raised> {
        let load = &self.program.loads[load.index()];
        let val = self
            .load(frame, load, value)
            .map_err(|not_found| self.invalid_path(frame, load, &not_found))?;
        let view = values(self.execution, self.program);
        view.as_i64(val).ok_or_else(|| {
            let shown = view
                .string(val)
                .map_or_else(|| view.to_json(val), std::borrow::Cow::into_owned);
            let cause = format!(
                "The {} field refers to value \"{shown}\" which is not a valid integer: {}",
                load.field,
                load.path.text()
            );
            self.raise(frame, "States.Runtime", &cause)
        })
    }
}

/// The delay before retry number `attempt`, from 0, in milliseconds, without jitter.
fn delay_millis(retrier: &Retrier, attempt: u32) -> i64 {
    let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
    let seconds = retrier.interval_seconds as f64 * retrier.backoff_rate.powi(exponent);
    let cap = retrier
        .max_delay_seconds
        .map_or(f64::INFINITY, |cap| cap as f64);
    // The conversion saturates.
    (seconds.min(cap) * 1_000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(names: &[&str]) -> ErrorEquals {
        ErrorEquals {
            all: names.contains(&"States.ALL"),
            task_failed: names.contains(&"States.TaskFailed"),
            names: names.iter().map(|&name| name.into()).collect(),
        }
    }

    #[test]
    fn delays_grow_up_to_their_cap() {
        let mut retrier = Retrier {
            errors: errors(&["States.ALL"]),
            interval_seconds: 1,
            max_attempts: 5,
            backoff_rate: 2.0,
            max_delay_seconds: Some(5),
            jitter: JitterStrategy::None,
        };
        let delays: Vec<i64> = (0..4)
            .map(|attempt| delay_millis(&retrier, attempt))
            .collect();
        assert_eq!(delays, [1_000, 2_000, 4_000, 5_000]);
        retrier.max_delay_seconds = None;
        retrier.backoff_rate = 1.5;
        assert_eq!(delay_millis(&retrier, 2), 2_250);
        assert_eq!(delay_millis(&retrier, u32::MAX), i64::MAX);
    }

    #[test]
    fn wildcards() {
        for (names, error, expected) in [
            (&["States.ALL"][..], "Boom", true),
            (&["States.TaskFailed"], "Boom", true),
            (&["States.TaskFailed"], "States.Timeout", false),
            (&["States.Timeout"], "States.Timeout", true),
            (&["States.HeartbeatTimeout"], "States.Timeout", false),
            (&["Boom", "Bang"], "Bang", true),
            (&["Boom"], "Boo", false),
            (&["States.ALL"], "", true),
        ] {
            let failure = Failure::new(error, "");
            assert_eq!(
                errors(names).matches(&failure, false),
                expected,
                "{names:?} {error}"
            );
        }
        assert!(errors(&["States.HeartbeatTimeout"]).matches(&Failure::timeout(), true));
    }
}
