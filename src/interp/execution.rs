//! [`Execution`]: the state of one run, and what its caller sees of it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::context::{Context, Start, values};
use super::counts::Counts;
use super::join::Join;
use super::{EXPRESS_SECONDS_MAX, FUEL, PAYLOAD_BYTES_MAX};
use crate::asl::{MachineType, Resource};
use crate::history::{Details, Failure, HistoryEvent, LogLevel, Observer};
use crate::intrinsic::Random;
use crate::program::{Pc, Program, StateId, TaskId, VariableId};
use crate::stdx::{FixedSet, Timestamp, narrow};
use crate::value::{Doc, IngestError, Prepared, Val, Values};

/// One run of a program. It can be used again for another run, of any program, and keeps its memory for it.
#[derive(Debug)]
pub struct Execution {
    pub(super) doc: Doc,
    pub(super) frames: Vec<Frame>,
    pub(super) free_frames: Vec<u32>,
    pub(super) joins: Vec<Join>,
    pub(super) free_joins: Vec<u32>,
    pub(super) ready: VecDeque<u32>,
    /// Frames whose tasks are to be yielded once more.
    pub(super) again: Vec<u32>,
    pub(super) stack: Vec<Val>,
    pub(super) timers: BinaryHeap<Reverse<Timer>>,
    /// How many timers there are before the void ones among them are dropped.
    pub(super) sweep_timers_at: usize,
    pub(super) context: Context,
    pub(super) random: Random,
    pub(super) fuel: u32,
    pub(super) last_event_id: u64,
    pub(super) deadline: Timestamp,
    pub(super) outcome: Option<Outcome>,
    pub(super) compact_at: usize,
    pub(super) variables_bytes: usize,
    pub(super) transitions: u64,
    pub(super) counts: Counts,
    /// What the state under way has assigned, for its exit event.
    pub(super) assigned: Vec<(VariableId, Val)>,
}

/// One branch, one iteration, or the machine itself.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) pc: Pc,
    pub(super) state: StateId,
    /// Raw input of the state.
    pub(super) data: Val,
    /// What the ops work on: effective input, result, effective output.
    pub(super) value: Val,
    pub(super) status: FrameStatus,
    /// Grows when the frame is taken for something else, so that late answers are told from timely ones.
    pub(super) generation: u32,
    /// The join that waits for this frame.
    pub(super) parent: Option<u32>,
    /// Which of the join's branches or items it is.
    pub(super) index: u32,
    /// Item of the innermost Map around it.
    pub(super) item: Option<Item>,
    pub(super) previous_event: u64,
    pub(super) entered_event: u64,
    /// The event that the state's entry follows on.
    pub(super) entered_previous: u64,
    pub(super) entered_time: Timestamp,
    /// False before the first state of the scope is entered, as while `ItemSelector` is evaluated.
    pub(super) in_state: bool,
    /// True from the start of a Parallel's branches or a Map's iterations to their end.
    pub(super) forked: bool,
    pub(super) retry_count: u32,
    /// Retries made so far by each retrier of the state; empty if none.
    pub(super) retries: Vec<u32>,
    pub(super) variables: Vec<(VariableId, Val)>,
    /// The Task that was yielded, or is about to be.
    pub(super) task: Option<TaskId>,
    /// `Credentials` of that Task.
    pub(super) credentials: Option<Val>,
    /// When the wait, the retry, the timeout or the heartbeat falls due; timers for other times are void.
    pub(super) wake_at: Timestamp,
    pub(super) heartbeat_at: Timestamp,
    pub(super) heartbeat_seconds: Option<u64>,
    /// Whether the `States.Timeout` that the state failed with is a missed heartbeat.
    pub(super) missed_heartbeat: bool,
}

/// The item of a Map iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) index: u32,
    pub(super) value: Val,
}

/// What a frame is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameStatus {
    /// Not in use.
    Free,
    /// In the queue, or running.
    Ready,
    /// In a Wait state, or before a retry.
    Waiting,
    /// Its task is with the caller.
    Task,
    /// It waits for the frames of a join.
    Joined(u32),
}

/// Something that falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) at: Timestamp,
    pub(super) frame: u32,
    pub(super) generation: u32,
}

