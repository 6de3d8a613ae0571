//! Parallel and inline Map: frames that are started together and waited for together.

use super::context::values;
use super::execution::{FrameStatus, Item};
use super::redrive::Fate;
use super::run::{Raised, Registers, Run};
use super::{FRAMES_WIDE_MAX, MAP_CONCURRENCY_MAX};
use crate::history::{Details, Failure, Observer};
use crate::program::{ForkId, MapId, MapItems, NumberOperand, Pc, StateType};
use crate::stdx::narrow;
use crate::value::{Kind, Val};

/// What waits for the branches of a Parallel or the iterations of a Map.
#[derive(Debug)]
pub(super) struct Join {
    /// The frame that goes on when all have ended.
    pub(super) frame: u32,
    /// Outputs by index.
    pub(super) results: Vec<Val>,
    /// Items of a Map by index; empty for a Parallel.
    pub(super) items: Vec<Val>,
    /// How many have ended.
    pub(super) ended: usize,
    /// How many have been started.
    pub(super) started: usize,
    /// Where iterations of a Map begin.
    pub(super) iteration: Option<Iteration>,
    /// False if it can be taken for something else.
    pub(super) in_use: bool,
}

/// What every iteration of a Map begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Iteration {
    pub(super) pc: Pc,
    /// Effective input of the Map, if `ItemSelector` wants it.
    pub(super) input: Option<Val>,
}

impl Join {
    pub(super) fn new() -> Join {
        Join {
            frame: 0,
            results: Vec::new(),
            items: Vec::new(),
            ended: 0,
            started: 0,
            iteration: None,
            in_use: false,
        }
    }

    /// The values that it keeps alive.
    pub(super) fn roots(&mut self) -> impl Iterator<Item = &mut Val> {
        let in_use = self.in_use;
        let input = self
            .iteration
            .as_mut()
            .and_then(|iteration| iteration.input.as_mut());
        // Items of iterations that have started are kept by their frames.
        let items = self.items.iter_mut().skip(self.started);
        self.results
            .iter_mut()
            .chain(items)
            .chain(input)
            .filter(move |_| in_use)
    }
}

