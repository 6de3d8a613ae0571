//! Intrinsic calls from arbitrary text, evaluated over a fixed document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quickstep::intrinsic::{Argument, Call, Random, call, parse};
use quickstep::value::{Doc, Val, Values};
use serde_json::value::RawValue;

const DOCUMENT: &str = r#"{"a":[1,2,2,"x",null,{"k":[]}],"o":{"a":1,"b":{"c":2}},"p":{"b":3},"s":"a,b;c","n":2,"f":-1.5,"t":true,"z":null,"j":"{\"x\":[1,2]}","b":"w6k=","big":1e400}"#;

/// Evaluates as the interpreter does: arguments first, innermost first. `None` if a path finds nothing or a call fails.
fn evaluate(
    expression: &Call,
    doc: &mut Doc,
    constants: &Doc,
    random: &mut Random,
    root: Val,
) -> Option<Val> {
    let mut arguments = Vec::new();
    for argument in &expression.arguments {
        arguments.push(match argument {
            Argument::Path(path) => path.eval(doc, constants, root).ok()?,
            Argument::String(text) => doc.push_string(text),
            Argument::Number(text) => doc.push_number_text(text),
            Argument::Bool(value) => Val::bool(*value),
            Argument::Null => Val::NULL,
            Argument::Call(inner) => evaluate(inner, doc, constants, random, root)?,
        });
    }
    call(
        expression.function,
        &expression.text,
        &arguments,
        doc,
        constants,
        random,
    )
    .ok()
}

fuzz_target!(|text: &str| {
    let expression = match parse(text) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(error.offset <= text.len(), "{error:?}");
            return;
        }
    };
    assert_eq!(
        parse(&expression.text).as_ref(),
        Ok(&expression),
        "its own text reads differently"
    );

    let constants = Doc::new();
    let results = [7, 7].map(|seed| {
        let mut doc = Doc::new();
        let root = doc.ingest(DOCUMENT.as_bytes()).expect("a good document");
        let mut random = Random::new(seed);
        let val = evaluate(&expression, &mut doc, &constants, &mut random, root)?;
        let values = Values {
            doc: &doc,
            constants: &constants,
        };
        let json = values.to_json(val);
        assert_eq!(values.size(val), json.len());
        assert!(
            serde_json::from_str::<&RawValue>(&json).is_ok(),
            "not JSON: {json}"
        );
        Some(json)
    });
    assert_eq!(results[0], results[1], "one seed, two results");
});
