//! What `examples/` says comes out comes out.

use crate::support::{Ran, quickstep, root};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// `error` and `cause` of an envelope, or its output.
fn outcome(envelope: &Value) -> Value {
    let mut outcome = serde_json::Map::new();
    for name in ["output", "error", "cause"] {
        if let Some(value) = envelope.get(name) {
            outcome.insert(name.to_owned(), value.clone());
        }
    }
    outcome.into()
}

#[test]
fn test_cases() {
    let mut cases = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("MockConfigFile.json").exists() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
        for (case, expected) in json(&folder.join("expected.json")).as_object().unwrap() {
            let tasks = format!("{}#{case}", path("MockConfigFile.json"));
            let definition = path("definition.asl.json");
            let input = path("input.json");
            let Ran { out, err, .. } = quickstep(
                &[
                    "run",
                    "--quiet",
                    "--envelope",
                    "--type",
                    "standard",
                    "--time",
                    "virtual",
                    "--name",
                    name,
                    &definition,
                    "--input-file",
                    &input,
                    "--tasks",
                    &tasks,
                ],
                "",
            );
            let envelope: Value =
                serde_json::from_str(&out).unwrap_or_else(|_| panic!("{name} {err}"));
            assert_eq!(outcome(&envelope), *expected, "{name} {case}");
            cases += 1;
        }
    }
    assert!(cases >= 10, "{cases}");
}

/// Arguments that run an example's stream.
fn arguments(name: &str) -> Vec<String> {
    let folder = root().join("examples").join(name);
    let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
    let mut arguments: Vec<String> = ["run", "--quiet", "--time", "virtual", "--tasks"]
        .map(str::to_owned)
        .into();
    arguments.extend(["tasks.json", "definition.asl.json", "events.ndjson"].map(path));
    arguments
}

fn run(name: &str, more: &[&str]) -> Ran {
    let arguments = arguments(name);
    let all: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    quickstep(&all, "")
}

fn expected(name: &str, file: &str) -> String {
    fs::read_to_string(root().join("examples").join(name).join(file)).unwrap()
}

fn envelopes(name: &str) -> Vec<Value> {
    let Ran { out, .. } = run(name, &["--envelope"]);
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn streams() {
    for name in [
        "order-processing",
        "parallel-aggregation",
        "sequential",
        "try-catch-finally",
    ] {
        let outcomes: Vec<Value> = envelopes(name)
            .iter()
            .map(|envelope| match outcome(envelope) {
                Value::Object(mut outcome) if outcome.contains_key("output") => {
                    outcome.remove("output").unwrap()
                }
                failure => failure,
            })
            .collect();
        let expected: Vec<Value> = expected(name, "expected.ndjson")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(outcomes, expected, "{name}");
    }
}

#[test]
fn orders_to_the_byte() {
    let wanted = expected("orders", "expected.ndjson");
    for workers in ["1", "2"] {
        let Ran { out, err, .. } = run("orders", &["--workers", workers]);
        for (n, (got, wanted)) in out.lines().zip(wanted.lines()).enumerate() {
            assert_eq!(got, wanted, "output {n}\n{err}");
        }
        assert_eq!(out.lines().count(), wanted.lines().count(), "{err}");
    }
    let mut failures = envelopes("orders");
    failures.retain(|envelope| envelope["status"] != "SUCCEEDED");
    for envelope in &mut failures {
        let envelope = envelope.as_object_mut().unwrap();
        envelope.retain(|name, _| ["line", "error", "cause"].contains(&name.as_str()));
    }
    let expected: Vec<Value> = expected("orders", "failures.ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(failures, expected);
}
