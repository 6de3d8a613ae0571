//! The hot copies and comparisons of text, and the writer. One of the two files that hold `unsafe`.
#![expect(
    unsafe_code,
    reason = "short copies and comparisons are most of what an execution does"
)]

use std::ops::Range;

use super::doc::{Form, Node, Ref};
use super::{CONSTANT, Doc, Key, Kind, MemberName, Name, Opened, Val, Values};

/// Bytes that a short copy moves at once.
const STRIDE: usize = 16;

/// A part of a document's text. Documents hold UTF-8 alone: ingest checks it, everything else is appended from `str`.
///
/// # Panics
///
/// If the range is not one of whole characters within the document, as that of a foreign key may be.
#[inline(always)]
pub(super) fn text(bytes: &[u8], range: Range<usize>) -> &str {
    debug_assert!(std::str::from_utf8(bytes).is_ok());
    // SAFETY: the bytes of a document are UTF-8.
    let all = unsafe { std::str::from_utf8_unchecked(bytes) };
    &all[range]
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

/// Names up to this length are compared as one number.
const SHORT_NAME_MAX: usize = 8;
/// For the searches: the name has 1 to [`SHORT_NAME_MAX`] bytes.
const SHORT_NAME: bool = true;
/// For the searches: the name has any length.
const ANY_NAME: bool = false;

/// The member `name` of an object, by its text alone.
pub(super) fn member(values: Values<'_>, object: Val, name: &Name) -> Option<Val> {
    let (bit, index) = (object.0 & CONSTANT, object.0 & !CONSTANT);
    let doc = values.home(object.0);
    let node = &doc.nodes[index as usize];
    let found = match node.tag.form() {
        Form::Object => among_nodes::<ANY_NAME>(doc, index + 1, node.next, name),
        Form::IndexedObject => doc.indexed_member(index, name.raw().as_bytes()),
        Form::OverlaidObject => {
            return among_refs::<ANY_NAME>(values, values.refs(*node), name, Key::NONE);
        }
        Form::Other => None,
    };
    found.map(|at| Val(at | bit))
}

/// The same for a name that a path reads.
#[inline(always)]
pub(super) fn named_member(values: Values<'_>, object: Opened, member: &MemberName) -> Option<Val> {
    let Opened { val, node } = object;
    if node.tag == member.expected {
        let r = &values.doc.refs[node.start as usize + member.position as usize];
        debug_assert!(r.key == member.key, "objects of one layout begin alike");
        return Some(r.val);
    }
    match node.tag.form() {
        Form::Object => {
            let (bit, index) = (val.0 & CONSTANT, val.0 & !CONSTANT);
            let found = search_nodes(values.home(val.0), index + 1, node.next, &member.name);
            found.map(|at| Val(at | bit))
        }
        Form::OverlaidObject => search_refs(values, node.start, node.next, member),
        Form::IndexedObject | Form::Other => search_other(values, val, member),
    }
}

/// Two members: those of an ingested object in one go over it.
#[inline(always)]
pub(super) fn both_members(
    values: Values<'_>,
    object: Opened,
    first: &MemberName,
    second: &MemberName,
) -> [Option<Val>; 2] {
    let is_short = |member: &MemberName| (1..=SHORT_NAME_MAX).contains(&member.name.raw().len());
    if let Form::Object = object.node.tag.form()
        && is_short(first)
        && is_short(second)
        && first.key != second.key
    {
        let (bit, index) = (object.val.0 & CONSTANT, object.val.0 & !CONSTANT);
        let doc = values.home(object.val.0);
        let names = [&first.name, &second.name];
        return search_both(doc, index + 1, object.node.next, names)
            .map(|at| (at != 0).then_some(Val(at | bit)));
    }
    [first, second].map(|member| named_member(values, object, member))
}

/// The places of two short names, which differ; 0 for one that is not there.
#[inline(never)]
fn search_both(doc: &Doc, first: u32, end: u32, names: [&Name; 2]) -> [u32; 2] {
    let nodes = doc.nodes.as_slice();
    let lens = names.map(|name| name.raw().len());
    let mut found = [0; 2];
    let mut at = first;
    while at < end {
        let node = &nodes[at as usize];
        let len = node.tag.key_len() as usize;
        if len == lens[0] && is_name::<SHORT_NAME>(&doc.bytes, node.start as usize - 2, names[0]) {
            found[0] = at;
            if found[1] != 0 {
                break;
            }
        } else if len == lens[1]
            && is_name::<SHORT_NAME>(&doc.bytes, node.start as usize - 2, names[1])
        {
            found[1] = at;
            if found[0] != 0 {
                break;
            }
        }
        at = node.next;
    }
    found
}

/// Short names are looked for without a call, so that this function saves no registers.
#[inline(never)]
fn search_nodes(doc: &Doc, first: u32, end: u32, name: &Name) -> Option<u32> {
    match name.raw().len() {
        1..=SHORT_NAME_MAX => among_nodes::<SHORT_NAME>(doc, first, end, name),
        _ => search_nodes_long(doc, first, end, name),
    }
}

#[inline(never)]
fn search_nodes_long(doc: &Doc, first: u32, end: u32, name: &Name) -> Option<u32> {
    among_nodes::<ANY_NAME>(doc, first, end, name)
}

/// The same for the members of an overlay: `count` of them, from `first` on.
#[inline(never)]
fn search_refs(values: Values<'_>, first: u32, count: u32, member: &MemberName) -> Option<Val> {
    let refs = &values.doc.refs[first as usize..first as usize + count as usize];
    match member.name.raw().len() {
        1..=SHORT_NAME_MAX => among_refs::<SHORT_NAME>(values, refs, &member.name, member.key),
        _ => search_refs_long(values, refs, member),
    }
}

#[inline(never)]
fn search_refs_long(values: Values<'_>, refs: &[Ref], member: &MemberName) -> Option<Val> {
    among_refs::<ANY_NAME>(values, refs, &member.name, member.key)
}

#[inline(never)]
fn search_other(values: Values<'_>, object: Val, member: &MemberName) -> Option<Val> {
    self::member(values, object, &member.name)
}

/// The member `name` among the nodes from `first` to `end`, which are children of one object.
#[inline(always)]
fn among_nodes<const IS_SHORT: bool>(doc: &Doc, first: u32, end: u32, name: &Name) -> Option<u32> {
    let nodes = doc.nodes.as_slice();
    assert!(
        end as usize <= nodes.len(),
        "an object ends within its document"
    );
    let mut at = first;
    while at < end {
        // SAFETY: `at` lies before `end`, which lies within the nodes.
        let node = unsafe { nodes.get_unchecked(at as usize) };
        // Ingest has written the name right before the value, its closing quote and its colon in between.
        if node.tag.key_len() as usize == name.raw().len()
            && is_name::<IS_SHORT>(&doc.bytes, node.start as usize - 2, name)
        {
            return Some(at);
        }
        at = node.next;
    }
    None
}

/// The member `name` of an overlay. `key` is the name in the program's constants, if it is known: what a template has
/// made has such keys, what was ingested has brought its own.
#[inline(always)]
fn among_refs<const IS_SHORT: bool>(
    values: Values<'_>,
    refs: &[Ref],
    name: &Name,
    key: Key,
) -> Option<Val> {
    for r in refs {
        let is_it = r.key.start == key.start
            || r.key.len as usize == name.raw().len() && {
                let end = (r.key.start & !CONSTANT) as usize + r.key.len as usize;
                is_name::<IS_SHORT>(&values.home(r.key.start).bytes, end, name)
            };
        if is_it {
            return Some(r.val);
        }
    }
    None
}

/// True if `name`, which is as long as the one that ends at `end`, is that one.
#[inline(always)]
fn is_name<const IS_SHORT: bool>(bytes: &[u8], end: usize, name: &Name) -> bool {
    let len = name.raw().len();
    if !IS_SHORT {
        return bytes.get(end.wrapping_sub(len)..end) == Some(name.raw().as_bytes());
    }
    // Before every name there are at least eight bytes: a document starts with other text.
    let Some(last) = bytes.get(end.wrapping_sub(SHORT_NAME_MAX)..end) else {
        return false;
    };
    let last = last.try_into().map_or(0, u64::from_le_bytes);
    last >> (8 * (SHORT_NAME_MAX - len)) == name.tail()
}

/// Appends `text` to a document's bytes.
#[inline]
pub(super) fn append(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(text);
}

/// Appends a range of a document's bytes to themselves.
#[inline]
pub(super) fn append_within(bytes: &mut Vec<u8>, range: Range<usize>) {
    let (len, end) = (range.len(), bytes.len());
    if len > STRIDE || range.end > end || bytes.capacity() - end < STRIDE {
        bytes.extend_from_within(range);
        return;
    }
    // SAFETY: a stride from `range.start` on ends before a stride from `end` on does, and that lies within the capacity, as
    // just checked. Bytes behind the range that were never written may be copied: `copy` is by bytes of any state, and
    // those copies lie behind the new length. Source and destination may overlap, which `copy` allows. `len` bytes behind
    // `end` are copies of written ones, since the range lies within what was written.
    unsafe {
        let start = bytes.as_mut_ptr();
        std::ptr::copy(start.add(range.start), start.add(end), STRIDE);
        bytes.set_len(end + len);
    }
}

/// An output buffer whose room for all that will be written was reserved beforehand.
struct Sink<'v> {
    out: &'v mut Vec<u8>,
    at: *mut u8,
    end: *mut u8,
    /// Longest text that is copied as two strides, whatever its length.
    short_max: usize,
}

