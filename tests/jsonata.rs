//! JSONata's own test suite, version 2.0.6 (`corpus/jsonata`): every case is one test, which
//! evaluates it with lowering and without. `exceptions.txt` lists the cases
//! whose outcome is another one; one of them that passes fails the run, and so does an entry that names no case.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use quickstep::internal::Bench;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
struct Case {
    id: String,
    expr: String,
    dataset: Option<String>,
    #[serde(default, deserialize_with = "present")]
    data: Option<Value>,
    #[serde(default)]
    bindings: serde_json::Map<String, Value>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    #[serde(default, rename = "undefinedResult")]
    undefined: bool,
    code: Option<String>,
    error: Option<Value>,
    #[serde(default)]
    unordered: bool,
}

/// `null` is a value, not an absent one.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/jsonata");
    let cases: Vec<Case> = read(&corpus.join("cases.json"));
    let datasets: BTreeMap<String, Value> = read(&corpus.join("datasets.json"));
    let datasets: BTreeMap<String, String> = datasets
        .into_iter()
        .map(|(name, data)| (name, data.to_string()))
        .collect();
    let datasets = Arc::new(datasets);
    let mut exceptions = exceptions(&corpus.join("exceptions.txt"));
    let mut trials = Vec::new();
    for case in cases {
        let exception = exceptions.remove(&case.id);
        let kind = if exception.is_some() { "exception" } else { "" };
        let (datasets, name) = (datasets.clone(), case.id.clone());
        let run = move || match (case.run_twice(&datasets), exception) {
            (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
            (Err(differences), None) => Err(Failed::from(differences)),
            (Ok(()), Some(_)) => Err("passes, though exceptions.txt lists it".into()),
        };
        trials.push(Trial::test(name, run).with_kind(kind));
    }
    for (id, _) in exceptions {
        trials.push(Trial::test(id, || {
            Err("exceptions.txt names no case".into())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap();
    // The lone surrogates of two expressions have no place in Rust's strings.
    serde_json::from_str(&text.replace("\\ud800", "\\ufffd")).unwrap()
}

/// `id<tab>reason` in every line but empty ones and comments.
fn exceptions(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (id, reason) = line
                .split_once('\t')
                .unwrap_or_else(|| panic!("{line}: no reason"));
            (id.to_owned(), reason.to_owned())
        })
        .collect()
}

impl Case {
    /// With lowering and without: both give what is expected, and the same.
    fn run_twice(&self, datasets: &BTreeMap<String, String>) -> Result<(), String> {
        let lowered = self.bench(datasets)?.plain(&self.expr);
        let slow = self.bench(datasets)?.without_lowering().plain(&self.expr);
        self.check(&lowered)?;
        self.check(&slow)
            .map_err(|difference| format!("without lowering: {difference}"))?;
        // What is random, and the order of members that have none, differ from one evaluation to the other.
        if lowered != slow && !self.unordered && !self.expr.contains("$random") {
            return Err(format!(
                "{}\n    lowered: {lowered:?}\n    slow path: {slow:?}",
                self.expr
            ));
        }
        Ok(())
    }

    fn bench(&self, datasets: &BTreeMap<String, String>) -> Result<Bench, String> {
        let data = match (&self.data, &self.dataset) {
            (Some(data), _) => Some(data.to_string()),
            (None, Some(name)) => Some(datasets[name].clone()),
            (None, None) => None,
        };
        let bindings: Vec<(&str, String)> = self
            .bindings
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_string()))
            .collect();
        let bindings: Vec<(&str, &str)> = bindings
            .iter()
            .map(|(name, json)| (*name, json.as_str()))
            .collect();
        Bench::new(data.as_deref(), &bindings)
    }

    fn check(&self, ours: &Result<Option<String>, String>) -> Result<(), String> {
        if self.matches(ours) {
            return Ok(());
        }
        let expected = match (&self.result, &self.code, &self.error) {
            (Some(result), _, _) => result.to_string(),
            (None, Some(code), _) => code.clone(),
            (None, None, Some(error)) => error.to_string(),
            (None, None, None) => "undefined".to_owned(),
        };
        Err(format!(
            "{}\n    expected: {expected}\n    ours:     {ours:?}",
            self.expr
        ))
    }

    fn matches(&self, ours: &Result<Option<String>, String>) -> bool {
        match ours {
            Ok(None) => self.undefined,
            Ok(Some(json)) => {
                let ours: Value = serde_json::from_str(json).unwrap();
                self.result
                    .as_ref()
                    .is_some_and(|result| self.equal(result, &ours))
            }
            Err(message) => {
                let code = self
                    .code
                    .as_deref()
                    .or_else(|| self.error.as_ref()?["code"].as_str());
                match code {
                    // What AWS words in its own way has no code.
                    Some("D2014") => message.starts_with("Expression evaluation memory limit"),
                    Some("U1001") => {
                        message.starts_with("Stack overflow")
                            || message.starts_with("Expression evaluation timeout")
                    }
                    Some(code) => message.starts_with(code),
                    None => false,
                }
            }
        }
    }

    fn equal(&self, expected: &Value, ours: &Value) -> bool {
        match (expected, ours) {
            (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                if self.unordered {
                    a.iter()
                        .all(|item| b.iter().any(|other| self.equal(item, other)))
                } else {
                    a.iter().zip(b).all(|(a, b)| self.equal(a, b))
                }
            }
            (Value::Object(a), Value::Object(b)) if a.len() == b.len() => a
                .iter()
                .all(|(name, a)| b.get(name).is_some_and(|b| self.equal(a, b))),
            (a, b) => a == b,
        }
    }
}
