//! Small gaps of the standard library: hash maps with a fixed hasher, checked narrowing, timestamps.
//!
//! It must not know anything of the rest of the crate.

mod timestamp;

pub use timestamp::{ParseTimestampError, Timestamp};

use std::hash::{BuildHasherDefault, DefaultHasher};

/// A hash map whose hasher has fixed keys, so that every run does the same work in the same order.
#[expect(
    clippy::disallowed_types,
    reason = "this is the map that the rest of the crate uses"
)]
pub type FixedMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// The set that belongs to [`FixedMap`].
#[expect(
    clippy::disallowed_types,
    reason = "this is the set that the rest of the crate uses"
)]
pub type FixedSet<K> = std::collections::HashSet<K, BuildHasherDefault<DefaultHasher>>;

/// Narrows a length or an index to the 32 bits in which documents and programs address their parts.
///
/// # Panics
///
/// If `n` does not fit; callers bound what they count long before (4 GiB of text, 4 G nodes).
#[must_use]
#[inline]
pub fn narrow(n: usize) -> u32 {
    match u32::try_from(n) {
        Ok(n) => n,
        Err(_) => panic!("{n} does not fit in 32 bits"),
    }
}
