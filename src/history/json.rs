//! Events as JSON: as `GetExecutionHistory` returns them, and as AWS's logs hold them.

use super::event::{Details, HistoryEvent};
use super::event_type::EventType;
use super::fields::{Field, Fields};
use crate::value::{Val, Values, escape, push_escaped};

/// Most bytes of an escaped input or output in a log (AWS's guide, "Logging using CloudWatch Logs"); what is longer is
/// cut, and marked as `truncated`. The execution itself goes on with all of it.
pub const LOG_DOCUMENT_BYTES_MAX: usize = 248 * 1024;

/// What a log line says besides the event itself.
#[derive(Clone, Copy, Debug)]
pub struct LogContext<'a> {
    /// ARN of the execution.
    pub execution_arn: &'a str,
    /// `includeExecutionData`: whether inputs, outputs and parameters are in the log.
    pub include_execution_data: bool,
}

impl HistoryEvent<'_> {
    /// Appends the event as one member of `GetExecutionHistory`'s `events`.
    pub fn write_history(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object.raw("timestamp", seconds(self.timestamp.millis()).as_bytes());
        object.string("type", self.details.event_type().as_str());
        object.number("id", self.id);
        object.number("previousEventId", self.previous_id);
        if let Some(name) = details_member(&self.details) {
            object.object(name, |details| {
                self.write_details(true, usize::MAX, details)
            });
        }
        object.end();
    }

    /// Appends the event as a line of an execution's log, without the line's end (AWS's guide, "Logging using
    /// CloudWatch Logs").
    pub fn write_log(&self, context: &LogContext<'_>, out: &mut Vec<u8>) {
        write_log_line(
            out,
            &LogLine {
                id: self.id,
                previous_id: self.previous_id,
                millis: self.timestamp.millis(),
                event_type: self.details.event_type(),
                escaped_arn: escape(context.execution_arn).as_bytes(),
            },
            |details| {
                let data = context.include_execution_data;
                self.write_details(data, LOG_DOCUMENT_BYTES_MAX, details);
            },
        );
    }

    fn write_details(&self, data: bool, bytes_max: usize, object: &mut Object<'_>) {
        let mut fields = JsonFields {
            object,
            values: self.values,
            bytes_max,
        };
        self.tell(data, &mut fields);
    }
}

/// What a line of a log says of any event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLine<'a> {
    pub(crate) id: u64,
    pub(crate) previous_id: u64,
    pub(crate) millis: i64,
    pub(crate) event_type: EventType,
    /// As it stands in a JSON string.
    pub(crate) escaped_arn: &'a [u8],
}

