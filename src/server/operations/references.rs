//! `variableReferences`: which variables each state reads in JSONPath. What JSONata expressions read is not listed yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::asl::{
    BooleanExpr, NumberField, Operand, OutcomeFields, PathField, Scope, State, StateKind, Template,
    TextField, Wait,
};
use crate::intrinsic::{Argument, Call};
use crate::path::{Path, Root};

/// The names of variables by the names of the states that read them.
pub(super) type References = BTreeMap<String, BTreeSet<String>>;

/// Adds the variables that the states of a scope read. States that read none are not there.
///
/// It recurses as definitions nest, of which the reader takes 200 levels.
pub(super) fn of_scope(scope: &Scope, found: &mut References) {
    for state in &scope.states {
        let mut reads = Reads::default();
        reads.state(state);
        if !reads.0.is_empty() {
            found.insert(state.name.clone(), reads.0);
        }
        match &state.kind {
            StateKind::Parallel(parallel) => {
                for branch in &parallel.branches {
                    of_scope(branch, found);
                }
            }
            StateKind::Map(map) => of_scope(&map.processor, found),
            StateKind::Pass(_)
            | StateKind::Task(_)
            | StateKind::Choice(_)
            | StateKind::Wait(_)
            | StateKind::Succeed
            | StateKind::Fail(_) => {}
        }
    }
}

/// What one state reads.
#[derive(Debug, Default)]
struct Reads(BTreeSet<String>);

impl Reads {
    fn state(&mut self, state: &State) {
        self.path_field(&state.input_path);
        self.path_field(&state.output_path);
        self.assign(&state.assign);
        match &state.kind {
            StateKind::Pass(pass) => self.maybe_template(pass.parameters.as_ref()),
            StateKind::Task(task) => {
                self.maybe_template(task.parameters.as_ref());
                self.maybe_template(task.credentials.as_ref());
                self.number(task.timeout.as_ref());
                self.number(task.heartbeat.as_ref());
                self.outcome(&task.outcome);
            }
            StateKind::Choice(choice) => {
                for rule in &choice.rules {
                    self.condition(&rule.condition);
                    self.assign(&rule.assign);
                }
            }
            StateKind::Wait(Wait::SecondsPath(path) | Wait::TimestampPath(path)) => self.path(path),
            StateKind::Wait(
                Wait::Seconds(_)
                | Wait::Timestamp(_)
                | Wait::SecondsExpression(_)
                | Wait::TimestampExpression(_),
            )
            | StateKind::Succeed => {}
            StateKind::Fail(fail) => {
                for text in [&fail.error, &fail.cause].into_iter().flatten() {
                    match text {
                        TextField::Literal(_) | TextField::Expression(_) => {}
                        TextField::Path(path) => self.path(path),
                        TextField::Call(call) => self.call(call),
                    }
                }
            }
            StateKind::Parallel(parallel) => {
                self.maybe_template(parallel.parameters.as_ref());
                self.outcome(&parallel.outcome);
            }
            StateKind::Map(map) => {
                self.path_field(&map.items_path);
                self.maybe_template(map.item_selector.as_ref());
                self.number(map.max_concurrency.as_ref());
                self.outcome(&map.outcome);
            }
        }
    }

    fn outcome(&mut self, outcome: &OutcomeFields) {
        self.maybe_template(outcome.result_selector.as_ref());
        for catcher in &outcome.catch {
            self.assign(&catcher.assign);
        }
    }

    fn assign(&mut self, assign: &[(String, Template)]) {
        for (_, template) in assign {
            self.template(template);
        }
    }

    fn maybe_template(&mut self, template: Option<&Template>) {
        if let Some(template) = template {
            self.template(template);
        }
    }

    fn template(&mut self, template: &Template) {
        match template {
            Template::Literal(_) | Template::Expression(_) => {}
            Template::Path { path, .. } => self.path(path),
            Template::Call { call, .. } => self.call(call),
            Template::Object(members) => {
                for (_, member) in members {
                    self.template(member);
                }
            }
            Template::Array(elements) => {
                for element in elements {
                    self.template(element);
                }
            }
        }
    }

    fn condition(&mut self, condition: &BooleanExpr) {
        match condition {
            BooleanExpr::And(parts) | BooleanExpr::Or(parts) => {
                for part in parts {
                    self.condition(part);
                }
            }
            BooleanExpr::Not(part) => self.condition(part),
            BooleanExpr::Condition(_) => {}
            BooleanExpr::Test(test) => {
                self.path(&test.variable);
                if let Operand::Path(path) = &test.operand {
                    self.path(path);
                }
            }
        }
    }

    fn number(&mut self, number: Option<&NumberField>) {
        if let Some(NumberField::Path(path)) = number {
            self.path(path);
        }
    }

    fn path_field(&mut self, field: &PathField) {
        if let PathField::Path(path) = field {
            self.path(path);
        }
    }

    fn call(&mut self, call: &Call) {
        for argument in &call.arguments {
            match argument {
                Argument::Path(path) => self.path(path),
                Argument::Call(call) => self.call(call),
                Argument::String(_) | Argument::Number(_) | Argument::Bool(_) | Argument::Null => {}
            }
        }
    }

    fn path(&mut self, path: &Path) {
        if let Root::Variable(name) = path.root() {
            self.0.insert(name.to_string());
        }
    }
}
