//! Values of a document as `jsonata-core`'s, and back.
//!
//! What comes back as it went in is the document's own value again: arrays and objects are known by their place in
//! memory, numbers whose text says more than a double (`0.10`, 1E5, 2^64) by their bits. Nothing recurses over values.

use std::rc::Rc;

use jsonata_core::value::{JMap, JValue};

use super::error::EvaluationError;
use super::limits::{PARSED_BYTES_MAX, RESULT_BYTES_MAX, VALUES_MAX};
use super::reads::Part;
use super::scope::{Dialect, Scope};
use crate::stdx::FixedMap;
use crate::value::{Doc, Elements, Key, Kind, Members, Name, Val, Values};

/// What an evaluation has been given, so that it can be told from what it has made.
#[derive(Default)]
pub(super) struct Converter {
    /// By its place in memory: the document's value, and the converted one, which stays alive so that nothing else can
    /// take its place.
    originals: FixedMap<usize, (Val, JValue)>,
    /// Numbers whose own text is not that of their double, by its bits; `None` if two texts have the same double.
    numbers: FixedMap<u64, Option<Val>>,
}

/// A container under way.
enum Open<'a, 'p> {
    Array {
        val: Val,
        part: &'p Part,
        rest: Elements<'a>,
        items: Vec<JValue>,
    },
    Object {
        val: Val,
        part: &'p Part,
        rest: Members<'a>,
        /// The member whose value is under way.
        name: String,
        members: Vec<(String, JValue)>,
    },
}

impl Converter {
    /// The parts of a value that are read.
    pub(super) fn convert(&mut self, values: Values<'_>, val: Val, part: &Part) -> JValue {
        let mut open: Vec<Open<'_, '_>> = Vec::new();
        let mut next = Some((val, part));
        loop {
            let mut done = match next.take() {
                Some((val, part)) => match values.kind(val) {
                    Kind::Array => {
                        open.push(Open::Array {
                            val,
                            part,
                            rest: values.elements(val),
                            items: Vec::new(),
                        });
                        None
                    }
                    Kind::Object => {
                        open.push(Open::Object {
                            val,
                            part,
                            rest: values.members(val),
                            name: String::new(),
                            members: Vec::new(),
                        });
                        None
                    }
                    _ => Some(self.scalar(values, val)),
                },
                None => None,
            };
            // Hands the finished value to its container, and finds the next one to convert.
            loop {
                match open.last_mut() {
                    None => match done {
                        Some(value) => return value,
                        None => unreachable!("a value is either open or done"),
                    },
                    Some(Open::Array {
                        part, rest, items, ..
                    }) => {
                        items.extend(done.take());
                        next = rest.next().map(|val| (val, *part));
                    }
                    Some(Open::Object {
                        part,
                        rest,
                        name,
                        members,
                        ..
                    }) => {
                        if let Some(value) = done.take() {
                            members.push((std::mem::take(name), value));
                        }
                        next = next_member(values, rest, part, name);
                    }
                }
                if next.is_some() {
                    break;
                }
                done = open.pop().map(|container| self.close(container));
            }
        }
    }

    fn close(&mut self, container: Open<'_, '_>) -> JValue {
        let (val, part, value) = match container {
            Open::Array {
                val, part, items, ..
            } => (val, part, JValue::array(items)),
            Open::Object {
                val, part, members, ..
            } => {
                let map: JMap = members.into_iter().collect();
                (val, part, JValue::Object(Rc::new(map)))
            }
        };
        if *part == Part::Whole
            && let Some(place) = place(&value)
        {
            self.originals.insert(place, (val, value.clone()));
        }
        value
    }

    fn scalar(&mut self, values: Values<'_>, val: Val) -> JValue {
        match values.kind(val) {
            Kind::True => JValue::Bool(true),
            Kind::False => JValue::Bool(false),
            Kind::Number => {
                let n = values.as_f64(val).unwrap_or(f64::NAN);
                self.number(values.text(val), n, val);
                JValue::Number(n)
            }
            Kind::String => {
                let value = JValue::string(values.string(val).unwrap_or_default());
                // A lone surrogate has no place in Rust's strings.
                if values.is_escaped(val)
                    && values.text(val).contains("\\uD")
                    && let Some(place) = place(&value)
                {
                    self.originals.insert(place, (val, value.clone()));
                }
                value
            }
            Kind::Null | Kind::Array | Kind::Object => JValue::Null,
        }
    }