impl Timer {
    /// True if `frame`, which it was set for, still waits for this moment.
    pub(super) fn is_live(&self, frame: &Frame) -> bool {
        frame.generation == self.generation
            && match frame.status {
                FrameStatus::Waiting => frame.wake_at == self.at,
                FrameStatus::Task => frame.wake_at == self.at || frame.heartbeat_at == self.at,
                FrameStatus::Free | FrameStatus::Ready | FrameStatus::Joined(_) => false,
            }
    }
}

/// How an execution stands or ended (`ExecutionStatus` of the API).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Status {
    /// It has not ended.
    Running,
    /// It ended with an output.
    Succeeded,
    /// A state failed and nobody caught it.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// Somebody stopped it.
    Aborted,
}

impl Status {
    /// The API's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Running => "RUNNING",
            Status::Succeeded => "SUCCEEDED",
            Status::Failed => "FAILED",
            Status::TimedOut => "TIMED_OUT",
            Status::Aborted => "ABORTED",
        }
    }
}

/// How an execution ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With an output, which [`Execution::values`] resolves.
    Succeeded(Val),
    /// By a failure that nobody caught.
    Failed(Failure),
    /// By its timeout.
    TimedOut(Failure),
    /// By [`Execution::stop`].
    Aborted(Failure),
}

impl Outcome {
    /// The status that belongs to it.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Outcome::Succeeded(_) => Status::Succeeded,
            Outcome::Failed(_) => Status::Failed,
            Outcome::TimedOut(_) => Status::TimedOut,
            Outcome::Aborted(_) => Status::Aborted,
        }
    }

    /// Why it did not succeed.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Outcome::Succeeded(_) => None,
            Outcome::Failed(failure) | Outcome::TimedOut(failure) | Outcome::Aborted(failure) => {
                Some(failure)
            }
        }
    }
}

/// Why [`Execution::step`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Yield {
    /// The execution has ended: see [`Execution::outcome`].
    Done,
    /// A task is to be done: see [`Execution::task`]. The caller answers with [`Execution::complete`], before the next
    /// step or after any number of them.
    Task(FrameHandle),
    /// Nothing can go on before this moment, or before a completion; [`Timestamp::MAX`] if only a completion helps.
    Parked(Timestamp),
    /// The turn was long enough; the execution can go on at once.
    OutOfFuel,
}

