//! Names of segments: a process that was killed has changed one and not synced it, and the power goes in the next process.

use std::sync::Arc;

use crate::support::{Clock, Found, SMALL, append, end, open};
use quickstep::internal::journal::sim::{Faults, SimStorage};
use quickstep::internal::journal::{ErrorKind, Journal, Storage};

/// A journal of several segments and two spare ones, of whose starts only the last are unfinished.
fn journal() -> (SimStorage, Vec<Found>) {
    let disk = SimStorage::new();
    let (journal, ..) = open(&disk, SMALL);
    let mut found = Vec::new();
    for number in 1..=20 {
        let ticket = append(&journal, &[number]).unwrap();
        found.push((ticket.start(0), number, 1));
        journal.turn(&|| 0);
        assert!(ticket.poll().is_some_and(|done| done.is_ok()));
    }
    drop(journal);
    disk.kill();
    (disk, found)
}

/// A process that opens the journal, ends all its starts but the last four, and removes what can go.
fn process(disk: &SimStorage, found: &[Found]) {
    let clock = Clock::default();
    let Ok((journal, _)) = Journal::open(Arc::new(disk.clone()), SMALL) else {
        return;
    };
    let ended: Vec<_> = found[..found.len() - 4]
        .iter()
        .map(|(start, ..)| end(*start))
        .collect();
    if journal.append_ends(&ended).is_err() {
        return;
    }
    for _ in 0..20 {
        clock.advance_ms(SMALL.ends_delay_ms_max);
        journal.turn(&|| clock.now());
    }
}

fn goes_at(disk: &SimStorage, operation: u64) {
    disk.set_faults(Faults {
        crash_at_operation: Some(disk.operations() + operation),
        ..Faults::default()
    });
}

/// Whatever the first process has done when it is killed, and the second one when the power goes, and whichever of the
/// changes of names the directory has kept: there is no gap, and the unfinished starts are there.
#[test]
fn a_killed_process_leaves_names_that_are_not_synced() {
    let (disk, found) = journal();
    let before = disk.operations();
    process(&disk, &found);
    let operations = disk.operations() - before;
    assert!(operations > 25, "{operations}");
    let unfinished = &found[found.len() - 4..];
    let mut removed = 0;
    for killed_at in 1..=operations {
        for crashed_at in 1..=8 {
            for kept in 0..4_u64 {
                let (disk, found) = journal();
                goes_at(&disk, killed_at);
                process(&disk, &found);
                disk.kill();
                goes_at(&disk, crashed_at);
                process(&disk, &found);
                // Names, in the order of their changes, are asked for before sectors: 0 keeps.
                let mut asked = 0;
                disk.crash(&mut || {
                    asked += 1;
                    match asked {
                        1 => kept & 1,
                        2 => kept >> 1,
                        _ => 1,
                    }
                });
                let (journal, again, _) = open(&disk, SMALL);
                for start in unfinished {
                    assert!(
                        again.contains(start),
                        "{killed_at}, {crashed_at}, {kept}: {start:?} is lost"
                    );
                }
                removed += u64::from(again.len() < found.len());
                drop(journal);
            }
        }
    }
    assert!(removed > 100, "{removed}: ends were durable, too");
}

/// A gap that no crash can leave is damage: what was acknowledged was there.
#[test]
fn a_segment_that_is_missing_among_others_is_damage() {
    let (disk, found) = journal();
    let (journal, again, _) = open(&disk, SMALL);
    assert_eq!(again, found);
    drop(journal);
    let names: Vec<String> = disk.list().unwrap();
    let segments = u64::try_from(names.len()).unwrap();
    assert!(segments > 5, "{names:?}");
    for missing in 2..segments {
        let (disk, _) = self::journal();
        disk.remove(&format!("{missing:012}.segment")).unwrap();
        let error = Journal::open(Arc::new(disk), SMALL).unwrap_err();
        let kind = ErrorKind::Corrupt {
            segment: missing,
            offset: 0,
        };
        assert_eq!(error.kind(), kind, "{error}");
    }
}
