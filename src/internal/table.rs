//! Constants of expressions that stand alone.

use crate::jsonata::Constants;
use crate::stdx::narrow;
use crate::value::{Doc, Key, MemberName, Name, Val};

/// Constants of one expression, in which every name is one key.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) constants: Doc,
    keys: Vec<(String, Key)>,
    variables: Vec<String>,
}

impl Table {
    pub(super) fn new(variables: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table {
            variables: variables.into_iter().map(Into::into).collect(),
            ..Table::default()
        }
    }
}

impl Constants for Table {
    fn literal(&mut self, json: &str) -> Val {
        match self.constants.ingest(json.as_bytes()) {
            Ok(val) => val.as_constant(),
            Err(error) => unreachable!("a literal is JSON: {error}"),
        }
    }

    fn string(&mut self, text: &str) -> Val {
        self.constants.push_string(text).as_constant()
    }

    fn key(&mut self, name: &str) -> Key {
        if let Some((_, key)) = self.keys.iter().find(|(known, _)| known == name) {
            return *key;
        }
        let key = self.constants.push_key(&Name::new(name)).as_constant();
        self.keys.push((name.to_owned(), key));
        key
    }

    fn member(&mut self, name: &str) -> MemberName {
        MemberName::new(Name::new(name), self.key(name))
    }

    fn variable(&mut self, name: &str) -> Option<u32> {
        let number = self.variables.iter().position(|known| known == name);
        number.map(narrow)
    }
}
