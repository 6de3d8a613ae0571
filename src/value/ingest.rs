//! Ingest: JSON text in, nodes out. One of the two files that hold `unsafe`.
//!
//! 1. The text is appended to the document's bytes, followed by [`PADDING`] zero bytes, and scanned once. White space
//!    between tokens, an escape that is not canonical, or a duplicate name ends this fast path.
//! 2. In that case the text is first rewritten in canonical form, and scanned again. Duplicate names are resolved from
//!    the nodes, by writing the value once more without them.
//! 3. If the scan fails, `serde_json` reads the text again for the place and the wording of the error.
//!
//! The scanner reads strings sixteen bytes at a time where the processor has SSE2 (every x86-64), else eight.
#![expect(
    unsafe_code,
    reason = "the scanner reads through pointers that the padding keeps in bounds"
)]

use super::doc::{Node, Tag};
use super::error::{IngestError, Stop, describe};
use super::rewrite::{is_space, rewrite};
use super::{Doc, Kind, Val, number, text};
use crate::stdx::narrow;

/// Deepest nesting of arrays and objects that is accepted.
pub const DEPTH_MAX: usize = 1_000;

/// Longest text that is accepted, in bytes: addresses in a document are 31 bits wide.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 30;

/// Zero bytes after the text: a string scan or a literal may read this far past the end.
const PADDING: usize = 32;

/// Objects with more members than this get a hash table.
const SCAN_MEMBERS_MAX: usize = 32;

/// An open container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    node: u32,
    /// The bracket that ends it.
    close: u32,
    count: usize,
    /// A bit for each name seen, by hash: most objects of distinct names never compare two names.
    names: u64,
}

impl Doc {
    /// Appends the JSON text `json` and returns its value.
    ///
    /// # Errors
    ///
    /// If the text is not JSON (RFC 8259) in UTF-8, is nested deeper than [`DEPTH_MAX`], or is longer than 1 GiB.
    pub fn ingest(&mut self, json: &[u8]) -> Result<Val, IngestError> {
        let json = trim(json);
        let start = self.bytes.len();
        let result = self.ingest_at(start, json);
        self.frames.clear();
        result.map_err(|stop| {
            self.bytes.truncate(start);
            describe(stop, json)
        })
    }

    fn ingest_at(&mut self, start: usize, json: &[u8]) -> Result<Val, Stop> {
        if json.len() > TEXT_BYTES_MAX || start > TEXT_BYTES_MAX {
            return Err(Stop::TooLong);
        }
        self.bytes.reserve(json.len() + PADDING);
        self.bytes.extend_from_slice(json);
        match self.scan(start, DEPTH_MAX) {
            Ok(Scanned::Distinct(root)) => Ok(root),
            Ok(Scanned::Duplicates(root)) => self.deduplicate(start, root),
            Err(Stop::NotCanonical) => self.ingest_rewritten(start, json),
            Err(stop) => Err(stop),
        }
    }

    #[cold]
    fn ingest_rewritten(&mut self, start: usize, json: &[u8]) -> Result<Val, Stop> {
        self.bytes.truncate(start);
        rewrite(json, &mut self.bytes)?;
        match self.scan(start, DEPTH_MAX)? {
            Scanned::Distinct(root) => Ok(root),
            Scanned::Duplicates(root) => self.deduplicate(start, root),
        }
    }

    /// Scans the bytes from `start` on.
    fn scan(&mut self, start: usize, depth_max: usize) -> Result<Scanned, Stop> {
        let first_node = self.nodes.len();
        let end = self.bytes.len();
        self.bytes.extend_from_slice(&[0; PADDING]);
        // A value takes two bytes at least (itself and what separates it), but for the last one and for containers that
        // are still open: in text that is cut off, each of those takes its bracket alone.
        let open_max = (end - start).min(depth_max);
        self.nodes.reserve((end - start + open_max) / 2 + 2);
        self.frames.clear();
        let (bytes, nodes) = (self.bytes.as_ptr(), self.nodes.as_mut_ptr());
        // SAFETY: all three lie in what was just made sure of.
        let (node, from, to) = unsafe { (nodes.add(first_node), bytes.add(start), bytes.add(end)) };
        let node_count = narrow(first_node);
        let mut scanner = Scanner {
            bytes,
            nodes,
            node,
            node_count,
            end: to,
            non_ascii: false,
            duplicates: false,
        };
        let result = scanner.run(self, from, depth_max);
        scanner.commit(self);
        let (non_ascii, duplicates) = (scanner.non_ascii, scanner.duplicates);
        self.bytes.truncate(end);
        let result = match result {
            Ok(()) if non_ascii => match simdutf8::basic::from_utf8(&self.bytes[start..end]) {
                Ok(_) => Ok(()),
                Err(_) => Err(Stop::Syntax),
            },
            other => other,
        };
        match result {
            Ok(()) => {
                let root = Val(narrow(first_node));
                Ok(if duplicates {
                    Scanned::Duplicates(root)
                } else {
                    Scanned::Distinct(root)
                })
            }
            Err(stop) => {
                self.nodes.truncate(first_node);
                Err(stop)
            }
        }
    }

