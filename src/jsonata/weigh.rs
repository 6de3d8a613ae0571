//! What the guards do: they measure a value and pass it on, or end the evaluation.

use std::cell::RefCell;
use std::rc::Rc;

use jsonata_core::evaluator::{Evaluator, EvaluatorError, HostFnResult};
use jsonata_core::functions::string::build_regex;
use jsonata_core::value::JValue;

use super::error::MEMORY_MARK;
use super::guard::Guard;
use super::limits::{self, ITEMS_MAX, MATCHES_MAX, PICTURE_NUMBER_MAX, TEXT_BYTES_MAX, VALUES_MAX};
use super::scope::Dialect;
use crate::stdx::FixedSet;

/// What the guards of one evaluation have measured so far.
struct Measured {
    /// Open measures: guards come in pairs around what is evaluated between them.
    open: Vec<Open>,
    /// Bytes that functions have given for matches.
    collected: usize,
    /// Values that have been put into lists and objects.
    parts: usize,
    parts_max: usize,
    /// Most values that one value may consist of.
    values_max: usize,
}

enum Open {
    /// Bytes, items or columns.
    Amount(usize),
    /// The separators of a list take as many bytes for each of theirs, besides its texts.
    List { bytes: usize, items: usize },
    /// The text of `$replace`, and most matches in it.
    Subject { bytes: usize, matches: usize },
}

fn too_much<T>() -> Result<T, EvaluatorError> {
    Err(EvaluatorError::EvaluationError(MEMORY_MARK.to_owned()))
}

fn at_most(amount: usize, limit: usize) -> Result<(), EvaluatorError> {
    if amount > limit { too_much() } else { Ok(()) }
}

/// Gives an evaluator the guards of an expression.
pub(super) fn register(evaluator: &mut Evaluator, dialect: Dialect, used: &[Guard]) {
    if used.is_empty() {
        return;
    }
    let measured = Rc::new(RefCell::new(Measured {
        open: Vec::new(),
        collected: 0,
        parts: 0,
        parts_max: limits::parts_max(dialect),
        values_max: limits::values_max(dialect),
    }));
    for &guard in used {
        let measured = measured.clone();
        let check = move |args: &[JValue]| measured.borrow_mut().check(guard, args);
        // No function of the library has such a name.
        let registered = evaluator.register_fn(guard.name(), check);
        debug_assert!(registered.is_ok(), "{guard:?} has a name of its own");
    }
}

impl Measured {
    fn check(&mut self, guard: Guard, args: &[JValue]) -> HostFnResult {
        let value = args.first().unwrap_or(&JValue::Undefined);
        match guard {
            Guard::Weigh => drop(weigh(value, self.values_max)?),
            Guard::Part => self.part(value)?,
            Guard::Text => at_most(text_bytes(value, 0)?, TEXT_BYTES_MAX)?,
            Guard::Indented => at_most(text_bytes(value, 2)?, TEXT_BYTES_MAX)?,
            Guard::Left => self.open.push(Open::Amount(text_bytes(value, 0)?)),
            Guard::Right => {
                let left = self.close_amount();
                at_most(left + text_bytes(value, 0)?, TEXT_BYTES_MAX)?;
            }
            Guard::First => {
                self.part(value)?;
                self.open.push(Open::Amount(items(value)));
            }
            Guard::Middle => {
                let so_far = self.next_item(value)?;
                self.open.push(Open::Amount(so_far));
            }
            Guard::Last => drop(self.next_item(value)?),
            Guard::List => self.open.push(Open::List {
                bytes: text_bytes(value, 0)?,
                items: items(value),
            }),
            Guard::Separator => {
                if let Some(Open::List { bytes, items }) = self.open.pop() {
                    let separators = items.saturating_mul(text_bytes(value, 0)?);
                    at_most(bytes.saturating_add(separators), TEXT_BYTES_MAX)?;
                }
            }
            Guard::Width => at_most(columns(value), TEXT_BYTES_MAX)?,
            Guard::Padded => self.open.push(Open::Amount(columns(value))),
            Guard::Columns => {
                let columns = self.padding(value)?;
                self.open.push(Open::Amount(columns));
            }
            Guard::Padding => drop(self.padding(value)?),
            Guard::Pieces => at_most(matches(args, ITEMS_MAX - 1, ITEMS_MAX + 1)?, ITEMS_MAX)?,
            Guard::Matches => at_most(
                matches(args, MATCHES_MAX - 1, MATCHES_MAX + 1)?,
                MATCHES_MAX,
            )?,
            Guard::Subject => {
                let bytes = text_bytes(value, 0)?;
                let matches = matches(args, SUBJECT_SURE_BYTES, TEXT_BYTES_MAX)?;
                self.open.push(Open::Subject { bytes, matches });
            }
            Guard::Replacement => self.replacement(value)?,
            Guard::Collected => {
                self.collected += text_bytes(value, 0)?;
                at_most(self.collected, COLLECTED_BYTES_MAX)?;
            }
            Guard::IsFunction
            | Guard::IsBuiltin
            | Guard::FillsBeforeNumber
            | Guard::FillsBeforeOther => return Ok(JValue::Bool(self.answer(guard, args))),
            Guard::Picture => picture(value)?,
            Guard::Distinct => return distinct(args),
        }
        Ok(value.clone())
    }

