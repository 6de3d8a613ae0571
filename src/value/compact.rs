//! Compaction: what a looping execution has left behind is dropped.

use super::{Doc, Val, Values};
use crate::stdx::FixedMap;

impl Doc {
    /// Keeps the values in `roots`, which are moved to their new places, and drops everything else. Constants stay
    /// where they are. What several roots share is kept once only where the roots are the same value.
    pub fn compact<'r>(&mut self, constants: &Doc, roots: impl Iterator<Item = &'r mut Val>) {
        let old = std::mem::take(self);
        self.generation = old.generation.wrapping_add(1);
        let values = Values {
            doc: &old,
            constants,
        };
        let mut moved: FixedMap<Val, Val> = FixedMap::default();
        let mut text = Vec::new();
        for root in roots {
            if root.is_constant() || root.0 <= Val::EMPTY_ARRAY.0 {
                continue;
            }
            let new = *moved.entry(*root).or_insert_with(|| {
                text.clear();
                values.write(*root, &mut text);
                self.ingest_own(&text)
            });
            *root = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_survive_and_the_rest_goes() {
        let constants = Doc::new();
        let mut doc = Doc::new();
        let mut a = doc.ingest(br#"{"x":[1,2,{"y":"\u00e9"}]}"#).unwrap();
        for _ in 0..1_000 {
            a = doc.push_array(&constants, &[a]);
            a = Values {
                doc: &doc,
                constants: &constants,
            }
            .element(a, 0)
            .unwrap();
            doc.push_string("garbage");
        }
        let mut b = doc.push_array(&constants, &[a, Val::TRUE]);
        let before = doc.memory();
        doc.compact(&constants, [&mut a, &mut b].into_iter());
        let values = Values {
            doc: &doc,
            constants: &constants,
        };
        assert_eq!(values.to_json(a), r#"{"x":[1,2,{"y":"é"}]}"#);
        assert_eq!(values.to_json(b), r#"[{"x":[1,2,{"y":"é"}]},true]"#);
        assert!(doc.memory() * 10 < before);
    }
}
