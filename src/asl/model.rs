//! What a definition says once it has been read: every path, template and name parsed, nothing resolved yet.

use std::sync::Arc;

use crate::intrinsic::Call;
pub use crate::jsonata::Expression;
use crate::path::{Path, ReferencePath};

/// The language in which a state's fields compute (`QueryLanguage`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum QueryLanguage {
    /// `$.a`, the default.
    JsonPath,
    /// `{% … %}`.
    Jsonata,
}

/// EXPRESS or STANDARD: they accept different definitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum MachineType {
    /// Short executions, at-least-once, no `.sync`, callbacks, activities or distributed Map.
    Express,
    /// Long executions with a history.
    Standard,
}

/// A whole state machine as written.
#[derive(Clone, PartialEq, Debug)]
pub struct Definition {
    /// `Comment`.
    pub comment: Option<String>,
    /// `TimeoutSeconds` of the execution, in seconds.
    pub timeout_seconds: Option<u64>,
    /// The top-level states.
    pub scope: Scope,
}

/// A `StartAt` and its `States`: the machine itself, a Parallel branch or a Map's processor.
#[derive(Clone, PartialEq, Debug)]
pub struct Scope {
    /// Name of the first state.
    pub start_at: String,
    /// The states in the order of the text.
    pub states: Vec<State>,
}

/// One state.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    /// Its name, unique in the whole definition.
    pub name: String,
    /// JSON pointer of the state, `/States/A`.
    pub pointer: String,
    /// The language its fields are written in.
    pub query_language: QueryLanguage,
    /// `InputPath`.
    pub input_path: PathField,
    /// `OutputPath`.
    pub output_path: PathField,
    /// `Assign`: variable name (without `$`) and what it becomes; empty if absent.
    pub assign: Vec<(String, Template)>,
    /// `Output` of a JSONata state.
    pub output: Option<Template>,
    /// What follows; `End` for terminal states and for Choice, Succeed and Fail (which have none).
    pub next: Next,
    /// The fields of its type.
    pub kind: StateKind,
}

/// `Next` or `"End": true`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Name of the state that follows.
    State(String),
    /// The scope ends here.
    End,
}

/// `InputPath`/`OutputPath`: `"$"` if absent.
#[derive(Clone, PartialEq, Debug)]
pub enum PathField {
    /// Absent or `"$"`.
    Whole,
    /// JSON null: an empty object takes the value's place.
    Null,
    /// Any other path.
    Path(Path),
}

/// `ResultPath`: `"$"` if absent.
#[derive(Clone, PartialEq, Debug)]
pub enum ResultPath {
    /// Absent or `"$"`: the result replaces the input.
    Whole,
    /// JSON null: the result is dropped.
    Null,
    /// The place in the input where the result goes.
    Path(ReferencePath),
}

/// A JSONata expression and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct ExpressionField {
    /// The expression.
    pub expression: Arc<Expression>,
    /// The field in its state, as AWS's errors name it: `Output/total`, `Choices[0]/Condition`.
    pub field: String,
}

/// A payload template: `Parameters`, `ResultSelector`, `ItemSelector`, a variable's value; in a JSONata state
/// `Arguments`, `Output` and the like, whose strings `{% … %}` are computed.
#[derive(Clone, PartialEq, Debug)]
pub enum Template {
    /// No expression inside: JSON text of the value, as written.
    Literal(String),
    /// A `"name.$"` member whose value is a path; `field` is the member's name as written, `name.$`.
    Path {
        /// The path.
        path: Path,
        /// The member's name as written.
        field: String,
    },
    /// A `"name.$"` member whose value is an intrinsic call.
    Call {
        /// The call.
        call: Call,
        /// The member's name as written.
        field: String,
    },
    /// A string `{% … %}` of a JSONata state.
    Expression(ExpressionField),
    /// An object with an expression somewhere inside; names without their `.$`, in the order of the text.
    Object(Vec<(String, Template)>),
    /// An array with an expression somewhere inside.
    Array(Vec<Template>),
}

/// A number that is written down or found by a path at run time (`TimeoutSeconds` | `TimeoutSecondsPath`).
#[derive(Clone, PartialEq, Debug)]
pub enum NumberField {
    /// The literal.
    Literal(u64),
    /// Where to find it.
    Path(Path),
    /// What computes it.
    Expression(ExpressionField),
}

