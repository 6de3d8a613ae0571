//! Choice states: rules, their conditions and what they compare.

use super::place::Place;
use super::values::looks_like_expression;
use super::{Here, Reader};
use crate::asl::diagnostic::Code;
use crate::asl::graph::Via;
use crate::asl::json::{Member, Value};
use crate::asl::model::{
    BooleanExpr, Choice, ChoiceRule, DataTest, Operand, Operator, QueryLanguage,
};
use crate::stdx::{Timestamp, narrow};

/// What an operator compares with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OperandKind {
    String,
    Number,
    Boolean,
    Timestamp,
}

/// Name, operator, literal, and whether there is a `Path` form.
const OPERATORS: &[(&str, Operator, OperandKind, bool)] = {
    use OperandKind::{Boolean, Number, String, Timestamp};
    &[
        ("StringEquals", Operator::StringEquals, String, true),
        ("StringLessThan", Operator::StringLessThan, String, true),
        (
            "StringGreaterThan",
            Operator::StringGreaterThan,
            String,
            true,
        ),
        (
            "StringLessThanEquals",
            Operator::StringLessThanEquals,
            String,
            true,
        ),
        (
            "StringGreaterThanEquals",
            Operator::StringGreaterThanEquals,
            String,
            true,
        ),
        ("StringMatches", Operator::StringMatches, String, false),
        ("NumericEquals", Operator::NumericEquals, Number, true),
        ("NumericLessThan", Operator::NumericLessThan, Number, true),
        (
            "NumericGreaterThan",
            Operator::NumericGreaterThan,
            Number,
            true,
        ),
        (
            "NumericLessThanEquals",
            Operator::NumericLessThanEquals,
            Number,
            true,
        ),
        (
            "NumericGreaterThanEquals",
            Operator::NumericGreaterThanEquals,
            Number,
            true,
        ),
        ("BooleanEquals", Operator::BooleanEquals, Boolean, true),
        (
            "TimestampEquals",
            Operator::TimestampEquals,
            Timestamp,
            true,
        ),
        (
            "TimestampLessThan",
            Operator::TimestampLessThan,
            Timestamp,
            true,
        ),
        (
            "TimestampGreaterThan",
            Operator::TimestampGreaterThan,
            Timestamp,
            true,
        ),
        (
            "TimestampLessThanEquals",
            Operator::TimestampLessThanEquals,
            Timestamp,
            true,
        ),
        (
            "TimestampGreaterThanEquals",
            Operator::TimestampGreaterThanEquals,
            Timestamp,
            true,
        ),
        ("IsNull", Operator::IsNull, Boolean, false),
        ("IsPresent", Operator::IsPresent, Boolean, false),
        ("IsNumeric", Operator::IsNumeric, Boolean, false),
        ("IsString", Operator::IsString, Boolean, false),
        ("IsBoolean", Operator::IsBoolean, Boolean, false),
        ("IsTimestamp", Operator::IsTimestamp, Boolean, false),
    ]
};

/// What decides a rule.
#[derive(Clone, Copy)]
enum Condition {
    And,
    Or,
    Not,
    /// An operator, what it takes, and whether by path.
    Test(Operator, OperandKind, bool),
}

impl Condition {
    fn named(name: &str) -> Option<Condition> {
        match name {
            "And" => return Some(Condition::And),
            "Or" => return Some(Condition::Or),
            "Not" => return Some(Condition::Not),
            _ => {}
        }
        OPERATORS.iter().find_map(|(n, operator, kind, has_path)| {
            let rest = name.strip_prefix(n)?;
            match rest {
                "" => Some(Condition::Test(*operator, *kind, false)),
                "Path" if *has_path => Some(Condition::Test(*operator, *kind, true)),
                _ => None,
            }
        })
    }
}

impl<'n> Reader<'n> {
    pub(super) fn choice(&mut self, state: &Place<'_, 'n>, here: Here) -> Choice {
        let default = self.default_target(state, here);
        let mut rules = Vec::new();
        if self.required(state, &["Choices"])
            && let Some(place) = state.get("Choices")
            && self.filled_array(&place)
        {
            for (i, element) in place.elements().iter().enumerate() {
                let element = place.element(i, element);
                if self.object(&element)
                    && let Some(rule) = self.rule(&element, here, i)
                {
                    rules.push(rule);
                }
            }
        }
        Choice { rules, default }
    }

    fn rule(&mut self, place: &Place<'_, 'n>, here: Here, index: usize) -> Option<ChoiceRule> {
        let next = self.required_target(place, here, Via::Choice(narrow(index)));
        let assign = self.assign(place, here.scope);
        let condition = self.condition(place, &["Next", "Assign"])?;
        Some(ChoiceRule {
            condition,
            assign,
            output: None,
            next,
        })
    }

