//! Random numbers for names, ids and tokens.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of numbers that cannot be foretold: SipHash of a counter, with keys of the process.
///
/// What is shown, such as names, and what is secret, such as seeds, comes from different keys: one says nothing of the
/// other.
#[derive(Debug)]
pub(crate) struct Ids {
    shown: RandomState,
    secret: RandomState,
    counter: AtomicU64,
}

impl Ids {
    pub(crate) fn new() -> Ids {
        Ids {
            shown: RandomState::new(),
            secret: RandomState::new(),
            counter: AtomicU64::new(0),
        }
    }

    fn count(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// A UUID, version 4, to be shown.
    pub(crate) fn uuid(&self) -> String {
        let count = self.count();
        let high = self.shown.hash_one((count, 0_u8));
        let low = self.shown.hash_one((count, 1_u8));
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    /// The seed of an execution.
    pub(crate) fn seed(&self) -> u64 {
        self.secret.hash_one((self.count(), 2_u8))
    }

    /// What tells a text that this process has made from one that somebody else has.
    pub(crate) fn seal(&self, text: &str) -> u64 {
        self.secret.hash_one((text, 7_u8))
    }
}
