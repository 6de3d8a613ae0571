//! Values written to a compact blob and read back: what a parked execution, or a stored one, keeps of its document.
//!
//! The values that are asked for make up a *table*, in the order of the document. Each of its entries is one of
//!
//! - a text: an ingested value, as canonical JSON;
//! - a part: an ingested value that lies inside an earlier text, as its number among the values there, in pre-order;
//! - an object or an array that was made of other values: names and references to earlier entries.
//!
//! So what several values share is written once, however they share it. A reference is a *code*: the five values that
//! every document starts with, a constant of the program, or an entry of the table. Codes of constants hold for one
//! program only.

use std::fmt;

use super::{CONSTANT, Doc, Key, Kind, Val, Values};
use crate::stdx::narrow;

/// Appends numbers in seven bits a byte, the low ones first.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a signed number; those near zero are short.
#[inline]
pub(crate) fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, ((n << 1) ^ (n >> 63)).cast_unsigned());
}

/// Appends bytes, after their number.
#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A blob does not hold what it should: it was cut, changed, or belongs to another program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damaged {
    /// What could not be read.
    pub what: &'static str,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the frozen execution is damaged, or of another program: {}",
            self.what
        )
    }
}

impl std::error::Error for Damaged {}

/// Reads what was put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        let mut n = 0;
        for (i, &byte) in self.0.iter().enumerate().take(10) {
            n |= u64::from(byte & 0x7F) << (7 * i);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Ok(n);
            }
        }
        Err(Damaged { what: "a number" })
    }

    #[inline]
    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        let n = self.number()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// A number that must fit in 32 bits.
    #[inline]
    pub(crate) fn number_u32(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged {
            what: "a small number",
        })
    }

    /// The length of a list whose elements take a byte at least.
    pub(crate) fn length(&mut self) -> Result<usize, Damaged> {
        match usize::try_from(self.number()?) {
            Ok(length) if length <= self.0.len() => Ok(length),
            _ => Err(Damaged { what: "a length" }),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged { what: "a byte" })?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged { what: "a text" })
    }
}

const TEXT: u64 = 0;
const PART: u64 = 1;
const OBJECT: u64 = 2;
const ARRAY: u64 = 3;

/// The values of a blob that are neither constants nor the five of every document, in the order of the document.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Val>,
    /// By value: 0 if it was not collected, else one more than its place among the entries.
    places: Vec<u32>,
    /// Values whose parts are still to be looked at; kept for its memory.
    found: Vec<Val>,
}

fn is_written(val: Val) -> bool {
    !val.is_constant() && val > Val::EMPTY_ARRAY
}

impl Table {
    /// Takes in `roots` and all that they are made of; what was there before is forgotten.
    pub(crate) fn collect(&mut self, values: Values<'_>, roots: impl Iterator<Item = Val>) {
        self.places.clear();
        self.places.resize(values.doc.nodes.len(), 0);
        let mut take = |val: Val, found: &mut Vec<Val>| {
            let is_new =
                is_written(val) && std::mem::replace(&mut self.places[val.0 as usize], 1) == 0;
            if is_new && values.is_made(val) {
                found.push(val);
            }
        };
        roots.for_each(|root| take(root, &mut self.found));
        while let Some(made) = self.found.pop() {
            let members = values.members(made).map(|(_, child)| child);
            members.for_each(|child| take(child, &mut self.found));
            values
                .elements(made)
                .for_each(|child| take(child, &mut self.found));
        }
        // A value is younger than what it is made of, so that entries refer to earlier ones.
        self.entries.clear();
        for (val, place) in (0..).map(Val).zip(&mut self.places) {
            if *place != 0 {
                self.entries.push(val);
                *place = narrow(self.entries.len());
            }
        }
    }

    /// The code of a value that was collected, or that no blob holds.
    ///
    /// # Panics
    ///
    /// If the value was not collected.
    pub(crate) fn code(&self, val: Val) -> u64 {
        if val.is_constant() {
            return u64::from(val.0 & !CONSTANT) << 1 | 1;
        }
        let at = if is_written(val) {
            let place = self.places[val.0 as usize];
            assert!(place > 0, "what a frozen value is made of was collected");
            u64::from(Val::EMPTY_ARRAY.0 + place)
        } else {
            u64::from(val.0)
        };
        at << 1
    }

    /// Appends the entries.
    pub(crate) fn write(&self, values: Values<'_>, out: &mut Vec<u8>) {
        put(out, self.entries.len() as u64);
        // The text under way: its value, its place in the table, the value after its last part.
        let mut text: Option<(Val, usize, u32)> = None;
        for (at, &val) in self.entries.iter().enumerate() {
            if values.is_made(val) {
                self.write_made(values, val, out);
                continue;
            }
            match text {
                Some((root, place, end)) if val.0 < end => {
                    put(out, (at - place) as u64 * 4 + PART);
                    put(out, u64::from(val.0 - root.0));
                }
                _ => {
                    put(out, TEXT);
                    put(out, values.size(val) as u64);
                    values.write(val, out);
                    text = Some((val, at, values.after(val)));
                }
            }
        }
    }