    /// Scans the value once more without its duplicate names.
    #[cold]
    fn deduplicate(&mut self, start: usize, root: Val) -> Result<Val, Stop> {
        let text = self.without_duplicates(start, root);
        self.nodes.truncate(root.0 as usize);
        self.bytes.truncate(start);
        self.bytes.extend_from_slice(&text);
        match self.scan(start, DEPTH_MAX)? {
            Scanned::Distinct(root) | Scanned::Duplicates(root) => Ok(root),
        }
    }

    /// Appends canonical text that this crate has written, however deep it is nested.
    pub(super) fn ingest_own(&mut self, json: &[u8]) -> Val {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(json);
        match self.scan(start, usize::MAX) {
            Ok(Scanned::Distinct(root) | Scanned::Duplicates(root)) => root,
            Err(stop) => panic!("own text is not canonical JSON: {stop:?}"),
        }
    }
}

enum Scanned {
    Distinct(Val),
    Duplicates(Val),
}

fn trim(mut json: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = json
        && is_space(*first)
    {
        json = rest;
    }
    while let [rest @ .., last] = json
        && is_space(*last)
    {
        json = rest;
    }
    json
}

/// One pass over canonical text. Every read lies before `end + PADDING`: a position moves on only past a byte that is
/// not zero, and the byte at `end` is zero.
///
/// Positions are pointers, and what is rare is left to functions that do not see the scanner: so it lives in registers.
struct Scanner {
    /// The document's bytes and nodes; the vectors do not move during a scan.
    bytes: *const u8,
    nodes: *mut Node,
    /// Where the next node goes, and its number among those of the document, earlier texts included.
    node: *mut Node,
    node_count: u32,
    end: *const u8,
    non_ascii: bool,
    duplicates: bool,
}

impl Frame {
    /// What is around the outermost value.
    const OUTSIDE: Frame = Frame {
        node: u32::MAX,
        close: 0,
        count: 0,
        names: 0,
    };
}

/// A position in the text.
type At = *const u8;

/// The byte at a position.
#[inline(always)]
fn byte(at: At) -> u8 {
    // SAFETY: positions lie before `end + PADDING`, where the document's bytes end.
    unsafe { *at }
}

/// The position `n` bytes on.
#[inline(always)]
fn skip(at: At, n: usize) -> At {
    // SAFETY: as for `byte`: callers skip what they have seen, or within the padding.
    unsafe { at.add(n) }
}

/// The two bytes before a position that lies behind a quote, as one number.
#[inline(always)]
fn last_two(at: At) -> u32 {
    // SAFETY: a document starts with other text.
    u32::from(unsafe { at.sub(2).cast::<u16>().read_unaligned() })
}

impl Scanner {
    /// A position as the document counts it: in 31 bits, as was checked before the scan.
    #[inline(always)]
    fn offset(&self, at: At) -> u32 {
        (at as usize - self.bytes as usize) as u32
    }

    #[inline(always)]
    fn push(&mut self, start: At, end: At, tag: Tag) {
        let node = Node {
            start: self.offset(start),
            size: (end as usize - start as usize) as u32,
            next: self.node_count + 1,
            tag,
        };
        // SAFETY: `scan` has reserved a node for every second byte of the text, one more for every second container
        // that can be open, and two more.
        unsafe {
            self.node.write(node);
            self.node = self.node.add(1);
        }
        self.node_count += 1;
    }

