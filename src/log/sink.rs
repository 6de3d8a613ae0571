//! Sinks: what becomes of complete blocks. Each has a queue and a thread of its own.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Now;
use super::block::Block;
use super::counters::{Dropped, SinkCounters};
use super::decode::Decoder;
use super::file::{Existing, LogFile, Rotation};
use super::filter::Filter;
use super::format::Header;
use super::queue::{Policy, Queue, Refused};
use super::render::{LineFormat, Renderer};
use super::stream::Pool;

/// How a sink writes events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SinkFormat {
    /// A line for every event.
    Lines(LineFormat),
    /// The compact format, which `quickstep logs` reads. A filter does not apply: blocks are written as they are.
    Compact,
}

/// Bytes of blocks that wait for a sink, unless somebody says otherwise.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// Lines are written to where they go once there are so many bytes of them.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where events go, and how: made with [`LogSink::file`] and the like, given to
/// [`LogStreamBuilder::sink`](super::LogStreamBuilder::sink).
pub struct LogSink {
    name: Box<str>,
    target: Place,
    existing: Existing,
    format: SinkFormat,
    rotation: Rotation,
    policy: Policy,
    queue_bytes: usize,
    filter: Filter,
}

/// What a writer's error may hold, if it knows how much of what it was to write is lost: an
/// [`io::Error`] of it counts so many events, any other one all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// How many events.
    pub events: u64,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Lost {}

enum Place {
    File(std::path::PathBuf),
    Stream(Box<dyn Write + Send>),
}

impl LogSink {
    fn new(name: &str, target: Place, format: SinkFormat) -> LogSink {
        LogSink {
            name: name.into(),
            target,
            existing: Existing::Append,
            format,
            rotation: Rotation::default(),
            policy: Policy::default(),
            queue_bytes: QUEUE_BYTES,
            filter: Filter::default(),
        }
    }

    /// A file; what is in it stays.
    #[must_use]
    pub fn file(path: impl AsRef<Path>, format: SinkFormat) -> LogSink {
        let path = path.as_ref();
        let name = path.display().to_string();
        LogSink::new(&name, Place::File(path.to_owned()), format)
    }

    /// The standard output.
    #[must_use]
    pub fn stdout(format: SinkFormat) -> LogSink {
        LogSink::writer("stdout", io::stdout(), format)
    }

    /// Anything that can be written to: a pipe, a socket, memory. `name` is for counters and errors.
    #[must_use]
    pub fn writer(name: &str, writer: impl Write + Send + 'static, format: SinkFormat) -> LogSink {
        LogSink::new(name, Place::Stream(Box::new(writer)), format)
    }

    /// What is in the file is dropped.
    #[must_use]
    pub fn replace(mut self) -> LogSink {
        self.existing = Existing::Replace;
        self
    }

    /// When the file is put aside.
    #[must_use]
    pub fn rotation(mut self, rotation: Rotation) -> LogSink {
        self.rotation = rotation;
        self
    }

    /// What happens to events that the sink is too slow for; by default they are dropped.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> LogSink {
        self.policy = policy;
        self
    }

    /// Most bytes of compact records that wait for the sink.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> LogSink {
        self.queue_bytes = bytes;
        self
    }

    /// Which of the events that are recorded go to this sink.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> LogSink {
        self.filter = filter;
        self
    }

    pub(super) const fn needs_time(&self) -> bool {
        self.rotation.age_millis.is_some()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Opens the file; what the workers and what the sink's thread have of it.
    pub(super) fn open(self, now: Option<Now>) -> io::Result<(Arc<SinkShared>, SinkThread)> {
        let target = match self.target {
            Place::File(path) => {
                Target::File(LogFile::open(&path, self.existing, self.rotation, now)?)
            }
            Place::Stream(stream) => Target::Stream {
                stream,
                is_broken: false,
            },
        };
        let shared = Arc::new(SinkShared {
            name: self.name,
            queue: Queue::new(self.policy, self.queue_bytes),
            tally: Tally::default(),
        });
        let thread = SinkThread {
            shared: Arc::clone(&shared),
            target,
            format: self.format,
            filter: self.filter,
            is_torn: false,
            lines: LineMaker::default(),
        };
        Ok((shared, thread))
    }
}

