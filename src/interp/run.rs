//! The loop over ops, and [`Execution::step`].

use super::context::values;
use super::execution::{Execution, FrameHandle, FrameStatus, Outcome, Yield};
use super::{ASSIGN_BYTES_MAX, FUEL, PAYLOAD_BYTES_MAX, VARIABLES_BYTES_MAX};
use crate::history::{Details, Failure, HistoryEvent, LogLevel, Observer};
use crate::intrinsic;
use crate::path::{self, NotFound};
use crate::program::{
    AssignId, Base, CallId, ContextBase, FailId, Load, LoadId, ObjectId, Op, PathStart, Pc,
    Program, Source, StateId, Step, TextOperand, VariableId,
};
use crate::stdx::Timestamp;
use crate::value::{Val, Values};

/// A turn: what it runs, and what it is given.
pub(super) struct Run<'a, O> {
    pub(super) program: &'a Program,
    pub(super) execution: &'a mut Execution,
    pub(super) now: Timestamp,
    pub(super) observer: &'a mut O,
}

/// A state failed. Boxed: it is rare, and what returns it is not.
pub(super) type Raised = Box<Failure>;

/// What a frame works with while it runs; saved in the frame when it stops.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    pub(super) pc: Pc,
    pub(super) data: Val,
    pub(super) value: Val,
}

/// Why a frame stopped.
pub(super) enum Stop {
    /// Its scope has ended, with `data` as the output.
    Ended,
    /// It waits: for time, or for the frames that it has started.
    Waits,
    /// It wants something of the caller.
    Wants(Want),
}

/// What a frame stopped for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// A task is to be done.
    Task,
    /// The turn was long enough.
    Fuel,
}

impl Execution {
    /// Runs the frames that are ready at `now`, until the execution ends, parks, has a task or is out of fuel.
    ///
    /// `now` must not go back from one step to the next. If a step comes late, what fell due first happens first: an
    /// execution whose deadline has passed ends by it, unless what fell due before ends it.
    pub fn step<O: Observer>(
        &mut self,
        program: &Program,
        now: Timestamp,
        observer: &mut O,
    ) -> Yield {
        Run {
            program,
            execution: self,
            now,
            observer,
        }
        .turn()
    }

    /// Ends the execution from outside, as `StopExecution` does.
    pub fn stop<O: Observer>(
        &mut self,
        program: &Program,
        failure: Failure,
        now: Timestamp,
        observer: &mut O,
    ) {
        let mut run = Run {
            program,
            execution: self,
            now,
            observer,
        };
        if run.execution.outcome.is_none() {
            run.event(0, Details::ExecutionAborted { failure: &failure });
            run.execution.outcome = Some(Outcome::Aborted(failure));
            run.execution.ready.clear();
        }
    }

    /// Ends the execution with a failure that nothing of it can catch, whether it has ended or not: its observer has no
    /// room for more events, and shows the end itself. See [`Observer::overrun`].
    pub fn overrun(&mut self, failure: Failure) {
        self.outcome = Some(Outcome::Failed(failure));
        self.ready.clear();
    }

    /// States that a turn may enter before it yields [`Yield::OutOfFuel`].
    pub fn refuel(&mut self, fuel: u32) {
        self.fuel = fuel;
    }
}