    /// What a guard tells of values, that passes none on.
    fn answer(&mut self, guard: Guard, args: &[JValue]) -> bool {
        let value = args.first().unwrap_or(&JValue::Undefined);
        match guard {
            Guard::IsFunction => {
                let is_function = value.is_function();
                if is_function {
                    self.open.pop();
                }
                is_function
            }
            Guard::IsBuiltin => matches!(value, JValue::Builtin { .. }),
            _ => {
                let is_number = matches!(args.get(1), Some(JValue::Number(_)));
                is_number == (guard == Guard::FillsBeforeNumber)
                    && matches!(value, JValue::String(_))
            }
        }
    }

    /// The items of a list with those of one more value.
    fn next_item(&mut self, value: &JValue) -> Result<usize, EvaluatorError> {
        self.part(value)?;
        let so_far = self.close_amount() + items(value);
        at_most(so_far, ITEMS_MAX)?;
        Ok(so_far)
    }

    fn part(&mut self, value: &JValue) -> Result<(), EvaluatorError> {
        if let JValue::Array(_) | JValue::Object(_) = value {
            self.parts += weigh(value, self.values_max)?;
            return at_most(self.parts, self.parts_max);
        }
        Ok(())
    }

    /// The columns of a text that is padded, once one more argument is known: they, or what fills each of them.
    fn padding(&mut self, value: &JValue) -> Result<usize, EvaluatorError> {
        let columns = self.close_amount().max(columns(value));
        let width = match value {
            JValue::String(filling) => filling.len().max(1),
            _ => 1,
        };
        at_most(columns.saturating_mul(width), TEXT_BYTES_MAX)?;
        Ok(columns)
    }

    fn close_amount(&mut self) -> usize {
        match self.open.pop() {
            Some(Open::Amount(amount)) => amount,
            _ => 0,
        }
    }

    /// A text in place of every match; each `$` of it may stand for a group, and the groups of all matches are no more
    /// than the subject for each.
    fn replacement(&mut self, value: &JValue) -> Result<(), EvaluatorError> {
        let (Some(Open::Subject { bytes, matches }), JValue::String(text)) =
            (self.open.pop(), value)
        else {
            return Ok(());
        };
        let groups = text.bytes().filter(|byte| *byte == b'$').count();
        let grown = bytes
            .saturating_mul(groups + 1)
            .saturating_add(matches.saturating_mul(text.len()));
        at_most(grown, TEXT_BYTES_MAX)
    }
}

/// Texts up to this length are not counted for matches.
const SUBJECT_SURE_BYTES: usize = 1024;

/// Most bytes that the functions of all `$replace` give in one evaluation.
const COLLECTED_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;

/// Items that a list takes over from a value.
fn items(value: &JValue) -> usize {
    value.as_array().map_or(1, Vec::len)
}

/// Columns that a text is padded to.
fn columns(value: &JValue) -> usize {
    // The conversion saturates.
    value.as_f64().map_or(0, |width| width.abs() as usize)
}

/// How many values a value consists of, shared ones counted as often as they are there; fails if they are too many.
fn weigh(value: &JValue, values_max: usize) -> Result<usize, EvaluatorError> {
    let mut seen = 0;
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        seen += 1;
        match value {
            JValue::Array(items) => {
                at_most(seen + rest.len() + items.len(), values_max)?;
                // Scalars need no visit.
                seen += items.len();
                let inner = items.iter().filter(|item| is_container(item));
                rest.extend(inner);
            }
            JValue::Object(members) => {
                at_most(seen + rest.len() + members.len(), values_max)?;
                seen += members.len();
                rest.extend(members.values().filter(|value| is_container(value)));
            }
            _ => {}
        }
    }
    Ok(seen)
}

fn is_container(value: &JValue) -> bool {
    matches!(value, JValue::Array(_) | JValue::Object(_))
}

/// Bytes of a value as text, roughly; `indent` for each level if it has lines.
fn text_bytes(value: &JValue, indent: usize) -> Result<usize, EvaluatorError> {
    match value {
        JValue::String(text) => Ok(text.len()),
        value => text_bytes_of(value, indent, TEXT_BYTES_MAX),
    }
}

