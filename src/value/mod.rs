//! JSON values: one [`Doc`] per execution holds all of them; a [`Val`] is a 32-bit index into it.
// SKELETON: signatures are fixed, bodies follow.
#![allow(missing_docs, dead_code, unused_variables, clippy::all)]
use std::borrow::Cow;
use std::cmp::Ordering;

/// A value: an index into the execution's `Doc`, or (top bit) into the program's constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Val(u32);
impl Val {
    // every Doc holds these five at the same place
    pub const NULL: Val = Val(0);
    pub const TRUE: Val = Val(1);
    pub const FALSE: Val = Val(2);
    pub const EMPTY_OBJECT: Val = Val(3);
    pub const EMPTY_ARRAY: Val = Val(4);
    pub fn bool(b: bool) -> Val {
        if b { Val::TRUE } else { Val::FALSE }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Null,
    False,
    True,
    Number,
    String,
    Array,
    Object,
}

/// A member name as compiled into a program: its text in canonical JSON escapes (minimal escapes, no quotes).
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Name(Box<str>);
impl Name {
    /// From decoded text.
    pub fn new(text: &str) -> Name {
        todo!()
    }
    /// The canonical escaped text, as it stands between quotes in a Doc.
    pub fn raw(&self) -> &str {
        &self.0
    }
}

/// Where the text of a member name stands in a Doc (or in the constants).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    start: u32,
    len: u32,
}

/// Values of one execution: append-only.
#[derive(Debug, Default)]
pub struct Doc {}

/// A read-only view that resolves a `Val` wherever it lives.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    pub doc: &'a Doc,
    pub constants: &'a Doc,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestError {
    pub offset: usize,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl Doc {
    pub fn new() -> Doc {
        todo!()
    }
    pub fn clear(&mut self) {
        todo!()
    }
    /// Appends the JSON text `json`; strict RFC 8259, UTF-8 checked, depth <= 1000. Strings are kept in canonical
    /// escapes (decoded form, minimally re-escaped), duplicate keys resolved, whitespace squeezed out.
    pub fn ingest(&mut self, json: &[u8]) -> Result<Val, IngestError> {
        todo!()
    }
    /// `text` is decoded text.
    pub fn push_string(&mut self, text: &str) -> Val {
        todo!()
    }
    pub fn push_i64(&mut self, n: i64) -> Val {
        todo!()
    }
    /// NaN and infinities are a bug of the caller. Java-like text is NOT applied: shortest decimal ("1.5", "100.0" -> "100.0").
    pub fn push_f64(&mut self, n: f64) -> Val {
        todo!()
    }
    /// `text` must be a valid JSON number.
    pub fn push_number_text(&mut self, text: &str) -> Val {
        todo!()
    }
    pub fn push_key(&mut self, name: &Name) -> Key {
        todo!()
    }
    pub fn push_array(&mut self, constants: &Doc, items: &[Val]) -> Val {
        todo!()
    }
    /// Keys must be distinct.
    pub fn push_object(&mut self, constants: &Doc, members: &[(Key, Val)]) -> Val {
        todo!()
    }
}

impl<'a> Values<'a> {
    pub fn kind(self, v: Val) -> Kind {
        todo!()
    }
    /// Bytes of the value as compact JSON. O(1).
    pub fn size(self, v: Val) -> usize {
        todo!()
    }
    pub fn get(self, object: Val, name: &Name) -> Option<Val> {
        todo!()
    }
    /// None when not an array or out of bounds.
    pub fn element(self, array: Val, index: usize) -> Option<Val> {
        todo!()
    }
    /// Elements or members; 0 for scalars.
    pub fn len(self, v: Val) -> usize {
        todo!()
    }
    /// Empty for anything but an array.
    pub fn elements(self, array: Val) -> Elements<'a> {
        todo!()
    }
    /// Empty for anything but an object. Order of the text.
    pub fn members(self, object: Val) -> Members<'a> {
        todo!()
    }
    /// Raw text of a member name (canonical escapes).
    pub fn key_text(self, key: Key) -> &'a str {
        todo!()
    }
    /// Number text as received; for strings the raw text in canonical escapes without quotes; null/true/false text; "" for containers.
    pub fn text(self, v: Val) -> &'a str {
        todo!()
    }
    /// Decoded text of a string; None for other kinds.
    pub fn string(self, v: Val) -> Option<Cow<'a, str>> {
        todo!()
    }
    pub fn as_f64(self, v: Val) -> Option<f64> {
        todo!()
    }
    /// Only numbers that are integers in value (1, 1.0, 1e2) and fit.
    pub fn as_i64(self, v: Val) -> Option<i64> {
        todo!()
    }
    /// Appends compact JSON.
    pub fn write(self, v: Val, out: &mut Vec<u8>) {
        todo!()
    }
    pub fn to_json(self, v: Val) -> String {
        todo!()
    }
    /// Deep equality; numbers by value; member order does not matter.
    pub fn equal(self, a: Val, b: Val) -> bool {
        todo!()
    }
    /// Java's order of strings (UTF-16 units); None unless both are strings.
    pub fn compare_strings(self, a: Val, b: Val) -> Option<Ordering> {
        todo!()
    }
    /// None unless both are numbers.
    pub fn compare_numbers(self, a: Val, b: Val) -> Option<Ordering> {
        todo!()
    }
}
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    values: Values<'a>,
}
impl<'a> Iterator for Elements<'a> {
    type Item = Val;
    fn next(&mut self) -> Option<Val> {
        todo!()
    }
}
#[derive(Debug, Clone)]
pub struct Members<'a> {
    values: Values<'a>,
}
impl<'a> Iterator for Members<'a> {
    type Item = (Key, Val);
    fn next(&mut self) -> Option<(Key, Val)> {
        todo!()
    }
}

/// `text` (decoded) as the inside of a JSON string in canonical escapes.
pub fn escape(text: &str) -> Cow<'_, str> {
    todo!()
}
/// The reverse of `escape`; lone surrogates become U+FFFD.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    todo!()
}
