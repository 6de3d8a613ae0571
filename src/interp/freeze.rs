//! Freezing: an execution between two steps as one compact blob, and back.
//!
//! A parked execution is kept so: its frames, joins and timers, and its live values written once. The blob does not hold
//! what all executions of the machine share, and can be thawed only with the program that it was frozen with: it begins
//! with the number of its format. Where a frame stands is written as its state and the distance from the state's body,
//! so that it does not depend on what is compiled before the state.
//!
//! An execution that was thawed goes on exactly as the one that was frozen would have: the same events with the same
//! ids, the same output, the same answers that are stale.

use std::cmp::Reverse;
use std::sync::Arc;

use super::context::{Invocation, MachineIdentity, values};
use super::execution::{Execution, Frame, FrameStatus, Item, Timer};
use super::join::{Iteration, Join};
use crate::intrinsic::Random;
use crate::program::{Pc, Program, StateId, TaskId, VariableId};
use crate::stdx::{Timestamp, narrow};
use crate::value::{Damaged, Reader, Table, Thawed, Val, put, put_bytes, put_signed};

/// The first byte of a blob.
const FORMAT: u64 = 2;

/// What freezing and thawing work with; used again and again. It belongs to a worker.
#[derive(Debug, Default)]
pub struct Freezer {
    table: Table,
    thawed: Thawed,
}

const IN_STATE: u64 = 1;
const FORKED: u64 = 1 << 1;
const MISSED_HEARTBEAT: u64 = 1 << 2;
const HAS_ITEM: u64 = 1 << 3;
const HAS_TASK: u64 = 1 << 4;
const HAS_HEARTBEAT: u64 = 1 << 5;
const HAS_RETRIES: u64 = 1 << 6;
const HAS_VARIABLES: u64 = 1 << 7;
const HAS_PARENT: u64 = 1 << 8;
const STATUS_SHIFT: u32 = 9;

// What few executions have is named in one number, and only then written.
const SYNCHRONOUS: u64 = 1;
const NAMED: u64 = 1 << 1;
const ORIGINAL: u64 = 1 << 2;
const RANDOM: u64 = 1 << 3;
const PLACE: u64 = 1 << 4;
const VARIABLES: u64 = 1 << 5;
const FREE_FRAMES: u64 = 1 << 6;
const JOINS: u64 = 1 << 7;
const READY: u64 = 1 << 8;
const ATTEMPT: u64 = 1 << 9;
const REDRIVEN: u64 = 1 << 10;
const CREDENTIALS: u64 = 1 << 11;

impl FrameStatus {
    const fn code(self) -> u64 {
        match self {
            FrameStatus::Free => 0,
            FrameStatus::Ready => 1,
            FrameStatus::Waiting => 2,
            FrameStatus::Task => 3,
            FrameStatus::Joined(join) => 4 + join as u64,
        }
    }

    fn of_code(code: u64) -> Result<FrameStatus, Damaged> {
        Ok(match code {
            0 => FrameStatus::Free,
            1 => FrameStatus::Ready,
            2 => FrameStatus::Waiting,
            3 => FrameStatus::Task,
            joined => FrameStatus::Joined(small(joined - 4)?),
        })
    }
}

fn small(n: u64) -> Result<u32, Damaged> {
    u32::try_from(n).map_err(|_| Damaged { what: "an index" })
}

/// A time, as milliseconds from the start of the execution: most are near it. Times beyond time wrap around.
fn put_time(out: &mut Vec<u8>, time: Timestamp, start: Timestamp) {
    put_signed(out, time.millis().wrapping_sub(start.millis()));
}

fn time(reader: &mut Reader<'_>, start: Timestamp) -> Result<Timestamp, Damaged> {
    let millis = reader.signed()?.wrapping_add(start.millis());
    Ok(Timestamp::from_millis(millis))
}

