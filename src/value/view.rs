//! Reading values: [`Values`] resolves a [`Val`] wherever it lives.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::doc::{Node, Ref};
use super::{CONSTANT, Doc, Key, Kind, MemberName, Name, Val, copy, number, text};

/// A read-only view of an execution's values and of its program's constants.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The execution's values.
    pub doc: &'a Doc,
    /// The program's constants, all of them ingested.
    pub constants: &'a Doc,
}

/// A value that several members are about to be read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(super) val: Val,
    pub(super) node: Node,
}

impl Opened {
    #[inline(always)]
    pub(crate) fn val(&self) -> Val {
        self.val
    }

    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        self.node.tag.kind()
    }

    /// Bytes of the value as compact JSON.
    #[inline(always)]
    pub(crate) fn size(&self) -> usize {
        self.node.size as usize
    }

    /// True if it is a string whose text holds an escape.
    #[inline(always)]
    pub(crate) fn is_escaped(&self) -> bool {
        self.node.tag.is_escaped()
    }

    /// True if it has members.
    #[inline(always)]
    pub(crate) fn is_object(&self) -> bool {
        self.node.tag.kind() == Kind::Object
    }
}

impl<'a> Values<'a> {
    #[inline(always)]
    pub(super) fn home(self, bits: u32) -> &'a Doc {
        if bits & CONSTANT == 0 {
            self.doc
        } else {
            self.constants
        }
    }

    #[inline(always)]
    pub(super) fn node(self, v: Val) -> Node {
        self.home(v.0).nodes[(v.0 & !CONSTANT) as usize]
    }

    /// What kind of value it is.
    #[must_use]
    #[inline]
    pub fn kind(self, v: Val) -> Kind {
        self.node(v).tag.kind()
    }

    /// Bytes of the value as compact JSON, in constant time.
    #[must_use]
    #[inline]
    pub fn size(self, v: Val) -> usize {
        self.node(v).size as usize
    }

    /// The member `name` of an object; `None` also for anything but an object.
    #[must_use]
    pub fn get(self, object: Val, name: &Name) -> Option<Val> {
        copy::member(self, object, name)
    }

    /// Opens a value to which paths are applied.
    #[inline(always)]
    pub(crate) fn open(self, val: Val) -> Opened {
        Opened {
            val,
            node: self.node(val),
        }
    }

    /// The member that a path names; `None` also for anything but an object.
    #[must_use]
    #[inline(always)]
    pub(crate) fn get_named(self, object: Opened, member: &MemberName) -> Option<Val> {
        copy::named_member(self, object, member)
    }

    /// Two members that paths name, of an object that both read.
    #[inline(always)]
    pub(crate) fn get_both(
        self,
        object: Opened,
        first: &MemberName,
        second: &MemberName,
    ) -> [Option<Val>; 2] {
        copy::both_members(self, object, first, second)
    }

    #[inline(always)]
    pub(super) fn refs(self, node: Node) -> &'a [Ref] {
        // Only the execution's own document holds overlays.
        &self.doc.refs[node.start as usize..node.start as usize + node.next as usize]
    }

    /// The element at `index`; `None` past the end, and for anything but an array.
    #[must_use]
    pub fn element(self, array: Val, index: usize) -> Option<Val> {
        let node = self.node(array);
        if node.tag.is_overlay() && node.tag.kind() == Kind::Array {
            return self.refs(node).get(index).map(|r| r.val);
        }
        self.elements(array).nth(index)
    }

    /// Number of elements or members; 0 for a scalar. Linear in that number where the value was ingested.
    #[must_use]
    pub fn len(self, v: Val) -> usize {
        let node = self.node(v);
        match node.tag.kind() {
            Kind::Array | Kind::Object if node.tag.is_overlay() => node.next as usize,
            Kind::Array => self.elements(v).count(),
            Kind::Object => self.members(v).count(),
            Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::String => 0,
        }
    }

    /// The elements of an array; none for anything else.
    #[must_use]
    #[inline]
    pub fn elements(self, array: Val) -> Elements<'a> {
        Elements(self.children(array, Kind::Array))
    }

    /// Before the first element of an array; without any for anything else.
    #[must_use]
    #[inline]
    pub(crate) fn cursor(self, array: Val) -> Cursor {
        let node = self.node(array);
        let first = (array.0 & !CONSTANT) + 1;
        let is_overlay = node.tag.is_overlay();
        let (at, end) = match (node.tag.kind(), is_overlay) {
            (Kind::Array, true) => (node.start, node.start + node.next),
            (Kind::Array, false) => (first, node.next),
            _ => (first, first),
        };
        Cursor {
            at,
            end,
            bit: array.0 & CONSTANT,
            is_overlay,
        }
    }

    /// The members of an object in their order; none for anything else.
    #[must_use]
    #[inline]
    pub fn members(self, object: Val) -> Members<'a> {
        Members(self.children(object, Kind::Object))
    }

    #[inline]
    fn children(self, v: Val, kind: Kind) -> Children<'a> {
        let node = self.node(v);
        if node.tag.kind() != kind {
            return Children::Refs([].iter());
        }
        if node.tag.is_overlay() {
            return Children::Refs(self.refs(node).iter());
        }
        let bit = v.0 & CONSTANT;
        Children::Nodes {
            doc: self.home(v.0),
            at: (v.0 & !CONSTANT) + 1,
            end: node.next,
            bit,
        }
    }

    /// The text of a member name in canonical escapes.
    #[must_use]
    #[inline]
    pub fn key_text(self, key: Key) -> &'a str {
        let start = (key.start & !CONSTANT) as usize;
        copy::text(&self.home(key.start).bytes, start..start + key.len as usize)
    }

    /// A number, `null`, `true` or `false` as it is written; the inside of a string in canonical escapes; `""` for
    /// containers.
    #[must_use]
    #[inline]
    pub fn text(self, v: Val) -> &'a str {
        copy::text(&self.home(v.0).bytes, self.text_range(v))
    }

    /// Where [`Values::text`] stands in the bytes of the value's document.
    #[inline]
    pub(super) fn text_range(self, v: Val) -> Range<usize> {
        let node = self.node(v);
        let start = node.start as usize;
        let end = start + node.size as usize;
        match node.tag.kind() {
            Kind::Null | Kind::False | Kind::True | Kind::Number => start..end,
            Kind::String => start + 1..end - 1,
            Kind::Array | Kind::Object => 0..0,
        }
    }

    /// True if the value is a string whose text holds an escape.
    #[must_use]
    pub fn is_escaped(self, v: Val) -> bool {
        self.node(v).tag.is_escaped()
    }

    /// The decoded text of a string; `None` for other kinds.
    #[must_use]
    pub fn string(self, v: Val) -> Option<Cow<'a, str>> {
        match self.node(v).tag {
            tag if tag.kind() != Kind::String => None,
            tag if tag.is_escaped() => Some(text::unescape(self.text(v))),
            _ => Some(Cow::Borrowed(self.text(v))),
        }
    }

    /// The nearest double of a number.
    #[must_use]
    #[inline]
    pub fn as_f64(self, v: Val) -> Option<f64> {
        let node = self.node(v);
        if node.tag.kind() != Kind::Number {
            return None;
        }
        let bytes = &self.home(v.0).bytes;
        match node.size {
            1 => bytes
                .get(node.start as usize)
                .map(|digit| f64::from(digit.wrapping_sub(b'0'))),
            _ => Some(f64_at(
                bytes,
                node.start as usize..(node.start + node.size) as usize,
            )),
        }
    }

    /// The integer that a number is in value (`1`, `1.0`, `1e2`), if it fits.
    #[must_use]
    pub fn as_i64(self, v: Val) -> Option<i64> {
        if self.kind(v) == Kind::Number {
            number::to_i64(self.text(v))
        } else {
            None
        }
    }

    /// Appends the value to `out` as compact JSON.
    #[inline]
    pub fn write(self, v: Val, out: &mut Vec<u8>) {
        copy::write(self, v, out);
    }

    /// The value as compact JSON.
    #[must_use]
    pub fn to_json(self, v: Val) -> String {
        let mut out = Vec::with_capacity(self.size(v));
        self.write(v, &mut out);
        String::from_utf8(out).unwrap_or_else(|error| panic!("a document holds UTF-8: {error}"))
    }

    /// True if both are strings, and the same.
    #[must_use]
    #[inline]
    pub(crate) fn equal_strings(self, a: Val, b: Val) -> bool {
        let text = |v: Val, node: Node| {
            let (start, size) = (node.start as usize, node.size as usize);
            &self.home(v.0).bytes[start..start + size]
        };
        let (x, y) = (self.node(a), self.node(b));
        let both = x.tag.kind() == Kind::String && y.tag.kind() == Kind::String;
        // Equal strings are equal bytes, quotes included.
        both && x.size == y.size && copy::equal(text(a, x), text(b, y))
    }

    /// Java's order of two strings; `None` unless both are strings.
    #[must_use]
    pub fn compare_strings(self, a: Val, b: Val) -> Option<Ordering> {
        let both = self.kind(a) == Kind::String && self.kind(b) == Kind::String;
        both.then(|| text::compare(self.text(a), self.text(b)))
    }

    /// The exact order of two numbers; `None` unless both are numbers.
    #[must_use]
    pub fn compare_numbers(self, a: Val, b: Val) -> Option<Ordering> {
        let both = self.kind(a) == Kind::Number && self.kind(b) == Kind::Number;
        both.then(|| number::compare(self.text(a), self.text(b)))
    }
}

