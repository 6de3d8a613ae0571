//! The slow path: the expression runs in `jsonata-core`, over copies of what it reads.
//!
//! 1. The parts of `$states` and of variables that the expression names are converted.
//! 2. It is evaluated, within the bounds of `limits.rs`.
//! 3. The result is converted back; what was only passed on is the document's own value again.
//!
//! Nothing of it outlives the evaluation: the library's values cannot go to another thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use jsonata_core::evaluator::{Context, Evaluator};
use jsonata_core::value::{JMap, JValue};

use super::compiled::{Compiled, states_root};
use super::convert::Converter;
use super::error::EvaluationError;
use super::functions::Functions;
use super::limits;
use super::reads::Part;
use super::scope::{Dialect, Root, Scope};
use super::weigh;
use crate::value::{Val, Values};

/// The members of `$states`, in AWS's order.
const STATES: [&str; 4] = ["input", "context", "result", "errorOutput"];

pub(super) fn evaluate<S: Scope>(
    compiled: &Compiled,
    scope: &mut S,
) -> Result<Option<Val>, EvaluationError> {
    let expression = &compiled.expression;
    let dialect = expression.dialect();
    let mut converter = Converter::default();
    let mut context = Context::new();
    let data = match dialect {
        Dialect::Aws => {
            let states = &expression.reads().states;
            if !states.is_nothing() {
                let states = states_object(scope, &mut converter, states);
                context.bind("states".to_owned(), states);
            }
            JValue::Undefined
        }
        Dialect::Plain => match scope.root(Root::Data) {
            Some(val) => convert(scope, &mut converter, val, &Part::Whole),
            None => JValue::Undefined,
        },
    };
    let read = expression.reads().variables.iter();
    for ((name, part), variable) in read.zip(&compiled.variables) {
        let Some(val) = variable.and_then(|variable| scope.root(Root::Variable(variable))) else {
            continue;
        };
        let value = convert(scope, &mut converter, val, part);
        context.bind(name.to_string(), value);
    }
    let mut evaluator = Evaluator::with_options(context, limits::options(dialect));
    let functions = Functions::new(scope.now(), scope.random().clone());
    functions.register(&mut evaluator, dialect, &expression.reads().functions);
    weigh::register(&mut evaluator, dialect, expression.guards());
    // The library has bugs of its own: they fail the state, not the worker. All that it works on is dropped here.
    let evaluation = AssertUnwindSafe(|| evaluator.evaluate(expression.guarded(), &data));
    let result = catch_unwind(evaluation);
    *scope.random() = functions.random();
    match result {
        Ok(Ok(value)) => converter.back(scope, &value, dialect),
        Ok(Err(error)) => {
            let function = expression.reads().only_function();
            Err(EvaluationError::of(&error, function))
        }
        Err(_) => Err(EvaluationError::Internal),
    }
}

fn convert(scope: &mut impl Scope, converter: &mut Converter, val: Val, part: &Part) -> JValue {
    let (doc, constants) = scope.parts();
    converter.convert(Values { doc, constants }, val, part)
}

/// `$states`, with the parts that are read.
fn states_object(scope: &mut impl Scope, converter: &mut Converter, part: &Part) -> JValue {
    let mut members = Vec::new();
    for name in STATES {
        let part = part.member(name);
        if part.is_nothing() {
            continue;
        }
        if let Some(val) = states_root(name).and_then(|root| scope.root(root)) {
            members.push((name.to_owned(), convert(scope, converter, val, part)));
        }
    }
    let members: JMap = members.into_iter().collect();
    JValue::Object(Rc::new(members))
}
