//! Intrinsic functions: `States.Format('{}', $.x)` and its 17 siblings.
//!
//! [`parse`] makes a [`Call`] of a text once; whoever runs it evaluates the arguments and gives them to [`call`].
//! Nothing here knows of states, and randomness comes in as [`Random`].
//!
//! - `parse.rs`: text to [`Call`].
//! - `array.rs`, `json.rs`, `math.rs`, `text.rs`, `encode.rs`: a file per family.
//! - `random.rs`: the generator, UUIDs.

mod parse;

pub use parse::{is_call, parse};

use crate::path::Path;
use std::fmt;

/// How deep calls may nest, the outermost included.
pub const CALL_DEPTH_MAX: usize = 10;
/// The longest text of a call.
pub const CALL_BYTES_MAX: usize = 256 * 1024;

/// The 18 functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Function {
    /// `States.Array(…)`
    Array,
    /// `States.ArrayPartition(array, size)`
    ArrayPartition,
    /// `States.ArrayContains(array, value)`
    ArrayContains,
    /// `States.ArrayRange(first, last, step)`
    ArrayRange,
    /// `States.ArrayGetItem(array, index)`
    ArrayGetItem,
    /// `States.ArrayLength(array)`
    ArrayLength,
    /// `States.ArrayUnique(array)`
    ArrayUnique,
    /// `States.Base64Encode(string)`
    Base64Encode,
    /// `States.Base64Decode(string)`
    Base64Decode,
    /// `States.Hash(data, algorithm)`
    Hash,
    /// `States.JsonMerge(object, object, false)`
    JsonMerge,
    /// `States.StringToJson(string)`
    StringToJson,
    /// `States.JsonToString(value)`
    JsonToString,
    /// `States.MathRandom(start, end[, seed])`
    MathRandom,
    /// `States.MathAdd(number, number)`
    MathAdd,
    /// `States.StringSplit(string, characters)`
    StringSplit,
    /// `States.UUID()`
    Uuid,
    /// `States.Format(template, …)`
    Format,
}

impl Function {
    /// Every function, in the order of the enum.
    pub const ALL: [Function; 18] = [
        Function::Array,
        Function::ArrayPartition,
        Function::ArrayContains,
        Function::ArrayRange,
        Function::ArrayGetItem,
        Function::ArrayLength,
        Function::ArrayUnique,
        Function::Base64Encode,
        Function::Base64Decode,
        Function::Hash,
        Function::JsonMerge,
        Function::StringToJson,
        Function::JsonToString,
        Function::MathRandom,
        Function::MathAdd,
        Function::StringSplit,
        Function::Uuid,
        Function::Format,
    ];

    /// The name as it is written: `States.UUID`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Function::Array => "States.Array",
            Function::ArrayPartition => "States.ArrayPartition",
            Function::ArrayContains => "States.ArrayContains",
            Function::ArrayRange => "States.ArrayRange",
            Function::ArrayGetItem => "States.ArrayGetItem",
            Function::ArrayLength => "States.ArrayLength",
            Function::ArrayUnique => "States.ArrayUnique",
            Function::Base64Encode => "States.Base64Encode",
            Function::Base64Decode => "States.Base64Decode",
            Function::Hash => "States.Hash",
            Function::JsonMerge => "States.JsonMerge",
            Function::StringToJson => "States.StringToJson",
            Function::JsonToString => "States.JsonToString",
            Function::MathRandom => "States.MathRandom",
            Function::MathAdd => "States.MathAdd",
            Function::StringSplit => "States.StringSplit",
            Function::Uuid => "States.UUID",
            Function::Format => "States.Format",
        }
    }

    /// The function of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Function> {
        Function::ALL
            .into_iter()
            .find(|function| function.name() == name)
    }

    /// The least and the greatest number of arguments.
    #[must_use]
    pub fn argument_counts(self) -> (usize, usize) {
        match self {
            Function::Array => (0, usize::MAX),
            Function::Format => (1, usize::MAX),
            Function::Uuid => (0, 0),
            Function::ArrayLength
            | Function::ArrayUnique
            | Function::Base64Encode
            | Function::Base64Decode
            | Function::StringToJson
            | Function::JsonToString => (1, 1),
            Function::ArrayPartition
            | Function::ArrayContains
            | Function::ArrayGetItem
            | Function::Hash
            | Function::MathAdd
            | Function::StringSplit => (2, 2),
            Function::MathRandom => (2, 3),
            Function::ArrayRange | Function::JsonMerge => (3, 3),
        }
    }
}

/// A parsed call.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Which function.
    pub function: Function,
    /// Its arguments, not yet evaluated.
    pub arguments: Vec<Argument>,
    /// The call as written.
    pub text: Box<str>,
}

/// One argument of a call.
#[derive(Clone, PartialEq, Debug)]
pub enum Argument {
    /// `$.a`, `$$.b`, `$c`
    Path(Path),
    /// Decoded text; in Format's template (its first argument) the escapes `\{`, `\}` and `\\` are still in place.
    String(Box<str>),
    /// The text of a JSON number.
    Number(Box<str>),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
    /// A call inside this call.
    Call(Box<Call>),
}

/// Where and why a text is not a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// Byte offset in the text.
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.message, self.offset)
    }
}

impl std::error::Error for SyntaxError {}
