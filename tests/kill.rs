//! `kill -9` at random moments: what a durable engine has acknowledged ends at least once.
//!
//! The program starts itself as a child, which recovers what is unfinished, starts executions from several threads, and
//! writes a line as soon as a start is acknowledged. Its task notes execution and attempt in a ledger. The parent kills the
//! child after a random number of lines, again and again. In the end, every acknowledged execution must be in the ledger,
//! and no attempt twice. `QUICKSTEP_KILL_ROUNDS` says how often; 20 times unless it is set.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]
#![expect(clippy::print_stdout, reason = "its lines are what it reports")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use quickstep::engine::{
    DurabilityMode, Ended, Error, ErrorKind, JournalOptions, Recovered, ResultSink, StartRequest,
};
use quickstep::task::TaskRequest;
use quickstep::{Engine, StateMachine};

const THREADS: usize = 3;
const ROUNDS: u64 = 20;
/// Most lines after which the child is killed.
const LINES_MAX: u64 = 600;
const BATCH: usize = 5;

/// Some of the executions wait for a while, and so are often under way when the child is killed.
const DEFINITION: &str = r#"{"StartAt": "Kind", "States": {
    "Kind": {"Type": "Choice", "Choices": [{"Variable": "$.waits", "BooleanEquals": true, "Next": "Wait"}],
        "Default": "Work"},
    "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Work"},
    "Work": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:work", "End": true}}}"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, folder, round] = &arguments[..]
        && flag == "--child"
    {
        child(Path::new(folder), round);
        return ExitCode::SUCCESS;
    }
    let name = "acknowledged_executions_survive_kills";
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{name}: test");
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    println!("test {name} ... ok: {}", rounds());
    ExitCode::SUCCESS
}

fn machine() -> StateMachine {
    StateMachine::compile(DEFINITION).unwrap()
}

fn engine(folder: &Path) -> Engine {
    let ledger = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("ledger"))
        .unwrap();
    let note = move |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
        // One write for each line; the system keeps it when the process is killed.
        let key = request.values().to_json(request.input());
        let attempt = request.execution_attempt();
        let line = format!("{} {attempt} {key}\n", request.execution_name());
        (&ledger).write_all(line.as_bytes()).unwrap();
        response.extend_from_slice(b"null");
        Ok(())
    };
    // Segments change often.
    let options = JournalOptions {
        segment_bytes: 96 << 10,
        buffer_bytes: 16 << 10,
        ..JournalOptions::default()
    };
    Engine::builder()
        .workers(2)
        .task("arn:aws:lambda:*:function:work", note)
        .durability(DurabilityMode::Durable(folder.join("journal")))
        .journal_options(options)
        .build()
        .unwrap()
}

fn say(line: &str) {
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

struct Nowhere;

impl ResultSink for Nowhere {
    fn ended(&self, _: &Ended<'_>) {}

    fn refused(&self, line: u64, error: Error) {
        panic!("{line}: {error}");
    }
}

fn recover(engine: &Engine, machine: &StateMachine) -> Recovered {
    let recovered = engine.recover(&[machine]).unwrap();
    assert_eq!((recovered.unknown.len(), recovered.left), (0, 0));
    recovered
}

/// What is killed.
fn child(folder: &Path, round: &str) {
    let (engine, machine) = (engine(folder), machine());
    let recovered = recover(&engine, &machine).executions;
    assert!(recovered.iter().all(|execution| execution.attempt() > 1));
    say(&format!("recovered {}\n", recovered.len()));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, machine) = (&engine, &machine);
            scope.spawn(move || {
                for number in 0_usize.. {
                    let key = format!("{round}-{thread}-{number}");
                    let input = |i: usize| {
                        let waits = (number + i).is_multiple_of(8);
                        format!(r#"{{"key":"{key}-{i}","waits":{waits}}}"#)
                    };
                    let acknowledged = format!("acknowledged {key}-0\n");
                    // All ways of being told.
                    match number % 3 {
                        0 => {
                            let input = input(0);
                            let request = StartRequest::new(input.as_bytes()).name(&key);
                            engine.start(machine, request).unwrap();
                            say(&acknowledged);
                        }
                        1 => {
                            let input = input(0);
                            let acknowledge = move |result: Result<(), Error>| {
                                result.unwrap();
                                say(&acknowledged);
                            };
                            let request = StartRequest::new(input.as_bytes());
                            match engine.start_then(machine, request, acknowledge) {
                                // It does not wait for room: then this key is one that nobody acknowledges.
                                Err(error) if error.kind() == ErrorKind::Throttled => (),
                                started => drop(started.unwrap()),
                            }
                        }
                        _ => {
                            let inputs: Vec<String> = (0..BATCH).map(input).collect();
                            let batch = inputs.iter().map(String::as_bytes);
                            engine.start_batch(machine, batch, Nowhere).unwrap();
                            let lines = (0..BATCH).map(|i| format!("acknowledged {key}-{i}\n"));
                            say(&lines.collect::<String>());
                        }
                    }
                }
            });
        }
    });
}

