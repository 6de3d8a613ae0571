//! Runs every definition of the corpus through `asl::read`.
//!
//! `corpus/aws`: what AWS accepted is accepted here, what it refused is refused, with its code, place and text.
//! `corpus/diagnostics`: our own cases, one file each: a definition and what is reported about it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use quickstep::asl::{
    Code, DEFINITION_BYTES_MAX, MachineType, Reading, Severity, aws_message, read, unsupported,
};
use serde_json::{Value, json};

/// Recorded cases that differ from AWS, by a part of their id, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

fn corpus(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(directory);
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    files
}

fn cases() -> Vec<(String, Value)> {
    let mut cases = Vec::new();
    for path in corpus("aws") {
        let file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for case in file.as_array().unwrap() {
            let id = case["id"].as_str().unwrap().to_owned();
            if !EXCEPTIONS.iter().any(|(part, _)| id.contains(part)) {
                cases.push((id, case.clone()));
            }
        }
    }
    cases
}

fn text_of(case: &Value) -> Option<String> {
    match (&case["definition"], &case["definition_text"]) {
        (Value::Null, Value::String(text)) => Some(text.clone()),
        (Value::Null, _) => None,
        (definition, _) => Some(definition.to_string()),
    }
}

fn machine_type(text: &Value) -> MachineType {
    match text.as_str() {
        None | Some("STANDARD") => MachineType::Standard,
        Some("EXPRESS") => MachineType::Express,
        Some(other) => panic!("type {other}"),
    }
}

fn errors(reading: &Reading) -> Vec<String> {
    reading
        .diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(ToString::to_string)
        .collect()
}

