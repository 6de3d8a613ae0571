//! Directories of events: what is read, and what becomes of the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quickstep::engine::{
    AfterDone, Clock, Delivery, DirectoryOptions, DirectorySource, DoneWhen, PipelineEvent,
    PipelineRecorder, SimulatedStream, Simulation, Stream, StreamEnd, StreamOptions,
};
use quickstep::task::TaskRequest;
use quickstep::{Engine, Failure};

use crate::support::{
    Hands, TASK, assert_adds_up, echo, run_to_end, seconds, settle_down, task, wait,
};

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("directories")
        .join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Files below a folder, with their texts, but for those whose text is of no interest.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(
                tree(&entry.path())
                    .iter()
                    .map(|file| format!("{name}/{file}")),
            );
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

fn refuses_bad(request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
    echo(request, response)?;
    match String::from_utf8_lossy(response).contains("bad") {
        true => Err(Failure::new("Bad", "it says so")),
        false => Ok(()),
    }
}

struct Bench {
    hands: Arc<Hands>,
    engine: Engine,
    workers: Simulation,
}

fn bench() -> Bench {
    let hands = Arc::new(Hands::default());
    let (engine, workers) = Engine::builder()
        .task(TASK, refuses_bad)
        .clock(Arc::clone(&hands) as Arc<dyn Clock>)
        .workers(2)
        .build_simulated()
        .unwrap();
    Bench {
        hands,
        engine,
        workers,
    }
}

fn names(results: &[PipelineEvent]) -> Vec<String> {
    let named = results.iter().map(|event| match &event.result {
        Ok(result) => format!("{} {}", result.name(), result.status.as_str()),
        Err(_) => "invalid".to_owned(),
    });
    named.collect()
}

#[test]
fn files_of_every_kind() {
    let folder = folder("kinds");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("a.ndjson", "{\"n\": 1}\n\n{\"n\": 2}\r\n");
    write("b order.json", "{\n  \"n\": 3\n}\n");
    write("c.jsonl", "4\n[\n5\n");
    write("d.json", "{\"n\"");
    write("e.json", "");
    write("f.ndjson", "");
    write("g.ndjson", "\"bad\"\n6");
    for name in [".hidden.json", "x.json.part", "y.ndjson.tmp", "readme.txt"] {
        write(name, "7");
    }
    fs::create_dir(folder.join("sub.json")).unwrap();
    let mut bench = bench();
    let source = DirectorySource::new(&folder, DirectoryOptions::default()).unwrap();
    let mut results = Vec::new();
    let stream = Stream::new(&bench.engine, &task(), StreamOptions::default());
    let stream = stream.simulate(source, || PipelineRecorder, &mut results);
    let report = run_to_end(stream, &mut bench.workers, &bench.hands);
    assert!(matches!(report.end, StreamEnd::Finished), "{report:?}");
    assert_adds_up(&report);
    assert_eq!((report.read, report.done, report.rejected), (10, 7, 3));
    assert!(report.ack_error.is_none(), "{report:?}");
    assert_eq!(
        names(&results),
        [
            "a.ndjson-1 SUCCEEDED",
            "a.ndjson-3 SUCCEEDED",
            "b_order.json SUCCEEDED",
            "c.jsonl-1 SUCCEEDED",
            "invalid",
            "c.jsonl-3 SUCCEEDED",
            "invalid",
            "invalid",
            "g.ndjson-1 FAILED",
            "g.ndjson-2 SUCCEEDED",
        ]
    );
    // An execution that failed has ended, which is enough by default.
    assert_eq!(
        tree(&folder),
        [
            ".hidden.json",
            "done/a.ndjson",
            "done/b order.json",
            "done/f.ndjson",
            "done/g.ndjson",
            "failed/c.jsonl",
            "failed/c.jsonl.error.txt",
            "failed/d.json",
            "failed/d.json.error.txt",
            "failed/e.json",
            "failed/e.json.error.txt",
            "readme.txt",
            "x.json.part",
            "y.ndjson.tmp",
        ]
    );
    let text = fs::read_to_string(folder.join("failed/c.jsonl.error.txt")).unwrap();
    assert!(
        text.starts_with("line 2: INVALID: invalid JSON at "),
        "{text}"
    );
    let text = fs::read_to_string(folder.join("failed/d.json.error.txt")).unwrap();
    assert!(text.starts_with("INVALID: invalid JSON at "), "{text}");
}

