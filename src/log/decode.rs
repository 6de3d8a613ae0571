//! [`Decoder`]: the events of a block.
//!
//! Blocks come from files that anybody may have written: nothing in one is trusted. A text is UTF-8, a value exists
//! before it is referred to, and no document is larger than the format allows, so that neither memory nor depth can get
//! out of hand.

use super::format::{Cursor, DOCUMENT_BYTES_MAX, Malformed, Reading, UNIVERSAL, item};
use crate::history::{EventType, Field};

/// A range of the block's items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    pub(crate) fn of(self, items: &[u8]) -> &[u8] {
        &items[self.start as usize..(self.start + self.len) as usize]
    }
}

/// A document of the turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Document {
    Universal(&'static str),
    Text(Span),
    /// Its members are `members[first..end]` of the turn.
    Object {
        first: u32,
        end: u32,
    },
    Array {
        first: u32,
        end: u32,
    },
}

/// A document or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) id: u32,
    pub(crate) part: Option<Span>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: Span,
    pub(crate) value: Reference,
}

/// What a field of an event holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held {
    Document(Reference),
    Text(Span),
    Number(u64),
    /// They are `members[first..end]` of the turn.
    Variables {
        first: u32,
        end: u32,
    },
    Credentials(Option<Span>),
}

/// Reads blocks, one after the other. It keeps its memory for the next one.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    at: usize,
    texts: Vec<Span>,
    documents: Vec<Document>,
    /// Bytes of each document's JSON.
    sizes: Vec<u32>,
    members: Vec<Member>,
    machine: Span,
    /// ARN of the execution, and where its name stands in it.
    arn: Vec<u8>,
    name: (usize, usize),
    /// Turns read so far, which tells documents of one from those of another.
    turns: u64,
    last_id: u64,
    last_millis: i64,
    /// Which state the events of the turn belong to, where it is known.
    states: Vec<(u64, Span)>,
    /// Of the last event.
    fields: Vec<(Field, Held)>,
}

/// An event of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'d, 'b> {
    decoder: &'d Decoder,
    items: &'b [u8],
    pub(crate) id: u64,
    pub(crate) previous_id: u64,
    pub(crate) millis: i64,
    pub(crate) event_type: EventType,
    state: Option<Span>,
}

impl Decoder {
    /// A new block follows.
    pub(crate) fn begin(&mut self) {
        self.at = 0;
        self.texts.clear();
        self.turns += 1;
        self.arn.clear();
        self.clear_turn();
    }

    fn clear_turn(&mut self) {
        self.documents.clear();
        self.sizes.clear();
        self.members.clear();
        self.states.clear();
        for text in UNIVERSAL {
            self.documents.push(Document::Universal(text));
            self.sizes.push(text.len() as u32);
        }
    }