fn put_list(out: &mut Vec<u8>, list: impl ExactSizeIterator<Item = u32>) {
    put(out, list.len() as u64);
    list.for_each(|n| put(out, n.into()));
}

impl Execution {
    /// Appends the execution to `out`. It must not have ended, and stays as it is.
    ///
    /// # Panics
    ///
    /// If it has ended: its outcome is not part of the form.
    pub fn freeze(&self, program: &Program, freezer: &mut Freezer, out: &mut Vec<u8>) {
        assert!(
            self.outcome.is_none(),
            "only what goes on later can be frozen"
        );
        self.freeze_frames(program, freezer, out);
    }

    pub(super) fn freeze_frames(
        &self,
        program: &Program,
        freezer: &mut Freezer,
        out: &mut Vec<u8>,
    ) {
        debug_assert!(self.stack.is_empty(), "a template is under way");
        let view = values(self, program);
        let table = &mut freezer.table;
        let frames = self.frames.iter().filter(|f| f.status != FrameStatus::Free);
        let joins = self.joins.iter().filter(|join| join.in_use);
        table.collect(
            view,
            frames
                .flat_map(Frame::vals)
                .chain(joins.flat_map(Join::vals))
                .chain([self.context.input]),
        );
        put(out, FORMAT);
        table.write(view, out);
        self.freeze_context(table, out);
        let start = self.context.start_time;
        put(out, self.frames.len() as u64);
        for frame in &self.frames {
            freeze_frame(frame, program, start, table, out);
        }
        if !self.free_frames.is_empty() {
            put_list(out, self.free_frames.iter().copied());
        }
        if !self.joins.is_empty() {
            put(out, self.joins.len() as u64);
            for join in &self.joins {
                freeze_join(join, program, table, out);
            }
            put_list(out, self.free_joins.iter().copied());
        }
        if !self.ready.is_empty() {
            put_list(out, self.ready.iter().copied());
        }
        let live = |timer: &&Reverse<Timer>| timer.0.is_live(&self.frames[timer.0.frame as usize]);
        put(out, self.timers.iter().filter(live).count() as u64);
        for Reverse(timer) in self.timers.iter().filter(live) {
            put_time(out, timer.at, start);
            put(out, timer.frame.into());
        }
        if self.credentials().next().is_some() {
            put(out, self.credentials().count() as u64);
            for (frame, credentials) in self.credentials() {
                put(out, frame.into());
                put(out, table.code(credentials));
            }
        }
    }

