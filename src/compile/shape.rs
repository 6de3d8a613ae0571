//! What objects look like where paths read them, as far as it can be foreseen.
//!
//! Everything here is an expectation: the interpreter compares layouts, and looks for names where they differ. So it is
//! enough to follow the states in the order of the definition.

use std::rc::Rc;

use crate::stdx::{FixedMap, narrow};
use crate::value::{Growth, Layout};

/// Objects that `ResultPath` adds more members to have no layout that is known: following them would take time by the
/// square of their number.
const GROWN_MEMBERS_MAX: usize = 32;

/// An object of a known layout, with its names as they are written in JSON.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    names: Rc<[Box<str>]>,
}

#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// How many layouts there are.
    layouts: u32,
    /// Where the last object with a member of that name has it.
    places: FixedMap<Box<str>, (Layout, u32)>,
    /// What the frame's value is expected to be.
    value: Option<Shape>,
    /// The same of the raw input of the state that is being compiled.
    input: Option<Shape>,
}

impl Shapes {
    /// A layout for objects of these members.
    pub(super) fn add(&mut self, names: Vec<Box<str>>) -> Shape {
        let layout = Layout::new(self.layouts);
        self.layouts += 1;
        for (name, position) in names.iter().zip(0..) {
            self.places.insert(name.clone(), (layout, position));
        }
        Shape {
            layout,
            names: names.into(),
        }
    }

    /// Where a path is to expect the member of that name.
    pub(super) fn place(&self, name: &str) -> Option<(Layout, u32)> {
        self.places.get(name).copied()
    }

    /// A scope begins, with an input of which nothing is known.
    pub(super) fn begin_scope(&mut self) {
        self.value = None;
    }

    /// A state begins: its input is what the state before has left.
    pub(super) fn begin_state(&mut self) {
        self.input = self.value.clone();
    }

    /// What the value is expected to be.
    pub(super) fn value(&self) -> Option<&Shape> {
        self.value.as_ref()
    }

    /// The value becomes an object of a template, or something else.
    pub(super) fn set_value(&mut self, shape: Option<Shape>) {
        self.value = shape;
    }

    /// The value becomes the input, into which `ResultPath` has put something: a member of that name, if one is given.
    pub(super) fn merge(&mut self, name: Option<&str>) -> Option<Growth> {
        self.value = self.input.clone();
        let (name, Shape { layout, names }) = (name?, self.input.clone()?);
        if names.len() >= GROWN_MEMBERS_MAX || names.iter().any(|known| **known == *name) {
            return None;
        }
        let members = narrow(names.len());
        let grown = self.add(names.iter().cloned().chain([name.into()]).collect());
        let growth = Growth::new(layout, members, grown.layout);
        self.value = Some(grown);
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_are_followed() {
        let mut shapes = Shapes::default();
        let made = shapes.add(vec!["a".into(), "b".into()]);
        shapes.set_value(Some(made.clone()));
        shapes.begin_state();
        assert!(shapes.merge(Some("b")).is_none(), "it is there already");
        assert_eq!(shapes.place("b"), Some((made.layout, 1)));
        assert!(shapes.merge(Some("c")).is_some());
        let grown = shapes.value().map(|shape| shape.layout);
        assert_ne!(grown, Some(made.layout));
        assert_eq!(shapes.place("b"), grown.map(|layout| (layout, 1)));
        assert_eq!(shapes.place("c"), grown.map(|layout| (layout, 2)));
        // The input of the state is what it was.
        assert!(shapes.merge(None).is_none());
        assert_eq!(shapes.value().map(|shape| shape.layout), Some(made.layout));
        shapes.begin_scope();
        shapes.begin_state();
        assert!(shapes.merge(Some("d")).is_none(), "nothing is known");
        assert_eq!(shapes.place("d"), None);
    }

    #[test]
    fn what_grows_without_end_is_not_followed() {
        let mut shapes = Shapes::default();
        let made = shapes.add(vec!["first".into()]);
        shapes.set_value(Some(made));
        let grown = (0..100).map(|n| {
            shapes.begin_state();
            shapes.merge(Some(&format!("m{n}"))).is_some()
        });
        assert_eq!(grown.filter(|is| *is).count(), GROWN_MEMBERS_MAX - 1);
    }
}
