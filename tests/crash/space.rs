//! Disks that are full, and the journal's own bound: starts are refused, ends go on, and it passes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::support::{Clock, SMALL, all, append, end, open, settle};
use crate::threads::folder;
use quickstep::internal::journal::sim::{Faults, SimStorage};
use quickstep::internal::journal::{Error, ErrorKind, FileStorage, Journal, Lsn, Options, Turn};

/// Appends until starts are refused; returns what was acknowledged, and the refusal.
fn fill(journal: &Journal, clock: &Clock) -> (Vec<Lsn>, Error) {
    let mut starts = Vec::new();
    let mut busy = 0;
    for number in 1..100_000 {
        match append(journal, &[number]) {
            Ok(ticket) => starts.push(ticket.start(0)),
            Err(error) if error.kind() == ErrorKind::Busy => {
                busy += 1;
                assert!(busy < 100_000, "always busy, never full: {journal:?}");
                settle(journal, clock);
            }
            Err(error) => {
                settle(journal, clock);
                return (starts, error);
            }
        }
    }
    panic!("a disk without end");
}

/// Fills the journal, makes room by ends, and shows that it takes starts again and has lost none.
fn full_and_back(
    storage: Arc<dyn quickstep::internal::journal::Storage>,
    options: Options,
    clock: &Clock,
) {
    let (journal, _) = Journal::open(Arc::clone(&storage), options).unwrap();
    let (mut starts, refusal) = fill(&journal, clock);
    assert_eq!(refusal.kind(), ErrorKind::Full, "{refusal}");
    assert!(starts.len() > 20, "{}", starts.len());
    assert!(journal.counters().refused_full > 0);
    for round in 0..5 {
        // Nine of ten end; the others must be copied before a segment can go.
        let ended: Vec<_> = starts
            .iter()
            .enumerate()
            .filter_map(|(index, start)| (index % 10 != round).then_some(end(*start)))
            .collect();
        journal.append_ends(&ended).unwrap();
        starts.retain(|start| ended.iter().all(|end| end.start != *start));
        settle(&journal, clock);
        clock.advance_ms(1_000);
        settle(&journal, clock);
        let (more, refusal) = fill(&journal, clock);
        assert_eq!(refusal.kind(), ErrorKind::Full, "{refusal}");
        assert!(
            more.len() > 20,
            "round {round}: {} more; {:?}",
            more.len(),
            journal.counters()
        );
        starts.extend(more);
    }
    assert!(journal.counters().moved > 0, "{:?}", journal.counters());
    drop(journal);
    let (journal, mut recovery) = Journal::open(storage, options).unwrap();
    let mut found: Vec<Lsn> = all(&mut recovery)
        .into_iter()
        .map(|(start, ..)| start)
        .collect();
    found.sort_unstable();
    starts.sort_unstable();
    assert_eq!(found, starts);
    drop(journal);
}

#[test]
fn the_journals_own_bound() {
    let options = Options {
        bytes_max: SMALL.segment_bytes * 8,
        ..SMALL
    };
    full_and_back(Arc::new(SimStorage::new()), options, &Clock::default());
}

#[test]
fn an_injected_full_disk() {
    let disk = SimStorage::new();
    disk.set_faults(Faults {
        bytes_max: Some(SMALL.segment_bytes * 8),
        ..Faults::default()
    });
    full_and_back(Arc::new(disk), SMALL, &Clock::default());
}

