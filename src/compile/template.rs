//! Payload templates: ops that leave their value on the stack.

use super::Compiler;
use crate::asl::Template;
use crate::intrinsic::{Argument, Call};
use crate::program::{CallId, CallInfo, Op};
use crate::stdx::narrow;
use crate::value::Val;

impl<'d> Compiler<'d> {
    /// Emits the ops that push the template's value.
    pub(super) fn push_template(&mut self, template: &'d Template) {
        match template {
            Template::Literal(json) => {
                let val = self.literal(json);
                self.emit(Op::Const(val));
            }
            Template::Path { path, field } => self.push_load(path, field),
            Template::Call { call, field } => self.push_call(call, field),
            Template::Object(members) => {
                for (_, member) in members {
                    self.push_template(member);
                }
                let keys = members.iter().map(|(name, _)| self.key(name)).collect();
                let keys = self.key_set(keys);
                self.emit(Op::MakeObject(keys));
            }
            Template::Array(elements) => {
                for element in elements {
                    self.push_template(element);
                }
                self.emit(Op::MakeArray(narrow(elements.len())));
            }
        }
    }

    /// Emits the ops that make the template's value the frame's value.
    pub(super) fn set_template(&mut self, template: &'d Template) {
        self.push_template(template);
        self.emit(Op::SetValue);
    }

    /// Emits an intrinsic call, arguments first. Calls nest ten deep at most.
    pub(super) fn push_call(&mut self, call: &Call, field: &str) {
        for argument in &call.arguments {
            match argument {
                Argument::Path(path) => self.push_load(path, field),
                Argument::String(text) => {
                    let val = self.string(text);
                    self.emit(Op::Const(val));
                }
                Argument::Number(text) => {
                    let val = self.ingest(text);
                    self.emit(Op::Const(val));
                }
                Argument::Bool(value) => self.emit(Op::Const(Val::bool(*value))),
                Argument::Null => self.emit(Op::Const(Val::NULL)),
                Argument::Call(inner) => self.push_call(inner, field),
            }
        }
        self.calls.push(CallInfo {
            arguments: narrow(call.arguments.len()),
            text: call.text.clone(),
        });
        let id = CallId(narrow(self.calls.len() - 1));
        self.emit(Op::Call(call.function, id));
    }

    /// Emits the ops that push the new values of variables; the ids to set them by.
    pub(super) fn push_assign(
        &mut self,
        assign: &'d [(String, Template)],
    ) -> Option<crate::program::AssignId> {
        if assign.is_empty() {
            return None;
        }
        for (_, template) in assign {
            self.push_template(template);
        }
        let variables = assign.iter().map(|(name, _)| self.variable(name)).collect();
        Some(self.assign_id(variables))
    }
}
