//! JSONata states: the fields that they have, and the strings `{% … %}` in them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::place::Place;
use super::state::Type;
use super::{Here, Reader, SECONDS_MAX};
use crate::asl::diagnostic::Code;
use crate::asl::graph::Via;
use crate::asl::json::{Span, Value};
use crate::asl::model::{
    BooleanExpr, Choice, ChoiceRule, ExpressionField, Fail, Items, Map, NumberField, OutcomeFields,
    Parallel, Pass, PathField, QueryLanguage, ResultPath, StateKind, Task, Template, TextField,
    Wait,
};
use crate::jsonata::{Available, Dialect, Expression, ProblemKind};
use crate::stdx::{Timestamp, narrow};

/// Where an expression stands: the field in its state, and what it can see of the state's result.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    field: String,
    available: Available,
}

impl Spot {
    pub(super) fn new(field: impl Into<String>, available: Available) -> Spot {
        Spot {
            field: field.into(),
            available,
        }
    }

    fn member(&self, name: &str) -> Spot {
        Spot::new(format!("{}/{name}", self.field), self.available)
    }

    fn element(&self, index: usize) -> Spot {
        Spot::new(format!("{}[{index}]", self.field), self.available)
    }
}

#[rustfmt::skip]
pub(super) fn fields(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Pass => &["Next", "End", "Output", "Assign"],
        Type::Task => &[
            "Next", "End", "Resource", "Arguments", "Output", "Credentials", "TimeoutSeconds", "HeartbeatSeconds",
            "Retry", "Catch", "Assign",
        ],
        Type::Choice => &["Choices", "Default", "Output", "Assign"],
        Type::Wait => &["Next", "End", "Seconds", "Timestamp", "Output", "Assign"],
        Type::Succeed => &["Output"],
        Type::Fail => &["Error", "Cause"],
        Type::Parallel => &[
            "Next", "End", "Branches", "Arguments", "Output", "Retry", "Catch", "Assign",
        ],
        Type::Map => &[
            "Next", "End", "Items", "ItemProcessor", "Iterator", "ItemSelector", "MaxConcurrency", "Output", "Retry",
            "Catch", "Assign", "ItemReader", "ItemBatcher", "ResultWriter", "Label", "ToleratedFailureCount",
            "ToleratedFailurePercentage",
        ],
    }
}

impl<'n> Reader<'n> {
    /// `Output` of the state.
    pub(super) fn output(&mut self, state: &Place<'_, 'n>, kind: Type) -> Option<Template> {
        self.jsonata_field(state, "Output", &Spot::new("Output", after(kind)))
    }

    /// `Assign` of the state.
    pub(super) fn jsonata_assign_of_state(
        &mut self,
        state: &Place<'_, 'n>,
        kind: Type,
        here: Here,
    ) -> Vec<(String, Template)> {
        self.jsonata_assign(state, &Spot::new("Assign", after(kind)), here.scope)
    }

    pub(super) fn jsonata_state(
        &mut self,
        state: &Place<'_, 'n>,
        kind: Type,
        here: Here,
    ) -> StateKind {
        match kind {
            Type::Pass => StateKind::Pass(Pass {
                parameters: None,
                result: None,
                result_path: ResultPath::Whole,
            }),
            Type::Succeed => StateKind::Succeed,
            Type::Fail => StateKind::Fail(Fail {
                error: self.jsonata_text(state, "Error"),
                cause: self.jsonata_text(state, "Cause"),
            }),
            Type::Choice => StateKind::Choice(self.jsonata_choice(state, here)),
            Type::Wait => StateKind::Wait(self.jsonata_wait(state)),
            Type::Task => StateKind::Task(Box::new(self.jsonata_task(state, here))),
            Type::Parallel => StateKind::Parallel(Parallel {
                branches: self.branches(state, here),
                parameters: self.arguments(state),
                outcome: self.jsonata_outcome(state, here),
            }),
            Type::Map => StateKind::Map(Box::new(self.jsonata_map(state, here))),
        }
    }

    fn arguments(&mut self, state: &Place<'_, 'n>) -> Option<Template> {
        self.jsonata_field(state, "Arguments", &plain("Arguments"))
    }

