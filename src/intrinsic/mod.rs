//! Intrinsic functions: `States.Format('{}', $.x)` and its 17 siblings.
//!
//! [`parse`] makes a [`Call`] of a text once; whoever runs it evaluates the arguments and gives them to [`call`].
//! Nothing here knows of states, and randomness comes in as [`Random`].
//!
//! - `parse.rs`: text to [`Call`].
//! - `array.rs`, `json.rs`, `math.rs`, `text.rs`, `encode.rs`: a file per family.
//! - `random.rs`: the generator, UUIDs.

mod array;
mod encode;
mod json;
mod math;
mod parse;
mod random;
mod text;

pub(crate) use encode::hash_text;
pub use parse::{is_call, parse};
pub use random::{JavaRandom, Random};
pub(crate) use text::Format;

use crate::path::Path;
use crate::value::{Doc, Kind, Val, Values};
use std::borrow::Cow;
use std::fmt;

/// How deep calls may nest, the outermost included.
pub const CALL_DEPTH_MAX: usize = 10;
/// The longest text of a call.
pub const CALL_BYTES_MAX: usize = 256 * 1024;

/// The largest argument, as JSON, that a function looks at, and the largest text that it makes. Far above any payload
/// that an execution may carry, it bounds what arguments that share their parts can unfold to.
pub const ARGUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

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

/// Evaluates one function of evaluated arguments. `text` is the call as written.
///
/// # Errors
///
/// AWS's cause text for `States.IntrinsicFailure`, without the prefix "An error occurred while executing the state …".
pub fn call(
    function: Function,
    text: &str,
    arguments: &[Val],
    doc: &mut Doc,
    constants: &Doc,
    random: &mut Random,
) -> Result<Val, String> {
    apply(function, arguments, doc, constants, random).map_err(|detail| failure(text, &detail))
}

/// The same for `States.Format` with a literal template, of which `arguments` are the others.
pub(crate) fn call_format(
    format: &Format,
    text: &str,
    arguments: &[Val],
    doc: &mut Doc,
    constants: &Doc,
) -> Result<Val, String> {
    let mut scope = Scope { doc, constants };
    let filled = check_sizes(&scope, arguments).and_then(|()| format.fill(&mut scope, arguments));
    filled.map_err(|detail| failure(text, &detail))
}

#[cold]
fn failure(text: &str, detail: &str) -> String {
    format!("The function '{text}' had the following error: {detail}")
}

