//! The functions that AWS adds to JSONata, and those that would ask the system for something.

use std::cell::RefCell;
use std::rc::Rc;

use jsonata_core::evaluator::{Evaluator, EvaluatorError};
use jsonata_core::value::JValue;

use super::convert::parse_json;
use super::error::MEMORY_MARK;
use super::limits::ITEMS_MAX;
use super::scope::Dialect;
use crate::intrinsic::{JavaRandom, Random, hash_text};
use crate::stdx::Timestamp;

/// The moment in milliseconds, by a name that no expression can write.
pub(super) const MILLIS: &str = "quickstep millis";

/// What the functions share during one evaluation.
pub(super) struct Functions {
    now: Timestamp,
    random: Rc<RefCell<Random>>,
}

type Outcome = Result<JValue, EvaluatorError>;

fn failed<T>(message: impl Into<String>) -> Result<T, EvaluatorError> {
    Err(EvaluatorError::EvaluationError(message.into()))
}

fn wrong_argument<T>(position: usize, function: &str) -> Result<T, EvaluatorError> {
    failed(format!(
        "T0410: Argument {position} of function \"{function}\" does not match function signature"
    ))
}

impl Functions {
    pub(super) fn new(now: Timestamp, random: Random) -> Functions {
        Functions {
            now,
            random: Rc::new(RefCell::new(random)),
        }
    }

    /// Where the random numbers have come to.
    pub(super) fn random(&self) -> Random {
        self.random.borrow().clone()
    }

    /// Gives an evaluator those of the functions that an expression names.
    pub(super) fn register(&self, evaluator: &mut Evaluator, dialect: Dialect, named: &[Box<str>]) {
        for name in named {
            self.of_both(evaluator, name);
            if dialect == Dialect::Aws {
                self.of_aws(evaluator, name);
            }
        }
    }

    /// What must not ask the system, in either dialect.
    fn of_both(&self, evaluator: &mut Evaluator, name: &str) {
        let random = self.random.clone();
        let millis = self.now.millis();
        match name {
            "now" => {
                // With arguments, it is rewritten as a call of `$fromMillis`.
                override_with(evaluator, MILLIS, move |_| {
                    Ok(JValue::Number(millis as f64))
                });
                override_with(evaluator, name, move |_| {
                    Ok(JValue::string(date_time(Timestamp::from_millis(millis))))
                });
            }
            "millis" => override_with(evaluator, name, move |_| Ok(JValue::Number(millis as f64))),
            "shuffle" => override_with(evaluator, name, move |args| {
                shuffle(args, &mut random.borrow_mut())
            }),
            "random" => override_with(evaluator, name, move |args| {
                seeded(args, &mut random.borrow_mut())
            }),
            _ => {}
        }
    }

    fn of_aws(&self, evaluator: &mut Evaluator, name: &str) {
        let random = self.random.clone();
        match name {
            "eval" => override_with(evaluator, name, |_| {
                failed("T1006: Attempted to invoke a non-function")
            }),
            "partition" => override_with(evaluator, name, partition),
            "range" => override_with(evaluator, name, range),
            "hash" => override_with(evaluator, name, hash),
            "parse" => override_with(evaluator, name, parse),
            "uuid" => override_with(evaluator, name, move |args| {
                if args.is_empty() {
                    Ok(JValue::string(random.borrow_mut().uuid()))
                } else {
                    wrong_argument(1, "uuid")
                }
            }),
            _ => {}
        }
    }
}

fn override_with(
    evaluator: &mut Evaluator,
    name: &str,
    function: impl Fn(&[JValue]) -> Outcome + 'static,
) {
    // None of them is one of the functions that the library compiles, which are all that it refuses.
    let registered = evaluator.register_fn_override(name, function);
    debug_assert!(registered.is_ok(), "{name} can be replaced");
}

fn text_argument<'a>(
    args: &'a [JValue],
    position: usize,
    function: &str,
) -> Result<Option<&'a str>, EvaluatorError> {
    match args.get(position) {
        None | Some(JValue::Undefined) => Ok(None),
        Some(JValue::String(text)) => Ok(Some(text)),
        Some(_) => wrong_argument(position + 1, function),
    }
}

/// A whole number: fractions are cut off.
fn integer_argument(
    args: &[JValue],
    position: usize,
    function: &str,
) -> Result<Option<i64>, EvaluatorError> {
    match args.get(position) {
        None | Some(JValue::Undefined) => Ok(None),
        // The conversion saturates.
        Some(JValue::Number(n)) => Ok(Some(n.trunc() as i64)),
        Some(_) => wrong_argument(position + 1, function),
    }
}

