//! What a definition is compiled to: a flat list of [`Op`]s and the tables that they refer to.
//!
//! A program is immutable and shared by all executions of its state machine. Every name, path, template, error list and
//! jump in it is resolved. This module knows neither the compiler that makes programs nor the interpreter that runs
//! them.

mod disassemble;
mod op;

pub use op::{
    AssignId, CallId, ExpressionId, FailId, ForkId, LoadId, MapId, MergeId, ObjectId, Op, Pc,
    StateId, TaskId, TestId, VariableId, WaitId,
};

use std::ops::Range;

use crate::asl::{JitterStrategy, Operator, Resource};
use crate::intrinsic::Format;
use crate::jsonata::Compiled;
use crate::path::Path;
use crate::value::{Doc, Growth, Key, Layout, MemberName, Val};

/// A compiled state machine definition.
#[derive(Debug)]
pub struct Program {
    pub(crate) ops: Box<[Op]>,
    pub(crate) start: Pc,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) constants: Doc,
    pub(crate) states: Box<[StateInfo]>,
    pub(crate) loads: Box<[Load]>,
    pub(crate) steps: Box<[Step]>,
    pub(crate) merges: Box<[MergeInfo]>,
    pub(crate) objects: Box<[ObjectInfo]>,
    pub(crate) calls: Box<[CallInfo]>,
    pub(crate) expressions: Box<[ExpressionInfo]>,
    pub(crate) tests: Box<[Test]>,
    pub(crate) assigns: Box<[Box<[VariableId]>]>,
    pub(crate) tasks: Box<[TaskInfo]>,
    pub(crate) waits: Box<[WaitInfo]>,
    pub(crate) fails: Box<[FailInfo]>,
    pub(crate) forks: Box<[Box<[Pc]>]>,
    pub(crate) maps: Box<[MapInfo]>,
    pub(crate) variables: Box<[Box<str>]>,
    pub(crate) keys: WellKnownKeys,
    /// The numbers from 0 on, for indexes of items.
    pub(crate) numbers: Box<[Val]>,
}

/// The eight types of states.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum StateType {
    Pass,
    Task,
    Choice,
    Wait,
    Succeed,
    Fail,
    Parallel,
    Map,
}

impl StateType {
    /// All of them, in the order of their declaration.
    pub const ALL: [StateType; 8] = [
        StateType::Pass,
        StateType::Task,
        StateType::Choice,
        StateType::Wait,
        StateType::Succeed,
        StateType::Fail,
        StateType::Parallel,
        StateType::Map,
    ];

    /// The name of the type in definitions and events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            StateType::Pass => "Pass",
            StateType::Task => "Task",
            StateType::Choice => "Choice",
            StateType::Wait => "Wait",
            StateType::Succeed => "Succeed",
            StateType::Fail => "Fail",
            StateType::Parallel => "Parallel",
            StateType::Map => "Map",
        }
    }
}

/// What is known of a state besides its ops.
#[derive(Debug)]
pub(crate) struct StateInfo {
    pub(crate) name: Box<str>,
    pub(crate) state_type: StateType,
    /// Where a retry begins: behind `Enter`.
    pub(crate) body: Pc,
    pub(crate) retriers: Box<[Retrier]>,
    pub(crate) catchers: Box<[Catcher]>,
    /// What a Task state calls.
    pub(crate) task: Option<TaskId>,
    /// The name as a string of the constants, for the context object.
    pub(crate) name_val: Val,
}

/// One element of `Retry`.
#[derive(Debug)]
pub(crate) struct Retrier {
    pub(crate) errors: ErrorEquals,
    pub(crate) interval_seconds: u64,
    pub(crate) max_attempts: u32,
    pub(crate) backoff_rate: f64,
    pub(crate) max_delay_seconds: Option<u64>,
    pub(crate) jitter: JitterStrategy,
}

/// One element of `Catch`: `value` is the error output when its ops begin.
#[derive(Debug)]
pub(crate) struct Catcher {
    pub(crate) errors: ErrorEquals,
    pub(crate) start: Pc,
}

/// `ErrorEquals`, its two wildcards taken out.
#[derive(Debug)]
pub(crate) struct ErrorEquals {
    /// `States.ALL`
    pub(crate) all: bool,
    /// `States.TaskFailed`
    pub(crate) task_failed: bool,
    pub(crate) names: Box<[Box<str>]>,
}

/// A path with what is needed to run it and to say what is wrong with it.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) base: Base,
    /// Where the steps of a definite path lie that are left to take from its base; `None` for a path that searches.
    pub(crate) steps: Option<Range<u32>>,
    pub(crate) path: Path,
    /// The field as written, for errors: `total.$`, `InputPath`.
    pub(crate) field: Box<str>,
}

