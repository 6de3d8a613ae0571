//! Reading segments: block by block, and where the log ends. It changes nothing.

use std::io;
use std::sync::Arc;

use super::error::{Error, ErrorKind};
use super::live::Live;
use super::record::{
    BLOCK_ALIGN, BLOCK_HEADER_BYTES, BlockHeader, FirstPage, Lsn, Record, Records,
    SEGMENT_HEADER_BYTES, SegmentHeader,
};
use super::storage::{Storage, StorageFile};

const ENDING: &str = ".segment";
/// How much is read at once where blocks are looked for.
const SEARCH_BYTES: usize = 1 << 20;

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:012}{ENDING}")
}

fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(ENDING)?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// A tail that was cut: the write of a commit that nobody was told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The segment's number.
    pub segment: u64,
    /// Where in its file the cut is.
    pub offset: u64,
    /// How many bytes behind it are not zero, up to the last that is not.
    pub bytes: u64,
}

/// What was found in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SegmentSummary {
    /// Its number.
    pub number: u64,
    /// The Lsn of its first record.
    pub first_lsn: u64,
    /// The length of its file.
    pub file_bytes: u64,
    /// Where its last block ends.
    pub end_offset: u64,
    /// Its blocks, that is, group commits.
    pub blocks: u64,
    /// Its records.
    pub records: u64,
    /// Starts.
    pub starts: u64,
    /// Starts that were written again from older segments.
    pub moved: u64,
    /// Ends.
    pub ends: u64,
    /// Attempts.
    pub attempts: u64,
    /// Unfinished starts whose newest record is here.
    pub unfinished: u64,
    /// Whether the journal was closed after its last block.
    pub is_closed: bool,
}

/// A segment that has records, or is about to.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) first_lsn: Lsn,
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) summary: SegmentSummary,
}

/// Everything that can be known of a journal by reading it.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) salt: Option<u64>,
    /// Those with a header, in order.
    pub(super) segments: Vec<Segment>,
    /// Names of files that were prepared for segments, and hold nothing yet.
    pub(super) unstarted: Vec<u64>,
    pub(super) next_lsn: Lsn,
    pub(super) live: Live,
    pub(super) cut: Option<Cut>,
    /// Where the last block begins, and how many bytes it takes.
    pub(super) last_block: Option<(u64, usize)>,
    /// Starts seen, and their bytes.
    pub(super) starts: (u64, u64),
}

/// Whether files are opened to be changed afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Read,
    Write,
}

fn storage_error(segment: u64, tried: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::storage(&format!("{tried} segment {segment}"), &error)
}

/// Reads all of a journal.
pub(super) fn scan(storage: &dyn Storage, access: Access) -> Result<Scan, Error> {
    let numbers = numbers(storage)?;
    let mut files = Vec::with_capacity(numbers.len());
    for &number in &numbers {
        let name = segment_name(number);
        let file = match access {
            Access::Read => storage.open_to_read(&name),
            Access::Write => storage.open(&name),
        };
        let file = file.map_err(storage_error(number, "open"))?;
        files.push((number, first_page(number, &*file)?, file));
    }
    let started = started(&files)?;
    let unstarted = files.split_off(started);
    let mut scan = Scan {
        salt: None,
        segments: Vec::with_capacity(started),
        unstarted: unstarted.iter().map(|(number, ..)| *number).collect(),
        next_lsn: Lsn(1),
        live: Live::default(),
        cut: None,
        last_block: None,
        starts: (0, 0),
    };
    for (index, (number, page, file)) in files.iter().enumerate() {
        let FirstPage::Header(header) = page else {
            return Err(Error::corrupt(*number, 0, "no header of a segment"));
        };
        let end = match files.get(index + 1) {
            Some((_, FirstPage::Header(next), _)) => Some(next.first_lsn),
            Some((number, ..)) => {
                return Err(Error::corrupt(*number, 0, "no header of a segment"));
            }
            None => None,
        };
        scan.segment(*header, file, end)?;
    }
    if let Some((number, _, file)) = unstarted.first() {
        scan.torn_header(*number, &**file)?;
    }
    scan.count_unfinished();
    Ok(scan)
}

