//! What an execution knows of itself: its identity, and the context object `$$`.

use std::fmt::Write as _;
use std::sync::Arc;

use super::execution::{Execution, Frame, FrameHandle, FrameStatus, Stale};
use crate::asl::MachineType;
use crate::program::{ContextBase, Program};
use crate::stdx::Timestamp;
use crate::value::{Key, Val, Values};

/// What all executions of a state machine have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineIdentity {
    /// Name of the state machine.
    pub name: Box<str>,
    /// EXPRESS or STANDARD.
    pub machine_type: MachineType,
    /// Region in its ARN, and in those of its executions.
    pub region: Box<str>,
    /// Account in its ARN.
    pub account: Box<str>,
    /// ARN of its role.
    pub role_arn: Box<str>,
}

impl MachineIdentity {
    /// The identity of a machine that has no home: account 000000000000 in us-east-1.
    #[must_use]
    pub fn local(name: &str, machine_type: MachineType) -> MachineIdentity {
        MachineIdentity {
            name: name.into(),
            machine_type,
            region: "us-east-1".into(),
            account: "000000000000".into(),
            role_arn: "arn:aws:iam::000000000000:role/quickstep".into(),
        }
    }

    /// ARN of the state machine.
    #[must_use]
    pub fn arn(&self) -> String {
        format!(
            "arn:aws:states:{}:{}:stateMachine:{}",
            self.region, self.account, self.name
        )
    }

    /// ARN of an execution.
    #[must_use]
    pub fn execution_arn(&self, execution: &str, seed: u64) -> String {
        let prefix = self.execution_arn_prefix();
        match self.machine_type {
            MachineType::Standard => format!("{prefix}{execution}"),
            MachineType::Express => format!("{prefix}{execution}:{}", express_id(seed)),
        }
    }

    /// What the ARNs of the machine's executions have in common: all before the execution's name.
    pub(crate) fn execution_arn_prefix(&self) -> String {
        let kind = match self.machine_type {
            MachineType::Standard => "execution",
            MachineType::Express => "express",
        };
        format!(
            "arn:aws:states:{}:{}:{kind}:{}:",
            self.region, self.account, self.name
        )
    }
}

/// The id at the end of an EXPRESS execution's ARN.
pub(crate) fn express_id(seed: u64) -> uuid::Uuid {
    uuid(seed ^ EXPRESS_SALT)
}

/// The name of an execution that was given none at its start: a UUID made of its seed.
#[must_use]
pub fn name_of_seed(seed: u64) -> String {
    uuid(seed).to_string()
}

/// Tells the id at the end of an EXPRESS execution's ARN from a name made of the same seed.
const EXPRESS_SALT: u64 = 0x5851_F42D_4C95_7F2D;

/// A version 4 UUID made of a seed: the name of an execution that was given none.
pub(crate) fn uuid(seed: u64) -> uuid::Uuid {
    let mut random = crate::intrinsic::Random::new(seed);
    uuid::Builder::from_random_bytes(
        (u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())).to_be_bytes(),
    )
    .into_uuid()
}

/// Who waits for an execution: what it can tell of itself depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Invocation {
    /// Its caller (`StartSyncExecution`): there is nothing to redrive, and no `$$.Execution.RedriveCount`.
    Synchronous,
    /// Nobody (`StartExecution`).
    Asynchronous,
}

/// What starts an execution.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The input, JSON text.
    pub input: &'a [u8],
    /// What it shares with other executions of its machine.
    pub machine: &'a Arc<MachineIdentity>,
    /// Its name; if absent, a UUID made of the seed.
    pub name: Option<&'a str>,
    /// Who waits for it.
    pub invocation: Invocation,
    /// When it starts.
    pub now: Timestamp,
    /// What its randomness comes from.
    pub seed: u64,
}

/// The parts of the context object that are the execution's own.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) machine: Option<Arc<MachineIdentity>>,
    pub(super) name: Option<Box<str>>,
    pub(super) seed: u64,
    pub(super) start_time: Timestamp,
    pub(super) input: Val,
    pub(super) invocation: Invocation,
    /// Where the runtime finds the execution again; 0 if nowhere. Its task tokens begin with it.
    pub(super) place: u64,
    /// Which attempt it is, from 1.
    pub(super) attempt: u32,
    /// How often it has been redriven, and when that was for the last time.
    pub(super) redrives: u32,
    pub(super) redriven_at: Timestamp,
    /// The input as it arrived, if events are wanted and it is not canonical.
    pub(super) input_text: Option<Box<str>>,
}