    /// Makes the nodes written so far part of the document, for what reads them there.
    fn commit(&self, doc: &mut Doc) {
        let count = self.node_count as usize;
        assert!(
            count <= doc.nodes.capacity(),
            "there was room for the nodes"
        );
        // SAFETY: all of them were written, within the capacity.
        unsafe { doc.nodes.set_len(count) };
    }

    #[expect(
        clippy::too_many_lines,
        reason = "the one hot loop, whose state is to stay in registers"
    )]
    fn run(&mut self, doc: &mut Doc, start: At, depth_max: usize) -> Result<(), Stop> {
        const IN_OBJECT: u32 = b'}' as u32;
        let first_node = self.node_count;
        let mut at = start;
        let mut top = Frame::OUTSIDE;
        loop {
            let mut key_len = 0;
            if top.close == IN_OBJECT {
                (at, key_len) = self.name(doc, at, &mut top)?;
            }
            let first = byte(at);
            match first {
                b'"' => {
                    let (close, escaped) = self.string(doc, skip(at, 1))?;
                    let tag = Tag::new(Kind::String, key_len);
                    let end = skip(close, 1);
                    self.push(at, end, if escaped { tag.with_escaped() } else { tag });
                    at = end;
                }
                b'0'..=b'9' | b'-' => {
                    let end = self.number(doc, at).ok_or(Stop::Syntax)?;
                    self.push(at, end, Tag::new(Kind::Number, key_len));
                    at = end;
                }
                b'{' | b'[' => {
                    if doc.frames.len() >= depth_max {
                        return Err(Stop::Depth);
                    }
                    let kind = if first == b'{' {
                        Kind::Object
                    } else {
                        Kind::Array
                    };
                    let node = self.node_count;
                    self.push(at, skip(at, 2), Tag::new(kind, key_len));
                    at = skip(at, 1);
                    // The closing bracket lies two past the opening one in ASCII, for both kinds.
                    let close = first + 2;
                    if byte(at) != close {
                        doc.frames.push(top);
                        top = Frame {
                            node,
                            close: u32::from(close),
                            count: 0,
                            names: 0,
                        };
                        continue;
                    }
                    at = skip(at, 1);
                }
                b't' => at = self.literal(at, b"true", Tag::new(Kind::True, key_len))?,
                b'f' => at = self.literal(at, b"false", Tag::new(Kind::False, key_len))?,
                b'n' => at = self.literal(at, b"null", Tag::new(Kind::Null, key_len))?,
                _ => return Err(unexpected(first)),
            }
            // Behind a value: close what ends here, then go on to the next one.
            loop {
                let next = byte(at);
                if next == b',' {
                    break;
                }
                if u32::from(next) != top.close {
                    return Err(unexpected(next));
                }
                if top.close == 0 {
                    // Commas around the outermost value were not looked for; but what they separate is no part of it.
                    // SAFETY: the node of the outermost value was written.
                    let next = unsafe { (*self.nodes.add(first_node as usize)).next };
                    let is_whole = at == self.end && next == self.node_count;
                    return if is_whole { Ok(()) } else { Err(Stop::Syntax) };
                }
                at = skip(at, 1);
                self.close(doc, &top, at);
                top = doc.frames.pop().unwrap_or(Frame::OUTSIDE);
            }
            at = skip(at, 1);
        }
    }

    #[inline(always)]
    fn literal(&mut self, at: At, word: &[u8], tag: Tag) -> Result<At, Stop> {
        if word
            .iter()
            .enumerate()
            .all(|(i, expected)| byte(skip(at, i)) == *expected)
        {
            let end = skip(at, word.len());
            self.push(at, end, tag);
            Ok(end)
        } else {
            Err(Stop::Syntax)
        }
    }

    #[inline(always)]
    fn number(&self, doc: &Doc, start: At) -> Option<At> {
        // Integers and plain decimals are nearly all numbers; the rest takes the general way.
        let mut at = start;
        if matches!(byte(at), b'1'..=b'9') {
            at = digits(skip(at, 1));
            if byte(at) == b'.' && byte(skip(at, 1)).is_ascii_digit() {
                at = digits(skip(at, 2));
            }
            if !matches!(byte(at), b'.' | b'e' | b'E') {
                return Some(at);
            }
        }
        let (start_offset, end) = (self.offset(start) as usize, self.offset(self.end) as usize);
        number_len(doc, start_offset, end).map(|len| skip(start, len))
    }

    /// The member name at `at` and its colon: the position of the value and the length of the name.
    #[inline(always)]
    fn name(&mut self, doc: &mut Doc, at: At, top: &mut Frame) -> Result<(At, u32), Stop> {
        if byte(at) != b'"' {
            return Err(unexpected(byte(at)));
        }
        let start = skip(at, 1);
        let (close, _) = self.string(doc, start)?;
        if byte(skip(close, 1)) != b':' {
            return Err(unexpected(byte(skip(close, 1))));
        }
        let len = close as usize - start as usize;
        if len.wrapping_sub(1) >= Tag::KEY_BYTES_MAX {
            if len > 0 {
                return Err(Stop::TooLong);
            }
            // An empty name has two bytes before its end that are not its own: from now on every name is looked for.
            top.names = u64::MAX;
        }
        self.note_name(doc, start, close, len, top);
        Ok((skip(close, 2), len as u32))
    }

    /// Looks for a duplicate of a name, in objects that are too small for a hash table.
    #[inline(always)]
    fn note_name(&mut self, doc: &mut Doc, start: At, close: At, len: usize, top: &mut Frame) {
        // Names of one object differ in length or in their last two bytes more often than not. The byte before a short
        // name is its quote.
        let hash = last_two(close).wrapping_mul(0x9E35) / 1024 + len as u32;
        let bit = 1_u64 << (hash & 63);
        top.count += 1;
        if top.names & bit != 0 && top.count <= SCAN_MEMBERS_MAX {
            self.commit(doc);
            self.duplicates |= has_member(doc, top.node, self.offset(start) as usize, len);
        }
        top.names |= bit;
    }

    #[inline(always)]
    fn close(&mut self, doc: &mut Doc, frame: &Frame, end: At) {
        let (end, next) = (self.offset(end), self.node_count);
        // SAFETY: the node of an open container was written when it was opened.
        unsafe {
            let node = self.nodes.add(frame.node as usize);
            (*node).size = end - (*node).start;
            (*node).next = next;
        }
        if frame.count > SCAN_MEMBERS_MAX {
            self.commit(doc);
            self.duplicates |= doc.index_members(frame.node, frame.count);
        }
    }

    /// The closing quote of the string whose text begins at `at`, and whether there are escapes in it.
    #[inline(always)]
    fn string(&mut self, doc: &Doc, mut at: At) -> Result<(At, bool), Stop> {
        loop {
            // SAFETY: a load at `at <= end` stays before `end + PADDING`.
            let special = unsafe { lanes::find(at) };
            if special == 0 {
                at = skip(at, lanes::WIDTH);
                continue;
            }
            at = skip(at, lanes::first(special));
            if byte(at) == b'"' {
                return Ok((at, false));
            }
            let (from, end) = (self.offset(at) as usize, self.offset(self.end) as usize);
            let rest = string_rest(&doc.bytes[..end], from)?;
            self.non_ascii |= rest.non_ascii;
            return Ok((skip(at, rest.len), rest.escaped));
        }
    }
}