    /// The frames whose tasks have credentials.
    fn credentials(&self) -> impl Iterator<Item = (u32, Val)> + '_ {
        let frames = (0_u32..).zip(&self.frames);
        let used = frames.filter(|(_, frame)| frame.status == FrameStatus::Task);
        used.filter_map(|(index, frame)| Some((index, frame.credentials?)))
    }

    fn freeze_context(&self, table: &Table, out: &mut Vec<u8>) {
        let context = &self.context;
        let random = self.random.rest().wrapping_sub(context.seed);
        let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
        put(
            out,
            flag(context.invocation == Invocation::Synchronous, SYNCHRONOUS)
                | flag(context.name.is_some(), NAMED)
                | flag(context.input_text.is_some(), ORIGINAL)
                | flag(random != 0, RANDOM)
                | flag(context.place != 0, PLACE)
                | flag(self.variables_bytes != 0, VARIABLES)
                | flag(!self.free_frames.is_empty(), FREE_FRAMES)
                | flag(!self.joins.is_empty(), JOINS)
                | flag(!self.ready.is_empty(), READY)
                | flag(context.attempt > 1, ATTEMPT)
                | flag(context.redrives > 0, REDRIVEN)
                | flag(self.credentials().next().is_some(), CREDENTIALS),
        );
        out.extend_from_slice(&context.seed.to_le_bytes());
        put_signed(out, context.start_time.millis());
        put_time(out, self.deadline, context.start_time);
        put(out, table.code(context.input));
        for text in [&context.name, &context.input_text].into_iter().flatten() {
            put_bytes(out, text.as_bytes());
        }
        let repeated = u64::from(context.attempt - 1);
        for rare in [random, context.place, self.variables_bytes as u64, repeated] {
            if rare != 0 {
                put(out, rare);
            }
        }
        if context.redrives > 0 {
            put(out, context.redrives.into());
            put_time(out, context.redriven_at, context.start_time);
        }
        put(out, self.last_event_id);
        put(out, self.transitions);
    }

    /// Becomes the execution that was frozen to `blob`; what was there before is forgotten. The fuel is the usual.
    ///
    /// # Errors
    ///
    /// If the blob is damaged, or of another program. Then this execution is of no use until its next start or thaw.
    pub fn thaw(
        &mut self,
        program: &Program,
        machine: &Arc<MachineIdentity>,
        freezer: &mut Freezer,
        blob: &[u8],
    ) -> Result<(), Damaged> {
        self.clear();
        let mut reader = Reader::new(blob);
        let reader = &mut reader;
        if reader.number()? != FORMAT {
            return Err(Damaged {
                what: "its format is not known",
            });
        }
        let thawed = &mut freezer.thawed;
        thawed.read(reader, &mut self.doc, &program.constants)?;
        self.keep_from_compaction();
        self.context.machine = Some(Arc::clone(machine));
        let flags = self.thaw_context(reader, program, thawed)?;
        let start = self.context.start_time;
        let frames = reader.length()?;
        self.frames.truncate(frames);
        self.frames.resize_with(frames, Frame::new);
        for frame in &mut self.frames {
            thaw_frame(frame, reader, program, start, thawed)?;
        }
        let index = |reader: &mut Reader<'_>| match reader.number_u32()? {
            index if (index as usize) < frames => Ok(index),
            _ => Err(Damaged { what: "a frame" }),
        };
        if flags & FREE_FRAMES != 0 {
            for _ in 0..reader.length()? {
                let free = index(reader)?;
                if self.frames[free as usize].status != FrameStatus::Free {
                    return Err(Damaged {
                        what: "a free frame",
                    });
                }
                self.free_frames.push(free);
            }
        }
        self.thaw_joins(flags & JOINS, reader, program, thawed)?;
        if flags & READY != 0 {
            for _ in 0..reader.length()? {
                let ready = index(reader)?;
                if self.frames[ready as usize].status == FrameStatus::Free {
                    return Err(Damaged {
                        what: "a frame that is ready",
                    });
                }
                self.ready.push_back(ready);
            }
        }
        for _ in 0..reader.length()? {
            let (at, frame) = (time(reader, start)?, index(reader)?);
            let generation = self.frames[frame as usize].generation;
            self.timers.push(Reverse(Timer {
                at,
                frame,
                generation,
            }));
        }
        if flags & CREDENTIALS != 0 {
            for _ in 0..reader.length()? {
                let frame = index(reader)? as usize;
                self.frames[frame].credentials = Some(thawed.val(reader, &program.constants)?);
            }
        }
        match reader.rest() {
            [] => Ok(()),
            _ => Err(Damaged {
                what: "something follows it",
            }),
        }
    }

    /// Returns the flags.
    fn thaw_context(
        &mut self,
        reader: &mut Reader<'_>,
        program: &Program,
        thawed: &Thawed,
    ) -> Result<u64, Damaged> {
        let flags = reader.number()?;
        let has = |flag: u64| flags & flag != 0;
        let mut seed = [0; 8];
        for byte in &mut seed {
            *byte = reader.byte()?;
        }
        let context = &mut self.context;
        context.seed = u64::from_le_bytes(seed);
        context.start_time = Timestamp::from_millis(reader.signed()?);
        self.deadline = time(reader, context.start_time)?;
        context.input = thawed.val(reader, &program.constants)?;
        context.invocation = if has(SYNCHRONOUS) {
            Invocation::Synchronous
        } else {
            Invocation::Asynchronous
        };
        (context.name, context.input_text) = (None, None);
        if has(NAMED) {
            context.name = Some(reader.text()?.into());
        }
        if has(ORIGINAL) {
            context.input_text = Some(reader.text()?.into());
        }
        let mut rare = |flag: u64| if has(flag) { reader.number() } else { Ok(0) };
        self.random = Random::new(rare(RANDOM)?.wrapping_add(context.seed));
        context.place = rare(PLACE)?;
        self.variables_bytes = usize::try_from(rare(VARIABLES)?).unwrap_or(usize::MAX);
        context.attempt = small(rare(ATTEMPT)?)?.saturating_add(1);
        context.redrives = 0;
        if has(REDRIVEN) {
            context.redrives = reader.number_u32()?;
            context.redriven_at = time(reader, context.start_time)?;
        }
        self.last_event_id = reader.number()?;
        self.transitions = reader.number()?;
        Ok(flags)
    }

    fn thaw_joins(
        &mut self,
        flag: u64,
        reader: &mut Reader<'_>,
        program: &Program,
        thawed: &Thawed,
    ) -> Result<(), Damaged> {
        let joins = if flag == 0 { 0 } else { reader.length()? };
        self.joins.truncate(joins);
        self.joins.resize_with(joins, Join::new);
        for join in &mut self.joins {
            thaw_join(join, reader, program, thawed)?;
        }
        let free = if flag == 0 { 0 } else { reader.length()? };
        for _ in 0..free {
            self.free_joins.push(reader.number_u32()?);
        }
        let frames = narrow(self.frames.len());
        let waited = self.joins.iter().all(|join| join.frame < frames);
        let is_free = |join: &u32| self.joins.get(*join as usize).is_some_and(|j| !j.in_use);
        if waited && self.free_joins.iter().all(is_free) && self.frames_fit_joins() {
            Ok(())
        } else {
            Err(Damaged { what: "a join" })
        }
    }

    /// Whether every frame has its place in the join that it belongs to, and is the one that waits for the join that it waits
    /// for. None is below itself.
    fn frames_fit_joins(&self) -> bool {
        let in_use = |join: u32| self.joins.get(join as usize).filter(|join| join.in_use);
        let mut frames = (0_u32..).zip(&self.frames);
        frames.all(|(index, frame)| {
            let waits = match frame.status {
                FrameStatus::Free => return true,
                FrameStatus::Joined(join) => in_use(join).is_some_and(|join| join.frame == index),
                FrameStatus::Ready | FrameStatus::Waiting | FrameStatus::Task => true,
            };
            let mut above = frame.parent;
            let mut at = frame.index as usize;
            for _ in 0..=self.joins.len() {
                let Some(parent) = above else {
                    return waits;
                };
                match in_use(parent) {
                    Some(join) if at < join.results.len() => {
                        let waiting = &self.frames[join.frame as usize];
                        (above, at) = (waiting.parent, waiting.index as usize);
                    }
                    _ => return false,
                }
            }
            false
        })
    }
}