    /// Notes a number whose text has to be kept.
    fn number(&mut self, text: &str, n: f64, val: Val) {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let short = digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
        // `2.0` says no more than `2`.
        let whole = |text: &str| match text.split_once('.') {
            Some((whole, zeros)) => whole.len() <= 15 && zeros.bytes().all(|byte| byte == b'0'),
            None => false,
        };
        if short && n.to_bits() != (-0.0_f64).to_bits() || whole(digits) || number_text(n) == text {
            return;
        }
        self.numbers
            .entry(n.to_bits())
            .and_modify(|known| {
                if *known != Some(val) {
                    *known = None;
                }
            })
            .or_insert(Some(val));
    }
}

/// The next member that is read; its name goes to `name`.
fn next_member<'a, 'p>(
    values: Values<'a>,
    rest: &mut Members<'a>,
    part: &'p Part,
    name: &mut String,
) -> Option<(Val, &'p Part)> {
    for (key, val) in rest {
        let text = crate::value::unescape(values.key_text(key));
        let part = part.member(&text);
        if !part.is_nothing() {
            *name = text.into_owned();
            return Some((val, part));
        }
    }
    None
}

/// The value of a JSON text.
pub(super) fn parse_json(text: &str) -> Result<JValue, String> {
    if text.len() > PARSED_BYTES_MAX {
        return Err(format!(
            "{} bytes are more than {PARSED_BYTES_MAX}",
            text.len()
        ));
    }
    let mut doc = Doc::new();
    let val = doc
        .ingest(text.as_bytes())
        .map_err(|error| error.to_string())?;
    let values = Values {
        doc: &doc,
        constants: &doc,
    };
    // What is known of this document is forgotten with it.
    Ok(Converter::default().convert(values, val, &Part::Whole))
}

/// What tells a container or a string from all others that are alive.
fn place(value: &JValue) -> Option<usize> {
    match value {
        JValue::Array(_) => value
            .as_array()
            .map(|items| std::ptr::from_ref(items).addr()),
        JValue::Object(map) => Some(Rc::as_ptr(map).addr()),
        JValue::String(text) => Some(text.as_ptr().addr()),
        _ => None,
    }
}

/// The shortest text that reads back as the number, as JavaScript prints it.
pub(super) fn number_text(n: f64) -> String {
    if n == 0.0 {
        return "0".to_owned();
    }
    let magnitude = n.abs();
    if n.fract() == 0.0 && magnitude < 1e21 {
        // Prints all digits.
        return format!("{n}");
    }
    if (1e-6..1e21).contains(&magnitude) {
        return format!("{n}");
    }
    if !n.is_finite() {
        return String::new();
    }
    // `1e+21`: Rust leaves the sign of a positive exponent out.
    let text = format!("{n:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// A step of the way back.
enum Step<'v> {
    Value(&'v JValue),
    /// Makes an array of the last values.
    Array(usize, usize),
    /// Makes an object of the last values.
    Object(Vec<Key>, usize),
}

/// What has been made on the way back.
struct Back<'c> {
    converter: &'c Converter,
    dialect: Dialect,
    /// Containers that have been made, by the place of what they were made from: shared parts are made once.
    made: FixedMap<usize, Val>,
    keys: FixedMap<String, Key>,
    done: Vec<Val>,
    /// Bytes and values added so far.
    added: usize,
    looked_at: usize,
}

impl Converter {
    /// The document's value of a result; `None` if it is undefined.
    pub(super) fn back(
        &self,
        scope: &mut impl Scope,
        result: &JValue,
        dialect: Dialect,
    ) -> Result<Option<Val>, EvaluationError> {
        if result.is_undefined() {
            return Ok(None);
        }
        let mut back = Back {
            converter: self,
            dialect,
            made: FixedMap::default(),
            keys: FixedMap::default(),
            done: Vec::new(),
            added: 0,
            looked_at: 0,
        };
        let (doc, constants) = scope.parts();
        let mut steps = vec![Step::Value(result)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Value(value) => back.value(doc, value, &mut steps)?,
                Step::Array(count, place) => {
                    let from = back.done.len() - count;
                    let array = doc.push_array(constants, &back.done[from..]);
                    back.container(from, place, array);
                }
                Step::Object(keys, place) => {
                    let from = back.done.len() - keys.len();
                    let vals = back.done[from..].iter().copied();
                    let members: Vec<(Key, Val)> = keys.into_iter().zip(vals).collect();
                    let object = doc.push_object(constants, &members);
                    back.container(from, place, object);
                }
            }
        }
        let val = back.done.pop().unwrap_or(Val::NULL);
        if (Values { doc, constants }).size(val) > RESULT_BYTES_MAX {
            return Err(EvaluationError::memory());
        }
        Ok(Some(val))
    }
}

