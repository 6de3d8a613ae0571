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
    // Half as much again is enough for JSON in a string, where every name and text has two quotes.
    let mut escaped = String::with_capacity(text.len() + text.len() / 2 + 8);
    escaped.push_str(&text[..first]);
    // What is escaped is ASCII, so that the pieces between are whole characters, and are copied as they are.
    let mut from = first;
    for (i, byte) in text.bytes().enumerate().skip(first) {
        if needs_escape(&byte) {
            escaped.push_str(&text[from..i]);
            push_char(&mut escaped, char::from(byte));
            from = i + 1;
        }
    }
    escaped.push_str(&text[from..]);
    Cow::Owned(escaped)
}

/// Appends `text` as the inside of a JSON string, escaped as by [`escape`].
///
/// Unlike that it is quick where much has to be escaped, as in JSON within JSON.
pub(crate) fn push_escaped(text: &[u8], out: &mut Vec<u8>) {
    let plain = plain_bytes(text);
    out.extend_from_slice(&text[..plain]);
    let mut rest = &text[plain..];
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(ESCAPED_AT_ONCE));
        let start = out.len();
        // Of JSON a sixth or so is quotes. Where there is no room for that, a byte can become six.
        for room in [part.len() + part.len() / 4 + 64, part.len() * 6 + 8] {
            out.resize(start + room, 0);
            if let Some(written) = escape_part(part, &mut out[start..]) {
                out.truncate(start + written);
                break;
            }
        }
        rest = after;
    }
}

/// How many bytes at the beginning need no escape.
fn plain_bytes(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return at * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest.iter().position(|byte| needs_escape(*byte));
    words.len() * 8 + plain.unwrap_or(rest.len())
}

#[inline(always)]
const fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// So many bytes of text are escaped at a time, so that their room need not be large.
const ESCAPED_AT_ONCE: usize = 4 * 1024;

/// Escapes `text` into `out`; says how much of it was used, or `None` if it is too small.
fn escape_part(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0, 0);
    while let Some(word) = text.get(from..).and_then(<[u8]>::first_chunk::<8>) {
        // Eight bytes and an escape at once; what is written behind the first byte that needs an escape is overwritten.
        let room = out.get_mut(to..)?.first_chunk_mut::<16>()?;
        let number = u64::from_le_bytes(*word);
        let special = specials(number);
        room[..8].copy_from_slice(word);
        if special == 0 {
            (from, to) = (from + 8, to + 8);
            continue;
        }
        let plain = special.trailing_zeros() / 8;
        // By far the most are quotes.
        let (escape, len) = match (number >> (8 * plain)) as u8 {
            b'"' => (u64::from_le_bytes(*b"\\\"\0\0\0\0\0\0"), 2),
            byte => escape_of(byte),
        };
        let plain = plain as usize;
        // Seven bytes are before it at most, so that eight fit behind them.
        room[plain & 7..][..8].copy_from_slice(&escape.to_le_bytes());
        to += plain + len;
        from += plain + 1;
    }
    for &byte in &text[from..] {
        let (bytes, len) = match needs_escape(byte) {
            true => escape_of(byte),
            false => (u64::from(byte), 1),
        };
        out.get_mut(to..to + 8)?
            .copy_from_slice(&bytes.to_le_bytes());
        to += len;
    }
    Some(to)
}

/// The escape of a byte that needs one, and its length.
fn escape_of(byte: u8) -> (u64, usize) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x8 => b'b',
        0xC => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let mut text = String::with_capacity(6);
            push_unicode_escape(&mut text, u16::from(byte));
            let mut bytes = [0; 8];
            bytes[..6].copy_from_slice(text.as_bytes());
            return (u64::from_le_bytes(bytes), 6);
        }
    };
    (u64::from_le_bytes([b'\\', short, 0, 0, 0, 0, 0, 0]), 2)
}

/// Sets the top bit of the first byte that is `"`, `\` or a control character; bits above it mean nothing.
#[inline(always)]
const fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    // A borrow can only come from a byte further down that is found itself.
    (quote.wrapping_sub(ONES) & !quote
        | backslash.wrapping_sub(ONES) & !backslash
        | word.wrapping_sub(ONES * b' ' as u64) & !word)
        & TOPS
}

fn push_char(out: &mut String, c: char) {
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
        Piece::Char(c) => push_char(&mut text, c),
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
    fn bytes_are_escaped_like_text() {
        let mut texts = vec![
            String::new(),
            "\u{0}\u{1f}\n\r\t\u{8}\u{c}\u{7f}é😀/".repeat(700),
        ];
        // Every byte at every place of a word, with neighbours that borrow from each other.
        for byte in 0..0x80_u8 {
            for before in 0..9 {
                for filler in ["a", "\"", " ", "!", "é", "\u{1}"] {
                    let filler = filler.repeat(before);
                    texts.push(format!("{filler}{}{filler}#]", char::from(byte)));
                }
            }
        }
        for text in texts {
            let mut out = b"before".to_vec();
            push_escaped(text.as_bytes(), &mut out);
            assert_eq!(out, format!("before{}", escape(&text)).into_bytes());
        }
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