impl Frame {
    fn vals(&self) -> impl Iterator<Item = Val> {
        let item = self.item.map(|item| item.value);
        let variables = self.variables.iter().map(|(_, val)| *val);
        [self.data, self.value]
            .into_iter()
            .chain(item)
            .chain(variables)
            .chain(self.credentials)
    }
}

impl Join {
    fn vals(&self) -> impl Iterator<Item = Val> {
        let input = self.iteration.and_then(|iteration| iteration.input);
        let items = self.items.iter().skip(self.started);
        self.results.iter().chain(items).copied().chain(input)
    }
}

/// A place in the program: a state, and the distance from its body.
fn put_pc(out: &mut Vec<u8>, program: &Program, state: StateId, pc: Pc) {
    let body = program.states[state.index()].body;
    put_signed(out, i64::from(pc.0) - i64::from(body.0));
}

fn pc(reader: &mut Reader<'_>, program: &Program, state: StateId) -> Result<Pc, Damaged> {
    let distance = reader.signed()?;
    let body = program.states[state.index()].body;
    let at = distance.checked_add(i64::from(body.0));
    match at.and_then(|at| u32::try_from(at).ok()) {
        Some(at) if (at as usize) < program.ops.len() => Ok(Pc(at)),
        _ => Err(Damaged { what: "a place" }),
    }
}

