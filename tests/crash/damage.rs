//! A small journal cut at every byte, and every bit of it flipped: a clean prefix, or an error that names the place.

use std::sync::Arc;

use crate::support::{Clock, SMALL, all, append, end, open};
use quickstep::internal::journal::sim::SimStorage;
use quickstep::internal::journal::{ErrorKind, Journal, Turn, inspect};

/// A block of the journal, and what is unfinished once it was read.
#[derive(Debug)]
struct Block {
    segment: u64,
    from: u64,
    to: u64,
    unfinished: Vec<u64>,
}

impl Block {
    /// Where its records end: behind them are zeros up to the next block.
    fn records_end(&self, segment: &[u8]) -> u64 {
        let from = usize::try_from(self.from).unwrap();
        let bytes = segment[from + 40..from + 44].try_into().unwrap();
        self.from + 64 + u64::from(u32::from_le_bytes(bytes))
    }
}

/// Segments by number and bytes; blocks in order.
struct Sample {
    segments: Vec<(u64, Vec<u8>)>,
    blocks: Vec<Block>,
}

fn name(segment: u64) -> String {
    format!("{segment:012}.segment")
}

/// How a sample's last process has gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exit {
    Closed,
    Killed,
}

/// A journal of two segments and some blocks with every kind of record.
fn sample(exit: Exit) -> Sample {
    let disk = SimStorage::new();
    let clock = Clock::default();
    let (journal, ..) = open(&disk, SMALL);
    let mut blocks = Vec::new();
    let mut unfinished = Vec::new();
    let mut turn = |unfinished: &[u64]| {
        let turn = journal.turn(&|| clock.now());
        let seen = inspect(&disk).unwrap();
        let segment = seen.segments.last().unwrap();
        blocks.push(Block {
            segment: segment.number,
            from: blocks
                .last()
                .filter(|last: &&Block| last.segment == segment.number)
                .map_or(4096, |last| last.to),
            to: segment.end_offset,
            unfinished: unfinished.to_vec(),
        });
        turn
    };
    let mut tickets = Vec::new();
    for number in [1, 2, 3, 4, 5, 6] {
        let ticket = append(&journal, &[number, number + 100]).unwrap();
        unfinished.extend([number, number + 100]);
        if number == 3 {
            journal.append_ends(&[end(ticket.start(0))]).unwrap();
            unfinished.retain(|known| *known != 3);
        }
        if number == 5 {
            let first: &quickstep::internal::journal::Ticket = &tickets[0];
            let attempt = journal.append_attempts(&[(first.start(0), 2)]).unwrap();
            drop(attempt);
        }
        turn(&unfinished);
        assert_eq!(ticket.poll().map(|done| done.is_ok()), Some(true));
        tickets.push(ticket);
    }
    if exit == Exit::Closed {
        journal.close();
        assert_eq!(turn(&unfinished), Turn::Busy);
    }
    let segments = inspect(&disk).unwrap().segments;
    assert_eq!(segments.len(), 2, "{segments:?}");
    let segments = segments
        .iter()
        .map(|segment| {
            (
                segment.number,
                disk.contents(&name(segment.number)).unwrap(),
            )
        })
        .collect();
    Sample { segments, blocks }
}

impl Sample {
    /// The sample with one segment's bytes replaced, on a disk of its own.
    fn with(&self, segment: u64, bytes: Vec<u8>) -> SimStorage {
        let disk = SimStorage::new();
        for (number, bytes) in &self.segments {
            disk.set_contents(&name(*number), bytes.clone());
        }
        disk.set_contents(&name(segment), bytes);
        disk
    }

    fn bytes(&self, segment: u64) -> &[u8] {
        let found = self.segments.iter().find(|(number, _)| *number == segment);
        &found.unwrap().1
    }

    /// The index of the block that has a byte.
    fn block_at(&self, segment: u64, offset: u64) -> Option<usize> {
        self.blocks
            .iter()
            .position(|block| block.segment == segment && (block.from..block.to).contains(&offset))
    }
}