    fn jsonata_outcome(&mut self, state: &Place<'_, 'n>, here: Here) -> OutcomeFields {
        OutcomeFields {
            result_selector: None,
            result_path: ResultPath::Whole,
            retry: self.retry(state),
            catch: self.catch(state, here, QueryLanguage::Jsonata),
        }
    }

    fn jsonata_task(&mut self, state: &Place<'_, 'n>, here: Here) -> Task {
        let resource = if self.required(state, &["Resource"]) {
            state
                .get("Resource")
                .and_then(|place| self.resource(&place, here.machine_type))
        } else {
            None
        };
        let timeout = self.jsonata_number(state, "TimeoutSeconds", 1..=SECONDS_MAX);
        let heartbeat = self.jsonata_number(state, "HeartbeatSeconds", 1..=SECONDS_MAX);
        self.heartbeat_within_timeout(state, timeout.as_ref(), heartbeat.as_ref());
        Task {
            resource: resource.unwrap_or_default().to_owned(),
            parameters: self.arguments(state),
            credentials: self.jsonata_field(state, "Credentials", &plain("Credentials")),
            timeout,
            heartbeat,
            outcome: self.jsonata_outcome(state, here),
        }
    }

    fn jsonata_wait(&mut self, state: &Place<'_, 'n>) -> Wait {
        const NAMES: [&str; 2] = ["Seconds", "Timestamp"];
        self.exclusive(state, &NAMES);
        match self.jsonata_number(state, "Seconds", 0..=SECONDS_MAX) {
            Some(NumberField::Literal(seconds)) => return Wait::Seconds(seconds),
            Some(NumberField::Expression(field)) => return Wait::SecondsExpression(field),
            Some(NumberField::Path(_)) | None => {}
        }
        if let Some(place) = state.get("Timestamp") {
            let text = self.string(&place).unwrap_or_default();
            if is_expression(text) {
                let field = self.expression_at(&place, &plain("Timestamp"));
                return field.map_or(Wait::Seconds(0), Wait::TimestampExpression);
            }
            if Timestamp::parse(text).is_err() && matches!(place.node.value, Value::String(_)) {
                self.refuse(&place, "String does not match RFC3339 timestamp");
            }
            return Wait::Timestamp(text.to_owned());
        }
        if !NAMES.iter().any(|name| state.has(name)) {
            self.refuse_part(
                state,
                state.head(),
                format!("One of these fields is required: [{}]", NAMES.join(", ")),
            );
        }
        Wait::Seconds(0)
    }

    fn jsonata_choice(&mut self, state: &Place<'_, 'n>, here: Here) -> Choice {
        let default = self.default_target(state, here);
        let mut rules = Vec::new();
        if self.required(state, &["Choices"])
            && let Some(place) = state.get("Choices")
            && self.filled_array(&place)
        {
            for (i, element) in place.elements().iter().enumerate() {
                let rule = place.element(i, element);
                if self.object(&rule)
                    && let Some(rule) = self.jsonata_rule(&rule, here, i)
                {
                    rules.push(rule);
                }
            }
        }
        Choice { rules, default }
    }

    fn jsonata_rule(
        &mut self,
        rule: &Place<'_, 'n>,
        here: Here,
        index: usize,
    ) -> Option<ChoiceRule> {
        self.known(rule, &["Condition", "Next", "Output", "Assign"]);
        let spot = |name: &str| plain(&format!("Choices[{index}]/{name}"));
        let next = self.required_target(rule, here, Via::Choice(narrow(index)));
        let assign = self.jsonata_assign(rule, &spot("Assign"), here.scope);
        let output = self.jsonata_field(rule, "Output", &spot("Output"));
        if !self.required(rule, &["Condition"]) {
            return None;
        }
        let place = rule.get("Condition")?;
        let condition = match &place.node.value {
            Value::String(text) if is_expression(text) => {
                self.expression_at(&place, &spot("Condition"))?
            }
            _ => {
                self.refuse(
                    &place,
                    "The value of 'Condition' must be a JSONata expression",
                )
                .suggestion = Some("write it as \"{% … %}\"".to_owned());
                return None;
            }
        };
        Some(ChoiceRule {
            condition: BooleanExpr::Condition(condition),
            assign,
            output,
            next,
        })
    }

