//! What is wrong with a text that is no expression, and where: `jsonata-core` says the first without the second.
//!
//! The text is cut off at token after token, from the end: where a shorter text no longer has the problem, the token that
//! was cut off last is the one that it is about.

use std::ops::Range;

use jsonata_core::ast::AstNode;
use jsonata_core::parser::{self, ParserError};

use super::error;

/// A problem, and the bytes of the text that it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SyntaxError {
    /// JSONata's code, if it has one.
    pub(super) code: Option<String>,
    pub(super) message: String,
    pub(super) at: Range<usize>,
}

/// Texts with more tokens than this are searched by halves, which may find another token than the first.
const TOKENS_SEARCHED_MAX: usize = 64;

pub(super) fn parse(text: &str) -> Result<AstNode, SyntaxError> {
    parser::parse(text).map_err(|error| describe(text, &error))
}

/// What the problem is, however it is worded. Texts of two codes do not have the same problem.
fn code(error: &ParserError) -> String {
    let text = error.to_string();
    match (error, error::find_code(&text)) {
        (ParserError::UnclosedComment, _) => "S0106".to_owned(),
        (_, Some(at)) => text[at..at + 5].to_owned(),
        (_, None) => text.chars().take(16).collect(),
    }
}

fn describe(text: &str, error: &ParserError) -> SyntaxError {
    let code = code(error);
    let end = text.trim_end().len();
    let tokens = tokens(text);
    let at = match &*code {
        // Something is missing at the end.
        "S0106" => text.rfind("/*").unwrap_or(0)..text.len(),
        "S0203" | "S0207" => end..text.len().min(end + 1).max(end),
        _ => first_bad(text, &tokens, &code)
            .and_then(|i| tokens.get(i).cloned())
            .unwrap_or(0..end),
    };
    // The library reads a regular expression as it reads a string.
    let code = match &*code {
        "S0101" if text[at.clone()].starts_with('/') => "S0302".to_owned(),
        _ => code,
    };
    let message = message(&code, error, &text[at.clone()]);
    let is_code = error::find_code(&code) == Some(0);
    SyntaxError {
        code: is_code.then_some(code),
        message,
        at,
    }
}

/// The token from which on the text has the problem.
fn first_bad(text: &str, tokens: &[Range<usize>], code: &str) -> Option<usize> {
    let is_bad = |count: usize| match tokens.get(count.wrapping_sub(1)) {
        Some(last) => {
            parser::parse(&text[..last.end]).is_err_and(|error| self::code(&error) == code)
        }
        None => false,
    };
    if tokens.len() <= TOKENS_SEARCHED_MAX {
        let mut count = tokens.len();
        while count > 0 && is_bad(count) {
            count -= 1;
        }
        return Some(count);
    }
    let (mut good, mut bad) = (0, tokens.len());
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if is_bad(middle) {
            bad = middle;
        } else {
            good = middle;
        }
    }
    Some(bad - 1)
}

/// The reference implementation's sentence, without the code, as AWS shows it.
fn message(code: &str, error: &ParserError, token: &str) -> String {
    let shown = serde_json::Value::from(token.trim_matches(['\'', '"'])).to_string();
    match code {
        "S0201" => format!("Syntax error: {shown}"),
        "S0202" => match error {
            ParserError::Expected { expected, .. } => {
                format!("Expected \"{}\", got {shown}", symbol(expected))
            }
            _ => plain(error),
        },
        "S0203" => match error {
            ParserError::Expected { expected, .. } => {
                format!("Expected \"{}\" before end of expression", symbol(expected))
            }
            _ => plain(error),
        },
        "S0204" => format!("Unknown operator: {shown}"),
        "S0211" => format!("The symbol {shown} cannot be used as a unary operator"),
        "S0302" => "No terminating / in regular expression".to_owned(),
        "S0106" => "Comment has no closing tag".to_owned(),
        _ => plain(error),
    }
}

/// The library's own sentence, without codes and kinds.
fn plain(error: &ParserError) -> String {
    let text = error.to_string();
    match error::find_code(&text) {
        Some(at) => text[at + 5..].trim_start_matches(':').trim_start(),
        None => text.strip_prefix("Invalid syntax: ").unwrap_or(&text),
    }
    .to_owned()
}

