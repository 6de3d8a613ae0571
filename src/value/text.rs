//! Strings in canonical escapes: names, escaping, unescaping, and Java's order of strings.

use std::borrow::Cow;
use std::cmp::Ordering;

/// A member name as compiled into a program: its text in canonical escapes, as it stands between quotes in a document.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Name {
    raw: Box<str>,
    /// The last bytes of the text, eight at most, as one number: what is compared of short names.
    tail: u64,
}

impl Name {
    /// From decoded text.
    #[must_use]
    pub fn new(text: &str) -> Name {
        let raw: Box<str> = escape(text).into();
        let last = &raw.as_bytes()[raw.len().saturating_sub(8)..];
        let tail = last
            .iter()
            .rev()
            .fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        Name { raw, tail }
    }

    /// The escaped text, without quotes.
    #[must_use]
    #[inline(always)]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    #[inline(always)]
    pub(super) const fn tail(&self) -> u64 {
        self.tail
    }

    /// The decoded text.
    #[must_use]
    pub fn decoded(&self) -> Cow<'_, str> {
        unescape(&self.raw)
    }
}

/// `text` as the inside of a JSON string in canonical escapes.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    let needs_escape = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
    let Some(first) = text.as_bytes().iter().position(needs_escape) else {
        return Cow::Borrowed(text);
    };
    let mut escaped = String::with_capacity(text.len() + 8);
    escaped.push_str(&text[..first]);
    for c in text[first..].chars() {
        push_escaped(&mut escaped, c);
    }
    Cow::Owned(escaped)
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c < ' ' => push_unicode_escape(out, u32::from(c) as u16),
        c => out.push(c),
    }
}

fn push_unicode_escape(out: &mut String, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from(HEX[usize::from(unit >> shift & 0xF)]));
    }
}

/// The decoded form of the inside of a JSON string, whatever its escapes; a lone surrogate becomes U+FFFD.
#[must_use]
pub fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    decode(raw, |piece| match piece {
        Piece::Text(plain) => text.push_str(plain),
        Piece::Char(c) => text.push(c),
        Piece::LoneSurrogate(_) => text.push('\u{FFFD}'),
    });
    Cow::Owned(text)
}

/// The same string in canonical escapes.
pub(super) fn canonical(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    decode(raw, |piece| match piece {
        Piece::Text(plain) => text.push_str(plain),
        Piece::Char(c) => push_escaped(&mut text, c),
        Piece::LoneSurrogate(unit) => push_unicode_escape(&mut text, unit),
    });
    text
}

enum Piece<'a> {
    Text(&'a str),
    Char(char),
    LoneSurrogate(u16),
}

/// Takes a string apart. An escape that is no escape (which ingest refuses) is passed on as it stands.
fn decode<'a>(raw: &'a str, mut sink: impl FnMut(Piece<'a>)) {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        if at > 0 {
            sink(Piece::Text(&rest[..at]));
        }
        let Some(kind) = rest.as_bytes().get(at + 1) else {
            sink(Piece::Text(&rest[at..]));
            return;
        };
        let mut used = at + 2;
        match kind {
            b'b' => sink(Piece::Char('\u{8}')),
            b'f' => sink(Piece::Char('\u{c}')),
            b'n' => sink(Piece::Char('\n')),
            b'r' => sink(Piece::Char('\r')),
            b't' => sink(Piece::Char('\t')),
            b'"' | b'\\' | b'/' => sink(Piece::Char(char::from(*kind))),
            b'u' => match unicode_unit(rest.as_bytes(), at) {
                Some(high @ 0xD800..=0xDBFF) => match unicode_unit(rest.as_bytes(), at + 6) {
                    Some(low @ 0xDC00..=0xDFFF) => {
                        let code = 0x10000
                            + (u32::from(high) - 0xD800) * 0x400
                            + (u32::from(low) - 0xDC00);
                        sink(Piece::Char(char::from_u32(code).unwrap_or('\u{FFFD}')));
                        used = at + 12;
                    }
                    _ => {
                        sink(Piece::LoneSurrogate(high));
                        used = at + 6;
                    }
                },
                Some(unit) => {
                    sink(
                        char::from_u32(u32::from(unit))
                            .map_or(Piece::LoneSurrogate(unit), Piece::Char),
                    );
                    used = at + 6;
                }
                None => sink(Piece::Text(&rest[at..at + 2])),
            },
            _ => {
                let end = (at + 2..=rest.len())
                    .find(|&i| rest.is_char_boundary(i))
                    .unwrap_or(rest.len());
                sink(Piece::Text(&rest[at..end]));
                used = end;
            }
        }
        rest = &rest[used..];
    }
    if !rest.is_empty() {
        sink(Piece::Text(rest));
    }
}

/// The unit of `\uXXXX` at `at`.
pub(super) fn unicode_unit(raw: &[u8], at: usize) -> Option<u16> {
    let escape = raw.get(at..at + 6)?;
    if escape[..2] != *b"\\u" {
        return None;
    }
    escape[2..].iter().try_fold(0_u16, |unit, b| {
        Some(unit << 4 | char::from(*b).to_digit(16)? as u16)
    })
}

/// Java's order of two strings in canonical escapes: by UTF-16 unit.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let plain = |text: &str| text.bytes().all(|byte| byte < 0x80 && byte != b'\\');
    if plain(a) && plain(b) {
        return a.cmp(b);
    }
    units(a).cmp(units(b))
}

/// The UTF-16 units of a string in canonical escapes, lone surrogates included.
fn units(raw: &str) -> impl Iterator<Item = u16> {
    let mut units = Vec::with_capacity(raw.len());
    decode(raw, |piece| match piece {
        Piece::Text(plain) => units.extend(plain.encode_utf16()),
        Piece::Char(c) => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
        Piece::LoneSurrogate(unit) => units.push(unit),
    });
    units.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_escapes() {
        for (raw, expected) in [
            (r"a\/b", "a/b"),
            (r"\u00e9\u0041", "éA"),
            (r"\u000a\u001f\u0022", r#"\n\u001F\""#),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83dx", r"\uD83Dx"),
            (r"\ude00\ud83d", r"\uDE00\uD83D"),
            (r"\ud83d\ud83d\ude00", r"\uD83D😀"),
            ("\\\\ud800", "\\\\ud800"),
        ] {
            assert_eq!(canonical(raw), expected, "{raw}");
            assert_eq!(canonical(expected), expected, "canonical stays");
        }
    }

    #[test]
    fn escape_and_back() {
        for text in [
            "",
            "plain",
            "a\"b\\c",
            "\u{0}\u{1f}\n\r\t\u{8}\u{c}",
            "é😀/",
        ] {
            assert_eq!(unescape(&escape(text)), text);
        }
        assert_eq!(escape("\u{1f}\"/"), r#"\u001F\"/"#);
        assert_eq!(unescape(r"\uD800"), "\u{FFFD}");
    }

    #[test]
    fn order_is_javas() {
        assert_eq!(compare("a", "b"), Ordering::Less);
        assert_eq!(
            compare("\u{FFFF}", "😀"),
            Ordering::Greater,
            "a supplementary character starts with 0xD83D"
        );
        assert_eq!(compare(r"a\n", "a "), Ordering::Less);
        assert_eq!(compare(r"\\", "]"), Ordering::Less);
    }
}