impl Doc {
    /// The text of the member name before an ingested value.
    #[inline(always)]
    pub(super) fn key_bytes(&self, member: &Node) -> &[u8] {
        let end = member.start as usize - 2;
        &self.bytes[end - member.tag.key_len() as usize..end]
    }
}

#[inline(never)]
fn f64_at(bytes: &[u8], range: Range<usize>) -> f64 {
    // Before every number there is other text: a document starts with some.
    match number::short_f64(&bytes[..range.end], range.len()) {
        Some(n) => n,
        None => long_f64(bytes, range),
    }
}

#[inline(never)]
fn long_f64(bytes: &[u8], range: Range<usize>) -> f64 {
    number::to_f64(copy::text(bytes, range))
}

/// Children of either kind of container.
#[derive(Clone, Debug)]
enum Children<'a> {
    Refs(std::slice::Iter<'a, Ref>),
    Nodes {
        doc: &'a Doc,
        at: u32,
        end: u32,
        bit: u32,
    },
}

impl Children<'_> {
    #[inline]
    fn next(&mut self) -> Option<(Val, Key)> {
        match self {
            Children::Refs(refs) => refs.next().map(|r| (r.val, r.key)),
            Children::Nodes { doc, at, end, bit } => {
                if *at >= *end {
                    return None;
                }
                let node = doc.nodes[*at as usize];
                let val = Val(*at | *bit);
                let start = node.start.wrapping_sub(2 + node.tag.key_len());
                *at = node.next;
                Some((
                    val,
                    Key {
                        start: start | *bit,
                        len: node.tag.key_len(),
                    },
                ))
            }
        }
    }
}

/// A place among the elements of an array. It holds nothing of the document, which may grow meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    at: u32,
    end: u32,
    bit: u32,
    is_overlay: bool,
}

impl Cursor {
    /// The next element.
    #[inline]
    pub(crate) fn next(&mut self, values: Values<'_>) -> Option<Val> {
        if self.at >= self.end {
            return None;
        }
        let at = self.at;
        if self.is_overlay {
            self.at += 1;
            return Some(values.doc.refs[at as usize].val);
        }
        self.at = values.home(self.bit).nodes[at as usize].next;
        Some(Val(at | self.bit))
    }
}

/// The elements of an array, made by [`Values::elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a>(Children<'a>);

impl Iterator for Elements<'_> {
    type Item = Val;

    #[inline]
    fn next(&mut self) -> Option<Val> {
        self.0.next().map(|(val, _)| val)
    }
}

/// The members of an object, made by [`Values::members`].
#[derive(Clone, Debug)]
pub struct Members<'a>(Children<'a>);

impl Iterator for Members<'_> {
    type Item = (Key, Val);

    #[inline]
    fn next(&mut self) -> Option<(Key, Val)> {
        self.0.next().map(|(val, key)| (key, val))
    }
}
