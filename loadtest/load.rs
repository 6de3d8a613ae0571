//! One run of a load against a target: threads that send what is due, and a watcher that merges what they record.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::pacer::{Pace, Pacer, nanos, wake_punctually};
use super::recorder::{Counts, Outcome, Shard, Slice};
use super::schedule::{Arrival, Arrivals, Nanos, Schedule};
use super::usage::{Sampler, Usage};

/// When requests are sent.
#[derive(Clone, Debug)]
pub(crate) enum Loop {
    /// When they are due, whatever becomes of the others.
    Open(Schedule),
    /// When another has ended, so that so many are under way on all threads together.
    Closed { in_flight: usize },
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) pace: Loop,
    pub(crate) warm_up: Duration,
    /// Of the warm-up and of what is measured.
    pub(crate) duration: Duration,
    pub(crate) threads: usize,
    pub(crate) interval: Duration,
    /// How long answers are waited for when all is sent, and how long requests that are late are still sent.
    pub(crate) drain: Duration,
    pub(crate) spin: Duration,
}

impl Load {
    /// The threads that send: in a closed loop no more than are to be under way.
    pub(crate) fn senders(&self) -> usize {
        let threads = self.threads.max(1);
        match self.pace {
            Loop::Open(_) => threads,
            Loop::Closed { in_flight } => threads.min(in_flight).max(1),
        }
    }
}

/// What threads are given to do.
#[derive(Debug)]
pub(crate) struct Work<'r, P> {
    pub(crate) pace: P,
    pub(crate) shard: Arc<Shard>,
    source: Source,
    /// When nothing is sent or waited for any more.
    pub(crate) give_up: Nanos,
    stop: &'r AtomicBool,
    /// Most requests under way on this thread.
    pub(crate) in_flight_max: usize,
}

#[derive(Debug)]
enum Source {
    /// With the arrival that was looked at and not taken.
    Open(Box<Arrivals>, Option<Arrival>),
    Closed {
        next: u64,
        step: u64,
        until: Nanos,
    },
}

/// What a thread is to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Due(Arrival),
    At(Nanos),
    Over,
}

impl<P: Pace> Work<'_, P> {
    /// The next request, if it is due. It is taken then; one that cannot be sent must not be asked for.
    pub(crate) fn next(&mut self, now: Nanos) -> Next {
        if now >= self.give_up || self.stop.load(Ordering::Relaxed) {
            return Next::Over;
        }
        match &mut self.source {
            Source::Open(arrivals, peeked) => {
                if peeked.is_none() {
                    *peeked = arrivals.next();
                }
                match *peeked {
                    None => Next::Over,
                    Some(arrival) if arrival.intended > now => Next::At(arrival.intended),
                    Some(arrival) => {
                        *peeked = None;
                        Next::Due(arrival)
                    }
                }
            }
            Source::Closed { until, .. } if now >= *until => Next::Over,
            Source::Closed { next, step, .. } => {
                let index = *next;
                *next += *step;
                Next::Due(Arrival {
                    index,
                    intended: now,
                })
            }
        }
    }

    /// True once nothing is waited for any more. What was sent before an interrupt is.
    pub(crate) fn is_given_up(&self, now: Nanos) -> bool {
        now >= self.give_up
    }

    /// Requests that were due and were not sent; of very many, about as many.
    fn unsent(self) -> u64 {
        match self.source {
            Source::Open(arrivals, peeked) if !self.stop.load(Ordering::Relaxed) => {
                let left = match arrivals.left() {
                    left if left > COUNTED_MAX => left as u64,
                    _ => arrivals.count() as u64,
                };
                left + u64::from(peeked.is_some())
            }
            Source::Open(..) | Source::Closed { .. } => 0,
        }
    }
}

/// Most unsent requests that are gone through to be counted.
const COUNTED_MAX: f64 = 1e8;

/// Sends with a call that answers before it returns.
pub(crate) fn blocking<P: Pace>(
    work: &mut Work<'_, P>,
    mut call: impl FnMut(&P, Arrival) -> Outcome,
) {
    let mut now = work.pace.now();
    loop {
        match work.next(now) {
            Next::Over => return,
            Next::At(at) => now = work.pace.wait_until(at.min(work.give_up)),
            Next::Due(arrival) => {
                let sent = work.pace.now();
                let outcome = call(&work.pace, arrival);
                now = work.pace.now();
                work.shard.answered(arrival, sent, now, outcome);
            }
        }
    }
}

