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

    /// What the library's error means; `function` is the only one that the expression calls, if it is only one.
    pub(super) fn of(error: &EvaluatorError, function: Option<&str>) -> EvaluationError {
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
                let signature = match code {
                    "T0410" | "T0411" | "T0412" => of_signature(code, message, function),
                    _ => None,
                };
                EvaluationError::Coded {
                    code: code.into(),
                    message: signature.unwrap_or_else(|| in_words(code, message)).into(),
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

/// Sentences of the reference implementation where `jsonata-core` words an error in another way.
#[rustfmt::skip]
const SENTENCES: &[(&str, &str)] = &[
    ("D1002", "Cannot negate a non-numeric value"),
    ("D3001", "Attempting to invoke string function on Infinity or NaN"),
    ("D3010", "Second argument of replace function cannot be an empty string"),
    ("D3020", "Third argument of split function must evaluate to a positive number"),
    ("D3080", "The picture string must only contain a maximum of two sub-pictures"),
    ("D3081", "The sub-picture must not contain more than one instance of the \"decimal-separator\" character"),
    ("D3082", "The sub-picture must not contain more than one instance of the \"percent\" character"),
    ("D3083", "The sub-picture must not contain more than one instance of the \"per-mille\" character"),
    ("D3084", "The sub-picture must not contain both a \"percent\" and a \"per-mille\" character"),
    ("D3085", "The mantissa part of a sub-picture must contain at least one character that is either an \"optional digit character\" or a member of the \"decimal digit family\""),
    ("D3086", "The sub-picture must not contain a passive character that is preceded by an active character and that is followed by another active character"),
    ("D3087", "The sub-picture must not contain a \"grouping-separator\" character that appears adjacent to a \"decimal-separator\" character"),
    ("D3088", "The sub-picture must not contain a \"grouping-separator\" at the end of the integer part"),
    ("D3089", "The sub-picture must not contain two adjacent instances of the \"grouping-separator\" character"),
    ("D3090", "The integer part of the sub-picture must not contain a member of the \"decimal digit family\" that is followed by an instance of the \"optional digit character\""),
    ("D3091", "The fractional part of the sub-picture must not contain an instance of the \"optional digit character\" that is followed by a member of the \"decimal digit family\""),
    ("D3092", "A sub-picture that contains a \"percent\" or \"per-mille\" character must not contain a character treated as an \"exponent-separator\""),
    ("D3093", "The exponent part of the sub-picture must comprise only of one or more characters that are members of the \"decimal digit family\""),
    ("T1006", "Attempted to invoke a non-function"),
    ("T2003", "The left side of the range operator (..) must evaluate to an integer"),
    ("T2004", "The right side of the range operator (..) must evaluate to an integer"),
];

/// The sentence of the reference implementation, as far as the library's own says enough.
fn in_words(code: &str, message: &str) -> String {
    if let Some((_, sentence)) = SENTENCES.iter().find(|(known, _)| *known == code) {
        return (*sentence).to_owned();
    }
    match code {
        // The operator stands in quotes.
        "T2001" | "T2002" => quote_between(message, " of the ", " operator "),
        "D3030" => cast(message),
        "D3100" => match message.rsplit_once("got ") {
            Some((_, radix)) => format!(
                "The radix of the formatBase function must be between 2 and 36.  It was given {radix}"
            ),
            None => message.to_owned(),
        },
        "D3138" => match message.split_once(" (") {
            Some((sentence, _)) => sentence.to_owned(),
            None => message.to_owned(),
        },
        "T2007" => match message.rsplit_once(": ").map(|(_, values)| values) {
            Some(values) => {
                format!("Type mismatch when comparing values {values} in order-by clause")
            }
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    }
}

fn cast(message: &str) -> String {
    let value = message
        .strip_prefix("Cannot convert '")
        .and_then(|rest| rest.strip_suffix("' to number"));
    match value {
        Some(value) => format!(
            "Unable to cast value to a number: {}",
            serde_json::Value::from(value)
        ),
        None => "Unable to cast value to a number".to_owned(),
    }
}

/// What a function's signature refuses: the library tells the argument, and the only function that the expression calls
/// is the one that it is about.
fn of_signature(code: &str, message: &str, function: Option<&str>) -> Option<String> {
    let number = |from: &str| {
        let rest = message.split_once(from)?.1;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<usize>().ok()
    };
    let function = match (message.contains('"'), function) {
        // Ours have it all.
        (true, _) => return None,
        (false, Some(function)) => format!(" of function \"{function}\""),
        (false, None) => String::new(),
    };
    let position = match (number("expected "), number("got ")) {
        (Some(expected), Some(got)) => expected.min(got) + 1,
        _ => number("Argument ")?,
    };
    if code == "T0412" {
        let kind = message.rsplit(' ').next()?.to_lowercase();
        return Some(format!(
            "Argument {position}{function} must be an array of \"{kind}s\""
        ));
    }
    Some(format!(
        "Argument {position}{function} does not match function signature"
    ))
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
                "T0410: Argument 1 must be Number",
                " threw an error during evaluation. T0410: Argument 1 of function \"f\" does not match function signature",
            ),
            (
                "T0410: Argument count mismatch: expected 2, got 3",
                " threw an error during evaluation. T0410: Argument 3 of function \"f\" does not match function signature",
            ),
            (
                "T0412: Argument 1 must be an array of Number",
                " threw an error during evaluation. T0412: Argument 1 of function \"f\" must be an array of \"numbers\"",
            ),
            (
                "Invalid regex: x",
                " threw an error during evaluation: Invalid regex: x",
            ),
        ] {
            let error = EvaluatorError::EvaluationError(text.to_owned());
            let sentence = EvaluationError::of(&error, Some("f")).sentence("$a", "Output/b");
            assert_eq!(
                sentence,
                format!("The JSONata expression '$a' specified for the field 'Output/b'{expected}")
            );
        }
    }
}
