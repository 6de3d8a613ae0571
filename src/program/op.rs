//! The instruction set, and the typed indexes that it is made of.

use crate::intrinsic::Function;
use crate::value::Val;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) u32);

        impl $name {
            /// The index in its table.
            #[must_use]
            #[inline(always)]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// Index of an [`Op`].
    Pc;
    /// Index of a state.
    StateId;
    /// Index of a path with what its errors say of it.
    LoadId;
    /// Index of a `ResultPath`.
    MergeId;
    /// Index of an object that a template makes.
    ObjectId;
    /// Index of an intrinsic call.
    CallId;
    /// Index of a Choice comparison.
    TestId;
    /// Index of a JSONata expression.
    ExpressionId;
    /// Index of the variables that an `Assign` sets.
    AssignId;
    /// Index of a Task.
    TaskId;
    /// Index of a Wait.
    WaitId;
    /// Index of a Fail.
    FailId;
    /// Index of a Parallel.
    ForkId;
    /// Index of a Map.
    MapId;
    /// Index of a variable's name.
    VariableId;
}

/// One instruction. A state is a run of them, from [`Op::Enter`] to [`Op::Exit`]; payloads lie in the program's tables.
///
/// Two registers belong to the frame: `data`, the state's raw input, and `value`, which is the effective input at
/// first, then the result, then the effective output. The stack holds what a payload template has made so far.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Op {
    /// A state is entered: `value` becomes `data`.
    Enter(StateId),
    /// `value` becomes what the path (`InputPath`, `OutputPath`) finds in it.
    Select(LoadId),
    /// `value` becomes what is popped from the stack.
    SetValue,
    /// Pushes what a path finds in `value` or in a variable.
    Load(LoadId),
    /// Pushes what a `$$` path finds in the context object.
    LoadContext(LoadId),
    /// Pushes a constant.
    Const(Val),
    /// Makes an object of literals and of what JSONata expressions give. Pushes it.
    EvalObject(ObjectId),
    /// Makes an object; members that are no constants or definite paths are popped. Pushes it.
    MakeObject(ObjectId),
    /// As [`Op::MakeObject`], but the object becomes `value`.
    SetObject(ObjectId),
    /// Pops that many elements, pushes the array.
    MakeArray(u32),
    /// Pops the arguments of an intrinsic function, pushes its result.
    Call(Function, CallId),
    /// Pushes the value of a JSONata expression.
    Eval(ExpressionId),
    /// Goes on if the expression is true, else jumps.
    ConditionElse(ExpressionId, Pc),
    /// `value` becomes `data` with `value` put in at `ResultPath`.
    Merge(MergeId),
    /// `value` becomes `data`: `"ResultPath": null`.
    KeepInput,
    /// Pops the new values of variables and sets them.
    Assign(AssignId),
    /// Goes on if the comparison holds, else jumps.
    TestElse(TestId, Pc),
    /// Jumps if the comparison holds, else goes on.
    TestThen(TestId, Pc),
    /// Fails with `States.NoChoiceMatched`.
    NoChoice,
    /// Hands `value` to the task; its result becomes `value`.
    Task(TaskId),
    /// Parks until the time has come.
    Wait(WaitId),
    /// Starts a frame for every branch; the array of their outputs becomes `value`.
    Fork(ForkId),
    /// Starts a frame for every item; the array of their outputs becomes `value`.
    Map(MapId),
    /// An iteration begins: `value` becomes `data`, and the first state of its scope follows.
    Begin(Pc),
    /// A state is left for the next one: `value` becomes `data`.
    Exit(StateId, Pc),
    /// A state is left and its scope ends, with `value` as its output.
    ExitEnd(StateId),
    /// The scope fails.
    Fail(FailId),
}

const _: () = assert!(size_of::<Op>() <= 16);