    /// The next event of the block; `None` at its end.
    ///
    /// # Errors
    ///
    /// If the items mean nothing. Nothing more can be read from the block then.
    pub(crate) fn next<'b>(&mut self, items: &'b [u8]) -> Reading<Option<Entry<'_, 'b>>> {
        let mut cursor = Cursor {
            bytes: items,
            at: self.at,
        };
        while cursor.at < items.len() {
            let at = cursor.at;
            match cursor.byte()? {
                item::TURN => self.turn(&mut cursor)?,
                _ if self.arn.is_empty() => return Err(malformed(at, "no turn has begun")),
                item::TEXT => self.text_document(&mut cursor)?,
                item::OBJECT => self.object(&mut cursor)?,
                item::ARRAY => self.array(&mut cursor)?,
                tag => {
                    let code = tag.wrapping_sub(item::EVENT);
                    let event_type = match EventType::from_code(code) {
                        Some(event_type) if tag > item::EVENT => event_type,
                        _ => return Err(malformed(at, "there is no such item")),
                    };
                    let event = self.event(&mut cursor, event_type)?;
                    self.at = cursor.at;
                    return Ok(Some(Entry {
                        decoder: self,
                        items,
                        id: event.id,
                        previous_id: event.previous_id,
                        millis: event.millis,
                        event_type,
                        state: event.state,
                    }));
                }
            }
        }
        self.at = cursor.at;
        Ok(None)
    }

    fn turn(&mut self, cursor: &mut Cursor<'_>) -> Reading<()> {
        self.clear_turn();
        self.turns += 1;
        self.machine = self.text(cursor)?;
        let prefix = self.text(cursor)?.of(cursor.bytes);
        self.arn.clear();
        self.arn.extend_from_slice(prefix);
        let start = self.arn.len();
        let kind = cursor.byte()?;
        match kind & !item::HAS_ID {
            item::NAME_IS_TEXT => {
                let name = self.text(cursor)?.of(cursor.bytes);
                self.arn.extend_from_slice(name);
            }
            item::NAME_IS_UUID => self.uuid(cursor)?,
            _ => return cursor.malformed("there is no such kind of name"),
        }
        self.name = (start, self.arn.len());
        if kind & item::HAS_ID != 0 {
            self.arn.push(b':');
            self.uuid(cursor)?;
        }
        if self.arn.is_empty() {
            return cursor.malformed("an execution has no name");
        }
        self.last_id = 0;
        self.last_millis = cursor.signed()?;
        Ok(())
    }

    fn uuid(&mut self, cursor: &mut Cursor<'_>) -> Reading<()> {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(cursor.take(16)?);
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = uuid::Uuid::from_bytes(bytes)
            .hyphenated()
            .encode_lower(&mut text);
        self.arn.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn text(&mut self, cursor: &mut Cursor<'_>) -> Reading<Span> {
        let number = cursor.number()?;
        if number & 1 == 1 {
            return checked_text(cursor, number >> 1);
        }
        if number == 0 {
            let len = cursor.number()?;
            let text = checked_text(cursor, len)?;
            self.texts.push(text);
            return Ok(text);
        }
        let known = usize::try_from((number >> 1) - 1).ok();
        match known.and_then(|known| self.texts.get(known)) {
            Some(text) => Ok(*text),
            None => cursor.malformed("the dictionary has no such text"),
        }
    }

    fn reference(&self, cursor: &mut Cursor<'_>) -> Reading<Reference> {
        let number = cursor.number()?;
        let document = usize::try_from(number >> 1)
            .ok()
            .and_then(|id| self.documents.get(id));
        let Some(document) = document else {
            return cursor.malformed("there is no such document");
        };
        // There are no more documents than bytes in a block.
        let id = (number >> 1) as u32;
        if number & 1 == 0 {
            return Ok(Reference { id, part: None });
        }
        let (start, len) = (cursor.number()?, cursor.number()?);
        let Document::Text(span) = document else {
            return cursor.malformed("a document without text has no parts");
        };
        let text = span.of(cursor.bytes);
        let is_boundary = |at: u64| match text.get(at as usize) {
            Some(byte) => byte & 0xC0 != 0x80,
            None => at == text.len() as u64,
        };
        match start.checked_add(len) {
            Some(end) if end <= text.len() as u64 && is_boundary(start) && is_boundary(end) => {
                let part = Some(Span {
                    start: span.start + start as u32,
                    len: len as u32,
                });
                Ok(Reference { id, part })
            }
            _ => cursor.malformed("a part lies outside of its document"),
        }
    }

    fn size(&self, value: Reference) -> usize {
        value
            .part
            .map_or(self.sizes[value.id as usize], |part| part.len) as usize
    }

    fn text_document(&mut self, cursor: &mut Cursor<'_>) -> Reading<()> {
        let len = cursor.number()?;
        let text = checked_text(cursor, len)?;
        self.push_document(cursor, Document::Text(text), text.len as usize)
    }

    fn push_document(
        &mut self,
        cursor: &Cursor<'_>,
        document: Document,
        size: usize,
    ) -> Reading<()> {
        if size > DOCUMENT_BYTES_MAX {
            return cursor.malformed("a document is too large");
        }
        self.documents.push(document);
        self.sizes.push(size as u32);
        Ok(())
    }

    fn object(&mut self, cursor: &mut Cursor<'_>) -> Reading<()> {
        let first = self.members.len() as u32;
        let mut size = 1;
        for _ in 0..cursor.count()? {
            let name = self.text(cursor)?;
            let value = self.reference(cursor)?;
            size += name.len as usize + 4 + self.size(value);
            self.members.push(Member { name, value });
        }
        let end = self.members.len() as u32;
        self.push_document(cursor, Document::Object { first, end }, size)
    }

    fn array(&mut self, cursor: &mut Cursor<'_>) -> Reading<()> {
        let first = self.members.len() as u32;
        let mut size = 1;
        for _ in 0..cursor.count()? {
            let value = self.reference(cursor)?;
            size += 1 + self.size(value);
            self.members.push(Member {
                name: Span::default(),
                value,
            });
        }
        let end = self.members.len() as u32;
        self.push_document(cursor, Document::Array { first, end }, size)
    }

    fn event(&mut self, cursor: &mut Cursor<'_>, event_type: EventType) -> Reading<Event> {
        let id = self.last_id.wrapping_add(cursor.number()?);
        let previous_id = id.wrapping_sub(cursor.number()?);
        let millis = self.last_millis.wrapping_add(cursor.signed()?);
        (self.last_id, self.last_millis) = (id, millis);
        self.fields.clear();
        let mut state = None;
        loop {
            let code = cursor.byte()?;
            if code == 0 {
                break;
            }
            let Some(field) = Field::from_code(code) else {
                return cursor.malformed("there is no such field");
            };
            let held = self.held(cursor, field)?;
            if let (Field::Name, Held::Text(name)) = (field, held) {
                state = Some(name);
            }
            self.fields.push((field, held));
        }
        // An execution's own events belong to no state, the others to that of the event before.
        if state.is_none() && !event_type.as_str().starts_with("Execution") {
            let before = self
                .states
                .binary_search_by_key(&previous_id, |(id, _)| *id);
            state = before.ok().map(|at| self.states[at].1);
        }
        if let Some(state) = state
            && self.states.last().is_none_or(|(last, _)| *last < id)
        {
            self.states.push((id, state));
        }
        Ok(Event {
            id,
            previous_id,
            millis,
            state,
        })
    }

    fn held(&mut self, cursor: &mut Cursor<'_>, field: Field) -> Reading<Held> {
        Ok(match Shape::of(field) {
            Shape::Document => Held::Document(self.reference(cursor)?),
            Shape::Text => Held::Text(self.text(cursor)?),
            Shape::Number => Held::Number(cursor.number()?),
            Shape::Variables => {
                let first = self.members.len() as u32;
                for _ in 0..cursor.count()? {
                    let name = self.text(cursor)?;
                    let value = self.reference(cursor)?;
                    self.members.push(Member { name, value });
                }
                let end = self.members.len() as u32;
                Held::Variables { first, end }
            }
            Shape::Credentials => match cursor.number()? {
                0 => Held::Credentials(None),
                1 => Held::Credentials(Some(self.text(cursor)?)),
                _ => return cursor.malformed("credentials have one role at most"),
            },
        })
    }
}

