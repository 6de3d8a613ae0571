//! What evaluation works on: items, and the memory in which sequences of them are.

use crate::value::{Key, Val};

/// A value while an expression is evaluated. Numbers and sequences come into the document only as parts of the result.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Undefined,
    Val(Val),
    /// A number that was computed; finite.
    Number(f64),
    Array(Sequence),
}

/// An array that evaluation made: a range of [`Memory::heap`], and the marks that JSONata keeps on arrays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) marks: Marks,
}

/// What is known of an array's making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    /// An array that a constructor or a function made.
    pub(super) const PLAIN: Marks = Marks(0);
    /// A sequence: empty it is undefined, with one item it is that item.
    pub(super) const SEQUENCE: Marks = Marks(1);
    /// An array that steps do not flatten.
    pub(super) const WHOLE: Marks = Marks(2);
    /// A sequence that stays an array with one item, by `[]`.
    pub(super) const KEPT: Marks = Marks(4);

    pub(super) const fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    pub(super) const fn has(self, other: Marks) -> bool {
        self.0 & other.0 != 0
    }
}

impl Item {
    /// The sequence of nothing.
    pub(super) const NOTHING: Item = Item::Array(Sequence {
        start: 0,
        len: 0,
        marks: Marks::SEQUENCE,
    });

    pub(super) const fn bool(value: bool) -> Item {
        Item::Val(Val::bool(value))
    }

    pub(super) const fn is_undefined(self) -> bool {
        matches!(self, Item::Undefined)
    }
}

/// The working memory of evaluations: reused, so that in the steady state none is allocated.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) roots: Vec<Option<Val>>,
    pub(super) slots: Vec<Item>,
    /// Sequences that are being made, one upon the other.
    pub(super) work: Vec<Item>,
    /// Sequences that are made.
    pub(super) heap: Vec<Item>,
    pub(super) values: Vec<Val>,
    pub(super) members: Vec<(Key, Val)>,
    pub(super) pending: Vec<Val>,
    pub(super) pairs: Vec<(Val, Val)>,
    pub(super) text: String,
}

/// Items beyond which memory is given back after an evaluation.
const ITEMS_KEPT_MAX: usize = 1 << 14;

/// Bytes of text beyond which memory is given back after an evaluation.
const TEXT_KEPT_MAX: usize = 1 << 16;

impl Memory {
    /// Forgets the last evaluation, of which an error may have left anything.
    #[inline]
    pub(super) fn begin(&mut self, slots: usize) {
        self.roots.clear();
        if slots > 0 {
            self.slots.clear();
            self.slots.resize(slots, Item::Undefined);
        }
        self.work.clear();
        self.heap.clear();
        self.values.clear();
        self.members.clear();
    }

    /// What is left of it for the next evaluation: not what a giant one needed.
    #[inline]
    pub(super) fn trim(&mut self) {
        let items = self.heap.capacity() | self.work.capacity() | self.values.capacity();
        let others = self.members.capacity() | self.pending.capacity() | self.pairs.capacity();
        if (items | others | self.text.capacity()) > ITEMS_KEPT_MAX {
            self.trim_each();
        }
    }

    #[cold]
    fn trim_each(&mut self) {
        if self.heap.capacity().max(self.work.capacity()) > ITEMS_KEPT_MAX {
            self.heap = Vec::new();
            self.work = Vec::new();
        }
        if self.values.capacity().max(self.members.capacity()) > ITEMS_KEPT_MAX {
            self.values = Vec::new();
            self.members = Vec::new();
        }
        if self.pending.capacity().max(self.pairs.capacity()) > ITEMS_KEPT_MAX {
            self.pending = Vec::new();
            self.pairs = Vec::new();
        }
        if self.text.capacity() > TEXT_KEPT_MAX {
            self.text = String::new();
        }
    }
}