/// What can be sent to.
pub(crate) trait Target: Sync {
    /// Does a thread's work, and returns when everything that was sent has its outcome or is given up.
    ///
    /// # Errors
    ///
    /// If the target cannot be used at all.
    fn drive(&self, thread: usize, work: &mut Work<'_, Pacer>) -> Result<(), String>;

    /// Before a run: what counters stand at, that the run is held against.
    fn begin(&self) {}

    /// Processes whose use of the machine is watched beside the tester's own.
    fn process(&self) -> Option<u32> {
        None
    }

    /// Other counters at the end of a run, by name, that the tester's are held against.
    ///
    /// # Errors
    ///
    /// If they contradict the tester's.
    fn check(&self, _counts: &Counts) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// A row of the series: what an interval has brought.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Row {
    /// Seconds since the measuring began, at the end of the interval.
    pub(crate) at: f64,
    pub(crate) seconds: f64,
    pub(crate) counts: Counts,
    pub(crate) per_second: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) usage: Usage,
}

/// What a run has brought.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) total: Slice,
    pub(crate) rows: Vec<Row>,
    /// Requests that were due, and were not sent before the tester gave up.
    pub(crate) unsent: u64,
    /// Seconds from the end of the warm-up to the last answer.
    pub(crate) seconds: f64,
    /// Seconds in which measured requests were due.
    pub(crate) due_seconds: f64,
    /// Use of the machine over the measured time.
    pub(crate) usage: Usage,
    pub(crate) was_stopped: bool,
}

impl Run {
    /// Requests that were sent and that nothing came of.
    pub(crate) fn unanswered(&self) -> u64 {
        let sent = self.total.counts.sent + self.total.warm_up.sent;
        sent.saturating_sub(self.total.counts.done() + self.total.warm_up.done())
    }

    /// Right answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.total.counts.right as f64 / self.seconds.max(1e-9)
    }

    /// What is wrong with it, if something is.
    pub(crate) fn problem(&self) -> Option<String> {
        let all = self.all();
        let problems = [
            (all.wrong, "wrong outputs"),
            (all.failed, "executions failed"),
            (all.throttled, "throttled"),
            (all.broken, "without an answer that can be read"),
            (self.unanswered(), "never answered"),
            (
                all.done().saturating_sub(all.sent),
                "answered more than once",
            ),
            (self.unsent, "due and not sent"),
        ];
        let found: Vec<String> = problems
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match found.is_empty() {
            true if all.sent == 0 => Some("nothing was sent".to_owned()),
            true => None,
            false => Some(found.join(", ")),
        }
    }

    /// Counts of the warm-up and of what was measured.
    pub(crate) fn all(&self) -> Counts {
        let mut all = self.total.counts;
        all.add(&self.total.warm_up);
        all
    }
}

/// Hears of each interval, as it ends.
pub(crate) trait Watcher {
    fn interval(&mut self, row: &Row, slice: &Slice);
}

impl<F: FnMut(&Row, &Slice)> Watcher for F {
    fn interval(&mut self, row: &Row, slice: &Slice) {
        self(row, slice);
    }
}

/// Set by an interrupt: runs then end, and report.
pub(crate) static STOP: AtomicBool = AtomicBool::new(false);

/// Runs a load to its end.
///
/// # Errors
///
/// If a thread cannot use the target.
pub(crate) fn run(
    target: &dyn Target,
    load: &Load,
    watcher: &mut dyn Watcher,
) -> Result<Run, String> {
    target.begin();
    let pacer = Pacer::new(load.spin);
    let end = nanos(load.warm_up + load.duration);
    let senders = load.senders();
    let shards: Vec<Arc<Shard>> = (0..senders)
        .map(|_| Arc::new(Shard::new(nanos(load.warm_up))))
        .collect();
    let unsent = AtomicU64::new(0);
    let left = AtomicU64::new(senders as u64);
    let work = |thread: usize| Work {
        pace: pacer,
        shard: Arc::clone(&shards[thread]),
        source: match &load.pace {
            Loop::Open(schedule) => {
                Source::Open(Box::new(schedule.arrivals(thread, senders)), None)
            }
            Loop::Closed { .. } => Source::Closed {
                next: thread as u64,
                step: senders as u64,
                until: end,
            },
        },
        give_up: end + nanos(load.drain),
        stop: &STOP,
        in_flight_max: match load.pace {
            Loop::Open(_) => usize::MAX,
            // The first threads have those that are left over.
            Loop::Closed { in_flight } => {
                in_flight / senders + usize::from(thread < in_flight % senders)
            }
        },
    };
    let watching = std::thread::current();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..senders)
            .map(|thread| {
                let mut work = work(thread);
                let (unsent, left, watching) = (&unsent, &left, &watching);
                scope.spawn(move || {
                    let _leaving = Leaving { left, watching };
                    wake_punctually();
                    let result = target.drive(thread, &mut work);
                    unsent.fetch_add(work.unsent(), Ordering::Relaxed);
                    result
                })
            })
            .collect();
        let mut watch = Watch::new(load, &pacer, &shards, target.process());
        watch.all(&left, watcher);
        // All are joined before the first trouble is told: the scope panics for one that panicked and was not.
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        for result in ended {
            result.map_err(|_| "a sending thread panicked; that is a defect".to_owned())??;
        }
        Ok(watch.end(unsent.load(Ordering::Relaxed), watcher))
    })
}