fn numbers(storage: &dyn Storage) -> Result<Vec<u64>, Error> {
    let names = storage
        .list()
        .map_err(|error| Error::storage("list the journal's directory", &error))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    for pair in numbers.windows(2) {
        if pair[0] + 1 != pair[1] {
            let missing = pair[0] + 1;
            let why = format!("its file is missing, but there is segment {}", pair[1]);
            return Err(Error::corrupt(missing, 0, why));
        }
    }
    Ok(numbers)
}

fn first_page(number: u64, file: &dyn StorageFile) -> Result<FirstPage, Error> {
    let mut page = vec![0; SEGMENT_HEADER_BYTES];
    let read = file
        .read_at(&mut page, 0)
        .map_err(storage_error(number, "read"))?;
    match SegmentHeader::decode(&page[..read]) {
        // A file that was another segment before, and whose new header was not written yet.
        FirstPage::Header(header) if header.number != number => Ok(FirstPage::Other),
        FirstPage::Version(version) => Err(Error::new(
            ErrorKind::Version,
            format!(
                "segment {number} has version {version} of the journal's format; this program knows {}",
                super::FORMAT_VERSION
            ),
        )),
        page => Ok(page),
    }
}

/// How many of the files have been started. What follows the last header was only prepared, or its first commit was torn.
fn started(files: &[(u64, FirstPage, Arc<dyn StorageFile>)]) -> Result<usize, Error> {
    let started = files
        .iter()
        .rposition(|(_, page, _)| matches!(page, FirstPage::Header(_)))
        .map_or(0, |last| last + 1);
    for (number, _, file) in &files[started..] {
        // The header is synced together with the first block. A second one shows that it was there.
        let mut search = Search::new(&**file, *number, None, SEGMENT_HEADER_BYTES as u64);
        let first = search.next()?;
        let second = search.next()?;
        let proof = match (first, second) {
            (Some((offset, _)), None) if offset > SEGMENT_HEADER_BYTES as u64 => Some(offset),
            (_, Some((offset, _))) => Some(offset),
            _ => None,
        };
        if let Some(offset) = proof {
            let why = format!("no header of a segment, but a commit at offset {offset}");
            return Err(Error::corrupt(*number, 0, why));
        }
    }
    Ok(started)
}

impl Scan {
    /// Reads a segment that must go on up to `end`, or is the last one.
    fn segment(
        &mut self,
        header: SegmentHeader,
        file: &Arc<dyn StorageFile>,
        end: Option<Lsn>,
    ) -> Result<(), Error> {
        let number = header.number;
        if self.segments.is_empty() {
            self.next_lsn = header.first_lsn;
            self.salt = Some(header.salt);
        }
        if Some(header.salt) != self.salt {
            return Err(Error::corrupt(number, 16, "it is from another journal"));
        }
        if header.first_lsn != self.next_lsn {
            let why = format!(
                "it begins with record {}, not {}",
                header.first_lsn, self.next_lsn
            );
            return Err(Error::corrupt(number, 32, why));
        }
        let mut reader = BlockReader::new(Arc::clone(file), number, header.salt, self.next_lsn)?;
        let mut summary = SegmentSummary {
            number,
            first_lsn: header.first_lsn.0,
            file_bytes: reader.file_bytes,
            ..SegmentSummary::default()
        };
        self.last_block = None;
        while end.is_none_or(|end| reader.next_lsn < end) {
            let offset = reader.offset;
            let Some(block) = reader.next()? else {
                break;
            };
            summary.is_closed = block.header.is_closing;
            summary.blocks += 1;
            summary.records += u64::from(block.header.records);
            for (lsn, record) in block.records() {
                self.follow(lsn, &record, &mut summary);
            }
            self.last_block = Some((offset, BLOCK_HEADER_BYTES + block.header.bytes));
        }
        self.next_lsn = reader.next_lsn;
        summary.end_offset = reader.offset;
        match end {
            Some(end) if end != self.next_lsn => {
                let why = format!(
                    "a commit with record {} must be here, and is not readable",
                    self.next_lsn
                );
                return Err(Error::corrupt(number, reader.offset, why));
            }
            Some(_) => {}
            None => self.tail(&mut reader, header.is_recycled)?,
        }
        self.segments.push(Segment {
            number,
            first_lsn: header.first_lsn,
            file: Arc::clone(file),
            summary,
        });
        Ok(())
    }

