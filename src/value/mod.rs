//! JSON values: one [`Doc`] per execution holds all of them, and a [`Val`] is a 32-bit index into it.
//!
//! A document is one buffer of compact JSON text and one vector of nodes. What arrives from outside is *ingested*: its
//! text is appended to the buffer and every value in it becomes a node, which is a range of that text. What an
//! execution makes of it (a payload template, a `ResultPath`) becomes an *overlay*: a list of references to values that
//! are there already. Nothing is ever changed in place, nothing is cloned, and writing a value copies ranges of text.
//!
//! The text in the buffer is canonical, which is what makes comparison, size and output cheap:
//!
//! - no white space outside strings, so a value's size in bytes is the length of its range;
//! - strings and member names in their decoded form, escaped only where JSON demands it (`\"`, `\\`, `\b`, `\f`, `\n`,
//!   `\r`, `\t`, `\u00XX` in capitals); `\/` becomes `/`, `\u00e9` becomes `é`. A lone surrogate has no decoded form
//!   and stays an escape, `\uD800`. Equal strings are thus equal bytes;
//! - one member per name: of duplicates the last value stays, in the first one's place;
//! - numbers as they were written: `0.10`, `1E5` and 2^64 pass through.
//!
//! This module knows nothing of states, paths or programs.

mod compact;
mod copy;
mod doc;
mod equal;
mod error;
mod frozen;
mod index;
mod ingest;
mod layout;
mod number;
mod place;
mod prepared;
mod rewrite;
mod text;
mod view;

pub(crate) use doc::StringMark;
pub(crate) use doc::member_size;
pub use doc::{Doc, Key};
pub use error::IngestError;
pub use frozen::Damaged;
pub(crate) use frozen::{Reader, Table, Thawed, put, put_bytes, put_signed};
pub use ingest::DEPTH_MAX;
pub(crate) use layout::{Growth, Layout, MemberName};
pub use prepared::Prepared;
pub(crate) use text::push_escaped;
pub use text::{Name, escape, unescape};
pub(crate) use view::{Cursor, Opened};
pub use view::{Elements, Members, Values};

/// A value: an index into the execution's [`Doc`] or, with the top bit set, into the program's constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Val(u32);

/// The bit of a [`Val`] or a [`Key`] that tells constants from the execution's own values.
const CONSTANT: u32 = 1 << 31;

impl Val {
    // Every document holds these five at the same place.
    /// `null`
    pub const NULL: Val = Val(0);
    /// `true`
    pub const TRUE: Val = Val(1);
    /// `false`
    pub const FALSE: Val = Val(2);
    /// `{}`
    pub const EMPTY_OBJECT: Val = Val(3);
    /// `[]`
    pub const EMPTY_ARRAY: Val = Val(4);

    /// `true` or `false`.
    #[must_use]
    pub const fn bool(value: bool) -> Val {
        if value { Val::TRUE } else { Val::FALSE }
    }

    /// The same value of a program's constants, as the executions of that program address it.
    #[must_use]
    pub const fn as_constant(self) -> Val {
        Val(self.0 | CONSTANT)
    }

    /// True if the value lives in the program's constants.
    #[must_use]
    pub const fn is_constant(self) -> bool {
        self.0 & CONSTANT != 0
    }
}

/// The kinds of JSON values; the two booleans are kinds of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// `null`
    Null,
    /// `false`
    False,
    /// `true`
    True,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// The kind of a boolean.
    #[must_use]
    pub const fn of_bool(value: bool) -> Kind {
        if value { Kind::True } else { Kind::False }
    }
}