impl Context {
    pub(super) const fn new() -> Context {
        Context {
            machine: None,
            name: None,
            seed: 0,
            start_time: Timestamp::from_millis(0),
            input: Val::NULL,
            invocation: Invocation::Asynchronous,
            place: 0,
            attempt: 1,
            redrives: 0,
            redriven_at: Timestamp::from_millis(0),
            input_text: None,
        }
    }

    pub(super) fn execution_name(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => name_of_seed(self.seed),
        }
    }

    pub(super) fn execution_arn(&self) -> String {
        match &self.machine {
            Some(machine) => machine.execution_arn(&self.execution_name(), self.seed),
            None => String::new(),
        }
    }
}

impl Execution {
    /// Name of the execution: as given at its start, else a UUID.
    #[must_use]
    pub fn name(&self) -> String {
        self.context.execution_name()
    }

    /// The name that it was given at its start.
    #[must_use]
    pub fn given_name(&self) -> Option<&str> {
        self.context.name.as_deref()
    }

    /// ARN of the execution.
    #[must_use]
    pub fn arn(&self) -> String {
        self.context.execution_arn()
    }

    /// When it started.
    #[must_use]
    pub fn start_time(&self) -> Timestamp {
        self.context.start_time
    }

    /// The input and its text, where events show the text.
    pub(super) fn original(&self) -> Option<(Val, &str)> {
        self.context
            .input_text
            .as_deref()
            .map(|text| (self.context.input, text))
    }

    /// The part of the context object that a path starts from; `None` where there is none, as in `$$.Map` outside a
    /// Map.
    pub(super) fn context_part(
        &mut self,
        program: &Program,
        frame: u32,
        base: ContextBase,
    ) -> Option<Val> {
        let item = self.frames[frame as usize].item;
        match base {
            ContextBase::Whole => Some(self.context_object(program, frame)),
            ContextBase::ExecutionInput => Some(self.context.input),
            ContextBase::MapItemValue => item.map(|item| item.value),
            ContextBase::MapItemIndex => {
                let index = item?.index;
                Some(self.doc.push_i64(i64::from(index)))
            }
            ContextBase::StateName => {
                Some(program.states[self.frames[frame as usize].state.index()].name_val)
            }
        }
    }

    /// Builds the context object as the state of `frame` sees it (AWS's guide, "Accessing execution data from the
    /// Context object").
    fn context_object(&mut self, program: &Program, frame: u32) -> Val {
        let keys = &program.keys;
        let mut members: Vec<(Key, Val)> = Vec::with_capacity(5);
        let execution = self.execution_object(program);
        members.push((keys.Execution, execution));
        if let Some(machine) = self.context.machine.clone() {
            let id = self.doc.push_string(&machine.arn());
            let name = self.doc.push_string(&machine.name);
            let object = self
                .doc
                .push_object(&program.constants, &[(keys.Id, id), (keys.Name, name)]);
            members.push((keys.StateMachine, object));
        }
        let state = self.state_object(program, frame);
        members.push((keys.State, state));
        if let Some(token) = self.task_token(program, frame) {
            let token = self.doc.push_string(&token);
            let object = self
                .doc
                .push_object(&program.constants, &[(keys.Token, token)]);
            members.push((keys.Task, object));
        }
        if let Some(item) = self.frames[frame as usize].item {
            let index = self.doc.push_i64(i64::from(item.index));
            let members_of_item = [(keys.Index, index), (keys.Value, item.value)];
            let item = self.doc.push_object(&program.constants, &members_of_item);
            let map = self
                .doc
                .push_object(&program.constants, &[(keys.Item, item)]);
            members.push((keys.Map, map));
        }
        self.doc.push_object(&program.constants, &members)
    }

    /// The token of the frame's Task state, if it is one that has a token. Every attempt of every visit has its own.
    fn task_token(&self, program: &Program, frame: u32) -> Option<String> {
        let task = program.states[self.frames[frame as usize].state.index()].task?;
        program.tasks[task.index()]
            .has_token()
            .then(|| self.token_of(frame))
    }

    /// The place of the execution, and three numbers that only it can know.
    fn token_of(&self, frame: u32) -> String {
        let frame = &self.frames[frame as usize];
        let attempt = frame.entered_event << 32 | u64::from(frame.retry_count);
        // A redriven execution has other tokens than it had before.
        let attempt = attempt ^ u64::from(self.context.redrives).reverse_bits();
        let mut random = crate::intrinsic::Random::new(self.context.seed ^ attempt);
        let mut token = String::with_capacity(64);
        for part in 0..4 {
            let secret = random.next_u64();
            let number = match self.context.place {
                place if part == 0 && place != 0 => place,
                _ => secret,
            };
            // Writing to a string cannot fail.
            let _ = write!(token, "{number:016x}");
        }
        token
    }