/// Tells the watcher that a sending thread has ended, also by a panic: else it would watch for ever.
struct Leaving<'l> {
    left: &'l AtomicU64,
    watching: &'l std::thread::Thread,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.left.fetch_sub(1, Ordering::Release);
        self.watching.unpark();
    }
}

/// What merges, interval by interval.
struct Watch<'r> {
    load: &'r Load,
    pacer: &'r Pacer,
    shards: &'r [Arc<Shard>],
    sampler: Sampler,
    first: Usage,
    last: Usage,
    total: Slice,
    /// What shards are given in place of what they had: an empty one, which goes round.
    spare: Option<Box<Slice>>,
    merged: Slice,
    rows: Vec<Row>,
    from: Nanos,
}

impl<'r> Watch<'r> {
    fn new(
        load: &'r Load,
        pacer: &'r Pacer,
        shards: &'r [Arc<Shard>],
        process: Option<u32>,
    ) -> Watch<'r> {
        let mut sampler = Sampler::new(process);
        let usage = sampler.sample();
        Watch {
            load,
            pacer,
            shards,
            first: usage,
            last: usage,
            sampler,
            total: Slice::new(),
            spare: None,
            merged: Slice::new(),
            rows: Vec::new(),
            from: nanos(load.warm_up),
        }
    }

    /// Until all threads have ended.
    fn all(&mut self, left: &AtomicU64, watcher: &mut dyn Watcher) {
        let warm_up = nanos(self.load.warm_up);
        let interval = nanos(self.load.interval).max(1);
        let mut number = 0;
        loop {
            let until = warm_up + number * interval;
            loop {
                if left.load(Ordering::Acquire) == 0 {
                    return;
                }
                let now = self.pacer.now();
                if now >= until {
                    break;
                }
                std::thread::park_timeout(Duration::from_nanos(until - now));
            }
            if number == 0 {
                self.first = self.sampler.sample();
                self.last = self.first;
            } else {
                self.interval(watcher);
            }
            number += 1;
        }
    }

    fn interval(&mut self, watcher: &mut dyn Watcher) {
        self.merged.clear();
        for shard in self.shards {
            let empty = self.spare.take().unwrap_or_else(|| Box::new(Slice::new()));
            let mut taken = shard.take(empty);
            self.merged.add(&taken);
            taken.clear();
            self.spare = Some(taken);
        }
        self.total.add(&self.merged);
        let now = self.pacer.now();
        let usage = self.sampler.sample();
        let seconds = now.saturating_sub(self.from) as f64 / 1e9;
        let (counts, latency) = (self.merged.counts, &self.merged.latency);
        let row = Row {
            at: now.saturating_sub(nanos(self.load.warm_up)) as f64 / 1e9,
            seconds,
            counts,
            per_second: counts.right as f64 / seconds.max(1e-9),
            p50_ns: latency.value_at_quantile(0.5),
            p99_ns: latency.value_at_quantile(0.99),
            p999_ns: latency.value_at_quantile(0.999),
            max_ns: latency.max(),
            usage: usage.since(&self.last),
        };
        self.last = usage;
        self.from = now;
        watcher.interval(&row, &self.merged);
        self.rows.push(row);
    }

    fn end(mut self, unsent: u64, watcher: &mut dyn Watcher) -> Run {
        self.interval(watcher);
        Run {
            seconds: self.from.saturating_sub(nanos(self.load.warm_up)) as f64 / 1e9,
            due_seconds: self.load.duration.as_secs_f64(),
            usage: self.last.since(&self.first),
            total: self.total,
            rows: self.rows,
            unsent,
            was_stopped: STOP.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pacer::Imagined;
    use crate::schedule::Spread;
    use crate::target::stall::Stalls;

    /// A target that takes no time but that it stalls for a second of every ten: the naive figure does not know of it.
    #[test]
    fn a_stall_shows_although_nothing_is_sent_meanwhile() {
        let segments = crate::schedule::Rate::Constant(1000.0)
            .segments(100.0)
            .unwrap();
        let schedule = Schedule::Rate {
            segments: segments.into(),
            spread: Spread::Even,
            seed: 0,
        };
        let shard = Arc::new(Shard::new(0));
        let stop = AtomicBool::new(false);
        let mut work = Work {
            pace: Imagined::default(),
            shard: Arc::clone(&shard),
            source: Source::Open(Box::new(schedule.arrivals(0, 1)), None),
            give_up: Nanos::MAX,
            stop: &stop,
            in_flight_max: usize::MAX,
        };
        let stalls = Stalls::default();
        blocking(&mut work, |pace, _| stalls.call(pace));
        let slice = shard.take(Box::new(Slice::new()));
        assert_eq!(slice.counts.right, 100_000);
        // A tenth of the requests is due while it stalls, and waits for what is left of the second.
        let p99 = slice.latency.value_at_quantile(0.99) as f64;
        assert!((p99 / 9e8 - 1.0).abs() < 0.01, "{p99}");
        let p95 = slice.latency.value_at_quantile(0.95) as f64;
        assert!((p95 / 5e8 - 1.0).abs() < 0.01, "{p95}");
        // Ten requests of a hundred thousand were under way then.
        assert_eq!(slice.naive.value_at_quantile(0.999), 1);
        assert_eq!(slice.naive.count_between(2, 2_000_000_000), 10);
    }

    #[test]
    fn what_is_not_sent_in_time_is_counted() {
        let schedule = Schedule::Times((0..10).map(|i| i * 1_000_000_000).collect());
        let shard = Arc::new(Shard::new(0));
        let stop = AtomicBool::new(false);
        let mut work = Work {
            pace: Imagined::default(),
            shard: Arc::clone(&shard),
            source: Source::Open(Box::new(schedule.arrivals(0, 1)), None),
            give_up: 4_500_000_000,
            stop: &stop,
            in_flight_max: usize::MAX,
        };
        blocking(&mut work, |_, _| Outcome::Right);
        assert_eq!(work.unsent(), 5);
        assert_eq!(shard.take(Box::new(Slice::new())).counts.sent, 5);
    }

    fn load(pace: Loop, threads: usize) -> Load {
        Load {
            pace,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(20),
            threads,
            interval: Duration::from_secs(1),
            drain: Duration::from_secs(60),
            spin: Duration::ZERO,
        }
    }

    /// Panics on one thread, and notes what the others may have under way.
    struct Panics {
        on: Option<usize>,
        shares: std::sync::Mutex<Vec<(usize, usize)>>,
    }

    impl Target for Panics {
        fn drive(&self, thread: usize, work: &mut Work<'_, Pacer>) -> Result<(), String> {
            assert_ne!(Some(thread), self.on, "as it is meant to");
            let share = (thread, work.in_flight_max);
            self.shares.lock().unwrap().push(share);
            blocking(work, |_, _| Outcome::Right);
            Ok(())
        }
    }

    #[test]
    fn a_thread_that_panics_ends_the_run() {
        let target = Panics {
            on: Some(1),
            shares: std::sync::Mutex::default(),
        };
        let load = load(Loop::Closed { in_flight: 3 }, 3);
        let error = run(&target, &load, &mut |_: &Row, _: &Slice| {}).unwrap_err();
        assert!(error.contains("panicked"), "{error}");
    }

    #[test]
    fn a_closed_loop_has_under_way_what_it_says() {
        for (in_flight, threads, expected) in [
            (1, 4, vec![1]),
            (3, 4, vec![1, 1, 1]),
            (64, 3, vec![22, 21, 21]),
            (64, 4, vec![16; 4]),
        ] {
            let target = Panics {
                on: None,
                shares: std::sync::Mutex::default(),
            };
            let load = load(Loop::Closed { in_flight }, threads);
            run(&target, &load, &mut |_: &Row, _: &Slice| {}).unwrap();
            let mut shares = target.shares.into_inner().unwrap();
            shares.sort_unstable();
            let shares: Vec<usize> = shares.into_iter().map(|(_, share)| share).collect();
            assert_eq!(shares, expected, "{in_flight} on {threads}");
            assert_eq!(load.senders(), expected.len());
        }
    }
}
