//! [`LogStream`]: configuration, recorders, sinks and subscribers of one log.
//!
//! 1. Each worker has a [`Recorder`], which fills a block and shares nothing with other threads meanwhile.
//! 2. A block that is complete, or flushed, goes to the queue of every sink: one lock for some fifty executions.
//! 3. Every sink's thread takes blocks from its queue and writes them. The last one gives the memory back.
//! 4. [`LogStream::close`] closes the queues and waits until the threads have written what is in them.
//!
//! Blocks of several workers come in no order, and an execution may go on on another worker: its events can then stand
//! in the log in another order than that of their ids, as they may on AWS.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::block::Block;
use super::counters::LogCounters;
use super::filter::Filter;
use super::format::BLOCK_BYTES;
use super::recorder::Recorder;
use super::sink::{LogSink, SinkShared};
use super::subscribe::{Subscribers, Subscription};
use super::{LogConfig, Now};
use crate::history::LogLevel;
use crate::stdx::{FixedMap, Timestamp};

/// Why a log stream was not made.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Makes a [`LogStream`].
#[derive(Default)]
pub struct LogStreamBuilder {
    config: LogConfig,
    machines: FixedMap<Box<str>, LogConfig>,
    sinks: Vec<LogSink>,
    now: Option<Now>,
}

impl LogStreamBuilder {
    /// What is logged of machines for which nothing else is said; by default nothing.
    #[must_use]
    pub fn config(mut self, config: LogConfig) -> LogStreamBuilder {
        self.config = config;
        self
    }

    /// What is logged of the machine of this name.
    #[must_use]
    pub fn machine(mut self, name: &str, config: LogConfig) -> LogStreamBuilder {
        self.machines.insert(name.into(), config);
        self
    }

    /// Somewhere that events go.
    #[must_use]
    pub fn sink(mut self, sink: LogSink) -> LogStreamBuilder {
        self.sinks.push(sink);
        self
    }

    /// The time of day, for rotation by age.
    #[must_use]
    pub fn now(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> LogStreamBuilder {
        self.now = Some(Arc::new(now));
        self
    }

    /// Opens the files and starts a thread for each sink.
    ///
    /// # Errors
    ///
    /// If a file cannot be opened, a thread cannot be started, or a file is to be rotated by age and nobody has said
    /// what time it is.
    pub fn build(self) -> Result<LogStream, Error> {
        if self.now.is_none()
            && let Some(sink) = self.sinks.iter().find(|sink| sink.needs_time())
        {
            let name = sink.name();
            return Err(Error(format!(
                "{name} is to be rotated by age: LogStreamBuilder::now must say what time it is"
            )));
        }
        let pool = Arc::new(Pool::default());
        let mut opened = Vec::new();
        for sink in self.sinks {
            let name = sink.name().to_owned();
            let parts = sink
                .open(self.now.clone())
                .map_err(|error| Error(format!("failed to open {name}: {error}")))?;
            opened.push(parts);
        }
        let (sinks, threads): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let shared = Arc::new(Shared {
            sinks,
            pool: Arc::clone(&pool),
            configs: Mutex::new(Configs {
                default: self.config,
                machines: self.machines,
            }),
            subscribers: Subscribers::new(),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
        });
        // From here on dropping the stream closes what was started.
        let stream = LogStream(shared);
        for sink in threads {
            let pool = Arc::clone(&pool);
            thread::Builder::new()
                .name("quickstep-log".to_owned())
                .spawn(move || sink.run(&pool))
                .map_err(|error| Error(format!("failed to start a thread: {error}")))?;
        }
        Ok(stream)
    }
}

impl fmt::Debug for LogStreamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStreamBuilder")
            .field("config", &self.config)
            .field("machines", &self.machines)
            .field("sinks", &self.sinks)
            .finish_non_exhaustive()
    }
}

/// A log: what is logged of which machine, and where it goes.
///
/// ```
/// use quickstep::history::LogLevel;
/// use quickstep::log::{LineFormat, LogConfig, LogSink, LogStream, SinkFormat};
///
/// # let file = std::env::temp_dir().join("quickstep-doc-test.ndjson");
/// let log = LogStream::builder()
///     .config(LogConfig::new(LogLevel::Error))
///     .machine("order", LogConfig::new(LogLevel::All).sample(0.01))
///     .sink(LogSink::file(&file, SinkFormat::Lines(LineFormat::Json)))
///     .build()?;
/// let recorder = log.recorder(); // one for each worker
/// # drop(recorder);
/// let counters = log.close(std::time::Duration::from_secs(5));
/// assert_eq!(counters.dropped(), 0);
/// # Ok::<(), quickstep::log::Error>(())
/// ```
///
/// Dropping it closes it and waits for nothing.
#[derive(Debug)]
pub struct LogStream(Arc<Shared>);

