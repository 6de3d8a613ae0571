//! JSONata: what an expression sees of its execution, and what becomes of its value or of its failure.

use super::PAYLOAD_BYTES_MAX;
use super::context::values;
use super::execution::after_seconds;
use super::run::{Raised, Registers, Run};
use crate::history::{Details, Failure, Observer};
use crate::intrinsic::Random;
use crate::jsonata::{self, Available, Root, Scope};
use crate::program::{ContextBase, ExpressionId, ObjectId, Source, VariableId};
use crate::stdx::Timestamp;
use crate::value::{Doc, Kind, Val};

/// Longest wait, in seconds (AWS's guide, "Wait").
const WAIT_SECONDS_MAX: i64 = 99_999_999;

/// What an expression of a frame sees.
struct Sight<'q, 'r, O> {
    run: &'q mut Run<'r, O>,
    frame: u32,
    /// `$states.input`
    input: Val,
    /// `$states.result` or `$states.errorOutput`, as far as one of them is there.
    value: Val,
    available: Available,
}

impl<O: Observer> Scope for Sight<'_, '_, O> {
    fn doc(&mut self) -> &mut Doc {
        &mut self.run.execution.doc
    }

    fn parts(&mut self) -> (&mut Doc, &Doc) {
        (&mut self.run.execution.doc, &self.run.program.constants)
    }

    fn root(&mut self, root: Root) -> Option<Val> {
        match root {
            Root::Input => Some(self.input),
            Root::Result => (self.available == Available::Result).then_some(self.value),
            Root::ErrorOutput => (self.available == Available::ErrorOutput).then_some(self.value),
            Root::Context => {
                let Run {
                    execution, program, ..
                } = &mut *self.run;
                execution.context_part(program, self.frame, ContextBase::Whole)
            }
            Root::Variable(id) => self.run.variable(self.frame, VariableId(id)),
            Root::Data => None,
        }
    }

    fn random(&mut self) -> &mut Random {
        &mut self.run.execution.random
    }

    fn now(&self) -> Timestamp {
        self.run.now
    }
}

