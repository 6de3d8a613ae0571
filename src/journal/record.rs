//! [`Record`]: what the journal's bytes mean. It knows nothing of files.

use std::fmt;

use crate::stdx::Timestamp;

/// A record's place in the log: each record's is one more than that of the record before it. A start is named for life
/// by the place at which it was first written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest text that names a machine.
pub const MACHINE_BYTES_MAX: usize = 2048;
/// Longest name of an execution.
pub const NAME_BYTES_MAX: usize = 1024;
/// Longest input.
pub const INPUT_BYTES_MAX: usize = 1 << 20;

/// The version of the framing.
pub const FORMAT_VERSION: u32 = 1;

/// Blocks begin at multiples of this: a page is never written again once it was synced, and a search for blocks knows
/// where to look.
pub(super) const BLOCK_ALIGN: usize = 4096;
/// A segment's header takes a page of its own.
pub(super) const SEGMENT_HEADER_BYTES: usize = BLOCK_ALIGN;
pub(super) const BLOCK_HEADER_BYTES: usize = 64;
/// The largest block that a reader takes into memory.
pub(super) const BLOCK_BYTES_MAX: usize = 1 << 28;
/// Checksum, length, kind.
const RECORD_HEADER_BYTES: usize = 9;
/// Positions above are damage: nobody has written so much.
const LSN_MAX: u64 = 1 << 60;

const SEGMENT_MAGIC: [u8; 8] = *b"QSTPJRNL";
const BLOCK_MAGIC: [u8; 4] = *b"QSBK";
const DIGEST_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// An asynchronous start, to be run until it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartRecord<'a> {
    /// What names the state machine: its ARN.
    pub machine: &'a str,
    /// Which revision of the machine, as whoever keeps the definitions counts them.
    pub revision: u64,
    /// The execution's name.
    pub name: &'a str,
    /// When it was started.
    pub started_at: Timestamp,
    /// What its randomness comes from.
    pub seed: u64,
    /// Attempts begun with this one: 1, unless the caller counts otherwise.
    pub attempt: u32,
    /// The execution's input.
    pub input: &'a [u8],
}

/// The end of a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndRecord {
    /// Which start.
    pub start: Lsn,
    /// How it has ended.
    pub status: EndStatus,
}

/// How an execution has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndStatus {
    /// With an output.
    Succeeded,
    /// With an error.
    Failed,
    /// By its timeout.
    TimedOut,
    /// From outside.
    Aborted,
}

impl EndStatus {
    const ALL: [EndStatus; 4] = [
        EndStatus::Succeeded,
        EndStatus::Failed,
        EndStatus::TimedOut,
        EndStatus::Aborted,
    ];

    /// As AWS spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            EndStatus::Succeeded => "SUCCEEDED",
            EndStatus::Failed => "FAILED",
            EndStatus::TimedOut => "TIMED_OUT",
            EndStatus::Aborted => "ABORTED",
        }
    }
}

