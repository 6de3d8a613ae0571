//! [`Prepared`]: a value that was ingested once, to be put into many documents.

use super::doc::Node;
use super::ingest::TEXT_BYTES_MAX;
use super::{Doc, IngestError, Val};
use crate::stdx::narrow;

/// JSON text with what its ingest comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prepared {
    json: Box<[u8]>,
    /// The nodes, counted from the first of them, with texts that start at 0. None if the text has to be ingested again:
    /// it is no JSON, it is not canonical, or it has objects with an index.
    nodes: Box<[Node]>,
}

impl Prepared {
    /// Prepares JSON text; what is wrong with it is said when it is put into a document.
    #[must_use]
    pub fn new(json: &[u8]) -> Prepared {
        let mut doc = Doc::new();
        let (from, start) = (doc.nodes.len(), doc.bytes.len());
        let is_plain = doc.ingest(json).is_ok() && doc.indexes.is_empty();
        let nodes = match is_plain && doc.bytes[start..] == *json {
            true => &doc.nodes[from..],
            false => &[],
        };
        let moved = |node: &Node| node.moved(start as u32, from as u32, u32::wrapping_sub);
        Prepared {
            json: json.into(),
            nodes: nodes.iter().map(moved).collect(),
        }
    }

    /// The text.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }
}

impl Doc {
    /// Appends a prepared value: what [`Doc::ingest`] of its text would.
    ///
    /// # Errors
    ///
    /// If the text is not JSON, or if there is no room for it.
    pub fn put(&mut self, value: &Prepared) -> Result<Val, IngestError> {
        let (from, start) = (self.nodes.len(), self.bytes.len());
        if value.nodes.is_empty() || start > TEXT_BYTES_MAX {
            return self.ingest(&value.json);
        }
        let root = Val(narrow(from));
        self.bytes.extend_from_slice(&value.json);
        let moved = |node: &Node| node.moved(start as u32, root.0, u32::wrapping_add);
        self.nodes.extend(value.nodes.iter().map(moved));
        Ok(root)
    }
}

impl Node {
    /// The node at another place: of an ingested value.
    #[inline(always)]
    fn moved(&self, bytes: u32, nodes: u32, by: impl Fn(u32, u32) -> u32) -> Node {
        Node {
            start: by(self.start, bytes),
            next: by(self.next, nodes),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Name, Values};
    use super::*;

    #[test]
    fn putting_is_ingesting() {
        let large: Vec<String> = (0..40).map(|i| format!(r#""k{i}":{i}"#)).collect();
        let large = format!("{{{}}}", large.join(","));
        for json in [
            "null",
            r#"{"a":{"b":[1,"two\n",{}]},"k7":7}"#,
            r#" { "a" : 1 , "a":2, "k7":[] } "#,
            r#""caf\u00e9""#,
            large.as_str(),
            "[1,",
            "",
        ] {
            let prepared = Prepared::new(json.as_bytes());
            let (mut put, mut ingested, constants) = (Doc::new(), Doc::new(), Doc::new());
            for before in [r#"{"x":[0]}"#, json] {
                let values = [&mut put, &mut ingested].map(|doc| {
                    let _ = doc.ingest(before.as_bytes());
                    (doc, before)
                });
                let [(put, _), (ingested, _)] = values;
                let (left, right) = (put.put(&prepared), ingested.ingest(json.as_bytes()));
                assert_eq!(left, right, "{json}");
                let Ok(val) = left else { continue };
                let seen = [&*put, &*ingested].map(|doc| {
                    let values = Values {
                        doc,
                        constants: &constants,
                    };
                    let member = values.get(val, &Name::new("k7"));
                    (values.to_json(val), member, values.size(val))
                });
                assert_eq!(seen[0], seen[1]);
                assert_eq!(put.memory(), ingested.memory());
            }
        }
    }
}
