//! The hot copies and comparisons of text, and the writer. One of the three places that hold `unsafe`.
#![expect(
    unsafe_code,
    reason = "short copies and comparisons are most of what an execution does"
)]

use std::ops::Range;

use super::doc::{Node, Ref};
use super::{Key, Kind, Val, Values};

/// Bytes that a short copy moves at once.
const STRIDE: usize = 16;

/// Text of a document. Documents hold UTF-8 alone: ingest checks it, everything else is appended from `str`.
#[inline(always)]
pub(super) fn text(bytes: &[u8]) -> &str {
    debug_assert!(std::str::from_utf8(bytes).is_ok());
    // SAFETY: the bytes of a document are UTF-8, and ranges of values begin and end at ASCII bytes.
    unsafe { std::str::from_utf8_unchecked(bytes) }
}

/// JSON that [`write`] wrote.
pub(super) fn into_text(bytes: Vec<u8>) -> String {
    debug_assert!(std::str::from_utf8(&bytes).is_ok());
    // SAFETY: as in `text`: the writer copies text of documents and ASCII punctuation.
    unsafe { String::from_utf8_unchecked(bytes) }
}

/// Equality of two texts of the same length: short names dominate, for which a call to `memcmp` costs more than the
/// comparison.
#[inline(always)]
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    let len = a.len();
    if len != b.len() {
        return false;
    }
    if len > STRIDE {
        return a == b;
    }
    // SAFETY: every load below lies within the first and the last `width` of `len` bytes, and `len >= width`.
    unsafe {
        let (a, b) = (a.as_ptr(), b.as_ptr());
        if len >= 8 {
            let load = |p: *const u8, at: usize| p.add(at).cast::<u64>().read_unaligned();
            (load(a, 0) ^ load(b, 0)) | (load(a, len - 8) ^ load(b, len - 8)) == 0
        } else if len >= 4 {
            let load = |p: *const u8, at: usize| p.add(at).cast::<u32>().read_unaligned();
            (load(a, 0) ^ load(b, 0)) | (load(a, len - 4) ^ load(b, len - 4)) == 0
        } else if len >= 2 {
            let load = |p: *const u8, at: usize| p.add(at).cast::<u16>().read_unaligned();
            (load(a, 0) ^ load(b, 0)) | (load(a, len - 2) ^ load(b, len - 2)) == 0
        } else {
            len == 0 || *a == *b
        }
    }
}

/// Appends `text` to a document's bytes.
#[inline]
pub(super) fn append(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(text);
}

/// Appends a range of a document's bytes to themselves.
#[inline]
pub(super) fn append_within(bytes: &mut Vec<u8>, range: Range<usize>) {
    bytes.extend_from_within(range);
}

/// An output buffer whose room for all that will be written was reserved beforehand.
struct Sink<'v> {
    out: &'v mut Vec<u8>,
    at: *mut u8,
    end: *mut u8,
}

impl<'v> Sink<'v> {
    fn new(out: &'v mut Vec<u8>, size: usize) -> Sink<'v> {
        out.reserve(size + STRIDE);
        let room = out.spare_capacity_mut();
        let at = room.as_mut_ptr().cast::<u8>();
        // SAFETY: `end` lies within the spare capacity, which is at least `size + STRIDE`.
        let end = unsafe { at.add(size) };
        Sink { out, at, end }
    }

    fn left(&self) -> usize {
        self.end as usize - self.at as usize
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        assert!(self.at < self.end, "a value is larger than its size");
        // SAFETY: there is room, as just checked.
        unsafe {
            self.at.write(byte);
            self.at = self.at.add(1);
        }
    }

    /// Copies `source[range]`. Short ranges are copied as one fixed stride where the source has that many bytes.
    #[inline(always)]
    fn copy(&mut self, source: &[u8], start: usize, len: usize) {
        assert!(
            len <= self.left() && start <= source.len() && len <= source.len() - start,
            "a value is larger than its size"
        );
        // SAFETY: source and destination hold `len` bytes, as just checked. The stride of a short copy stays within
        // the source, as checked in its condition, and within the `STRIDE` bytes reserved past the destination's end.
        // They cannot overlap: the destination is spare capacity that nobody else can see.
        unsafe {
            let from = source.as_ptr().add(start);
            if len <= STRIDE && start + STRIDE <= source.len() {
                std::ptr::copy_nonoverlapping(from, self.at, STRIDE);
            } else {
                std::ptr::copy_nonoverlapping(from, self.at, len);
            }
            self.at = self.at.add(len);
        }
    }

    /// Makes what was written part of the vector.
    fn finish(self) {
        assert!(self.at == self.end, "a value is smaller than its size");
        let written = self.at as usize - self.out.spare_capacity_mut().as_ptr() as usize;
        let len = self.out.len() + written;
        // SAFETY: everything up to `at` was written, and it lies within the capacity.
        unsafe { self.out.set_len(len) };
    }
}

/// A container of which a part has been written.
struct Open<'a> {
    rest: std::slice::Iter<'a, Ref>,
    close: u8,
}

/// Appends `v` to `out` as compact JSON. Ingested values are one copy each; overlays are walked with an explicit stack.
pub(super) fn write(values: Values<'_>, v: Val, out: &mut Vec<u8>) {
    let node = values.node(v);
    if !node.tag.is_overlay() {
        out.extend_from_slice(&values.home(v.0).bytes[node.start as usize..node.end as usize]);
        return;
    }
    let mut sink = Sink::new(out, node.next as usize);
    let mut stack: Vec<Open<'_>> = Vec::new();
    let mut open = enter(values, node, &mut sink);
    loop {
        let Some(r) = open.rest.next() else {
            sink.byte(open.close);
            match stack.pop() {
                Some(parent) => open = parent,
                None => break,
            }
            if open.rest.len() > 0 {
                sink.byte(b',');
            }
            continue;
        };
        if open.close == b'}' {
            write_key(values, r.key, &mut sink);
        }
        let node = values.node(r.val);
        if node.tag.is_overlay() {
            let child = enter(values, node, &mut sink);
            stack.push(std::mem::replace(&mut open, child));
            continue;
        }
        sink.copy(
            &values.home(r.val.0).bytes,
            node.start as usize,
            (node.end - node.start) as usize,
        );
        if open.rest.len() > 0 {
            sink.byte(b',');
        }
    }
    sink.finish();
}

fn enter<'a>(values: Values<'a>, node: Node, sink: &mut Sink<'_>) -> Open<'a> {
    let rest = values.doc.refs[node.start as usize..(node.start + node.end) as usize].iter();
    let (open, close) = if node.tag.kind() == Kind::Array {
        (b'[', b']')
    } else {
        (b'{', b'}')
    };
    sink.byte(open);
    Open { rest, close }
}

/// The name with its quotes and its colon stands in one piece.
#[inline(always)]
fn write_key(values: Values<'_>, key: Key, sink: &mut Sink<'_>) {
    let source = &values.home(key.start).bytes;
    let start = (key.start & !super::CONSTANT) as usize - 1;
    sink.copy(source, start, key.len as usize + 3);
}
