//! The reading position shared by the parsers of paths and filters.

use super::{FILTER_DEPTH_MAX, SyntaxError};

/// A position in a text.
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor {
            text,
            at: 0,
            depth: 0,
        }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Steps over one character.
    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Steps over `token` if it comes next.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(super) fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    pub(super) fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    pub(super) fn expect(&mut self, token: &str) -> Result<(), SyntaxError> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(self.error(format!("expected '{token}'")))
        }
    }

    pub(super) fn error(&self, message: impl Into<String>) -> SyntaxError {
        self.error_at(self.at, message)
    }

    pub(super) fn error_at(&self, offset: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError {
            offset,
            message: message.into(),
        }
    }

    /// Runs `inner` one level deeper; user text decides how often, so the depth is bounded.
    pub(super) fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        if self.depth == FILTER_DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {FILTER_DEPTH_MAX} levels")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// A quoted text with Java's escapes, decoded; the opening quote comes next.
    pub(super) fn quoted(&mut self) -> Result<String, SyntaxError> {
        let start = self.at;
        let Some(quote) = self.bump() else {
            return Err(self.error("expected a quoted text"));
        };
        let mut out = String::new();
        loop {
            let plain = self.take_while(|c| c != quote && c != '\\');
            out.push_str(plain);
            match self.bump() {
                None => return Err(self.error_at(start, "this quote is never closed")),
                Some('\\') => out.push(self.escape()?),
                Some(_) => return Ok(out),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at;
        match self.bump() {
            None => Err(self.error_at(start, "nothing follows the backslash")),
            Some('n') => Ok('\n'),
            Some('t') => Ok('\t'),
            Some('r') => Ok('\r'),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('u') => {
                let unit = self.hex_unit()?;
                if !(0xD800..0xDC00).contains(&unit) || !self.eat("\\u") {
                    return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                let low = self.hex_unit()?;
                let pair = 0x1_0000 + ((unit - 0xD800) << 10) + (low & 0x3FF);
                Ok(char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            Some(c) => Ok(c),
        }
    }

    fn hex_unit(&mut self) -> Result<u32, SyntaxError> {
        let digits = self.rest().get(..4).unwrap_or("");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(self.error("\\u needs four hexadecimal digits"));
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.error("\\u needs four hexadecimal digits"))
    }

    /// An integer with an optional minus sign, within 32 bits as in Java.
    pub(super) fn integer(&mut self) -> Result<i64, SyntaxError> {
        let start = self.at;
        self.eat("-");
        self.take_while(|c| c.is_ascii_digit());
        match self.text[start..self.at].parse::<i32>() {
            Ok(n) => Ok(i64::from(n)),
            Err(_) => Err(self.error_at(start, "expected an integer of at most 32 bits")),
        }
    }
}
