//! The loop over ops, and [`Execution::step`].

use super::context::values;
use super::execution::{Execution, FrameHandle, FrameStatus, Item, Outcome, Yield};
use super::{ASSIGN_BYTES_MAX, FUEL, PAYLOAD_BYTES_MAX, VARIABLES_BYTES_MAX};
use crate::history::{Details, Failure, HistoryEvent, Observer};
use crate::intrinsic;
use crate::path::{self, NotFound};
use crate::program::{
    AssignId, Base, CallId, ContextBase, FailId, Load, LoadId, ObjectId, Op, Pc, Program, Source,
    StateId, Step, TextOperand, VariableId,
};
use crate::stdx::Timestamp;
use crate::value::{Opened, Val, Values, member_size};

/// A turn: what it runs, and what it is given.
pub(super) struct Run<'a, O> {
    pub(super) program: &'a Program,
    pub(super) execution: &'a mut Execution,
    pub(super) now: Timestamp,
    pub(super) observer: &'a mut O,
}

/// A state failed. Boxed: it is rare, and what returns it is not.
pub(super) type Raised = Box<Failure>;

/// Objects with more members than this take a little longer to make.
const FEW_MEMBERS: usize = 16;

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
    /// It has a task for the caller.
    Task,
    /// The turn was long enough.
    OutOfFuel,
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
        loop {
            if self.execution.outcome.is_some() {
                return Yield::Done;
            }
            let Some(frame) = self.execution.ready.pop_front() else {
                if self.wake(self.now) {
                    continue;
                }
                return Yield::Parked(self.next_wake());
            };
            match self.run_frame(frame) {
                Stop::Ended | Stop::Waits => {}
                Stop::Task => {
                    let generation = self.execution.frames[frame as usize].generation;
                    return Yield::Task(FrameHandle {
                        index: frame,
                        generation,
                    });
                }
                Stop::OutOfFuel => {
                    self.execution.ready.push_back(frame);
                    return Yield::OutOfFuel;
                }
            }
        }
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
            while self.execution.outcome.is_none()
                && let Some(frame) = self.execution.ready.pop_front()
                && !matches!(self.run_frame(frame), Stop::OutOfFuel)
            {}
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
        if O::ENABLED {
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
    pub(super) fn run_frame(&mut self, frame: u32) -> Stop {
        loop {
            let f = &self.execution.frames[frame as usize];
            let mut registers = Registers {
                pc: f.pc,
                data: f.data,
                value: f.value,
            };
            let stop = self.execute(frame, &mut registers);
            self.save(frame, registers);
            match stop {
                Ok(Stop::Ended) => {
                    self.scope_succeeded(frame);
                    return Stop::Ended;
                }
                Ok(stop) => return stop,
                Err(failure) => {
                    self.execution.stack.clear();
                    if !self.state_failed(frame, *failure) {
                        return Stop::Waits;
                    }
                    // Retries are turns of a loop as well.
                    if self.execution.fuel == 0 {
                        return Stop::OutOfFuel;
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
        let program = self.program;
        loop {
            let op = program.ops[registers.pc.index()];
            registers.pc.0 += 1;
            match op {
                Op::Enter(state) => {
                    if self.execution.fuel == 0 {
                        registers.pc.0 -= 1;
                        return Ok(Stop::OutOfFuel);
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
                Op::MakeObject(object) => {
                    let object = self.make_object(frame, object, registers.value)?;
                    self.execution.stack.push(object);
                }
                Op::SetObject(object) => {
                    registers.value = self.make_object(frame, object, registers.value)?
                }

                Op::MakeArray(count) => self.make_array(count),
                Op::Call(function, call) => self.call(frame, function, call)?,
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
                    if self.begin_wait(frame, wait, registers.value)? {
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
                Op::Fail(fail) => return Err(self.fail(frame, fail, registers.value)?),
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

    #[inline(never)]
    fn enter(
        &mut self,
        frame: u32,
        state: StateId,
        registers: &mut Registers,
    ) -> Result<(), Raised> {
        if self.execution.doc.memory() > self.execution.compact_at {
            self.save(frame, *registers);
            if !self.execution.compact(self.program) {
                return Err(self.too_large(&self.program.states[state.index()].name));
            }
            registers.data = self.execution.frames[frame as usize].data;
        }
        self.execution.fuel -= 1;
        self.execution.transitions += 1;
        self.count_entry(state);
        registers.value = registers.data;
        let info = &self.program.states[state.index()];
        let (state_type, name) = (info.state_type, &*info.name);
        let entered = self.frame_event(
            frame,
            Details::StateEntered {
                state_type,
                name,
                input: registers.data,
            },
        );
        let now = self.now;
        let f = &mut self.execution.frames[frame as usize];
        f.state = state;
        f.entered_event = entered;
        f.entered_time = now;
        f.in_state = true;
        f.retry_count = 0;
        if !f.retries.is_empty() {
            f.retries.clear();
        }
        Ok(())
    }

    #[inline(never)]
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
        if O::ENABLED {
            self.exit_event(frame, state, registers.value);
        } else {
            self.execution.last_event_id += 1;
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
    #[inline(never)]
    pub(super) fn load(&mut self, frame: u32, load: &Load, value: Val) -> Result<Val, NotFound> {
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
    fn variable(&self, frame: u32, variable: VariableId) -> Option<Val> {
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

    /// Makes an object of constants, of what definite paths find, and of what lies on the stack.
    #[inline(never)]
    fn make_object(&mut self, frame: u32, object: ObjectId, value: Val) -> Result<Val, Raised> {
        let program = self.program;
        let info = &program.objects[object.index()];
        let item = self.execution.frames[frame as usize].item;
        let index = if info.has_index {
            item.map(|item| self.item_index(item))
        } else {
            None
        };
        // Nearly all objects are small enough for their members to be collected here.
        let mut few = [Val::NULL; FEW_MEMBERS];
        let mut many = Vec::new();
        let made = if info.members.len() <= FEW_MEMBERS {
            &mut few[..info.members.len()]
        } else {
            many.resize(info.members.len(), Val::NULL);
            &mut many[..]
        };
        let base = self.execution.stack.len() - info.popped;
        let mut popped = self.execution.stack[base..].iter();
        let view = values(self.execution, program);
        // Most members come from the same object.
        let opened = Opened::new(view, value);
        let mut size = 0;
        for (member, made) in info.members.iter().zip(&mut *made) {
            let (found, load) = match member.source {
                Source::Const(val) => (Some(val), None),
                Source::Path {
                    first_step,
                    end_step,
                    load,
                } => {
                    let found =
                        match program.steps[first_step as usize..end_step as usize].split_first() {
                            Some((first, rest)) => follow_from(view, opened, first, rest, value),
                            None => Some(value),
                        };
                    (found, Some(load))
                }
                Source::ItemValue {
                    first_step,
                    end_step,
                    load,
                } => {
                    let steps = &program.steps[first_step as usize..end_step as usize];
                    (
                        item.and_then(|item| follow(view, steps, item.value)),
                        Some(load),
                    )
                }
                Source::ItemIndex(load) => (index, Some(load)),
                Source::Popped => (popped.next().copied(), None),
            };
            match (found, load) {
                (Some(val), _) => *made = val,
                (None, Some(load)) => {
                    return Err(self.field_not_found(frame, &program.loads[load.index()], value));
                }
                (None, None) => unreachable!("what is popped was pushed"),
            }
            size += member_size(member.key, view.size(*made));
        }
        if info.popped > 0 {
            self.execution.stack.truncate(base);
        }
        let members = info
            .members
            .iter()
            .zip(made)
            .map(|(member, val)| (member.key, *val));
        Ok(self.execution.doc.push_sized_object(members, size))
    }

    /// The index of an item as a value.
    #[inline(always)]
    fn item_index(&mut self, item: Item) -> Val {
        match self.program.numbers.get(item.index as usize) {
            Some(val) => *val,
            None => self.execution.doc.push_i64(i64::from(item.index)),
        }
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
        let result = intrinsic::call(
            function,
            &info.text,
            &stack[base..],
            doc,
            &program.constants,
            random,
        );
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
            if O::ENABLED {
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
    fn fail(&mut self, frame: u32, fail: FailId, value: Val) -> Result<Raised, Raised> {
        let info = &self.program.fails[fail.index()];
        self.execution.frames[frame as usize].missed_heartbeat = false;
        // What was computed lies on the stack, the cause on top.
        let cause = self.fail_text(frame, &info.cause, value)?;
        let error = self.fail_text(frame, &info.error, value)?;
        Ok(Box::new(Failure { error, cause }))
    }

    fn fail_text(
        &mut self,
        frame: u32,
        operand: &TextOperand,
        value: Val,
    ) -> Result<Option<Box<str>>, Raised> {
        let val = match operand {
            TextOperand::Absent => return Ok(None),
            TextOperand::Literal(text) => return Ok(Some(text.clone())),
            TextOperand::Popped => self.pop(),
            TextOperand::Load(load) => self.load_field(frame, *load, value)?,
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

/// The value at the end of a definite path.
#[inline(always)]
fn follow(values: Values<'_>, steps: &[Step], base: Val) -> Option<Val> {
    let Some((first, rest)) = steps.split_first() else {
        return Some(base);
    };
    follow_from(values, Opened::new(values, base), first, rest, base)
}

/// The same, where `opened` is the object at `base`.
#[inline(always)]
fn follow_from(
    values: Values<'_>,
    opened: Opened<'_>,
    first: &Step,
    rest: &[Step],
    base: Val,
) -> Option<Val> {
    let mut at = match first {
        Step::Child(name, key) => opened.member(name, *key)?,
        Step::Index(index) => path::index(values, *index, base)?,
    };
    for step in rest {
        at = match step {
            Step::Child(name, key) => Opened::new(values, at).member(name, *key)?,
            Step::Index(index) => path::index(values, *index, at)?,
        };
    }
    Some(at)
}