impl std::fmt::Debug for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSink")
            .field("name", &self.name)
            .field("format", &self.format)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What workers see of a sink.
#[derive(Debug)]
pub(super) struct SinkShared {
    pub(super) name: Box<str>,
    pub(super) queue: Queue,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    events: AtomicU64,
    bytes: AtomicU64,
    queue_full: AtomicU64,
    write_failed: AtomicU64,
    closed: AtomicU64,
    errors: AtomicU64,
    rotations: AtomicU64,
    error: Mutex<Option<String>>,
}

impl SinkShared {
    pub(super) fn push(&self, block: &Arc<Block>) {
        let counter = match self.queue.push(block) {
            Ok(()) => return,
            Err(Refused::Full) => &self.tally.queue_full,
            Err(Refused::Closed) => &self.tally.closed,
        };
        counter.fetch_add(block.events.into(), Ordering::Relaxed);
    }

    pub(super) fn counters(&self) -> SinkCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (queue_blocks, queue_bytes) = self.queue.depth();
        let tally = &self.tally;
        let error = tally.error.lock().unwrap_or_else(PoisonError::into_inner);
        SinkCounters {
            name: self.name.clone(),
            events: of(&tally.events),
            bytes: of(&tally.bytes),
            dropped: Dropped {
                queue_full: of(&tally.queue_full),
                write_failed: of(&tally.write_failed),
                closed: of(&tally.closed),
            },
            errors: of(&tally.errors),
            error: error.clone(),
            rotations: of(&tally.rotations),
            queue_blocks,
            queue_bytes,
        }
    }

    fn failed(&self, error: &str, events: u64) {
        self.tally.errors.fetch_add(1, Ordering::Relaxed);
        self.tally.write_failed.fetch_add(events, Ordering::Relaxed);
        let mut last = self
            .tally
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(error.to_owned());
    }
}

enum Target {
    File(LogFile),
    Stream {
        stream: Box<dyn Write + Send>,
        /// Nobody reads it any more.
        is_broken: bool,
    },
}

/// What a sink's thread works with.
pub(super) struct SinkThread {
    shared: Arc<SinkShared>,
    target: Target,
    format: SinkFormat,
    filter: Filter,
    /// The last thing written was not written whole.
    is_torn: bool,
    lines: LineMaker,
}

/// Makes lines of blocks.
#[derive(Debug, Default)]
struct LineMaker {
    decoder: Decoder,
    renderer: Renderer,
    out: Vec<u8>,
    scratch: Vec<u8>,
}

impl SinkThread {
    /// Writes blocks until the queue is closed.
    pub(super) fn run(mut self, pool: &Pool) {
        let shared = Arc::clone(&self.shared);
        // Whatever happens to this thread, nobody waits for it for ever.
        let _abandoned = AbandonAtEnd(&shared);
        while let Some(block) = shared.queue.pop() {
            match self.format {
                SinkFormat::Compact => self.compact(&block),
                SinkFormat::Lines(format) => self.lines(&block, format),
            }
            if shared.queue.depth().0 == 0 {
                self.flush();
            }
            pool.recycle(block);
        }
        self.flush();
    }

    fn compact(&mut self, block: &Block) {
        let mut out = std::mem::take(&mut self.lines.out);
        out.clear();
        let header = Header::of(&block.items, block.events);
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(&block.items);
        self.write(&out, u64::from(block.events));
        self.lines.out = out;
    }