/// A file system that copies on write has promised nothing: a commit that was let in meets the full disk. It waits.
#[test]
fn a_full_disk_that_shows_late() {
    let disk = SimStorage::new();
    let clock = Clock::default();
    let room = |bytes: u64| {
        disk.set_faults(Faults {
            bytes_max: Some(bytes),
            allocates_late: true,
            ..Faults::default()
        });
    };
    for bytes in (60..90).map(|pages| pages * 1_024) {
        room(bytes);
        let (journal, before, _) = open(&disk, SMALL);
        let mut tickets = Vec::new();
        for number in 1..1_000 {
            match append(&journal, &[number]) {
                Ok(ticket) => tickets.push(ticket),
                Err(error) if error.kind() == ErrorKind::Busy => settle(&journal, &clock),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                    break;
                }
            }
        }
        let waiting = tickets
            .iter()
            .filter(|ticket| ticket.poll().is_none())
            .count();
        assert!(
            waiting > 0 && tickets.len() > waiting,
            "{waiting} of {}",
            tickets.len()
        );
        room(1 << 40);
        clock.advance_ms(SMALL.space_retry_ms + 1);
        settle(&journal, &clock);
        assert!(
            tickets
                .iter()
                .all(|ticket| ticket.poll().is_some_and(|done| done.is_ok()))
        );
        let ends: Vec<_> = before.iter().map(|(start, ..)| end(*start)).collect();
        journal.append_ends(&ends).unwrap();
        settle(&journal, &clock);
        let expected: Vec<Lsn> = tickets.iter().map(|ticket| ticket.start(0)).collect();
        drop((journal, tickets));
        disk.crash(&mut || 0);
        let (journal, found, _) = open(&disk, SMALL);
        let mut found: Vec<Lsn> = found.into_iter().map(|(start, ..)| start).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
        let ends: Vec<_> = found.into_iter().map(end).collect();
        journal.append_ends(&ends).unwrap();
        settle(&journal, &clock);
    }
}

#[test]
fn room_that_comes_from_outside() {
    let disk = SimStorage::new();
    let clock = Clock::default();
    let room = |segments: u64| {
        disk.set_faults(Faults {
            bytes_max: Some(SMALL.segment_bytes * segments),
            ..Faults::default()
        });
    };
    room(2);
    let (journal, ..) = open(&disk, SMALL);
    let (starts, refusal) = fill(&journal, &clock);
    assert_eq!(refusal.kind(), ErrorKind::Full);
    assert!(
        refusal
            .to_string()
            .starts_with("no room for the journal on the disk: ")
    );
    room(3);
    // It asks again after its time, not before.
    assert_eq!(append(&journal, &[1]).unwrap_err().kind(), ErrorKind::Full);
    clock.advance_ms(SMALL.space_retry_ms + 1);
    settle(&journal, &clock);
    let ticket = append(&journal, &[1]).unwrap();
    settle(&journal, &clock);
    ticket.wait().unwrap();
    assert_eq!(journal.counters().unfinished, starts.len() as u64 + 1);
}

/// Segments that are used again are as good as those that the file system has refused.
#[test]
fn nobody_waits_for_room_that_is_not_needed_any_more() {
    let disk = SimStorage::new();
    let clock = Clock::default();
    disk.set_faults(Faults {
        bytes_max: Some(SMALL.segment_bytes * 5),
        ..Faults::default()
    });
    let (journal, ..) = open(&disk, SMALL);
    let (starts, _) = fill(&journal, &clock);
    assert!(journal.counters().upkeep_failures > 0);
    let ends: Vec<_> = starts.into_iter().map(end).collect();
    journal.append_ends(&ends).unwrap();
    let mut turn = Turn::Busy;
    for _ in 0..1_000 {
        clock.advance_ms(SMALL.space_retry_ms + 1);
        turn = journal.turn(&|| clock.now());
    }
    assert!(journal.counters().segments_recycled > 0);
    assert_eq!(turn, Turn::Idle { wake_at: None });
}

#[test]
fn a_disk_without_room_for_a_journal_still_opens() {
    let disk = SimStorage::new();
    let (journal, ..) = open(&disk, SMALL);
    let ticket = append(&journal, &[1]).unwrap();
    let clock = Clock::default();
    settle(&journal, &clock);
    drop((journal, ticket));
    disk.kill();
    disk.set_faults(Faults {
        bytes_max: Some(1),
        ..Faults::default()
    });
    let (journal, found, _) = open(&disk, SMALL);
    assert_eq!(found.len(), 1);
    assert_eq!(append(&journal, &[2]).unwrap_err().kind(), ErrorKind::Full);
}

