//! [`Queue`]: complete blocks on their way to one sink, bounded, with the sink's policy.
//!
//! 1. A worker pushes a block: it is taken, or dropped and counted, or the worker waits for room, by the policy.
//! 2. The sink's thread takes blocks in their order until the queue is closed and empty.
//! 3. When that thread ends, for whatever reason, the queue is abandoned: nobody waits for room any more.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::block::Block;

/// What happens to events that a sink is too slow for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Policy {
    /// They are dropped and counted. Executions never wait for a log.
    #[default]
    Drop,
    /// The worker waits until there is room: the log is complete, and executions are as slow as the sink.
    Block,
}

/// Why a block was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Full,
    Closed,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is a block, or the queue was closed.
    arrived: Condvar,
    /// There is room, or the queue was abandoned.
    left: Condvar,
    policy: Policy,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    blocks: VecDeque<Arc<Block>>,
    bytes: usize,
    is_closed: bool,
    is_abandoned: bool,
}

impl Queue {
    pub(super) fn new(policy: Policy, bytes_max: usize) -> Queue {
        Queue {
            state: Mutex::default(),
            arrived: Condvar::new(),
            left: Condvar::new(),
            policy,
            bytes_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block that alone is larger than the queue is taken by an empty one.
    pub(super) fn push(&self, block: &Arc<Block>) -> Result<(), Refused> {
        let bytes = block.items.len();
        let mut state = self.lock();
        loop {
            if state.is_closed || state.is_abandoned {
                return Err(Refused::Closed);
            }
            if state.blocks.is_empty() || state.bytes + bytes <= self.bytes_max {
                break;
            }
            if self.policy == Policy::Drop {
                return Err(Refused::Full);
            }
            state = self
                .left
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes += bytes;
        state.blocks.push_back(Arc::clone(block));
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next block, once there is one; `None` once the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<Arc<Block>> {
        let mut state = self.lock();
        loop {
            if let Some(block) = state.blocks.pop_front() {
                state.bytes -= block.items.len();
                drop(state);
                self.left.notify_all();
                return Some(block);
            }
            if state.is_closed {
                return None;
            }
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing more is taken. What is there is still given out.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
        self.left.notify_all();
    }

    /// Nobody takes blocks any more; returns the events of those that were left.
    pub(super) fn abandon(&self) -> u64 {
        let mut state = self.lock();
        state.is_abandoned = true;
        state.bytes = 0;
        let left = state.blocks.drain(..).map(|block| u64::from(block.events));
        let left = left.sum();
        drop(state);
        self.left.notify_all();
        left
    }

    /// Waits until the queue is abandoned, as its thread does in the end. False if that takes too long.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let state = self.lock();
        let (_state, result) = self
            .left
            .wait_timeout_while(state, timeout, |state| !state.is_abandoned)
            .unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    /// Blocks and bytes that wait.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.blocks.len(), state.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: usize) -> Arc<Block> {
        Arc::new(Block {
            items: vec![0; bytes],
            events: 2,
        })
    }

    #[test]
    fn full_queues_refuse() {
        let queue = Queue::new(Policy::Drop, 10);
        assert_eq!(queue.push(&block(100)), Ok(()), "the first is always taken");
        assert_eq!(queue.push(&block(1)), Err(Refused::Full));
        assert_eq!(queue.depth(), (1, 100));
        assert_eq!(queue.pop().map(|block| block.items.len()), Some(100));
        assert_eq!(queue.push(&block(4)), Ok(()));
        assert_eq!(queue.push(&block(6)), Ok(()));
        assert_eq!(queue.push(&block(1)), Err(Refused::Full));
        queue.close();
        assert_eq!(queue.push(&block(1)), Err(Refused::Closed));
        assert_eq!(queue.pop().map(|block| block.items.len()), Some(4));
        assert_eq!(queue.abandon(), 2, "events that were left");
        assert_eq!(queue.pop().map(|block| block.events), None);
        assert!(queue.wait(Duration::ZERO));
    }

    #[test]
    fn who_blocks_waits_for_room() {
        let queue = Queue::new(Policy::Block, 10);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    assert_eq!(queue.push(&block(6)), Ok(()));
                }
                queue.close();
            });
            let mut taken = 0;
            while queue.pop().is_some() {
                assert!(queue.depth().0 <= 1);
                taken += 1;
            }
            assert_eq!(taken, 1_000);
        });
        let queue = Queue::new(Policy::Block, 10);
        std::thread::scope(|scope| {
            assert_eq!(queue.push(&block(6)), Ok(()));
            let waiter = scope.spawn(|| queue.push(&block(6)));
            queue.abandon();
            // Whether it waited already or not, nobody will make room.
            assert_eq!(waiter.join().expect("no panic"), Err(Refused::Closed));
        });
    }
}
