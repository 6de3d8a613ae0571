//! Wait states, and everything that falls due.

use std::cmp::Reverse;

use super::context::values;
use super::execution::{FrameStatus, after_seconds};
use super::run::{Raised, Registers, Run};
use crate::history::{Failure, Observer};
use crate::program::{Load, LoadId, WaitId, WaitInfo};
use crate::stdx::Timestamp;
use crate::value::{Kind, Val};

/// Longest wait, in seconds (AWS's guide, "Wait").
const WAIT_SECONDS_MAX: i64 = 99_999_999;

impl<O: Observer> Run<'_, O> {
    /// Parks the frame until its time has come; false if it has come already.
    #[inline(never)]
    pub(super) fn begin_wait(
        &mut self,
        frame: u32,
        wait: WaitId,
        registers: &Registers,
    ) -> Result<bool, Raised> {
        let until = match self.program.waits[wait.index()] {
            WaitInfo::Seconds(seconds) => after_seconds(self.now, seconds),
            WaitInfo::Until(millis) => Timestamp::from_millis(millis),
            WaitInfo::SecondsPath(load) => self.seconds_path(frame, load, registers.value)?,
            WaitInfo::TimestampPath(load) => self.timestamp_path(frame, load, registers.value)?,
            WaitInfo::SecondsExpression(expression) => {
                self.seconds_expression(frame, expression, registers)?
            }
            WaitInfo::TimestampExpression(expression) => {
                self.timestamp_expression(frame, expression, registers)?
            }
        };
        if until <= self.now {
            return Ok(false);
        }
        self.sleep(frame, until);
        Ok(true)
    }

    /// Parks the frame until `until`.
    pub(super) fn sleep(&mut self, frame: u32, until: Timestamp) {
        let f = &mut self.execution.frames[frame as usize];
        f.status = FrameStatus::Waiting;
        f.wake_at = until;
        self.execution.arm(frame, until);
    }

    fn wait_operand(&mut self, frame: u32, load: &Load, value: Val) -> Result<Val, Raised> {
        self.load(frame, load, value).map_err(|_| {
            let cause = format!(
                "The {} parameter does not reference an input value: {}",
                load.field,
                load.path.text()
            );
            self.raise(frame, "States.Runtime", &cause)
        })
    }

    fn seconds_path(&mut self, frame: u32, load: LoadId, value: Val) -> Result<Timestamp, Raised> {
        let load = &self.program.loads[load.index()];
        let val = self.wait_operand(frame, load, value)?;
        let view = values(self.execution, self.program);
        let shown = || {
            view.string(val)
                .map_or_else(|| view.to_json(val), std::borrow::Cow::into_owned)
        };
        let path = load.path.text();
        let cause = match view.as_i64(val) {
            Some(seconds @ 0..=WAIT_SECONDS_MAX) => {
                return Ok(self.now.plus_millis(seconds * 1_000));
            }
            Some(0..) => "Wait state delay is too long.".to_owned(),
            Some(_) => format!(
                "The SecondsPath parameter references a negative value: {path} == {}",
                shown()
            ),
            None => format!(
                "The SecondsPath parameter cannot be parsed as a long value: {path} == {}",
                shown()
            ),
        };
        Err(self.raise(frame, "States.Runtime", &cause))
    }

    fn timestamp_path(
        &mut self,
        frame: u32,
        load: LoadId,
        value: Val,
    ) -> Result<Timestamp, Raised> {
        let load = &self.program.loads[load.index()];
        let val = self.wait_operand(frame, load, value)?;
        let view = values(self.execution, self.program);
        let text = if view.kind(val) == Kind::String {
            view.string(val).unwrap_or_default().into_owned()
        } else {
            view.to_json(val)
        };
        match Timestamp::parse(&text) {
            Ok(until) if until.millis() - self.now.millis() <= WAIT_SECONDS_MAX * 1_000 => {
                Ok(until)
            }
            Ok(_) => Err(self.raise(frame, "States.Runtime", "Wait state delay is too long.")),
            Err(_) => {
                let cause = format!(
                    "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time \
                     format string: {} == {text}",
                    load.path.text()
                );
                Err(self.raise(frame, "States.Runtime", &cause))
            }
        }
    }

    /// Makes ready what falls due at the first moment up to `until`, and fails tasks whose time is up then. False if
    /// there is no such moment.
    ///
    /// One moment at a time: what follows from it happens before what falls due later, however late the turn is.
    pub(super) fn wake(&mut self, until: Timestamp) -> bool {
        let mut moment = None;
        while let Some(&Reverse(timer)) = self.execution.timers.peek() {
            // What ends the execution, as the failure of one task may, leaves nothing to wake.
            if timer.at > until
                || moment.is_some_and(|moment| timer.at != moment)
                || self.execution.outcome.is_some()
            {
                break;
            }
            self.execution.timers.pop();
            let f = &mut self.execution.frames[timer.frame as usize];
            if !timer.is_live(f) {
                continue;
            }
            moment = Some(timer.at);
            if f.status == FrameStatus::Waiting {
                self.execution.make_ready(timer.frame);
            } else {
                f.missed_heartbeat = f.wake_at != timer.at;
                self.end_task(timer.frame, Err(Failure::timeout()));
            }
        }
        moment.is_some()
    }

    /// When the next thing falls due.
    pub(super) fn next_wake(&mut self) -> Timestamp {
        while let Some(&Reverse(timer)) = self.execution.timers.peek() {
            let f = &self.execution.frames[timer.frame as usize];
            if timer.is_live(f) {
                return timer.at.min(self.execution.deadline);
            }
            self.execution.timers.pop();
        }
        self.execution.deadline
    }
}