    /// The condition that a rule states, at any depth; `besides` are the fields that a rule of this depth may have.
    fn condition(&mut self, place: &Place<'_, 'n>, besides: &[&str]) -> Option<BooleanExpr> {
        let mut found: Option<(&'n Member<'n>, Condition)> = None;
        for member in place.members() {
            let name = member.name.as_ref();
            if let Some(condition) = Condition::named(name) {
                if let Some((first, _)) = found {
                    let message = format!(
                        "A Choice rule has one operator only, but this one has '{}' and '{name}'",
                        first.name
                    );
                    self.refuse_part(place, member.name_span, message)
                        .suggestion = Some("combine them with `And` or `Or`".to_owned());
                } else {
                    found = Some((member, condition));
                }
            } else if name == "Comment" {
                self.string(&place.member(member));
            } else if name != "Variable" && !besides.contains(&name) {
                self.unknown_in_rule(place, member);
            }
        }
        let Some((member, condition)) = found else {
            self.refuse_part(
                place,
                place.head(),
                "A Choice rule needs an operator: a comparison, 'And', 'Or' or 'Not'",
            );
            return None;
        };
        let operand = place.member(member);
        match condition {
            Condition::Test(operator, kind, by_path) => {
                self.test(place, &operand, operator, kind, by_path)
            }
            Condition::And => self.conditions(&operand).map(BooleanExpr::And),
            Condition::Or => self.conditions(&operand).map(BooleanExpr::Or),
            Condition::Not => {
                if !self.object(&operand) {
                    return None;
                }
                let inner = self.condition(&operand, &[])?;
                Some(BooleanExpr::Not(Box::new(inner)))
            }
        }
    }

    fn conditions(&mut self, place: &Place<'_, 'n>) -> Option<Vec<BooleanExpr>> {
        if !self.filled_array(place) {
            return None;
        }
        let mut all = Some(Vec::new());
        for (i, element) in place.elements().iter().enumerate() {
            let element = place.element(i, element);
            let condition = if self.object(&element) {
                self.condition(&element, &[])
            } else {
                None
            };
            match (condition, &mut all) {
                (Some(condition), Some(all)) => all.push(condition),
                (Some(_), None) => {}
                (None, _) => all = None,
            }
        }
        all
    }

    fn unknown_in_rule(&mut self, place: &Place<'_, 'n>, member: &'n Member<'n>) {
        let name = member.name.as_ref();
        if let "Condition" | "Output" = name {
            self.wrong_language(place, member, QueryLanguage::JsonPath);
            return;
        }
        let suggestion = if let "Next" | "Assign" = name {
            Some(format!("`{name}` belongs to the outermost rule"))
        } else {
            let paths: Vec<String> = OPERATORS
                .iter()
                .filter(|(_, _, _, has_path)| *has_path)
                .map(|(n, ..)| format!("{n}Path"))
                .collect();
            let known = OPERATORS
                .iter()
                .map(|(n, ..)| *n)
                .chain(paths.iter().map(String::as_str))
                .chain(["Variable", "And", "Or", "Not", "Next", "Assign"]);
            self.suggester.question(name, known)
        };
        self.refuse_part(
            place,
            member.name_span,
            format!("Field '{name}' is not supported"),
        )
        .suggestion = suggestion;
    }

    fn test(
        &mut self,
        rule: &Place<'_, 'n>,
        place: &Place<'_, 'n>,
        operator: Operator,
        kind: OperandKind,
        by_path: bool,
    ) -> Option<BooleanExpr> {
        let operand = if by_path {
            self.path(place).map(Operand::Path)
        } else {
            self.operand(place, kind);
            Some(Operand::Literal(self.source(place).to_owned()))
        };
        self.required(rule, &["Variable"]);
        let variable = rule.get("Variable")?;
        let variable = self.path(&variable)?;
        Some(BooleanExpr::Test(DataTest {
            variable,
            operator,
            operand: operand?,
        }))
    }

    fn operand(&mut self, place: &Place<'_, 'n>, kind: OperandKind) {
        match kind {
            OperandKind::Number => {
                self.number(place);
            }
            OperandKind::Boolean => {
                self.boolean(place);
            }
            OperandKind::String => {
                if let Some(text) = self.string(place)
                    && looks_like_expression(text)
                {
                    self.warn(
                        Code::NoPath,
                        place,
                        "The value looks like a path, but the operator does not end with 'Path'",
                    );
                }
            }
            OperandKind::Timestamp => {
                if let Value::String(text) = &place.node.value
                    && Timestamp::parse(text).is_ok()
                {
                    return;
                }
                self.refuse(place, "String does not match RFC3339 timestamp");
            }
        }
    }
}