impl<O: Observer> Run<'_, O> {
    fn turn(&mut self) -> Yield {
        if self.is_late() && self.execution.outcome.is_none() {
            self.time_out();
            return Yield::Done;
        }
        self.wake(self.now);
        if let Some(handle) = self.next_again() {
            return Yield::Task(handle);
        }
        loop {
            let Some((frame, want)) = self.run_ready() else {
                if self.execution.outcome.is_some() {
                    return Yield::Done;
                }
                if self.wake(self.now) {
                    continue;
                }
                return Yield::Parked(self.next_wake());
            };
            match want {
                Want::Task => {
                    let generation = self.execution.frames[frame as usize].generation;
                    return Yield::Task(FrameHandle {
                        index: frame,
                        generation,
                    });
                }
                Want::Fuel => {
                    self.execution.ready.push_back(frame);
                    return Yield::OutOfFuel;
                }
            }
        }
    }

    /// The next task that is to be yielded once more, if it is still waited for.
    #[inline]
    fn next_again(&mut self) -> Option<FrameHandle> {
        while let Some(index) = self.execution.again.pop() {
            let frame = &self.execution.frames[index as usize];
            if frame.status == FrameStatus::Task {
                let generation = frame.generation;
                return Some(FrameHandle { index, generation });
            }
        }
        None
    }

    /// Runs the frames that are ready, until one of them wants something of the caller or the execution ends.
    #[inline(never)]
    fn run_ready(&mut self) -> Option<(u32, Want)> {
        while self.execution.outcome.is_none()
            && let Some(frame) = self.execution.ready.pop_front()
        {
            match self.run_frame(frame) {
                Stop::Ended | Stop::Waits => {}
                Stop::Wants(want) => return Some((frame, want)),
            }
        }
        None
    }

    /// Ends the execution, whose deadline has passed; but first happens what fell due before it.
    ///
    /// What comes of that takes no time, or the deadline has it: frames that wait again stay where they are, no task is
    /// begun, and there is fuel for one turn, whatever the caller gives.
    #[cold]
    pub(super) fn time_out(&mut self) {
        self.execution.ready.clear();
        self.execution.fuel = FUEL;
        let before = self.execution.deadline.plus_millis(-1);
        while self.execution.fuel > 0 && self.wake(before) {
            while matches!(self.run_ready(), Some((_, Want::Task))) {}
        }
        if self.execution.outcome.is_none() {
            let failure = Failure::timeout();
            self.event(0, Details::ExecutionTimedOut { failure: &failure });
            self.execution.outcome = Some(Outcome::TimedOut(failure));
        }
        self.execution.ready.clear();
    }

    /// True if the deadline has passed: nothing that takes time is begun then.
    pub(super) fn is_late(&self) -> bool {
        self.now >= self.execution.deadline
    }

    /// Counts an event, and shows it to who wants it. Ids are counted even if nobody does: error texts name them.
    #[inline(always)]
    pub(super) fn event(&mut self, previous_id: u64, details: Details<'_>) -> u64 {
        self.execution.last_event_id += 1;
        let id = self.execution.last_event_id;
        if O::ENABLED && self.observer.wants(details.level()) {
            let values = values(self.execution, self.program);
            let (timestamp, original) = (self.now, self.execution.original());
            self.observer.observe(&HistoryEvent {
                id,
                previous_id,
                timestamp,
                values,
                details,
                original,
            });
        }
        id
    }

    /// Counts an event that follows from a frame's last one, and on which its next one will follow.
    #[inline(always)]
    pub(super) fn frame_event(&mut self, frame: u32, details: Details<'_>) -> u64 {
        let id = self.event(
            self.execution.frames[frame as usize].previous_event,
            details,
        );
        self.execution.frames[frame as usize].previous_event = id;
        id
    }

    /// Runs a frame until it stops; failures of its states are retried, caught or passed on.
    #[inline(always)]
    fn run_frame(&mut self, frame: u32) -> Stop {
        loop {
            let f = &self.execution.frames[frame as usize];
            let mut registers = Registers {
                pc: f.pc,
                data: f.data,
                value: f.value,
            };
            match self.execute(frame, &mut registers) {
                Ok(Stop::Ended) => {
                    self.scope_succeeded(frame, registers.data);
                    return Stop::Ended;
                }
                Ok(stop) => {
                    self.save(frame, registers);
                    return stop;
                }
                Err(failure) => {
                    self.save(frame, registers);
                    self.execution.stack.clear();
                    if !self.state_failed(frame, *failure) {
                        return Stop::Waits;
                    }
                    // Retries are turns of a loop as well.
                    if self.execution.fuel == 0 {
                        return Stop::Wants(Want::Fuel);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn save(&mut self, frame: u32, registers: Registers) {
        let f = &mut self.execution.frames[frame as usize];
        (f.pc, f.data, f.value) = (registers.pc, registers.data, registers.value);
    }

    #[expect(
        clippy::too_many_lines,
        reason = "the match over `Op`: each arm is a call or a line"
    )]
    fn execute(&mut self, frame: u32, registers: &mut Registers) -> Result<Stop, Raised> {
        let ops = &*self.program.ops;
        loop {
            let op = &ops[registers.pc.index()];
            registers.pc.0 += 1;
            match *op {
                Op::Enter(state) => {
                    if self.execution.fuel == 0 {
                        registers.pc.0 -= 1;
                        return Ok(Stop::Wants(Want::Fuel));
                    }
                    self.enter(frame, state, registers)?;
                }
                Op::Select(load) => registers.value = self.select(frame, load, registers.value)?,
                Op::SetValue => registers.value = self.pop(),
                Op::Load(load) | Op::LoadContext(load) => {
                    let val = self.load_field(frame, load, registers.value)?;
                    self.execution.stack.push(val);
                }
                Op::Const(val) => self.execution.stack.push(val),
                Op::EvalObject(object) => {
                    let object = self.eval_object(frame, object, registers)?;
                    self.execution.stack.push(object);
                }
                Op::MakeObject(object) => match self.make_object(frame, object, registers.value) {
                    Ok(object) => self.execution.stack.push(object),
                    Err(load) => return Err(self.no_member(frame, load, registers.value)),
                },
                Op::SetObject(object) => match self.make_object(frame, object, registers.value) {
                    Ok(object) => registers.value = object,
                    Err(load) => return Err(self.no_member(frame, load, registers.value)),
                },

                Op::MakeArray(count) => self.make_array(count),
                Op::Call(function, call) => self.call(frame, function, call)?,
                Op::Eval(expression) => {
                    let val = self.eval(frame, expression, registers)?;
                    self.execution.stack.push(val);
                }
                Op::ConditionElse(expression, otherwise) => {
                    if !self.condition(frame, expression, registers)? {
                        registers.pc = otherwise;
                    }
                }
                Op::Merge(merge) => registers.value = self.merge(frame, merge, registers)?,
                Op::KeepInput => registers.value = registers.data,
                Op::Assign(assign) => self.assign(frame, assign, registers.value)?,
                Op::TestElse(test, otherwise) => {
                    if !self.test(frame, test, registers.value)? {
                        registers.pc = otherwise;
                    }
                }
                Op::TestThen(test, then) => {
                    if self.test(frame, test, registers.value)? {
                        registers.pc = then;
                    }
                }
                Op::NoChoice => return Err(self.no_choice(frame)),
                Op::Task(task) => return self.begin_task(frame, task, registers),
                Op::Wait(wait) => {
                    if self.begin_wait(frame, wait, registers)? {
                        return Ok(Stop::Waits);
                    }
                }
                Op::Fork(fork) => {
                    self.check_size(frame, registers.value)?;
                    self.fork(frame, fork, registers.value);
                    return Ok(Stop::Waits);
                }
                Op::Map(map) => {
                    self.check_size(frame, registers.value)?;
                    if self.begin_map(frame, map, registers)? {
                        return Ok(Stop::Waits);
                    }
                }
                Op::Begin(start) => {
                    self.check_size(frame, registers.value)?;
                    registers.data = registers.value;
                    registers.pc = start;
                }
                Op::Exit(state, next) => {
                    self.exit(frame, state, registers)?;
                    registers.pc = next;
                }
                Op::ExitEnd(state) => {
                    self.exit(frame, state, registers)?;
                    return Ok(Stop::Ended);
                }
                Op::Fail(fail) => return Err(self.fail(frame, fail, registers)?),
            }
        }
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Val {
        match self.execution.stack.pop() {
            Some(val) => val,
            None => unreachable!("a program pops what it has pushed"),
        }
    }

    #[inline(always)]
    fn enter(
        &mut self,
        frame: u32,
        state: StateId,
        registers: &mut Registers,
    ) -> Result<(), Raised> {
        if self.execution.doc.memory() > self.execution.compact_at {
            self.compact(frame, state, registers)?;
        }
        self.execution.fuel -= 1;
        self.execution.transitions += 1;
        self.count_entry(state);
        registers.value = registers.data;
        let previous = self.execution.frames[frame as usize].previous_event;
        let entered = if O::ENABLED {
            let info = &self.program.states[state.index()];
            let (state_type, name) = (info.state_type, &*info.name);
            let input = registers.data;
            let details = Details::StateEntered {
                state_type,
                name,
                input,
            };
            self.frame_event(frame, details)
        } else {
            self.execution.last_event_id += 1;
            self.execution.last_event_id
        };
        let now = self.now;
        let f = &mut self.execution.frames[frame as usize];
        f.state = state;
        f.entered_event = entered;
        f.entered_previous = previous;
        f.entered_time = now;
        f.in_state = true;
        f.retry_count = 0;
        if !f.retries.is_empty() {
            f.retries.clear();
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn compact(
        &mut self,
        frame: u32,
        state: StateId,
        registers: &mut Registers,
    ) -> Result<(), Raised> {
        self.save(frame, *registers);
        if !self.execution.compact(self.program) {
            return Err(self.too_large(&self.program.states[state.index()].name));
        }
        registers.data = self.execution.frames[frame as usize].data;
        Ok(())
    }

    #[inline(always)]
    fn exit(
        &mut self,
        frame: u32,
        state: StateId,
        registers: &mut Registers,
    ) -> Result<(), Raised> {
        let size = values(self.execution, self.program).size(registers.value);
        if size > PAYLOAD_BYTES_MAX {
            return Err(self.too_large(&self.program.states[state.index()].name));
        }
        if O::ENABLED && self.observer.wants(LogLevel::All) {
            self.exit_event(frame, state, registers.value);
        } else {
            self.execution.last_event_id += 1;
            if O::ENABLED {
                // Events that are wanted follow from this one all the same.
                let id = self.execution.last_event_id;
                self.execution.frames[frame as usize].previous_event = id;
            }
        }
        registers.data = registers.value;
        self.execution.frames[frame as usize].in_state = false;
        Ok(())
    }

    /// The event says which variables the state has set: the last ones of the frame's list.
    fn exit_event(&mut self, frame: u32, state: StateId, output: Val) {
        let program = self.program;
        let info = &program.states[state.index()];
        let assigned = std::mem::take(&mut self.execution.assigned);
        let named: Vec<(&str, Val)> = assigned
            .iter()
            .map(|&(variable, val)| (&*program.variables[variable.index()], val))
            .collect();
        let (state_type, name) = (info.state_type, &*info.name);
        self.frame_event(
            frame,
            Details::StateExited {
                state_type,
                name,
                output,
                assigned: &named,
            },
        );
    }

    /// Inputs of branches, of iterations and of tasks are payloads, too.
    #[inline(always)]
    pub(super) fn check_size(&self, frame: u32, value: Val) -> Result<(), Raised> {
        if values(self.execution, self.program).size(value) <= PAYLOAD_BYTES_MAX {
            return Ok(());
        }
        let state = self.execution.frames[frame as usize].state;
        Err(self.too_large(&self.program.states[state.index()].name))
    }

    #[cold]
    pub(super) fn too_large(&self, what: &str) -> Raised {
        Box::new(Failure::new(
            "States.DataLimitExceeded",
            format!(
                "The state/task '{what}' returned a result with a size exceeding the maximum number of bytes service limit."
            ),
        ))
    }

    /// A failure of the state itself, with AWS's beginning.
    #[cold]
    pub(super) fn raise(&self, frame: u32, error: &str, cause: &str) -> Raised {
        let f = &self.execution.frames[frame as usize];
        let name = &self.program.states[f.state.index()].name;
        let event = f.entered_event;
        let cause = format!(
            "An error occurred while executing the state '{name}' (entered at the event id #{event}). {cause}"
        );
        Box::new(Failure::new(error, cause))
    }

    /// What a path finds, from wherever it starts.
    #[inline(always)]
    pub(super) fn load(&mut self, frame: u32, load: &Load, value: Val) -> Result<Val, NotFound> {
        // Nearly all paths are definite ones of the frame's value.
        if let (Base::Value, Some(steps)) = (load.base, &load.steps) {
            let steps = &self.program.steps[steps.start as usize..steps.end as usize];
            if let Some(val) = follow(values(self.execution, self.program), steps, value) {
                return Ok(val);
            }
        }
        self.load_otherwise(frame, load, value)
    }

    #[inline(never)]
    fn load_otherwise(&mut self, frame: u32, load: &Load, value: Val) -> Result<Val, NotFound> {
        let base = match load.base {
            Base::Value => value,
            Base::Variable(_) | Base::Context(_) => self.base(frame, load)?,
        };
        if let Some(steps) = &load.steps {
            let steps = &self.program.steps[steps.start as usize..steps.end as usize];
            if let Some(val) = follow(values(self.execution, self.program), steps, base) {
                return Ok(val);
            }
        }
        self.search(load, base)
    }

    /// A path that searches, or a definite one that found nothing.
    fn search(&mut self, load: &Load, base: Val) -> Result<Val, NotFound> {
        match load.base {
            Base::Context(context) if context != ContextBase::Whole => Err(missing(load)),
            _ => load
                .path
                .eval(&mut self.execution.doc, &self.program.constants, base),
        }
    }

    fn base(&mut self, frame: u32, load: &Load) -> Result<Val, NotFound> {
        let base = match load.base {
            Base::Value => unreachable!("the caller has it"),
            Base::Variable(variable) => self.variable(frame, variable),
            Base::Context(base) => self.execution.context_part(self.program, frame, base),
        };
        base.ok_or_else(|| missing(load))
    }

    /// A variable of this scope or of one around it.
    pub(super) fn variable(&self, frame: u32, variable: VariableId) -> Option<Val> {
        let mut at = frame;
        loop {
            let f = &self.execution.frames[at as usize];
            if let Some((_, val)) = f.variables.iter().find(|(id, _)| *id == variable) {
                return Some(*val);
            }
            at = self.execution.joins[f.parent? as usize].frame;
        }
    }

    #[inline(never)]
    fn select(&mut self, frame: u32, load: LoadId, value: Val) -> Result<Val, Raised> {
        let load = &self.program.loads[load.index()];
        let found = self.load(frame, load, value);
        let val = found.map_err(|not_found| self.invalid_path(frame, load, &not_found))?;
        // A path that searches may find the same text many times.
        self.check_size(frame, val)?;
        Ok(val)
    }

    /// AWS's text for the paths of `InputPath`, `OutputPath`, `TimeoutSecondsPath` and the like.
    #[cold]
    pub(super) fn invalid_path(&self, frame: u32, load: &Load, not_found: &NotFound) -> Raised {
        let cause = format!(
            "Invalid path '{}' : {}",
            load.path.text(),
            not_found.message
        );
        self.raise(frame, "States.Runtime", &cause)
    }

    #[inline(never)]
    fn load_field(&mut self, frame: u32, load: LoadId, value: Val) -> Result<Val, Raised> {
        let load = &self.program.loads[load.index()];
        self.load(frame, load, value)
            .map_err(|_| self.field_not_found(frame, load, value))
    }

    /// AWS's text for the paths of payload templates and of Fail states.
    #[cold]
    pub(super) fn field_not_found(&self, frame: u32, load: &Load, value: Val) -> Raised {
        let view = values(self.execution, self.program);
        // A template may have made something enormous of its input by referring to it again and again.
        let input = match view.size(value) {
            0..=PAYLOAD_BYTES_MAX => view.to_json(value),
            size => format!("of {size} bytes"),
        };
        let cause = format!(
            "The JSONPath '{}' specified for the field '{}' could not be found in the input '{input}'",
            load.path.text(),
            load.field
        );
        self.raise(frame, "States.Runtime", &cause)
    }

    /// Makes an object of constants, of what definite paths find, and of what lies on the stack. Fails with the load that
    /// finds nothing: a result of two words stays in registers.
    #[inline(never)]
    fn make_object(&mut self, frame: u32, object: ObjectId, value: Val) -> Result<Val, LoadId> {
        let program = self.program;
        let info = &program.objects[object.index()];
        // Most members come from the same object.
        let opened = values(self.execution, program).open(value);
        let mut left_on_stack = info.popped;
        let mut size = info.known_size;
        let mark = self.execution.doc.begin_object(info.members.len());
        // And members of one member of it stand side by side.
        let mut last_outer = None;
        for member in &info.members {
            let view = values(self.execution, program);
            let (found, load) = match &member.source {
                Source::Const(val) => {
                    self.execution.doc.push_member(member.key, *val);
                    continue;
                }
                Source::Member(name, load) => (view.get_named(opened, name), load),
                Source::Nested(outer, name, load) => {
                    let outer_key = outer.key;
                    let outer = match last_outer {
                        Some((key, opened)) if key == outer.key => Some(opened),
                        _ => view.get_named(opened, outer).map(|val| view.open(val)),
                    };
                    last_outer = outer.map(|opened| (outer_key, opened));
                    let found = outer.and_then(|outer| view.get_named(outer, name));
                    (found, load)
                }
                Source::Item(load) => {
                    let item = self.execution.frames[frame as usize].item;
                    (item.map(|item| item.value), load)
                }
                Source::ItemIndex(load) => (self.item_index(frame), load),
                Source::Path {
                    start,
                    first_step,
                    end_step,
                    load,
                } => {
                    let item = self.execution.frames[frame as usize].item;
                    let start = match start {
                        PathStart::Value => Some(value),
                        PathStart::ItemValue => item.map(|item| item.value),
                    };
                    let steps = &program.steps[*first_step as usize..*end_step as usize];
                    (start.and_then(|start| follow_far(view, steps, start)), load)
                }
                Source::Popped => {
                    let at = self.execution.stack.len() - left_on_stack;
                    left_on_stack -= 1;
                    (Some(self.execution.stack[at]), &LoadId(0))
                }
                Source::Expression(_) | Source::InputMember(..) => {
                    unreachable!("it is `eval_object` that has expressions")
                }
            };
            let Some(val) = found else {
                self.execution.doc.abandon_object(mark);
                return Err(*load);
            };
            size += values(self.execution, program).size(val);
            self.execution.doc.push_member(member.key, val);
        }
        if info.popped > 0 {
            let base = self.execution.stack.len() - info.popped;
            self.execution.stack.truncate(base);
        }
        Ok(self.execution.doc.end_object(mark, info.layout, size))
    }

    #[cold]
    fn no_member(&self, frame: u32, load: LoadId, value: Val) -> Raised {
        self.field_not_found(frame, &self.program.loads[load.index()], value)
    }

    /// The index of the frame's item as a value.
    #[inline(always)]
    fn item_index(&mut self, frame: u32) -> Option<Val> {
        let index = self.execution.frames[frame as usize].item?.index;
        Some(match self.program.numbers.get(index as usize) {
            Some(val) => *val,
            None => self.large_index(index),
        })
    }

    #[cold]
    fn large_index(&mut self, index: u32) -> Val {
        self.execution.doc.push_i64(i64::from(index))
    }

    #[inline(never)]
    fn make_array(&mut self, count: u32) {
        let base = self.execution.stack.len() - count as usize;
        let Execution { doc, stack, .. } = &mut *self.execution;
        let array = doc.push_array(&self.program.constants, &stack[base..]);
        stack.truncate(base);
        stack.push(array);
    }

    #[inline(never)]
    fn call(
        &mut self,
        frame: u32,
        function: intrinsic::Function,
        call: CallId,
    ) -> Result<(), Raised> {
        let program = self.program;
        let info = &program.calls[call.index()];
        let base = self.execution.stack.len() - info.arguments as usize;
        let Execution {
            doc, stack, random, ..
        } = &mut *self.execution;
        let (arguments, constants) = (&stack[base..], &program.constants);
        let result = match &info.format {
            Some(format) => intrinsic::call_format(format, &info.text, arguments, doc, constants),
            None => intrinsic::call(function, &info.text, arguments, doc, constants, random),
        };
        match result {
            Ok(val) => {
                stack.truncate(base);
                stack.push(val);
                Ok(())
            }
            Err(cause) => Err(self.raise(frame, "States.IntrinsicFailure", &cause)),
        }
    }

    /// Sets the variables whose new values lie on the stack; none of them if the state cannot be left with `output`.
    fn assign(&mut self, frame: u32, assign: AssignId, output: Val) -> Result<(), Raised> {
        let program = self.program;
        let variables = &program.assigns[assign.index()];
        let base = self.execution.stack.len() - variables.len();
        let view = values(self.execution, program);
        let f = &self.execution.frames[frame as usize];
        if view.size(output) > PAYLOAD_BYTES_MAX {
            return Err(self.too_large(&program.states[f.state.index()].name));
        }
        let (mut added, mut dropped) = (0, 0);
        for (&variable, &val) in variables.iter().zip(&self.execution.stack[base..]) {
            added += view.size(val);
            let old = f.variables.iter().find(|(id, _)| *id == variable);
            dropped += old.map_or(0, |&(_, old)| view.size(old));
        }
        let total = self.execution.variables_bytes + added - dropped;
        if added > ASSIGN_BYTES_MAX || total > VARIABLES_BYTES_MAX {
            return Err(self.variables_too_large(frame, added));
        }
        let Execution {
            stack,
            frames,
            assigned,
            ..
        } = &mut *self.execution;
        let set = &mut frames[frame as usize].variables;
        for (&variable, val) in variables.iter().zip(stack.drain(base..)) {
            match set.iter_mut().find(|(id, _)| *id == variable) {
                Some((_, old)) => *old = val,
                None => set.push((variable, val)),
            }
            if O::ENABLED && self.observer.wants(LogLevel::All) {
                assigned.push((variable, val));
            }
        }
        self.execution.variables_bytes = total;
        Ok(())
    }

    #[cold]
    fn variables_too_large(&self, frame: u32, added: usize) -> Raised {
        let (what, bytes_max) = if added > ASSIGN_BYTES_MAX {
            ("assigned by the state", ASSIGN_BYTES_MAX)
        } else {
            ("of the execution", VARIABLES_BYTES_MAX)
        };
        let cause = format!("The variables {what} exceed the maximum of {bytes_max} bytes.");
        self.raise(frame, "States.DataLimitExceeded", &cause)
    }

    /// The failure that a Fail state asks for; an error in its own fields is raised instead.
    #[inline(never)]
    fn fail(&mut self, frame: u32, fail: FailId, registers: &Registers) -> Result<Raised, Raised> {
        let info = &self.program.fails[fail.index()];
        self.execution.frames[frame as usize].missed_heartbeat = false;
        // What was computed lies on the stack, the cause on top.
        let cause = self.fail_text(frame, &info.cause, registers)?;
        let error = self.fail_text(frame, &info.error, registers)?;
        Ok(Box::new(Failure { error, cause }))
    }

    fn fail_text(
        &mut self,
        frame: u32,
        operand: &TextOperand,
        registers: &Registers,
    ) -> Result<Option<Box<str>>, Raised> {
        let val = match operand {
            TextOperand::Absent => return Ok(None),
            TextOperand::Literal(text) => return Ok(Some(text.clone())),
            TextOperand::Popped => self.pop(),
            TextOperand::Expression(expression) => {
                return self.eval_text(frame, *expression, registers).map(Some);
            }
            TextOperand::Load(load) => self.load_field(frame, *load, registers.value)?,
        };
        let view: Values<'_> = values(self.execution, self.program);
        // AWS asks for a string; another value is shown as its JSON rather than lost.
        Ok(Some(
            view.string(val)
                .map_or_else(|| view.to_json(val), std::borrow::Cow::into_owned)
                .into(),
        ))
    }
}

impl Execution {
    /// True if a frame waits for nothing.
    pub(super) fn make_ready(&mut self, frame: u32) {
        self.frames[frame as usize].status = FrameStatus::Ready;
        self.ready.push_back(frame);
    }
}

#[cold]
fn missing(load: &Load) -> NotFound {
    NotFound {
        message: format!("No results for path: {}", load.path.text()),
    }
}

/// The value at the end of a definite path. Nearly all have one step or two.
#[inline(always)]
pub(super) fn follow(view: Values<'_>, steps: &[Step], base: Val) -> Option<Val> {
    match steps {
        [] => Some(base),
        [Step::Child(member)] => view.get_named(view.open(base), member),
        [Step::Child(outer), Step::Child(member)] => {
            let object = view.get_named(view.open(base), outer)?;
            view.get_named(view.open(object), member)
        }
        _ => follow_far(view, steps, base),
    }
}

#[inline(never)]
fn follow_far(view: Values<'_>, steps: &[Step], base: Val) -> Option<Val> {
    let mut at = base;
    for step in steps {
        at = match step {
            Step::Child(member) => view.get_named(view.open(at), member)?,
            Step::Index(index) => path::index(view, *index, at)?,
        };
    }
    Some(at)
}