    fn write_made(&self, values: Values<'_>, val: Val, out: &mut Vec<u8>) {
        if values.kind(val) == Kind::Array {
            put(out, values.len(val) as u64 * 4 + ARRAY);
            for element in values.elements(val) {
                put(out, self.code(element));
            }
            return;
        }
        put(out, values.len(val) as u64 * 4 + OBJECT);
        for (key, member) in values.members(val) {
            if key.start & CONSTANT == 0 {
                put(out, 0);
                put_bytes(out, values.key_text(key).as_bytes());
            } else {
                put(out, u64::from(key.start & !CONSTANT) + 1);
                put(out, u64::from(key.len));
            }
            put(out, self.code(member));
        }
    }
}

/// The entries of a blob, in the document into which they were read.
#[derive(Debug, Default)]
pub(crate) struct Thawed {
    entries: Vec<Val>,
    members: Vec<(Key, Val)>,
    elements: Vec<Val>,
}

impl Thawed {
    /// Reads the entries of a blob into `doc`; what was there before is forgotten.
    pub(crate) fn read(
        &mut self,
        reader: &mut Reader<'_>,
        doc: &mut Doc,
        constants: &Doc,
    ) -> Result<(), Damaged> {
        self.entries.clear();
        for _ in 0..reader.length()? {
            let tag = reader.number()?;
            let count = usize::try_from(tag >> 2).unwrap_or(usize::MAX);
            let val = match tag & 3 {
                TEXT => doc.ingest(reader.bytes()?).map_err(|_| Damaged {
                    what: "the text of a value",
                })?,
                PART => {
                    let root = self.entries.len().checked_sub(count);
                    let root = root.and_then(|at| self.entries.get(at)).copied();
                    let number = reader.number_u32()?;
                    root.and_then(|root| part(doc, root, number))
                        .ok_or(Damaged {
                            what: "a part of a value",
                        })?
                }
                OBJECT => self.read_object(reader, count, doc, constants)?,
                _ => {
                    self.elements.clear();
                    for _ in 0..count {
                        let element = self.val(reader, constants)?;
                        self.elements.push(element);
                    }
                    doc.push_array(constants, &self.elements)
                }
            };
            self.entries.push(val);
        }
        Ok(())
    }

    fn read_object(
        &mut self,
        reader: &mut Reader<'_>,
        count: usize,
        doc: &mut Doc,
        constants: &Doc,
    ) -> Result<Val, Damaged> {
        self.members.clear();
        for _ in 0..count {
            let key = match reader.number_u32()? {
                0 => push_raw_key(doc, reader.text()?),
                start => {
                    let (start, len) = (start - 1, reader.number_u32()?);
                    let range = start as usize..start as usize + len as usize;
                    let text = constants.bytes.get(range).map(std::str::from_utf8);
                    if !matches!(text, Some(Ok(_))) {
                        return Err(Damaged { what: "a name" });
                    }
                    Key { start, len }.as_constant()
                }
            };
            let val = self.val(reader, constants)?;
            self.members.push((key, val));
        }
        Ok(doc.push_object(constants, &self.members))
    }

    /// Reads a code.
    pub(crate) fn val(&self, reader: &mut Reader<'_>, constants: &Doc) -> Result<Val, Damaged> {
        let damaged = Damaged { what: "a value" };
        let code = reader.number()?;
        let at = u32::try_from(code >> 1).map_err(|_| damaged)?;
        if code & 1 == 1 {
            let exists = (at as usize) < constants.nodes.len();
            return exists.then_some(Val(at).as_constant()).ok_or(damaged);
        }
        if at <= Val::EMPTY_ARRAY.0 {
            return Ok(Val(at));
        }
        let entry = self.entries.get((at - Val::EMPTY_ARRAY.0 - 1) as usize);
        entry.copied().ok_or(damaged)
    }
}

fn push_raw_key(doc: &mut Doc, raw: &str) -> Key {
    doc.bytes.push(b'"');
    let start = narrow(doc.bytes.len());
    doc.bytes.extend_from_slice(raw.as_bytes());
    doc.bytes.extend_from_slice(b"\":");
    Key {
        start,
        len: narrow(raw.len()),
    }
}

/// The `number`th of the values that lie in the text of `root`, which was ingested: in pre-order, as in the document from
/// which the text was written.
fn part(doc: &Doc, root: Val, number: u32) -> Option<Val> {
    let at = root.0.checked_add(number)?;
    let root_node = doc.nodes.get(root.0 as usize)?;
    (!root_node.tag.is_overlay() && at < root_node.next).then_some(Val(at))
}