/// What opening a journal comes to: the numbers of unfinished starts, or the place of the damage.
fn opened(disk: &SimStorage) -> Result<(Vec<u64>, bool), (u64, u64)> {
    match Journal::open(Arc::new(disk.clone()), SMALL) {
        Ok((_, mut recovery)) => {
            let numbers = all(&mut recovery).into_iter().map(|(_, number, _)| number);
            Ok((numbers.collect(), recovery.cut().is_some()))
        }
        Err(error) => match error.kind() {
            ErrorKind::Corrupt { segment, offset } => {
                let text = error.to_string();
                let place = format!("segment {segment} is damaged at offset {offset}: ");
                assert!(text.starts_with(&place), "{text}");
                Err((segment, offset))
            }
            kind => panic!("{kind:?}: {error}"),
        },
    }
}

/// Where bytes mean something: not the zeros between a block's records and the next block.
fn used(bytes: &[u8]) -> Vec<usize> {
    let page_ends = bytes.chunks(4096).enumerate().map(|(page, bytes)| {
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        page * 4096..page * 4096 + used
    });
    page_ends.flatten().collect()
}

#[test]
fn the_sample_is_read_as_it_was_written() {
    for exit in [Exit::Closed, Exit::Killed] {
        let sample = sample(exit);
        let (segment, bytes) = &sample.segments[0];
        let found = opened(&sample.with(*segment, bytes.clone()));
        assert_eq!(
            found,
            Ok((vec![1, 101, 2, 102, 103, 4, 104, 5, 105, 6, 106], false))
        );
        assert!(sample.blocks.len() >= 6);
    }
}

#[test]
fn every_bit_flipped() {
    for exit in [Exit::Closed, Exit::Killed] {
        let sample = sample(exit);
        let last = sample.blocks.len() - 1;
        let whole = &sample.blocks[last].unfinished;
        for (segment, bytes) in &sample.segments {
            for offset in used(bytes) {
                for bit in 0..8 {
                    let mut bytes = bytes.clone();
                    bytes[offset] ^= 1 << bit;
                    let found = opened(&sample.with(*segment, bytes));
                    let offset = offset as u64;
                    let Some(block) = sample.block_at(*segment, offset) else {
                        flipped_header(*segment, offset, bit, &found, whole);
                        continue;
                    };
                    let from = sample.blocks[block].from;
                    if block == last {
                        // As if its write had been torn.
                        let before = &sample.blocks[last - 1].unfinished;
                        assert_eq!(
                            found,
                            Ok((before.clone(), true)),
                            "{segment} {offset} {bit}"
                        );
                    } else {
                        assert_eq!(found, Err((*segment, from)), "{segment} {offset} {bit}");
                    }
                }
            }
        }
    }
}

/// A segment's header: its number and magic are checked before its salt and Lsn are used.
fn flipped_header(
    segment: u64,
    offset: u64,
    bit: u32,
    found: &Result<(Vec<u64>, bool), (u64, u64)>,
    whole: &[u64],
) {
    match found {
        Err((damaged, at)) => assert_eq!((*damaged, *at), (segment, 0), "{offset} {bit}"),
        // Nothing reads these bytes.
        Ok((numbers, _)) => {
            assert!(
                offset >= 64,
                "segment {segment}, offset {offset}, bit {bit}"
            );
            assert_eq!(numbers, whole);
        }
    }
}

#[test]
fn cut_at_every_byte() {
    for exit in [Exit::Closed, Exit::Killed] {
        let sample = sample(exit);
        let last_segment = sample.segments.last().unwrap().0;
        for (segment, bytes) in &sample.segments {
            let mut used = used(bytes);
            let blocks = sample
                .blocks
                .iter()
                .filter(|block| block.segment == *segment);
            used.extend(blocks.map(|block| usize::try_from(block.records_end(bytes)).unwrap() - 1));
            used.sort_unstable();
            for length in 0..=used.last().unwrap() + 2 {
                // The zeros within a page make no difference from one to the next.
                if !used.contains(&length) && !used.contains(&length.saturating_sub(1)) {
                    continue;
                }
                let found = opened(&sample.with(*segment, bytes[..length].to_vec()));
                let at = format!("segment {segment} cut to {length}");
                let whole_blocks = sample.blocks.iter().rposition(|block| {
                    block.segment < *segment
                        || (block.segment == *segment && length as u64 >= block.records_end(bytes))
                });
                if *segment != last_segment {
                    let all_there = sample
                        .blocks
                        .iter()
                        .rposition(|block| block.segment == *segment);
                    match found {
                        Ok((numbers, _)) => {
                            assert_eq!(whole_blocks, all_there, "{at}");
                            assert_eq!(numbers, sample.blocks.last().unwrap().unfinished, "{at}");
                        }
                        Err((damaged, _)) => assert_eq!(damaged, *segment, "{at}"),
                    }
                    continue;
                }
                let expected = &sample.blocks[whole_blocks.unwrap()].unfinished;
                match found {
                    Ok((numbers, _)) => assert_eq!(&numbers, expected, "{at}"),
                    Err((damaged, _)) => assert!(length < 4096 && damaged == *segment, "{at}"),
                }
            }
        }
    }
}

