//! Where values stand: what lets a log store each piece of text once.

use super::{CONSTANT, Doc, Key, Val, Values};

impl<'a> Values<'a> {
    /// Where the text of a value starts in its document, and the text; `None` for what is made of other values.
    #[inline(always)]
    pub(crate) fn place(self, v: Val) -> Option<(u32, &'a [u8])> {
        let node = self.node(v);
        if node.tag.is_overlay() {
            return None;
        }
        let bytes = &self.home(v.0).bytes;
        let start = node.start as usize;
        Some((node.start, &bytes[start..start + node.size as usize]))
    }
}

impl Key {
    /// True if the name is one of the program's.
    #[inline(always)]
    pub(crate) const fn is_constant(self) -> bool {
        self.start & CONSTANT != 0
    }
}

impl Val {
    /// Number of a value that every document has: `null`, `true`, `false`, `{}`, `[]`.
    #[inline(always)]
    pub(crate) const fn universal(self) -> Option<u8> {
        match self.0 & !CONSTANT {
            number @ 0..5 => Some(number as u8),
            _ => None,
        }
    }
}

impl Doc {
    /// Changes whenever values have moved: a [`Val`] of an earlier generation means nothing in a later one.
    #[inline(always)]
    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }
}
