//! Where the reader stands: a value of the tree and the way to it from the root.

use std::fmt;

use crate::asl::json::{Member, Node, Span, Value};

/// The way from the root to a value. It prints as AWS's `location`: `/States/A/Choices[0]/Next`.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'a> {
    Root,
    Member(&'a At<'a>, &'a str),
    Element(&'a At<'a>, usize),
}

impl At<'_> {
    /// The name of the nearest member on the way up.
    pub(super) fn last_name(&self) -> &str {
        match self {
            At::Root => "",
            At::Member(_, name) => name,
            At::Element(parent, _) => parent.last_name(),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Member(parent, name) => {
                parent.write(f)?;
                write!(f, "/{name}")
            }
            At::Element(parent, index) => {
                parent.write(f)?;
                write!(f, "[{index}]")
            }
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => f.write_str("/"),
            _ => self.write(f),
        }
    }
}

/// A value, the way to it and, if it is a member's, the span of the member's name. `'n` is the tree's lifetime, `'a`
/// that of the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a, 'n> {
    pub(super) node: &'n Node<'n>,
    pub(super) at: At<'a>,
    pub(super) name_span: Option<Span>,
}

impl<'n> Place<'_, 'n> {
    pub(super) fn root(node: &'n Node<'n>) -> Place<'n, 'n> {
        Place {
            node,
            at: At::Root,
            name_span: None,
        }
    }

    /// The members of an object; none of anything else.
    pub(super) fn members(&self) -> &'n [Member<'n>] {
        match &self.node.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The elements of an array; none of anything else.
    pub(super) fn elements(&self) -> &'n [Node<'n>] {
        match &self.node.value {
            Value::Array(elements) => elements,
            _ => &[],
        }
    }

    pub(super) fn member<'b>(&'b self, member: &'n Member<'n>) -> Place<'b, 'n> {
        Place {
            node: &member.node,
            at: At::Member(&self.at, &member.name),
            name_span: Some(member.name_span),
        }
    }

    pub(super) fn element<'b>(&'b self, index: usize, node: &'n Node<'n>) -> Place<'b, 'n> {
        Place {
            node,
            at: At::Element(&self.at, index),
            name_span: None,
        }
    }

    pub(super) fn get<'b>(&'b self, name: &str) -> Option<Place<'b, 'n>> {
        self.members()
            .iter()
            .find(|m| m.name == name)
            .map(|m| self.member(m))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members().iter().any(|m| m.name == name)
    }

    /// What to underline when something is missing inside: the member's name, or the bracket that opens the value.
    pub(super) fn head(&self) -> Span {
        self.name_span.unwrap_or(Span {
            start: self.node.span.start,
            end: self.node.span.end.min(self.node.span.start + 1),
        })
    }
}