/// A torn write that was cut off is gone: neither reported again, nor found by a journal that goes on from there.
#[test]
fn a_cut_is_made_once() {
    let sample = sample(Exit::Killed);
    let last = sample.blocks.last().unwrap();
    let mut bytes = sample.bytes(last.segment).to_vec();
    bytes[usize::try_from(last.from).unwrap() + 70] ^= 1;
    let disk = sample.with(last.segment, bytes);
    let (journal, first, cut) = open(&disk, SMALL);
    let cut = cut.unwrap();
    assert_eq!((cut.segment, cut.offset), (last.segment, last.from));
    assert!((64..=4_096).contains(&cut.bytes), "{cut:?}");
    drop(journal);
    disk.crash(&mut || 0);
    let length = disk.contents(&name(last.segment)).unwrap().len() as u64;
    assert_eq!(length, last.from, "the file ends where the log does");
    let (journal, second, cut) = open(&disk, SMALL);
    assert_eq!((&second, cut), (&first, None));
    // The places of the lost records are given again.
    let lost = append(&journal, &[50]).unwrap();
    assert!(first.iter().all(|(start, ..)| *start < lost.start(0)));
    journal.turn(&|| 0);
    drop(journal);
    disk.crash(&mut || 0);
    let (_journal, third, cut) = open(&disk, SMALL);
    assert_eq!(cut, None);
    assert_eq!(third.len(), first.len() + 1);
    assert_eq!(third.last().unwrap().1, 50);
}

#[test]
fn files_that_are_missing_or_strange() {
    let sample = sample(Exit::Killed);
    let (first, last) = (sample.segments[0].0, sample.segments[1].0);
    // A third segment with the second one missing.
    let disk = sample.with(last + 2, sample.bytes(last).to_vec());
    assert_eq!(opened(&disk), Err((last + 1, 0)));
    // A file whose name and header disagree holds nothing of this journal.
    let disk = sample.with(last + 1, sample.bytes(first).to_vec());
    assert_eq!(
        opened(&disk),
        Ok((sample.blocks.last().unwrap().unfinished.clone(), false))
    );
    // Other files are left alone.
    let disk = sample.with(last, sample.bytes(last).to_vec());
    for name in [
        "readme",
        "1.segment",
        "00000000000a.segment",
        ".segment",
        "lock",
    ] {
        disk.set_contents(name, b"something else".to_vec());
    }
    assert!(opened(&disk).is_ok());
    assert_eq!(disk.contents("1.segment").unwrap(), b"something else");
}

#[test]
fn another_version_is_refused() {
    let sample = sample(Exit::Killed);
    let (segment, bytes) = &sample.segments[0];
    let mut bytes = bytes.clone();
    bytes[8] = 2;
    let mut checksum = crc(&bytes[..12], 0);
    checksum = crc(&bytes[16..64], checksum);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    let disk = sample.with(*segment, bytes);
    let error = Journal::open(Arc::new(disk), SMALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Version);
    assert!(error.to_string().contains("version 2"), "{error}");
}

/// CRC-32, bit by bit: also a check that the journal's checksum is the one that its description says.
fn crc(bytes: &[u8], before: u32) -> u32 {
    let mut register = !before;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            register = (register >> 1) ^ (0xEDB8_8320 & (register & 1).wrapping_neg());
        }
    }
    !register
}