/// A text that is written down or computed at run time (`Error` | `ErrorPath`).
#[derive(Clone, PartialEq, Debug)]
pub enum TextField {
    /// The literal.
    Literal(String),
    /// Where to find it.
    Path(Path),
    /// What computes it.
    Call(Call),
    /// What computes it, in a JSONata state.
    Expression(ExpressionField),
}

/// The eight types.
#[derive(Clone, PartialEq, Debug)]
pub enum StateKind {
    /// Pass.
    Pass(Pass),
    /// Task.
    Task(Box<Task>),
    /// Choice.
    Choice(Choice),
    /// Wait.
    Wait(Wait),
    /// Succeed.
    Succeed,
    /// Fail.
    Fail(Fail),
    /// Parallel.
    Parallel(Parallel),
    /// Map, inline or distributed.
    Map(Box<Map>),
}

/// Fields of a Pass state.
#[derive(Clone, PartialEq, Debug)]
pub struct Pass {
    /// `Parameters`.
    pub parameters: Option<Template>,
    /// `Result`: JSON text as written.
    pub result: Option<String>,
    /// `ResultPath`.
    pub result_path: ResultPath,
}

/// Fields of a Task state.
#[derive(Clone, PartialEq, Debug)]
pub struct Task {
    /// `Resource`, an ARN.
    pub resource: String,
    /// `Parameters`, or `Arguments` of a JSONata state.
    pub parameters: Option<Template>,
    /// `Credentials`.
    pub credentials: Option<Template>,
    /// `TimeoutSeconds` or `TimeoutSecondsPath`.
    pub timeout: Option<NumberField>,
    /// `HeartbeatSeconds` or `HeartbeatSecondsPath`.
    pub heartbeat: Option<NumberField>,
    /// What happens to the result and to failures.
    pub outcome: OutcomeFields,
}

/// `ResultSelector`, `ResultPath`, `Retry` and `Catch`: Task, Parallel and Map share them.
#[derive(Clone, PartialEq, Debug)]
pub struct OutcomeFields {
    /// `ResultSelector`.
    pub result_selector: Option<Template>,
    /// `ResultPath`.
    pub result_path: ResultPath,
    /// `Retry`.
    pub retry: Vec<Retrier>,
    /// `Catch`.
    pub catch: Vec<Catcher>,
}

/// One element of `Retry`.
#[derive(Clone, PartialEq, Debug)]
pub struct Retrier {
    /// `ErrorEquals`.
    pub error_equals: Vec<String>,
    /// `IntervalSeconds`, default 1.
    pub interval_seconds: u64,
    /// `MaxAttempts`, default 3; 0 means never.
    pub max_attempts: u32,
    /// `BackoffRate`, default 2.0.
    pub backoff_rate: f64,
    /// `MaxDelaySeconds`.
    pub max_delay_seconds: Option<u64>,
    /// `JitterStrategy`.
    pub jitter: JitterStrategy,
}

/// `JitterStrategy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JitterStrategy {
    /// The default.
    None,
    /// A random share of the delay.
    Full,
}

/// One element of `Catch`.
#[derive(Clone, PartialEq, Debug)]
pub struct Catcher {
    /// `ErrorEquals`.
    pub error_equals: Vec<String>,
    /// `ResultPath`.
    pub result_path: ResultPath,
    /// `Assign`.
    pub assign: Vec<(String, Template)>,
    /// `Output` of a JSONata state.
    pub output: Option<Template>,
    /// `Next`.
    pub next: String,
}

/// Fields of a Choice state.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// `Choices`, in order.
    pub rules: Vec<ChoiceRule>,
    /// `Default`.
    pub default: Option<String>,
}

/// One element of `Choices`.
#[derive(Clone, PartialEq, Debug)]
pub struct ChoiceRule {
    /// The condition.
    pub condition: BooleanExpr,
    /// `Assign`.
    pub assign: Vec<(String, Template)>,
    /// `Output` of a JSONata state; the state's own is for `Default`.
    pub output: Option<Template>,
    /// `Next`.
    pub next: String,
}