#[test]
fn files_with_events_that_are_given_up() {
    let folder = folder("given-up");
    let many: String = (0..150).map(|_| "\"bad\"\n").collect();
    fs::write(folder.join("many.ndjson"), many).unwrap();
    fs::write(folder.join("one.json"), "\"bad\"").unwrap();
    // A file of that name has failed before.
    fs::create_dir(folder.join("failed")).unwrap();
    fs::write(folder.join("failed/one.json"), "before").unwrap();
    let mut bench = bench();
    let source = DirectorySource::new(&folder, DirectoryOptions::default()).unwrap();
    let options = StreamOptions {
        delivery: Delivery {
            done_when: DoneWhen::Succeeded,
            deliveries_max: 3,
            ..Delivery::default()
        },
        ..StreamOptions::default()
    };
    let stream = Stream::new(&bench.engine, &task(), options);
    let stream = stream.simulate(source, || PipelineRecorder, Vec::new());
    let report = run_to_end(stream, &mut bench.workers, &bench.hands);
    assert_eq!((report.read, report.rejected), (151, 151));
    assert_eq!(report.redelivered, 2 * 151);
    assert_eq!(
        tree(&folder),
        [
            "failed/many.ndjson",
            "failed/many.ndjson.error.txt",
            "failed/one.json",
            "failed/one.json.1",
            "failed/one.json.1.error.txt",
        ]
    );
    let text = fs::read_to_string(folder.join("failed/many.ndjson.error.txt")).unwrap();
    assert!(text.starts_with("line 1: FAILED: Bad: it says so\nline 2: "));
    assert!(text.ends_with("line 100: FAILED: Bad: it says so\nand 50 more\n"));
    let text = fs::read_to_string(folder.join("failed/one.json")).unwrap();
    assert_eq!(text, "before");
}

#[test]
fn files_are_deleted_or_kept() {
    for (after_done, left) in [
        (AfterDone::Delete, &[][..]),
        (AfterDone::Keep, &["a.json", "b.json"]),
    ] {
        let folder = folder(&format!("{after_done:?}"));
        for name in ["a.json", "b.json"] {
            fs::write(folder.join(name), "1").unwrap();
        }
        let mut bench = bench();
        let options = DirectoryOptions {
            after_done,
            watch: None,
        };
        let source = DirectorySource::new(&folder, options).unwrap();
        let stream = Stream::new(&bench.engine, &task(), StreamOptions::default());
        let stream = stream.simulate(source, || PipelineRecorder, Vec::new());
        let report = run_to_end(stream, &mut bench.workers, &bench.hands);
        assert_eq!((report.read, report.done), (2, 2), "each is read once");
        assert_eq!(tree(&folder), left);
    }
}

fn step(
    stream: &mut SimulatedStream<PipelineRecorder, DirectorySource, &mut Vec<PipelineEvent>>,
    bench: &mut Bench,
) {
    bench.hands.put(bench.hands.nanos() + 1_000_000_000);
    settle_down(stream, &mut bench.workers);
}

