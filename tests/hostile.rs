//! Expressions that mean harm (`corpus/jsonata/hostile.json`), or their author's mistake: each ends with the right error,
//! and within its memory. Every one runs in a process of its own, whose peak is read from the system; how long it took is
//! printed, not asserted.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]
#![expect(clippy::print_stdout, reason = "a child tells its parent")]
#![expect(
    clippy::disallowed_methods,
    reason = "it tells how long an evaluation takes"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use libtest_mimic::{Arguments, Trial};
use quickstep::internal::Bench;
use serde::Deserialize;
use serde_json::Value;

/// What an evaluation may take beyond what the process has before it.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

const OUT_OF_TIME: &str = "error Expression evaluation timeout";
const OUT_OF_MEMORY: &str = "error Expression evaluation memory limit exceeded";

/// The argument that makes this binary evaluate one expression and tell of it.
const CHILD: &str = "--evaluate";

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    expression: String,
    /// `memory`, `stack` or `time`: AWS's error for it; `any`: some error; `refused`: it is no expression; or its value.
    expect: Value,
}

fn cases() -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/jsonata/hostile.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(CHILD) {
        let index: usize = arguments.next().unwrap().parse().unwrap();
        evaluate(&cases()[index]);
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let trials = cases()
        .into_iter()
        .enumerate()
        .map(|(index, case)| Trial::test(case.name.clone(), move || Ok(check(index, &case)?)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// In the child: evaluates, and prints peak memory, time and outcome.
fn evaluate(case: &Case) {
    let mut bench = Bench::new(Some("{}"), &[]).unwrap();
    let warm = bench.aws("$string([1, 2] & 'a')");
    assert!(warm.is_ok(), "{warm:?}");
    let (before, started) = (peak_kib(), Instant::now());
    let outcome = bench.aws(&case.expression);
    let millis = started.elapsed().as_millis();
    let outcome = match outcome {
        Ok(Some(json)) => format!("value {json}"),
        Ok(None) => "nothing".to_owned(),
        Err(error) => format!("error {error}"),
    };
    let kib = peak_kib().saturating_sub(before);
    println!(
        "{kib} {millis} {}",
        outcome.chars().take(300).collect::<String>()
    );
}

/// Most memory that the process has had so far.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| {
        line.trim().trim_end_matches(" kB").parse().unwrap()
    })
}

fn check(index: usize, case: &Case) -> Result<(), String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, &index.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "the process ended with {}: {stderr}",
            output.status
        ));
    }
    let mut words = text.trim_end().splitn(3, ' ');
    let mut number = || words.next().unwrap().parse::<u64>().unwrap();
    let (kib, millis) = (number(), number());
    let outcome = words.next().unwrap_or_default();
    eprintln!("{}: {kib} KiB, {millis} ms: {outcome:.100}", case.name);
    if kib > MEMORY_KIB_MAX {
        return Err(format!("took {kib} KiB: {outcome}"));
    }
    // Which of the two runs out first depends on the build and the machine.
    let ran_out = (case.expect == "memory" || case.expect == "time")
        && (outcome.starts_with(OUT_OF_TIME) || outcome.starts_with(OUT_OF_MEMORY));
    let expected = match &case.expect {
        Value::String(word) => match word.as_str() {
            "memory" => OUT_OF_MEMORY,
            "stack" => "error Stack overflow error",
            "time" => OUT_OF_TIME,
            "refused" | "parse" | "any" => "error ",
            other => return Err(format!("{other}?")),
        }
        .to_owned(),
        value => format!("value {value}"),
    };
    if ran_out || outcome.starts_with(&expected) {
        Ok(())
    } else {
        Err(format!("expected: {expected}\n    ours:     {outcome}"))
    }
}