impl Back<'_> {
    fn container(&mut self, from: usize, place: usize, val: Val) {
        self.done.truncate(from);
        self.done.push(val);
        self.made.insert(place, val);
    }

    fn value<'v>(
        &mut self,
        doc: &mut Doc,
        value: &'v JValue,
        steps: &mut Vec<Step<'v>>,
    ) -> Result<(), EvaluationError> {
        self.looked_at += 1;
        if self.added > RESULT_BYTES_MAX || self.looked_at > VALUES_MAX {
            return Err(EvaluationError::memory());
        }
        let place = place(value);
        if let Some(place) = place {
            let original = self.converter.originals.get(&place).map(|(val, _)| *val);
            if let Some(val) = original.or_else(|| self.made.get(&place).copied()) {
                self.done.push(val);
                return Ok(());
            }
        }
        let val = match value {
            JValue::Null | JValue::Undefined => Val::NULL,
            JValue::Bool(value) => Val::bool(*value),
            JValue::Number(n) => self.number(doc, *n)?,
            JValue::String(text) => {
                self.added += text.len();
                if self.added > RESULT_BYTES_MAX {
                    return Err(EvaluationError::memory());
                }
                doc.push_string(text)
            }
            JValue::Array(items) => {
                steps.push(Step::Array(items.len(), place.unwrap_or_default()));
                steps.extend(items.iter().rev().map(Step::Value));
                return Ok(());
            }
            JValue::Object(members) => {
                let present: Vec<(&String, &JValue)> = members
                    .iter()
                    .filter(|(_, value)| !value.is_undefined())
                    .collect();
                let keys = present
                    .iter()
                    .map(|(name, _)| self.key(doc, name))
                    .collect();
                steps.push(Step::Object(keys, place.unwrap_or_default()));
                steps.extend(present.iter().rev().map(|(_, value)| Step::Value(value)));
                return Ok(());
            }
            JValue::Lambda(_) | JValue::Builtin { .. } | JValue::Regex { .. } => {
                return Err(EvaluationError::Unsupported);
            }
        };
        self.done.push(val);
        Ok(())
    }

    fn number(&mut self, doc: &mut Doc, n: f64) -> Result<Val, EvaluationError> {
        self.added += 16;
        if let Some(Some(val)) = self.converter.numbers.get(&n.to_bits()) {
            return Ok(*val);
        }
        match (n.is_finite(), self.dialect) {
            (true, _) => {}
            // What is no number in JSON is a string there.
            (false, Dialect::Aws) => {
                let name = match n {
                    f64::INFINITY => "Infinity",
                    f64::NEG_INFINITY => "-Infinity",
                    _ => "NaN",
                };
                return Ok(doc.push_string(name));
            }
            (false, Dialect::Plain) => {
                return Err(EvaluationError::Coded {
                    code: "D1001".into(),
                    message: format!("Number out of range: {n}").into(),
                });
            }
        }
        Ok(doc.push_number_text(&number_text(n)))
    }

    fn key(&mut self, doc: &mut Doc, name: &str) -> Key {
        if let Some(key) = self.keys.get(name) {
            return *key;
        }
        self.added += name.len();
        let key = doc.push_key(&Name::new(name));
        self.keys.insert(name.to_owned(), key);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_text() {
        for (n, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (7.0, "7"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
        ] {
            assert_eq!(number_text(n), text);
        }
    }
}