/// What a path starts from, once its first steps are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// `$`
    Value,
    /// `$name`
    Variable(VariableId),
    /// `$$`, of which `steps` steps are taken by the base already.
    Context(ContextBase),
}

/// The parts of the context object that are there without building it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContextBase {
    /// All of it, as an object.
    Whole,
    /// `$$.Execution.Input…`
    ExecutionInput,
    /// `$$.Map.Item.Value…`
    MapItemValue,
    /// `$$.Map.Item.Index`
    MapItemIndex,
    /// `$$.State.Name`
    StateName,
}

impl ContextBase {
    /// The members that lead to the part.
    pub(crate) const fn members(self) -> &'static [&'static str] {
        match self {
            ContextBase::Whole => &[],
            ContextBase::ExecutionInput => &["Execution", "Input"],
            ContextBase::MapItemValue => &["Map", "Item", "Value"],
            ContextBase::MapItemIndex => &["Map", "Item", "Index"],
            ContextBase::StateName => &["State", "Name"],
        }
    }
}

/// An object that a template makes.
#[derive(Debug)]
pub(crate) struct ObjectInfo {
    pub(crate) layout: Layout,
    pub(crate) members: Box<[Member]>,
    /// How many of the members are popped.
    pub(crate) popped: usize,
    /// Bytes of it that are known beforehand: names, punctuation and literals.
    pub(crate) known_size: usize,
}

/// A member of an object that a template makes.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: Key,
    pub(crate) source: Source,
}

/// Where the value of a member comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A literal.
    Const(Val),
    /// A member of the frame's value, and the load that words the error if there is none. Most paths are such.
    Member(MemberName, LoadId),
    /// A member of a member of the frame's value.
    Nested(MemberName, MemberName, LoadId),
    /// `$$.Map.Item.Value`
    Item(LoadId),
    /// `$$.Map.Item.Index`
    ItemIndex(LoadId),
    /// Any other definite path: its steps, and the load that words its errors.
    Path {
        start: PathStart,
        first_step: u32,
        end_step: u32,
        load: LoadId,
    },
    /// A JSONata expression; an object with one has no other members but such and literals.
    Expression(ExpressionId),
    /// The same, of `$states.input.name`.
    InputMember(MemberName, ExpressionId),
    /// The stack, on which the values lie in the order of their members.
    Popped,
}

/// What the path of a [`Source`] starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PathStart {
    /// The frame's value.
    Value,
    /// `$$.Map.Item.Value`
    ItemValue,
}

/// One step of a definite path, or of a `ResultPath`.
#[derive(Debug)]
pub(crate) enum Step {
    /// A member, by its name.
    Child(MemberName),
    /// An element; a negative index counts from the end.
    Index(i64),
}

/// A `ResultPath`.
#[derive(Debug)]
pub(crate) struct MergeInfo {
    pub(crate) steps: Box<[Step]>,
    /// What it makes of the object that is expected there, if it is a new member of it.
    pub(crate) growth: Option<Growth>,
}

/// What an intrinsic call needs besides its arguments.
#[derive(Debug)]
pub(crate) struct CallInfo {
    /// How many of them are popped.
    pub(crate) arguments: u32,
    /// The template of `States.Format` if it is a literal, which is no argument then.
    pub(crate) format: Option<Format>,
    /// The call as written.
    pub(crate) text: Box<str>,
}

/// A JSONata expression.
#[derive(Debug)]
pub(crate) struct ExpressionInfo {
    pub(crate) compiled: Compiled,
    /// Where it stands in its state, for errors: `Output/total`.
    pub(crate) field: Box<str>,
}

/// One Choice comparison.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) variable: LoadId,
    pub(crate) operator: Operator,
    pub(crate) operand: TestOperand,
}

/// The right side of a comparison.
#[derive(Debug)]
pub(crate) enum TestOperand {
    Constant(Val),
    Number(Val, f64),
    Bool(bool),
    Timestamp(i128),
    Pattern(Box<[PatternPart]>),
    Load(LoadId),
}

/// A part of a `StringMatches` pattern.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PatternPart {
    Text(Box<str>),
    Any,
}

/// A number of a state that is written down or loaded.
#[derive(Debug)]
pub(crate) enum NumberOperand {
    Literal(u64),
    Load(LoadId),
    Expression(ExpressionId),
}