impl<O: Observer> Run<'_, O> {
    /// The value of an expression; that there is none fails the state.
    #[inline(never)]
    pub(super) fn eval(
        &mut self,
        frame: u32,
        expression: ExpressionId,
        registers: &Registers,
    ) -> Result<Val, Raised> {
        let program = self.program;
        let info = &program.expressions[expression.index()];
        self.count_evaluation();
        let mut sight = Sight {
            frame,
            input: self.states_input(frame, registers),
            value: registers.value,
            available: info.compiled.available(),
            run: self,
        };
        let cause = match jsonata::evaluate(&info.compiled, &mut sight) {
            Ok(Some(val)) => return Ok(val),
            Ok(None) => format!(
                "The JSONata expression '{}' specified for the field '{}' returned nothing (undefined).",
                info.compiled.text(),
                info.field
            ),
            Err(error) => error.sentence(info.compiled.text(), &info.field),
        };
        Err(self.evaluation_failed(frame, &cause, Some(&info.field), Moment::BeforeEntry))
    }

    /// `$states.input`
    #[inline(always)]
    fn states_input(&self, frame: u32, registers: &Registers) -> Val {
        // An iteration of a Map begins before its first state: its `ItemSelector` sees the Map's input.
        match self.execution.frames[frame as usize].in_state {
            true => registers.data,
            false => registers.value,
        }
    }

    /// Makes an object of literals and of what expressions give, one after the other.
    #[inline(never)]
    pub(super) fn eval_object(
        &mut self,
        frame: u32,
        object: ObjectId,
        registers: &Registers,
    ) -> Result<Val, Raised> {
        let program = self.program;
        let info = &program.objects[object.index()];
        let input = self.states_input(frame, registers);
        let opened = values(self.execution, program).open(input);
        let mut size = info.known_size;
        // Expressions make objects of their own meanwhile: this one has its room before theirs.
        let room = self.execution.doc.reserve_object(info.members.len());
        for (member, place) in info.members.iter().zip(0..) {
            let view = values(self.execution, program);
            let (found, expression) = match &member.source {
                // Most members are the input's own.
                Source::InputMember(name, expression) => {
                    (view.get_named(opened, name), *expression)
                }
                Source::Expression(expression) => {
                    let compiled = &program.expressions[expression.index()].compiled;
                    (compiled.of_input(view, opened.val()), *expression)
                }
                Source::Const(val) => {
                    self.execution
                        .doc
                        .set_member(&room, place, member.key, *val);
                    continue;
                }
                _ => unreachable!("an object of expressions has no other members"),
            };
            let val = match found {
                Some(val) => {
                    self.count_evaluation();
                    val
                }
                None => self.eval(frame, expression, registers)?,
            };
            size += values(self.execution, program).size(val);
            self.execution.doc.set_member(&room, place, member.key, val);
        }
        Ok(self.execution.doc.end_reserved(room, info.layout, size))
    }

    #[inline(always)]
    fn count_evaluation(&mut self) {
        let counts = &mut self.execution.counts;
        counts.evaluations = counts.evaluations.saturating_add(1);
    }

    /// The value of a Choice rule's `Condition`.
    #[inline(never)]
    pub(super) fn condition(
        &mut self,
        frame: u32,
        expression: ExpressionId,
        registers: &Registers,
    ) -> Result<bool, Raised> {
        let program = self.program;
        let compiled = &program.expressions[expression.index()].compiled;
        let input = self.states_input(frame, registers);
        if let Some(holds) = compiled.test(values(self.execution, program), input) {
            self.count_evaluation();
            return Ok(holds);
        }
        let val = self.eval(frame, expression, registers)?;
        match values(self.execution, self.program).kind(val) {
            Kind::True => Ok(true),
            Kind::False => Ok(false),
            _ => Err(self.unexpected(frame, expression, "boolean", val)),
        }
    }

    /// The text of a Fail state's `Error` or `Cause`.
    pub(super) fn eval_text(
        &mut self,
        frame: u32,
        expression: ExpressionId,
        registers: &Registers,
    ) -> Result<Box<str>, Raised> {
        let val = self.eval(frame, expression, registers)?;
        match values(self.execution, self.program).string(val) {
            Some(text) => Ok(text.into()),
            None => Err(self.unexpected(frame, expression, "string", val)),
        }
    }

    /// A whole number from `least` on.
    pub(super) fn eval_integer(
        &mut self,
        frame: u32,
        expression: ExpressionId,
        least: i64,
        registers: &Registers,
    ) -> Result<u64, Raised> {
        let val = self.eval(frame, expression, registers)?;
        let view = values(self.execution, self.program);
        if view.kind(val) != Kind::Number {
            return Err(self.unexpected(frame, expression, "number", val));
        }
        let number = view.as_i64(val).filter(|number| *number >= least);
        match number.and_then(|number| u64::try_from(number).ok()) {
            Some(number) => Ok(number),
            None => {
                let field = &self.program.expressions[expression.index()].field;
                let cause = format!(
                    "The {field} field must be a whole number of {least} or more, but was: {}",
                    view.to_json(val)
                );
                Err(self.evaluation_failed(frame, &cause, Some(field), Moment::AfterEntry))
            }
        }
    }

    /// The items of a Map. If there are none, it is the Map that has failed, not only the expression.
    pub(super) fn eval_items(
        &mut self,
        frame: u32,
        expression: ExpressionId,
        registers: &Registers,
    ) -> Result<Val, Raised> {
        self.execution.frames[frame as usize].forked = true;
        let val = self.eval(frame, expression, registers)?;
        if values(self.execution, self.program).kind(val) != Kind::Array {
            return Err(self.unexpected(frame, expression, "array", val));
        }
        self.execution.frames[frame as usize].forked = false;
        Ok(val)
    }

    /// The items of a Map without `Items`.
    pub(super) fn input_items(&mut self, frame: u32, input: Val) -> Result<Val, Raised> {
        let view = values(self.execution, self.program);
        if view.kind(input) == Kind::Array {
            return Ok(input);
        }
        let cause = format!(
            "Map state input must be an array but was: {}",
            view.to_json(input)
        );
        self.execution.frames[frame as usize].forked = true;
        Err(self.evaluation_failed(frame, &cause, None, Moment::BeforeEntry))
    }

    /// When a Wait with computed `Seconds` ends.
    pub(super) fn seconds_expression(
        &mut self,
        frame: u32,
        expression: ExpressionId,
        registers: &Registers,
    ) -> Result<Timestamp, Raised> {
        let seconds = self.eval_integer(frame, expression, 0, registers)?;
        if seconds > WAIT_SECONDS_MAX.unsigned_abs() {
            return Err(self.too_long(frame, expression));
        }
        Ok(after_seconds(self.now, seconds))
    }

    /// When a Wait with a computed `Timestamp` ends.
    pub(super) fn timestamp_expression(
        &mut self,
        frame: u32,
        expression: ExpressionId,
        registers: &Registers,
    ) -> Result<Timestamp, Raised> {
        let val = self.eval(frame, expression, registers)?;
        let view = values(self.execution, self.program);
        let Some(text) = view.string(val).map(std::borrow::Cow::into_owned) else {
            return Err(self.unexpected(frame, expression, "string", val));
        };
        match Timestamp::parse(&text) {
            Ok(until) if until.millis() - self.now.millis() <= WAIT_SECONDS_MAX * 1_000 => {
                Ok(until)
            }
            Ok(_) => Err(self.too_long(frame, expression)),
            Err(_) => {
                let field = &self.program.expressions[expression.index()].field;
                let cause = format!(
                    "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: {text}"
                );
                Err(self.evaluation_failed(frame, &cause, Some(field), Moment::AfterEntry))
            }
        }
    }

    #[cold]
    fn too_long(&mut self, frame: u32, expression: ExpressionId) -> Raised {
        let field = &self.program.expressions[expression.index()].field;
        let cause = "Wait state delay is too long.";
        self.evaluation_failed(frame, cause, Some(field), Moment::AfterEntry)
    }

    /// The failure of an expression whose value its field has no use for.
    #[cold]
    fn unexpected(
        &mut self,
        frame: u32,
        expression: ExpressionId,
        expected: &str,
        val: Val,
    ) -> Raised {
        let program = self.program;
        let info = &program.expressions[expression.index()];
        let view = values(self.execution, program);
        let shown = match view.size(val) {
            0..=PAYLOAD_BYTES_MAX => view.to_json(val),
            size => format!("of {size} bytes"),
        };
        let cause = format!(
            "The JSONata expression '{}' specified for the field '{}' returned an unexpected result type. Expected \
             '{expected}', but was '{}' for value: {shown}",
            info.compiled.text(),
            info.field,
            type_name(view.kind(val))
        );
        self.evaluation_failed(frame, &cause, Some(&info.field), Moment::BeforeEntry)
    }

    /// Tells of the failure, as AWS does before the state fails with it.
    #[cold]
    fn evaluation_failed(
        &mut self,
        frame: u32,
        cause: &str,
        location: Option<&str>,
        moment: Moment,
    ) -> Raised {
        let failure: Box<Failure> = self.raise(frame, "States.QueryEvaluationError", cause);
        let program = self.program;
        let f = &self.execution.frames[frame as usize];
        let state = &program.states[f.state.index()].name;
        let just_entered = f.in_state && f.previous_event == f.entered_event;
        let previous = match moment {
            Moment::BeforeEntry if just_entered => f.entered_previous,
            Moment::BeforeEntry | Moment::AfterEntry => f.previous_event,
        };
        let id = self.event(
            previous,
            Details::EvaluationFailed {
                failure: &failure,
                location,
                state,
            },
        );
        self.execution.frames[frame as usize].previous_event = id;
        failure
    }
}

/// Which event `EvaluationFailed` follows on: AWS evaluates most fields of a state before it tells of its entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    BeforeEntry,
    AfterEntry,
}

/// AWS's name of a type.
fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::True | Kind::False => "boolean",
        Kind::Number => "number",
        Kind::String => "string",
        Kind::Array => "array",
        Kind::Object => "object",
    }
}