/// Names a frame that waits for a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct FrameHandle {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What became of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completion<'a> {
    /// An activity worker has taken it.
    Started {
        /// The worker's name, if it gave one.
        worker_name: Option<&'a str>,
    },
    /// The service has answered, but the task goes on (`.sync`, `.waitForTaskToken`). JSON text of the answer.
    Submitted(&'a [u8]),
    /// It is alive.
    Heartbeat,
    /// It is done. JSON text of the result.
    Succeeded(&'a [u8]),
    /// It is done. The result, which was known beforehand.
    Prepared(&'a Prepared),
    /// It failed.
    Failed(&'a Failure),
    /// The service did not accept it (`.sync`, `.waitForTaskToken`).
    SubmitFailed(&'a Failure),
}

/// The task has ended already: by its timeout, or with its execution or its branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stale;

/// Why an execution was not started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartError {
    /// The input is not JSON.
    Input(IngestError),
    /// The input is larger than [`PAYLOAD_BYTES_MAX`].
    InputTooLarge(usize),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Input(error) => error.fmt(f),
            StartError::InputTooLarge(size) => {
                write!(
                    f,
                    "the input of {size} bytes exceeds the limit of {PAYLOAD_BYTES_MAX} bytes"
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

/// A task as its execution yields it.
#[derive(Clone, Copy, Debug)]
pub struct TaskCall<'a> {
    /// Which Task of the program it is.
    pub id: TaskId,
    /// `Resource` of the state.
    pub resource: &'a Resource,
    /// The same as written.
    pub resource_text: &'a str,
    /// Name of the state.
    pub state: &'a str,
    /// Retries of the state before this call.
    pub retry_count: u32,
    /// Effective input, resolved by `values`.
    pub input: Val,
    /// Resolves `input` and `credentials`.
    pub values: Values<'a>,
    /// `Credentials` of the state, if it has any.
    pub credentials: Option<Val>,
    /// When it times out; [`Timestamp::MAX`] if never.
    pub timeout_at: Timestamp,
    /// When its first heartbeat is due; [`Timestamp::MAX`] if never.
    pub heartbeat_at: Timestamp,
}

/// Most bytes of text that an execution may keep alive: values that share text count as often as they hold it.
const LIVE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Memory below which an execution is never compacted.
const COMPACT_BYTES_MIN: usize = 256 * 1024;

/// So few timers are not worth the sweeping.
const TIMERS_MIN: usize = 128;

impl Default for Execution {
    fn default() -> Execution {
        Execution::new()
    }
}

impl Execution {
    /// An execution that has not started.
    #[must_use]
    pub fn new() -> Execution {
        Execution {
            doc: Doc::new(),
            frames: Vec::new(),
            free_frames: Vec::new(),
            joins: Vec::new(),
            free_joins: Vec::new(),
            ready: VecDeque::new(),
            again: Vec::new(),
            stack: Vec::new(),
            timers: BinaryHeap::new(),
            sweep_timers_at: TIMERS_MIN,
            context: Context::new(),
            random: Random::new(0),
            fuel: FUEL,
            last_event_id: 0,
            deadline: Timestamp::MAX,
            outcome: None,
            compact_at: COMPACT_BYTES_MIN,
            variables_bytes: 0,
            transitions: 0,
            counts: Counts::default(),
            assigned: Vec::new(),
        }
    }

    /// Starts a run of `program`; what was there before is forgotten.
    ///
    /// # Errors
    ///
    /// If the input is not JSON, or larger than [`PAYLOAD_BYTES_MAX`].
    pub fn start<O: Observer>(
        &mut self,
        program: &Program,
        start: &Start<'_>,
        observer: &mut O,
    ) -> Result<(), StartError> {
        self.reset();
        let input = self.doc.ingest(start.input).map_err(StartError::Input)?;
        let size = Values {
            doc: &self.doc,
            constants: &program.constants,
        }
        .size(input);
        if size > PAYLOAD_BYTES_MAX {
            return Err(StartError::InputTooLarge(size));
        }
        self.keep_from_compaction();
        self.context.machine = Some(start.machine.clone());
        self.context.name = start.name.map(Into::into);
        self.context.seed = start.seed;
        self.context.place = 0;
        self.context.attempt = 1;
        self.context.redrives = 0;
        self.context.invocation = start.invocation;
        // Below ERROR no event shows an input.
        self.context.input_text = if O::ENABLED && observer.wants(LogLevel::Error) {
            original_text(start.input, size)
        } else {
            None
        };
        self.context.start_time = start.now;
        self.context.input = input;
        self.random = Random::new(start.seed);
        let limit = match start.machine.machine_type {
            MachineType::Express => {
                Some(EXPRESS_SECONDS_MAX.min(program.timeout_seconds.unwrap_or(u64::MAX)))
            }
            MachineType::Standard => program.timeout_seconds,
        };
        self.deadline = limit.map_or(Timestamp::MAX, |seconds| after_seconds(start.now, seconds));
        let frame = self.take_frame();
        let root = &mut self.frames[frame as usize];
        root.pc = program.start;
        root.data = input;
        root.value = input;
        self.ready.push_back(frame);
        self.last_event_id = 1;
        if O::ENABLED && observer.wants(LogLevel::All) {
            let role_arn = &start.machine.role_arn;
            observer.observe(&HistoryEvent {
                id: 1,
                previous_id: 0,
                timestamp: start.now,
                values: values(self, program),
                details: Details::ExecutionStarted { input, role_arn },
                original: self.original(),
            });
        }
        Ok(())
    }

    /// What came in is live: an execution is not compacted for having a large input.
    pub(super) fn keep_from_compaction(&mut self) {
        self.compact_at = self.compact_at.max(self.doc.memory() * 4);
    }

    fn reset(&mut self) {
        // Most executions leave one frame behind, the root.
        let used = self.frames.len() - self.free_frames.len();
        let looked_at = if used == 1 { 1 } else { self.frames.len() };
        self.clear();
        for frame in &mut self.frames[..looked_at] {
            if frame.status != FrameStatus::Free {
                frame.status = FrameStatus::Free;
                frame.generation = frame.generation.wrapping_add(1);
            }
        }
        self.free_frames
            .extend((0..narrow(self.frames.len())).rev());
        // A Map or a Parallel may have been under way when the execution before was stopped or taken away.
        for join in &mut self.joins {
            join.in_use = false;
        }
        self.free_joins.extend((0..narrow(self.joins.len())).rev());
    }

    /// Forgets everything but the frames and the joins.
    pub(super) fn clear(&mut self) {
        self.doc.clear();
        self.free_frames.clear();
        self.free_joins.clear();
        self.ready.clear();
        self.again.clear();
        self.stack.clear();
        self.timers.clear();
        self.sweep_timers_at = TIMERS_MIN;
        self.fuel = FUEL;
        self.outcome = None;
        self.compact_at = COMPACT_BYTES_MIN;
        self.variables_bytes = 0;
        self.transitions = 0;
        self.counts = Counts::default();
        self.assigned.clear();
    }

    /// How it ended, once [`Yield::Done`] was returned.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outcome
            .as_ref()
            .map_or(Status::Running, Outcome::status)
    }

    /// Resolves the values of the execution.
    #[must_use]
    pub fn values<'a>(&'a self, program: &'a Program) -> Values<'a> {
        values(self, program)
    }

    /// Appends the output to `out`; nothing unless the execution succeeded.
    pub fn write_output(&self, program: &Program, out: &mut Vec<u8>) {
        if let Some(Outcome::Succeeded(output)) = self.outcome {
            values(self, program).write(output, out);
        }
    }

    /// States entered so far.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// Bytes that its document takes: inputs, results and what was made of them, since it was last compacted.
    #[must_use]
    pub fn document_bytes(&self) -> usize {
        self.doc.memory()
    }

    /// Bytes of memory that the execution holds for its documents.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.doc.capacity()
    }

    /// The task that was yielded.
    ///
    /// # Errors
    ///
    /// If it has ended already.
    pub fn task<'a>(
        &'a self,
        program: &'a Program,
        handle: FrameHandle,
    ) -> Result<TaskCall<'a>, Stale> {
        let frame = self.waiting_frame(handle)?;
        let id = frame.task.ok_or(Stale)?;
        let info = &program.tasks[id.index()];
        Ok(TaskCall {
            id,
            resource: &info.resource,
            resource_text: &info.resource_text,
            state: &program.states[frame.state.index()].name,
            retry_count: frame.retry_count,
            input: frame.value,
            values: values(self, program),
            credentials: frame.credentials,
            timeout_at: frame.wake_at,
            heartbeat_at: frame.heartbeat_at,
        })
    }

    /// The tasks that were yielded and not answered, each with the last event of its frame.
    pub fn tasks_under_way(&self) -> impl Iterator<Item = (FrameHandle, u64)> + '_ {
        let frames = (0_u32..).zip(&self.frames);
        let waiting = frames.filter(|(_, frame)| frame.status == FrameStatus::Task);
        waiting.map(|(index, frame)| {
            let generation = frame.generation;
            (FrameHandle { index, generation }, frame.previous_event)
        })
    }

    /// Has a task yielded once more by the next step: whoever did it is gone, as when the process that had it has ended.
    pub fn yield_again(&mut self, handle: FrameHandle) {
        if self.waiting_frame(handle).is_ok() {
            self.again.push(handle.index);
        }
    }

    pub(super) fn waiting_frame(&self, handle: FrameHandle) -> Result<&Frame, Stale> {
        match self.frames.get(handle.index as usize) {
            Some(frame)
                if self.outcome.is_none()
                    && frame.generation == handle.generation
                    && frame.status == FrameStatus::Task =>
            {
                Ok(frame)
            }
            _ => Err(Stale),
        }
    }

    /// Takes a frame that is free; everything in it is as at the start of a scope.
    #[inline]
    pub(super) fn take_frame(&mut self) -> u32 {
        match self.free_frames.pop() {
            Some(index) => {
                self.frames[index as usize].begin();
                index
            }
            None => self.add_frame(),
        }
    }

    #[cold]
    fn add_frame(&mut self) -> u32 {
        let mut frame = Frame::new();
        frame.begin();
        self.frames.push(frame);
        narrow(self.frames.len() - 1)
    }

    /// Gives a frame back. Answers to what it waited for are stale from now on.
    pub(super) fn free_frame(&mut self, index: u32) {
        let frame = &mut self.frames[index as usize];
        frame.status = FrameStatus::Free;
        frame.generation = frame.generation.wrapping_add(1);
        self.free_frames.push(index);
    }

    pub(super) fn arm(&mut self, frame: u32, at: Timestamp) {
        if at < Timestamp::MAX {
            let generation = self.frames[frame as usize].generation;
            if self.timers.len() >= self.sweep_timers_at {
                self.sweep_timers();
            }
            self.timers.push(Reverse(Timer {
                at,
                frame,
                generation,
            }));
        }
    }

    /// Drops the timers that are void: of timeouts that did not come to pass, of heartbeats put off. A loop would heap
    /// them up until their time has come.
    #[cold]
    fn sweep_timers(&mut self) {
        let frames = &self.frames;
        self.timers
            .retain(|Reverse(timer)| timer.is_live(&frames[timer.frame as usize]));
        self.sweep_timers_at = (self.timers.len() * 2).max(TIMERS_MIN);
    }

    /// Drops what nothing refers to any more, once the document is four times what was live at the last time. False
    /// if what is live has unfolded to more than [`LIVE_BYTES_MAX`]: then nothing is done.
    pub(super) fn compact(&mut self, program: &Program) -> bool {
        let frames = self.frames.iter_mut();
        let frames = frames
            .filter(|frame| frame.status != FrameStatus::Free)
            .flat_map(Frame::roots);
        let joins = self.joins.iter_mut().flat_map(Join::roots);
        let roots: Vec<&mut Val> = frames
            .chain(joins)
            .chain([&mut self.context.input])
            .collect();
        let view = Values {
            doc: &self.doc,
            constants: &program.constants,
        };
        let mut seen = FixedSet::default();
        let distinct = roots.iter().filter(|root| seen.insert(***root));
        if distinct.map(|root| view.size(**root)).sum::<usize>() > LIVE_BYTES_MAX {
            return false;
        }
        self.doc.compact(&program.constants, roots.into_iter());
        self.compact_at = (self.doc.memory() * 4).max(COMPACT_BYTES_MIN);
        true
    }
}

