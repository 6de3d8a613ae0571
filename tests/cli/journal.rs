//! `quickstep journal`: what is shown of a journal, and the exit codes.

use std::path::Path;
use std::sync::Arc;

use crate::support::{folder, quickstep, ran};
use quickstep::internal::journal::{
    EndRecord, EndStatus, FileStorage, Journal, Options, StartRecord,
};
use quickstep::stdx::Timestamp;

const OPTIONS: Options = Options {
    segment_bytes: 20_480,
    buffer_bytes: 1_024,
    bytes_max: 1 << 20,
    ends_delay_ms_max: 0,
    space_retry_ms: 1,
    salt: Some(7),
};

/// A journal that is open, with two commits: three starts, of which one has ended, and an attempt.
fn sample(directory: &Path) -> Journal {
    let storage = Arc::new(FileStorage::create(directory).unwrap());
    let (journal, _) = Journal::open(storage, OPTIONS).unwrap();
    let start = |name| StartRecord {
        machine: "orders",
        revision: 3,
        name,
        started_at: Timestamp::from_millis(1_700_000_000_123),
        seed: 1,
        attempt: 1,
        input: b"{\"a\":\"\x1b[31m\"}",
    };
    let first = journal
        .append_starts(&[start("one"), start("two"), start("three\n")])
        .unwrap();
    journal.turn(&|| 0);
    let end = EndRecord {
        start: first.start(0),
        status: EndStatus::Succeeded,
    };
    journal.append_ends(&[end]).unwrap();
    let attempt = journal.append_attempts(&[(first.start(1), 2)]).unwrap();
    journal.turn(&|| 0);
    attempt.wait().unwrap();
    journal
}

#[test]
fn an_open_journal_is_shown() {
    let folder = folder("journal-show").join("journal");
    let journal = sample(&folder);
    let directory = folder.to_str().unwrap();
    let text = "segment 1: records 1 to 5
  12288 of 20480 bytes, commits: 2
  starts: 3, moved: 0, ends: 1, attempts: 1; unfinished: 2
prepared segments: 2
unfinished starts: 2
  2 two of orders (revision 3), started 2023-11-14T22:13:20.123Z, attempts: 2, input: 13 bytes
  3 three\\n of orders (revision 3), started 2023-11-14T22:13:20.123Z, attempts: 1, input: 13 bytes
";
    let shown = quickstep(&["journal", "inspect", directory], "");
    assert_eq!(shown, ran(0, text, ""));
    let shown = quickstep(&["journal", "inspect", "--inputs", directory], "");
    assert!(
        shown.out.contains("\n    {\"a\":\"\\u{1b}[31m\"}\n"),
        "{}",
        shown.out
    );

    let arguments = [
        "journal", "inspect", "--format", "json", "--inputs", directory,
    ];
    let shown = quickstep(&arguments, "");
    let objects: Vec<serde_json::Value> = shown
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let types: Vec<_> = objects.iter().map(|object| &object["type"]).collect();
    assert_eq!(types, ["segment", "summary", "start", "start"]);
    assert_eq!(
        (&objects[0]["records"], &objects[0]["ends"]),
        (&5.into(), &1.into())
    );
    assert_eq!(objects[1]["unfinished"], 2);
    assert_eq!(
        (&objects[2]["name"], &objects[2]["attempts"]),
        (&"two".into(), &2.into())
    );
    assert_eq!(objects[3]["input"], "{\"a\":\"\x1b[31m\"}");

    let sound = format!("{directory}: sound; segments: 1, records: 5, unfinished starts: 2\n");
    assert_eq!(
        quickstep(&["journal", "verify", directory], ""),
        ran(0, &sound, "")
    );
    // It was still open, and is none the worse.
    journal.close();
    journal.run(&|| 0);
}

#[test]
fn damage_is_named() {
    let folder = folder("journal-damage").join("journal");
    drop(sample(&folder));
    let directory = folder.to_str().unwrap();
    let segment = folder.join("000000000001.segment");
    let good = std::fs::read(&segment).unwrap();
    let flip = |offset: usize| {
        let mut bytes = good.clone();
        bytes[offset] ^= 4;
        std::fs::write(&segment, bytes).unwrap();
    };
    flip(4_096 + 100);
    let error = format!(
        "error: {directory}: segment 1 is damaged at offset 4096: a commit with record 1 must be here and is not readable, but there is one at offset 8192\n"
    );
    for command in ["verify", "inspect"] {
        assert_eq!(
            quickstep(&["journal", command, directory], ""),
            ran(1, "", &error)
        );
    }
    // The last commit might have been torn.
    flip(8_192 + 70);
    let shown = quickstep(&["journal", "verify", directory], "");
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    assert!(
        shown.out.contains("\nsegment 1 ends at offset 8192 with "),
        "{}",
        shown.out
    );
    assert!(
        shown.out.contains("records: 3, unfinished starts: 3\n"),
        "{}",
        shown.out
    );
}

#[test]
fn what_is_no_journal() {
    let folder = folder("journal-none");
    let directory = folder.to_str().unwrap();
    let error = format!(
        "error: {directory} holds no journal: there is no file like 000000000001.segment in it\n"
    );
    assert_eq!(
        quickstep(&["journal", "verify", directory], ""),
        ran(2, "", &error)
    );
    let shown = quickstep(&["journal", "inspect", "no/such/directory"], "");
    assert_eq!((shown.code, shown.out.as_str()), (2, ""));
    assert!(
        shown
            .err
            .starts_with("error: failed to read no/such/directory: "),
        "{}",
        shown.err
    );
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert!(left.is_empty(), "looking has made something: {left:?}");
}

#[test]
fn help_teaches() {
    let shown = quickstep(&["journal", "--help"], "");
    assert_eq!(shown.code, 0);
    assert!(
        shown.out.contains("inspect") && shown.out.contains("verify"),
        "{}",
        shown.out
    );
    assert!(
        shown.out.contains("before it acknowledges"),
        "{}",
        shown.out
    );
    let shown = quickstep(&["journal", "verify", "--help"], "");
    assert!(shown.out.contains("The exit code is 0"), "{}", shown.out);
    let shown = quickstep(&["journal", "inspect", "--help"], "");
    assert!(shown.out.contains("Examples:"), "{}", shown.out);
}