    fn follow(&mut self, lsn: Lsn, record: &Record<'_>, summary: &mut SegmentSummary) {
        match record {
            Record::Start(start) => {
                summary.starts += 1;
                self.starts.0 += 1;
                self.starts.1 += super::record::start_bytes(start) as u64;
                self.live.start(lsn, 1);
            }
            Record::Moved { start, .. } => {
                summary.moved += 1;
                self.live.relocate(*start, lsn);
            }
            Record::Ends(ends) => {
                summary.ends += ends.iter().len() as u64;
                for end in ends.iter() {
                    // The start may have been in a segment that is gone.
                    self.live.end(end.start);
                }
            }
            Record::Attempts(attempts) => {
                summary.attempts += attempts.iter().len() as u64;
                for (start, attempt) in attempts.iter() {
                    self.live.attempt(start, attempt);
                }
            }
        }
    }

    /// Decides whether the log ends where its last segment cannot be read further.
    fn tail(&mut self, reader: &mut BlockReader, is_recycled: bool) -> Result<(), Error> {
        let (number, offset) = (reader.number, reader.offset);
        let from = offset + BLOCK_ALIGN as u64;
        let mut search = Search::new(&*reader.file, number, Some(reader.salt), from);
        while let Some((later, header)) = search.next()? {
            if header.place.first_lsn >= reader.next_lsn {
                if reader.next()?.is_some() {
                    // Somebody is writing: there was nothing here when this place was read, and now there is.
                    return Ok(());
                }
                let why = format!(
                    "a commit with record {} must be here and is not readable, but there is one at offset {later}",
                    reader.next_lsn
                );
                return Err(Error::corrupt(number, offset, why));
            }
        }
        // In a recycled file old bytes follow the end; only a header that was meant for this place shows a torn write.
        let is_torn = !is_recycled || reader.header()?.is_some();
        if is_torn {
            self.set_cut(number, offset, last_byte(&*reader.file, number, offset)?);
        }
        Ok(())
    }

    /// A torn first commit of a new segment leaves bytes and no header.
    fn torn_header(&mut self, number: u64, file: &dyn StorageFile) -> Result<(), Error> {
        let first_block =
            Search::new(file, number, self.salt, SEGMENT_HEADER_BYTES as u64).next()?;
        let mut page = vec![0; SEGMENT_HEADER_BYTES];
        let read = file
            .read_at(&mut page, 0)
            .map_err(storage_error(number, "read"))?;
        let is_old = page[..read].starts_with(b"QSTPJRNL")
            && matches!(SegmentHeader::decode(&page[..read]), FirstPage::Header(_));
        if first_block.is_some() || !is_old {
            self.set_cut(number, 0, last_byte(file, number, 0)?);
        }
        Ok(())
    }

    fn set_cut(&mut self, segment: u64, offset: u64, end: u64) {
        if end > offset {
            self.cut = Some(Cut {
                segment,
                offset,
                bytes: end - offset,
            });
        }
    }

    fn count_unfinished(&mut self) {
        for segment in &mut self.segments {
            let first = segment.first_lsn.0;
            segment.summary.unfinished = (first..first + segment.summary.records)
                .filter(|lsn| self.live.is_live_at(Lsn(*lsn)))
                .count() as u64;
        }
    }
}

/// The offset behind the last byte that is not zero.
fn last_byte(file: &dyn StorageFile, number: u64, from: u64) -> Result<u64, Error> {
    let mut buffer = vec![0; search_bytes(file, number, from)?];
    let (mut at, mut end) = (from, from);
    loop {
        let read = file
            .read_at(&mut buffer, at)
            .map_err(storage_error(number, "read"))?;
        if let Some(last) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += read as u64;
        if read < buffer.len() || read == 0 {
            return Ok(end);
        }
    }
}

/// How much to read at once: not more than there is.
fn search_bytes(file: &dyn StorageFile, number: u64, from: u64) -> Result<usize, Error> {
    let bytes = file.bytes().map_err(storage_error(number, "measure"))?;
    let rest = usize::try_from(bytes.saturating_sub(from)).unwrap_or(SEARCH_BYTES);
    Ok(rest.min(SEARCH_BYTES))
}

/// A block and the bytes of its records.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) header: BlockHeader,
    body: &'a [u8],
}

impl Block<'_> {
    pub(super) fn records(&self) -> Records<'_> {
        Records::new(&self.header, self.body)
    }
}