impl Frame {
    /// True if the time of its task is up.
    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        self.wake_at.min(self.heartbeat_at) <= now
    }

    pub(super) fn new() -> Frame {
        Frame {
            pc: Pc(0),
            state: StateId(0),
            data: Val::NULL,
            value: Val::NULL,
            status: FrameStatus::Free,
            generation: 0,
            parent: None,
            index: 0,
            item: None,
            previous_event: 0,
            entered_event: 0,
            entered_previous: 0,
            entered_time: Timestamp::default(),
            in_state: false,
            forked: false,
            retry_count: 0,
            retries: Vec::new(),
            variables: Vec::new(),
            task: None,
            credentials: None,
            wake_at: Timestamp::MAX,
            heartbeat_at: Timestamp::MAX,
            heartbeat_seconds: None,
            missed_heartbeat: false,
        }
    }

    pub(super) fn begin(&mut self) {
        self.status = FrameStatus::Ready;
        self.parent = None;
        self.item = None;
        self.previous_event = 0;
        self.in_state = false;
        self.forked = false;
        self.retry_count = 0;
        self.retries.clear();
        self.variables.clear();
        self.task = None;
        self.credentials = None;
    }

    /// Nobody is asked for its task any more; answers to it are late.
    pub(super) fn end_task(&mut self) {
        self.task = None;
        self.credentials = None;
        self.generation = self.generation.wrapping_add(1);
    }

    fn roots(&mut self) -> impl Iterator<Item = &mut Val> {
        let item = self.item.as_mut().map(|item| &mut item.value);
        let variables = self.variables.iter_mut().map(|(_, val)| val);
        [&mut self.data, &mut self.value]
            .into_iter()
            .chain(item)
            .chain(variables)
            .chain(&mut self.credentials)
    }
}

/// `seconds` after `now`; never, if that is beyond time.
pub(super) fn after_seconds(now: Timestamp, seconds: u64) -> Timestamp {
    let millis = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| seconds.checked_mul(1_000));
    millis.map_or(Timestamp::MAX, |millis| now.plus_millis(millis))
}

/// The text of an input that is not canonical: white space and needless escapes make it longer than its value.
fn original_text(input: &[u8], size: usize) -> Option<Box<str>> {
    let text = input.trim_ascii();
    if text.len() == size {
        return None;
    }
    simdutf8::basic::from_utf8(text).ok().map(Into::into)
}