impl Values<'_> {
    /// True for an object or an array that was made of values rather than ingested.
    fn is_made(self, val: Val) -> bool {
        self.node(val).tag.is_overlay()
    }

    /// The value after an ingested one and its parts.
    fn after(self, val: Val) -> u32 {
        let node = self.node(val);
        match node.tag.kind() {
            Kind::Array | Kind::Object => node.next,
            Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::String => val.0 + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Name;

    fn thawed(doc: &Doc, constants: &Doc, roots: &[Val]) -> (Vec<u8>, Doc, Vec<Val>) {
        let values = Values { doc, constants };
        let mut table = Table::default();
        table.collect(values, roots.iter().copied());
        let mut blob = Vec::new();
        table.write(values, &mut blob);
        for root in roots {
            put(&mut blob, table.code(*root));
        }
        let (mut fresh, mut thawed) = (Doc::new(), Thawed::default());
        let mut reader = Reader::new(&blob);
        thawed.read(&mut reader, &mut fresh, constants).unwrap();
        let vals = roots.iter().map(|_| thawed.val(&mut reader, constants));
        let vals = vals.collect::<Result<Vec<Val>, Damaged>>().unwrap();
        assert!(reader.rest().is_empty());
        (blob, fresh, vals)
    }

    #[test]
    fn what_is_shared_is_written_once() {
        let mut constants = Doc::new();
        let fixed = constants
            .ingest(br#"{"fixed":[1,2]}"#)
            .unwrap()
            .as_constant();
        let name = constants.push_key(&Name::new("made")).as_constant();
        let mut doc = Doc::new();
        doc.push_string("garbage");
        let event = doc
            .ingest(br#"{"a":{"b":[1,"two\u00e9\n",{"c":0.10}]},"d":2,"d":3,"long":"0123456789012345678901234567890123456789"}"#)
            .unwrap();
        fn at<'a>(doc: &'a Doc, constants: &'a Doc) -> Values<'a> {
            Values { doc, constants }
        }
        let a = at(&doc, &constants).get(event, &Name::new("a")).unwrap();
        let b = at(&doc, &constants).get(a, &Name::new("b")).unwrap();
        let c = at(&doc, &constants).element(b, 2).unwrap();
        let own = doc.push_key(&Name::new("o\"wn"));
        let text = doc.push_string("quo\"ted");
        let made = doc.push_object(&constants, &[(name, c), (own, text)]);
        let merged = doc.replace_member(&constants, event, name, made);
        let list = doc.push_array(&constants, &[merged, Val::NULL, fixed, b, made]);
        let roots = [list, event, Val::TRUE, b, fixed, merged, Val::EMPTY_ARRAY];
        let (blob, fresh, vals) = thawed(&doc, &constants, &roots);
        for (old, new) in roots.iter().zip(vals) {
            assert_eq!(
                at(&fresh, &constants).to_json(new),
                at(&doc, &constants).to_json(*old)
            );
            assert_eq!(
                at(&fresh, &constants).size(new),
                at(&doc, &constants).size(*old)
            );
            assert_eq!(
                at(&fresh, &constants).kind(new),
                at(&doc, &constants).kind(*old)
            );
        }
        let shared = blob.windows(10).filter(|w| w == b"0123456789");
        assert_eq!(shared.count(), 4, "{}", String::from_utf8_lossy(&blob));
    }

    #[test]
    fn damage_is_an_error() {
        let constants = Doc::new();
        let mut doc = Doc::new();
        let event = doc.ingest(br#"{"a":[1,2,{"b":"c"}]}"#).unwrap();
        let values = Values {
            doc: &doc,
            constants: &constants,
        };
        let a = values.get(event, &Name::new("a")).unwrap();
        let key = doc.push_key(&Name::new("k"));
        let made = doc.push_object(&constants, &[(key, a), (key, event)]);
        let (blob, ..) = thawed(&doc, &constants, &[made, event]);
        let read = |bytes: &[u8]| {
            let (mut fresh, mut thawed) = (Doc::new(), Thawed::default());
            let mut reader = Reader::new(bytes);
            thawed.read(&mut reader, &mut fresh, &constants)?;
            thawed.val(&mut reader, &constants)?;
            thawed.val(&mut reader, &constants)
        };
        assert!(read(&blob).is_ok());
        for end in 0..blob.len() {
            assert!(read(&blob[..end]).is_err(), "cut at {end}");
        }
        // What is not noticed must not panic.
        for at in 0..blob.len() {
            for bit in 0..8 {
                let mut changed = blob.clone();
                changed[at] ^= 1 << bit;
                let _ = read(&changed);
            }
        }
    }

    #[test]
    fn numbers() {
        let mut bytes = Vec::new();
        let all = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        all.iter().for_each(|n| put(&mut bytes, *n));
        let signed = [0, -1, 1, i64::MIN, i64::MAX];
        signed.iter().for_each(|n| put_signed(&mut bytes, *n));
        let mut reader = Reader::new(&bytes);
        assert_eq!(all.map(|_| reader.number().unwrap()), all);
        assert_eq!(signed.map(|_| reader.signed().unwrap()), signed);
        assert!(reader.number().is_err());
    }
}