fn at_most(args: &[JValue], count: usize, function: &str) -> Result<(), EvaluatorError> {
    if args.len() > count {
        return wrong_argument(count + 1, function);
    }
    Ok(())
}

/// With milliseconds, as JavaScript prints it.
fn date_time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix('Z') {
        Some(seconds) if !seconds.contains('.') => format!("{seconds}.000Z"),
        _ => text,
    }
}

fn seeded(args: &[JValue], random: &mut Random) -> Outcome {
    at_most(args, 1, "random")?;
    Ok(JValue::Number(match integer_argument(args, 0, "random")? {
        Some(seed) => JavaRandom::new(seed).next_f64(),
        None => random.next_f64(),
    }))
}

fn shuffle(args: &[JValue], random: &mut Random) -> Outcome {
    at_most(args, 1, "shuffle")?;
    let mut items = match args.first() {
        None | Some(JValue::Undefined) => return Ok(JValue::Undefined),
        Some(JValue::Array(items)) => items.to_vec(),
        Some(other) => vec![other.clone()],
    };
    for i in (1..items.len()).rev() {
        let other = random.below(i as u64 + 1);
        items.swap(i, usize::try_from(other).unwrap_or(0));
    }
    Ok(JValue::array(items))
}

/// `$partition(array, size)`: the array in pieces of that size.
fn partition(args: &[JValue]) -> Outcome {
    at_most(args, 2, "partition")?;
    let items: &[JValue] = match args.first() {
        None | Some(JValue::Undefined) => return Ok(JValue::Undefined),
        Some(JValue::Array(items)) => items,
        Some(one) => std::slice::from_ref(one),
    };
    let Some(size) = integer_argument(args, 1, "partition")? else {
        return Ok(JValue::Undefined);
    };
    match usize::try_from(size) {
        Ok(0) => Ok(JValue::Undefined),
        Ok(size) => {
            let pieces = items
                .chunks(size)
                .map(|piece| JValue::array(piece.to_vec()));
            Ok(JValue::array(pieces.collect()))
        }
        Err(_) => wrong_argument(2, "partition"),
    }
}

/// `$range(first, last, step)`: the numbers from the first on, the last one included if the steps meet it.
fn range(args: &[JValue]) -> Outcome {
    at_most(args, 3, "range")?;
    let first = integer_argument(args, 0, "range")?;
    let last = integer_argument(args, 1, "range")?;
    let step = integer_argument(args, 2, "range")?;
    let (Some(first), Some(last), Some(step)) = (first, last, step) else {
        return Ok(JValue::Undefined);
    };
    let (first, last, step) = (i128::from(first), i128::from(last), i128::from(step));
    if step == 0 || (last - first) * step.signum() < 0 {
        return Ok(JValue::Undefined);
    }
    let count = (last - first) / step + 1;
    let count = match usize::try_from(count) {
        Ok(count) if count <= ITEMS_MAX => count,
        _ => return failed(MEMORY_MARK),
    };
    let mut numbers: Vec<JValue> = (0..count)
        .map(|i| JValue::Number((first + step * i as i128) as f64))
        .collect();
    // A sequence of one is the number itself, as AWS has it.
    if numbers.len() == 1 {
        return Ok(numbers.remove(0));
    }
    Ok(JValue::array(numbers))
}

/// `$hash(text, algorithm)`
fn hash(args: &[JValue]) -> Outcome {
    at_most(args, 2, "hash")?;
    let text = match args.first() {
        Some(JValue::Number(_) | JValue::Bool(_)) => return wrong_argument(1, "hash"),
        _ => text_argument(args, 0, "hash")?,
    };
    let algorithm = text_argument(args, 1, "hash")?;
    let (Some(text), Some(algorithm)) = (text, algorithm) else {
        return Ok(JValue::Undefined);
    };
    match hash_text(text.as_bytes(), algorithm) {
        Some(digest) => Ok(JValue::string(digest)),
        None => failed(format!(
            "The algorithm {algorithm} is not one of MD5, SHA-1, SHA-256, SHA-384 and SHA-512"
        )),
    }
}

/// `$parse(text)`: the value of a JSON text.
fn parse(args: &[JValue]) -> Outcome {
    at_most(args, 1, "parse")?;
    match text_argument(args, 0, "parse")? {
        None => Ok(JValue::Undefined),
        Some(text) => match parse_json(text) {
            Ok(value) => Ok(value),
            Err(problem) => failed(format!(
                "The argument of function \"parse\" is not JSON: {problem}"
            )),
        },
    }
}