/// One record of the log.
///
/// # Framing
///
/// A journal is a directory of segments, files `NNNNNNNNNNNN.segment` whose decimal numbers have no gap. All integers are
/// little endian; every checksum is a CRC-32 (IEEE).
///
/// A **segment** begins with a header that has a page of 4096 bytes to itself:
///
/// | offset | bytes | |
/// |---|---|---|
/// | 0 | 8 | `QSTPJRNL` |
/// | 8 | 4 | version of the format: 1 |
/// | 12 | 4 | checksum of the header's other 60 bytes |
/// | 16 | 8 | the journal's salt, a random number: nobody who only provides inputs can forge a block |
/// | 24 | 8 | the segment's number |
/// | 32 | 8 | the Lsn of its first record |
/// | 40 | 1 | 1 if the file was another segment before, so that old bytes may follow its end; else 0 |
///
/// **Blocks** follow, each at the next multiple of 4096. A block is one group commit; the next one is written only once it
/// is synced. Its header:
///
/// | offset | bytes | |
/// |---|---|---|
/// | 0 | 4 | `QSBK` |
/// | 4 | 4 | checksum of the header's following 56 bytes |
/// | 8 | 8 | the journal's salt |
/// | 16 | 8 | the segment's number |
/// | 24 | 8 | the Lsn of its first record |
/// | 32 | 8 | digest of its records' checksums *c*: *d* ← *d* × 0x9E3779B97F4A7C15 + *c*, modulo 2⁶⁴, from 0 |
/// | 40 | 4 | bytes of its records |
/// | 44 | 4 | number of its records |
/// | 48 | 1 | 1 if the journal was closed after it, else 0; 15 bytes of zero follow |
///
/// **Records** follow one another without padding: checksum of what follows (4), length of the payload (4), kind (1),
/// payload. A record's Lsn is its block's plus its index. Payloads:
///
/// | kind | payload |
/// |---|---|
/// | 1 start | revision (8), milliseconds since the epoch (8), attempts (4), bytes of machine (2) and name (2), seed (8), machine, name, input |
/// | 2 moved | Lsn of the start (8), then as a start |
/// | 3 ends | for each: Lsn of the start (8), status (1): 0 succeeded, 1 failed, 2 timed out, 3 aborted |
/// | 4 attempts | for each: Lsn of the start (8), attempts begun (4) |
///
/// # Reading
///
/// A segment that another one follows must hold every record up to the first Lsn of the next. The last one ends with the
/// first place that holds no valid block. If a valid block of this segment stands anywhere behind that place, what is
/// there was synced once and has been damaged since: that is an error. Otherwise it is the torn write of a commit that
/// was never acknowledged, and is cut.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Record<'a> {
    /// A start.
    Start(StartRecord<'a>),
    /// An unfinished start, written again so that its old segment can go.
    Moved {
        /// The start's Lsn.
        start: Lsn,
        /// The same as at first, but for the attempts.
        record: StartRecord<'a>,
    },
    /// Starts have ended.
    Ends(Ends<'a>),
    /// Recovered starts are run again.
    Attempts(Attempts<'a>),
}

/// A list of ends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ends<'a>(&'a [[u8; 9]]);

impl<'a> Ends<'a> {
    /// The ends, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EndRecord> + use<'a> {
        self.0.iter().map(|bytes| EndRecord {
            start: Lsn(read_u64(bytes, 0)),
            // The payload was checked when it was read.
            status: EndStatus::ALL[usize::from(bytes[8]) % EndStatus::ALL.len()],
        })
    }
}

/// A list of attempts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Attempts<'a>(&'a [[u8; 12]]);

impl<'a> Attempts<'a> {
    /// Starts, and how many attempts have begun with this one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Lsn, u32)> + use<'a> {
        self.0
            .iter()
            .map(|bytes| (Lsn(read_u64(bytes, 0)), read_u32(bytes, 8)))
    }
}

const KIND_START: u8 = 1;
const KIND_MOVED: u8 = 2;
const KIND_ENDS: u8 = 3;
const KIND_ATTEMPTS: u8 = 4;

/// Records as bytes, with what a block's header says of them.
#[derive(Clone)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) records: u32,
    digest: u64,
    /// What the digest of records before these is multiplied with.
    factor: u64,
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records, {} bytes", self.records, self.bytes.len())
    }
}

impl Default for Encoded {
    fn default() -> Encoded {
        Encoded {
            bytes: Vec::new(),
            records: 0,
            digest: 0,
            factor: 1,
        }
    }
}