/// Appends a line of a log, without the line's end. `details` writes what belongs to the event.
pub(crate) fn write_log_line(
    out: &mut Vec<u8>,
    line: &LogLine<'_>,
    details: impl FnOnce(&mut Object<'_>),
) {
    let mut object = Object::new(out);
    object.number_string("id", line.id.cast_signed());
    object.string("type", line.event_type.as_str());
    object.object("details", details);
    object.number_string("previous_event_id", line.previous_id.cast_signed());
    object.number_string("event_timestamp", line.millis);
    object.escaped_string("execution_arn", line.escaped_arn);
    object.string("redrive_count", "0");
    object.end();
}

/// Seconds with their milliseconds, as AWS's JSON protocol writes times.
fn seconds(millis: i64) -> String {
    format!(
        "{}.{:03}",
        millis.div_euclid(1_000),
        millis.rem_euclid(1_000)
    )
}

/// The member of a `HistoryEvent` that holds the details of its type; none for types that have none.
fn details_member(details: &Details<'_>) -> Option<&'static str> {
    Some(match details {
        Details::ExecutionStarted { .. } => "executionStartedEventDetails",
        Details::ExecutionSucceeded { .. } => "executionSucceededEventDetails",
        Details::ExecutionFailed { .. } => "executionFailedEventDetails",
        Details::ExecutionTimedOut { .. } => "executionTimedOutEventDetails",
        Details::ExecutionAborted { .. } => "executionAbortedEventDetails",
        Details::ExecutionRedriven { .. } => "executionRedrivenEventDetails",
        Details::StateEntered { .. } => "stateEnteredEventDetails",
        Details::StateExited { .. } => "stateExitedEventDetails",
        Details::LambdaFunctionScheduled { .. } => "lambdaFunctionScheduledEventDetails",
        Details::LambdaFunctionSucceeded { .. } => "lambdaFunctionSucceededEventDetails",
        Details::LambdaFunctionFailed { .. } => "lambdaFunctionFailedEventDetails",
        Details::LambdaFunctionTimedOut { .. } => "lambdaFunctionTimedOutEventDetails",
        Details::ActivityScheduled { .. } => "activityScheduledEventDetails",
        Details::ActivityStarted { .. } => "activityStartedEventDetails",
        Details::ActivitySucceeded { .. } => "activitySucceededEventDetails",
        Details::ActivityFailed { .. } => "activityFailedEventDetails",
        Details::ActivityTimedOut { .. } => "activityTimedOutEventDetails",
        Details::TaskScheduled { .. } => "taskScheduledEventDetails",
        Details::TaskStarted { .. } => "taskStartedEventDetails",
        Details::TaskSubmitted { .. } => "taskSubmittedEventDetails",
        Details::TaskSucceeded { .. } => "taskSucceededEventDetails",
        Details::TaskFailed { .. } => "taskFailedEventDetails",
        Details::TaskTimedOut { .. } => "taskTimedOutEventDetails",
        Details::TaskSubmitFailed { .. } => "taskSubmitFailedEventDetails",
        Details::EvaluationFailed { .. } => "evaluationFailedEventDetails",
        Details::MapStateStarted { .. } => "mapStateStartedEventDetails",
        Details::MapIterationStarted { .. } => "mapIterationStartedEventDetails",
        Details::MapIterationSucceeded { .. } => "mapIterationSucceededEventDetails",
        Details::MapIterationFailed { .. } => "mapIterationFailedEventDetails",
        Details::MapIterationAborted { .. } => "mapIterationAbortedEventDetails",
        Details::StateAborted { .. }
        | Details::LambdaFunctionStarted
        | Details::ParallelStateStarted
        | Details::ParallelStateSucceeded
        | Details::ParallelStateFailed
        | Details::MapStateSucceeded
        | Details::MapStateFailed => return None,
    })
}

/// Writes details as they are told.
struct JsonFields<'o, 'v> {
    object: &'o mut Object<'v>,
    values: Values<'o>,
    /// Most bytes of an escaped document.
    bytes_max: usize,
}

impl Fields for JsonFields<'_, '_> {
    fn text(&mut self, field: Field, text: &str) {
        self.object.string(field.name(), text);
    }

    fn number(&mut self, field: Field, number: u64) {
        self.object.number(field.name(), number);
    }

    fn document(&mut self, field: Field, val: Val) {
        self.original(field, &self.values.to_json(val));
    }

    fn original(&mut self, field: Field, text: &str) {
        let bytes_max = self.bytes_max;
        self.object.document(field, bytes_max, |out| {
            push_escaped(text.as_bytes(), out);
        });
    }

    fn variables(&mut self, variables: &[(&str, Val)]) {
        let mut texts = Variables::new(self.object, self.bytes_max);
        for &(name, val) in variables {
            let text = self.values.to_json(val);
            texts.variable(name.as_bytes(), |out| push_escaped(text.as_bytes(), out));
        }
        texts.end();
    }

    fn credentials(&mut self, role_arn: Option<&str>) {
        self.object.credentials(role_arn.map(str::as_bytes));
    }
}

/// A JSON object that is being written.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Object<'a> {
        Object {
            out,
            separator: b'{',
        }
    }

    fn name(&mut self, name: &[u8]) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        push_escaped(name, self.out);
        self.out.extend_from_slice(b"\":");
    }

    /// A member whose name needs no escapes and whose value is JSON.
    pub(crate) fn raw(&mut self, name: &'static str, json: &[u8]) {
        self.known_name(name);
        self.out.extend_from_slice(json);
    }

    fn known_name(&mut self, name: &'static str) {
        self.out.push(self.separator);
        self.separator = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(crate) fn string(&mut self, name: &'static str, text: impl AsRef<[u8]>) {
        self.known_name(name);
        self.out.push(b'"');
        push_escaped(text.as_ref(), self.out);
        self.out.push(b'"');
    }

    fn escaped_string(&mut self, name: &'static str, escaped: &[u8]) {
        self.known_name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(escaped);
        self.out.push(b'"');
    }

    pub(crate) fn number(&mut self, name: &'static str, number: u64) {
        self.raw(name, itoa::Buffer::new().format(number).as_bytes());
    }

    /// A number in a string, as AWS's logs have ids and times.
    pub(crate) fn number_string(&mut self, name: &'static str, number: i64) {
        self.escaped_string(name, itoa::Buffer::new().format(number).as_bytes());
    }

    pub(crate) fn object(&mut self, name: &'static str, write: impl FnOnce(&mut Object<'_>)) {
        self.known_name(name);
        let mut inner = Object::new(self.out);
        write(&mut inner);
        inner.end();
    }

    pub(crate) fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    /// A document as JSON text in a string, and its `…Details`. `write` appends the escaped text, of which at most
    /// `bytes_max` bytes stay. Returns whether it was cut.
    pub(crate) fn document(
        &mut self,
        field: Field,
        bytes_max: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        self.known_name(field.name());
        self.out.push(b'"');
        let start = self.out.len();
        write(self.out);
        let truncated = self.out.len() - start > bytes_max;
        if truncated {
            cut(self.out, start, bytes_max);
        }
        self.out.push(b'"');
        if let Some(name) = field.details_name() {
            self.raw(name, truncated_json(truncated));
        }
        truncated
    }

    pub(crate) fn credentials(&mut self, role_arn: Option<&[u8]>) {
        self.object(Field::TaskCredentials.name(), |member| {
            if let Some(role_arn) = role_arn {
                member.string("roleArn", role_arn);
            }
        });
    }
}

