//! The standard library's atomics, locks and threads, or loom's where the protocols of this module are checked.

#[cfg(all(quickstep_loom, test))]
pub(super) use loom::{
    cell::UnsafeCell,
    sync::Mutex,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    thread::{Thread, current, park},
};

#[cfg(not(all(quickstep_loom, test)))]
pub(super) use std::{
    sync::Mutex,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
    thread::{Thread, current},
};

/// A cell that is accessed through pointers, as loom's is.
#[cfg(not(all(quickstep_loom, test)))]
#[derive(Debug, Default)]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(all(quickstep_loom, test)))]
impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(super) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}
