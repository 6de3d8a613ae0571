//! Why an evaluation failed, in AWS's words.

use std::fmt;

use jsonata_core::evaluator::EvaluatorError;

/// Why an expression has no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum EvaluationError {
    /// An error of the language, with its code: `T2001: The left side of …`.
    Coded {
        /// `T2001`
        code: Box<str>,
        /// The sentence, without the code.
        message: Box<str>,
    },
    /// A limit was reached, or the error has no code.
    Uncoded(Box<str>),
    /// The library failed.
    Internal,
    /// The result is a function, which is no JSON value.
    Unsupported,
}

/// AWS's text for what takes too much memory.
const MEMORY: &str =
    "Expression evaluation memory limit exceeded: Check for excessive memory usage";

/// AWS's text for what nests too deeply.
const DEPTH: &str = "Stack overflow error: Check for non-terminating recursive function. Consider rewriting as \
                     tail-recursive.";

/// The text for what takes too long.
const TIME: &str = "Expression evaluation timeout: Check for infinite loop";

/// What the guards report; no other error has this text.
pub(super) const MEMORY_MARK: &str = "quickstep: memory";

/// `T2001`
const CODE_BYTES: usize = 5;

/// Where the first code stands in a text, at its beginning or after what the library has put before it: `T2001:`.
pub(super) fn find_code(text: &str) -> Option<usize> {
    let is_code = |word: &[u8]| {
        matches!(word[0], b'S' | b'T' | b'D' | b'U') && word[1..].iter().all(u8::is_ascii_digit)
    };
    let starts_word = |at: usize| at == 0 || text.as_bytes()[at - 1] == b' ';
    let ends = |at: usize| matches!(text.as_bytes().get(at + CODE_BYTES), None | Some(b':'));
    text.as_bytes()
        .windows(CODE_BYTES)
        .position(is_code)
        .filter(|at| starts_word(*at) && ends(*at))
}

impl EvaluationError {
    pub(super) fn memory() -> EvaluationError {
        EvaluationError::Uncoded(MEMORY.into())
    }

    pub(super) fn of(error: &EvaluatorError) -> EvaluationError {
        let text = error.message();
        let Some(at) = find_code(text) else {
            return match text {
                MEMORY_MARK => EvaluationError::memory(),
                text => EvaluationError::Uncoded(text.into()),
            };
        };
        let (code, message) = text[at..].split_at(CODE_BYTES);
        match code {
            "D1011" | "U1001" => EvaluationError::Uncoded(DEPTH.into()),
            "D1012" | "U1003" => EvaluationError::Uncoded(TIME.into()),
            "D2014" | "D2015" => EvaluationError::memory(),
            _ => {
                let message = message.trim_start_matches(':').trim_start();
                EvaluationError::Coded {
                    code: code.into(),
                    message: in_words(code, message).into(),
                }
            }
        }
    }
}

impl EvaluationError {
    /// AWS's sentence about the expression `text` of the field `field`.
    pub(crate) fn sentence(&self, text: &str, field: &str) -> String {
        let subject = format!("The JSONata expression '{text}' specified for the field '{field}'");
        match self {
            EvaluationError::Coded { code, message } => {
                format!("{subject} threw an error during evaluation. {code}: {message}")
            }
            EvaluationError::Uncoded(message) => {
                format!("{subject} threw an error during evaluation: {message}")
            }
            EvaluationError::Internal => {
                format!("{subject} threw an internal error during evaluation.")
            }
            EvaluationError::Unsupported => {
                format!("{subject} returned an unsupported result type.")
            }
        }
    }
}

/// `T2001: The left side of …`, as the language's own tools print it.
impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvaluationError::Coded { code, message } => write!(f, "{code}: {message}"),
            EvaluationError::Uncoded(message) => f.write_str(message),
            EvaluationError::Internal => f.write_str("internal error"),
            EvaluationError::Unsupported => f.write_str("the result is a function"),
        }
    }
}

/// The sentence of the reference implementation where `jsonata-core` words an error in another way.
fn in_words(code: &str, message: &str) -> String {
    match code {
        // The operator stands in quotes.
        "T2001" | "T2002" => quote_between(message, " of the ", " operator "),
        "T1006" => "Attempted to invoke a non-function".to_owned(),
        "D3030" => match message.strip_prefix("Cannot convert ") {
            Some(rest) => {
                let value = rest.strip_suffix(" to number").unwrap_or(rest);
                let value = value
                    .strip_prefix('\'')
                    .and_then(|value| value.strip_suffix('\''));
                match value {
                    Some(value) => format!(
                        "Unable to cast value to a number: {}",
                        serde_json::Value::from(value)
                    ),
                    None => "Unable to cast value to a number".to_owned(),
                }
            }
            None => message.to_owned(),
        },
        "T2003" => {
            "The left side of the range operator (..) must evaluate to an integer".to_owned()
        }
        "T2004" => {
            "The right side of the range operator (..) must evaluate to an integer".to_owned()
        }
        "D3010" => "Second argument of replace function cannot be an empty string".to_owned(),
        "D3086" => "The sub-picture must not contain a passive character that is preceded by an active character \
                    and that is followed by another active character"
            .to_owned(),
        _ => message.to_owned(),
    }
}

/// Puts what stands between the two pieces of text in quotes.
fn quote_between(message: &str, before: &str, after: &str) -> String {
    let found = message.split_once(before).and_then(|(head, rest)| {
        let (token, tail) = rest.split_once(after)?;
        let token = token.trim_matches('"');
        Some(format!("{head}{before}\"{token}\"{after}{tail}"))
    });
    found.unwrap_or_else(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        for (text, expected) in [
            (
                "T2001: The left side of the + operator must evaluate to a number",
                " threw an error during evaluation. T2001: The left side of the \"+\" operator must evaluate to a number",
            ),
            (
                "D3030: Cannot convert 'x' to number",
                " threw an error during evaluation. D3030: Unable to cast value to a number: \"x\"",
            ),
            (
                "D2015: The maximum sequence length of 5 was exceeded.",
                " threw an error during evaluation: Expression evaluation memory limit exceeded: Check for excessive memory usage",
            ),
            (
                "Invalid regex: x",
                " threw an error during evaluation: Invalid regex: x",
            ),
        ] {
            let error = EvaluatorError::EvaluationError(text.to_owned());
            let sentence = EvaluationError::of(&error).sentence("$a", "Output/b");
            assert_eq!(
                sentence,
                format!("The JSONata expression '$a' specified for the field 'Output/b'{expected}")
            );
        }
    }
}