/// The variables that a state has set, and their details.
pub(crate) struct Variables<'o, 'a> {
    object: &'o mut Object<'a>,
    separator: u8,
    bytes_left: usize,
    truncated: bool,
}

impl<'o, 'a> Variables<'o, 'a> {
    /// At most `bytes_max` bytes of escaped text stay, of all variables together.
    pub(crate) fn new(object: &'o mut Object<'a>, bytes_max: usize) -> Variables<'o, 'a> {
        object.known_name(Field::AssignedVariables.name());
        Variables {
            object,
            separator: b'{',
            bytes_left: bytes_max,
            truncated: false,
        }
    }

    pub(crate) fn variable(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let mut variables = Object {
            out: self.object.out,
            separator: self.separator,
        };
        variables.name(name);
        self.separator = variables.separator;
        let out = &mut *self.object.out;
        out.push(b'"');
        let start = out.len();
        write(out);
        if out.len() - start > self.bytes_left {
            cut(out, start, self.bytes_left);
            self.truncated = true;
        }
        self.bytes_left -= out.len() - start;
        out.push(b'"');
    }

    pub(crate) fn end(self) {
        let variables = Object {
            out: self.object.out,
            separator: self.separator,
        };
        variables.end();
        self.object
            .raw("assignedVariablesDetails", truncated_json(self.truncated));
    }
}

const fn truncated_json(truncated: bool) -> &'static [u8] {
    match truncated {
        true => br#"{"truncated":true}"#,
        false => br#"{"truncated":false}"#,
    }
}

/// Keeps at most `bytes_max` bytes of the escaped text from `start` on, and no half of a character or of an escape.
fn cut(out: &mut Vec<u8>, start: usize, bytes_max: usize) {
    let mut end = start;
    while let Some(byte) = out.get(end) {
        let len = match byte {
            b'\\' if out.get(end + 1) == Some(&b'u') => 6,
            b'\\' => 2,
            0..0x80 => 1,
            0x80..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0.. => 4,
        };
        if end + len - start > bytes_max {
            break;
        }
        end += len;
    }
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, bytes_max, expected) in [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("a\"b", 2, "a"),
            ("a\"b", 3, "a\\\""),
            ("a\u{1}b", 6, "a"),
            ("a\u{1}b", 7, "a\\u0001"),
            ("aéb", 2, "a"),
            ("a€b", 3, "a"),
            ("a€b", 4, "a€"),
            ("😀", 3, ""),
            ("😀", 0, ""),
        ] {
            let mut out = b"before".to_vec();
            push_escaped(text.as_bytes(), &mut out);
            cut(&mut out, 6, bytes_max);
            let out = String::from_utf8(out).expect("whole characters");
            assert_eq!(out, format!("before{expected}"), "{text} {bytes_max}");
        }
    }
}