#[test]
fn a_watched_directory() {
    let folder = folder("watched");
    let path = |name: &str| folder.join(name);
    fs::write(path("a.json"), "1").unwrap();
    let mut bench = bench();
    let options = DirectoryOptions {
        after_done: AfterDone::Move,
        watch: Some(seconds(1)),
    };
    let source = DirectorySource::new(&folder, options).unwrap();
    let stream = Stream::new(&bench.engine, &task(), StreamOptions::default());
    let stopper = stream.stopper();
    let mut results = Vec::new();
    let mut stream = stream.simulate(source, || PipelineRecorder, &mut results);
    // A file has to look the same twice.
    settle_down(&mut stream, &mut bench.workers);
    assert_eq!(tree(&folder), ["a.json"]);
    step(&mut stream, &mut bench);
    step(&mut stream, &mut bench);
    assert_eq!(tree(&folder), ["done/a.json"]);
    // While it grows, it is not read; and a name may come again.
    let mut text = String::new();
    for n in 0..5 {
        text.push_str(&format!("{n}\n"));
        fs::write(path("a.json.part"), "2").unwrap();
        fs::write(path("b.ndjson"), &text).unwrap();
        step(&mut stream, &mut bench);
        assert_eq!(tree(&folder), ["a.json.part", "b.ndjson", "done/a.json"]);
    }
    fs::rename(path("a.json.part"), path("a.json")).unwrap();
    for _ in 0..3 {
        step(&mut stream, &mut bench);
    }
    assert_eq!(
        tree(&folder),
        ["done/a.json", "done/a.json.1", "done/b.ndjson"]
    );
    assert!(!stream.is_over());
    stopper.drain(Duration::ZERO);
    settle_down(&mut stream, &mut bench.workers);
    assert!(stream.is_over());
    let report = stream.finish();
    assert_eq!((report.read, report.done, results.len()), (7, 7, 7));
}

#[test]
fn files_that_were_not_done_with_stay_where_they_are() {
    let folder = folder("stay");
    fs::write(folder.join("a.json"), "1").unwrap();
    fs::write(folder.join("b.ndjson"), "2\n3\n4").unwrap();
    let mut bench = bench();
    let source = || DirectorySource::new(&folder, DirectoryOptions::default()).unwrap();
    let options = StreamOptions {
        in_flight: 2,
        ..StreamOptions::default()
    };
    let stream = Stream::new(&bench.engine, &wait(60), options);
    let stopper = stream.stopper();
    let mut stream = stream.simulate(source(), || PipelineRecorder, Vec::new());
    settle_down(&mut stream, &mut bench.workers);
    stopper.stop();
    let report = run_to_end(stream, &mut bench.workers, &bench.hands);
    assert_eq!((report.read, report.nacked), (2, 2));
    assert_eq!(tree(&folder), ["a.json", "b.ndjson"]);
    // The next run reads them from the beginning.
    let stream = Stream::new(&bench.engine, &task(), StreamOptions::default());
    let stream = stream.simulate(source(), || PipelineRecorder, Vec::new());
    let report = run_to_end(stream, &mut bench.workers, &bench.hands);
    assert_eq!((report.read, report.done), (4, 4));
    assert_eq!(tree(&folder), ["done/a.json", "done/b.ndjson"]);
}

#[test]
fn what_cannot_be_moved_is_said() {
    let folder = folder("blocked");
    fs::write(folder.join("a.json"), "1").unwrap();
    fs::write(folder.join("b.json"), "2").unwrap();
    // Where the directory should be, there is a file.
    fs::write(folder.join("done"), "").unwrap();
    let mut bench = bench();
    let source = DirectorySource::new(&folder, DirectoryOptions::default()).unwrap();
    let stream = Stream::new(&bench.engine, &task(), StreamOptions::default());
    let stream = stream.simulate(source, || PipelineRecorder, Vec::new());
    let report = run_to_end(stream, &mut bench.workers, &bench.hands);
    assert_eq!((report.read, report.done, report.ack_failures), (2, 2, 2));
    let error = report.ack_error.unwrap().to_string();
    assert!(
        error.starts_with("failed to make ") && error.contains("done"),
        "{error}"
    );
    let missing = DirectorySource::new(folder.join("none"), DirectoryOptions::default());
    let error = missing.unwrap_err().to_string();
    assert!(
        error.starts_with("failed to read ") && error.contains("none"),
        "{error}"
    );
}