impl<O: Observer> Run<'_, O> {
    fn take_join(&mut self, frame: u32) -> u32 {
        let index = self.execution.free_joins.pop().unwrap_or_else(|| {
            self.execution.joins.push(Join::new());
            narrow(self.execution.joins.len() - 1)
        });
        let join = &mut self.execution.joins[index as usize];
        join.frame = frame;
        join.results.clear();
        join.items.clear();
        join.ended = 0;
        join.started = 0;
        join.iteration = None;
        join.in_use = true;
        index
    }

    fn free_join(&mut self, join: u32) {
        self.execution.joins[join as usize].in_use = false;
        self.execution.free_joins.push(join);
    }

    /// Starts the branches of a Parallel.
    #[inline(never)]
    pub(super) fn fork(&mut self, frame: u32, fork: ForkId, value: Val) {
        let branches = &self.program.forks[fork.index()];
        let started = self.frame_event(frame, Details::ParallelStateStarted);
        let join = self.take_join(frame);
        let waiting = &mut self.execution.frames[frame as usize];
        waiting.status = FrameStatus::Joined(join);
        waiting.forked = true;
        let item = waiting.item;
        let j = &mut self.execution.joins[join as usize];
        j.results.resize(branches.len(), Val::NULL);
        j.started = branches.len();
        for (i, &pc) in branches.iter().enumerate() {
            let child = self.execution.take_frame();
            let f = &mut self.execution.frames[child as usize];
            (f.pc, f.data, f.value) = (pc, value, value);
            f.parent = Some(join);
            f.index = narrow(i);
            f.item = item;
            f.previous_event = started;
            self.execution.ready.push_back(child);
        }
    }

    /// Starts the first iterations of a Map; false if there are no items and it goes on at once.
    #[inline(never)]
    pub(super) fn begin_map(
        &mut self,
        frame: u32,
        map: MapId,
        registers: &mut Registers,
    ) -> Result<bool, Raised> {
        let info = &self.program.maps[map.index()];
        let concurrency = self.concurrency(frame, info.max_concurrency.as_ref(), registers)?;
        let concurrency = if concurrency == 0 {
            MAP_CONCURRENCY_MAX
        } else {
            concurrency.min(MAP_CONCURRENCY_MAX)
        };
        let items = match info.items {
            MapItems::Value => registers.value,
            MapItems::Input => self.input_items(frame, registers.value)?,
            MapItems::Popped => self.pop(),
            MapItems::Expression(expression) => self.eval_items(frame, expression, registers)?,
            MapItems::Load(load) => {
                let load = &self.program.loads[load.index()];
                let found = self.load(frame, load, registers.value);
                found.map_err(|not_found| self.invalid_path(frame, load, &not_found))?
            }
        };
        if values(self.execution, self.program).kind(items) != Kind::Array {
            let cause = format!(
                "Reference path \"{}\" must point to array.",
                info.items_text
            );
            return Err(self.raise(frame, "States.Runtime", &cause));
        }
        let join = self.take_join(frame);
        let mut list = std::mem::take(&mut self.execution.joins[join as usize].items);
        list.extend(values(self.execution, self.program).elements(items));
        let length = list.len();
        let started = self.frame_event(
            frame,
            Details::MapStateStarted {
                length: length as u64,
            },
        );
        if length == 0 {
            self.free_join(join);
            self.event(started, Details::MapStateSucceeded);
            registers.value = Val::EMPTY_ARRAY;
            return Ok(false);
        }
        let waiting = &mut self.execution.frames[frame as usize];
        waiting.status = FrameStatus::Joined(join);
        waiting.forked = true;
        let j = &mut self.execution.joins[join as usize];
        j.items = list;
        j.results.resize(length, Val::NULL);
        j.iteration = Some(Iteration {
            pc: info.iteration,
            input: info.has_selector.then_some(registers.value),
        });
        // Maps in Maps multiply: past a point each goes on with one iteration at a time.
        let used = self.execution.frames.len() - self.execution.free_frames.len();
        let concurrency = if used > FRAMES_WIDE_MAX {
            1
        } else {
            concurrency
        };
        for _ in 0..concurrency.min(length) {
            let child = self.execution.take_frame();
            self.begin_iteration(join, child, started);
        }
        Ok(true)
    }

    /// `MaxConcurrency`; 0 for as many as there may be.
    fn concurrency(
        &mut self,
        frame: u32,
        operand: Option<&NumberOperand>,
        registers: &Registers,
    ) -> Result<usize, Raised> {
        match operand {
            None => Ok(0),
            Some(NumberOperand::Literal(n)) => Ok(usize::try_from(*n).unwrap_or(usize::MAX)),
            Some(NumberOperand::Load(load)) => self.map_concurrency(frame, *load, registers.value),
            Some(NumberOperand::Expression(expression)) => {
                let n = self.eval_integer(frame, *expression, 0, registers)?;
                Ok(usize::try_from(n).unwrap_or(usize::MAX))
            }
        }
    }

    fn map_concurrency(
        &mut self,
        frame: u32,
        load: crate::program::LoadId,
        value: Val,
    ) -> Result<usize, Raised> {
        let n = self.number_operand(frame, load, value)?;
        usize::try_from(n).map_err(|_| {
            self.raise(
                frame,
                "States.Runtime",
                "MaxConcurrency cannot be negative.",
            )
        })
    }

    /// Sets a frame at the beginning of the next item.
    fn begin_iteration(&mut self, join: u32, child: u32, previous_event: u64) {
        let j = &mut self.execution.joins[join as usize];
        let index = j.started;
        j.started += 1;
        let item = Item {
            index: narrow(index),
            value: j.items[index],
        };
        let Some(iteration) = j.iteration else {
            unreachable!("the join of an iteration is a Map's")
        };
        let parent = &self.execution.frames[j.frame as usize];
        let (state, entered_event, entered_time) =
            (parent.state, parent.entered_event, parent.entered_time);
        let f = &mut self.execution.frames[child as usize];
        f.pc = iteration.pc;
        f.data = item.value;
        f.value = iteration.input.unwrap_or(item.value);
        f.parent = Some(join);
        f.index = item.index;
        f.item = Some(item);
        (f.state, f.entered_event, f.entered_time) = (state, entered_event, entered_time);
        f.previous_event = previous_event;
        if O::ENABLED {
            let name = &self.program.states[state.index()].name;
            let index = index as u64;
            self.frame_event(child, Details::MapIterationStarted { name, index });
        } else {
            self.execution.last_event_id += 1;
        }
        self.execution.ready.push_back(child);
    }

    /// A branch or an iteration has ended with an output.
    pub(super) fn join_succeeded(&mut self, join: u32, child: u32, output: Val) {
        let f = &self.execution.frames[child as usize];
        let (index, mut last_event) = (f.index, f.previous_event);
        let j = &mut self.execution.joins[join as usize];
        let waiting = j.frame;
        j.results[index as usize] = output;
        j.ended += 1;
        let all_ended = j.ended == j.results.len();
        let more = j.iteration.is_some() && j.started < j.items.len();
        if j.iteration.is_some() {
            let succeeded = self.iteration_succeeded(waiting, index, last_event);
            if more {
                self.recycle(child);
                self.begin_iteration(join, child, last_event);
                return;
            }
            last_event = succeeded;
        }
        self.drop_variables(child);
        self.execution.free_frame(child);
        if all_ended {
            self.join_ended(join, last_event);
        }
    }

    #[inline(always)]
    fn iteration_succeeded(&mut self, waiting: u32, index: u32, last_event: u64) -> u64 {
        if !O::ENABLED {
            self.execution.last_event_id += 1;
            return self.execution.last_event_id;
        }
        let state = self.execution.frames[waiting as usize].state;
        let name = &self.program.states[state.index()].name;
        let index = u64::from(index);
        self.event(last_event, Details::MapIterationSucceeded { name, index })
    }

    /// Makes a frame whose iteration has ended ready for another one.
    fn recycle(&mut self, child: u32) {
        self.drop_variables(child);
        let f = &mut self.execution.frames[child as usize];
        f.generation = f.generation.wrapping_add(1);
        f.in_state = false;
        f.forked = false;
        f.task = None;
    }

    #[inline(always)]
    fn drop_variables(&mut self, frame: u32) {
        if !self.execution.frames[frame as usize].variables.is_empty() {
            self.drop_some_variables(frame);
        }
    }

    #[inline(never)]
    fn drop_some_variables(&mut self, frame: u32) {
        let mut variables = std::mem::take(&mut self.execution.frames[frame as usize].variables);
        let view = values(self.execution, self.program);
        let bytes: usize = variables.iter().map(|&(_, val)| view.size(val)).sum();
        self.execution.variables_bytes -= bytes;
        variables.clear();
        self.execution.frames[frame as usize].variables = variables;
    }

    fn join_ended(&mut self, join: u32, last_event: u64) {
        let results = std::mem::take(&mut self.execution.joins[join as usize].results);
        let array = self
            .execution
            .doc
            .push_array(&self.program.constants, &results);
        let j = &mut self.execution.joins[join as usize];
        j.results = results;
        let waiting = j.frame;
        let details = if j.iteration.is_some() {
            Details::MapStateSucceeded
        } else {
            Details::ParallelStateSucceeded
        };
        self.free_join(join);
        self.event(last_event, details);
        let f = &mut self.execution.frames[waiting as usize];
        f.previous_event = last_event;
        f.value = array;
        f.forked = false;
        self.execution.make_ready(waiting);
    }

    /// A branch or an iteration has failed: its siblings are stopped, and the state that started them fails.
    /// If that ends the execution, all frames stay as they are: it may be redriven from there.
    pub(super) fn join_failed(&mut self, join: u32, child: u32, failure: Failure, fate: Fate) {
        let waiting = self.execution.joins[join as usize].frame;
        let f = &self.execution.frames[child as usize];
        let (last_event, missed_heartbeat) = (f.previous_event, f.missed_heartbeat);
        let is_map = self.execution.joins[join as usize].iteration.is_some();
        self.abort_state(child);
        if is_map {
            let name =
                &self.program.states[self.execution.frames[waiting as usize].state.index()].name;
            let index = u64::from(self.execution.frames[child as usize].index);
            self.event(last_event, Details::MapIterationFailed { name, index });
        }
        if fate == Fate::GoesOn {
            self.drop_variables(child);
            self.execution.free_frame(child);
        }
        self.abort_children(join, Some(child), fate);
        let f = &mut self.execution.frames[waiting as usize];
        f.previous_event = last_event;
        f.missed_heartbeat = missed_heartbeat;
        if self.state_failed(waiting, failure) {
            self.execution.make_ready(waiting);
        }
    }

    /// Stops every frame that a join waits for but the one that has failed, and what these have started in turn.
    fn abort_children(&mut self, join: u32, failed: Option<u32>, fate: Fate) {
        let is_map = self.execution.joins[join as usize].iteration.is_some();
        let waiting = self.execution.joins[join as usize].frame;
        for child in 0..narrow(self.execution.frames.len()) {
            let f = &self.execution.frames[child as usize];
            if f.status == FrameStatus::Free || f.parent != Some(join) || failed == Some(child) {
                continue;
            }
            if let FrameStatus::Joined(inner) = f.status {
                self.abort_children(inner, None, fate);
            }
            self.abort_state(child);
            if is_map {
                let name = &self.program.states
                    [self.execution.frames[waiting as usize].state.index()]
                .name;
                let f = &self.execution.frames[child as usize];
                let (index, previous) = (u64::from(f.index), f.previous_event);
                self.event(previous, Details::MapIterationAborted { name, index });
            }
            if fate == Fate::GoesOn {
                self.drop_variables(child);
                self.execution.free_frame(child);
                self.execution.ready.retain(|&ready| ready != child);
            }
        }
        if fate == Fate::GoesOn {
            self.free_join(join);
        }
    }

    /// Says of a state that was entered and not left that it was stopped.
    fn abort_state(&mut self, frame: u32) {
        let f = &self.execution.frames[frame as usize];
        let (in_state, previous) = (f.in_state, f.previous_event);
        let state_type = self.program.states[f.state.index()].state_type;
        let lasting = matches!(
            state_type,
            StateType::Task | StateType::Wait | StateType::Parallel | StateType::Map
        );
        if in_state && lasting {
            self.event(previous, Details::StateAborted { state_type });
        }
    }
}