/// A Choice rule's condition.
#[derive(Clone, PartialEq, Debug)]
pub enum BooleanExpr {
    /// `And`.
    And(Vec<BooleanExpr>),
    /// `Or`.
    Or(Vec<BooleanExpr>),
    /// `Not`.
    Not(Box<BooleanExpr>),
    /// `Variable` and a comparison.
    Test(DataTest),
    /// `Condition` of a JSONata state.
    Condition(ExpressionField),
}

/// `Variable` and one comparison operator.
#[derive(Clone, PartialEq, Debug)]
pub struct DataTest {
    /// `Variable`.
    pub variable: Path,
    /// The operator without its `Path` suffix.
    pub operator: Operator,
    /// What is compared with.
    pub operand: Operand,
}

/// The right side of a comparison.
#[derive(Clone, PartialEq, Debug)]
pub enum Operand {
    /// JSON text of the literal.
    Literal(String),
    /// The path of an operator with the suffix `Path`.
    Path(Path),
}

/// The 23 comparison operators (16 of which also have a `Path` form).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Operator {
    StringEquals,
    StringLessThan,
    StringGreaterThan,
    StringLessThanEquals,
    StringGreaterThanEquals,
    StringMatches,
    NumericEquals,
    NumericLessThan,
    NumericGreaterThan,
    NumericLessThanEquals,
    NumericGreaterThanEquals,
    BooleanEquals,
    TimestampEquals,
    TimestampLessThan,
    TimestampGreaterThan,
    TimestampLessThanEquals,
    TimestampGreaterThanEquals,
    IsNull,
    IsPresent,
    IsNumeric,
    IsString,
    IsBoolean,
    IsTimestamp,
}

/// How a Wait state knows its end.
#[derive(Clone, PartialEq, Debug)]
pub enum Wait {
    /// `Seconds`.
    Seconds(u64),
    /// `SecondsPath`.
    SecondsPath(Path),
    /// `Timestamp`, RFC 3339 text.
    Timestamp(String),
    /// `TimestampPath`.
    TimestampPath(Path),
    /// `Seconds` of a JSONata state, computed.
    SecondsExpression(ExpressionField),
    /// `Timestamp` of a JSONata state, computed.
    TimestampExpression(ExpressionField),
}

/// Fields of a Fail state.
#[derive(Clone, PartialEq, Debug)]
pub struct Fail {
    /// `Error` or `ErrorPath`.
    pub error: Option<TextField>,
    /// `Cause` or `CausePath`.
    pub cause: Option<TextField>,
}

/// Fields of a Parallel state.
#[derive(Clone, PartialEq, Debug)]
pub struct Parallel {
    /// `Branches`.
    pub branches: Vec<Scope>,
    /// `Parameters`, or `Arguments` of a JSONata state.
    pub parameters: Option<Template>,
    /// What happens to the result and to failures.
    pub outcome: OutcomeFields,
}

/// `Items` of a JSONata state.
#[derive(Clone, PartialEq, Debug)]
pub enum Items {
    /// A list, some of whose elements may be computed.
    List(Template),
    /// What computes the list.
    Expression(ExpressionField),
}

/// Fields of a Map state.
#[derive(Clone, PartialEq, Debug)]
pub struct Map {
    /// `ItemsPath`; `"$"` if absent.
    pub items_path: PathField,
    /// `Items` of a JSONata state.
    pub items: Option<Items>,
    /// `ItemSelector`, or `Parameters` of old.
    pub item_selector: Option<Template>,
    /// `ItemProcessor`, or `Iterator` of old.
    pub processor: Scope,
    /// `ProcessorConfig.Mode`.
    pub mode: MapMode,
    /// `MaxConcurrency` or `MaxConcurrencyPath`.
    pub max_concurrency: Option<NumberField>,
    /// What happens to the result and to failures.
    pub outcome: OutcomeFields,
    /// Where the mode is written; the Map's own place if it is not.
    pub location: Location,
}

/// `ProcessorConfig.Mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapMode {
    /// Iterations share the execution.
    Inline,
    /// Iterations are executions of their own.
    Distributed,
}

/// A place in the text of a definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Location {
    /// First byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
    /// Line of the first character, from 1.
    pub line: u32,
    /// Column of the first character, from 1, in characters.
    pub column: u32,
}
