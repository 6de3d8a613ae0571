//! [`Documents`]: which values of an execution are in its turn already, so that each is stored once.
//!
//! Values are known by where they stand: text by its range in the execution's document or in the program's constants,
//! what is made of other values by its [`Val`]. A value within text that is stored is a part of it. All of this holds as
//! long as values do not move, which is a turn at most.

use super::block::BlockWriter;
use super::format::{DOCUMENT_BYTES_MAX, UNIVERSAL, item, push_number};
use crate::history::LOG_DOCUMENT_BYTES_MAX;
use crate::value::{Kind, Val, Values};

/// A value that is stored: a document, or a part of a text document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    id: u32,
    /// Start and length of the part.
    part: Option<(u32, u32)>,
}

impl Stored {
    const fn whole(id: u32) -> Stored {
        Stored { id, part: None }
    }

    #[inline(always)]
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let id = u64::from(self.id) << 1;
        match self.part {
            None => push_number(out, id),
            Some((start, len)) => {
                push_number(out, id | 1);
                push_number(out, u64::from(start));
                push_number(out, u64::from(len));
            }
        }
    }
}

/// Text that is stored, from `start` to `end` of a document's bytes.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    end: u32,
    id: u32,
}

/// Pieces in the order of their places. They do not overlap.
#[derive(Debug, Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    #[inline(always)]
    fn find(&self, start: u32, end: u32) -> Option<Stored> {
        let found = |piece: &Piece| {
            (piece.start <= start && end <= piece.end).then(|| {
                let is_part = piece.start != start || piece.end != end;
                Stored {
                    id: piece.id,
                    part: is_part.then(|| (start - piece.start, end - start)),
                }
            })
        };
        // The input comes first, and most of what follows is a part of it.
        if let Some(stored) = self.0.first().and_then(found) {
            return Some(stored);
        }
        let at = self.0.partition_point(|piece| piece.start <= start);
        self.0.get(at.checked_sub(1)?).and_then(found)
    }

    fn insert(&mut self, piece: Piece) {
        let at = self.0.partition_point(|other| other.start < piece.start);
        // What lies within the new piece is a part of it from now on.
        let covered = self.0[at..].partition_point(|other| other.end <= piece.end);
        self.0.splice(at..at + covered, [piece]);
    }
}

/// What is stored of a turn.
#[derive(Debug, Default)]
pub(super) struct Documents {
    next_id: u32,
    own: Pieces,
    constants: Pieces,
    /// What is made of other values, in the order of the values.
    overlays: Vec<(Val, u32)>,
    /// The input as it was sent.
    original: Option<u32>,
    /// Scratch.
    waiting: Vec<Val>,
    children: Vec<Stored>,
    text: Vec<u8>,
}

impl Documents {
    /// Forgets everything: a turn begins.
    pub(super) fn clear(&mut self) {
        self.next_id = UNIVERSAL.len() as u32;
        self.own.0.clear();
        self.constants.0.clear();
        self.overlays.clear();
        self.original = None;
    }

    fn take_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The input as it was sent, which is the same at every call in a turn.
    pub(super) fn original(&mut self, text: &str, block: &mut BlockWriter) -> Stored {
        let id = match self.original {
            Some(id) => id,
            None => self.push_text(text.as_bytes(), block),
        };
        self.original = Some(id);
        Stored::whole(id)
    }

    /// Stores a value, unless it is stored already.
    #[inline]
    pub(super) fn store(
        &mut self,
        values: Values<'_>,
        val: Val,
        block: &mut BlockWriter,
    ) -> Stored {
        match self.try_store(values, val, block) {
            Some(stored) => stored,
            None => self.store_overlay(values, val, block),
        }
    }

