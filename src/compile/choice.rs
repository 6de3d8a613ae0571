//! Choice states: conditions become chains of tests and jumps.

use super::{Compiler, StateIds};
use crate::asl::{BooleanExpr, Choice, DataTest, Operand, Operator, State};
use crate::program::{Op, PatternPart, Pc, StateId, Test, TestId, TestOperand};
use crate::stdx::{Timestamp, narrow};
use crate::value::{Val, Values};

impl<'d> Compiler<'d> {
    pub(super) fn choice(
        &mut self,
        id: StateId,
        state: &'d State,
        choice: &'d Choice,
        ids: &StateIds<'d>,
    ) {
        for rule in &choice.rules {
            let skips = self.condition(&rule.condition, false);
            let assign = self.push_assign(&rule.assign);
            self.set_output(rule.output.as_ref());
            self.select_field(&state.output_path, "OutputPath");
            if let Some(assign) = assign {
                self.emit(Op::Assign(assign));
            }
            self.emit_to_state(ids[&*rule.next], |to| Op::Exit(id, to));
            self.patch_all(skips, self.here());
        }
        let Some(default) = &choice.default else {
            self.emit(Op::NoChoice);
            return;
        };
        let assign = self.push_assign(&state.assign);
        self.set_output(state.output.as_ref());
        self.select_field(&state.output_path, "OutputPath");
        if let Some(assign) = assign {
            self.emit(Op::Assign(assign));
        }
        self.emit_to_state(ids[&**default], |to| Op::Exit(id, to));
    }

    /// Emits ops that go on if the condition is not `jump_if`; the ops that jump otherwise are returned, to be patched.
    fn condition(&mut self, condition: &'d BooleanExpr, jump_if: bool) -> Vec<usize> {
        match condition {
            BooleanExpr::Condition(field) => {
                let id = self.expression(field);
                let at = self.ops.len();
                self.emit(Op::ConditionElse(id, Pc(0)));
                debug_assert!(!jump_if, "a condition is a rule's whole");
                vec![at]
            }
            BooleanExpr::Not(inner) => self.condition(inner, !jump_if),
            BooleanExpr::Test(test) => {
                let id = self.data_test(test);
                let at = self.ops.len();
                self.emit(if jump_if {
                    Op::TestThen(id, Pc(0))
                } else {
                    Op::TestElse(id, Pc(0))
                });
                vec![at]
            }
            // Of `And`, one false decides; of `Or`, one true.
            BooleanExpr::And(rules) => self.connective(rules, false, jump_if),
            BooleanExpr::Or(rules) => self.connective(rules, true, jump_if),
        }
    }

    fn connective(
        &mut self,
        rules: &'d [BooleanExpr],
        decisive: bool,
        jump_if: bool,
    ) -> Vec<usize> {
        if decisive == jump_if {
            return rules
                .iter()
                .flat_map(|rule| self.condition(rule, jump_if))
                .collect();
        }
        let Some((last, firsts)) = rules.split_last() else {
            return Vec::new();
        };
        let decided: Vec<usize> = firsts
            .iter()
            .flat_map(|rule| self.condition(rule, decisive))
            .collect();
        let jumps = self.condition(last, jump_if);
        self.patch_all(decided, self.here());
        jumps
    }

    fn patch_all(&mut self, jumps: Vec<usize>, to: Pc) {
        for at in jumps {
            self.ops[at] = match self.ops[at] {
                Op::TestElse(test, _) => Op::TestElse(test, to),
                Op::TestThen(test, _) => Op::TestThen(test, to),
                Op::ConditionElse(expression, _) => Op::ConditionElse(expression, to),
                op => unreachable!("{op:?} is no test"),
            };
        }
    }

    fn data_test(&mut self, test: &'d DataTest) -> TestId {
        let variable = self.load(&test.variable, "Variable");
        let operand = match &test.operand {
            Operand::Path(path) => TestOperand::Load(self.load(path, "Variable")),
            Operand::Literal(json) => {
                let val = self.literal(json);
                let values = Values {
                    doc: &self.constants,
                    constants: &self.constants,
                };
                constant_operand(values, test.operator, val)
            }
        };
        self.tests.push(Test {
            variable,
            operator: test.operator,
            operand,
        });
        TestId(narrow(self.tests.len() - 1))
    }
}

fn constant_operand(values: Values<'_>, operator: Operator, val: Val) -> TestOperand {
    match operator {
        Operator::NumericEquals
        | Operator::NumericLessThan
        | Operator::NumericGreaterThan
        | Operator::NumericLessThanEquals
        | Operator::NumericGreaterThanEquals => {
            TestOperand::Number(val, values.as_f64(val).unwrap_or(f64::NAN))
        }
        Operator::BooleanEquals
        | Operator::IsNull
        | Operator::IsPresent
        | Operator::IsNumeric
        | Operator::IsString
        | Operator::IsBoolean
        | Operator::IsTimestamp => TestOperand::Bool(values.text(val) == "true"),
        Operator::TimestampEquals
        | Operator::TimestampLessThan
        | Operator::TimestampGreaterThan
        | Operator::TimestampLessThanEquals
        | Operator::TimestampGreaterThanEquals => match Timestamp::parse_nanos(values.text(val)) {
            Ok(nanos) => TestOperand::Timestamp(nanos),
            Err(_) => TestOperand::Constant(val),
        },
        Operator::StringMatches => {
            TestOperand::Pattern(pattern(&values.string(val).unwrap_or_default()).into())
        }
        Operator::StringEquals
        | Operator::StringLessThan
        | Operator::StringGreaterThan
        | Operator::StringLessThanEquals
        | Operator::StringGreaterThanEquals => TestOperand::Constant(val),
    }
}

/// Takes a pattern apart: `*` is any text, `\*` an asterisk, `\\` a backslash.
fn pattern(text: &str) -> Vec<PatternPart> {
    let mut parts = Vec::new();
    let mut piece = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                if !piece.is_empty() {
                    parts.push(PatternPart::Text(std::mem::take(&mut piece).into()));
                }
                if parts.last() != Some(&PatternPart::Any) {
                    parts.push(PatternPart::Any);
                }
            }
            '\\' => piece.push(
                chars
                    .next_if(|next| matches!(next, '*' | '\\'))
                    .unwrap_or('\\'),
            ),
            c => piece.push(c),
        }
    }
    if !piece.is_empty() {
        parts.push(PatternPart::Text(piece.into()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_taken_apart() {
        let text = |text: &str| PatternPart::Text(text.into());
        for (source, expected) in [
            ("", vec![]),
            ("a", vec![text("a")]),
            ("**", vec![PatternPart::Any]),
            (
                "log-*.txt",
                vec![text("log-"), PatternPart::Any, text(".txt")],
            ),
            (r"a\*b\\*", vec![text(r"a*b\"), PatternPart::Any]),
            (r"\x\", vec![text(r"\x\")]),
        ] {
            assert_eq!(pattern(source), expected, "{source}");
        }
    }
}
