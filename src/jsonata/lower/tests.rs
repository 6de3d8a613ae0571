//! Lowered expressions against jsonata-js's own cases, and against jsonata-core on random expressions and values.

use jsonata_core::evaluator::{Context, Evaluator, EvaluatorOptions};
use jsonata_core::value::JValue;
use serde_json::{Value, json};

use crate::internal::Expression;
use crate::value::{Doc, Values};

/// What became of an expression.
#[derive(Debug, PartialEq)]
enum Outcome {
    Value(Option<Value>),
    Refused(String),
    Bailed,
}

/// The lowered expression's value.
fn lowered(text: &str, data: Option<&Value>, bindings: &[(&str, &Value)]) -> Outcome {
    let names: Vec<&str> = bindings.iter().map(|(name, _)| *name).collect();
    let expression = match Expression::plain(text, &names) {
        Ok(expression) => expression,
        Err(reason) => return Outcome::Refused(reason),
    };
    let mut doc = Doc::new();
    let mut ingest = |value: &Value| doc.ingest(value.to_string().as_bytes()).unwrap();
    let variables: Vec<_> = bindings.iter().map(|(_, value)| ingest(value)).collect();
    let data = data.map(ingest);
    match expression.run(&mut doc, data, &variables) {
        Err(_) => Outcome::Bailed,
        Ok(value) => Outcome::Value(value.map(|value| {
            let values = Values {
                doc: &doc,
                constants: expression.constants(),
            };
            assert_eq!(values.size(value), values.to_json(value).len(), "{text}");
            serde_json::from_str(&values.to_json(value)).unwrap()
        })),
    }
}

/// jsonata-core's value of the expression; an error is its text.
fn reference(text: &str, data: Option<&Value>) -> Result<Option<Value>, String> {
    let ast = jsonata_core::parser::parse(text).map_err(|error| error.to_string())?;
    let data = match data {
        Some(data) => JValue::from_json_str(&data.to_string()).unwrap(),
        None => JValue::Undefined,
    };
    let options = EvaluatorOptions {
        max_sequence_length: Some(100_000),
        timeout_ms: Some(20_000),
        ..EvaluatorOptions::default()
    };
    let value = Evaluator::with_options(Context::new(), options).evaluate(&ast, &data);
    match value {
        Err(error) => Err(error.to_string()),
        Ok(JValue::Undefined) => Ok(None),
        Ok(value) => Ok(Some(serde_json::from_str(&value.to_json_string().unwrap()).unwrap())),
    }
}

/// Equality of JSON in which numbers are doubles.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn same_option(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Every case that is lowered and does not bail gives what jsonata-js gives.
#[test]
fn cases_of_the_suite() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/jsonata");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (cases, datasets) = (read("cases.json"), read("datasets.json"));
    let datasets: Value = serde_json::from_str(&datasets).unwrap();
    // A few hold half a character, which serde_json refuses.
    let cases: Vec<&serde_json::value::RawValue> = serde_json::from_str(&cases).unwrap();
    let cases = cases
        .iter()
        .filter_map(|case| serde_json::from_str::<Value>(case.get()).ok());
    let (mut values, mut bailed, mut wrong) = (0, 0, Vec::new());
    let mut reasons = std::collections::BTreeMap::<String, usize>::new();
    for case in cases {
        let text = case["expr"].as_str().unwrap();
        let data = case.get("data").or_else(|| {
            let name = case.get("dataset")?.as_str()?;
            datasets.get(name)
        });
        let bindings: Vec<(&str, &Value)> = case["bindings"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        match lowered(text, data, &bindings) {
            Outcome::Refused(reason) => *reasons.entry(reason).or_default() += 1,
            Outcome::Bailed => bailed += 1,
            Outcome::Value(value) => {
                values += 1;
                let expected = case.get("result");
                let is_value = expected.is_some() || case["undefinedResult"] == json!(true);
                if !is_value || !same_option(value.as_ref(), expected) {
                    wrong.push(format!("{}: {text}\n    {value:?}\n    {expected:?}", case["id"]));
                }
            }
        }
    }
    eprintln!("{values} values, {bailed} bailed");
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for (r, n) in reasons.iter().take(50) { eprintln!("{n} {r}"); }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(values > 700, "{values} of the cases are evaluated");
}