    fn jsonata_map(&mut self, state: &Place<'_, 'n>, here: Here) -> Map {
        let items = self.items(state);
        let item_selector = self.jsonata_field(state, "ItemSelector", &plain("ItemSelector"));
        let max_concurrency = self.jsonata_number(state, "MaxConcurrency", 0..=u64::MAX);
        self.jsonata_tolerance(state);
        // What only a distributed Map heeds is checked for its expressions.
        for name in ["ItemReader", "ItemBatcher", "ResultWriter"] {
            self.jsonata_field(state, name, &plain(name));
        }
        let processor = self.processor(state, here);
        Map {
            items_path: PathField::Whole,
            items,
            item_selector,
            processor: processor.scope,
            mode: processor.mode,
            max_concurrency,
            outcome: self.jsonata_outcome(state, here),
            location: processor.location,
        }
    }

    fn items(&mut self, state: &Place<'_, 'n>) -> Option<Items> {
        let place = state.get("Items")?;
        match &place.node.value {
            Value::Array(_) => Some(Items::List(self.jsonata_template(&place, &plain("Items")))),
            Value::String(text) if is_expression(text) => self
                .expression_at(&place, &plain("Items"))
                .map(Items::Expression),
            _ => {
                self.refuse(&place, "Expected value of type Array")
                    .suggestion = Some("a list, or an expression \"{% … %}\"".to_owned());
                None
            }
        }
    }

    fn jsonata_tolerance(&mut self, state: &Place<'_, 'n>) {
        self.jsonata_number(state, "ToleratedFailureCount", 0..=u64::MAX);
        if let Some(place) = state.get("ToleratedFailurePercentage")
            && self
                .computed(&place, "ToleratedFailurePercentage")
                .is_none()
            && !is_expression_node(&place)
            && let Some(percentage) = self.number(&place)
            && !(0.0..=100.0).contains(&percentage)
        {
            self.refuse(&place, "The value must be between 0 and 100");
        }
        if let Some(place) = state.get("Label") {
            self.label(&place);
        }
    }