#[test]
fn what_aws_ran_is_accepted() {
    let mut count = 0;
    let mut failures = Vec::new();
    for (id, case) in cases() {
        if case["kind"] != "execution" {
            continue;
        }
        let text = text_of(&case).unwrap();
        let reading = read(&text, machine_type(&case["type"]));
        count += 1;
        let errors = errors(&reading);
        if !errors.is_empty() {
            failures.push(format!("{id}: {errors:#?}"));
        }
        assert_eq!(reading.definition.is_none(), !errors.is_empty(), "{id}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(count, 625);
}

/// Definitions in the middle of transcripts: those of a call that succeeded.
#[test]
fn what_aws_created_is_accepted() {
    let mut count = 0;
    for (id, case) in cases() {
        for step in case["steps"].as_array().into_iter().flatten() {
            let params = &step["params"];
            let Value::String(text) = &params["definition"] else {
                continue;
            };
            let message = step["expect"]["exception"]["message"].as_str();
            if step["op"] != "TestState"
                && !message.is_some_and(|m| m.contains("Invalid State Machine Definition"))
            {
                let reading = read(text, machine_type(&params["type"]));
                assert_eq!(errors(&reading), [""; 0], "{id}");
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn what_aws_refused_is_refused_with_its_text() {
    let mut count = 0;
    for (id, case) in cases() {
        let message = case["expect"]["exception"]["message"].as_str();
        let Some(message) = message.filter(|m| m.starts_with("Invalid State Machine Definition"))
        else {
            continue;
        };
        let text = text_of(&case).unwrap();
        let reading = read(&text, machine_type(&case["params"]["type"]));
        // The recordings hide the partition of ARNs.
        let expected = message.replace("<partition>", "aws");
        assert_eq!(aws_message(&reading.diagnostics), expected, "{id}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn what_aws_validated_has_its_diagnostics() {
    let mut count = 0;
    for (id, case) in cases() {
        if case["op"] != "ValidateStateMachineDefinition" {
            continue;
        }
        let text = text_of(&case).unwrap();
        let reading = read(&text, machine_type(&case["params"]["type"]));
        let diagnostics: Vec<Value> = reading
            .diagnostics
            .iter()
            .map(|d| {
                let severity = d.severity.as_str().to_uppercase();
                let mut diagnostic =
                    json!({"code": d.code.as_str(), "message": d.message, "severity": severity});
                if !d.pointer.is_empty() {
                    diagnostic["location"] = json!(d.pointer);
                }
                diagnostic
            })
            .collect();
        assert_eq!(json!(diagnostics), case["expect"]["diagnostics"], "{id}");
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

/// `TestState` takes a lone state as well; its transitions then lead nowhere.
#[test]
fn the_states_that_aws_tested_are_accepted() {
    let mut count = 0;
    for (id, case) in cases() {
        let refused = case["expect"]["exception"]["code"] == "InvalidDefinition";
        if case["kind"] != "test_state" || refused {
            continue;
        }
        let definition = &case["definition"];
        let lone = definition["States"].is_null();
        let text = if lone {
            json!({"StartAt": "S", "States": {"S": definition}}).to_string()
        } else {
            definition.to_string()
        };
        let problems: Vec<String> = read(&text, MachineType::Standard)
            .diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .filter(|d| {
                !(lone
                    && matches!(
                        d.code,
                        Code::MissingTransitionTarget | Code::MissingEndState
                    ))
            })
            .map(ToString::to_string)
            .collect();
        assert_eq!(problems, [""; 0], "{id}\n{text}");
        count += 1;
    }
    assert!(count > 100, "{count}");
}

#[test]
fn our_own_cases() {
    let mut failures = String::new();
    for path in corpus("diagnostics") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let case: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let reading = read(&text_of(&case).unwrap(), machine_type(&case["type"]));
        let found: Vec<Value> = reading
            .diagnostics
            .iter()
            .zip(
                case["diagnostics"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .chain(std::iter::repeat(&Value::Null)),
            )
            .map(|(d, expected)| {
                let mut found = json!({
                    "code": d.code.as_str(),
                    "pointer": d.pointer,
                    "line": d.line,
                    "column": d.column,
                    "message": d.message,
                    "suggestion": d.suggestion,
                });
                if let (Value::Object(found), Value::Object(expected)) = (&mut found, expected) {
                    found.retain(|name, _| expected.contains_key(name));
                }
                found
            })
            .collect();
        if json!(found) != case["diagnostics"] {
            failures += &format!("{name}: expected {:#}, found:\n", case["diagnostics"]);
            for diagnostic in &reading.diagnostics {
                failures += &format!("  {diagnostic}\n");
            }
        }
        let refused = reading
            .diagnostics
            .iter()
            .any(|d| d.severity == Severity::Error);
        assert_eq!(reading.definition.is_none(), refused, "{name}");
        if let Some(expected) = case.get("unsupported") {
            let found: Vec<Value> = unsupported(&reading.definition.unwrap())
                .iter()
                .map(|d| json!({"code": d.code.as_str(), "pointer": d.pointer, "line": d.line, "column": d.column}))
                .collect();
            assert_eq!(&json!(found), expected, "{name}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The largest definition, made of as many states as fit, each with several problems.
#[test]
fn a_megabyte_of_problems_takes_linear_time() {
    let mut states = Vec::new();
    let mut length = 0;
    for i in 0.. {
        let state = format!(
            "\"state {i}\":{{\"Type\":\"Pass\",\"Nxt\":\"x\",\"Next\":\"stat {i}\",\"ResultPth\":1}}"
        );
        length += state.len() + 1;
        if length > DEFINITION_BYTES_MAX - 100 {
            break;
        }
        states.push(state);
    }
    assert!(states.len() > 10_000);
    let text = format!(
        "{{\"StartAt\":\"state 0\",\"States\":{{{}}}}}",
        states.join(",")
    );
    let reading = read(&text, MachineType::Standard);
    assert_eq!(reading.diagnostics.len(), 10_001);
    assert_eq!(reading.diagnostics[10_000].code, Code::TooManyProblems);
}

#[test]
fn a_megabyte_of_states_is_read() {
    let count = 15_000;
    let mut states: Vec<String> = (0..count)
        .map(|i| format!("\"s{i}\":{{\"Type\":\"Pass\",\"Next\":\"s{}\"}}", i + 1))
        .collect();
    states.push(format!("\"s{count}\":{{\"Type\":\"Succeed\"}}"));
    let text = format!("{{\"StartAt\":\"s0\",\"States\":{{{}}}}}", states.join(","));
    let reading = read(&text, MachineType::Express);
    assert_eq!(reading.diagnostics, []);
    assert_eq!(reading.definition.unwrap().scope.states.len(), count + 1);
    let large = format!("{text}{}", " ".repeat(DEFINITION_BYTES_MAX - text.len()));
    assert!(read(&large, MachineType::Express).definition.is_some());
    let larger = format!("{large} ");
    let diagnostics = read(&larger, MachineType::Express).diagnostics;
    assert_eq!(diagnostics[0].code, Code::DefinitionTooLarge);
}

/// Everything that nests, as deep as the reader lets it, on a test's small stack.
#[test]
fn deep_definitions_are_read() {
    let pass = r#"{"Type":"Pass","End":true}"#;
    let mut condition = r#"{"Variable":"$.a","IsNull":true}"#.to_owned();
    let mut template = r#"{"a.$":"$.a"}"#.to_owned();
    for _ in 0..190 {
        condition = format!(r#"{{"Not":{condition}}}"#);
        template = format!(r#"{{"a":{template}}}"#);
    }
    let rule = condition.replacen('{', r#"{"Next":"T","#, 1);
    let mut scope = format!(
        r#"{{"StartAt":"C","States":{{"C":{{"Type":"Choice","Choices":[{rule}]}},"T":{pass}}}}}"#
    );
    assert_eq!(errors(&read(&scope, MachineType::Express)), [""; 0]);
    scope = format!(
        r#"{{"StartAt":"T","States":{{"T":{{"Type":"Pass","Parameters":{template},"End":true}}}}}}"#
    );
    assert_eq!(errors(&read(&scope, MachineType::Express)), [""; 0]);
    scope = format!(r#"{{"StartAt":"P","States":{{"P":{pass}}}}}"#);
    for i in 0..48 {
        scope = format!(
            r#"{{"StartAt":"{i}","States":{{"{i}":{{"Type":"Parallel","Branches":[{scope}],"End":true}}}}}}"#
        );
    }
    let reading = read(&scope, MachineType::Express);
    assert_eq!(errors(&reading), [""; 0]);
    assert!(unsupported(&reading.definition.unwrap()).is_empty());
}

/// Long pointers, each of which a problem repeats.
#[test]
fn deep_problems_are_read() {
    let mut states: Vec<String> = (0..12_000)
        .map(|i| format!(r#""s{i}":{{"Type":"Pass","Next":"{i}","x":1,"Resource":"{i}"}}"#))
        .collect();
    states.push(r#""s":{"Type":"Succeed"}"#.to_owned());
    let mut scope = format!(r#"{{"StartAt":"s","States":{{{}}}}}"#, states.join(","));
    for i in 0..60 {
        let name = format!("{i}{}", "n".repeat(70));
        scope = format!(
            r#"{{"StartAt":"{name}","States":{{"{name}":{{"Type":"Map","ItemProcessor":{scope},"End":true}}}}}}"#
        );
    }
    assert!(scope.len() < DEFINITION_BYTES_MAX);
    assert_eq!(read(&scope, MachineType::Express).diagnostics.len(), 10_001);
}

/// Any JSON built of the language's own words.
fn jsonish() -> impl Strategy<Value = Value> {
    let words = [
        "Type",
        "Pass",
        "Task",
        "Map",
        "Parallel",
        "Choice",
        "Wait",
        "Next",
        "End",
        "States",
        "StartAt",
        "A",
        "Resource",
        "Branches",
        "ItemProcessor",
        "Choices",
        "And",
        "Not",
        "Variable",
        "IsNull",
        "$.a",
        "x.$",
        "States.Format('{}', $.a)",
        "Assign",
        "Retry",
        "Catch",
        "ErrorEquals",
        "States.ALL",
        "Seconds",
        "ProcessorConfig",
        "Mode",
        "DISTRIBUTED",
        "ItemReader",
        "QueryLanguage",
        "JSONata",
        "Parameters",
        "é\n",
    ];
    let word = prop::sample::select(words.to_vec());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..8).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(n, v)| (n.to_owned(), v))
                        .collect(),
                )
            }),
        ]
    })
}

fn state_of(kind: &str, fields: Value) -> Value {
    let mut state = json!({"Type": kind});
    if let (Value::Object(state), Value::Object(fields)) = (&mut state, fields) {
        for (name, value) in fields {
            state.entry(name).or_insert(value);
        }
    }
    json!({"StartAt": "A", "States": {"A": state}})
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let reading = read(&text, MachineType::Express);
        for d in &reading.diagnostics {
            prop_assert!(text.get(d.span.clone()).is_some());
        }
    }

    #[test]
    fn no_json_makes_it_panic(
        kind in prop::sample::select(vec!["Pass", "Task", "Map", "Parallel", "Choice", "Wait", "Succeed", "Fail"]),
        fields in jsonish(),
    ) {
        let text = state_of(kind, fields).to_string();
        let reading = read(&text, MachineType::Standard);
        for d in &reading.diagnostics {
            prop_assert!(text.get(d.span.clone()).is_some());
        }
        let refused = reading.diagnostics.iter().any(|d| d.severity == Severity::Error);
        prop_assert_eq!(reading.definition.is_none(), refused);
    }

    #[test]
    fn cut_or_changed_definitions_do_not_make_it_panic(at in 0_usize..600, byte in any::<u8>()) {
        let text = include_str!("corpus/diagnostics/distributed-map-in-full.json");
        let mut bytes = text.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = read(text, MachineType::Standard);
        }
        if let Some(cut) = text.get(..at) {
            prop_assert!(read(cut, MachineType::Standard).definition.is_none());
        }
    }
}
