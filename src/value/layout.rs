//! Which names an object begins with, so that a path finds its member without comparing names.
//!
//! The compiler knows the objects that a program's templates make. Each of them is a [`Layout`], which its values carry;
//! a path that is expected to read such an object says so in its [`MemberName`]. If the object at hand has the layout,
//! the member stands at a known place; if it has not, the name is looked for as in any other object.

use super::doc::Tag;
use super::{Key, Name};

/// The number of a template's object in its program. `ResultPath` adds members behind those that are there or replaces
/// their values, so that it leaves the layout as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout(pub(super) u32);

impl Layout {
    /// No layout that a member is looked for in.
    pub(crate) const UNKNOWN: Layout = Layout(0);

    /// The layout of the `number`th object, from 0.
    pub(crate) fn new(number: u32) -> Layout {
        if (number as usize) < Tag::LAYOUT_MAX {
            Layout(number + 1)
        } else {
            Layout::UNKNOWN
        }
    }
}

/// The name of a member that a path of a program reads.
#[derive(Clone, Debug)]
pub(crate) struct MemberName {
    pub(crate) name: Name,
    /// The name in the program's constants: of one program, equal keys are equal names, and other keys are other names.
    pub(crate) key: Key,
    /// The tag of an object that has the expected layout.
    pub(super) expected: Tag,
    /// Where the member stands in such an object.
    pub(super) position: u32,
}

impl MemberName {
    /// A name of which nothing is known.
    pub(crate) fn new(name: Name, key: Key) -> MemberName {
        MemberName {
            name,
            key,
            expected: Tag::IMPOSSIBLE,
            position: 0,
        }
    }

    /// A member that stands at `position` in objects of the given layout.
    pub(crate) fn expect(self, layout: Layout, position: u32) -> MemberName {
        if layout == Layout::UNKNOWN {
            return self;
        }
        MemberName {
            expected: Tag::of_layout(layout),
            position,
            ..self
        }
    }
}
