//! How many futures of one handler run at a time; the others wait for their turn, in the order in which they were asked
//! for.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::lock;

/// Futures of one asynchronous handler that run at a time, unless it is registered with another limit.
pub const ASYNC_TASKS_MAX: usize = 10_000;

/// Lets so many in at a time.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    next: u64,
    /// Who waits, by number and so in order.
    waiting: VecDeque<(u64, Option<Waker>)>,
}

/// A place in the queue, and then the right to run. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    limiter: Arc<Limiter>,
    number: u64,
}

impl Limiter {
    /// At least one is let in.
    pub(crate) fn new(limit: usize) -> Limiter {
        Limiter {
            limit: limit.max(1),
            state: Mutex::default(),
        }
    }

    /// Takes the next place in the queue.
    pub(crate) fn join(self: &Arc<Limiter>) -> Turn {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        if state.running < self.limit {
            state.running += 1;
        } else {
            state.waiting.push_back((number, None));
        }
        drop(state);
        Turn {
            limiter: Arc::clone(self),
            number,
        }
    }
}

impl State {
    fn position(&self, number: u64) -> Option<usize> {
        let found = self.waiting.binary_search_by_key(&number, |(n, _)| *n);
        found.ok()
    }
}

/// Ready when it may run.
impl Future for &Turn {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.limiter.state);
        match state.position(self.number) {
            None => Poll::Ready(()),
            Some(at) => {
                state.waiting[at].1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = lock(&self.limiter.state);
        if let Some(at) = state.position(self.number) {
            state.waiting.remove(at);
            return;
        }
        match state.waiting.pop_front() {
            // It runs in place of this one.
            Some((_, waker)) => {
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            None => state.running -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ready(turn: &Turn) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut &*turn).poll(&mut context).is_ready()
    }

    #[test]
    fn so_many_at_a_time_and_in_order() {
        let limiter = Arc::new(Limiter::new(2));
        let mut turns: VecDeque<Turn> = (0..6).map(|_| limiter.join()).collect();
        let ready = |turns: &VecDeque<Turn>| -> Vec<bool> { turns.iter().map(is_ready).collect() };
        assert_eq!(ready(&turns), [true, true, false, false, false, false]);
        // One that waits is called off: nobody moves up.
        drop(turns.remove(3));
        assert_eq!(ready(&turns), [true, true, false, false, false]);
        drop(turns.pop_front());
        assert_eq!(ready(&turns), [true, true, false, false]);
        turns.clear();
        assert_eq!(lock(&limiter.state).running, 0);
        assert!(is_ready(&limiter.join()));
    }
}
