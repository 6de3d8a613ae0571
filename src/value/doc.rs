//! The storage of values: [`Doc`], its nodes, and what appends to it.

use std::ops::Range;

use super::index::MemberIndex;
use super::text::escape;
use super::{CONSTANT, Growth, Kind, Layout, Name, Val, Values, copy};
use crate::stdx::{FixedMap, narrow};

/// Where the text of a member name stands: in the execution's document or in the program's constants.
///
/// The text is followed by `":` and preceded by `"`, so that it is written with one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Key {
    /// A key that no name has.
    pub(super) const NONE: Key = Key {
        start: u32::MAX,
        len: 0,
    };

    /// The same name of a program's constants, as the executions of that program address it.
    #[must_use]
    pub const fn as_constant(self) -> Key {
        Key {
            start: self.start | CONSTANT,
            len: self.len,
        }
    }
}

/// One value: where its text starts, and how many bytes it has. Ingested values lie in pre-order: a container's children
/// follow it, and `next` skips them.
///
/// For an overlay, `start` is the index of its first [`Ref`], and `next` the number of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Node {
    pub(super) start: u32,
    pub(super) size: u32,
    pub(super) next: u32,
    pub(super) tag: Tag,
}

/// Kind and flags of a node, and the length of the member name that stands before its text; the layout of an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u32);

impl Tag {
    const KIND: u32 = 0b111;
    const OVERLAY: u32 = 1 << 3;
    const ESCAPED: u32 = 1 << 4;
    const INDEXED: u32 = 1 << 5;
    const KEY_SHIFT: u32 = 6;

    /// Longest member name that a tag can hold, in bytes.
    pub(super) const KEY_BYTES_MAX: usize = (1 << (32 - Tag::KEY_SHIFT)) - 1;
    /// The highest layout that a tag can hold.
    pub(super) const LAYOUT_MAX: usize = Tag::KEY_BYTES_MAX;
    /// The tag of no node: overlays have no index.
    pub(super) const IMPOSSIBLE: Tag = Tag(Tag::OVERLAY | Tag::INDEXED);

    /// The tag of an object that was made of values.
    #[inline(always)]
    pub(super) const fn of_layout(layout: Layout) -> Tag {
        Tag::new(Kind::Object, layout.0).with_overlay()
    }

    /// The layout of an overlay.
    #[inline(always)]
    pub(super) const fn layout(self) -> Layout {
        Layout(self.0 >> Tag::KEY_SHIFT)
    }

    #[inline(always)]
    pub(super) const fn new(kind: Kind, key_len: u32) -> Tag {
        Tag(kind as u32 | key_len << Tag::KEY_SHIFT)
    }

    #[inline(always)]
    pub(super) const fn kind(self) -> Kind {
        match self.0 & Tag::KIND {
            0 => Kind::Null,
            1 => Kind::False,
            2 => Kind::True,
            3 => Kind::Number,
            4 => Kind::String,
            5 => Kind::Array,
            _ => Kind::Object,
        }
    }

    #[inline(always)]
    pub(super) const fn form(self) -> Form {
        const OBJECT: u32 = Kind::Object as u32;
        match self.0 & (Tag::KIND | Tag::OVERLAY | Tag::INDEXED) {
            OBJECT => Form::Object,
            bits if bits == OBJECT | Tag::OVERLAY => Form::OverlaidObject,
            bits if bits == OBJECT | Tag::INDEXED => Form::IndexedObject,
            _ => Form::Other,
        }
    }

    #[inline(always)]
    pub(super) const fn key_len(self) -> u32 {
        self.0 >> Tag::KEY_SHIFT
    }

    #[inline(always)]
    pub(super) const fn with_overlay(self) -> Tag {
        Tag(self.0 | Tag::OVERLAY)
    }

    #[inline(always)]
    pub(super) const fn with_escaped(self) -> Tag {
        Tag(self.0 | Tag::ESCAPED)
    }