impl<'v> Sink<'v> {
    fn new(values: Values<'_>, out: &'v mut Vec<u8>, size: usize) -> Sink<'v> {
        out.reserve(size + 2 * STRIDE);
        let room = out.spare_capacity_mut();
        let at = room.as_mut_ptr().cast::<u8>();
        // SAFETY: `end` lies within the spare capacity, which is at least `size + 2 * STRIDE`.
        let end = unsafe { at.add(size) };
        let has_slack = |bytes: &Vec<u8>| bytes.capacity() - bytes.len() >= 2 * STRIDE;
        let both = has_slack(&values.doc.bytes) && has_slack(&values.constants.bytes);
        Sink {
            out,
            at,
            end,
            short_max: if both { 2 * STRIDE } else { 0 },
        }
    }

    /// Makes sure that there is room for `len` bytes.
    #[inline(always)]
    fn check(&self, len: usize) {
        assert!(
            len <= self.end as usize - self.at as usize,
            "a value is larger than its size"
        );
    }

    /// Puts down a byte. The caller has made sure that there is room.
    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        debug_assert!(self.at < self.end);
        // SAFETY: there is room.
        unsafe {
            self.at.write(byte);
            self.at = self.at.add(1);
        }
    }

    /// Puts a bracket that closes in the place of the comma behind the last value.
    #[inline(always)]
    fn close(&mut self, bracket: u8) {
        // SAFETY: something was written before: the bracket that opens, at least.
        unsafe { self.at.sub(1).write(bracket) };
    }

    /// Copies `len` bytes of one of the two documents from `start` on. The caller has made sure that there is room.
    #[expect(
        clippy::ptr_arg,
        reason = "a slice would not reach past the text, into the rest of the allocation"
    )]
    #[inline(always)]
    fn copy(&mut self, bytes: &Vec<u8>, start: usize, len: usize) {
        debug_assert!(len <= self.end as usize - self.at as usize);
        assert!(
            start + len <= bytes.len(),
            "a text lies within its document"
        );
        // SAFETY: source and destination hold `len` bytes, as was checked, and `2 * STRIDE` bytes past the destination's
        // end are reserved. `short_max` says whether two strides past the end of either document stay within its
        // allocation; bytes that were never written may be copied, since nobody reads the copies. They cannot overlap:
        // the destination is spare capacity that nobody else can see.
        unsafe {
            let from = bytes.as_ptr().add(start);
            if len <= self.short_max {
                std::ptr::copy_nonoverlapping(from, self.at, STRIDE);
                std::ptr::copy_nonoverlapping(from.add(STRIDE), self.at.add(STRIDE), STRIDE);
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
#[derive(Clone)]
struct Open<'a> {
    rest: std::slice::Iter<'a, Ref>,
    /// The bracket that closes it.
    close: u64,
}

impl Open<'_> {
    const OBJECT: u64 = b'}' as u64;
    const ARRAY: u64 = b']' as u64;
}

/// Containers in which the writer stands; the outermost few need no memory of their own.
struct Opens<'a> {
    outer: [Open<'a>; Opens::INLINE],
    inner: Vec<Open<'a>>,
    len: usize,
}

impl<'a> Opens<'a> {
    const INLINE: usize = 4;

    fn new() -> Opens<'a> {
        let none = || Open {
            rest: [].iter(),
            close: Open::ARRAY,
        };
        Opens {
            outer: [none(), none(), none(), none()],
            inner: Vec::new(),
            len: 0,
        }
    }

    #[inline(always)]
    fn push(&mut self, open: Open<'a>) {
        match self.outer.get_mut(self.len) {
            Some(slot) => *slot = open,
            None => self.inner.push(open),
        }
        self.len += 1;
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Open<'a>> {
        self.len = self.len.checked_sub(1)?;
        match self.outer.get(self.len) {
            Some(open) => Some(open.clone()),
            None => self.inner.pop(),
        }
    }
}

