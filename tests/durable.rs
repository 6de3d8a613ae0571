//! The system's own word that no acknowledgement precedes the sync of what it acknowledges.
//!
//! The program starts itself under strace. The child appends starts to a journal from several threads, and writes a line
//! to the standard output as soon as it is told that a start is durable. In the trace, the line must follow the end of an
//! `fdatasync` of the file that holds the start's bytes, which must have begun after these bytes were written.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]
#![expect(clippy::print_stdout, reason = "its lines are what is traced")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;

use quickstep::internal::journal::{FileStorage, Journal, Options, StartRecord};
use quickstep::stdx::Timestamp;

const PRODUCERS: usize = 4;
const STARTS: usize = 40;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, directory] = &arguments[..]
        && flag == "--child"
    {
        child(Path::new(directory));
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        println!("no_acknowledgement_before_its_sync: test");
        return ExitCode::SUCCESS;
    }
    if !cfg!(target_os = "linux") {
        println!("NOT RUN: strace is a tool of Linux");
        return ExitCode::SUCCESS;
    }
    let trace = traced();
    let acknowledged = check(&trace);
    assert_eq!(acknowledged, PRODUCERS * STARTS);
    broken_traces_are_found(&trace);
    println!("test no_acknowledgement_before_its_sync ... ok");
    ExitCode::SUCCESS
}

/// What is traced.
#[expect(clippy::disallowed_methods, reason = "the committer's clock")]
fn child(directory: &Path) {
    let storage = Arc::new(FileStorage::create(directory).unwrap());
    let options = Options {
        segment_bytes: 96 << 10,
        buffer_bytes: 16 << 10,
        ..Options::default()
    };
    let (journal, _) = Journal::open(storage, options).unwrap();
    let committer = {
        let journal = journal.clone();
        let origin = std::time::Instant::now();
        thread::spawn(move || {
            journal.run(&|| u64::try_from(origin.elapsed().as_nanos()).unwrap());
        })
    };
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..STARTS {
                    let name = format!("start-{producer}-{number};");
                    let ticket = journal.append_starts(&[record(&name)]).unwrap();
                    let say = move |result: Result<(), _>| {
                        result.unwrap();
                        // One write for each line.
                        let line = format!("acknowledged {name}\n");
                        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    };
                    // Both ways of being told.
                    if number % 2 == 0 {
                        say(ticket.wait());
                    } else {
                        ticket.on_durable(say);
                    }
                }
            });
        }
    });
    journal.close();
    committer.join().unwrap();
}

fn record(name: &str) -> StartRecord<'_> {
    StartRecord {
        machine: "machine",
        revision: 1,
        name,
        started_at: Timestamp::from_millis(1),
        seed: 1,
        attempt: 1,
        input: b"{}",
    }
}

fn traced() -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("durable");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let trace = folder.join("trace");
    let output = Command::new("strace")
        .args([
            "-f",
            "-s",
            "1000000",
            "-e",
            "trace=write,pwrite64,fdatasync",
        ])
        .arg("-o")
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .arg("--child")
        .arg(folder.join("journal"))
        .output()
        .unwrap_or_else(|error| {
            panic!("strace does not start ({error}): install it; scripts/test does so on Debian")
        });
    assert!(output.status.success(), "{output:?}");
    std::fs::read_to_string(trace).unwrap()
}

/// A call of the system, with the lines of the trace at which it has begun and ended.
#[derive(Debug)]
struct Call {
    name: String,
    text: String,
    begun: usize,
    ended: usize,
}

/// The calls of a trace; what other threads do in between splits a call into two lines.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let (thread, text) = text.split_once(' ').unwrap();
        let text = text.trim_start();
        if let Some(rest) = text.strip_prefix("<... ") {
            let at = open.iter().position(|(of, _)| *of == thread).unwrap();
            let (_, call) = open.swap_remove(at);
            assert!(rest.starts_with(&calls[call].name), "{text}");
            calls[call].ended = line;
            calls[call].text.push_str(rest);
            continue;
        }
        let Some((name, _)) = text.split_once('(') else {
            // Exits and signals.
            continue;
        };
        if text.ends_with("<unfinished ...>") {
            open.push((thread, calls.len()));
        }
        calls.push(Call {
            name: name.to_owned(),
            text: text.to_owned(),
            begun: line,
            ended: if text.ends_with("<unfinished ...>") {
                usize::MAX
            } else {
                line
            },
        });
    }
    calls
}

/// The number of the file that a call is about.
fn file(call: &Call) -> &str {
    let rest = &call.text[call.name.len() + 1..];
    &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap()]
}

/// How many acknowledgements there are; panics at one that is too early.
fn check(trace: &str) -> usize {
    let calls = calls(trace);
    let mut acknowledged = 0;
    for line in calls
        .iter()
        .filter(|call| call.text.starts_with("write(1, \"acknowledged "))
    {
        let name = line.text.split('"').nth(1).unwrap();
        let name = &name["acknowledged ".len()..=name.find(';').unwrap()];
        let synced = calls
            .iter()
            .filter(|call| call.name == "pwrite64" && call.text.contains(name))
            .any(|written| {
                calls.iter().any(|sync| {
                    sync.name == "fdatasync"
                        && file(sync) == file(written)
                        && sync.begun > written.ended
                        && sync.ended < line.begun
                        && sync.text.ends_with("= 0")
                })
            });
        assert!(
            synced,
            "{name} was acknowledged before it was synced:\n{trace}"
        );
        acknowledged += 1;
    }
    acknowledged
}

/// A check that finds nothing shows nothing: without its syncs, or with failing ones, the same trace must not pass.
fn broken_traces_are_found(trace: &str) {
    let without: String = trace
        .lines()
        .filter(|line| !line.contains("fdatasync"))
        .map(|line| format!("{line}\n"))
        .collect();
    for broken in [without, trace.replace("= 0\n", "= -1 EIO\n")] {
        std::panic::set_hook(Box::new(|_| {}));
        let found = std::panic::catch_unwind(|| check(&broken));
        let _ = std::panic::take_hook();
        assert!(found.is_err(), "a broken trace passes");
    }
}
