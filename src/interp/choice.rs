//! Choice comparisons (ASL specification, "Choice State").

use std::cmp::Ordering;

use super::context::values;
use super::run::{Raised, Run, follow};
use crate::asl::Operator;
use crate::history::Observer;
use crate::program::{Base, LoadId, PatternPart, Program, Test, TestId, TestOperand};
use crate::stdx::Timestamp;
use crate::value::{Kind, Val, Values};

impl<O: Observer> Run<'_, O> {
    /// True if the comparison holds. A value of another type than the operator asks for never does.
    #[inline(always)]
    pub(super) fn test(&mut self, frame: u32, test: TestId, value: Val) -> Result<bool, Raised> {
        let program = self.program;
        let test = &program.tests[test.index()];
        let view = values(self.execution, program);
        match holds_at_once(program, view, test, value) {
            Some(holds) => Ok(holds),
            None => self.test_closely(frame, test, value),
        }
    }

    #[inline(never)]
    fn test_closely(&mut self, frame: u32, test: &Test, value: Val) -> Result<bool, Raised> {
        let program = self.program;
        let load = &program.loads[test.variable.index()];
        let found = self.load(frame, load, value);
        if test.operator == Operator::IsPresent {
            return Ok(matches!(test.operand, TestOperand::Bool(true)) == found.is_ok());
        }
        let Ok(variable) = found else {
            return Err(self.condition_not_found(frame, test.variable));
        };
        let operand = match &test.operand {
            TestOperand::Load(load) => {
                let found = self.load(frame, &program.loads[load.index()], value);
                Some(found.map_err(|_| self.condition_not_found(frame, *load))?)
            }
            TestOperand::Constant(val) | TestOperand::Number(val, _) => Some(*val),
            TestOperand::Bool(_) | TestOperand::Timestamp(_) | TestOperand::Pattern(_) => None,
        };
        Ok(holds(
            values(self.execution, program),
            test,
            variable,
            operand,
        ))
    }

    #[cold]
    fn condition_not_found(&self, frame: u32, load: LoadId) -> Raised {
        let path = self.program.loads[load.index()].path.text();
        let cause = format!(
            "Invalid path '{path}': The choice state's condition path references an invalid value."
        );
        self.raise(frame, "States.Runtime", &cause)
    }
}

/// Most comparisons are of what a definite path finds with a literal string or number; `None` for those that are not, or
/// that need a closer look.
#[inline(never)]
fn holds_at_once(program: &Program, view: Values<'_>, test: &Test, value: Val) -> Option<bool> {
    let load = &program.loads[test.variable.index()];
    let (Base::Value, Some(steps)) = (load.base, &load.steps) else {
        return None;
    };
    let steps = &program.steps[steps.start as usize..steps.end as usize];
    let variable = follow(view, steps, value)?;
    match (&test.operand, test.operator) {
        (TestOperand::Constant(literal), Operator::StringEquals) => {
            Some(view.equal_strings(variable, *literal))
        }
        (TestOperand::Number(_, literal), operator) => {
            // Rounding keeps order: only equal doubles need a closer look.
            let order = view.as_f64(variable)?.partial_cmp(literal)?;
            match operator {
                _ if order == Ordering::Equal => None,
                Operator::NumericGreaterThan | Operator::NumericGreaterThanEquals => {
                    Some(order == Ordering::Greater)
                }
                Operator::NumericLessThan | Operator::NumericLessThanEquals => {
                    Some(order == Ordering::Less)
                }
                _ => Some(false),
            }
        }
        _ => None,
    }
}

fn holds(values: Values<'_>, test: &Test, variable: Val, operand: Option<Val>) -> bool {
    if let (Operator::StringEquals, Some(operand)) = (test.operator, operand) {
        return values.equal_strings(variable, operand);
    }
    let accepts = match test.operator {
        Operator::StringEquals | Operator::NumericEquals | Operator::TimestampEquals => {
            Ordering::is_eq
        }
        Operator::StringLessThan | Operator::NumericLessThan | Operator::TimestampLessThan => {
            Ordering::is_lt
        }
        Operator::StringGreaterThan
        | Operator::NumericGreaterThan
        | Operator::TimestampGreaterThan => Ordering::is_gt,
        Operator::StringLessThanEquals
        | Operator::NumericLessThanEquals
        | Operator::TimestampLessThanEquals => Ordering::is_le,
        Operator::StringGreaterThanEquals
        | Operator::NumericGreaterThanEquals
        | Operator::TimestampGreaterThanEquals => Ordering::is_ge,
        Operator::StringMatches
        | Operator::BooleanEquals
        | Operator::IsNull
        | Operator::IsPresent
        | Operator::IsNumeric
        | Operator::IsString
        | Operator::IsBoolean
        | Operator::IsTimestamp => return holds_of_kind(values, test, variable, operand),
    };
    let order = match test.operator {
        Operator::StringEquals
        | Operator::StringLessThan
        | Operator::StringGreaterThan
        | Operator::StringLessThanEquals
        | Operator::StringGreaterThanEquals => {
            operand.and_then(|operand| values.compare_strings(variable, operand))
        }
        Operator::NumericEquals
        | Operator::NumericLessThan
        | Operator::NumericGreaterThan
        | Operator::NumericLessThanEquals
        | Operator::NumericGreaterThanEquals => {
            operand.and_then(|operand| values.compare_numbers(variable, operand))
        }
        _ => compare_timestamps(values, variable, operand, &test.operand),
    };
    order.is_some_and(accepts)
}