    #[inline(always)]
    pub(super) const fn with_indexed(self) -> Tag {
        Tag(self.0 | Tag::INDEXED)
    }

    #[inline(always)]
    pub(super) const fn is_overlay(self) -> bool {
        self.0 & Tag::OVERLAY != 0
    }

    #[inline(always)]
    pub(super) const fn is_escaped(self) -> bool {
        self.0 & Tag::ESCAPED != 0
    }
}

/// How the members of a value are found.
pub(super) enum Form {
    /// An ingested object: one after the other.
    Object,
    /// A large ingested object: by its index.
    IndexedObject,
    /// An object made of values that exist elsewhere.
    OverlaidObject,
    /// No object.
    Other,
}

/// A member or an element of an overlay; the key of an element is empty and never read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ref {
    pub(super) key: Key,
    pub(super) val: Val,
}

/// The values of one execution, or the constants of one program. Append-only.
///
/// ```
/// use quickstep::value::{Doc, Name, Values};
///
/// let (mut doc, constants) = (Doc::new(), Doc::new());
/// let order = doc.ingest(br#"{"id": "A-1", "total": 0.10}"#)?;
/// let values = Values { doc: &doc, constants: &constants };
/// let total = values.get(order, &Name::new("total")).unwrap();
/// assert_eq!(values.text(total), "0.10");
/// assert_eq!(values.to_json(order), r#"{"id":"A-1","total":0.10}"#);
/// # Ok::<(), quickstep::value::IngestError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Doc {
    pub(super) bytes: Vec<u8>,
    pub(super) nodes: Vec<Node>,
    pub(super) refs: Vec<Ref>,
    pub(super) slots: Vec<u32>,
    pub(super) indexes: FixedMap<u32, MemberIndex>,
    pub(super) frames: Vec<super::ingest::Frame>,
    /// Grows with every compaction and every clearing.
    pub(super) generation: u32,
}

/// The text of the five values that every document starts with.
const PREAMBLE: &[u8] = b"nulltruefalse{}[]";

impl Default for Doc {
    fn default() -> Doc {
        Doc::new()
    }
}

impl Doc {
    /// A document that holds `null`, `true`, `false`, `{}` and `[]`.
    #[must_use]
    pub fn new() -> Doc {
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(PREAMBLE);
        let node = |kind, start, size, at: u32| Node {
            start,
            size,
            next: at + 1,
            tag: Tag::new(kind, 0),
        };
        let mut nodes = Vec::with_capacity(256);
        nodes.extend([
            node(Kind::Null, 0, 4, 0),
            node(Kind::True, 4, 4, 1),
            node(Kind::False, 8, 5, 2),
            node(Kind::Object, 13, 2, 3),
            node(Kind::Array, 15, 2, 4),
        ]);
        Doc {
            bytes,
            nodes,
            refs: Vec::new(),
            slots: Vec::new(),
            indexes: FixedMap::default(),
            frames: Vec::new(),
            generation: 0,
        }
    }

