//! What an expression sees of the world: [`Scope`] while it runs, [`Constants`] while it is lowered.

use crate::intrinsic::Random;
use crate::stdx::Timestamp;
use crate::value::{Doc, Key, MemberName, Val};

/// What an expression may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Dialect {
    /// `$states`, variables and what the expression binds itself. `$`, `$$` and bare names have no meaning at the top,
    /// and there is no `$eval` (AWS's guide, "Transforming data with JSONata in Step Functions").
    Aws,
    /// JSONata 2.0.6 as its own test suite has it: a context value, and variables bound from outside.
    Plain,
}

/// A value that an expression starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) enum Root {
    /// The context value `$` and `$$` of [`Dialect::Plain`].
    Data,
    /// `$states.input`
    Input,
    /// `$states.result`
    Result,
    /// `$states.errorOutput`
    ErrorOutput,
    /// `$states.context`
    Context,
    /// A variable of the machine (or, in [`Dialect::Plain`], a binding), by the number that the expression's user gave
    /// its name.
    Variable(u32),
}

/// What an expression runs in.
pub(crate) trait Scope {
    /// The document that all values but constants are in.
    #[expect(dead_code, reason = "lowered expressions use it")]
    fn doc(&mut self) -> &mut Doc;
    /// The document and the constants together, to read and to make values.
    fn parts(&mut self) -> (&mut Doc, &Doc);
    /// The value of a root; `None` if it has none (undefined).
    fn root(&mut self, root: Root) -> Option<Val>;
    /// What `$random` and `$uuid` come from.
    fn random(&mut self) -> &mut Random;
    /// What `$now` and `$millis` tell; the same for the whole evaluation.
    fn now(&self) -> Timestamp;
}

/// Where lowering puts literals and names.
pub(crate) trait Constants {
    /// The constant of this JSON text.
    fn literal(&mut self, json: &str) -> Val;
    /// A string constant, from its decoded text.
    fn string(&mut self, text: &str) -> Val;
    /// A member's name.
    fn key(&mut self, name: &str) -> Key;
    /// The name of a member that a path reads.
    fn member(&mut self, name: &str) -> MemberName;
    /// The number of a variable's name (without `$`); `None` if nothing of that name can be in scope.
    fn variable(&mut self, name: &str) -> Option<u32>;
}
