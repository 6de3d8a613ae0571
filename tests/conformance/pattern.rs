//! Recorded answers against ours: placeholders are patterns, everything else is compared as it stands.

use std::collections::BTreeMap;

use quickstep::stdx::Timestamp;
use serde_json::Value;

use super::difference::Differences;

/// Texts that the recording put in place of others without angle brackets; each stands for a whole string.
const BARE: &[&str] = &[
    "activity_arn",
    "bucket-name",
    "date",
    "datetime",
    "detail-type",
    "entered-time",
    "file-key",
    "function_name_branch1",
    "function_name_branch2",
    "lambda_function_name",
    "sfn_role_arn",
    "snf_role_arn",
    "sqs_queue_url",
    "start-date",
    "start-time",
    "stop-date",
    "table-name",
    "timestamp",
    "topic-arn",
];

/// What the recording put in place of random numbers.
const BARE_NUMBER: &str = "RandomNumberGenerated";

/// Texts that one recording put in place of the output of two tasks whose order was not defined.
const BARE_VALUES: &[&str] = &[
    "executionSucceededEventDetails.output",
    "stateExitedEventDetails.output",
];

/// What placeholders stand for, in one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    known: BTreeMap<String, String>,
    lacking: Vec<&'static str>,
}

impl Bindings {
    /// Bindings that every case starts with.
    pub(crate) fn new() -> Bindings {
        let mut bindings = Bindings::default();
        for (name, text) in [("<partition>", "aws"), ("<region>", "us-east-1")] {
            bindings.known.insert(name.into(), text.into());
        }
        bindings
    }

    /// Ours may have a member of that name where the recording has none.
    pub(crate) fn may_lack(&mut self, name: &'static str) {
        self.lacking.push(name);
    }

    /// Lists the differences between a recorded value and ours; `path` says where.
    pub(crate) fn compare(
        &mut self,
        expected: &Value,
        actual: &Value,
        path: &str,
        differences: &mut Differences,
    ) {
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => {
                for (name, value) in expected {
                    match actual.get(name) {
                        Some(ours) => {
                            self.compare(value, ours, &format!("{path}.{name}"), differences);
                        }
                        None => differences.add(format!("{path}.{name}: missing; AWS: {value}")),
                    }
                }
                for (name, value) in actual {
                    if !expected.contains_key(name) && !self.lacking.contains(&&**name) {
                        differences.add(format!("{path}.{name}: AWS has none; ours: {value}"));
                    }
                }
            }
            (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
                for (i, (value, ours)) in expected.iter().zip(actual).enumerate() {
                    self.compare(value, ours, &format!("{path}[{i}]"), differences);
                }
            }
            (Value::String(expected), Value::String(actual)) if self.matches(expected, actual) => {}
            (Value::String(expected), Value::Number(_)) if expected == BARE_NUMBER => {}
            (Value::String(expected), _) if BARE_VALUES.contains(&&**expected) => {}
            (expected, actual) if expected == actual => {}
            (expected, actual) => {
                differences.differs(path, &expected.to_string(), &actual.to_string());
            }
        }
    }

    /// True if our text is what the recording shows, placeholders filled in. The same placeholder stands for the same
    /// text all through a case.
    fn matches(&mut self, expected: &str, actual: &str) -> bool {
        if expected == actual {
            // The replayed answers of services hold the placeholders themselves.
            return true;
        }
        let whole = format!("<{expected}>");
        let expected = if BARE.contains(&expected) {
            whole.as_str()
        } else {
            expected
        };
        // The placeholders without brackets inside other text.
        let expected = ["lambda_function_1_name", "lambda_function_name"]
            .iter()
            .fold(expected.to_owned(), |text, name| {
                text.replace(&format!(":function:{name}"), &format!(":function:<{name}>"))
            });
        let pieces = pieces(&expected);
        if !pieces.iter().any(|piece| matches!(piece, Piece::Hole(_))) {
            return false;
        }
        let mut known = self.known.clone();
        let matched = fits(&pieces, actual, &mut known);
        if matched {
            self.known = known;
        }
        matched
    }
}

#[derive(Clone, Copy, Debug)]
enum Piece<'a> {
    Text(&'a str),
    Hole(&'a str),
}

/// Takes text apart at its `<placeholders>`.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let name_len = rest[open + 1..]
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || b"_-:".contains(b))
            .count();
        let end = open + 1 + name_len;
        if name_len > 0 && rest[end..].starts_with('>') {
            pieces.push(Piece::Text(&rest[..open]));
            pieces.push(Piece::Hole(&rest[open..=end]));
            rest = &rest[end + 1..];
        } else {
            pieces.push(Piece::Text(&rest[..=open]));
            rest = &rest[open + 1..];
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

fn fits(pieces: &[Piece<'_>], actual: &str, known: &mut BTreeMap<String, String>) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return actual.is_empty();
    };
    match first {
        Piece::Text(text) => actual
            .strip_prefix(text)
            .is_some_and(|actual| fits(rest, actual, known)),
        Piece::Hole(name) => {
            if let Some(actual) = actual.strip_prefix(name) {
                return fits(rest, actual, known);
            }
            if let Some(text) = known.get(*name) {
                return actual
                    .strip_prefix(text.as_str())
                    .is_some_and(|actual| fits(rest, actual, &mut known.clone()));
            }
            let ends = actual.char_indices().map(|(i, c)| i + c.len_utf8());
            for end in ends {
                let (text, after) = actual.split_at(end);
                if !may_stand_for(name, text) {
                    continue;
                }
                let mut tried = known.clone();
                if !is_time(name) {
                    tried.insert((*name).into(), text.into());
                }
                if fits(rest, after, &mut tried) {
                    *known = tried;
                    return true;
                }
            }
            false
        }
    }
}

/// Times differ from place to place under one placeholder.
fn is_time(name: &str) -> bool {
    matches!(
        name,
        "<date>"
            | "<datetime>"
            | "<entered-time>"
            | "<start-time>"
            | "<start-date>"
            | "<stop-date>"
    )
}

fn may_stand_for(name: &str, text: &str) -> bool {
    if is_time(name) {
        return Timestamp::parse(text).is_ok();
    }
    if name.starts_with("<uuid:") {
        return text.len() == 36
            && text.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
    }
    true
}