    /// What its randomness comes from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.context.seed
    }

    /// Where the execution is found again by its tokens; 0 if nowhere.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.context.place
    }

    /// Says where the execution is found again: task tokens begin with it. Before its first step.
    pub fn set_place(&mut self, place: u64) {
        self.context.place = place;
    }

    /// Whether its tasks can be answered by their tokens.
    pub(crate) const fn has_place(&self) -> bool {
        self.context.place != 0
    }

    /// Says which attempt at the same start it is, from 1; the first, unless this is called. Before its first step.
    pub fn set_attempt(&mut self, attempt: u32) {
        self.context.attempt = attempt.max(1);
    }

    /// Which attempt at the same start it is: more than 1 if it was begun before and not finished.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.context.attempt
    }

    /// The token by which whoever does the task can name it: in the context object of `.waitForTaskToken` and `.sync`
    /// states this is `$$.Task.Token`.
    ///
    /// # Errors
    ///
    /// If the task has ended already.
    pub fn token(&self, handle: FrameHandle) -> Result<String, Stale> {
        self.waiting_frame(handle)?;
        Ok(self.token_of(handle.index))
    }

    /// The task that a token names.
    ///
    /// # Errors
    ///
    /// If there is none, or if it has ended.
    pub fn task_of_token(&self, token: &str) -> Result<FrameHandle, Stale> {
        let waiting = (0_u32..).zip(&self.frames);
        let mut waiting = waiting.filter(|(_, frame)| frame.status == FrameStatus::Task);
        let found = waiting.find(|(index, _)| {
            let own = self.token_of(*index);
            // All of it is looked at, whatever differs first.
            let differing = own.bytes().zip(token.bytes()).map(|(a, b)| a ^ b);
            own.len() == token.len() && differing.fold(0, |all, bits| all | bits) == 0
        });
        let (index, frame) = found.ok_or(Stale)?;
        let generation = frame.generation;
        Ok(FrameHandle { index, generation })
    }

    fn execution_object(&mut self, program: &Program) -> Val {
        let keys = &program.keys;
        let id = self.context.execution_arn();
        let id = self.doc.push_string(&id);
        let name = self.context.execution_name();
        let name = self.doc.push_string(&name);
        let start_time = self.doc.push_string(&self.context.start_time.to_string());
        let role = self
            .context
            .machine
            .as_ref()
            .map_or("", |machine| &machine.role_arn)
            .to_owned();
        let role = self.doc.push_string(&role);
        let redrives = self.doc.push_i64(i64::from(self.context.redrives));
        let redriven_at = match self.context.redrives {
            0 => Val::NULL,
            _ => {
                let at = self.context.redriven_at.to_string();
                self.doc.push_string(&at)
            }
        };
        let members = [
            (keys.Id, id),
            (keys.Input, self.context.input),
            (keys.StartTime, start_time),
            (keys.Name, name),
            (keys.RoleArn, role),
            (keys.RedriveCount, redrives),
            (keys.RedriveTime, redriven_at),
        ];
        let shown = match (self.context.invocation, self.context.redrives) {
            (Invocation::Synchronous, _) => members.len() - 2,
            (Invocation::Asynchronous, 0) => members.len() - 1,
            (Invocation::Asynchronous, _) => members.len(),
        };
        let members = &members[..shown];
        self.doc.push_object(&program.constants, members)
    }

    fn state_object(&mut self, program: &Program, frame: u32) -> Val {
        let keys = &program.keys;
        let Frame {
            state,
            entered_time,
            retry_count,
            ..
        } = self.frames[frame as usize];
        let info = &program.states[state.index()];
        let entered = self.doc.push_string(&entered_time.to_string());
        let mut members = vec![(keys.Name, info.name_val), (keys.EnteredTime, entered)];
        if info.state_type == crate::program::StateType::Task {
            let retries = self.doc.push_i64(i64::from(retry_count));
            members.push((keys.RetryCount, retries));
        }
        self.doc.push_object(&program.constants, &members)
    }
}

/// The values of an execution and of its program.
pub(super) fn values<'a>(execution: &'a Execution, program: &'a Program) -> Values<'a> {
    Values {
        doc: &execution.doc,
        constants: &program.constants,
    }
}