fn state(reader: &mut Reader<'_>, program: &Program) -> Result<StateId, Damaged> {
    match reader.number_u32()? {
        state if (state as usize) < program.states.len() => Ok(StateId(state)),
        _ => Err(Damaged { what: "a state" }),
    }
}

fn freeze_frame(
    frame: &Frame,
    program: &Program,
    start: Timestamp,
    table: &Table,
    out: &mut Vec<u8>,
) {
    let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
    let flags = flag(frame.in_state, IN_STATE)
        | flag(frame.forked, FORKED)
        | flag(frame.missed_heartbeat, MISSED_HEARTBEAT)
        | flag(frame.item.is_some(), HAS_ITEM)
        | flag(frame.task.is_some(), HAS_TASK)
        | flag(frame.heartbeat_seconds.is_some(), HAS_HEARTBEAT)
        | flag(!frame.retries.is_empty(), HAS_RETRIES)
        | flag(!frame.variables.is_empty(), HAS_VARIABLES)
        | flag(frame.parent.is_some(), HAS_PARENT);
    put(out, flags | frame.status.code() << STATUS_SHIFT);
    put(out, frame.generation.into());
    if frame.status == FrameStatus::Free {
        return;
    }
    put(out, frame.state.0.into());
    put_pc(out, program, frame.state, frame.pc);
    put(out, table.code(frame.data));
    put(out, table.code(frame.value));
    put(out, frame.previous_event);
    // `entered_previous` is read only in the turn that enters the state, which ends behind it.
    put(out, frame.entered_event);
    put_time(out, frame.entered_time, start);
    put(out, frame.retry_count.into());
    put_time(out, frame.wake_at, start);
    if let Some(parent) = frame.parent {
        put(out, parent.into());
        put(out, frame.index.into());
    }
    if let Some(item) = frame.item {
        put(out, item.index.into());
        put(out, table.code(item.value));
    }
    if let Some(task) = frame.task {
        put(out, task.0.into());
    }
    if let Some(seconds) = frame.heartbeat_seconds {
        put(out, seconds);
        put_time(out, frame.heartbeat_at, start);
    }
    if !frame.retries.is_empty() {
        put_list(out, frame.retries.iter().copied());
    }
    if !frame.variables.is_empty() {
        put(out, frame.variables.len() as u64);
        for &(variable, val) in &frame.variables {
            put(out, variable.0.into());
            put(out, table.code(val));
        }
    }
}

