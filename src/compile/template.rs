//! Payload templates: ops that leave their value on the stack.

use super::Compiler;
use super::shape::Shape;
use crate::asl::Template;
use crate::intrinsic::{Argument, Call, Format, Function};
use crate::program::{
    Base, CallId, CallInfo, ContextBase, Member, ObjectId, ObjectInfo, Op, PathStart, Source, Step,
};
use crate::stdx::narrow;
use crate::value::{Val, Values, escape, member_size};

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
            Template::Expression(field) => {
                let expression = self.expression(field);
                self.emit(Op::Eval(expression));
            }
            Template::Object(members) if is_evaluated(members) => {
                let (object, _) = self.object(members, Self::evaluated);
                self.emit(Op::EvalObject(object));
            }
            Template::Object(members) => {
                let (object, _) = self.object(members, Self::source);
                self.emit(Op::MakeObject(object));
            }
            Template::Array(elements) => {
                for element in elements {
                    self.push_template(element);
                }
                self.emit(Op::MakeArray(narrow(elements.len())));
            }
        }
    }

    /// An object, and the ops of those of its members that it does not find by itself.
    fn object(
        &mut self,
        template: &'d [(String, Template)],
        source: fn(&mut Self, &'d Template) -> Source,
    ) -> (ObjectId, Shape) {
        let members: Box<[Member]> = template
            .iter()
            .map(|(name, template)| Member {
                key: self.key(name),
                source: source(self, template),
            })
            .collect();
        let popped = members
            .iter()
            .filter(|member| matches!(member.source, Source::Popped))
            .count();
        let values = Values {
            doc: &self.constants,
            constants: &self.constants,
        };
        let known_size = members
            .iter()
            .map(|member| match member.source {
                Source::Const(val) => member_size(member.key, values.size(val)),
                _ => member_size(member.key, 0),
            })
            .sum();
        let names = template.iter().map(|(name, _)| escape(name).into());
        let shape = self.shapes.add(names.collect());
        self.objects.push(ObjectInfo {
            layout: shape.layout,
            members,
            popped,
            known_size,
        });
        (ObjectId(narrow(self.objects.len() - 1)), shape)
    }

    /// A member of an object that is evaluated as a whole.
    fn evaluated(&mut self, template: &'d Template) -> Source {
        match template {
            Template::Expression(field) => {
                let id = self.expression(field);
                match self.expressions[id.index()].compiled.input_member() {
                    Some(name) => Source::InputMember(name.clone(), id),
                    None => Source::Expression(id),
                }
            }
            template => self.source(template),
        }
    }

    fn source(&mut self, template: &'d Template) -> Source {
        match template {
            Template::Literal(json) => Source::Const(self.literal(json)),
            Template::Path { path, field } if path.segments().is_some() => {
                let id = self.load(path, field);
                let load = &self.loads[id.index()];
                let steps = load.steps.clone().unwrap_or_default();
                let (first_step, end_step) = (steps.start, steps.end);
                let steps = &self.steps[first_step as usize..end_step as usize];
                match (load.base, steps) {
                    (Base::Value, [Step::Child(member)]) => Source::Member(member.clone(), id),
                    (Base::Value, [Step::Child(outer), Step::Child(member)]) => {
                        Source::Nested(outer.clone(), member.clone(), id)
                    }
                    (Base::Value, _) => Source::Path {
                        start: PathStart::Value,
                        first_step,
                        end_step,
                        load: id,
                    },
                    (Base::Context(ContextBase::MapItemValue), []) => Source::Item(id),
                    (Base::Context(ContextBase::MapItemValue), _) => Source::Path {
                        start: PathStart::ItemValue,
                        first_step,
                        end_step,
                        load: id,
                    },
                    (Base::Context(ContextBase::MapItemIndex), []) => Source::ItemIndex(id),
                    (Base::Context(_), _) => {
                        self.emit(Op::LoadContext(id));
                        Source::Popped
                    }
                    (Base::Variable(_), _) => {
                        self.emit(Op::Load(id));
                        Source::Popped
                    }
                }
            }
            Template::Path { .. }
            | Template::Call { .. }
            | Template::Expression(_)
            | Template::Object(_)
            | Template::Array(_) => {
                self.push_template(template);
                Source::Popped
            }
        }
    }

    /// Emits the ops that make the template's value the frame's value.
    pub(super) fn set_template(&mut self, template: &'d Template) {
        match template {
            Template::Object(members) if !is_evaluated(members) => {
                let (object, shape) = self.object(members, Self::source);
                self.shapes.set_value(Some(shape));
                self.emit(Op::SetObject(object));
            }
            template => {
                self.shapes.set_value(None);
                self.push_template(template);
                self.emit(Op::SetValue);
            }
        }
    }

    /// `Output` of a JSONata state or rule becomes the value.
    pub(super) fn set_output(&mut self, output: Option<&'d Template>) {
        if let Some(output) = output {
            self.set_template(output);
        }
    }

    /// Emits an intrinsic call, arguments first. Calls nest ten deep at most.
    pub(super) fn push_call(&mut self, call: &Call, field: &str) {
        let (format, arguments) = match (call.function, &*call.arguments) {
            (Function::Format, [Argument::String(template), arguments @ ..]) => {
                let format = Format::new(template);
                // A template that does not fit its arguments fails when it is filled.
                match format.placeholders() == arguments.len() {
                    true => (Some(format), arguments),
                    false => (None, &*call.arguments),
                }
            }
            _ => (None, &*call.arguments),
        };
        for argument in arguments {
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
            arguments: narrow(arguments.len()),
            format,
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

/// True for an object whose members are literals and expressions, which one op makes.
fn is_evaluated(members: &[(String, Template)]) -> bool {
    let is_expression = |template: &Template| matches!(template, Template::Expression(_));
    members.iter().any(|(_, template)| is_expression(template))
        && members.iter().all(|(_, template)| {
            is_expression(template) || matches!(template, Template::Literal(_))
        })
}
