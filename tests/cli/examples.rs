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

#[test]
fn streams() {
    for name in [
        "order-processing",
        "parallel-aggregation",
        "sequential",
        "try-catch-finally",
        "orders",
    ] {
        let folder = root().join("examples").join(name);
        let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
        let expected = fs::read_to_string(path("expected.ndjson")).unwrap();
        let definition = path("definition.asl.json");
        let (events, tasks) = (path("events.ndjson"), path("tasks.json"));
        let fixed = [
            "run",
            "--quiet",
            "--time",
            "virtual",
            &definition,
            &events,
            "--tasks",
            &tasks,
        ];
        for workers in ["1", "2"] {
            let Ran { out, err, .. } =
                quickstep(&[&fixed[..], &["--workers", workers]].concat(), "");
            for (n, (got, wanted)) in out.lines().zip(expected.lines()).enumerate() {
                assert_eq!(got, wanted, "{name}, output {n}\n{err}");
            }
            assert_eq!(
                out.lines().count(),
                expected.lines().count(),
                "{name}\n{err}"
            );
        }
        if !Path::new(&path("failures.ndjson")).exists() {
            continue;
        }
        let Ran { out, .. } = quickstep(&[&fixed[..], &["--envelope"]].concat(), "");
        let failures: Vec<Value> = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|envelope| envelope["status"] != "SUCCEEDED")
            .map(|envelope| serde_json::json!({"line": envelope["line"], "error": envelope["error"], "cause": envelope["cause"]}))
            .collect();
        let expected = fs::read_to_string(path("failures.ndjson")).unwrap();
        let expected: Vec<Value> = expected
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(failures, expected, "{name}");
    }
}
