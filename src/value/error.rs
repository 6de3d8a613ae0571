//! Why a text was not ingested: what the scan stopped at, and what the user is told.

use std::fmt;

use super::ingest::{DEPTH_MAX, TEXT_BYTES_MAX};

/// Text that is not JSON, or is nested or long beyond the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestError {
    /// Bytes before the place.
    pub offset: usize,
    /// Line of the place, from 1.
    pub line: usize,
    /// Column of the place in bytes, from 1.
    pub column: usize,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid JSON at line {} column {}: {}",
            self.line, self.column, self.message
        )
    }
}

impl std::error::Error for IngestError {}

/// Why a scan ended before the text did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// White space or an escape that is not canonical: the text has to be rewritten first.
    NotCanonical,
    /// The text is not JSON.
    Syntax,
    /// Deeper than [`DEPTH_MAX`].
    Depth,
    /// A name longer than a tag can hold, or a text longer than a document can address.
    TooLong,
}

/// Finds the words for an error by reading the text once more.
#[cold]
pub(super) fn describe(stop: Stop, json: &[u8]) -> IngestError {
    let at = |offset: usize, message: String| {
        let before = &json[..offset.min(json.len())];
        let line_start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |i| i + 1);
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        IngestError {
            offset,
            line,
            column: before.len() - line_start + 1,
            message,
        }
    };
    match stop {
        Stop::TooLong => return at(0, format!("the text is longer than {TEXT_BYTES_MAX} bytes")),
        Stop::Depth => {
            return at(
                depth_offset(json),
                format!("nested deeper than {DEPTH_MAX} levels"),
            );
        }
        Stop::Syntax | Stop::NotCanonical => {}
    }
    if json.is_empty() {
        return at(0, "the text is empty".to_owned());
    }
    if let Err(error) = simdutf8::compat::from_utf8(json) {
        return at(error.valid_up_to(), "not UTF-8".to_owned());
    }
    match serde_json::from_slice::<&serde_json::value::RawValue>(json) {
        Err(error) => {
            let lines = json
                .split_inclusive(|&b| b == b'\n')
                .take(error.line().saturating_sub(1));
            let offset = lines.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1);
            let text = error.to_string();
            let text = text
                .rfind(" at line ")
                .map_or(text.as_str(), |i| &text[..i])
                .to_owned();
            IngestError {
                offset,
                line: error.line(),
                column: error.column().max(1),
                message: text,
            }
        }
        Ok(_) => at(0, "not JSON".to_owned()),
    }
}

/// Where the first container past [`DEPTH_MAX`] opens.
fn depth_offset(json: &[u8]) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (i, &b) in json.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return i;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    0
}
