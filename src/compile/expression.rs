//! JSONata expressions: their names are resolved against the variables of the machine.

use super::Compiler;
use crate::asl::ExpressionField;
use crate::jsonata::{Compiled, Constants};
use crate::program::{ExpressionId, ExpressionInfo};
use crate::stdx::narrow;
use crate::value::{Key, MemberName, Name, Val};

impl Compiler<'_> {
    pub(super) fn expression(&mut self, field: &ExpressionField) -> ExpressionId {
        let compiled = Compiled::new(&field.expression, self);
        self.expressions.push(ExpressionInfo {
            compiled,
            field: field.field.as_str().into(),
        });
        ExpressionId(narrow(self.expressions.len() - 1))
    }
}

impl Constants for Compiler<'_> {
    fn literal(&mut self, json: &str) -> Val {
        self.ingest(json)
    }

    fn string(&mut self, text: &str) -> Val {
        Compiler::string(self, text)
    }

    fn key(&mut self, name: &str) -> Key {
        Compiler::key(self, name)
    }

    fn member(&mut self, name: &str) -> MemberName {
        self.member_name(&Name::new(name))
    }

    fn variable(&mut self, name: &str) -> Option<u32> {
        self.variable_ids.get(name).map(|id| id.0)
    }
}