/// What the library calls by a word.
fn symbol(name: &str) -> &str {
    match name {
        "RightParen" => ")",
        "RightBracket" => "]",
        "RightBrace" => "}",
        "LeftParen" => "(",
        "LeftBracket" => "[",
        "LeftBrace" => "{",
        "Colon" => ":",
        "Comma" => ",",
        "Pipe" => "|",
        other => other,
    }
}

/// Where the tokens of a text stand, roughly: enough to point at one. White space and comments are none.
pub(super) fn tokens(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        if rest.starts_with(char::is_whitespace) {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            at += comment.find("*/").map_or(rest.len(), |end| end + 4);
            continue;
        }
        let length = match bytes[at] {
            quote @ (b'"' | b'\'' | b'`') => quoted(rest, quote),
            b'/' if !ends_operand(text, found.last()) => quoted(rest, b'/'),
            b'0'..=b'9' => number(rest),
            _ => {
                let symbols = ["**", "..", ":=", "!=", "<=", ">=", "~>", "??", "?:"];
                match symbols.iter().find(|symbol| rest.starts_with(**symbol)) {
                    Some(symbol) => symbol.len(),
                    None => word(rest),
                }
            }
        };
        found.push(at..at + length);
        at += length;
    }
    found
}

/// Length of what begins with a quote, the closing one included; all of it if there is none.
fn quoted(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digits = |from: usize| {
        let rest = bytes[from..].iter();
        from + rest.take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut end = digits(0);
    // Not the dots of `1..5`.
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits(end + 1);
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

/// Length of a name, or of a symbol of one character.
fn word(rest: &str) -> usize {
    let is_symbol = |c: char| c.is_whitespace() || ".[]{}()@#;:?,+-*/%|=<>^&~!'\"`".contains(c);
    match rest.find(is_symbol) {
        Some(0) => rest.chars().next().map_or(1, char::len_utf8),
        Some(end) => end,
        None => rest.len(),
    }
}

/// True if a `/` after this token divides.
fn ends_operand(text: &str, last: Option<&Range<usize>>) -> bool {
    let Some(last) = last else {
        return false;
    };
    let token = &text[last.clone()];
    let is_word = !matches!(token, "and" | "or" | "in");
    let symbol = token.chars().next().unwrap_or(' ');
    is_word && !"[{(@#;:?,+-*/%|=<>^&~!.".contains(symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_text() {
        let text = "$a.`b c`[x>=1.5e3] /* no */ & 'it\\'s' ~> $f(1..2, /a b\\/c/i) / 2";
        let found: Vec<&str> = tokens(text).into_iter().map(|at| &text[at]).collect();
        assert_eq!(
            found,
            [
                "$a",
                ".",
                "`b c`",
                "[",
                "x",
                ">=",
                "1.5e3",
                "]",
                "&",
                "'it\\'s'",
                "~>",
                "$f",
                "(",
                "1",
                "..",
                "2",
                ",",
                "/a b\\/c/",
                "i",
                ")",
                "/",
                "2"
            ]
        );
    }

    #[test]
    fn problems_and_their_places() {
        for (text, message, place) in [
            ("a[1,2)", "Expected \"]\", got \",\"", ","),
            (
                "1 + \"unterminated",
                "String literal must be terminated by a matching quote",
                "\"unterminated",
            ),
            ("1 +", "Unexpected end of expression", ""),
            ("1 + ", "Unexpected end of expression", " "),
            (
                "{\"a\":}",
                "The symbol \"}\" cannot be used as a unary operator",
                "}",
            ),
            ("$x :=", "Unexpected end of expression", ""),
            ("$sum(1, 2", "Expected \")\" before end of expression", ""),
            (
                "$match('a', /abc",
                "No terminating / in regular expression",
                "/abc",
            ),
            ("1 /* 2", "Comment has no closing tag", "/* 2"),
            ("1 2", "Syntax error: \"2\"", "2"),
            ("$f() )", "Syntax error: \")\"", ")"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                (error.message.as_str(), &text[error.at.clone()]),
                (message, place),
                "{text}"
            );
        }
    }
}