/// Appends `v` to `out` as compact JSON. Ingested values are one copy each; overlays are walked with an explicit stack.
///
/// Every value is followed by a comma, which makes way for the bracket that closes if it was the last: overlays are not
/// empty.
pub(super) fn write(values: Values<'_>, v: Val, out: &mut Vec<u8>) {
    let node = values.node(v);
    if !node.tag.is_overlay() {
        let (start, size) = (node.start as usize, node.size as usize);
        out.extend_from_slice(&values.home(v.0).bytes[start..start + size]);
        return;
    }
    let mut sink = Sink::new(values, out, node.size as usize);
    sink.check(1);
    let mut open = enter(values, node, &mut sink);
    let mut opens = Opens::new();
    loop {
        while let Some(&Ref { key, val }) = open.rest.next() {
            let home = values.home(val.0);
            let node = home.nodes[(val.0 & !CONSTANT) as usize];
            let is_overlay = node.tag.is_overlay();
            // Of an overlay only the first bracket is written now, of any other value everything and a comma.
            let len = if is_overlay { 0 } else { node.size as usize };
            if open.close == Open::OBJECT {
                // The name with its quotes and its colon stands in one piece.
                let start = (key.start & !CONSTANT) as usize - 1;
                let name_len = key.len as usize + 3;
                sink.check(name_len + len + 1);
                sink.copy(&values.home(key.start).bytes, start, name_len);
            } else {
                sink.check(len + 1);
            }
            if is_overlay {
                opens.push(open);
                open = enter(values, node, &mut sink);
            } else {
                sink.copy(&home.bytes, node.start as usize, len);
                sink.byte(b',');
            }
        }
        sink.close(open.close as u8);
        match opens.pop() {
            Some(parent) => open = parent,
            None => break,
        }
        sink.check(1);
        sink.byte(b',');
    }
    sink.finish();
}

/// Writes the first bracket of an overlay. The caller has made sure that there is room.
#[inline(always)]
fn enter<'a>(values: Values<'a>, node: Node, sink: &mut Sink<'_>) -> Open<'a> {
    let (first, close) = match node.tag.kind() {
        Kind::Object => (b'{', Open::OBJECT),
        _ => (b'[', Open::ARRAY),
    };
    sink.byte(first);
    Open {
        rest: values.refs(node).iter(),
        close,
    }
}
