//! JSON of answers, written as it goes.

use crate::stdx::Timestamp;
use crate::value::escape;

/// A JSON object that is being written.
#[derive(Debug)]
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

    fn name(&mut self, name: &str) {
        self.out.push(self.separator);
        self.separator = b',';
        push_string(self.out, name);
        self.out.push(b':');
    }

    pub(crate) fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(json);
    }

    pub(crate) fn string(&mut self, name: &str, text: &str) {
        self.name(name);
        push_string(self.out, text);
    }

    pub(crate) fn maybe(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.string(name, text);
        }
    }

    pub(crate) fn boolean(&mut self, name: &str, value: bool) {
        self.raw(name, if value { b"true" } else { b"false" });
    }

    pub(crate) fn number(&mut self, name: &str, value: impl itoa::Integer) {
        self.name(name);
        let mut buffer = itoa::Buffer::new();
        self.out.extend_from_slice(buffer.format(value).as_bytes());
    }

    /// Seconds with their milliseconds, as AWS's JSON protocol writes times.
    pub(crate) fn time(&mut self, name: &str, at: Timestamp) {
        let millis = at.millis();
        self.number(name, millis.div_euclid(1_000));
        let rest = millis.rem_euclid(1_000);
        let digits = [rest / 100, rest / 10 % 10, rest % 10];
        self.out.push(b'.');
        // Each is less than ten.
        self.out.extend(digits.map(|digit| b'0' + digit as u8));
    }

    pub(crate) fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut inner = Object::new(self.out);
        write(&mut inner);
        inner.end();
    }

    /// `{"included": true}` or `{"truncated": false}`.
    pub(crate) fn details(&mut self, name: &str, member: &str, value: bool) {
        self.object(name, |details| details.boolean(member, value));
    }

    /// An array with an object for each item.
    pub(crate) fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Object<'_>, T),
    ) {
        self.name(name);
        self.out.push(b'[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            let mut inner = Object::new(self.out);
            write(&mut inner, item);
            inner.end();
        }
        self.out.push(b']');
    }

    /// An array of JSON texts.
    pub(crate) fn raws<T: AsRef<[u8]>>(&mut self, name: &str, items: impl IntoIterator<Item = T>) {
        self.name(name);
        self.out.push(b'[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(item.as_ref());
        }
        self.out.push(b']');
    }

    pub(crate) fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

/// Bytes that are looked at together.
const CHUNK: usize = 8;

/// A word whose lowest set bit is in the first byte of `word` (little endian) that is a quote, a backslash or a control
/// character; 0 if there is none.
const fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let quotes = word ^ (b'"' as u64 * ONES);
    let backslashes = word ^ (b'\\' as u64 * ONES);
    // A byte borrows only if it is found itself, so that what is above the first one may be wrong, and it never is.
    let quotes = quotes.wrapping_sub(ONES) & !quotes;
    let backslashes = backslashes.wrapping_sub(ONES) & !backslashes;
    let controls = word.wrapping_sub(0x20 * ONES) & !word;
    (quotes | backslashes | controls) & HIGH
}

/// Writes a JSON string. Most of what an answer holds is JSON in strings, where every few bytes there is a quote: so the bytes
/// are copied by eights up to the next one, and only texts with control characters take the long way.
fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + 2 * text.len() + CHUNK, 0);
    match escape_into(&mut out[start..], text.as_bytes()) {
        Some(bytes) => out.truncate(start + bytes),
        None => {
            out.truncate(start);
            out.extend_from_slice(escape(text).as_bytes());
        }
    }
    out.push(b'"');
}

/// Writes a text with its quotes and backslashes escaped, and returns how many bytes that are; none if it has control
/// characters. `out` has room for twice the text and a chunk.
fn escape_into(out: &mut [u8], text: &[u8]) -> Option<usize> {
    let (mut from, mut at) = (0, 0);
    while let Some(chunk) = text[from..].first_chunk::<CHUNK>() {
        let found = special(u64::from_le_bytes(*chunk));
        // What follows a byte that is found is written over.
        out[at..at + CHUNK].copy_from_slice(chunk);
        if found == 0 {
            from += CHUNK;
            at += CHUNK;
            continue;
        }
        let clean = found.trailing_zeros() as usize / 8;
        let byte = chunk[clean];
        if byte < 0x20 {
            return None;
        }
        out[at + clean] = b'\\';
        out[at + clean + 1] = byte;
        from += clean + 1;
        at += clean + 2;
    }
    for &byte in &text[from..] {
        if byte < 0x20 {
            return None;
        }
        out[at] = b'\\';
        at += usize::from(byte == b'"' || byte == b'\\');
        out[at] = byte;
        at += 1;
    }
    Some(at)
}

/// The object that `write` writes.
pub(crate) fn object(write: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    object_of(256, write)
}

/// The same for an object of about so many bytes.
pub(crate) fn object_of(bytes: usize, write: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    let mut object = Object::new(&mut out);
    write(&mut object);
    object.end();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_what_they_were() {
        for text in [
            "",
            "a",
            "\"",
            "\\",
            "é\\\"é",
            "{\"a\":\"\\u00e9\\\"\"}",
            "\u{1}\"",
            "\u{7f}\u{2028}",
        ] {
            let mut out = Vec::new();
            push_string(&mut out, text);
            assert_eq!(out, format!("\"{}\"", escape(text)).into_bytes());
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn strings_of_all_kinds_are_json(text in r#"([a-z"\\\\]|é|\PC|[\x00-\x7f]){0,40}"#) {
            let mut out = vec![b'['];
            push_string(&mut out, &text);
            let expected = format!("[\"{}\"", escape(&text)).into_bytes();
            proptest::prop_assert_eq!(&out, &expected);
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&out[1..]).unwrap(), text);
        }
    }

    #[test]
    fn answers_are_json() {
        let written = object(|o| {
            o.string("a\"", "x\n\u{1}é");
            o.maybe("absent", None);
            o.number("n", -5_i64);
            o.time("t", Timestamp::from_millis(-1));
            o.time("u", Timestamp::from_millis(1_700_000_000_005));
            o.objects("list", [1, 2], |o, n| o.number("n", n));
            o.object("empty", |_| {});
            o.raws("raws", [b"1", b"2"]);
            o.boolean("yes", true);
        });
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "{\"a\\\"\":\"x\\n\\u0001é\",\"n\":-5,\"t\":-1.999,\"u\":1700000000.005,\
             \"list\":[{\"n\":1},{\"n\":2}],\"empty\":{},\"raws\":[1,2],\"yes\":true}"
        );
        assert_eq!(object(|_| {}), b"{}");
    }
}
