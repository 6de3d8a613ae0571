//! What a check reports: the `Diagnostic`, its stable codes, and the sink that gathers and orders them.

use std::fmt::{self, Write as _};
use std::ops::Range;

use super::json::Span;
use super::model::Location;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Severity {
    /// The definition cannot be run.
    Error,
    /// It can, but this is hardly what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// What kind of problem it is. The text of a code never changes and is never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The text is not JSON. AWS's code.
    InvalidJsonDescription,
    /// A field is missing, unknown, of the wrong type or out of range. AWS's code.
    SchemaValidationFailed,
    /// A transition names no state of its scope, or no transition names a state. AWS's code.
    MissingTransitionTarget,
    /// No state of a scope ends it. AWS's code.
    MissingEndState,
    /// Two states of the machine share a name. AWS's code.
    DuplicateStateName,
    /// A state's name is empty or too long. AWS's code.
    InvalidStateName,
    /// Two distributed Maps share a label. AWS's code.
    DuplicateLabelName,
    /// A label is too long or holds a forbidden character. AWS's code.
    InvalidLabelName,
    /// Arrays and objects nest too deeply. AWS's code.
    TooDeeplyNested,
    /// The text is longer than 1,048,576 bytes.
    DefinitionTooLarge,
    /// There are more problems than are shown.
    TooManyProblems,
    /// An object has two members of one name.
    DuplicateField,
    /// A JSONata expression does not parse. AWS's code.
    InvalidJsonataExpression,
    /// A JSONata expression names what is not there where it stands. AWS's code.
    UnsupportedJsonataExpression,
    /// The definition is valid, but distributed Maps are not supported yet.
    DistributedMapNotSupported,
    /// A value looks like a path or a call, but its field's name does not end with `.$`. AWS's code, a warning.
    NoDollar,
    /// A value looks like a path, but its field's name does not end with `Path`. AWS's code, a warning.
    NoPath,
    /// A field is allowed where it stands, but nothing heeds it. A warning.
    FieldHasNoEffect,
    /// A path in the `Result` of a Pass state stays as it is. AWS's code, a warning.
    PassResultIsStatic,
    /// A task names an action of `aws-sdk:…` that there is not. A warning.
    UnknownAction,
}

impl Code {
    /// The code as it is printed: `MISSING_TRANSITION_TARGET`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::InvalidJsonDescription => "INVALID_JSON_DESCRIPTION",
            Code::SchemaValidationFailed => "SCHEMA_VALIDATION_FAILED",
            Code::MissingTransitionTarget => "MISSING_TRANSITION_TARGET",
            Code::MissingEndState => "MISSING_END_STATE",
            Code::DuplicateStateName => "DUPLICATE_STATE_NAME",
            Code::InvalidStateName => "INVALID_STATE_NAME",
            Code::DuplicateLabelName => "DUPLICATE_LABEL_NAME",
            Code::InvalidLabelName => "INVALID_LABEL_NAME",
            Code::TooDeeplyNested => "TOO_DEEPLY_NESTED",
            Code::DefinitionTooLarge => "DEFINITION_TOO_LARGE",
            Code::TooManyProblems => "TOO_MANY_PROBLEMS",
            Code::DuplicateField => "DUPLICATE_FIELD",
            Code::InvalidJsonataExpression => "INVALID_JSONATA_EXPRESSION",
            Code::UnsupportedJsonataExpression => "UNSUPPORTED_JSONATA_EXPRESSION",
            Code::DistributedMapNotSupported => "DISTRIBUTED_MAP_NOT_SUPPORTED",
            Code::NoDollar => "NO_DOLLAR",
            Code::NoPath => "NO_PATH",
            Code::FieldHasNoEffect => "FIELD_HAS_NO_EFFECT",
            Code::PassResultIsStatic => "PASS_RESULT_IS_STATIC",
            Code::UnknownAction => "UNKNOWN_ACTION",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One problem of a definition, and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The kind of problem.
    pub code: Code,
    /// What is wrong: AWS's own sentence where it is known.
    pub message: String,
    /// AWS's `location`: `/States/A/Next`, `/States/C/Choices[0]/Next`, `/` for the whole machine. For an unknown
    /// or missing field it is the object, not the field. Empty where AWS gives none.
    pub pointer: String,
    /// Line of the first character, from 1.
    pub line: u32,
    /// Column of the first character, from 1, in characters.
    pub column: u32,
    /// The bytes of the text that the problem is about, often narrower than the pointer.
    pub span: Range<usize>,
    /// What to do instead: ``did you mean `Next`?``
    pub suggestion: Option<String>,
}