    fn lines(&mut self, block: &Block, format: LineFormat) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.out.clear();
        lines.renderer.forget();
        lines.decoder.begin();
        let mut events = 0;
        loop {
            match lines.decoder.next(&block.items) {
                Ok(Some(entry)) => {
                    if !self.filter.wants_all()
                        && !self
                            .filter
                            .wants(&entry, &mut lines.renderer, &mut lines.scratch)
                    {
                        continue;
                    }
                    lines.renderer.line(&entry, format, &mut lines.out);
                    events += 1;
                    if lines.out.len() >= CHUNK_BYTES {
                        self.write(&lines.out, events);
                        lines.out.clear();
                        lines.renderer.forget();
                        events = 0;
                    }
                }
                Ok(None) => break,
                Err(malformed) => {
                    // The recorder has written this block a moment ago: a defect, but none to end a process for.
                    let error = format!("a block that was recorded cannot be read: {malformed:?}");
                    self.shared.failed(&error, 0);
                    break;
                }
            }
        }
        if events > 0 {
            self.write(&lines.out, events);
        }
        self.lines = lines;
    }

    fn write(&mut self, bytes: &[u8], events: u64) {
        let is_lines = self.format != SinkFormat::Compact;
        // Ends a line that was torn, so that only it is lost.
        let end: &[u8] = if self.is_torn && is_lines { b"\n" } else { b"" };
        let written = match &mut self.target {
            Target::File(file) => {
                let result = match file.write(end, is_lines) {
                    Ok(()) => file.write(bytes, is_lines),
                    Err(unwritten) => Err(unwritten),
                };
                self.is_torn = self.is_torn && result.is_err();
                let rotations = file.rotations;
                self.shared
                    .tally
                    .rotations
                    .store(rotations, Ordering::Relaxed);
                match result {
                    Ok(()) => bytes.len(),
                    Err(unwritten) => {
                        self.is_torn |= unwritten.torn;
                        let lost = match is_lines {
                            true => memchr::memchr_iter(b'\n', &bytes[unwritten.written..]).count(),
                            false => events as usize,
                        };
                        self.shared
                            .failed(&unwritten.error.to_string(), lost as u64);
                        self.count(events - lost as u64, unwritten.written);
                        return;
                    }
                }
            }
            Target::Stream {
                is_broken: true, ..
            } => {
                self.shared
                    .tally
                    .write_failed
                    .fetch_add(events, Ordering::Relaxed);
                return;
            }
            Target::Stream { stream, is_broken } => {
                match stream.write_all(end).and_then(|()| stream.write_all(bytes)) {
                    Ok(()) => self.is_torn = false,
                    Err(error) => {
                        let lost = error
                            .get_ref()
                            .and_then(|inner| inner.downcast_ref::<Lost>());
                        if let Some(lost) = lost {
                            let count = lost.events.min(events);
                            self.shared.failed(&lost.why, count);
                            self.count(events - count, bytes.len());
                            return;
                        }
                        *is_broken = error.kind() == io::ErrorKind::BrokenPipe;
                        self.is_torn = true;
                        self.shared.failed(&error.to_string(), events);
                        return;
                    }
                }
                bytes.len()
            }
        };
        self.count(events, written);
    }

    fn count(&self, events: u64, bytes: usize) {
        let tally = &self.shared.tally;
        tally.events.fetch_add(events, Ordering::Relaxed);
        tally.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn flush(&mut self) {
        if let Target::Stream {
            stream,
            is_broken: is_broken @ false,
        } = &mut self.target
            && let Err(error) = stream.flush()
        {
            *is_broken = error.kind() == io::ErrorKind::BrokenPipe;
            self.shared.failed(&error.to_string(), 0);
        }
    }
}

struct AbandonAtEnd<'a>(&'a SinkShared);

impl Drop for AbandonAtEnd<'_> {
    fn drop(&mut self) {
        let left = self.0.queue.abandon();
        if left > 0 {
            self.0.failed("the sink's thread has ended early", left);
        }
    }
}