    /// Forgets every value but the first five; keeps the memory.
    pub fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.bytes.truncate(PREAMBLE.len());
        self.nodes.truncate(5);
        self.refs.clear();
        self.slots.clear();
        if !self.indexes.is_empty() {
            self.indexes.clear();
        }
    }

    /// Bytes of memory that the values take, without spare capacity.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len()
            + self.nodes.len() * size_of::<Node>()
            + self.refs.len() * size_of::<Ref>()
            + self.slots.len() * size_of::<u32>()
    }

    /// Bytes of memory that are held, with spare capacity.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
            + self.nodes.capacity() * size_of::<Node>()
            + self.refs.capacity() * size_of::<Ref>()
            + self.slots.capacity() * size_of::<u32>()
    }

    /// Appends a string; `text` is its decoded form.
    pub fn push_string(&mut self, text: &str) -> Val {
        let start = self.begin_string();
        self.extend_string(text);
        self.end_string(start)
    }

    /// Starts a string that is put together by [`Doc::extend_string`] and [`Doc::extend_string_with`], and ends with
    /// [`Doc::end_string`]. Nothing else may be appended in between.
    #[inline]
    pub(crate) fn begin_string(&mut self) -> StringMark {
        let start = narrow(self.bytes.len());
        self.bytes.push(b'"');
        StringMark(start)
    }

    /// Appends decoded text to the string that was begun.
    #[inline]
    pub(crate) fn extend_string(&mut self, text: &str) {
        self.bytes.extend_from_slice(escape(text).as_bytes());
    }

    /// Appends text that is escaped as in a JSON string.
    #[inline]
    pub(crate) fn extend_string_escaped(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends the text of a scalar (a string's content, a number as written) to the string that was begun.
    #[inline]
    pub(crate) fn extend_string_with(&mut self, constants: &Doc, scalar: Val) {
        let text = Values {
            doc: self,
            constants,
        }
        .text_range(scalar);
        if scalar.is_constant() {
            copy::append(&mut self.bytes, &constants.bytes[text]);
        } else {
            copy::append_within(&mut self.bytes, text);
        }
    }

    /// Bytes of the string that was begun, so far.
    #[inline]
    pub(crate) fn string_bytes(&self, mark: &StringMark) -> usize {
        self.bytes.len() - mark.0 as usize - 1
    }

    /// Drops a string that was begun.
    #[inline]
    pub(crate) fn abandon_string(&mut self, mark: StringMark) {
        self.bytes.truncate(mark.0 as usize);
    }

    /// Ends a string.
    #[inline]
    pub(crate) fn end_string(&mut self, mark: StringMark) -> Val {
        let start = mark.0 as usize;
        let escaped = memchr::memchr(b'\\', &self.bytes[start + 1..]).is_some();
        self.end_string_known(mark, escaped)
    }

    /// Ends a string of which it is known whether there is an escape in it.
    #[inline]
    pub(crate) fn end_string_known(&mut self, mark: StringMark, escaped: bool) -> Val {
        debug_assert_eq!(
            escaped,
            self.bytes[mark.0 as usize + 1..].contains(&b'\\'),
            "the caller knows"
        );
        self.bytes.push(b'"');
        let tag = Tag::new(Kind::String, 0);
        self.push_scalar(mark.0, if escaped { tag.with_escaped() } else { tag })
    }

    /// Appends an integer.
    pub fn push_i64(&mut self, n: i64) -> Val {
        self.push_number_text(itoa::Buffer::new().format(n))
    }

    /// Appends a number in its shortest decimal form that reads back the same: `1.5`, `100.0`.
    ///
    /// # Panics
    ///
    /// If `n` is not finite: JSON has no text for it, and the caller must not let it come to that.
    pub fn push_f64(&mut self, n: f64) -> Val {
        assert!(n.is_finite(), "{n} has no JSON form");
        self.push_number_text(zmij::Buffer::new().format_finite(n))
    }

    /// Appends a number by its text, which must be a JSON number.
    pub fn push_number_text(&mut self, text: &str) -> Val {
        debug_assert!(
            super::number::is_number(text.as_bytes()),
            "{text:?} is no JSON number"
        );
        let start = narrow(self.bytes.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self.push_scalar(start, Tag::new(Kind::Number, 0))
    }

    fn push_scalar(&mut self, start: u32, tag: Tag) -> Val {
        let index = narrow(self.nodes.len());
        self.nodes.push(Node {
            start,
            size: narrow(self.bytes.len()) - start,
            next: index + 1,
            tag,
        });
        Val(index)
    }

    /// Appends a member name.
    pub fn push_key(&mut self, name: &Name) -> Key {
        self.bytes.push(b'"');
        let start = narrow(self.bytes.len());
        self.bytes.extend_from_slice(name.raw().as_bytes());
        self.bytes.extend_from_slice(b"\":");
        Key {
            start,
            len: narrow(name.raw().len()),
        }
    }

    /// Appends an array of values that exist already.
    pub fn push_array(&mut self, constants: &Doc, items: &[Val]) -> Val {
        if items.is_empty() {
            return Val::EMPTY_ARRAY;
        }
        let first = self.refs.len();
        let mut size = 1 + items.len();
        self.refs.reserve(items.len());
        for &val in items {
            size += Values {
                doc: self,
                constants,
            }
            .size(val);
            self.refs.push(Ref {
                key: Key { start: 0, len: 0 },
                val,
            });
        }
        self.push_overlay(Tag::new(Kind::Array, 0).with_overlay(), first, size)
    }

    /// Appends an object of values that exist already. The names must be distinct.
    pub fn push_object(&mut self, constants: &Doc, members: &[(Key, Val)]) -> Val {
        let mut size = 0;
        let object = self.begin_object(members.len());
        for &(key, val) in members {
            let values = Values {
                doc: self,
                constants,
            };
            size += member_size(key, values.size(val));
            self.push_member(key, val);
        }
        self.end_object(object, Layout::UNKNOWN, size)
    }

    /// Starts an object to which [`Doc::push_member`] adds members, and which ends with [`Doc::end_object`]. No other
    /// array or object may be appended in between.
    #[inline(always)]
    pub(crate) fn begin_object(&mut self, members: usize) -> ObjectMark {
        self.refs.reserve(members);
        ObjectMark(self.refs.len())
    }

    /// Adds a member to the object that was begun. Its name must differ from theirs.
    #[inline(always)]
    pub(crate) fn push_member(&mut self, key: Key, val: Val) {
        self.refs.push(Ref { key, val });
    }

    /// Ends an object; `size` is the sum of [`member_size`] over its members.
    #[inline(always)]
    pub(crate) fn end_object(&mut self, mark: ObjectMark, layout: Layout, size: usize) -> Val {
        if self.refs.len() == mark.0 {
            return Val::EMPTY_OBJECT;
        }
        self.push_overlay(Tag::of_layout(layout), mark.0, size + 1)
    }

    /// Makes room for the members of an object, each of which [`Doc::set_member`] is to set. Other arrays and objects may
    /// be appended before it ends with [`Doc::end_reserved`].
    #[inline(always)]
    pub(crate) fn reserve_object(&mut self, members: usize) -> ObjectRoom {
        let first = self.refs.len();
        let nothing = Ref {
            key: Key::NONE,
            val: Val::NULL,
        };
        self.refs.resize(first + members, nothing);
        ObjectRoom { first, members }
    }

    /// Sets a member of an object for which there is room. Its name must differ from theirs.
    #[inline(always)]
    pub(crate) fn set_member(&mut self, room: &ObjectRoom, place: usize, key: Key, val: Val) {
        self.refs[room.first + place] = Ref { key, val };
    }

    /// Ends an object all of whose members are set; `size` is the sum of [`member_size`] over them.
    #[inline(always)]
    pub(crate) fn end_reserved(&mut self, room: ObjectRoom, layout: Layout, size: usize) -> Val {
        if room.members == 0 {
            return Val::EMPTY_OBJECT;
        }
        let end = room.first + room.members;
        self.push_overlay_of(Tag::of_layout(layout), room.first..end, size + 1)
    }

    /// Drops an object that was begun.
    pub(crate) fn abandon_object(&mut self, mark: ObjectMark) {
        self.refs.truncate(mark.0);
    }

    /// `object` with the member `key` set to `val`: in its place if there is one, else at the end. Anything but an
    /// object counts as an empty one.
    pub fn replace_member(&mut self, constants: &Doc, object: Val, key: Key, val: Val) -> Val {
        self.replace_members(constants, object, &[(key, val)])
    }

    /// The same for several members, one after the other.
    pub(crate) fn replace_members(
        &mut self,
        constants: &Doc,
        object: Val,
        members: &[(Key, Val)],
    ) -> Val {
        let values = Values {
            doc: self,
            constants,
        };
        let node = values.node(object);
        let is_object = node.tag.kind() == Kind::Object;
        let mut size = if is_object { node.size as usize } else { 2 };
        let first = self.refs.len();
        let mut layout = Layout::UNKNOWN;
        if is_object && node.tag.is_overlay() {
            layout = node.tag.layout();
            self.refs
                .extend_from_within(node.start as usize..(node.start + node.next) as usize);
        } else {
            let mut refs = std::mem::take(&mut self.refs);
            refs.extend(
                Values {
                    doc: self,
                    constants,
                }
                .members(object)
                .map(|(key, val)| Ref { key, val }),
            );
            self.refs = refs;
        }
        for &(key, val) in members {
            let values = Values {
                doc: self,
                constants,
            };
            let new_size = values.size(val);
            let name = values.key_text(key).as_bytes();
            let old = self.refs[first..].iter().position(|r| {
                r.key == key
                    || r.key.len == key.len && copy::equal(values.key_text(r.key).as_bytes(), name)
            });
            match old {
                Some(at) => {
                    let old = &mut self.refs[first + at].val;
                    let old = std::mem::replace(old, val);
                    let values = Values {
                        doc: self,
                        constants,
                    };
                    size = size - values.size(old) + new_size;
                }
                None => {
                    let comma = usize::from(self.refs.len() > first);
                    size += comma + key.len as usize + 3 + new_size;
                    self.refs.push(Ref { key, val });
                }
            }
        }
        self.push_overlay(Tag::of_layout(layout), first, size)
    }

    /// `object` with a member `key` at its end, if it is one that `growth` is about.
    #[inline]
    pub(crate) fn grow_object(
        &mut self,
        constants: &Doc,
        growth: Growth,
        object: Val,
        key: Key,
        val: Val,
    ) -> Option<Val> {
        let values = Values {
            doc: self,
            constants,
        };
        let node = values.node(object);
        if node.tag != growth.expected || node.next != growth.members {
            return None;
        }
        let size = node.size as usize + member_size(key, values.size(val));
        let first = self.refs.len();
        let members = node.start as usize..(node.start + node.next) as usize;
        self.refs.extend_from_within(members);
        self.refs.push(Ref { key, val });
        Some(self.push_overlay(Tag::of_layout(growth.layout), first, size))
    }

    /// `array` with the element at `index`, which must exist, set to `val`.
    pub fn replace_element(&mut self, constants: &Doc, array: Val, index: usize, val: Val) -> Val {
        let values = Values {
            doc: self,
            constants,
        };
        let items: Vec<Val> = values
            .elements(array)
            .enumerate()
            .map(|(i, v)| if i == index { val } else { v })
            .collect();
        debug_assert!(index < items.len(), "no element {index}");
        self.push_array(constants, &items)
    }

    #[inline(always)]
    fn push_overlay(&mut self, tag: Tag, first: usize, size: usize) -> Val {
        self.push_overlay_of(tag, first..self.refs.len(), size)
    }

    #[inline(always)]
    fn push_overlay_of(&mut self, tag: Tag, refs: Range<usize>, size: usize) -> Val {
        let index = narrow(self.nodes.len());
        let end = narrow(refs.end);
        self.nodes.push(Node {
            start: refs.start as u32,
            // A size past 4 GiB is beyond every payload limit; it stays beyond them when it is capped.
            size: u32::try_from(size).unwrap_or(u32::MAX),
            next: end - refs.start as u32,
            tag,
        });
        Val(index)
    }
}

/// Where a string that is being put together began.
#[derive(Debug)]
#[must_use]
pub(crate) struct StringMark(u32);

/// Where the members of an object stand that are set one after the other.
#[derive(Debug)]
#[must_use]
pub(crate) struct ObjectRoom {
    first: usize,
    members: usize,
}

/// Where an object that is being put together began.
#[derive(Debug)]
#[must_use]
pub(crate) struct ObjectMark(usize);

/// Bytes that a member adds to its object: the name, its quotes and its colon, the value, and a separator.
#[inline(always)]
pub(crate) fn member_size(key: Key, val_size: usize) -> usize {
    key.len as usize + 4 + val_size
}
