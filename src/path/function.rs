//! The functions that may end a path: `.length()`, `.sum()` and their siblings.

use super::eval::Walk;
use super::filter::Number;
use super::item::Item;
use super::{Function, FunctionArgument, NotFound};
use crate::value::{Kind, Val};

/// The name as it is written.
pub(super) fn name(function: Function) -> &'static str {
    match function {
        Function::Length => "length",
        Function::Min => "min",
        Function::Max => "max",
        Function::Avg => "avg",
        Function::Sum => "sum",
        Function::Stddev => "stddev",
        Function::Keys => "keys",
        Function::Concat => "concat",
        Function::Append => "append",
        Function::First => "first",
        Function::Last => "last",
        Function::Index => "index",
    }
}

/// Applies `function` to `model`; paths among the arguments start at the root, or at `current` with `@`.
pub(super) fn call<'p>(
    walk: &Walk<'_>,
    function: Function,
    arguments: &'p [FunctionArgument],
    model: &Item<'p>,
    current: Val,
) -> Result<Item<'p>, NotFound> {
    let values = walk.values;
    let mut parameters = Vec::with_capacity(arguments.len());
    for argument in arguments {
        parameters.push(match argument {
            FunctionArgument::Literal(literal) => Item::Literal(literal),
            FunctionArgument::Path(path) => walk.filter_path(path, current)?,
        });
    }
    walk.visit(model.count(values).unwrap_or(0))?;
    match function {
        Function::Length => {
            let counted = parameters.first().unwrap_or(model);
            Ok(counted.count(values).map_or(Item::Val(Val::NULL), integer))
        }
        Function::Min | Function::Max | Function::Avg | Function::Sum | Function::Stddev => {
            aggregate(function, &numbers(walk, model, &parameters)?)
        }
        Function::Keys => match model {
            Item::Val(object) if values.kind(*object) == Kind::Object => Ok(Item::Items(
                walk.names(*object).into_iter().map(Item::Text).collect(),
            )),
            _ => Ok(Item::Val(Val::NULL)),
        },
        Function::Concat => {
            let mut text = String::new();
            let own = model.elements(values).unwrap_or_default();
            for part in own.iter().chain(&parameters) {
                text.push_str(&part.string(values).unwrap_or_default());
            }
            Ok(Item::Text(text))
        }
        Function::Append => match model.elements(values) {
            Some(mut elements) => {
                elements.append(&mut parameters);
                Ok(Item::Items(elements))
            }
            None => Ok(model.clone()),
        },
        Function::First => element(walk, model, 0),
        Function::Last => element(walk, model, -1),
        Function::Index => match parameters.first().and_then(|item| item.number(values)) {
            Some(Number::Integer(index)) => element(walk, model, index),
            Some(Number::Float(_)) | None => Err(failure("The index is not an integer")),
        },
    }
}

fn failure(message: &str) -> NotFound {
    NotFound {
        message: message.to_owned(),
    }
}

fn integer<'p>(n: usize) -> Item<'p> {
    Item::Number(Number::Integer(i64::try_from(n).unwrap_or(i64::MAX)))
}

fn element<'p>(walk: &Walk<'_>, model: &Item<'p>, index: i64) -> Result<Item<'p>, NotFound> {
    let values = walk.values;
    let mut elements = match model.elements(values) {
        Some(elements) if !elements.is_empty() => elements,
        Some(_) | None => return Err(failure(EMPTY)),
    };
    let len = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let at = if index < 0 {
        len.saturating_add(index)
    } else {
        index
    };
    match usize::try_from(at) {
        Ok(at) if at < elements.len() => Ok(elements.swap_remove(at)),
        Ok(_) | Err(_) => Err(failure(&format!(
            "Target index:{index} larger than object count:{len}"
        ))),
    }
}

const EMPTY: &str = "Aggregation function attempted to calculate value using empty array";

/// The numbers among the elements and the arguments; an array among the arguments counts by its elements.
fn numbers(
    walk: &Walk<'_>,
    model: &Item<'_>,
    parameters: &[Item<'_>],
) -> Result<Vec<f64>, NotFound> {
    let values = walk.values;
    let mut numbers = Vec::new();
    let mut add = |item: &Item<'_>| match item.number(values) {
        Some(Number::Integer(n)) => numbers.push(n as f64),
        Some(Number::Float(n)) => numbers.push(n),
        None => {}
    };
    for element in model.elements(values).unwrap_or_default() {
        add(&element);
    }
    for parameter in parameters {
        match parameter.elements(values) {
            Some(elements) => {
                walk.visit(elements.len())?;
                elements.iter().for_each(&mut add);
            }
            None => add(parameter),
        }
    }
    Ok(numbers)
}

/// All of them are doubles in Java, and so are the results.
fn aggregate<'p>(function: Function, numbers: &[f64]) -> Result<Item<'p>, NotFound> {
    if numbers.is_empty() {
        return Err(failure(EMPTY));
    }
    let count = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    let result = match function {
        Function::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
        Function::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Function::Sum => sum,
        Function::Avg => sum / count,
        _ => {
            let squares: f64 = numbers.iter().map(|n| n * n).sum();
            // Rounding may leave a tiny negative number where there is no deviation.
            (squares / count - sum * sum / count / count)
                .max(0.0)
                .sqrt()
        }
    };
    if !result.is_finite() {
        return Err(failure("The result of the function is not a finite number"));
    }
    Ok(Item::Number(Number::Float(result)))
}