/// Reproducible randomness.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// A child that does not outlive a test that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "how long the test is to last")]
fn rounds() -> String {
    let rounds = std::env::var("QUICKSTEP_KILL_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kill");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let mut random = Random(1);
    let (mut acknowledged, mut recovered) = (BTreeSet::new(), 0_u64);
    for round in 0..rounds {
        let child = Command::new(std::env::current_exe().unwrap())
            .arg("--child")
            .arg(&folder)
            .arg(round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        let mut output = BufReader::new(child.0.stdout.take().unwrap());
        let mut left = match random.below(10) {
            // Some live long enough for waits to end.
            0 => LINES_MAX * random.below(10),
            // Some do not live to see their recovery's end.
            1 => 0,
            _ => random.below(LINES_MAX),
        };
        let mut line = String::new();
        loop {
            if left == 0 {
                child.0.kill().unwrap();
            }
            left = left.wrapping_sub(1);
            line.clear();
            // What it has said before it was killed counts.
            if output.read_line(&mut line).unwrap() == 0 {
                break;
            }
            // Killed in the middle of it.
            let Some(line) = line.strip_suffix('\n') else {
                continue;
            };
            match line.split_once(' ').unwrap() {
                ("acknowledged", key) => assert!(acknowledged.insert(key.to_owned()), "{key}"),
                ("recovered", count) => recovered += count.parse::<u64>().unwrap(),
                _ => panic!("{line}"),
            }
        }
        let status = child.0.wait().unwrap();
        assert_eq!(
            status.code(),
            None,
            "round {round}: the child ended by itself: {status}"
        );
    }
    finish(&folder);
    let (executions, repeated) = check(&folder, &acknowledged);
    let _ = fs::remove_dir_all(&folder);
    format!(
        "{rounds} kills, {} executions acknowledged, {executions} ran, {recovered} recovered, {repeated} ran again",
        acknowledged.len()
    )
}

/// Lets everything end, and sees that there is nothing more to recover then.
fn finish(folder: &Path) {
    let (engine, machine) = (engine(folder), machine());
    let open = Arc::new(AtomicUsize::new(0));
    for execution in recover(&engine, &machine).executions {
        open.fetch_add(1, Ordering::SeqCst);
        let open = Arc::clone(&open);
        execution.then(move |result| {
            result.unwrap();
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
    let report = engine.shutdown(Duration::from_secs(120));
    assert_eq!((report.left, open.load(Ordering::SeqCst)), (0, 0));
    let journal = report.journal.unwrap();
    assert!(journal.unfinished == 0 && journal.is_clean, "{journal:?}");
    let engine = self::engine(folder);
    assert!(recover(&engine, &machine).executions.is_empty());
}

/// How many executions ran, and how many of them more than once.
fn check(folder: &Path, acknowledged: &BTreeSet<String>) -> (usize, usize) {
    let mut runs: BTreeMap<String, (String, BTreeSet<u32>)> = BTreeMap::new();
    for line in BufReader::new(File::open(folder.join("ledger")).unwrap()).lines() {
        let line = line.unwrap();
        let [name, attempt, input] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let key = input.split('"').nth(3).unwrap().to_owned();
        let (first, attempts) = runs
            .entry(key)
            .or_insert_with(|| (name.to_owned(), BTreeSet::new()));
        assert_eq!(first, name, "a later attempt has the name of the first");
        let is_new = attempts.insert(attempt.parse().unwrap());
        assert!(is_new, "an attempt ran twice: {line}");
    }
    for key in acknowledged {
        assert!(
            runs.contains_key(key),
            "{key} was acknowledged, and never ran"
        );
    }
    let repeated = runs.values().filter(|(_, attempts)| attempts.len() > 1);
    (runs.len(), repeated.count())
}