    /// The same; `None` for what is made of other values and is not stored yet.
    #[inline(always)]
    fn try_store(
        &mut self,
        values: Values<'_>,
        val: Val,
        block: &mut BlockWriter,
    ) -> Option<Stored> {
        if let Some(id) = val.universal() {
            return Some(Stored::whole(u32::from(id)));
        }
        let Some((start, text)) = values.place(val) else {
            return self.find_overlay(val).ok().map(Stored::whole);
        };
        let end = start + text.len() as u32;
        let pieces = match val.is_constant() {
            true => &self.constants,
            false => &self.own,
        };
        if let Some(stored) = pieces.find(start, end) {
            return Some(stored);
        }
        let id = self.push_text(text, block);
        let pieces = match val.is_constant() {
            true => &mut self.constants,
            false => &mut self.own,
        };
        pieces.insert(Piece { start, end, id });
        Some(Stored::whole(id))
    }

    fn push_text(&mut self, text: &[u8], block: &mut BlockWriter) -> u32 {
        let text = match text.len() {
            0..=DOCUMENT_BYTES_MAX => text,
            // So much is more than a log shows, which is how it can tell that there was more.
            _ => &text[..floor(text, LOG_DOCUMENT_BYTES_MAX + 4)],
        };
        block.items.push(item::TEXT);
        push_number(&mut block.items, text.len() as u64);
        block.items.extend_from_slice(text);
        self.take_id()
    }

    /// The number of a value that is made of others, or where it would stand in the list.
    #[inline]
    fn find_overlay(&self, val: Val) -> Result<u32, usize> {
        if let Some((last, id)) = self.overlays.last() {
            if *last == val {
                return Ok(*id);
            }
            if *last < val {
                return Err(self.overlays.len());
            }
        }
        self.overlays
            .binary_search_by_key(&val, |(val, _)| *val)
            .map(|at| self.overlays[at].1)
    }

    /// Stores what is made of other values, and those before it.
    fn store_overlay(&mut self, values: Values<'_>, val: Val, block: &mut BlockWriter) -> Stored {
        if values.size(val) > DOCUMENT_BYTES_MAX {
            return self.store_written(values, val, block);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut children = std::mem::take(&mut self.children);
        waiting.push(val);
        let mut id = 0;
        while let Some(&top) = waiting.last() {
            let place = match self.find_overlay(top) {
                Ok(known) => {
                    id = known;
                    waiting.pop();
                    continue;
                }
                Err(place) => place,
            };
            children.clear();
            let before = waiting.len();
            let is_object = values.kind(top) == Kind::Object;
            let mut child = |child: Val| match self.try_store(values, child, block) {
                Some(stored) => children.push(stored),
                None => waiting.push(child),
            };
            match is_object {
                true => values.members(top).for_each(|(_, val)| child(val)),
                false => values.elements(top).for_each(child),
            }
            if waiting.len() > before {
                continue;
            }
            waiting.pop();
            if is_object {
                block.items.push(item::OBJECT);
                push_number(&mut block.items, children.len() as u64);
                for ((key, _), stored) in values.members(top).zip(&children) {
                    let name = values.key_text(key);
                    match key.is_constant() {
                        true => block.text(name),
                        false => block.inline_text(name),
                    }
                    stored.write(&mut block.items);
                }
            } else {
                block.items.push(item::ARRAY);
                push_number(&mut block.items, children.len() as u64);
                for stored in &children {
                    stored.write(&mut block.items);
                }
            }
            id = self.take_id();
            self.overlays.insert(place, (top, id));
        }
        (self.waiting, self.children) = (waiting, children);
        Stored::whole(id)
    }

    /// Stores the beginning of what is larger than a log shows.
    #[cold]
    fn store_written(&mut self, values: Values<'_>, val: Val, block: &mut BlockWriter) -> Stored {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        values.write(val, &mut text);
        let id = self.push_text(&text, block);
        // Such values are rare, and their memory is not kept.
        drop(text);
        if let Err(place) = self.find_overlay(val) {
            self.overlays.insert(place, (val, id));
        }
        Stored::whole(id)
    }
}

/// The last place at or before `at` where a character of a text begins.
fn floor(text: &[u8], at: usize) -> usize {
    let is_inside = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0xC0 == 0x80);
    (0..=at.min(text.len()))
        .rev()
        .find(|at| !is_inside(at))
        .unwrap_or(0)
}
