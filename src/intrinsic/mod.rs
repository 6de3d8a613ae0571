//! Intrinsic functions: `States.Format('{}', $.x)` and its 17 siblings.
// SKELETON: signatures are fixed, bodies follow.
#![allow(missing_docs, dead_code, unused_variables, clippy::all)]
use crate::path::Path;
use crate::value::{Doc, Val};

/// The 18 functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Function {
    Array,
    ArrayPartition,
    ArrayContains,
    ArrayRange,
    ArrayGetItem,
    ArrayLength,
    ArrayUnique,
    Base64Encode,
    Base64Decode,
    Hash,
    JsonMerge,
    StringToJson,
    JsonToString,
    MathRandom,
    MathAdd,
    StringSplit,
    Uuid,
    Format,
}
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    pub function: Function,
    pub arguments: Vec<Argument>,
    /** the call as written */
    pub text: Box<str>,
}
#[derive(Clone, PartialEq, Debug)]
pub enum Argument {
    Path(Path),
    /** decoded text; for Format's template the escapes `\{ \}` are still in place */
    String(Box<str>),
    /** JSON number text */
    Number(Box<str>),
    Bool(bool),
    Null,
    Call(Box<Call>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /** byte offset in the text */
    pub offset: usize,
    pub message: String,
}

/// Parses a whole intrinsic expression; checks name, argument count where fixed, literal argument kinds, nesting <= 10.
pub fn parse(text: &str) -> Result<Call, SyntaxError> {
    todo!()
}
/// True if `text` is meant to be an intrinsic call (starts with `States.`).
pub fn is_call(text: &str) -> bool {
    text.starts_with("States.")
}

/// Random numbers given to the interpreter from outside, seeded at admission.
#[derive(Clone, Debug)]
pub struct Random(u64);
impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }
    pub fn next_u64(&mut self) -> u64 {
        todo!("splitmix64")
    }
    /// [0, 1)
    pub fn next_f64(&mut self) -> f64 {
        todo!()
    }
}

/// Evaluates one function. The error is AWS's cause text for `States.IntrinsicFailure` (without the "An error occurred while executing…" prefix).
pub fn call(
    function: Function,
    text: &str,
    arguments: &[Val],
    doc: &mut Doc,
    constants: &Doc,
    random: &mut Random,
) -> Result<Val, String> {
    todo!()
}