#[inline(always)]
fn check_sizes(scope: &Scope<'_>, arguments: &[Val]) -> Result<(), String> {
    let values = scope.values();
    if arguments
        .iter()
        .any(|argument| values.size(*argument) > ARGUMENT_BYTES_MAX)
    {
        return Err(format!(
            "An argument is larger than {ARGUMENT_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

/// The same; the error is the detail alone.
fn apply(
    function: Function,
    arguments: &[Val],
    doc: &mut Doc,
    constants: &Doc,
    random: &mut Random,
) -> Result<Val, String> {
    let mut scope = Scope { doc, constants };
    check_sizes(&scope, arguments)?;
    match (function, arguments) {
        (Function::Array, items) => Ok(scope.doc.push_array(constants, items)),
        (Function::ArrayPartition, &[array, size]) => array::partition(&mut scope, array, size),
        (Function::ArrayContains, &[array, item]) => array::contains(&scope, array, item),
        (Function::ArrayRange, &[first, last, step]) => array::range(&mut scope, first, last, step),
        (Function::ArrayGetItem, &[array, index]) => array::get_item(&scope, array, index),
        (Function::ArrayLength, &[array]) => array::length(&mut scope, array),
        (Function::ArrayUnique, &[array]) => array::unique(&mut scope, array),
        (Function::Base64Encode, &[data]) => encode::base64_encode(&mut scope, data),
        (Function::Base64Decode, &[data]) => encode::base64_decode(&mut scope, data),
        (Function::Hash, &[data, algorithm]) => encode::hash(&mut scope, data, algorithm),
        (Function::JsonMerge, &[first, second, deep]) => {
            json::merge(&mut scope, first, second, deep)
        }
        (Function::StringToJson, &[data]) => json::from_string(&mut scope, data),
        (Function::JsonToString, &[data]) => json::to_string(&mut scope, data),
        (Function::MathRandom, &[start, end]) => math::random(&mut scope, start, end, random),
        (Function::MathRandom, &[start, end, seed]) => {
            math::random_seeded(&mut scope, start, end, seed)
        }
        (Function::MathAdd, &[left, right]) => math::add(&mut scope, left, right),
        (Function::StringSplit, &[data, splitters]) => text::split(&mut scope, data, splitters),
        (Function::Uuid, &[]) => Ok(scope.doc.push_string(&random.uuid())),
        (Function::Format, &[template, ref rest @ ..]) => text::format(&mut scope, template, rest),
        (function, _) => Err(format!(
            "Invalid number of arguments in {}",
            function.name()
        )),
    }
}

/// What a function reads and writes.
struct Scope<'a> {
    doc: &'a mut Doc,
    constants: &'a Doc,
}

impl Scope<'_> {
    fn values(&self) -> Values<'_> {
        Values {
            doc: self.doc,
            constants: self.constants,
        }
    }

    fn array(&self, v: Val) -> Result<Val, String> {
        self.of_kind(v, Kind::Array, "an array")
    }

    fn object(&self, v: Val) -> Result<Val, String> {
        self.of_kind(v, Kind::Object, "an object")
    }

    fn of_kind(&self, v: Val, kind: Kind, wanted: &str) -> Result<Val, String> {
        if self.values().kind(v) == kind {
            Ok(v)
        } else {
            Err(self.wrong(v, wanted))
        }
    }

    fn string(&self, v: Val) -> Result<Cow<'_, str>, String> {
        self.values()
            .string(v)
            .ok_or_else(|| self.wrong(v, "a string"))
    }

    /// A number, rounded half up to an integer.
    fn rounded(&self, v: Val) -> Result<i64, String> {
        if let Some(integer) = self.values().as_i64(v) {
            return Ok(integer);
        }
        let Some(number) = self.values().as_f64(v) else {
            return Err(self.wrong(v, "a number"));
        };
        math::round(number).ok_or_else(|| format!("The number {} is too large", self.shown(v)))
    }

    /// That `v` is not what it should be.
    fn wrong(&self, v: Val, wanted: &str) -> String {
        format!("The argument must be {wanted} but was: {}", self.shown(v))
    }

    /// A value for a message, unless it is large.
    fn shown(&self, v: Val) -> String {
        const SHOWN_BYTES_MAX: usize = 1_000;
        if self.values().size(v) <= SHOWN_BYTES_MAX {
            self.values().to_json(v)
        } else {
            "(too large to show)".to_owned()
        }
    }
}

#[cfg(test)]
mod testing {
    use super::{Argument, Call, Random, call, parse};
    use crate::path::Root;
    use crate::value::{Doc, Val, Values};

    /// What the call gives for `input`, as JSON, or the detail of its failure; `$$` and variables read the input too.
    pub(super) fn run(text: &str, input: &str) -> Result<String, String> {
        let constants = Doc::new();
        let mut doc = Doc::new();
        let input = doc.ingest(input.as_bytes()).unwrap();
        let parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let result = evaluate(&parsed, &mut doc, &constants, input)?;
        let values = Values {
            doc: &doc,
            constants: &constants,
        };
        Ok(values.to_json(result))
    }

    fn evaluate(parsed: &Call, doc: &mut Doc, constants: &Doc, input: Val) -> Result<Val, String> {
        let mut arguments = Vec::new();
        for argument in &parsed.arguments {
            arguments.push(match argument {
                Argument::Path(path) => {
                    assert!(matches!(path.root(), Root::Input));
                    path.eval(doc, constants, input).map_err(|e| e.message)?
                }
                Argument::String(text) => doc.push_string(text),
                Argument::Number(text) => doc.push_number_text(text),
                Argument::Bool(value) => Val::bool(*value),
                Argument::Null => Val::NULL,
                Argument::Call(inner) => evaluate(inner, doc, constants, input)?,
            });
        }
        let mut random = Random::new(1);
        call(
            parsed.function,
            &parsed.text,
            &arguments,
            doc,
            constants,
            &mut random,
        )
    }

    /// Checks a table of calls, inputs and outputs. An output that starts with `!` is a part of the failure.
    pub(super) fn check(table: &[(&str, &str, &str)]) {
        for (text, input, output) in table {
            match (run(text, input), output.strip_prefix('!')) {
                (Ok(found), None) => assert_eq!(found, *output, "{text} of {input}"),
                (Err(failure), Some(part)) => {
                    assert!(
                        failure.starts_with("The function 'States.") && failure.contains(part),
                        "{text} of {input}: {failure}"
                    );
                }
                (found, _) => panic!("{text} of {input}: {found:?}, not {output}"),
            }
        }
    }
}
