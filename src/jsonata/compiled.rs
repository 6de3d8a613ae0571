//! An expression with its names resolved, and how it is evaluated.

use std::sync::Arc;

use super::error::EvaluationError;
use super::expression::{Available, Expression};
use super::lower::{Lowered, Reason, lower};
use super::scope::{Constants, Root, Scope};
use super::slow;
use crate::value::{MemberName, Val, Values};

/// An expression, ready to be evaluated against a [`Scope`].
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(super) expression: Arc<Expression>,
    /// Which variable each name is that the expression reads; `None` if no variable of that name can be in scope.
    pub(super) variables: Box<[Option<u32>]>,
    /// What is done instead of evaluating it on the slow path, or why nothing is.
    lowered: Result<Lowered, Reason>,
}

impl Compiled {
    /// Resolves the names of an expression, and lowers it if that can be.
    pub(crate) fn new(expression: &Arc<Expression>, constants: &mut impl Constants) -> Compiled {
        let lowered = lower(expression.ast(), expression.dialect(), constants);
        Compiled {
            lowered,
            ..Compiled::slow(expression, constants)
        }
    }

    /// Resolves the names of an expression, which is not lowered.
    pub(crate) fn slow(expression: &Arc<Expression>, constants: &mut impl Constants) -> Compiled {
        let variables = expression
            .reads()
            .variables
            .iter()
            .map(|(name, _)| constants.variable(name))
            .collect();
        Compiled {
            expression: expression.clone(),
            variables,
            lowered: Err(Reason::UNASKED),
        }
    }

    /// What it finds in the state's input, if it does nothing but follow names through objects and there is something.
    #[inline(always)]
    pub(crate) fn of_input(&self, values: Values<'_>, input: Val) -> Option<Val> {
        self.lowered.as_ref().ok()?.of_input(values, input)
    }

    /// The value of a condition that compares the state's input with literals; `None` if only an evaluation tells.
    #[inline]
    pub(crate) fn test(&self, values: Values<'_>, input: Val) -> Option<bool> {
        self.lowered.as_ref().ok()?.test(values, input)
    }

    /// The name in `$states.input.name`, if the expression is that.
    pub(crate) fn input_member(&self) -> Option<&MemberName> {
        self.lowered.as_ref().ok()?.input_member()
    }

    /// The text of the expression.
    pub(crate) fn text(&self) -> &str {
        self.expression.text()
    }

    /// What it sees of its state's result.
    pub(crate) fn available(&self) -> Available {
        self.expression.available()
    }

    /// Why it takes the slow path; nothing if it is lowered. For the disassembler.
    pub(crate) fn slow_path(&self) -> Option<Reason> {
        self.lowered.as_ref().err().copied()
    }
}

/// The root behind a member of `$states`.
pub(super) fn states_root(member: &str) -> Option<Root> {
    match member {
        "input" => Some(Root::Input),
        "result" => Some(Root::Result),
        "errorOutput" => Some(Root::ErrorOutput),
        "context" => Some(Root::Context),
        _ => None,
    }
}

/// The value of an expression; `None` if it is undefined.
pub(crate) fn evaluate(
    compiled: &Compiled,
    scope: &mut impl Scope,
) -> Result<Option<Val>, EvaluationError> {
    if let Ok(lowered) = &compiled.lowered
        && let Ok(value) = lowered.run(scope)
    {
        return Ok(value);
    }
    slow::evaluate(compiled, scope)
}
