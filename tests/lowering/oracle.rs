//! An expression lowered, and the same expression in jsonata-core.

use jsonata_core::evaluator::{Context, Evaluator, EvaluatorOptions};
use jsonata_core::value::JValue;
use quickstep::internal::Expression;
use quickstep::value::{Doc, Kind, Val, Values, unescape};

/// What became of a lowered expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Value(Option<String>),
    Refused(String),
    Bailed,
}

/// The lowered expression's value over JSON text, as JSON text.
///
/// # Panics
///
/// If the data is no JSON, or if the value's size is not that of its text.
pub(crate) fn lowered(text: &str, data: Option<&str>, bindings: &[(String, String)]) -> Outcome {
    let names: Vec<&str> = bindings.iter().map(|(name, _)| name.as_str()).collect();
    let expression = match Expression::plain(text, &names) {
        Ok(expression) => expression,
        Err(reason) => return Outcome::Refused(reason),
    };
    let mut doc = Doc::new();
    let mut ingest = |json: &str| doc.ingest(json.as_bytes()).expect("data is JSON");
    let variables: Vec<_> = bindings.iter().map(|(_, json)| ingest(json)).collect();
    let data = data.map(ingest);
    match expression.run(&mut doc, data, &variables) {
        Err(_) => Outcome::Bailed,
        Ok(value) => Outcome::Value(value.map(|value| {
            let values = Values {
                doc: &doc,
                constants: expression.constants(),
            };
            let json = values.to_json(value);
            assert_eq!(values.size(value), json.len(), "{text}");
            json
        })),
    }
}

/// Longest evaluation by jsonata-core, which takes its stack from the heap piece by piece: under a sanitizer what nests
/// calls in calls takes minutes, where it takes milliseconds otherwise.
const REFERENCE_MILLIS_MAX: u64 = 4_000;

/// jsonata-core's value of the expression; an error is its text.
///
/// # Errors
///
/// What the parser or the evaluator says.
///
/// # Panics
///
/// If the data is no JSON.
pub(crate) fn reference(text: &str, data: &str) -> Result<Option<JValue>, String> {
    let ast = jsonata_core::parser::parse(text).map_err(|error| error.to_string())?;
    let data = parse(data);
    let options = EvaluatorOptions {
        max_sequence_length: Some(100_000),
        timeout_ms: Some(REFERENCE_MILLIS_MAX),
        ..EvaluatorOptions::default()
    };
    match Evaluator::with_options(Context::new(), options).evaluate(&ast, &data) {
        Err(error) => Err(error.to_string()),
        Ok(JValue::Undefined) => Ok(None),
        Ok(value) => Ok(Some(value)),
    }
}

/// JSON text as a value of the library, whose own reader does not round every number exactly.
///
/// # Panics
///
/// If it is no JSON.
pub(crate) fn parse(json: &str) -> JValue {
    let (mut doc, constants) = (Doc::new(), Doc::new());
    let val = doc.ingest(json.as_bytes()).expect("data is JSON");
    let values = Values {
        doc: &doc,
        constants: &constants,
    };
    convert(values, val)
}

fn convert(values: Values<'_>, val: Val) -> JValue {
    match values.kind(val) {
        Kind::Null => JValue::Null,
        Kind::False => JValue::Bool(false),
        Kind::True => JValue::Bool(true),
        Kind::Number => JValue::Number(values.as_f64(val).expect("it is a number")),
        Kind::String => JValue::string(values.string(val).expect("it is a string")),
        Kind::Array => JValue::array(
            values
                .elements(val)
                .map(|element| convert(values, element))
                .collect(),
        ),
        Kind::Object => JValue::object(
            values
                .members(val)
                .map(|(key, member)| {
                    let name = unescape(values.key_text(key)).into_owned();
                    (name, convert(values, member))
                })
                .collect(),
        ),
    }
}

/// Equality of JSON text with a value, in which numbers are doubles and members have an order.
pub(crate) fn same(json: &str, value: &JValue) -> bool {
    same_values(&parse(json), value)
}

fn same_values(a: &JValue, b: &JValue) -> bool {
    match (a, b) {
        (JValue::Number(a), JValue::Number(b)) => a == b,
        (JValue::Array(a), JValue::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same_values(a, b))
        }
        (JValue::Object(a), JValue::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b.iter())
                    .all(|((x, a), (y, b))| x == y && same_values(a, b))
        }
        (a, b) => a == b,
    }
}

/// What is wrong with a lowered expression's outcome, if anything is.
pub(crate) fn difference(text: &str, data: &str) -> Option<String> {
    // jsonata-core takes `$` for the name of a function there; jsonata-js says that it exists.
    if text.contains("$exists($)") || text.contains("$ ~> $exists()") {
        return None;
    }
    let Outcome::Value(ours) = lowered(text, Some(data), &[]) else {
        return None;
    };
    let theirs = reference(text, data);
    // Nobody knows what it would have said.
    if matches!(&theirs, Err(error) if error.contains("D1012")) {
        return None;
    }
    let agree = match (&ours, &theirs) {
        (Some(ours), Ok(Some(theirs))) => same(ours, theirs),
        (None, Ok(None)) => true,
        _ => false,
    };
    (!agree).then(|| {
        let theirs = theirs.map(|value| value.map(|value| value.to_string()));
        format!("{text}\n  over {data}\n  lowered:   {ours:?}\n  reference: {theirs:?}")
    })
}