impl Encoded {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.records, self.digest, self.factor) = (0, 0, 1);
    }

    pub(super) fn start(&mut self, start: &StartRecord<'_>) {
        self.frame(KIND_START, |out| encode_start(out, start));
    }

    pub(super) fn moved(&mut self, start: Lsn, record: &StartRecord<'_>) {
        self.frame(KIND_MOVED, |out| {
            out.extend_from_slice(&start.0.to_le_bytes());
            encode_start(out, record);
        });
    }

    pub(super) fn ends(&mut self, ends: impl Iterator<Item = EndRecord>) {
        self.frame(KIND_ENDS, |out| {
            for end in ends {
                let mut bytes = [0; 9];
                bytes[..8].copy_from_slice(&end.start.0.to_le_bytes());
                bytes[8] = end.status as u8;
                out.extend_from_slice(&bytes);
            }
        });
    }

    pub(super) fn attempts(&mut self, attempts: impl Iterator<Item = (Lsn, u32)>) {
        self.frame(KIND_ATTEMPTS, |out| {
            for (start, attempt) in attempts {
                out.extend_from_slice(&start.0.to_le_bytes());
                out.extend_from_slice(&attempt.to_le_bytes());
            }
        });
    }

    /// Appends other records: one copy, whatever their number.
    pub(super) fn append(&mut self, other: &Encoded) {
        self.bytes.extend_from_slice(&other.bytes);
        self.records += other.records;
        self.digest = self
            .digest
            .wrapping_mul(other.factor)
            .wrapping_add(other.digest);
        self.factor = self.factor.wrapping_mul(other.factor);
    }

    fn frame(&mut self, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        self.bytes[at + 8] = kind;
        payload(&mut self.bytes);
        let length = crate::stdx::narrow(self.bytes.len() - at - RECORD_HEADER_BYTES);
        self.bytes[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&self.bytes[at + 4..]);
        self.bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
        self.records += 1;
        self.digest = fold(self.digest, checksum);
        self.factor = self.factor.wrapping_mul(DIGEST_FACTOR);
    }

    /// The header of the block that these records are.
    pub(super) fn header(&self, place: &BlockPlace, is_closing: bool) -> [u8; BLOCK_HEADER_BYTES] {
        let mut header = [0; BLOCK_HEADER_BYTES];
        header[..4].copy_from_slice(&BLOCK_MAGIC);
        header[8..16].copy_from_slice(&place.salt.to_le_bytes());
        header[16..24].copy_from_slice(&place.segment.to_le_bytes());
        header[24..32].copy_from_slice(&place.first_lsn.0.to_le_bytes());
        header[32..40].copy_from_slice(&self.digest.to_le_bytes());
        let bytes = crate::stdx::narrow(self.bytes.len());
        header[40..44].copy_from_slice(&bytes.to_le_bytes());
        header[44..48].copy_from_slice(&self.records.to_le_bytes());
        header[48] = u8::from(is_closing);
        let checksum = crc32fast::hash(&header[8..]);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
        header
    }
}

fn fold(digest: u64, checksum: u32) -> u64 {
    digest
        .wrapping_mul(DIGEST_FACTOR)
        .wrapping_add(u64::from(checksum))
}

fn encode_start(out: &mut Vec<u8>, start: &StartRecord<'_>) {
    let mut fixed = [0; START_FIXED_BYTES];
    fixed[..8].copy_from_slice(&start.revision.to_le_bytes());
    fixed[8..16].copy_from_slice(&start.started_at.millis().to_le_bytes());
    fixed[16..20].copy_from_slice(&start.attempt.to_le_bytes());
    // The caller has checked the lengths.
    let length = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes();
    fixed[20..22].copy_from_slice(&length(start.machine));
    fixed[22..24].copy_from_slice(&length(start.name));
    fixed[24..32].copy_from_slice(&start.seed.to_le_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(start.machine.as_bytes());
    out.extend_from_slice(start.name.as_bytes());
    out.extend_from_slice(start.input);
}

const START_FIXED_BYTES: usize = 32;

/// Bytes that a start takes in the log.
pub(super) fn start_bytes(start: &StartRecord<'_>) -> usize {
    RECORD_HEADER_BYTES
        + START_FIXED_BYTES
        + start.machine.len()
        + start.name.len()
        + start.input.len()
}

/// Bytes of an end in a list of them.
pub(super) const END_BYTES: usize = 9;
/// Bytes of an attempt in a list.
pub(super) const ATTEMPT_BYTES: usize = 12;
/// Bytes of a list of ends or attempts beside what it lists.
pub(super) const LIST_BYTES: usize = RECORD_HEADER_BYTES;

/// What a block must say of itself to belong where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockPlace {
    pub(super) salt: u64,
    pub(super) segment: u64,
    pub(super) first_lsn: Lsn,
}

/// A block's header, its checksum good.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHeader {
    pub(super) place: BlockPlace,
    pub(super) digest: u64,
    pub(super) bytes: usize,
    pub(super) records: u32,
    pub(super) is_closing: bool,
}