/// A Task state's target.
#[derive(Debug)]
pub(crate) struct TaskInfo {
    pub(crate) resource_text: Box<str>,
    pub(crate) resource: Resource,
    pub(crate) timeout: Option<NumberOperand>,
    pub(crate) heartbeat: Option<NumberOperand>,
    /// Whether the ops before the task leave `Credentials` on the stack.
    pub(crate) has_credentials: bool,
}

/// How a Wait state knows its end.
#[derive(Debug)]
pub(crate) enum WaitInfo {
    Seconds(u64),
    Until(i64),
    SecondsPath(LoadId),
    TimestampPath(LoadId),
    SecondsExpression(ExpressionId),
    TimestampExpression(ExpressionId),
}

/// A Fail state's error and cause.
#[derive(Debug)]
pub(crate) struct FailInfo {
    pub(crate) error: TextOperand,
    pub(crate) cause: TextOperand,
}

/// A text of a Fail state.
#[derive(Debug)]
pub(crate) enum TextOperand {
    Absent,
    Literal(Box<str>),
    Load(LoadId),
    /// Its value is on the stack; error below cause.
    Popped,
    Expression(ExpressionId),
}

/// A Map state.
#[derive(Debug)]
pub(crate) struct MapInfo {
    pub(crate) items: MapItems,
    /// `ItemsPath` as written.
    pub(crate) items_text: Box<str>,
    /// Where the ops of `ItemSelector` begin: they end with `SetValue` and run at the head of each iteration.
    pub(crate) iteration: Pc,
    pub(crate) has_selector: bool,
    pub(crate) max_concurrency: Option<NumberOperand>,
}

/// Where the items of a Map come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MapItems {
    /// All of the value.
    Value,
    /// `ItemsPath`
    Load(LoadId),
    /// All of the value, of a JSONata state.
    Input,
    /// The stack: `Items` of a JSONata state that is a list.
    Popped,
    /// `Items` of a JSONata state that is an expression.
    Expression(ExpressionId),
}

/// Keys that the interpreter itself makes objects with, in the constants of every program.
#[derive(Debug)]
#[expect(non_snake_case, reason = "each is named after the member")]
pub(crate) struct WellKnownKeys {
    pub(crate) Error: Key,
    pub(crate) Cause: Key,
    pub(crate) Execution: Key,
    pub(crate) Id: Key,
    pub(crate) Input: Key,
    pub(crate) StartTime: Key,
    pub(crate) Name: Key,
    pub(crate) RoleArn: Key,
    pub(crate) RedriveCount: Key,
    pub(crate) RedriveTime: Key,
    pub(crate) StateMachine: Key,
    pub(crate) State: Key,
    pub(crate) EnteredTime: Key,
    pub(crate) RetryCount: Key,
    pub(crate) Task: Key,
    pub(crate) Token: Key,
    pub(crate) Map: Key,
    pub(crate) Item: Key,
    pub(crate) Index: Key,
    pub(crate) Value: Key,
}

impl WellKnownKeys {
    /// Takes the keys from a program's constants.
    pub(crate) fn new(mut key: impl FnMut(&str) -> Key) -> WellKnownKeys {
        WellKnownKeys {
            Error: key("Error"),
            Cause: key("Cause"),
            Execution: key("Execution"),
            Id: key("Id"),
            Input: key("Input"),
            StartTime: key("StartTime"),
            Name: key("Name"),
            RoleArn: key("RoleArn"),
            RedriveCount: key("RedriveCount"),
            RedriveTime: key("RedriveTime"),
            StateMachine: key("StateMachine"),
            State: key("State"),
            EnteredTime: key("EnteredTime"),
            RetryCount: key("RetryCount"),
            Task: key("Task"),
            Token: key("Token"),
            Map: key("Map"),
            Item: key("Item"),
            Index: key("Index"),
            Value: key("Value"),
        }
    }
}

impl Program {
    /// Number of ops.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Never true: a program has one state at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The resources of its tasks, in the order of the definition, as written.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.tasks.iter().map(|task| &*task.resource_text)
    }

    /// Its Tasks in the order of their ids, which is that of the definition.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (&str, &TaskInfo)> {
        let mut state = StateId(0);
        let of_op = move |op: &Op| match *op {
            Op::Enter(entered) => {
                state = entered;
                None
            }
            Op::Task(task) => Some((state, task)),
            _ => None,
        };
        self.ops
            .iter()
            .filter_map(of_op)
            .map(|(state, task)| (&*self.states[state.index()].name, &self.tasks[task.index()]))
    }

    /// Name of the state that a Task belongs to.
    pub(crate) fn state_of(&self, task: TaskId) -> &str {
        self.tasks()
            .nth(task.index())
            .map_or("", |(state, _)| state)
    }
}
