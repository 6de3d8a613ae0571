//! Redriving: an execution that failed, timed out or was stopped goes on from where it was (`RedriveExecution`).
//!
//! When an execution ends so, its frames stay as they are: what had ended keeps its results, what was under way waits. All
//! of it can be frozen then. Once it is thawed, [`Execution::redrive`] begins again what was under way, and the state that
//! failed, as a retry would: with its raw input, and with all of its retries left.

use super::context::values;
use super::execution::{Execution, FrameStatus, after_seconds};
use super::freeze::Freezer;
use crate::history::{Details, HistoryEvent, LogLevel, Observer};
use crate::program::{Op, Pc, Program, StateType};
use crate::stdx::{Timestamp, narrow};

/// What becomes of an execution by a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Somebody catches it, or tries again.
    GoesOn,
    /// Nobody does.
    Ends,
}

impl Execution {
    /// The state of a frame has failed for good: if it is redriven, it begins again.
    pub(super) fn stop_here(&mut self, program: &Program, frame: u32) {
        let f = &mut self.frames[frame as usize];
        // Those whose branches have failed wait for them still.
        if f.status == FrameStatus::Ready {
            f.status = FrameStatus::Waiting;
            f.wake_at = Timestamp::MAX;
            // Where it failed may be behind the last op, and what it worked on is of no use any more.
            f.pc = program.states[f.state.index()].body;
            f.value = f.data;
        }
    }

    /// Appends an execution that has ended otherwise than by success to `out`, so that it can be redriven.
    pub fn freeze_to_redrive(&self, program: &Program, freezer: &mut Freezer, out: &mut Vec<u8>) {
        self.freeze_frames(program, freezer, out);
    }

    /// Goes on with an execution that was frozen to be redriven, and thawed.
    pub fn redrive<O: Observer>(&mut self, program: &Program, now: Timestamp, observer: &mut O) {
        self.context.redrives += 1;
        self.context.redriven_at = now;
        self.deadline = program
            .timeout_seconds
            .map_or(Timestamp::MAX, |seconds| after_seconds(now, seconds));
        self.timers.clear();
        self.ready.clear();
        self.again.clear();
        let previous_id = self.last_event_id;
        self.last_event_id += 1;
        let id = self.last_event_id;
        if O::ENABLED && observer.wants(LogLevel::All) {
            let count = self.context.redrives;
            observer.observe(&HistoryEvent {
                id,
                previous_id,
                timestamp: now,
                values: values(self, program),
                details: Details::ExecutionRedriven { count },
                original: None,
            });
        }
        for index in 0..narrow(self.frames.len()) {
            let frame = &mut self.frames[index as usize];
            match frame.status {
                FrameStatus::Free => {}
                FrameStatus::Ready => self.ready.push_back(index),
                FrameStatus::Joined(_) => {
                    frame.forked = true;
                    frame.retry_count = 0;
                    frame.retries.clear();
                }
                FrameStatus::Waiting | FrameStatus::Task => {
                    self.begin_again(program, index, id);
                    self.make_ready(index);
                }
            }
        }
    }

    /// Sets a frame at the beginning of the state that it was in.
    fn begin_again(&mut self, program: &Program, index: u32, redriven: u64) {
        let frame = &mut self.frames[index as usize];
        // Late answers are none of the new attempt's.
        frame.generation = frame.generation.wrapping_add(1);
        frame.previous_event = redriven;
        frame.retry_count = 0;
        frame.retries.clear();
        frame.task = None;
        frame.forked = false;
        frame.missed_heartbeat = false;
        (frame.wake_at, frame.heartbeat_at) = (Timestamp::MAX, Timestamp::MAX);
        if frame.in_state {
            let info = &program.states[frame.state.index()];
            frame.pc = match info.state_type {
                // It is entered again; others are gone on with.
                StateType::Fail => entry(program, info.body),
                _ => info.body,
            };
            frame.value = frame.data;
            return;
        }
        // The state had not been entered: `ItemSelector` has failed.
        let join = frame.parent.map(|join| &self.joins[join as usize]);
        if let (Some(iteration), Some(item)) = (join.and_then(|join| join.iteration), frame.item) {
            frame.pc = iteration.pc;
            frame.data = item.value;
            frame.value = iteration.input.unwrap_or(item.value);
        }
    }
}

/// Where the state with that body is entered.
fn entry(program: &Program, body: Pc) -> Pc {
    match body.0.checked_sub(1).map(Pc) {
        Some(pc) if matches!(program.ops[pc.index()], Op::Enter(_)) => pc,
        _ => body,
    }
}
