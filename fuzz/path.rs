//! Paths from arbitrary text, evaluated over a fixed document or over one that the input brings along.
//!
//! The first line is the path, what follows is the document if it is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quickstep::path::{Path, ReferencePath};
use quickstep::value::{Doc, Values};
use serde_json::value::RawValue;

const DOCUMENT: &str = r#"{"a":{"b":[1,2.5,{"c":null,"d d":"é\n"}],"c":true},"items":[{"sku":"A","qty":3,"price":1.5,"tags":["x","y"]},{"sku":"B","qty":0,"price":1e2},{"sku":"C"}],"":"empty","a.b":[[],[[1]],{}],"n":-0,"s":"text"}"#;

fuzz_target!(|input: &str| {
    let (text, json) = input.split_once('\n').unwrap_or((input, ""));
    let reference = ReferencePath::parse(text);
    let path = match Path::parse(text) {
        Ok(path) => path,
        Err(error) => {
            assert!(error.offset <= text.len(), "{error:?}");
            assert!(
                reference.is_err(),
                "a reference path that is no path: {text}"
            );
            return;
        }
    };
    assert_eq!(path.text(), text);
    assert_eq!(path.is_definite(), path.segments().is_some());
    if let Ok(reference) = &reference {
        assert_eq!(Some(reference.segments()), path.segments());
    }
    let parsed_again = Path::parse(path.text()).expect("its own text");
    assert_eq!(parsed_again, path);

    let constants = Doc::new();
    let mut doc = Doc::new();
    let root = match doc.ingest(json.as_bytes()) {
        Ok(root) => root,
        Err(_) => doc.ingest(DOCUMENT.as_bytes()).expect("a good document"),
    };
    let before = Values {
        doc: &doc,
        constants: &constants,
    }
    .to_json(root);
    let found = path.find(
        Values {
            doc: &doc,
            constants: &constants,
        },
        root,
    );
    let evaluated = path.eval(&mut doc, &constants, root);
    let values = Values {
        doc: &doc,
        constants: &constants,
    };
    if path.is_definite() {
        assert_eq!(
            found,
            evaluated.as_ref().ok().copied(),
            "find and eval differ"
        );
    }
    if let Ok(val) = evaluated {
        let json = values.to_json(val);
        assert_eq!(values.size(val), json.len());
        assert!(
            serde_json::from_str::<&RawValue>(&json).is_ok(),
            "not JSON: {json}"
        );
    }
    assert_eq!(values.to_json(root), before, "the document has changed");
});