fn text_bytes_of(value: &JValue, indent: usize, limit: usize) -> Result<usize, EvaluatorError> {
    let mut bytes = 0_usize;
    let mut seen = 0;
    let mut rest = vec![(value, 0_usize)];
    while let Some((value, depth)) = rest.pop() {
        seen += 1;
        bytes = bytes.saturating_add(1 + depth * indent);
        match value {
            JValue::String(text) => bytes = bytes.saturating_add(text.len()),
            JValue::Array(items) => {
                at_most(rest.len() + items.len(), VALUES_MAX)?;
                rest.extend(items.iter().map(|item| (item, depth + 1)));
            }
            JValue::Object(members) => {
                at_most(rest.len() + members.len(), VALUES_MAX)?;
                for (name, value) in members.iter() {
                    bytes = bytes.saturating_add(name.len());
                    rest.push((value, depth + 1));
                }
            }
            _ => bytes = bytes.saturating_add(8),
        }
        if seen > VALUES_MAX || bytes > limit {
            return too_much();
        }
    }
    Ok(bytes)
}

/// Most places at which what is searched for may be found in a text: one more than it has bytes if there are no more than
/// `sure` of those, else they are counted, up to `most`.
fn matches(args: &[JValue], sure: usize, most: usize) -> Result<usize, EvaluatorError> {
    let Some(JValue::String(text)) = args.first() else {
        return Ok(0);
    };
    if text.len() <= sure {
        return Ok(text.len() + 1);
    }
    Ok(match args {
        [_, JValue::String(searched)] if searched.is_empty() => text.len() + 1,
        [_, JValue::String(searched)] => text.matches(&**searched).take(most).count(),
        [_, JValue::String(pattern), JValue::String(flags)] => {
            let regex = build_regex(pattern, flags)?;
            regex.find_iter(text).take(most).count()
        }
        _ => text.len() + 1,
    })
}

/// A picture that is not endless, and whose components (`[Y,4-6]`) ask for no endless padding.
fn picture(value: &JValue) -> Result<(), EvaluatorError> {
    let JValue::String(text) = value else {
        return Ok(());
    };
    at_most(text.len(), PICTURE_NUMBER_MAX)?;
    let components = text.split('[').skip(1);
    for component in components.filter_map(|rest| rest.split(']').next()) {
        let widths = component.split_once(',').map_or("", |(_, widths)| widths);
        for number in widths.split(|c: char| !c.is_ascii_digit()) {
            if !number.is_empty()
                && number
                    .parse()
                    .map_or(true, |n: usize| n > PICTURE_NUMBER_MAX)
            {
                return too_much();
            }
        }
    }
    Ok(())
}

/// `$distinct`: the first of each of the equal items. Equal values have equal texts once members are in order.
fn distinct(args: &[JValue]) -> HostFnResult {
    let value = args.first().unwrap_or(&JValue::Undefined);
    let JValue::Array(items) = value else {
        return Ok(value.clone());
    };
    if items.len() <= 1 {
        return Ok(value.clone());
    }
    let mut seen: FixedSet<String> = FixedSet::default();
    let mut bytes = 0;
    let mut kept = Vec::new();
    for item in items {
        weigh(item, VALUES_MAX)?;
        let text = canonical(item);
        bytes += text.len();
        at_most(bytes, 4 * TEXT_BYTES_MAX)?;
        if seen.insert(text) {
            kept.push(item.clone());
        }
    }
    Ok(if items.sequence {
        JValue::sequence(kept)
    } else {
        JValue::array(kept)
    })
}

/// The same text for equal values, another one for others.
fn canonical(value: &JValue) -> String {
    enum Piece<'v> {
        Value(&'v JValue),
        Text(String),
    }
    let mut text = String::new();
    let mut rest = vec![Piece::Value(value)];
    while let Some(piece) = rest.pop() {
        let value = match piece {
            Piece::Text(piece) => {
                text.push_str(&piece);
                continue;
            }
            Piece::Value(value) => value,
        };
        match value {
            JValue::Array(items) => {
                text.push('[');
                rest.push(Piece::Text("]".to_owned()));
                for item in items.iter().rev() {
                    rest.push(Piece::Text(",".to_owned()));
                    rest.push(Piece::Value(item));
                }
            }
            JValue::Object(members) => {
                text.push('{');
                rest.push(Piece::Text("}".to_owned()));
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by(|(a, _), (b, _)| b.cmp(a));
                for (name, value) in members {
                    rest.push(Piece::Text(",".to_owned()));
                    rest.push(Piece::Value(value));
                    rest.push(Piece::Text(format!("{name:?}:")));
                }
            }
            JValue::String(content) => text.push_str(&format!("{content:?}")),
            // The two zeros are equal.
            JValue::Number(n) => text.push_str(&format!("{:?}", n + 0.0)),
            JValue::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            // Functions are equal to themselves only.
            JValue::Lambda(lambda) => text.push_str(&format!("<{:p}>", Rc::as_ptr(lambda))),
            JValue::Builtin { name } => text.push_str(&format!("<{name}>")),
            JValue::Regex { pattern, flags } => text.push_str(&format!("</{pattern}/{flags}>")),
            JValue::Null | JValue::Undefined => text.push_str("null"),
        }
    }
    text
}
