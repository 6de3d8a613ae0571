//! [`BlockWriter`]: the block that a recorder fills, with its dictionary of texts.

use super::format::push_number;

/// A block that is complete: items as [`format::item`](super::format::item) has them.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) items: Vec<u8>,
    pub(super) events: u32,
}

/// Texts that are looked for before they are written again.
const SLOTS: usize = 256;

/// A block under way.
pub(super) struct BlockWriter {
    pub(super) items: Vec<u8>,
    pub(super) events: u32,
    /// Where the dictionary's texts stand among the items: start and length.
    texts: Vec<(u32, u32)>,
    /// Entries of the dictionary by a hash of their text; 0 is none, else one more than the entry. Of texts with the same
    /// hash the last one is known; another is written once more.
    slots: Box<[u32; SLOTS]>,
}

/// Where a block may be cut off again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    items: usize,
}

impl BlockWriter {
    pub(super) fn new(memory: Vec<u8>) -> BlockWriter {
        BlockWriter {
            items: memory,
            events: 0,
            texts: Vec::new(),
            slots: Box::new([0; SLOTS]),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            items: self.items.len(),
        }
    }

    /// Drops what was written since. The block must be taken before more is written: its dictionary may know texts
    /// that were dropped.
    pub(super) fn cut(&mut self, mark: Mark) {
        self.items.truncate(mark.items);
    }

    /// Takes the block; the next one is written to `memory`.
    pub(super) fn take(&mut self, memory: Vec<u8>) -> Block {
        self.texts.clear();
        *self.slots = [0; SLOTS];
        Block {
            items: std::mem::replace(&mut self.items, memory),
            events: std::mem::take(&mut self.events),
        }
    }

    /// Begins the block again.
    pub(super) fn clear(&mut self) {
        let mut memory = std::mem::take(&mut self.items);
        memory.clear();
        self.take(memory);
    }

    /// Appends a text of the program, which is likely to come again.
    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        let slot = slot(text);
        let entry = self.slots[slot];
        if entry != 0 {
            let (start, len) = self.texts[entry as usize - 1];
            let known = &self.items[start as usize..(start + len) as usize];
            if known == text.as_bytes() {
                push_number(&mut self.items, u64::from(entry) << 1);
                return;
            }
        }
        self.new_text(text, slot);
    }

    fn new_text(&mut self, text: &str, slot: usize) {
        self.items.push(0);
        push_number(&mut self.items, text.len() as u64);
        // Blocks are far from 4 GiB.
        self.texts
            .push((self.items.len() as u32, text.len() as u32));
        self.items.extend_from_slice(text.as_bytes());
        self.slots[slot] = self.texts.len() as u32;
    }

    /// Appends a text that is not likely to come again.
    #[inline]
    pub(super) fn inline_text(&mut self, text: &str) {
        push_inline_text(&mut self.items, text);
    }
}

/// Appends a text that is not in the dictionary.
#[inline]
pub(super) fn push_inline_text(out: &mut Vec<u8>, text: &str) {
    push_number(out, (text.len() as u64) << 1 | 1);
    out.extend_from_slice(text.as_bytes());
}

/// A hash of a text's length, beginning and end.
#[inline(always)]
fn slot(text: &str) -> usize {
    let bytes = text.as_bytes();
    let ends = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(21)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
    } else {
        bytes
            .iter()
            .fold(0, |ends, byte| ends << 8 | u64::from(*byte))
    };
    let mixed = (ends ^ bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as usize
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter")
            .field("bytes", &self.items.len())
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
