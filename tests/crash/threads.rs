//! Producers and the committer on threads, over real files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::support::{SMALL, all, append, end};
use quickstep::internal::journal::{
    ErrorKind, FileStorage, Journal, Options, StartRecord, inspect,
};
use quickstep::stdx::Timestamp;

pub(crate) fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("journal-{test}"));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[expect(clippy::disallowed_methods, reason = "the committer's clock")]
fn clock() -> impl Fn() -> u64 {
    let origin = std::time::Instant::now();
    move || u64::try_from(origin.elapsed().as_nanos()).unwrap()
}

fn run(journal: &Journal) -> thread::JoinHandle<()> {
    let journal = journal.clone();
    thread::spawn(move || journal.run(&clock()))
}

const OPTIONS: Options = Options {
    segment_bytes: 1 << 20,
    buffer_bytes: 64 << 10,
    bytes_max: 64 << 20,
    ends_delay_ms_max: 1,
    ..SMALL
};

#[test]
fn many_producers_and_a_reader() {
    let folder = folder("threads");
    let storage = Arc::new(FileStorage::create(&folder).unwrap());
    let (journal, recovery) = Journal::open(storage, OPTIONS).unwrap();
    assert_eq!((recovery.unfinished(), recovery.cut()), (0, None));
    let committer = run(&journal);
    let (told, durable) = mpsc::channel();
    let producers: Vec<_> = (0..8_u64)
        .map(|producer| {
            let journal = journal.clone();
            let told = told.clone();
            thread::spawn(move || {
                let input = format!(
                    "{{\"producer\":{producer},\"filler\":\"{}\"}}",
                    "x".repeat(500)
                );
                let starts: Vec<String> = (0..20).map(|n| format!("{producer}-{n}")).collect();
                for round in 0..100 {
                    let batch: Vec<StartRecord<'_>> = starts
                        .iter()
                        .map(|name| StartRecord {
                            machine: "machine",
                            revision: round,
                            name,
                            started_at: Timestamp::from_millis(1),
                            seed: 1,
                            attempt: 1,
                            input: input.as_bytes(),
                        })
                        .collect();
                    let ticket = journal.append_starts(&batch).unwrap();
                    if round % 2 == 0 {
                        ticket.wait().unwrap();
                    }
                    let told = told.clone();
                    ticket.on_durable(move |result| told.send(result.is_ok()).unwrap());
                    // All but the last of every tenth batch end.
                    let all_but = usize::from(round % 10 == 0);
                    let ends: Vec<_> = (0..20 - all_but).map(|at| end(ticket.start(at))).collect();
                    journal.append_ends(&ends).unwrap();
                }
            })
        })
        .collect();
    // A reader beside them sees a sound journal at any moment.
    let reader = FileStorage::existing(&folder).unwrap();
    for _ in 0..20 {
        inspect(&reader).unwrap();
    }
    for producer in producers {
        producer.join().unwrap();
    }
    drop(told);
    assert_eq!(durable.iter().filter(|is_ok| *is_ok).count(), 800);
    journal.close();
    committer.join().unwrap();
    let counters = journal.counters();
    assert_eq!(
        (counters.starts, counters.ends, counters.unfinished),
        (16_000, 15_920, 80)
    );
    assert!(
        counters.segments_recycled + counters.segments_removed > 0,
        "{counters:?}"
    );
    assert!(counters.commits < 16_000);
    assert_eq!(counters.commits, counters.commit_micros.iter().sum::<u64>());
    drop(journal);
    let storage = Arc::new(FileStorage::existing(&folder).unwrap());
    let (_journal, recovery) = Journal::open(storage, OPTIONS).unwrap();
    assert_eq!((recovery.unfinished(), recovery.cut()), (80, None));
}

#[test]
fn one_process_at_a_time() {
    let folder = folder("lock");
    let open = || Journal::open(Arc::new(FileStorage::create(&folder).unwrap()), OPTIONS);
    let first = open().unwrap();
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Locked);
    assert!(inspect(&FileStorage::existing(&folder).unwrap()).is_ok());
    drop(first);
    open().unwrap();
}

#[test]
fn closing_writes_what_is_there_and_ends_refuse_nothing() {
    let folder = folder("close");
    let storage = Arc::new(FileStorage::create(&folder).unwrap());
    let (journal, _) = Journal::open(storage, OPTIONS).unwrap();
    let ticket = append(&journal, &[1, 2, 3]).unwrap();
    assert_eq!(ticket.starts(), 1..4);
    assert!(ticket.poll().is_none());
    journal.append_ends(&[end(ticket.start(1))]).unwrap();
    journal.close();
    assert_eq!(
        append(&journal, &[4]).unwrap_err().kind(),
        ErrorKind::Closed
    );
    journal.append_ends(&[end(ticket.start(2))]).unwrap();
    run(&journal).join().unwrap();
    ticket.wait().unwrap();
    let late = journal.append_ends(&[end(ticket.start(0))]);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
    drop((journal, ticket));
    let storage = Arc::new(FileStorage::existing(&folder).unwrap());
    assert!(inspect(&*storage).unwrap().segments[0].is_closed);
    let (_journal, mut recovery) = Journal::open(storage, OPTIONS).unwrap();
    let found: Vec<u64> = all(&mut recovery)
        .into_iter()
        .map(|(_, number, _)| number)
        .collect();
    assert_eq!(found, [1]);
}
