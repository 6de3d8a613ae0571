//! Paths: [`Path`] reads, [`ReferencePath`] names the one place to write.
//!
//! The semantics are Jayway's JsonPath (the Java library that AWS uses), not RFC 9535. Both types are compiled once from
//! their text and are immutable afterwards; what they know of the world is [`crate::value`] alone.
//!
//! - `mod.rs`: the types and the limits.
//! - `parse.rs`, `parse_filter.rs`, `cursor.rs`: text to steps.
//! - `eval.rs`: steps over values; the definite path is the hottest code of the engine.
//! - `filter.rs`: `[?(…)]` over one value, `item.rs`: what stands on either side of an operator.
//! - `function.rs`: `.length()` and its siblings.
//! - `java.rs`: values as `toString` of the Java library prints them, for messages and `States.Format`.

mod cursor;
mod eval;
mod filter;
mod function;
mod item;
pub(crate) mod java;
mod parse;
mod parse_filter;
mod reference;

pub use reference::ReferencePath;

use crate::value::{Doc, Name, Val, Values};
use filter::{Filter, Literal};
use std::fmt;

/// The longest text of a path.
pub const PATH_BYTES_MAX: usize = 16 * 1024;
/// How deep groups, negations, paths and array literals may nest in a filter.
pub const FILTER_DEPTH_MAX: usize = 32;
/// The largest compiled form of one regular expression.
pub const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// How many values one evaluation may look at: `$..*..*..*` over a large document ends here.
pub const VISITS_MAX: usize = 10_000_000;
/// How many values a path may match.
pub const MATCHES_MAX: usize = 1_000_000;

/// What a path starts from.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Root {
    /// `$`
    Input,
    /// `$$`
    Context,
    /// `$name`
    Variable(Box<str>),
}

/// A compiled read path.
///
/// ```
/// use quickstep::path::Path;
/// use quickstep::value::{Doc, Values};
///
/// let (mut doc, constants) = (Doc::new(), Doc::new());
/// let input = doc.ingest(br#"{"orders": [{"id": 7}, {"id": 8}]}"#)?;
/// let definite = Path::parse("$.orders[-1].id")?;
/// let all = Path::parse("$.orders[?(@.id > 6)].id")?;
///
/// let last = definite.eval(&mut doc, &constants, input)?;
/// let ids = all.eval(&mut doc, &constants, input)?;
/// let values = Values { doc: &doc, constants: &constants };
/// assert_eq!((values.to_json(last), values.to_json(ids)), ("8".into(), "[7,8]".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    root: Root,
    steps: Steps,
    text: Box<str>,
}

/// One step of a definite path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Segment {
    /// `.name`
    Child(Name),
    /// `[0]`; a negative index counts from the end.
    Index(i64),
}

/// Where and why a text is not a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// Byte offset in the path's text.
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

/// Why a path found nothing; the text is Jayway's own ("No results for path: $['x']", "Missing property in path $['no']", …).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotFound {
    /// The sentence, without a prefix that names the field or the path.
    pub message: String,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NotFound {}

/// The steps of a path, split by what evaluation has to do.
#[derive(Clone, PartialEq, Debug)]
enum Steps {
    /// Children and indexes only: at most one value, found without an allocation.
    Definite(Box<[Segment]>),
    /// At least one step of another kind.
    General(Box<[Step]>),
}

/// One step of any path.
#[derive(Clone, PartialEq, Debug)]
enum Step {
    /// `.name` or `[0]`.
    Segment(Segment),
    /// `['a','b']`: at the end of a path the members merged into one object, elsewhere each of them in turn.
    Names(Box<[Name]>),
    /// `[0,2]`
    Indexes(Box<[i64]>),
    /// `[1:3]`, `[1:]`, `[:3]`; never both absent.
    Slice { from: Option<i64>, to: Option<i64> },
    /// `.*`, `[*]`
    Wildcard,
    /// `..`: every object and array below and the value itself, outermost first.
    Descend,
    /// `[?(…)]`
    Filter(Filter),
    /// `.length()`; last step only.
    Function(Function, Box<[FunctionArgument]>),
}

/// The functions that may end a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Function {
    Length,
    Min,
    Max,
    Avg,
    Sum,
    Stddev,
    Keys,
    Concat,
    Append,
    First,
    Last,
    Index,
}