/// One line: ``error[MISSING_TRANSITION_TARGET] /States/A/Next (3:14): Missing 'Next' target: B; did you mean `b`?``
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.severity.as_str(), self.code)?;
        if !self.pointer.is_empty() {
            write!(f, " {}", self.pointer)?;
        }
        write!(f, " ({}:{}): {}", self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// The message of AWS's `InvalidDefinition` exception for the errors among `diagnostics`.
#[must_use]
pub fn aws_message(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::from("Invalid State Machine Definition: '");
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error);
    for (i, error) in errors.enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        let location = match error.pointer.as_str() {
            "" => "null",
            pointer => pointer,
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{separator}{}: {} at {location}",
            error.code, error.message
        );
    }
    text.push('\'');
    text
}

/// Bytes between two places whose line and column are known.
const CHECKPOINT_BYTES: usize = 1024;

/// Finds line and column of a byte in bounded time, however long the lines are.
#[derive(Debug)]
pub(super) struct LineIndex<'t> {
    text: &'t str,
    /// (byte, line, column) at about every `CHECKPOINT_BYTES`.
    checkpoints: Vec<(usize, u32, u32)>,
}

impl<'t> LineIndex<'t> {
    pub(super) fn new(text: &'t str) -> LineIndex<'t> {
        let mut checkpoints = vec![(0, 1, 1)];
        let (mut line, mut column, mut last) = (1, 1, 0);
        for (at, c) in text.char_indices() {
            if at - last >= CHECKPOINT_BYTES {
                checkpoints.push((at, line, column));
                last = at;
            }
            (line, column) = after(c, line, column);
        }
        LineIndex { text, checkpoints }
    }

    pub(super) fn find(&self, byte: usize) -> (u32, u32) {
        let next = self.checkpoints.partition_point(|(at, _, _)| *at <= byte);
        let (start, mut line, mut column) = self.checkpoints[next - 1];
        for (at, c) in self.text[start..].char_indices() {
            if start + at >= byte {
                break;
            }
            (line, column) = after(c, line, column);
        }
        (line, column)
    }
}

fn after(c: char, line: u32, column: u32) -> (u32, u32) {
    if c == '\n' {
        (line + 1, 1)
    } else {
        (line, column + 1)
    }
}

/// How many diagnostics one definition gets: a pointer can be long, and a megabyte has room for many mistakes.
pub(super) const DIAGNOSTICS_MAX: usize = 10_000;

/// Gathers diagnostics while a text is read.
#[derive(Debug)]
pub(super) struct Sink<'t> {
    lines: LineIndex<'t>,
    diagnostics: Vec<Diagnostic>,
    /// The newest of those past [`DIAGNOSTICS_MAX`], not counted yet: it can still become a warning.
    spare: Option<Diagnostic>,
    errors_dropped: usize,
    warnings_dropped: usize,
}

