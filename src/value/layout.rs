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

/// What `ResultPath` makes of an object of a known layout to which it adds a member: an object of another one, whose last
/// member it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// The tag of an object that has the layout before.
    pub(super) expected: Tag,
    /// How many members the layout has. An object may have more: then one of them may be of the new member's name.
    pub(super) members: u32,
    pub(super) layout: Layout,
}

impl Growth {
    /// From one layout, of so many members, to another one.
    pub(crate) fn new(from: Layout, members: u32, to: Layout) -> Option<Growth> {
        (from != Layout::UNKNOWN && to != Layout::UNKNOWN).then(|| Growth {
            expected: Tag::of_layout(from),
            members,
            layout: to,
        })
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

#[cfg(test)]
mod tests {
    use super::super::{Doc, Val, Values};
    use super::*;

    /// An object of `members`, of the given layout; every member is one of the numbers that its name ends with.
    fn object(doc: &mut Doc, constants: &Doc, layout: Layout, members: &[(Key, Val)]) -> Val {
        let mark = doc.begin_object(members.len());
        for &(key, val) in members {
            doc.push_member(key, val);
        }
        let values = Values { doc, constants };
        let sizes = members
            .iter()
            .map(|&(key, val)| super::super::member_size(key, values.size(val)));
        let size = sizes.sum();
        doc.end_object(mark, layout, size)
    }

    #[test]
    fn members_are_found_whatever_the_layout() {
        let (mut doc, mut constants) = (Doc::new(), Doc::new());
        let names = ["a", "second", "a name of more than eight bytes", "new"];
        let names = names.map(Name::new);
        let keys = [0, 1, 2, 3].map(|i: usize| constants.push_key(&names[i]).as_constant());
        let vals = [10, 11, 12, 13].map(|n| constants.push_i64(n).as_constant());
        let (layout, other) = (Layout::new(0), Layout::new(1));
        let in_order = [0, 1, 2].map(|i: usize| (keys[i], vals[i]));
        let expected = object(&mut doc, &constants, layout, &in_order);
        let reversed = [2, 1, 0].map(|i: usize| (keys[i], vals[i]));
        let otherwise = object(&mut doc, &constants, other, &reversed);
        let ingested = doc.ingest(
            br#"{"second":11,"x":{"a":0},"a":10,"new ":0,"a name of more than eight bytes":12}"#,
        );
        let ingested = ingested.unwrap();
        // `ResultPath` replaces a member in its place, or adds one behind the others.
        let replaced = doc.replace_member(&constants, expected, keys[1], vals[1]);
        let merged = doc.replace_member(&constants, ingested, keys[3], vals[3]);
        let grown = doc.replace_member(&constants, replaced, keys[3], vals[3]);
        let values = Values {
            doc: &doc,
            constants: &constants,
        };
        for object in [expected, otherwise, ingested, replaced, merged, grown] {
            let json = values.to_json(object);
            assert_eq!(values.size(object), json.len());
            for (i, name) in names.iter().enumerate() {
                let unknown = MemberName::new(name.clone(), keys[i]);
                let is_there = i < 3 || object == merged || object == grown;
                let found = is_there.then(|| vals[i]);
                let text = |val: Option<Val>| val.map(|val| values.text(val));
                let position = i.try_into().unwrap();
                for member in [unknown.clone(), unknown.expect(layout, position)] {
                    // Nothing is expected of an object at a place that its layout does not have.
                    if i < 3 || member.expected == Tag::IMPOSSIBLE {
                        let got = values.get_named(values.open(object), &member);
                        assert_eq!(text(got), text(found), "{name:?} of {json}");
                    }
                }
                assert_eq!(text(values.get(object, name)), text(found), "{json}");
            }
        }
        let growth = Growth::new(layout, 3, Layout::new(2)).unwrap();
        let mut grow = |object| doc.grow_object(&constants, growth, object, keys[3], vals[3]);
        assert_eq!([otherwise, ingested, grown].map(&mut grow), [None; 3]);
        let grown = [expected, replaced].map(|object| grow(object).unwrap());
        let values = Values {
            doc: &doc,
            constants: &constants,
        };
        for object in grown {
            let json = values.to_json(object);
            assert!(json.ends_with(r#","new":13}"#), "{json}");
            assert_eq!(values.size(object), json.len());
            for (i, name) in names.iter().enumerate() {
                let member = MemberName::new(name.clone(), keys[i]);
                let member = member.expect(Layout::new(2), i.try_into().unwrap());
                let got = values.get_named(values.open(object), &member);
                assert_eq!(got, Some(vals[i]), "{name:?} of {json}");
            }
        }
        let scalar = values.open(Val::NULL);
        let member = MemberName::new(names[0].clone(), keys[0]);
        assert_eq!(values.get_named(scalar, &member), None);
        assert_eq!(values.get_named(scalar, &member.expect(layout, 0)), None);
    }

    #[test]
    fn layouts_beyond_what_a_tag_holds_are_unknown() {
        let last = u32::try_from(Tag::LAYOUT_MAX).unwrap() - 1;
        assert_ne!(Layout::new(last), Layout::UNKNOWN);
        assert_eq!(
            Tag::of_layout(Layout::new(last)).layout(),
            Layout::new(last)
        );
        assert_eq!(Layout::new(last + 1), Layout::UNKNOWN);
    }
}
