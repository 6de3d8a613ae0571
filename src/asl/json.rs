//! Definition text to a tree in which every value and every member name knows where it stands.
//!
//! Strict RFC 8259. It must not know what a state machine is. The parser recurses, to [`DEPTH_MAX`] levels at most.

use std::borrow::Cow;
use std::ops::Range;

use crate::stdx::{FixedMap, narrow};

/// How deep arrays and objects may nest: far past any real definition, far short of a stack.
pub(super) const DEPTH_MAX: usize = 200;

/// Objects up to this size are searched for duplicate names without a map.
const SMALL_OBJECT: usize = 16;

/// Bytes of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span {
            start: narrow(start),
            end: narrow(end),
        }
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and the bytes that it was read from.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub(super) span: Span,
    pub(super) value: Value<'t>,
}

/// A JSON value; a number keeps its text, which is what its span covers.
#[derive(Debug)]
pub(super) enum Value<'t> {
    Null,
    Bool(bool),
    Number,
    String(Cow<'t, str>),
    Array(Vec<Node<'t>>),
    Object(Vec<Member<'t>>),
}

/// A member of an object, in the order of the text.
#[derive(Debug)]
pub(super) struct Member<'t> {
    pub(super) name: Cow<'t, str>,
    /// The name with its quotes.
    pub(super) name_span: Span,
    pub(super) node: Node<'t>,
}

/// Why the text is not JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SyntaxError {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) kind: SyntaxErrorKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SyntaxErrorKind {
    /// Nothing but white space.
    Empty,
    /// More than [`DEPTH_MAX`] levels.
    TooDeep,
    /// Anything else.
    Malformed,
}

/// Parses the whole text.
pub(super) fn parse(text: &str) -> Result<Node<'_>, SyntaxError> {
    let mut parser = Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
        open: Vec::new(),
    };
    parser.skip_space();
    if parser.at == parser.bytes.len() {
        return Err(SyntaxError {
            span: Span::new(0, text.len()),
            message: "the text is empty".to_owned(),
            kind: SyntaxErrorKind::Empty,
        });
    }
    let node = parser.value()?;
    parser.skip_space();
    if parser.at < parser.bytes.len() {
        return Err(parser.error(format!(
            "the value is complete, but {} follows it",
            parser.found()
        )));
    }
    Ok(node)
}

/// Pairs of members of one object that share a name: (the earlier, the later).
pub(super) fn duplicates<'n, 't>(
    members: &'n [Member<'t>],
) -> Vec<(&'n Member<'t>, &'n Member<'t>)> {
    let mut found = Vec::new();
    if members.len() <= SMALL_OBJECT {
        for (i, later) in members.iter().enumerate() {
            if let Some(first) = members[..i].iter().find(|m| m.name == later.name) {
                found.push((first, later));
            }
        }
        return found;
    }
    let mut first_of: FixedMap<&str, &Member<'t>> = FixedMap::default();
    for member in members {
        if let Some(first) = first_of.get(member.name.as_ref()) {
            found.push((first, member));
        } else {
            first_of.insert(&member.name, member);
        }
    }
    found
}

