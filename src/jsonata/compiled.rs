//! An expression with its names resolved, and how it is evaluated.

use std::sync::Arc;

use super::error::EvaluationError;
use super::expression::{Available, Expression};
use super::reads::plain_path;
use super::scope::{Constants, Root, Scope};
use super::slow;
use crate::value::{Kind, Name, Val, Values};

/// An expression, ready to be evaluated against a [`Scope`].
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(super) expression: Arc<Expression>,
    /// Which variable each name is that the expression reads; `None` if no variable of that name can be in scope.
    pub(super) variables: Box<[Option<u32>]>,
    /// All of it, if it is a plain path.
    path: Option<PlainPath>,
}

/// `$states.input.id`, `$name.first`: members of objects, one after the other.
#[derive(Debug)]
struct PlainPath {
    root: Root,
    names: Box<[Name]>,
}

impl Compiled {
    /// Resolves the names of an expression.
    pub(crate) fn new(expression: &Arc<Expression>, constants: &mut impl Constants) -> Compiled {
        let variables = expression
            .reads()
            .variables
            .iter()
            .map(|(name, _)| constants.variable(name))
            .collect();
        let path = plain_path(expression.ast()).and_then(|(name, names)| {
            let (root, names) = match (name, names.split_first()) {
                ("states", Some((first, rest))) => (states_root(first)?, rest),
                ("states", None) => return None,
                _ => (Root::Variable(constants.variable(name)?), &names[..]),
            };
            Some(PlainPath {
                root,
                names: names.iter().map(|name| Name::new(name)).collect(),
            })
        });
        Compiled {
            expression: expression.clone(),
            variables,
            path,
        }
    }

    /// The text of the expression.
    pub(crate) fn text(&self) -> &str {
        self.expression.text()
    }

    /// What it sees of its state's result.
    pub(crate) fn available(&self) -> Available {
        self.expression.available()
    }

    /// How it is evaluated, for the disassembler.
    pub(crate) fn manner(&self) -> &'static str {
        match self.path {
            Some(_) => "path",
            None => "slow path",
        }
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
    if let Some(path) = &compiled.path
        && let Some(found) = path.follow(scope)
    {
        return Ok(found);
    }
    slow::evaluate(compiled, scope)
}

impl PlainPath {
    /// What the path finds; `None` if there is an array on the way, over whose items the path would go on.
    fn follow(&self, scope: &mut impl Scope) -> Option<Option<Val>> {
        let Some(mut at) = scope.root(self.root) else {
            return Some(None);
        };
        let (doc, constants) = scope.parts();
        let values = Values { doc, constants };
        for name in &self.names {
            match values.kind(at) {
                Kind::Array => return None,
                Kind::Object => match values.get(at, name) {
                    Some(val) => at = val,
                    None => return Some(None),
                },
                _ => return Some(None),
            }
        }
        Some(Some(at))
    }
}