/// What stands before the fields of an event.
struct Event {
    id: u64,
    previous_id: u64,
    millis: i64,
    state: Option<Span>,
}

/// How a field is written.
enum Shape {
    Document,
    Text,
    Number,
    Variables,
    Credentials,
}

impl Shape {
    const fn of(field: Field) -> Shape {
        match field {
            Field::Input | Field::Output | Field::Parameters => Shape::Document,
            Field::Name
            | Field::RoleArn
            | Field::Error
            | Field::Cause
            | Field::Resource
            | Field::ResourceType
            | Field::Region
            | Field::WorkerName
            | Field::Location
            | Field::State => Shape::Text,
            Field::TimeoutInSeconds
            | Field::HeartbeatInSeconds
            | Field::Length
            | Field::Index
            | Field::RedriveCount => Shape::Number,
            Field::AssignedVariables => Shape::Variables,
            Field::TaskCredentials => Shape::Credentials,
        }
    }
}

#[cold]
const fn malformed(at: usize, what: &'static str) -> Malformed {
    Malformed { at, what }
}

fn checked_text(cursor: &mut Cursor<'_>, len: u64) -> Reading<Span> {
    let start = cursor.at;
    let Ok(len) = u32::try_from(len) else {
        return cursor.malformed("the block ends too early");
    };
    let text = cursor.take(len)?;
    if simdutf8::basic::from_utf8(text).is_err() {
        return cursor.malformed("a text is not UTF-8");
    }
    // The block is smaller than 4 GiB.
    Ok(Span {
        start: start as u32,
        len,
    })
}

impl<'d, 'b> Entry<'d, 'b> {
    pub(crate) const fn execution_arn(&self) -> &'d [u8] {
        self.decoder.arn.as_slice()
    }

    pub(crate) fn execution_name(&self) -> &'d [u8] {
        let (start, end) = self.decoder.name;
        &self.decoder.arn[start..end]
    }

    pub(crate) fn machine(&self) -> &'b [u8] {
        self.decoder.machine.of(self.items)
    }

    /// The state that the event belongs to, as far as its turn tells.
    pub(crate) fn state(&self) -> Option<&'b [u8]> {
        self.state.map(|state| state.of(self.items))
    }

    /// Tells turns apart: documents of one number in one turn are the same.
    pub(crate) const fn turn(&self) -> u64 {
        self.decoder.turns
    }

    pub(crate) fn document(&self, id: u32) -> Document {
        self.decoder.documents[id as usize]
    }

    pub(crate) fn members(&self, first: u32, end: u32) -> &'d [Member] {
        &self.decoder.members[first as usize..end as usize]
    }

    pub(crate) const fn items(&self) -> &'b [u8] {
        self.items
    }

    /// The fields in their order.
    pub(crate) fn fields(&self) -> &'d [(Field, Held)] {
        &self.decoder.fields
    }
}