/// An argument of a function that ends a path.
#[derive(Clone, PartialEq, Debug)]
enum FunctionArgument {
    Literal(Literal),
    Path(FilterPath),
}

/// A path inside a filter or inside a function's argument list.
#[derive(Clone, PartialEq, Debug)]
struct FilterPath {
    origin: Origin,
    steps: Steps,
}

/// What a path inside a filter starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// `@`
    Current,
    /// `$`
    Root,
}

impl Path {
    /// Compiles a whole text.
    ///
    /// # Errors
    ///
    /// If the text is not a path or exceeds one of this module's limits.
    pub fn parse(text: &str) -> Result<Path, SyntaxError> {
        let (path, end) = Path::parse_prefix(text)?;
        if end == text.len() {
            return Ok(path);
        }
        let stray = text[end..].chars().next().unwrap_or(' ');
        let message = if stray == ' ' {
            "a name with spaces must stand in brackets and quotes: ['my name']".to_owned()
        } else {
            format!("unexpected '{stray}'")
        };
        Err(SyntaxError {
            offset: end,
            message,
        })
    }

    /// Compiles the path with which `text` starts and tells where it ends.
    pub(crate) fn parse_prefix(text: &str) -> Result<(Path, usize), SyntaxError> {
        parse::path(text)
    }

    /// What the path starts from.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The path as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True when it names at most one value: only children and indexes.
    #[must_use]
    #[inline]
    pub fn is_definite(&self) -> bool {
        self.segments().is_some()
    }

    /// The steps of a definite path, None for others.
    #[must_use]
    #[inline]
    pub fn segments(&self) -> Option<&[Segment]> {
        match &self.steps {
            Steps::Definite(segments) => Some(segments),
            Steps::General(_) => None,
        }
    }

    /// Definite path: the value, no message built when it is missing. Always None for an indefinite path.
    #[must_use]
    #[inline]
    pub fn find(&self, values: Values<'_>, root: Val) -> Option<Val> {
        eval::find(values, self.segments()?, root)
    }

    /// Any path; an indefinite one yields an array (pushed to `doc`), empty if nothing matches.
    ///
    /// # Errors
    ///
    /// If a definite path names nothing, if a function cannot be applied, or if a limit of this module is exceeded.
    #[inline]
    pub fn eval(&self, doc: &mut Doc, constants: &Doc, root: Val) -> Result<Val, NotFound> {
        match &self.steps {
            Steps::Definite(segments) => {
                let values = Values { doc, constants };
                match eval::find(values, segments, root) {
                    Some(found) => Ok(found),
                    None => Err(eval::explain(values, segments, root)),
                }
            }
            Steps::General(steps) => eval::general(steps, doc, constants, root),
        }
    }
}

/// The element at `index`, which counts from the end if it is negative.
#[inline]
pub(crate) fn index(values: Values<'_>, index: i64, array: Val) -> Option<Val> {
    eval::element(values, index, array)
}

#[cfg(test)]
mod testing {
    use super::Path;
    use crate::value::{Doc, Values};

    /// What the path gives for `input`, as JSON, or the message of its failure.
    pub(super) fn eval(path: &str, input: &str) -> Result<String, String> {
        let constants = Doc::new();
        let mut doc = Doc::new();
        let input = doc.ingest(input.as_bytes()).unwrap();
        let parsed = Path::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let values = Values {
            doc: &doc,
            constants: &constants,
        };
        let found = parsed.find(values, input);
        let result = parsed.eval(&mut doc, &constants, input);
        if parsed.is_definite() {
            assert_eq!(found, result.as_ref().ok().copied(), "{path}");
        }
        let values = Values {
            doc: &doc,
            constants: &constants,
        };
        match result {
            Ok(v) => Ok(values.to_json(v)),
            Err(error) => Err(error.message),
        }
    }

    /// Checks a table of paths, inputs and outputs.
    pub(super) fn check(table: &[(&str, &str, &str)]) {
        for (path, input, output) in table {
            assert_eq!(
                eval(path, input).as_deref(),
                Ok(*output),
                "{path} of {input}"
            );
        }
    }

    /// Checks a table of paths, inputs and messages.
    pub(super) fn check_failures(table: &[(&str, &str, &str)]) {
        for (path, input, message) in table {
            assert_eq!(
                eval(path, input).unwrap_err(),
                *message,
                "{path} of {input}"
            );
        }
    }
}