struct Parser<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    /// Where the arrays and objects around `at` begin.
    open: Vec<usize>,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The character at which the parser stands, for a message.
    fn found(&self) -> String {
        match self.text.get(self.at..).and_then(|t| t.chars().next()) {
            None => match self.open.len() {
                0 => "the end of the text".to_owned(),
                1 => "the end of the text (1 bracket is still open)".to_owned(),
                n => format!("the end of the text ({n} brackets are still open)"),
            },
            Some(c) if c.is_control() => format!("U+{:04X}", u32::from(c)),
            Some(c) => format!("`{c}`"),
        }
    }

    fn error(&self, message: String) -> SyntaxError {
        let width = self
            .text
            .get(self.at..)
            .and_then(|t| t.chars().next())
            .map_or(0, char::len_utf8);
        self.error_over(self.at, self.at + width, message)
    }

    fn error_over(&self, start: usize, end: usize, message: String) -> SyntaxError {
        SyntaxError {
            span: Span::new(start, end),
            message,
            kind: SyntaxErrorKind::Malformed,
        }
    }

    fn value(&mut self) -> Result<Node<'t>, SyntaxError> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.array()?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node {
            span: Span::new(start, self.at),
            value,
        })
    }

    /// Steps over an opening bracket.
    fn enter(&mut self) -> Result<(), SyntaxError> {
        if self.open.len() == DEPTH_MAX {
            let mut error = self.error(format!(
                "arrays and objects nest more than {DEPTH_MAX} levels deep"
            ));
            error.kind = SyntaxErrorKind::TooDeep;
            return Err(error);
        }
        self.open.push(self.at);
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Steps over what separates two elements; false if `close` ended the list.
    fn another(&mut self, close: u8, what: &str) -> Result<bool, SyntaxError> {
        self.skip_space();
        match self.peek() {
            Some(b) if b == close => {
                self.at += 1;
                self.open.pop();
                Ok(false)
            }
            Some(b',') => {
                let comma = self.at;
                self.at += 1;
                self.skip_space();
                if self.peek() == Some(close) {
                    return Err(self.error_over(
                        comma,
                        comma + 1,
                        format!("a comma before `{}` is not allowed", char::from(close)),
                    ));
                }
                Ok(true)
            }
            _ => Err(self.error(format!(
                "expected `,` or `{}` after {what}, found {}",
                char::from(close),
                self.found()
            ))),
        }
    }

    fn object(&mut self) -> Result<Value<'t>, SyntaxError> {
        self.enter()?;
        let mut members = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.open.pop();
            return Ok(Value::Object(members));
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error(format!(
                    "expected a member name in double quotes, found {}",
                    self.found()
                )));
            }
            let name = self.string()?;
            let name_span = Span::new(start, self.at);
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.error(format!(
                    "expected `:` after the member name `{name}`, found {}",
                    self.found()
                )));
            }
            self.at += 1;
            self.skip_space();
            members.push(Member {
                name,
                name_span,
                node: self.value()?,
            });
            if !self.another(b'}', "a member")? {
                return Ok(Value::Object(members));
            }
        }
    }

    fn array(&mut self) -> Result<Value<'t>, SyntaxError> {
        self.enter()?;
        let mut elements = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.open.pop();
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            if !self.another(b']', "an element")? {
                return Ok(Value::Array(elements));
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'t, str>, SyntaxError> {
        let quote = self.at;
        self.at += 1;
        let start = self.at;
        let mut decoded = None::<String>;
        let mut copied = start;
        loop {
            match self.peek() {
                None => {
                    return Err(self.error_over(
                        quote,
                        quote + 1,
                        "this string is never closed".to_owned(),
                    ));
                }
                Some(b'"') => break,
                Some(b'\\') => {
                    let plain = &self.text[copied..self.at];
                    let c = self.escape()?;
                    let decoded = decoded.get_or_insert_default();
                    decoded.push_str(plain);
                    decoded.push(c);
                    copied = self.at;
                }
                Some(b'\n' | b'\r') => {
                    return Err(self.error_over(
                        quote,
                        self.at,
                        "this string is not closed on its line; write a line break as `\\n`"
                            .to_owned(),
                    ));
                }
                Some(0..0x20) => {
                    return Err(self.error(format!(
                        "the control character {} has to be escaped in a string",
                        self.found()
                    )));
                }
                Some(_) => self.at += 1,
            }
        }
        let end = self.at;
        self.at += 1;
        Ok(match decoded {
            None => Cow::Borrowed(&self.text[start..end]),
            Some(mut decoded) => {
                decoded.push_str(&self.text[copied..end]);
                Cow::Owned(decoded)
            }
        })
    }

    /// One escape, from its backslash; a surrogate without its partner becomes U+FFFD.
    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(start),
            _ => {
                let found = self.found();
                let width = self.error(String::new()).span.end as usize;
                return Err(self.error_over(
                    start,
                    width,
                    format!("a backslash before {found} is not an escape of JSON"),
                ));
            }
        };
        self.at += 1;
        Ok(c)
    }

    /// `\uXXXX` or a pair of them; `at` is on the `u`.
    fn unicode(&mut self, start: usize) -> Result<char, SyntaxError> {
        self.at += 1;
        let first = self.hex(start)?;
        if !(0xD800..0xE000).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if first < 0xDC00 && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex(back)?;
            if (0xDC00..0xE000).contains(&second) {
                let c = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self, start: usize) -> Result<u32, SyntaxError> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|digits| {
            digits
                .iter()
                .try_fold(0, |n, b| Some(n * 16 + char::from(*b).to_digit(16)?))
        });
        let Some(n) = digits else {
            return Err(self.error_over(
                start,
                start + 2,
                "`\\u` takes four hexadecimal digits".to_owned(),
            ));
        };
        self.at += 4;
        Ok(n)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value<'t>, SyntaxError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.at;
        let count = self.digits();
        if count == 0 {
            return Err(self.error(format!(
                "expected a digit after `-`, found {}",
                self.found()
            )));
        }
        if count > 1 && self.bytes[first] == b'0' {
            return Err(self.error_over(
                start,
                self.at,
                "a number must not begin with a zero".to_owned(),
            ));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.error(format!(
                    "expected a digit after the decimal point, found {}",
                    self.found()
                )));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.error(format!(
                    "expected a digit in the exponent, found {}",
                    self.found()
                )));
            }
        }
        Ok(Value::Number)
    }

    /// `true`, `false`, `null`, or what people write in their place.
    fn word(&mut self) -> Result<Value<'t>, SyntaxError> {
        let start = self.at;
        let rest = &self.text[start..];
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let word = &rest[..length];
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ if rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with('#') => {
                return Err(self.error("JSON has no comments; use a `Comment` field".to_owned()));
            }
            _ if rest.starts_with('\'') => {
                return Err(self.error("strings stand in double quotes".to_owned()));
            }
            _ if rest.starts_with('\u{feff}') => {
                return Err(self.error("the text begins with a byte order mark".to_owned()));
            }
            "True" | "False" | "None" | "undefined" | "NaN" | "Infinity" => {
                return Err(self.error_over(
                    start,
                    start + length,
                    format!("`{word}` is not a value of JSON"),
                ));
            }
            "" => {
                return Err(self.error(format!("expected a value, found {}", self.found())));
            }
            _ => {
                return Err(self.error_over(
                    start,
                    start + length,
                    format!(
                        "expected a value, found `{}`; strings stand in double quotes",
                        word.chars().take(40).collect::<String>()
                    ),
                ));
            }
        };
        self.at += length;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_decoded_strings() {
        let text = "{ \"a\\u0062\" : [1.5e3, \"\\ud83d\\ude00 \\ud800x\", true] }";
        let node = parse(text).unwrap();
        let Value::Object(members) = &node.value else {
            panic!("an object")
        };
        assert_eq!(members[0].name, "ab");
        assert_eq!(&text[members[0].name_span.range()], "\"a\\u0062\"");
        let Value::Array(elements) = &members[0].node.value else {
            panic!("an array")
        };
        assert_eq!(&text[elements[0].span.range()], "1.5e3");
        assert!(
            matches!(&elements[1].value, Value::String(s) if s == "\u{1f600} \u{fffd}x"),
            "{elements:?}"
        );
    }

    #[test]
    fn what_is_not_json() {
        for (text, start, part) in [
            ("{\"a\":1,}", 6, "comma before `}`"),
            (
                "[1 2]",
                3,
                "expected `,` or `]` after an element, found `2`",
            ),
            ("{a:1}", 1, "member name in double quotes, found `a`"),
            ("{\"a\" 1}", 5, "expected `:` after the member name `a`"),
            ("{\"a\":", 5, "1 bracket is still open"),
            ("[\"x]", 1, "never closed"),
            ("[\"x\n\"]", 1, "not closed on its line"),
            ("[\"\\x\"]", 2, "not an escape"),
            ("[\"\\u12g4\"]", 2, "four hexadecimal"),
            ("[01]", 1, "begin with a zero"),
            ("[1.]", 3, "decimal point"),
            ("[-]", 2, "after `-`"),
            ("[NaN]", 1, "`NaN` is not a value"),
            ("['a']", 1, "double quotes"),
            ("{} // done", 3, "the value is complete"),
            ("[// x\n1]", 1, "no comments"),
            ("\u{feff}{}", 0, "byte order mark"),
            ("[é]", 1, "found `é`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error:?}");
            assert_eq!(error.span.start, start, "{text}: {error:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        let error = parse(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(error.kind, SyntaxErrorKind::TooDeep);
        assert!(parse(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn duplicate_names_in_small_and_large_objects() {
        let small = parse("{\"a\":1,\"b\":2,\"\\u0061\":3}").unwrap();
        let many: Vec<String> = (0..100).map(|i| format!("\"n{}\":0", i % 90)).collect();
        let large_text = format!("{{{}}}", many.join(","));
        let large = parse(&large_text).unwrap();
        for (node, expected) in [(small, 1), (large, 10)] {
            let Value::Object(members) = &node.value else {
                panic!("an object")
            };
            assert_eq!(duplicates(members).len(), expected);
        }
    }
}