#[inline(always)]
fn digits(mut at: At) -> At {
    while byte(at).is_ascii_digit() {
        at = skip(at, 1);
    }
    at
}

/// The length of a number of any form.
#[inline(never)]
fn number_len(doc: &Doc, start: usize, end: usize) -> Option<usize> {
    number::end(&doc.bytes[start..end])
}

/// True if the open object has a member of the name that stands at `start`.
#[inline(never)]
fn has_member(doc: &Doc, object: u32, start: usize, len: usize) -> bool {
    let name = &doc.bytes[start..start + len];
    let mut at = object + 1;
    while let Some(member) = doc.nodes.get(at as usize) {
        if doc.key_bytes(member) == name {
            return true;
        }
        at = member.next;
    }
    false
}

/// What is left of a string from its first byte on that is neither plain nor the closing quote.
struct Rest {
    /// How far away the closing quote is.
    len: usize,
    escaped: bool,
    non_ascii: bool,
}

#[inline(never)]
fn string_rest(bytes: &[u8], start: usize) -> Result<Rest, Stop> {
    let mut rest = Rest {
        len: 0,
        escaped: false,
        non_ascii: false,
    };
    let mut at = start;
    loop {
        match bytes.get(at) {
            Some(b'"') => {
                rest.len = at - start;
                return Ok(rest);
            }
            Some(b'\\') => {
                at = canonical_escape(bytes, at)?;
                rest.escaped = true;
            }
            None | Some(0..0x20) => return Err(Stop::Syntax),
            Some(byte) => {
                rest.non_ascii |= *byte >= 0x80;
                at += 1;
            }
        }
    }
}

