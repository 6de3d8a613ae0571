//! Arbitrary files as a journal: opening them never panics, what is read once is read again, and reading changes nothing.
//!
//! The first byte says how many segments there are. What follows is cut into as many parts, and each of these is a
//! segment's file. With a first byte above 127 checksums are put right before, so that what they protect is reached.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use quickstep::internal::journal::sim::SimStorage;
use quickstep::internal::journal::{EndRecord, EndStatus, Journal, Lsn, Options, Turn, inspect};

const PAGE: usize = 4096;

fn options() -> Options {
    Options {
        segment_bytes: 20_480,
        buffer_bytes: 1_024,
        bytes_max: 20_480 * 40,
        salt: Some(1),
        ..Options::default()
    }
}

/// Writes the checksums that a segment's header, blocks and records ought to have.
fn put_right(bytes: &mut [u8]) {
    if bytes.len() < PAGE {
        return;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..64]);
    bytes[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    for at in (PAGE..bytes.len().saturating_sub(64)).step_by(PAGE) {
        let block = &mut bytes[at..];
        let length = u32::from_le_bytes(block[40..44].try_into().expect("four bytes")) as usize;
        let end = 64_usize.saturating_add(length).min(block.len());
        let (mut record, mut digest) = (64, 0_u64);
        while record + 9 <= end {
            let length = block[record + 4..record + 8].try_into().expect("four bytes");
            let next = record.saturating_add(9 + u32::from_le_bytes(length) as usize);
            if next > end {
                break;
            }
            let checksum = crc32fast::hash(&block[record + 4..next]);
            block[record..record + 4].copy_from_slice(&checksum.to_le_bytes());
            digest = digest
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .wrapping_add(u64::from(checksum));
            record = next;
        }
        block[32..40].copy_from_slice(&digest.to_le_bytes());
        let checksum = crc32fast::hash(&block[8..64]);
        block[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn unfinished(mut next: impl FnMut() -> Option<(Lsn, Vec<u8>, u32)>) -> Vec<(Lsn, Vec<u8>, u32)> {
    std::iter::from_fn(&mut next).collect()
}

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    let segments = usize::from(first % 4) + 1;
    let part = rest.len() / segments;
    let disk = SimStorage::new();
    for (index, bytes) in rest.chunks(part.max(1)).take(segments).enumerate() {
        let mut bytes = bytes.to_vec();
        if *first > 127 {
            put_right(&mut bytes);
        }
        disk.set_contents(&format!("{:012}.segment", index + 1), bytes);
    }
    let before = disk.operations();
    let seen = inspect(&disk).map(|mut seen| {
        unfinished(|| {
            let start = seen.next().expect("readable");
            start.map(|start| (start.start, start.input.to_vec(), start.attempts))
        })
    });
    assert_eq!(disk.operations(), before, "an inspection has changed something");
    let opened = Journal::open(Arc::new(disk.clone()), options());
    let (journal, mut recovery) = match (seen.is_ok(), opened) {
        (true, Ok(opened)) => opened,
        (false, Err(_)) => return,
        (seen, opened) => panic!("inspection: {seen}, opening: {opened:?}"),
    };
    let found = unfinished(|| {
        let start = recovery.next().expect("readable");
        start.map(|start| (start.start, start.input.to_vec(), start.attempts))
    });
    assert_eq!(Some(&found), seen.as_ref().ok());
    drop((journal, recovery));
    disk.kill();
    let (journal, recovery) = Journal::open(Arc::new(disk.clone()), options()).expect("opened before");
    assert_eq!(recovery.unfinished(), found.len() as u64);
    assert_eq!(recovery.cut(), None, "cut once");
    let ends: Vec<EndRecord> = found
        .iter()
        .map(|(start, ..)| EndRecord {
            start: *start,
            status: EndStatus::Failed,
        })
        .collect();
    journal.append_ends(&ends).expect("an open journal");
    journal.close();
    while journal.turn(&|| 0) != Turn::Stopped {}
    drop((journal, recovery));
    disk.kill();
    let (_, recovery) = Journal::open(Arc::new(disk), options()).expect("opened before");
    assert_eq!(recovery.unfinished(), 0);
});