impl BlockHeader {
    /// Reads a header, if the bytes are one.
    pub(super) fn decode(bytes: &[u8]) -> Option<BlockHeader> {
        let header = bytes.get(..BLOCK_HEADER_BYTES)?;
        if header[..4] != BLOCK_MAGIC || read_u32(header, 4) != crc32fast::hash(&header[8..]) {
            return None;
        }
        let bytes = read_u32(header, 40) as usize;
        let first_lsn = Lsn(read_u64(header, 24));
        let is_sound = bytes <= BLOCK_BYTES_MAX && first_lsn.0 < LSN_MAX;
        is_sound.then(|| BlockHeader {
            place: BlockPlace {
                salt: read_u64(header, 8),
                segment: read_u64(header, 16),
                first_lsn,
            },
            digest: read_u64(header, 32),
            bytes,
            records: read_u32(header, 44),
            is_closing: header[48] == 1,
        })
    }

    /// Whether these are the records that the header tells of, each of them sound.
    pub(super) fn fits(&self, body: &[u8]) -> bool {
        if body.len() != self.bytes {
            return false;
        }
        let (mut rest, mut digest, mut count) = (body, 0, 0_u32);
        while !rest.is_empty() {
            let Some((frame, after)) = split_frame(rest) else {
                return false;
            };
            let checksum = read_u32(frame, 0);
            if checksum != crc32fast::hash(&frame[4..]) || decode(frame).is_none() {
                return false;
            }
            digest = fold(digest, checksum);
            count = count.wrapping_add(1);
            rest = after;
        }
        (digest, count) == (self.digest, self.records)
    }

    /// The bytes from the beginning of this block to that of the next.
    pub(super) fn padded_bytes(&self) -> u64 {
        padded(self.bytes)
    }
}

/// Bytes that a block takes whose records take `bytes`.
pub(super) fn padded(bytes: usize) -> u64 {
    (BLOCK_HEADER_BYTES + bytes).next_multiple_of(BLOCK_ALIGN) as u64
}

/// The records of a block whose header fits it.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
    lsn: Lsn,
}

impl<'a> Records<'a> {
    pub(super) fn new(header: &BlockHeader, body: &'a [u8]) -> Records<'a> {
        Records {
            rest: body,
            lsn: header.place.first_lsn,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (Lsn, Record<'a>);

    fn next(&mut self) -> Option<(Lsn, Record<'a>)> {
        let (frame, after) = split_frame(self.rest)?;
        let record = decode(frame)?;
        let lsn = self.lsn;
        self.rest = after;
        self.lsn = Lsn(lsn.0 + 1);
        Some((lsn, record))
    }
}

fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = read_u32(bytes.get(..RECORD_HEADER_BYTES)?, 4) as usize;
    bytes.split_at_checked(RECORD_HEADER_BYTES.checked_add(length)?)
}

fn decode(frame: &[u8]) -> Option<Record<'_>> {
    let payload = &frame[RECORD_HEADER_BYTES..];
    match frame[8] {
        KIND_START => Some(Record::Start(decode_start(payload)?)),
        KIND_MOVED => {
            let (start, rest) = payload.split_first_chunk()?;
            Some(Record::Moved {
                start: Lsn(u64::from_le_bytes(*start)),
                record: decode_start(rest)?,
            })
        }
        KIND_ENDS => {
            let (ends, rest) = payload.as_chunks();
            let is_sound = |end: &[u8; 9]| usize::from(end[8]) < EndStatus::ALL.len();
            (rest.is_empty() && ends.iter().all(is_sound)).then_some(Record::Ends(Ends(ends)))
        }
        KIND_ATTEMPTS => {
            let (attempts, rest) = payload.as_chunks();
            rest.is_empty()
                .then_some(Record::Attempts(Attempts(attempts)))
        }
        _ => None,
    }
}

fn decode_start(payload: &[u8]) -> Option<StartRecord<'_>> {
    let (fixed, rest) = payload.split_first_chunk::<START_FIXED_BYTES>()?;
    let (machine, rest) = rest.split_at_checked(usize::from(read_u16(fixed, 20)))?;
    let (name, input) = rest.split_at_checked(usize::from(read_u16(fixed, 22)))?;
    Some(StartRecord {
        machine: std::str::from_utf8(machine).ok()?,
        revision: read_u64(fixed, 0),
        name: std::str::from_utf8(name).ok()?,
        started_at: Timestamp::from_millis(read_u64(fixed, 8).cast_signed()),
        seed: read_u64(fixed, 24),
        attempt: read_u32(fixed, 16),
        input,
    })
}

/// The first page of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) salt: u64,
    pub(super) number: u64,
    pub(super) first_lsn: Lsn,
    /// Whether old bytes may follow the segment's end.
    pub(super) is_recycled: bool,
}

