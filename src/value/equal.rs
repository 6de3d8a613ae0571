//! Deep equality.

use std::cmp::Ordering;

use super::{Kind, Val, Values, number};
use crate::stdx::FixedMap;

/// Objects with more members than this are compared through a hash table of their names.
const SCAN_MEMBERS_MAX: usize = 32;

impl Values<'_> {
    /// True if the two are the same JSON value: numbers by value, objects whatever the order of their members.
    #[must_use]
    pub fn equal(self, a: Val, b: Val) -> bool {
        let mut pending = vec![(a, b)];
        while let Some((a, b)) = pending.pop() {
            if a == b {
                continue;
            }
            let kind = self.kind(a);
            if kind != self.kind(b) {
                return false;
            }
            let same = match kind {
                Kind::Null | Kind::True | Kind::False => true,
                Kind::Number => number::compare(self.text(a), self.text(b)) == Ordering::Equal,
                // Canonical escapes: equal strings are equal bytes.
                Kind::String => self.text(a) == self.text(b),
                Kind::Array => {
                    let same_length = self.len(a) == self.len(b);
                    if same_length {
                        pending.extend(self.elements(a).zip(self.elements(b)));
                    }
                    same_length
                }
                Kind::Object => self.pair_members(a, b, &mut pending),
            };
            if !same {
                return false;
            }
        }
        true
    }

    /// Pairs the members of two objects by name; false if their names differ.
    fn pair_members(self, a: Val, b: Val, pending: &mut Vec<(Val, Val)>) -> bool {
        let count = self.len(a);
        if count != self.len(b) {
            return false;
        }
        let table: Option<FixedMap<&str, Val>> = (count > SCAN_MEMBERS_MAX).then(|| {
            self.members(b)
                .map(|(key, val)| (self.key_text(key), val))
                .collect()
        });
        for (key, val) in self.members(a) {
            let name = self.key_text(key);
            let other = match &table {
                Some(table) => table.get(name).copied(),
                None => self
                    .members(b)
                    .find(|(other, _)| self.key_text(*other) == name)
                    .map(|(_, val)| val),
            };
            match other {
                Some(other) => pending.push((val, other)),
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::Doc;
    use super::*;

    #[test]
    fn equality_table() {
        let big = |shift: usize| {
            let members: Vec<String> = (0..50)
                .map(|i| format!("\"k{0}\":{0}", (i + shift) % 50))
                .collect();
            format!("{{{}}}", members.join(","))
        };
        let cases = [
            ("1", "1.0", true),
            ("[1,2]", "[2,1]", false),
            ("[1]", "[1,1]", false),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"b":1}"#, false),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
            (r#""\u0041""#, r#""A""#, true),
            ("true", "false", false),
            ("null", "0", false),
            (&big(0), &big(7), true),
        ];
        for (a, b, expected) in cases {
            let mut doc = Doc::new();
            let (x, y) = (
                doc.ingest(a.as_bytes()).unwrap(),
                doc.ingest(b.as_bytes()).unwrap(),
            );
            let values = Values {
                doc: &doc,
                constants: &doc,
            };
            assert_eq!(values.equal(x, y), expected, "{a} {b}");
        }
    }
}