impl<'t> Sink<'t> {
    pub(super) fn new(text: &'t str) -> Sink<'t> {
        Sink {
            lines: LineIndex::new(text),
            diagnostics: Vec::new(),
            spare: None,
            errors_dropped: 0,
            warnings_dropped: 0,
        }
    }

    pub(super) fn location(&self, span: Span) -> Location {
        let (line, column) = self.lines.find(span.start as usize);
        Location {
            start: span.start,
            end: span.end,
            line,
            column,
        }
    }

    /// Adds an error; what it returns can be given a suggestion or made a warning.
    pub(super) fn error(
        &mut self,
        code: Code,
        span: Span,
        pointer: String,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let location = self.location(span);
        let diagnostic = Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            pointer,
            line: location.line,
            column: location.column,
            span: span.range(),
            suggestion: None,
        };
        if self.diagnostics.len() >= DIAGNOSTICS_MAX {
            self.drop_spare();
            return self.spare.insert(diagnostic);
        }
        self.diagnostics.push(diagnostic);
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last]
    }

    fn drop_spare(&mut self) {
        match self.spare.take().map(|d| d.severity) {
            Some(Severity::Error) => self.errors_dropped += 1,
            Some(Severity::Warning) => self.warnings_dropped += 1,
            None => {}
        }
    }

    /// All of them in the order of the text; those without a place come last, as AWS has it.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics
            .sort_by_key(|d| (d.pointer.is_empty(), d.span.start));
        self.drop_spare();
        let dropped = self.errors_dropped + self.warnings_dropped;
        if dropped > 0 {
            let severity = match self.errors_dropped {
                0 => Severity::Warning,
                _ => Severity::Error,
            };
            self.diagnostics.push(Diagnostic {
                severity,
                code: Code::TooManyProblems,
                message: format!("There are {dropped} more problems"),
                pointer: String::new(),
                line: 1,
                column: 1,
                span: 0..0,
                suggestion: None,
            });
        }
        self.diagnostics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::narrow;

    #[test]
    fn lines_and_columns_count_characters() {
        let long = "é".repeat(3 * CHECKPOINT_BYTES);
        let text = format!("a\nbé{long}x\ny");
        let index = LineIndex::new(&text);
        let x = text.find('x').unwrap();
        assert_eq!(index.find(0), (1, 1));
        assert_eq!(index.find(2), (2, 1));
        assert_eq!(index.find(3), (2, 2));
        let column = narrow(3 * CHECKPOINT_BYTES) + 3;
        assert_eq!(index.find(x), (2, column));
        assert_eq!(index.find(x + 2), (3, 1));
        assert_eq!(index.find(text.len()), (3, 2));
    }

    #[test]
    fn the_number_of_diagnostics_is_bounded() {
        for (severity, expected) in [(0, Severity::Warning), (1, Severity::Error)] {
            let mut sink = Sink::new("{}");
            for i in 0..DIAGNOSTICS_MAX + 3 {
                let diagnostic = sink.error(Code::NoPath, Span::new(0, 1), "/".to_owned(), "no");
                if i != DIAGNOSTICS_MAX + severity || severity == 0 {
                    diagnostic.severity = Severity::Warning;
                }
            }
            let diagnostics = sink.finish();
            let last = &diagnostics[DIAGNOSTICS_MAX];
            assert_eq!(diagnostics.len(), DIAGNOSTICS_MAX + 1);
            assert_eq!(last.message, "There are 3 more problems");
            assert_eq!(
                (last.code, last.severity),
                (Code::TooManyProblems, expected)
            );
        }
    }

    #[test]
    fn aws_form_and_our_own() {
        let mut sink = Sink::new("{\n}");
        sink.error(
            Code::MissingEndState,
            Span::new(0, 1),
            String::new(),
            "Workflow has no terminal state",
        );
        sink.error(
            Code::SchemaValidationFailed,
            Span::new(2, 3),
            "/".to_owned(),
            "These fields are required: [States, StartAt]",
        )
        .suggestion = Some("add them".to_owned());
        let diagnostics = sink.finish();
        assert_eq!(
            aws_message(&diagnostics),
            "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: These fields are required: [States, StartAt] at /, \
             MISSING_END_STATE: Workflow has no terminal state at null'"
        );
        assert_eq!(
            diagnostics[0].to_string(),
            "error[SCHEMA_VALIDATION_FAILED] / (2:1): These fields are required: [States, StartAt]; add them"
        );
    }
}