#[test]
fn bounds_of_records_and_options() {
    let (journal, ..) = open(&SimStorage::new(), SMALL);
    let error = append(&journal, &[96; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(
        error.to_string().ends_with("a commit takes at most 1024"),
        "{error}"
    );
    let nothing = append(&journal, &[]).unwrap();
    assert_eq!((nothing.starts(), nothing.wait().is_ok()), (0..0, true));
    for options in [
        Options {
            segment_bytes: 1 << 30,
            buffer_bytes: (64 << 20) + 1,
            ..SMALL
        },
        Options {
            segment_bytes: 20_479,
            ..SMALL
        },
        Options {
            segment_bytes: 16_384,
            ..SMALL
        },
        Options {
            segment_bytes: 1 << 40,
            ..SMALL
        },
        Options {
            bytes_max: 4 * 20_480 - 1,
            ..SMALL
        },
    ] {
        let opened = Journal::open(Arc::new(SimStorage::new()), options);
        assert_eq!(
            opened.unwrap_err().kind(),
            ErrorKind::Options,
            "{options:?}"
        );
    }
}

/// A parked start does not keep the segments that came after it.
#[test]
fn a_parked_start_pins_nothing() {
    let disk = SimStorage::new();
    let clock = Clock::default();
    let (journal, ..) = open(&disk, SMALL);
    let parked = append(&journal, &[1]).unwrap().start(0);
    for number in 2..3_000 {
        let ticket = append(&journal, &[number]).unwrap();
        journal.append_ends(&[end(ticket.start(0))]).unwrap();
        if number % 3 == 0 {
            journal.turn(&|| clock.now());
        }
    }
    settle(&journal, &clock);
    let counters = journal.counters();
    assert!(
        counters.moved > 5 && counters.segments_recycled > 20,
        "{counters:?}"
    );
    assert!(counters.segments <= 6, "{counters:?}");
    drop(journal);
    let (journal, found, _) = open(&disk, SMALL);
    assert_eq!(found, [(parked, 1, 1)]);
    // Its name is still that of its first record.
    journal.append_ends(&[end(parked)]).unwrap();
    settle(&journal, &clock);
    drop(journal);
    assert_eq!(open(&disk, SMALL).1, []);
}

/// On a file system of a megabyte; where a test may not mount one, the next test has to do.
#[test]
#[cfg(target_os = "linux")]
fn a_really_small_file_system() {
    let folder = folder("tmpfs");
    std::fs::create_dir_all(&folder).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "quickstep-test"])
        .arg(&folder)
        .output();
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("NOT RUN on a small file system, since it may not be mounted here: {mounted:?}");
        return;
    }
    let run = std::panic::catch_unwind(|| on_disk(&folder, SMALL));
    let unmounted = Command::new("umount").arg(&folder).status().unwrap();
    run.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(unmounted.success());
}

fn on_disk(folder: &Path, options: Options) {
    let storage = Arc::new(FileStorage::create(folder).unwrap());
    let options = Options {
        bytes_max: 1 << 40,
        ..options
    };
    full_and_back(storage, options, &Clock::default());
}

const LIMITED: &str = "QUICKSTEP_TEST_FILES_ARE_LIMITED";

/// Files may not grow beyond 8 KiB: the system refuses to make a segment, and the journal refuses starts.
#[test]
#[cfg(unix)]
fn a_limit_of_the_system() {
    let folder = folder("limit");
    if std::env::var_os(LIMITED).is_some() {
        let storage = Arc::new(FileStorage::create(&folder).unwrap());
        let (journal, _) = Journal::open(storage, SMALL).unwrap();
        let error = append(&journal, &[1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{error}");
        assert!(error.to_string().contains("File too large"), "{error}");
        let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
        assert_eq!(left.len(), 1, "the lock alone: {left:?}");
        return;
    }
    // The signal that comes with the limit is ignored, as a daemon would.
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "space::a_limit_of_the_system"])
        .env(LIMITED, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{output:?}"
    );
}