    /// A whole number, or an expression.
    fn jsonata_number(
        &mut self,
        object: &Place<'_, 'n>,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Option<NumberField> {
        let place = object.get(name)?;
        if is_expression_node(&place) {
            return self.computed(&place, name).map(NumberField::Expression);
        }
        Some(NumberField::Literal(self.integer(&place, range)))
    }

    /// A text, or an expression.
    fn jsonata_text(&mut self, object: &Place<'_, 'n>, name: &str) -> Option<TextField> {
        let place = object.get(name)?;
        if is_expression_node(&place) {
            return self.computed(&place, name).map(TextField::Expression);
        }
        self.string(&place)
            .map(|text| TextField::Literal(text.to_owned()))
    }

    /// The expression that a field consists of, if it is one.
    fn computed(&mut self, place: &Place<'_, 'n>, name: &str) -> Option<ExpressionField> {
        if is_expression_node(place) {
            self.expression_at(place, &plain(name))
        } else {
            None
        }
    }

    /// A field with any value, in which strings may be expressions.
    pub(super) fn jsonata_field(
        &mut self,
        object: &Place<'_, 'n>,
        name: &str,
        spot: &Spot,
    ) -> Option<Template> {
        let place = object.get(name)?;
        Some(self.jsonata_template(&place, spot))
    }

    fn jsonata_template(&mut self, place: &Place<'_, 'n>, spot: &Spot) -> Template {
        let literal = |template: &Template| matches!(template, Template::Literal(_));
        match &place.node.value {
            Value::Object(members) => {
                let mut parts = Vec::with_capacity(members.len());
                for member in members {
                    let part =
                        self.jsonata_template(&place.member(member), &spot.member(&member.name));
                    parts.push((member.name.as_ref().to_owned(), part));
                }
                if !parts.iter().all(|(_, part)| literal(part)) {
                    return Template::Object(parts);
                }
            }
            Value::Array(elements) => {
                let mut parts = Vec::with_capacity(elements.len());
                for (i, element) in elements.iter().enumerate() {
                    parts.push(self.jsonata_template(&place.element(i, element), &spot.element(i)));
                }
                if !parts.iter().all(literal) {
                    return Template::Array(parts);
                }
            }
            Value::String(text) if is_expression(text) => {
                if let Some(field) = self.expression_at(place, spot) {
                    return Template::Expression(field);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number | Value::String(_) => {}
        }
        Template::Literal(self.source(place).to_owned())
    }

    /// `Assign`: the variables and what they become. The names go to the graph, which knows the scopes.
    pub(super) fn jsonata_assign(
        &mut self,
        object: &Place<'_, 'n>,
        spot: &Spot,
        scope: usize,
    ) -> Vec<(String, Template)> {
        let Some(place) = object.get("Assign") else {
            return Vec::new();
        };
        if !self.object(&place) {
            return Vec::new();
        }
        let mut variables = Vec::new();
        for member in place.members() {
            let name = member.name.as_ref();
            let value = self.jsonata_template(&place.member(member), &spot.member(name));
            self.variable(&place, member, name, scope);
            variables.push((name.to_owned(), value));
        }
        variables
    }

    /// Parses the expression of a string; what is wrong with it is reported at its place inside the string.
    fn expression_at(&mut self, place: &Place<'_, 'n>, spot: &Spot) -> Option<ExpressionField> {
        let Value::String(text) = &place.node.value else {
            return None;
        };
        let inner = text.strip_prefix(OPEN)?.strip_suffix(CLOSE)?;
        let trimmed = inner.trim();
        let from = OPEN.len() + (inner.len() - inner.trim_start().len());
        match Expression::parse(trimmed, Dialect::Aws, spot.available) {
            Ok(expression) => Some(ExpressionField {
                expression: Arc::new(expression),
                field: spot.field.clone(),
            }),
            Err(problems) => {
                let raw = self.source(place);
                let start = place.node.span.start as usize;
                for problem in problems {
                    let code = match problem.kind {
                        ProblemKind::Invalid => Code::InvalidJsonataExpression,
                        ProblemKind::Unsupported => Code::UnsupportedJsonataExpression,
                    };
                    let at = |offset: usize| start + offset_in_source(raw, from + offset);
                    let span = Span::new(at(problem.at.start), at(problem.at.end));
                    self.sink
                        .error(code, span, place.at.to_string(), problem.message);
                }
                None
            }
        }
    }
}

const OPEN: &str = "{%";
const CLOSE: &str = "%}";

/// True for `{% … %}`; text that does not both begin and end so is a text like any other, as AWS has it.
fn is_expression(text: &str) -> bool {
    text.strip_prefix(OPEN)
        .is_some_and(|rest| rest.ends_with(CLOSE))
}

fn is_expression_node(place: &Place<'_, '_>) -> bool {
    matches!(&place.node.value, Value::String(text) if is_expression(text))
}

/// A field that sees no result.
fn plain(field: &str) -> Spot {
    Spot::new(field, Available::Nothing)
}

/// What `Output` and `Assign` of a state see.
fn after(kind: Type) -> Available {
    match kind {
        Type::Task | Type::Parallel | Type::Map => Available::Result,
        Type::Wait | Type::Pass | Type::Succeed | Type::Fail | Type::Choice => Available::Nothing,
    }
}

/// Where a byte of a string's decoded text stands in its source, which begins with the quote.
fn offset_in_source(source: &str, decoded: usize) -> usize {
    let (mut at, mut passed) = (1, 0);
    let bytes = source.as_bytes();
    while passed < decoded && at + 1 < bytes.len() {
        if bytes[at] == b'\\' {
            let length = match bytes.get(at + 1) {
                Some(b'u') => unicode_escape(source, at),
                _ => 2,
            };
            let escape = &source[at..(at + length).min(source.len())];
            passed += crate::value::unescape(escape).len();
            at += length;
        } else {
            at += 1;
            passed += 1;
        }
    }
    at
}

/// Length of the `\uXXXX` at `at`, or of the pair that it is half of.
fn unicode_escape(source: &str, at: usize) -> usize {
    let unit = |at: usize| {
        let digits = source.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let is_pair = unit(at).is_some_and(|high| (0xD800..0xDC00).contains(&high))
        && unit(at + 6).is_some_and(|low| (0xDC00..0xE000).contains(&low));
    if is_pair { 12 } else { 6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_escapes() {
        let source = r#""{% \"é\\\u00e9\ud83d\ude00 x %}""#;
        let decoded: String = serde_json::from_str(source).unwrap();
        for (text, expected) in [
            ("%", "%"),
            ("\"", "\\\""),
            ("é", "é"),
            ("😀", "\\ud83d"),
            ("x", "x"),
        ] {
            let offset = decoded.find(text).unwrap();
            let found = &source[offset_in_source(source, offset)..];
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }
}
