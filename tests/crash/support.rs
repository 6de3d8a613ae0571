//! Small journals on simulated disks.

use std::cell::Cell;
use std::sync::Arc;

use quickstep::internal::journal::sim::SimStorage;
use quickstep::internal::journal::{
    Cut, EndRecord, EndStatus, Error, Journal, Lsn, Options, Recovery, StartRecord, Ticket, Turn,
    UnfinishedStart,
};
use quickstep::stdx::Timestamp;

/// The smallest segments that there are.
pub(crate) const SMALL: Options = Options {
    segment_bytes: 20_480,
    buffer_bytes: 1_024,
    bytes_max: 20_480 * 40,
    ends_delay_ms_max: 5,
    space_retry_ms: 10,
    salt: Some(0x5EED),
};

/// Reproducible randomness.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A clock that somebody turns.
#[derive(Debug, Default)]
pub(crate) struct Clock(Cell<u64>);

impl Clock {
    pub(crate) fn now(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn advance_ms(&self, millis: u64) {
        self.0.set(self.0.get() + millis * 1_000_000);
    }
}

/// The texts of a start: everything in it follows from its number.
fn texts(number: u64) -> (String, String, String) {
    let filler = "x".repeat(usize::try_from(number % 97).unwrap());
    (
        format!("machine-{}", number % 5),
        format!("name-{number}"),
        format!("{{\"number\":{number},\"filler\":\"{filler}\"}}"),
    )
}

fn start<'a>(number: u64, (machine, name, input): &'a (String, String, String)) -> StartRecord<'a> {
    StartRecord {
        machine,
        revision: number * 7,
        name,
        started_at: Timestamp::from_millis(number.cast_signed() - 3),
        seed: 1,
        attempt: 1,
        input: input.as_bytes(),
    }
}

/// The number of a start, all of whose parts must be as they were.
pub(crate) fn number_of(found: &UnfinishedStart<'_>) -> u64 {
    let number = found.name.strip_prefix("name-").unwrap().parse().unwrap();
    let texts = texts(number);
    let start = start(number, &texts);
    assert_eq!(
        (found.machine, found.revision, found.input),
        (start.machine, start.revision, start.input)
    );
    assert_eq!(found.started_at, start.started_at);
    number
}

/// What was recovered: Lsn, number, attempts.
pub(crate) type Found = (Lsn, u64, u32);

pub(crate) fn all(recovery: &mut Recovery) -> Vec<Found> {
    let mut found = Vec::new();
    while let Some(start) = recovery.next().unwrap() {
        found.push((start.start, number_of(&start), start.attempts));
    }
    assert_eq!(found.len() as u64, recovery.unfinished());
    found
}

/// Appends starts as one batch.
pub(crate) fn append(journal: &Journal, numbers: &[u64]) -> Result<Ticket, Error> {
    let texts: Vec<_> = numbers.iter().copied().map(texts).collect();
    let starts: Vec<StartRecord<'_>> = numbers
        .iter()
        .zip(&texts)
        .map(|(number, texts)| start(*number, texts))
        .collect();
    journal.try_append_starts(&starts)
}

pub(crate) fn end(start: Lsn) -> EndRecord {
    EndRecord {
        start,
        status: EndStatus::Succeeded,
    }
}

/// Turns until nothing is left to do, or the journal only waits for time to pass; ends are given their time.
pub(crate) fn settle(journal: &Journal, clock: &Clock) {
    let mut idle = 0;
    for _ in 0..1_000 {
        match journal.turn(&|| clock.now()) {
            Turn::Busy => idle = 0,
            Turn::Idle { wake_at: None } | Turn::Stopped => return,
            Turn::Idle { wake_at: Some(_) } if idle == 10 => return,
            Turn::Idle { wake_at: Some(at) } => {
                idle += 1;
                clock.advance_ms(at.saturating_sub(clock.now()) / 1_000_000 + 1);
            }
        }
    }
    panic!("the journal does not come to rest: {journal:?}");
}

pub(crate) fn open(disk: &SimStorage, options: Options) -> (Journal, Vec<Found>, Option<Cut>) {
    let (journal, mut recovery) = Journal::open(Arc::new(disk.clone()), options).unwrap();
    let found = all(&mut recovery);
    (journal, found, recovery.cut())
}
