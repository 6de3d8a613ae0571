//! Conditions that compare the state's input with literals, which is what most of them do: they need neither an
//! evaluation's memory nor items. Whatever else a condition has to do with is left to the evaluator.

use super::Lowered;
use super::op::{Function, Op, Order};
use crate::jsonata::Root;
use crate::value::{Kind, Val, Values};

/// What is compared.
#[derive(Clone, Copy, Debug)]
enum Operand {
    Undefined,
    Number(f64),
    Val(Val),
}

impl Lowered {
    /// The value of such a condition; `None` if it is another one, or not a boolean.
    #[inline]
    pub(crate) fn test(&self, values: Values<'_>, input: Val) -> Option<bool> {
        self.holds(&self.op, values, input)
    }

    fn holds(&self, op: &Op, values: Values<'_>, input: Val) -> Option<bool> {
        match op {
            Op::Order(order, operands) => self.in_order(*order, operands, values, input),
            Op::Equal(operands) => match self.are_equal(operands, values, input)? {
                Equality::Same => Some(true),
                Equality::Different | Equality::Undefined => Some(false),
            },
            Op::NotEqual(operands) => match self.are_equal(operands, values, input)? {
                Equality::Different => Some(true),
                Equality::Same | Equality::Undefined => Some(false),
            },
            Op::And(operands) => {
                let [left, right] = &**operands;
                Some(self.holds(left, values, input)? && self.holds(right, values, input)?)
            }
            Op::Or(operands) => {
                let [left, right] = &**operands;
                Some(self.holds(left, values, input)? || self.holds(right, values, input)?)
            }
            Op::Call(Function::Exists, arguments) => match &**arguments {
                [argument @ Op::Reach(_)] => {
                    let operand = self.operand(argument, values, input)?;
                    Some(!matches!(operand, Operand::Undefined))
                }
                _ => None,
            },
            Op::Call(Function::Not, arguments) => match &**arguments {
                [argument] => Some(!self.holds(argument, values, input)?),
                _ => None,
            },
            Op::Reach(_) => match self.operand(op, values, input)? {
                Operand::Val(val) => match values.kind(val) {
                    Kind::True => Some(true),
                    Kind::False => Some(false),
                    _ => None,
                },
                Operand::Undefined | Operand::Number(_) => None,
            },
            _ => None,
        }
    }

    #[inline(always)]
    fn operand(&self, op: &Op, values: Values<'_>, input: Val) -> Option<Operand> {
        match op {
            Op::Number(n) => Some(Operand::Number(*n)),
            Op::Constant(val) => Some(Operand::Val(*val)),
            Op::Reach(reach) if self.roots[reach.root as usize] == Root::Input => {
                let found = reach.follow(values, input).ok()?;
                Some(found.map_or(Operand::Undefined, Operand::Val))
            }
            _ => None,
        }
    }

    /// The order of two numbers.
    #[inline(never)]
    fn in_order(
        &self,
        order: Order,
        [left, right]: &[Op; 2],
        values: Values<'_>,
        input: Val,
    ) -> Option<bool> {
        let number = |operand| match operand {
            Operand::Undefined => None,
            Operand::Number(n) => Some(n),
            Operand::Val(val) => number(values, val),
        };
        let left = number(self.operand(left, values, input)?)?;
        let right = number(self.operand(right, values, input)?)?;
        Some(match order {
            Order::Less => left < right,
            Order::LessOrEqual => left <= right,
            Order::Greater => left > right,
            Order::GreaterOrEqual => left >= right,
        })
    }

    /// Whether two scalars are equal.
    #[inline(never)]
    fn are_equal(
        &self,
        [left, right]: &[Op; 2],
        values: Values<'_>,
        input: Val,
    ) -> Option<Equality> {
        let left = self.operand(left, values, input)?;
        let right = self.operand(right, values, input)?;
        let same = match (left, right) {
            (Operand::Undefined, _) | (_, Operand::Undefined) => return Some(Equality::Undefined),
            (Operand::Number(a), Operand::Number(b)) => a == b,
            (Operand::Number(n), Operand::Val(val)) | (Operand::Val(val), Operand::Number(n)) => {
                match values.kind(val) {
                    Kind::Number => number(values, val)? == n,
                    _ => false,
                }
            }
            (Operand::Val(a), Operand::Val(b)) => match (values.kind(a), values.kind(b)) {
                (Kind::String, Kind::String) => values.equal_strings(a, b),
                (Kind::Number, Kind::Number) => number(values, a)? == number(values, b)?,
                (Kind::Array | Kind::Object, _) | (_, Kind::Array | Kind::Object) => return None,
                (a, b) => a == b,
            },
        };
        Some(if same {
            Equality::Same
        } else {
            Equality::Different
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Equality {
    Same,
    Different,
    /// One of the two is undefined, and neither equal to anything nor different from it.
    Undefined,
}

/// A number that is not beyond the range of doubles.
fn number(values: Values<'_>, val: Val) -> Option<f64> {
    values.as_f64(val).filter(|n| n.is_finite())
}