fn thaw_frame(
    frame: &mut Frame,
    reader: &mut Reader<'_>,
    program: &Program,
    start: Timestamp,
    thawed: &Thawed,
) -> Result<(), Damaged> {
    let flags = reader.number()?;
    let has = |flag: u64| flags & flag != 0;
    let val = |reader: &mut Reader<'_>| thawed.val(reader, &program.constants);
    frame.begin();
    frame.status = FrameStatus::of_code(flags >> STATUS_SHIFT)?;
    frame.generation = reader.number_u32()?;
    (frame.in_state, frame.forked) = (has(IN_STATE), has(FORKED));
    frame.missed_heartbeat = has(MISSED_HEARTBEAT);
    if frame.status == FrameStatus::Free {
        return Ok(());
    }
    frame.state = state(reader, program)?;
    frame.pc = pc(reader, program, frame.state)?;
    (frame.data, frame.value) = (val(reader)?, val(reader)?);
    (frame.previous_event, frame.entered_event) = (reader.number()?, reader.number()?);
    frame.entered_time = time(reader, start)?;
    frame.retry_count = reader.number_u32()?;
    frame.wake_at = time(reader, start)?;
    if has(HAS_PARENT) {
        (frame.parent, frame.index) = (Some(reader.number_u32()?), reader.number_u32()?);
    }
    if has(HAS_ITEM) {
        let (index, value) = (reader.number_u32()?, val(reader)?);
        frame.item = Some(Item { index, value });
    }
    if has(HAS_TASK) {
        let task = reader.number_u32()?;
        if task as usize >= program.tasks.len() {
            return Err(Damaged { what: "a task" });
        }
        frame.task = Some(TaskId(task));
    }
    if frame.status == FrameStatus::Task && frame.task.is_none() {
        return Err(Damaged { what: "a task" });
    }
    (frame.heartbeat_seconds, frame.heartbeat_at) = (None, Timestamp::MAX);
    if has(HAS_HEARTBEAT) {
        frame.heartbeat_seconds = Some(reader.number()?);
        frame.heartbeat_at = time(reader, start)?;
    }
    if has(HAS_RETRIES) {
        for _ in 0..reader.length()? {
            frame.retries.push(reader.number_u32()?);
        }
    }
    if has(HAS_VARIABLES) {
        for _ in 0..reader.length()? {
            let variable = reader.number_u32()?;
            if variable as usize >= program.variables.len() {
                return Err(Damaged { what: "a variable" });
            }
            let val = val(reader)?;
            frame.variables.push((VariableId(variable), val));
        }
    }
    Ok(())
}

fn freeze_join(join: &Join, program: &Program, table: &Table, out: &mut Vec<u8>) {
    let kind = match join.iteration {
        _ if !join.in_use => 0,
        None => 1,
        Some(Iteration { input: None, .. }) => 2,
        Some(Iteration { input: Some(_), .. }) => 3,
    };
    put(out, kind);
    if !join.in_use {
        return;
    }
    put(out, join.frame.into());
    put(out, join.results.len() as u64);
    for &result in &join.results {
        put(out, table.code(result));
    }
    put(out, join.ended as u64);
    put(out, join.started as u64);
    if let Some(Iteration { pc, input }) = join.iteration {
        put(out, join.items.len() as u64);
        for &item in join.items.iter().skip(join.started) {
            put(out, table.code(item));
        }
        // The first op of an iteration belongs to no state.
        put_pc(out, program, StateId(0), pc);
        if let Some(input) = input {
            put(out, table.code(input));
        }
    }
}

fn thaw_join(
    join: &mut Join,
    reader: &mut Reader<'_>,
    program: &Program,
    thawed: &Thawed,
) -> Result<(), Damaged> {
    let val = |reader: &mut Reader<'_>| thawed.val(reader, &program.constants);
    join.results.clear();
    join.items.clear();
    (join.frame, join.ended, join.started, join.iteration) = (0, 0, 0, None);
    let kind = reader.number()?;
    join.in_use = kind != 0;
    if !join.in_use {
        return Ok(());
    }
    join.frame = reader.number_u32()?;
    for _ in 0..reader.length()? {
        join.results.push(val(reader)?);
    }
    (join.ended, join.started) = (reader.number_u32()? as usize, reader.number_u32()? as usize);
    if join.ended > join.started || join.started > join.results.len() {
        return Err(Damaged { what: "a join" });
    }
    if kind >= 2 {
        // The items that have started are in their frames.
        let items = reader.number_u32()? as usize;
        if items != join.results.len() {
            return Err(Damaged { what: "a Map" });
        }
        join.items.resize(join.started, Val::NULL);
        for _ in join.started..items {
            join.items.push(val(reader)?);
        }
        let pc = pc(reader, program, StateId(0))?;
        let input = if kind == 3 { Some(val(reader)?) } else { None };
        join.iteration = Some(Iteration { pc, input });
    }
    Ok(())
}