/// Skips the escape at `at` if it is canonical.
fn canonical_escape(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let unit = text::unicode_unit(bytes, at).ok_or(Stop::Syntax)?;
            let upper = !bytes[at + 2..at + 6].iter().any(u8::is_ascii_lowercase);
            let short = matches!(unit, 0x8 | 0x9 | 0xA | 0xC | 0xD);
            let control = unit < 0x20 && !short;
            let follows_high = at >= 6
                && matches!(text::unicode_unit(bytes, at - 6), Some(0xD800..=0xDBFF))
                && is_escape_start(bytes, at - 6);
            let lone =
                matches!(unit, 0xD800..=0xDBFF) || matches!(unit, 0xDC00..=0xDFFF) && !follows_high;
            if upper && (control || lone) {
                Ok(at + 6)
            } else {
                Err(Stop::NotCanonical)
            }
        }
        Some(b'/') => Err(Stop::NotCanonical),
        _ => Err(Stop::Syntax),
    }
}

/// The error for a byte that cannot stand where it does.
#[cold]
fn unexpected(byte: u8) -> Stop {
    if is_space(byte) {
        Stop::NotCanonical
    } else {
        Stop::Syntax
    }
}

/// True if the backslash at `at` begins an escape, rather than being the second half of `\\`.
fn is_escape_start(bytes: &[u8], at: usize) -> bool {
    bytes[..at]
        .iter()
        .rev()
        .take_while(|&&b| b == b'\\')
        .count()
        % 2
        == 0
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
mod lanes {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    /// Bytes looked at in one go.
    pub(super) const WIDTH: usize = 16;

    /// A mask of the quotes, backslashes, control characters and non-ASCII bytes among the next [`WIDTH`] bytes.
    ///
    /// # Safety
    ///
    /// `WIDTH` bytes can be read at `at`.
    #[inline(always)]
    pub(super) unsafe fn find(at: *const u8) -> u32 {
        // SAFETY: SSE2 is there, by this module's `cfg`, and the caller vouches for the bytes.
        unsafe {
            let bytes = _mm_loadu_si128(at.cast());
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            // As signed numbers, bytes that are not ASCII lie below the control characters.
            let other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), other)) as u32
        }
    }

    /// The first byte of a mask that is not zero.
    #[inline(always)]
    pub(super) const fn first(mask: u32) -> usize {
        mask.trailing_zeros() as usize
    }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
mod lanes {
    /// Bytes looked at in one go.
    pub(super) const WIDTH: usize = 8;

    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;

    /// A mask of the quotes, backslashes, control characters and non-ASCII bytes among the next [`WIDTH`] bytes.
    ///
    /// # Safety
    ///
    /// `WIDTH` bytes can be read at `at`.
    #[inline(always)]
    pub(super) unsafe fn find(at: *const u8) -> u64 {
        // SAFETY: the caller vouches for the bytes.
        let word = u64::from_le(unsafe { at.cast::<u64>().read_unaligned() });
        // A byte's high bit is set where the byte is zero; borrows can only set bits above the first such byte.
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
        let quote = zeros(word ^ (ONES * u64::from(b'"')));
        let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        quote | backslash | control | word & HIGHS
    }

    /// The first byte of a mask that is not zero.
    #[inline(always)]
    pub(super) const fn first(mask: u64) -> usize {
        mask.trailing_zeros() as usize / 8
    }
}

#[cfg(test)]
mod tests {
    use super::super::Values;
    use super::*;

    fn canonical(json: &str) -> Result<String, IngestError> {
        let mut doc = Doc::new();
        let v = doc.ingest(json.as_bytes())?;
        Ok(Values {
            doc: &doc,
            constants: &doc,
        }
        .to_json(v))
    }