/// Reads the blocks of a segment in order.
#[derive(Debug)]
pub(super) struct BlockReader {
    file: Arc<dyn StorageFile>,
    number: u64,
    salt: u64,
    file_bytes: u64,
    body: Vec<u8>,
    /// Where the next block is.
    pub(super) offset: u64,
    /// Which record is its first.
    pub(super) next_lsn: Lsn,
}

impl BlockReader {
    pub(super) fn new(
        file: Arc<dyn StorageFile>,
        number: u64,
        salt: u64,
        first_lsn: Lsn,
    ) -> Result<BlockReader, Error> {
        let file_bytes = file.bytes().map_err(storage_error(number, "measure"))?;
        Ok(BlockReader {
            file,
            number,
            salt,
            file_bytes,
            body: Vec::new(),
            offset: SEGMENT_HEADER_BYTES as u64,
            next_lsn: first_lsn,
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The header at the reader's place, if it is one of this place.
    fn header(&self) -> Result<Option<BlockHeader>, Error> {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        let read = self
            .file
            .read_at(&mut bytes, self.offset)
            .map_err(storage_error(self.number, "read"))?;
        Ok(BlockHeader::decode(&bytes[..read]).filter(|header| {
            (header.place.salt, header.place.segment) == (self.salt, self.number)
                && header.place.first_lsn == self.next_lsn
        }))
    }

    /// The next block; none where there is no valid one.
    pub(super) fn next(&mut self) -> Result<Option<Block<'_>>, Error> {
        let Some(header) = self.header()? else {
            return Ok(None);
        };
        let body_at = self.offset + BLOCK_HEADER_BYTES as u64;
        // No more memory than there are bytes in the file.
        if header.bytes as u64 > self.file_bytes.saturating_sub(body_at) {
            return Ok(None);
        }
        self.body.resize(header.bytes, 0);
        let read = self
            .file
            .read_at(&mut self.body, body_at)
            .map_err(storage_error(self.number, "read"))?;
        if !header.fits(&self.body[..read]) {
            return Ok(None);
        }
        self.offset += header.padded_bytes();
        self.next_lsn = Lsn(self.next_lsn.0 + u64::from(header.records));
        let body = &self.body;
        Ok(Some(Block { header, body }))
    }
}

/// Looks for valid blocks of a segment, wherever they are.
struct Search<'f> {
    file: &'f dyn StorageFile,
    number: u64,
    salt: Option<u64>,
    at: u64,
    page_at: u64,
    pages: Vec<u8>,
}

impl<'f> Search<'f> {
    fn new(file: &'f dyn StorageFile, number: u64, salt: Option<u64>, from: u64) -> Search<'f> {
        Search {
            file,
            number,
            salt,
            at: from,
            page_at: from,
            pages: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<Option<(u64, BlockHeader)>, Error> {
        loop {
            let in_pages = usize::try_from(self.at - self.page_at).unwrap_or(usize::MAX);
            if in_pages >= self.pages.len() {
                let bytes = search_bytes(self.file, self.number, self.at)?;
                self.pages.resize(bytes, 0);
                let read = self
                    .file
                    .read_at(&mut self.pages, self.at)
                    .map_err(storage_error(self.number, "read"))?;
                self.pages.truncate(read);
                self.page_at = self.at;
                if read == 0 {
                    return Ok(None);
                }
                continue;
            }
            let offset = self.at;
            self.at += BLOCK_ALIGN as u64;
            let Some(header) = BlockHeader::decode(&self.pages[in_pages..]) else {
                continue;
            };
            let is_ours = header.place.segment == self.number
                && self.salt.is_none_or(|salt| salt == header.place.salt);
            if is_ours && self.holds(offset, &header)? {
                return Ok(Some((offset, header)));
            }
        }
    }

    /// Whether the block's records are as its header says.
    fn holds(&self, offset: u64, header: &BlockHeader) -> Result<bool, Error> {
        let body_at = offset + BLOCK_HEADER_BYTES as u64;
        let file_bytes = self
            .file
            .bytes()
            .map_err(storage_error(self.number, "measure"))?;
        if header.bytes as u64 > file_bytes.saturating_sub(body_at) {
            return Ok(false);
        }
        let mut body = vec![0; header.bytes];
        let read = self
            .file
            .read_at(&mut body, body_at)
            .map_err(storage_error(self.number, "read"))?;
        Ok(header.fits(&body[..read]))
    }
}
