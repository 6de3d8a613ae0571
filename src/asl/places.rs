//! Where the values of a definition's text stand, for those who check what the reader does not.

use std::ops::Range;

use super::diagnostic::LineIndex;
use super::json::{self, Node, Span, Value};

/// The text of a definition that has been read.
#[derive(Debug)]
pub(crate) struct Places<'t> {
    tree: Node<'t>,
    lines: LineIndex<'t>,
}

/// Where a text stands, without its quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PlaceOfText {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) span: Range<usize>,
}

impl<'t> Places<'t> {
    /// Nothing, if the text is not JSON.
    pub(crate) fn read(text: &'t str) -> Option<Places<'t>> {
        Some(Places {
            tree: json::parse(text).ok()?,
            lines: LineIndex::new(text),
        })
    }

    /// The text that a diagnostic's pointer leads to: `/States/A/Resource`.
    pub(crate) fn text(&self, pointer: &str) -> Option<PlaceOfText> {
        let node = descend(&self.tree, pointer)?;
        let Value::String(_) = node.value else {
            return None;
        };
        let quoted = node.span.range();
        let span = Span::new(quoted.start + 1, quoted.end - 1);
        let (line, column) = self.lines.find(span.start as usize);
        Some(PlaceOfText {
            line,
            column,
            span: span.range(),
        })
    }
}

/// Names may hold what separates them, so every member that the rest begins with is tried. The tree is no deeper than the
/// parser lets it be.
fn descend<'n, 't>(node: &'n Node<'t>, rest: &str) -> Option<&'n Node<'t>> {
    if rest.is_empty() {
        return Some(node);
    }
    match &node.value {
        Value::Object(members) => {
            let rest = rest.strip_prefix('/')?;
            let mut found = members.iter().filter_map(|member| {
                let rest = rest.strip_prefix(&*member.name)?;
                descend(&member.node, rest)
            });
            found.next()
        }
        Value::Array(elements) => {
            let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
            descend(elements.get(index.parse::<usize>().ok()?)?, rest)
        }
        _ => None,
    }
}