impl LogStream {
    /// Makes one.
    #[must_use]
    pub fn builder() -> LogStreamBuilder {
        LogStreamBuilder::default()
    }

    /// A recorder for one more worker.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder::new(Arc::clone(&self.0))
    }

    /// Makes recorders, for as long as one likes: for threads that come later.
    pub fn recorder_maker(&self) -> impl Fn() -> Recorder + Send + Sync + use<> {
        let shared = Arc::clone(&self.0);
        move || Recorder::new(Arc::clone(&shared))
    }

    /// Sets what is logged of a machine from the next turn of its executions on.
    pub fn configure(&self, machine: &str, config: LogConfig) {
        self.0.configs().machines.insert(machine.into(), config);
        let epoch = &self.0.subscribers.epoch;
        epoch.fetch_add(1, Ordering::Release);
    }

    /// Receives events as they are flushed, from now on. Of those that are not fetched, `events_max` wait; further ones
    /// are dropped and counted.
    ///
    /// # Errors
    ///
    /// If the subscribers' thread cannot be started.
    pub fn subscribe(&self, filter: Filter, events_max: usize) -> Result<Subscription, Error> {
        let subscription = self.0.subscribers.add(filter, events_max);
        subscription.map_err(|error| Error(format!("failed to start a thread: {error}")))
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> LogCounters {
        self.0.counters()
    }

    /// Tells streams apart, for as long as anybody has a part of this one.
    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Reads the counters, for as long as one likes: for metrics.
    pub fn counters_reader(&self) -> impl Fn() -> LogCounters + Send + Sync + use<> {
        let shared = Arc::clone(&self.0);
        move || shared.counters()
    }

    /// Writes what has been flushed, and takes nothing more. A sink that needs longer than `timeout` is left to itself,
    /// with what waits for it.
    pub fn close(self, timeout: Duration) -> LogCounters {
        self.0.close();
        for sink in &self.0.sinks {
            sink.queue.wait(timeout);
        }
        self.0.counters()
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What recorders and the stream share.
#[derive(Debug)]
pub(super) struct Shared {
    sinks: Vec<Arc<SinkShared>>,
    pool: Arc<Pool>,
    configs: Mutex<Configs>,
    subscribers: Arc<Subscribers>,
    events: AtomicU64,
    bytes: AtomicU64,
    too_large: AtomicU64,
}

#[derive(Debug)]
struct Configs {
    default: LogConfig,
    machines: FixedMap<Box<str>, LogConfig>,
}

impl Shared {
    fn configs(&self) -> MutexGuard<'_, Configs> {
        self.configs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(super) fn epoch(&self) -> u64 {
        self.subscribers.epoch.load(Ordering::Acquire)
    }

    /// What is recorded of a machine: nothing, if nobody would get it.
    pub(super) fn config(&self, machine: &str) -> LogConfig {
        let configs = self.configs();
        let config = configs.machines.get(machine).unwrap_or(&configs.default);
        if self.sinks.is_empty() && self.subscribers.is_empty() {
            return LogConfig::new(LogLevel::Off);
        }
        *config
    }

    pub(super) fn memory(&self) -> Vec<u8> {
        self.pool.take()
    }

    pub(super) fn too_large(&self) {
        self.too_large.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, block: Block) {
        self.events
            .fetch_add(block.events.into(), Ordering::Relaxed);
        self.bytes
            .fetch_add(block.items.len() as u64, Ordering::Relaxed);
        let block = Arc::new(block);
        for sink in &self.sinks {
            sink.push(&block);
        }
        self.subscribers.publish(&block);
        self.pool.recycle(block);
    }

    fn close(&self) {
        for sink in &self.sinks {
            sink.queue.close();
        }
        self.subscribers.close();
    }

    fn counters(&self) -> LogCounters {
        let (subscribers, dropped_by_subscribers) = self.subscribers.counters();
        LogCounters {
            events: self.events.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            dropped_too_large: self.too_large.load(Ordering::Relaxed),
            sinks: self.sinks.iter().map(|sink| sink.counters()).collect(),
            dropped_by_subscribers,
            subscribers,
        }
    }
}

/// Memory of blocks, used again.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<u8>>>);

/// Blocks' memory that is kept.
const POOLED_MAX: usize = 64;

/// Room behind a block that is complete for the event that completes it.
const SLACK_BYTES: usize = 16 * 1024;

impl Pool {
    fn take(&self) -> Vec<u8> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.pop()
            .unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES + SLACK_BYTES))
    }

    /// Takes the memory of a block, if nobody else has it.
    pub(super) fn recycle(&self, block: Arc<Block>) {
        let Some(mut block) = Arc::into_inner(block) else {
            return;
        };
        block.items.clear();
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < POOLED_MAX && block.items.capacity() <= 2 * (BLOCK_BYTES + SLACK_BYTES) {
            pool.push(block.items);
        }
    }
}
