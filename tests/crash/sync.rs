//! A sync that fails: nothing is acknowledged any more, and nothing that was is lost.

use std::sync::{Arc, Mutex};

use crate::support::{Clock, SMALL, append, end, open, settle};
use quickstep::internal::journal::sim::{Faults, SimStorage};
use quickstep::internal::journal::{ErrorKind, Journal, Lsn};

#[test]
fn every_sync_may_be_the_one_that_fails() {
    // Until the run is so long that no sync fails any more.
    let mut failed = 0;
    for sync in 1.. {
        let disk = SimStorage::new();
        let clock = Clock::default();
        let (journal, ..) = open(&disk, SMALL);
        disk.set_faults(Faults {
            fail_sync: Some(disk.syncs() + sync),
            ..Faults::default()
        });
        let results = Arc::new(Mutex::new(Vec::new()));
        let mut appended = Vec::new();
        for number in 1..=12 {
            let Ok(ticket) = append(&journal, &[number]) else {
                break;
            };
            appended.push(ticket.clone());
            let results = Arc::clone(&results);
            ticket.on_durable(move |result| results.lock().unwrap().push((number, result.is_ok())));
            journal.turn(&|| clock.now());
            let told = ticket.poll().expect("a turn commits or fails");
            if let Err(error) = told {
                assert_eq!(error.kind(), ErrorKind::Poisoned);
            }
        }
        let results = results.lock().unwrap().clone();
        assert_eq!(results.len(), appended.len(), "everybody is told");
        let acknowledged: Vec<u64> = results
            .iter()
            .filter_map(|(number, is_ok)| is_ok.then_some(*number))
            .collect();
        let was_poisoned = append(&journal, &[99]).is_err();
        if was_poisoned {
            failed += 1;
            poisoned_for_good(&journal, &clock, appended[0].start(0));
        }
        drop(journal);
        // The system forgets that the pages were not written; then the power goes.
        disk.kill();
        let (journal, found, _) = open(&disk, SMALL);
        let readable: Vec<u64> = found.iter().map(|(_, number, _)| *number).collect();
        assert!(
            readable.starts_with(&acknowledged),
            "{sync}: {acknowledged:?} {readable:?}"
        );
        drop(journal);
        disk.crash(&mut || 0);
        let (_journal, found, _) = open(&disk, SMALL);
        let durable: Vec<u64> = found.iter().map(|(_, number, _)| *number).collect();
        assert_eq!(durable, readable, "{sync}: what was found once stays");
        if !was_poisoned {
            break;
        }
    }
    assert!(failed > 10, "{failed}");
}

fn poisoned_for_good(journal: &Journal, clock: &Clock, start: Lsn) {
    for _ in 0..3 {
        let error = append(journal, &[99]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert!(error.to_string().contains("the sync has failed"), "{error}");
        let error = journal.append_ends(&[end(start)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        settle(journal, clock);
    }
    journal.close();
    settle(journal, clock);
    assert_eq!(
        append(journal, &[99]).unwrap_err().kind(),
        ErrorKind::Poisoned
    );
}
