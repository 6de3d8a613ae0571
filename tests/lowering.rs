//! Lowered expressions against the cases of jsonata-js, and against jsonata-core on random expressions and values.

#[path = "lowering/grammar.rs"]
mod grammar;
#[path = "lowering/oracle.rs"]
mod oracle;
#[path = "lowering/results.rs"]
mod results;

use grammar::Source;
use oracle::{Outcome, difference, lowered, parse};
use proptest::prelude::*;
use quickstep::internal::Expression;
use quickstep::value::{Doc, Values};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A case of jsonata-js's suite.
#[derive(Deserialize)]
struct Case<'a> {
    id: String,
    #[serde(borrow)]
    expr: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    dataset: Option<String>,
    #[serde(default)]
    bindings: std::collections::BTreeMap<String, Box<RawValue>>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default, rename = "undefinedResult")]
    is_undefined: bool,
}

/// A member that is there, though it be `null`.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// What fuzzing has found.
#[test]
fn expressions_that_differed_once() {
    for text in [
        // A function is given a sequence of one item that no variable has unwrapped.
        r#"$map(($f := function($p) { $map("a", function($v) { "b" }) }; $map([1..3], $f)), $uppercase)"#,
        r#"$reduce(($f := function($p) { $map("a", function($v) { "b" }) }; $map([1..3], $f)), $append)"#,
    ] {
        assert_eq!(difference(text, "{}"), None, "{text}");
    }
}

/// Every case that is lowered and does not bail gives what jsonata-js gives.
#[test]
fn cases_of_the_suite() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/jsonata");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (cases, datasets) = (read("cases.json"), read("datasets.json"));
    let datasets: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(&datasets).unwrap();
    let cases: Vec<Case<'_>> = serde_json::from_str(&cases).unwrap();
    let (mut values, mut wrong) = (0, Vec::new());
    for case in &cases {
        // A few hold half a character, which a Rust string cannot.
        let Ok(text) = serde_json::from_str::<String>(case.expr.get()) else {
            continue;
        };
        let dataset = case.dataset.as_ref().map(|name| datasets[name]);
        let data = case.data.or(dataset).map(RawValue::get);
        let bindings: Vec<(String, String)> = case
            .bindings
            .iter()
            .map(|(name, value)| (name.clone(), value.get().to_owned()))
            .collect();
        match lowered(&text, data, &bindings) {
            Outcome::Refused(_) | Outcome::Bailed => {}
            Outcome::Value(value) => {
                values += 1;
                let agrees = match (&value, case.result) {
                    // jsonata-js puts names that are numbers first.
                    (Some(value), Some(expected)) => parse(value) == parse(expected.get()),
                    (None, None) => case.is_undefined,
                    _ => false,
                };
                if !agrees {
                    let (id, expected) = (&case.id, case.result);
                    wrong.push(format!("{id}: {text}\n    {value:?}\n    {expected:?}"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(values >= 700, "{values} of the cases are evaluated");
}

/// A condition of `$states.input` and literals, chosen by bytes.
fn condition(bytes: &mut impl Iterator<Item = u8>, depth: usize) -> String {
    let mut next = || usize::from(bytes.next().unwrap_or(0));
    let (choice, left, right, operator) = (next(), next(), next(), next());
    let member = |at: usize| {
        format!(
            "$states.input.{}",
            ["a", "b", "name", "a.b", "price"][at % 5]
        )
    };
    let operand = |at: usize| match at % 3 {
        0 => [
            "0", "1", "-0.5", "2.5", "1e300", "'ab c'", "''", "true", "false", "null",
        ][at / 3 % 10]
            .to_owned(),
        _ => member(at / 3),
    };
    match choice % 8 {
        0 if depth > 0 => format!("$not({})", condition(bytes, depth - 1)),
        1 if depth > 0 => {
            let left = condition(bytes, depth - 1);
            format!("({left}) and ({})", condition(bytes, depth - 1))
        }
        2 if depth > 0 => {
            let left = condition(bytes, depth - 1);
            format!("({left}) or ({})", condition(bytes, depth - 1))
        }
        3 => format!("$exists({})", member(left)),
        4 => member(left),
        _ => {
            let operator = ["=", "!=", "<", "<=", ">", ">="][operator % 6];
            format!("{} {operator} {}", operand(left), operand(right))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A condition that is tested without an evaluation is as an evaluation has it; the way there compares the two.
    #[test]
    fn random_conditions(choices in prop::collection::vec(any::<u8>(), 1..60), data in prop::collection::vec(any::<u8>(), 0..60)) {
        let text = condition(&mut choices.into_iter(), 3);
        let mut source = Source::new(&data);
        let [a, b, name] = [2, 1, 1].map(|depth| source.value(depth));
        let data = format!(r#"{{"a":{a},"b":{b},"name":{name}}}"#);
        let expression = Expression::aws(&text, &[]).unwrap();
        let mut doc = Doc::new();
        let input = doc.ingest(data.as_bytes()).unwrap();
        let tested = expression.test(&doc, input);
        let evaluated = match expression.run(&mut doc, Some(input), &[]) {
            Ok(Some(value)) => {
                let constants = expression.constants();
                Some(Values { doc: &doc, constants }.to_json(value))
            }
            Ok(None) | Err(_) => None,
        };
        if let Some(tested) = tested {
            prop_assert_eq!(evaluated, Some(tested.to_string()), "{} over {}", text, data);
        }
    }

    /// A lowered expression gives what jsonata-core gives, or bails.
    #[test]
    fn random_expressions(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        let mut source = Source::new(&bytes);
        let text = source.expression(3);
        let data = source.value(4);
        if let Some(difference) = difference(&text, &data) {
            prop_assert!(false, "{}", difference);
        }
    }
}
