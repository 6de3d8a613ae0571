//! Who sleeps, who looks for work, and whom to wake.
//!
//! 1. Who makes work puts it into a queue, and then calls `notify`.
//! 2. `notify` does nothing if nobody sleeps, or if somebody is looking for work already: that one finds it, see 4 and 5.
//!    Else it takes one worker off the list of sleepers, counts it as looking, and wakes it.
//! 3. A worker without work calls `begin_search`, and looks through all queues.
//! 4. If it finds something it calls `end_search`. The last one to do so calls `notify` in turn: there may be more.
//! 5. If not it calls `fall_asleep`, which puts it on the list and counts it as sleeping. If it was the last one that
//!    looked, it has to look once more: work may have come for which nobody was woken, see 2. If it finds some it calls
//!    `notify` (and perhaps wakes itself).
//! 6. Then it sleeps until it is off the list, or until a timer is due: then it takes itself off the list with `wake_up`,
//!    and is looking.
//!
//! Between 1 and 2, and between the two looks of 5, stands a fence: either who makes work sees that nobody is looking any
//! more, or the last one who looked sees the work.

use std::sync::OnceLock;

use super::sync::{AtomicUsize, Mutex, Ordering, Thread, current, fence};

/// One worker that sleeps, in the count; those that look are counted in ones.
const SLEEPER: usize = 1 << 16;

/// Who sleeps and who looks for work.
#[derive(Debug)]
pub(crate) struct Idle {
    counts: AtomicUsize,
    sleepers: Mutex<Vec<usize>>,
    threads: Box<[OnceLock<Thread>]>,
}

impl Idle {
    /// For that many workers, none of them asleep.
    pub(crate) fn new(workers: usize) -> Idle {
        Idle {
            counts: AtomicUsize::new(0),
            sleepers: Mutex::new(Vec::with_capacity(workers)),
            threads: (0..workers).map(|_| OnceLock::new()).collect(),
        }
    }

    fn sleepers(&self) -> impl std::ops::DerefMut<Target = Vec<usize>> + '_ {
        #[cfg(all(quickstep_loom, test))]
        return self.sleepers.lock().unwrap();
        #[cfg(not(all(quickstep_loom, test)))]
        crate::task::lock(&self.sleepers)
    }

    /// The calling thread is that worker.
    pub(crate) fn enlist(&self, worker: usize) {
        // A second thread would be woken in vain; there is none.
        let _ = self.threads[worker].set(current());
    }

    /// There is work in a queue.
    #[inline]
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        let counts = self.counts.load(Ordering::Relaxed);
        if counts >= SLEEPER && counts.is_multiple_of(SLEEPER) {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        let woken = {
            let mut sleepers = self.sleepers();
            let woken = sleepers.pop();
            if woken.is_some() {
                // One sleeper less, one more that looks.
                self.counts.fetch_sub(SLEEPER - 1, Ordering::SeqCst);
            }
            woken
        };
        if let Some(worker) = woken {
            self.unpark(worker);
        }
    }

    /// Wakes everybody, as at the end.
    pub(crate) fn notify_all(&self) {
        let woken = {
            let mut sleepers = self.sleepers();
            let woken = std::mem::take(&mut *sleepers);
            self.counts
                .fetch_sub((SLEEPER - 1) * woken.len(), Ordering::SeqCst);
            woken
        };
        for worker in woken {
            self.unpark(worker);
        }
    }

    fn unpark(&self, worker: usize) {
        if let Some(thread) = self.threads[worker].get() {
            thread.unpark();
        }
    }

    /// The worker looks for work.
    pub(crate) fn begin_search(&self) {
        self.counts.fetch_add(1, Ordering::SeqCst);
    }

    /// The worker has found some.
    pub(crate) fn end_search(&self) {
        let before = self.counts.fetch_sub(1, Ordering::SeqCst);
        if before % SLEEPER == 1 && before >= SLEEPER {
            self.notify();
        }
    }

    /// The worker has found nothing. True if it was the last that looked: then it has to look once more.
    pub(crate) fn fall_asleep(&self, worker: usize) -> bool {
        let before = {
            let mut sleepers = self.sleepers();
            sleepers.push(worker);
            // One more sleeper, one less that looks.
            self.counts.fetch_add(SLEEPER - 1, Ordering::SeqCst)
        };
        fence(Ordering::SeqCst);
        before % SLEEPER == 1
    }

    /// True if nobody has woken the worker.
    pub(crate) fn is_asleep(&self, worker: usize) -> bool {
        self.sleepers().contains(&worker)
    }

    /// The worker wakes by itself, and looks for work, unless somebody was faster: then it looks for work already.
    pub(crate) fn wake_up(&self, worker: usize) {
        let mut sleepers = self.sleepers();
        if let Some(at) = sleepers.iter().position(|sleeper| *sleeper == worker) {
            sleepers.swap_remove(at);
            self.counts.fetch_sub(SLEEPER - 1, Ordering::SeqCst);
        }
    }
}