fn compare_timestamps(
    values: Values<'_>,
    variable: Val,
    operand: Option<Val>,
    literal: &TestOperand,
) -> Option<Ordering> {
    let variable = timestamp(values, variable)?;
    let operand = match literal {
        TestOperand::Timestamp(nanos) => *nanos,
        _ => timestamp(values, operand?)?,
    };
    Some(variable.cmp(&operand))
}

/// Nanoseconds since the epoch of a string that is an RFC 3339 timestamp.
fn timestamp(values: Values<'_>, val: Val) -> Option<i128> {
    if values.kind(val) != Kind::String {
        return None;
    }
    Timestamp::parse_nanos(values.text(val)).ok()
}

fn holds_of_kind(values: Values<'_>, test: &Test, variable: Val, operand: Option<Val>) -> bool {
    let kind = values.kind(variable);
    let is = match test.operator {
        Operator::BooleanEquals => {
            let wanted = match (&test.operand, operand) {
                (TestOperand::Bool(wanted), _) => Kind::of_bool(*wanted),
                (_, Some(operand)) => values.kind(operand),
                (_, None) => return false,
            };
            return matches!(kind, Kind::True | Kind::False) && kind == wanted;
        }
        Operator::StringMatches => {
            let TestOperand::Pattern(pattern) = &test.operand else {
                return false;
            };
            return values
                .string(variable)
                .is_some_and(|text| matches_pattern(pattern, &text));
        }
        Operator::IsNull => kind == Kind::Null,
        Operator::IsNumeric => kind == Kind::Number,
        Operator::IsString => kind == Kind::String,
        Operator::IsBoolean => matches!(kind, Kind::True | Kind::False),
        Operator::IsTimestamp => timestamp(values, variable).is_some(),
        _ => return false,
    };
    matches!(test.operand, TestOperand::Bool(true)) == is
}

/// Matches text against a pattern whose `*` stand for any text. Takes the first place for each piece, which is enough
/// since pieces are plain text: linear in text and pattern for all but pathological repetition.
fn matches_pattern(pattern: &[PatternPart], text: &str) -> bool {
    let mut rest = text;
    let mut anywhere = false;
    for (i, part) in pattern.iter().enumerate() {
        match part {
            PatternPart::Any => anywhere = true,
            PatternPart::Text(piece) if i + 1 == pattern.len() => {
                return if anywhere {
                    rest.ends_with(&**piece)
                } else {
                    rest == &**piece
                };
            }
            PatternPart::Text(piece) => {
                let after = if anywhere {
                    rest.find(&**piece).map(|at| &rest[at + piece.len()..])
                } else {
                    rest.strip_prefix(&**piece)
                };
                let Some(after) = after else { return false };
                rest = after;
                anywhere = false;
            }
        }
    }
    anywhere || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let any = || PatternPart::Any;
        let text = |text: &str| PatternPart::Text(text.into());
        for (pattern, input, expected) in [
            (vec![text("a")], "a", true),
            (vec![text("a")], "ab", false),
            (vec![], "", true),
            (vec![], "a", false),
            (vec![any()], "", true),
            (vec![text("log-"), any(), text(".txt")], "log-1.txt", true),
            (
                vec![text("log-"), any(), text(".txt")],
                "log-1.txt.gz",
                false,
            ),
            (vec![text("aba"), any(), text("aba")], "aba", false),
            (vec![any(), text("b"), any()], "abc", true),
            (vec![any(), text("ab"), any(), text("ab")], "abab", true),
            (vec![any(), text("ab"), any(), text("ab")], "ab", false),
        ] {
            assert_eq!(
                matches_pattern(&pattern, input),
                expected,
                "{pattern:?} {input}"
            );
        }
    }
}