    #[test]
    fn text_is_canonical_and_numbers_keep_theirs() {
        for (json, expected) in [
            ("  null ", "null"),
            ("0.10", "0.10"),
            (
                "[1E5,18446744073709551616,1e400,-0]",
                "[1E5,18446744073709551616,1e400,-0]",
            ),
            (
                r#"{ "a" : [ 1 , { } , [ ] , "x y" ] }"#,
                r#"{"a":[1,{},[],"x y"]}"#,
            ),
            (r#"{"a\/\u0062":"\u00e9\/\n"}"#, r#"{"a/b":"é/\n"}"#),
            (
                r#"["\ud83d\ude00","\ud83d","\uD83D\\","\u001f"]"#,
                r#"["😀","\uD83D","\uD83D\\","\u001F"]"#,
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (
                r#"{"a":{"x":1,"x":{"y":1,"y":2}},"a":[{"k":1,"k":2}]}"#,
                r#"{"a":[{"k":2}]}"#,
            ),
            (r#"{"a":1, "\u0061":2}"#, r#"{"a":2}"#),
            (r#"{"":1,"":2,"a":3,"":4}"#, r#"{"":4,"a":3}"#),
            (
                r#"{"a":1,"":2,"b":3,"a":4,"c":5}"#,
                r#"{"a":4,"":2,"b":3,"c":5}"#,
            ),
            (r#"[{"":{"":1}},{"":2}]"#, r#"[{"":{"":1}},{"":2}]"#),
            (
                r#""0123456789abcdef0123456789abcdefé""#,
                r#""0123456789abcdef0123456789abcdefé""#,
            ),
        ] {
            assert_eq!(canonical(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_refused_with_its_place() {
        for (json, line, column) in [
            ("", 1, 1),
            ("{\n \"a\": x}", 2, 7),
            ("[1 2]", 1, 4),
            ("[1,]", 1, 4),
            ("1,2", 1, 2),
            ("{},[1]", 1, 3),
            ("{\"a\" 1}", 1, 6),
            ("\"a\u{1}\"", 1, 3),
            ("tr ue", 1, 3),
            ("01", 1, 2),
            ("[\"abc", 1, 5),
            ("nul", 1, 3),
            ("\"\\x\"", 1, 3),
            ("{} {}", 1, 4),
        ] {
            let error = canonical(json).unwrap_err();
            // serde_json counts the byte that it last read, which may be the one before the place.
            assert!(
                error.line == line && error.column.abs_diff(column) <= 1,
                "{json}: {error}"
            );
        }
        let mut doc = Doc::new();
        assert_eq!(doc.ingest(b"\"a\xff\"").unwrap_err().message, "not UTF-8");
        assert_eq!(doc.memory(), Doc::new().memory(), "nothing stays behind");
    }

    #[test]
    fn containers_left_open_have_room_for_their_nodes() {
        for open in [1, 2, 3, 250, 700, DEPTH_MAX] {
            for tail in ["", "1", "[]", "1,1"] {
                let text = format!("{}{tail}", "[".repeat(open));
                assert!(canonical(&text).is_err(), "{open} {tail}");
            }
        }
    }

    #[test]
    fn depth_has_a_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(canonical(&nested(DEPTH_MAX)).is_ok());
        let error = canonical(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.offset),
            ("nested deeper than 1000 levels", DEPTH_MAX)
        );
    }

    #[test]
    fn large_objects_have_an_index() {
        let members: Vec<String> = (0..500).map(|i| format!("\"key{i}\":{i}")).collect();
        let mut doc = Doc::new();
        let v = doc
            .ingest(format!("[{{{}}}]", members.join(",")).as_bytes())
            .unwrap();
        let values = Values {
            doc: &doc,
            constants: &doc,
        };
        let object = values.element(v, 0).unwrap();
        for i in 0..500 {
            let name = super::super::Name::new(&format!("key{i}"));
            assert_eq!(values.as_i64(values.get(object, &name).unwrap()), Some(i));
        }
        assert_eq!(values.get(object, &super::super::Name::new("key500")), None);
        let repeated = format!("{{{},\"key7\":\"last\"}}", members.join(","));
        let v = doc.ingest(repeated.as_bytes()).unwrap();
        let values = Values {
            doc: &doc,
            constants: &doc,
        };
        assert_eq!(values.len(v), 500);
        assert_eq!(
            values.text(values.get(v, &super::super::Name::new("key7")).unwrap()),
            "last"
        );
    }
}
