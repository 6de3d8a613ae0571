//! [`LogReader`]: the events of compact logs, from files and pipes.

use std::fmt;
use std::io::{self, Read};

use super::decode::{Decoder, Entry};
use super::filter::Filter;
use super::format::{BLOCK_BYTES_MAX, Header, MAGIC, Malformed, VERSION, crc32c};
use super::render::{LineFormat, Renderer};

/// A part of a log that cannot be read. What comes after it can.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where it begins, in bytes from the beginning of the log.
    pub offset: u64,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged at offset {}: {}", self.offset, self.message)
    }
}

/// Why reading stopped.
#[derive(Debug)]
pub enum ReadError {
    /// The log cannot be read further.
    Read(io::Error),
    /// What was rendered cannot be written.
    Write(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Read(error) | ReadError::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

/// Bytes that are read at a time: few at first, more in larger logs.
const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 256 * 1024;

/// Rendered lines are handed over once there are so many bytes of them.
const CHUNK_BYTES: usize = 256 * 1024;

/// Places within a broken block at which another one may begin that are looked into. A writer leaves one; without a bound
/// a hostile file could have every block looked at once for each of its bytes.
const CANDIDATES_MAX: u32 = 16;

/// Reads a compact log, block by block.
///
/// A torn or corrupt block is reported with its place, and the next one is looked for. Memory is bounded by the largest
/// block there may be, whatever the log holds.
#[derive(Debug)]
pub struct LogReader<R> {
    source: R,
    /// What was read and not used; from `at` on it is still to be looked at.
    buffer: Vec<u8>,
    at: usize,
    /// Place of the buffer's beginning in the log.
    offset: u64,
    is_at_end: bool,
    /// Where something began that is no block, and what is wrong with it.
    damaged: Option<Damage>,
    /// The broken block that is looked through for another one: its end, and how many more places are looked into.
    broken: Option<(u64, u32)>,
    decoder: Decoder,
    renderer: Renderer,
    out: Vec<u8>,
    scratch: Vec<u8>,
}

/// What stands next in a log.
enum Next {
    /// A block, whose items are at this place in the buffer.
    Block {
        start: usize,
        end: usize,
    },
    Damage(Damage),
    /// Nothing, so far.
    End,
}

impl<R: Read> LogReader<R> {
    /// Reads from the beginning of a block.
    pub fn new(source: R) -> LogReader<R> {
        LogReader {
            source,
            buffer: Vec::new(),
            at: 0,
            offset: 0,
            is_at_end: false,
            damaged: None,
            broken: None,
            decoder: Decoder::default(),
            renderer: Renderer::default(),
            out: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Bytes of the log that were read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Renders the events that a filter lets through, up to the end of what there is; can be called again when there
    /// may be more. Lines are handed to `write` in large pieces, damages to `report`. Returns how many events there
    /// were.
    ///
    /// A block that is not there whole is waited for, unless `is_final`.
    ///
    /// # Errors
    ///
    /// If the log cannot be read, or `write` fails.
    pub fn render(
        &mut self,
        filter: &Filter,
        format: LineFormat,
        is_final: bool,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
        mut report: impl FnMut(Damage),
    ) -> Result<u64, ReadError> {
        let mut events = 0;
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        self.renderer.forget();
        loop {
            match self.next(is_final).map_err(ReadError::Read)? {
                Next::Block { start, end } => {
                    let at = self.offset + start as u64;
                    let result = self.block(start, end, filter, |entry, renderer| {
                        renderer.line(entry, format, &mut out);
                        events += 1;
                        if out.len() >= CHUNK_BYTES {
                            renderer.forget();
                            write(&out)?;
                            out.clear();
                        }
                        Ok(())
                    });
                    let malformed = result.map_err(ReadError::Write)?;
                    if let Err(malformed) = malformed {
                        report(Damage {
                            offset: at + malformed.at as u64,
                            message: malformed.what.to_owned(),
                        });
                    }
                }
                Next::Damage(damage) => report(damage),
                Next::End => break,
            }
        }
        if !out.is_empty() {
            write(&out).map_err(ReadError::Write)?;
        }
        self.out = out;
        Ok(events)
    }

    /// Shows the events of a block; the inner result says whether the block means something.
    fn block(
        &mut self,
        start: usize,
        end: usize,
        filter: &Filter,
        mut show: impl FnMut(&Entry<'_, '_>, &mut Renderer) -> io::Result<()>,
    ) -> io::Result<Result<(), Malformed>> {
        let items = &self.buffer[start..end];
        self.decoder.begin();
        loop {
            match self.decoder.next(items) {
                Ok(Some(entry)) => {
                    if filter.wants(&entry, &mut self.renderer, &mut self.scratch) {
                        show(&entry, &mut self.renderer)?;
                    }
                }
                Ok(None) => return Ok(Ok(())),
                Err(malformed) => return Ok(Err(malformed)),
            }
        }
    }

    /// Finds the next block, or what is in its place.
    fn next(&mut self, is_final: bool) -> io::Result<Next> {
        loop {
            self.fill(self.at + Header::BYTES)?;
            let rest = &self.buffer[self.at..];
            let Some(header) = rest.first_chunk::<{ Header::BYTES }>() else {
                return Ok(self.end(is_final, "the block is not whole"));
            };
            let here = self.offset + self.at as u64;
            let header = match Header::parse(header) {
                Some(header) => header,
                None => {
                    self.damage("no block begins here");
                    self.search();
                    continue;
                }
            };
            let bytes = header.bytes as usize;
            if header.version != VERSION || bytes > BLOCK_BYTES_MAX {
                self.damage(&match header.version {
                    VERSION => format!("a block of {bytes} bytes, more than there may be"),
                    version => format!("version {version} of the format, which is not known here"),
                });
                self.broken
                    .get_or_insert((here + (Header::BYTES + bytes) as u64, CANDIDATES_MAX));
                self.search();
                continue;
            }
            let start = self.at + Header::BYTES;
            self.fill(start + bytes)?;
            // Filling may have moved what was there.
            let start = self.at + Header::BYTES;
            let is_whole = self.buffer.len() >= start + bytes;
            if !is_whole && !is_final {
                return Ok(Next::End);
            }
            if is_whole && crc32c(&self.buffer[start..start + bytes]) == header.checksum {
                if let Some(damage) = self.damaged.take() {
                    return Ok(Next::Damage(damage));
                }
                self.broken = None;
                self.at = start + bytes;
                return Ok(Next::Block {
                    start,
                    end: start + bytes,
                });
            }
            self.damage(match is_whole {
                true => "the block's checksum is wrong",
                false => "the block is not whole",
            });
            let end = here + (Header::BYTES + bytes) as u64;
            self.broken.get_or_insert((end, CANDIDATES_MAX));
            self.search();
        }
    }

    /// The log ends here, at least for now.
    fn end(&mut self, is_final: bool, what: &str) -> Next {
        if !is_final {
            return Next::End;
        }
        if self.at < self.buffer.len() {
            self.damage(what);
            self.at = self.buffer.len();
        }
        self.damaged.take().map_or(Next::End, Next::Damage)
    }

    /// Takes down what is wrong here, unless something before it was wrong already.
    fn damage(&mut self, message: &str) {
        if self.damaged.is_none() {
            self.damaged = Some(Damage {
                offset: self.offset + self.at as u64,
                message: message.to_owned(),
            });
        }
    }

    /// Goes on to where the next block may begin.
    fn search(&mut self) {
        if let Some((end, candidates)) = &mut self.broken {
            let here = self.offset + self.at as u64;
            if here >= *end {
                self.broken = None;
            } else if *candidates == 0 {
                // Enough of this one: it is passed over, as far as it is there.
                let left = usize::try_from(*end - here).unwrap_or(usize::MAX);
                self.at = self.at.saturating_add(left).min(self.buffer.len());
                self.broken = None;
                return;
            } else {
                *candidates -= 1;
            }
        }
        let from = self.at + 1;
        let found = memchr::memmem::find(&self.buffer[from..], &MAGIC);
        // The last bytes may be the beginning of what is looked for.
        let end = self.buffer.len().saturating_sub(MAGIC.len() - 1);
        self.at = found.map_or(end.max(from), |at| from + at);
    }

    /// Reads until the buffer is as long as that, or there is nothing more. What was used is dropped.
    fn fill(&mut self, len: usize) -> io::Result<()> {
        if self.buffer.len() >= len {
            return Ok(());
        }
        let len = len - self.at;
        self.buffer.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        self.is_at_end = false;
        while self.buffer.len() < len && !self.is_at_end {
            let filled = self.buffer.len();
            let read_bytes = filled.max(len).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            self.buffer.resize(filled + read_bytes, 0);
            let read = self.source.read(&mut self.buffer[filled..]);
            let bytes = match &read {
                Ok(bytes) => *bytes,
                Err(_) => 0,
            };
            self.buffer.truncate(filled + bytes);
            match read {
                Ok(bytes) => self.is_at_end = bytes == 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