/// What the first page of a segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FirstPage {
    Header(SegmentHeader),
    /// The header of a format that this version does not know.
    Version(u32),
    /// Nothing that is known.
    Other,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut page = [0; SEGMENT_HEADER_BYTES];
        page[..8].copy_from_slice(&SEGMENT_MAGIC);
        page[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        page[16..24].copy_from_slice(&self.salt.to_le_bytes());
        page[24..32].copy_from_slice(&self.number.to_le_bytes());
        page[32..40].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        page[40] = u8::from(self.is_recycled);
        let checksum = segment_checksum(&page);
        page[12..16].copy_from_slice(&checksum.to_le_bytes());
        page
    }

    pub(super) fn decode(page: &[u8]) -> FirstPage {
        let is_ours = page.len() >= 64
            && page[..8] == SEGMENT_MAGIC
            && read_u32(page, 12) == segment_checksum(page);
        if !is_ours {
            return FirstPage::Other;
        }
        let version = read_u32(page, 8);
        if version != FORMAT_VERSION {
            return FirstPage::Version(version);
        }
        let first_lsn = Lsn(read_u64(page, 32));
        if first_lsn.0 >= LSN_MAX {
            return FirstPage::Other;
        }
        FirstPage::Header(SegmentHeader {
            salt: read_u64(page, 16),
            number: read_u64(page, 24),
            first_lsn,
            is_recycled: page[40] == 1,
        })
    }
}

fn segment_checksum(page: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&page[..12]);
    hasher.update(&page[16..64]);
    hasher.finalize()
}

fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record with its own texts.
    #[derive(Clone, Debug)]
    enum Owned {
        Start(String, u64, String, i64, u32, Vec<u8>),
        Moved(u64, String, Vec<u8>),
        Ends(Vec<(u64, usize)>),
        Attempts(Vec<(u64, u32)>),
    }

    fn records() -> impl Strategy<Value = Vec<Owned>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..80);
        let record = prop_oneof![
            (
                ".{0,20}",
                any::<u64>(),
                ".{0,20}",
                any::<i64>(),
                any::<u32>(),
                bytes()
            )
                .prop_map(|(m, r, n, t, a, i)| Owned::Start(m, r, n, t, a, i)),
            (any::<u64>(), ".{0,20}", bytes()).prop_map(|(s, m, i)| Owned::Moved(s, m, i)),
            prop::collection::vec((any::<u64>(), 0_usize..4), 0..9).prop_map(Owned::Ends),
            prop::collection::vec(any::<(u64, u32)>(), 0..9).prop_map(Owned::Attempts),
        ];
        prop::collection::vec(record, 0..8)
    }

    fn start<'a>(machine: &'a str, name: &'a str, input: &'a [u8]) -> StartRecord<'a> {
        StartRecord {
            machine,
            revision: 0,
            name,
            started_at: Timestamp::from_millis(0),
            seed: 0,
            attempt: 1,
            input,
        }
    }

    fn encode(record: &Owned, into: &mut Encoded) {
        match record {
            Owned::Start(machine, revision, name, millis, attempt, input) => {
                into.start(&StartRecord {
                    revision: *revision,
                    started_at: Timestamp::from_millis(*millis),
                    seed: revision.rotate_left(7),
                    attempt: *attempt,
                    ..start(machine, name, input)
                });
            }
            Owned::Moved(lsn, machine, input) => into.moved(Lsn(*lsn), &start(machine, "", input)),
            Owned::Ends(ends) => into.ends(ends.iter().map(|(start, status)| EndRecord {
                start: Lsn(*start),
                status: EndStatus::ALL[*status],
            })),
            Owned::Attempts(list) => into.attempts(list.iter().map(|(start, n)| (Lsn(*start), *n))),
        }
    }

    fn owned(record: &Record<'_>) -> Owned {
        match record {
            Record::Start(start) if start.seed != start.revision.rotate_left(7) => {
                panic!("the seed is another: {start:?}")
            }
            Record::Start(start) => Owned::Start(
                start.machine.to_owned(),
                start.revision,
                start.name.to_owned(),
                start.started_at.millis(),
                start.attempt,
                start.input.to_vec(),
            ),
            Record::Moved { start, record } => {
                Owned::Moved(start.0, record.machine.to_owned(), record.input.to_vec())
            }
            Record::Ends(ends) => Owned::Ends(
                ends.iter()
                    .map(|end| (end.start.0, end.status as usize))
                    .collect(),
            ),
            Record::Attempts(attempts) => {
                Owned::Attempts(attempts.iter().map(|(start, n)| (start.0, n)).collect())
            }
        }
    }

    const PLACE: BlockPlace = BlockPlace {
        salt: 1,
        segment: 2,
        first_lsn: Lsn(30),
    };

    proptest! {
        /// Records come back as they were, whether they were encoded together or in parts.
        #[test]
        fn there_and_back(records in records(), cut in 0_usize..8) {
            let mut whole = Encoded::default();
            for record in &records {
                encode(record, &mut whole);
            }
            let (mut left, mut right) = (Encoded::default(), Encoded::default());
            for (index, record) in records.iter().enumerate() {
                encode(record, if index < cut { &mut left } else { &mut right });
            }
            left.append(&right);
            prop_assert_eq!((&left.bytes, left.digest, left.records), (&whole.bytes, whole.digest, whole.records));

            let header = BlockHeader::decode(&whole.header(&PLACE, false)).expect("a header");
            prop_assert_eq!(header.place, PLACE);
            prop_assert!(header.fits(&whole.bytes));
            let read: Vec<(Lsn, Record<'_>)> = Records::new(&header, &whole.bytes).collect();
            prop_assert_eq!(read.len(), records.len());
            for (index, ((lsn, found), record)) in read.iter().zip(&records).enumerate() {
                prop_assert_eq!(lsn.0, 30 + index as u64);
                prop_assert_eq!(format!("{:?}", owned(found)), format!("{record:?}"));
            }
        }

        /// Records in another order, or one of them missing, do not fit the header, though each of them is sound.
        #[test]
        fn a_block_holds_its_own_records(records in records(), at in 0_usize..8) {
            let mut parts: Vec<Encoded> = Vec::new();
            let mut whole = Encoded::default();
            for record in &records {
                let mut part = Encoded::default();
                encode(record, &mut part);
                whole.append(&part);
                parts.push(part);
            }
            let header = BlockHeader::decode(&whole.header(&PLACE, false)).expect("a header");
            if parts.len() > 1 {
                let at = at % (parts.len() - 1);
                parts.swap(at, at + 1);
                let swapped: Vec<u8> = parts.iter().flat_map(|part| part.bytes.clone()).collect();
                prop_assert_eq!(header.fits(&swapped), swapped == whole.bytes);
                parts.remove(at);
                let shorter: Vec<u8> = parts.iter().flat_map(|part| part.bytes.clone()).collect();
                prop_assert!(!header.fits(&shorter));
            }
        }

        /// Arbitrary bytes are read without panicking.
        #[test]
        fn anything_may_be_read(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0_u8..6) {
            let _ = SegmentHeader::decode(&bytes);
            let _ = BlockHeader::decode(&bytes);
            let mut frame = vec![0; RECORD_HEADER_BYTES];
            frame[8] = kind;
            frame.extend_from_slice(&bytes);
            let _ = decode(&frame);
            let _ = split_frame(&bytes);
        }
    }

    #[test]
    fn the_length_of_a_start_is_known_beforehand() {
        let record = start("machine", "name", b"{}");
        let mut encoded = Encoded::default();
        encoded.start(&record);
        assert_eq!(encoded.bytes.len(), start_bytes(&record));
    }
}
