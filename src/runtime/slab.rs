//! Executions in flight: slots that are addressed by a 32-bit id and a generation, and taken by one thread at a time.
//!
//! A slot's state is one word: its generation and its status.
//!
//! 1. `occupy` makes an empty slot *running* for the caller, who gets a [`Held`]: the right to what is in the slot.
//! 2. Whoever holds a slot puts a content in and lets go: with `queue` the slot is *queued*, and the caller puts its id
//!    into a queue; with `park` it is *parked*, unless somebody has called meanwhile: then the caller gets it back.
//! 3. `take` makes a queued slot running. An id is in one queue at most, so one caller takes it.
//! 4. `deliver` pushes a letter on the slot's mail, which is a stack without a lock, and then calls: a parked slot
//!    becomes queued, and the caller has to queue its id; a running one becomes *called*, so that `park` does not park
//!    it; a queued one will look at its mail anyway. `call` does the same without a letter, for timers.
//! 5. The holder takes the mail after it took the slot. A letter that comes later calls the slot, and so is seen next
//!    time: none is lost.
//! 6. `vacate` makes the slot empty and gives it the next generation, after which every address of the old one is stale.
//!    A letter that was pushed while that happened lies in the next one's mail, names the old generation and is dropped.
//!
//! Slots lie in chunks that are made as they are needed and never moved. Free ids lie in one list behind a lock; threads
//! take and give them back by the dozen, through a [`Cache`] of their own, so that a slot is freed on any thread for
//! the price of a push.

#![expect(
    unsafe_code,
    reason = "contents are guarded by the states of slots, mail is a stack of raw pointers"
)]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::OnceLock;

use super::sync::{AtomicPtr, AtomicU64, Mutex, Ordering, UnsafeCell};
use crate::stdx::narrow;

/// Slots of a chunk.
const CHUNK: usize = if cfg!(all(quickstep_loom, test)) {
    2
} else {
    1024
};

/// Ids that move between a thread and the common list at a time.
const IDS: usize = if cfg!(all(quickstep_loom, test)) {
    1
} else {
    64
};

/// Names an execution in flight, or one that was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Place {
    pub(crate) id: u32,
    pub(crate) generation: u32,
}

impl Place {
    /// Both in one number, which is never 0.
    pub(crate) const fn as_number(self) -> u64 {
        // The id counts from 1 here.
        (self.id as u64 + 1) << 32 | self.generation as u64
    }

    /// The place of that number.
    pub(crate) fn of_number(number: u64) -> Option<Place> {
        let id = u32::try_from((number >> 32).checked_sub(1)?).ok()?;
        let generation = number as u32;
        Some(Place { id, generation })
    }
}

const EMPTY: u32 = 0;
const QUEUED: u32 = 1;
const RUNNING: u32 = 2;
const CALLED: u32 = 3;
const PARKED: u32 = 4;

const fn word(generation: u32, status: u32) -> u64 {
    (generation as u64) << 32 | status as u64
}

const fn generation_of(word: u64) -> u32 {
    (word >> 32) as u32
}

const fn status_of(word: u64) -> u32 {
    word as u32
}

/// What became of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Called {
    /// The caller has to put the id into a queue.
    Queue,
    /// Whoever has the slot, or will have it, sees it.
    Seen,
    /// The execution has ended.
    Stale,
}

/// Something for an execution, in its mail.
struct Letter<L> {
    generation: u32,
    letter: L,
    next: *mut Letter<L>,
}

struct Slot<T, L> {
    word: AtomicU64,
    /// When its timer is due, as the timers count; 0 if there is none.
    armed: AtomicU64,
    mail: AtomicPtr<Letter<L>>,
    content: UnsafeCell<Option<T>>,
}

impl<T, L> Slot<T, L> {
    fn new() -> Slot<T, L> {
        Slot {
            word: AtomicU64::new(word(0, EMPTY)),
            armed: AtomicU64::new(0),
            mail: AtomicPtr::new(ptr::null_mut()),
            content: UnsafeCell::new(None),
        }
    }

    /// Takes the letters for a generation, in the order in which they came; drops the others.
    fn take_mail(&self, generation: u32, letters: &mut Vec<L>) {
        if self.mail.load(Ordering::Relaxed).is_null() {
            return;
        }
        let first = letters.len();
        let mut at = self.mail.swap(ptr::null_mut(), Ordering::Acquire);
        while !at.is_null() {
            // SAFETY: the pointer came from `Box::into_raw` in `deliver`, and the swap has taken the whole stack out of
            // reach of everybody else.
            let letter = unsafe { Box::from_raw(at) };
            at = letter.next;
            if letter.generation == generation {
                letters.push(letter.letter);
            }
        }
        letters[first..].reverse();
    }
}

impl<T, L> Drop for Slot<T, L> {
    fn drop(&mut self) {
        // No letter has the generation after all of them.
        let mut letters = Vec::new();
        self.take_mail(u32::MAX, &mut letters);
    }
}

/// A thread's free ids.
#[derive(Debug, Default)]
pub(crate) struct Cache(Vec<u32>);

/// Neighbouring slots, once there are any.
type Chunk<T, L> = OnceLock<Box<[Slot<T, L>]>>;

/// The slots.
pub(crate) struct Slab<T, L> {
    chunks: Box<[Chunk<T, L>]>,
    free: Mutex<Free>,
}

struct Free {
    ids: Vec<u32>,
    chunks: usize,
}

// SAFETY: a content is only reached through the one `Held` of its slot, which moves it between threads (`T: Send`), and
// a letter only by the thread that took it (`L: Send`). Nothing is shared by reference but atomics and locks.
unsafe impl<T: Send, L: Send> Send for Slab<T, L> {}
// SAFETY: as above.
unsafe impl<T: Send, L: Send> Sync for Slab<T, L> {}

impl<T, L> std::fmt::Debug for Slab<T, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slab").finish_non_exhaustive()
    }
}

impl<T, L> Slab<T, L> {
    /// Room for that many slots, and for what lies in the caches of that many threads; nothing is made yet.
    pub(crate) fn new(slots_max: usize, threads: usize) -> Slab<T, L> {
        let slots = slots_max + threads * 2 * IDS;
        Slab {
            chunks: (0..slots.div_ceil(CHUNK))
                .map(|_| OnceLock::new())
                .collect(),
            free: Mutex::new(Free {
                ids: Vec::new(),
                chunks: 0,
            }),
        }
    }

    #[inline]
    fn slot(&self, id: u32) -> &Slot<T, L> {
        match self.chunks[id as usize / CHUNK].get() {
            Some(chunk) => &chunk[id as usize % CHUNK],
            None => unreachable!("an id is handed out when its slot is there"),
        }
    }

    fn free(&self) -> impl std::ops::DerefMut<Target = Free> + '_ {
        #[cfg(all(quickstep_loom, test))]
        return self.free.lock().unwrap();
        #[cfg(not(all(quickstep_loom, test)))]
        crate::task::lock(&self.free)
    }

    #[cold]
    fn refill(&self, cache: &mut Cache) -> bool {
        let mut free = self.free();
        if free.ids.is_empty() && free.chunks < self.chunks.len() {
            let first = narrow(free.chunks * CHUNK);
            let slots = (0..CHUNK).map(|_| Slot::new()).collect();
            if self.chunks[free.chunks].set(slots).is_err() {
                unreachable!("chunks are made under the lock");
            }
            free.chunks += 1;
            free.ids.extend((first..first + narrow(CHUNK)).rev());
        }
        let left = free.ids.len().saturating_sub(IDS);
        cache.0.extend(free.ids.drain(left..));
        !cache.0.is_empty()
    }

    /// Takes an empty slot; `None` if there are as many as there may be.
    #[inline]
    pub(crate) fn occupy(&self, cache: &mut Cache) -> Option<Held<'_, T, L>> {
        if cache.0.is_empty() && !self.refill(cache) {
            return None;
        }
        let id = cache.0.pop()?;
        let slot = self.slot(id);
        // Not a load: of what is written to the word the last counts. Calls of other generations change nothing.
        let before = slot.word.fetch_add(u64::from(RUNNING), Ordering::AcqRel);
        assert!(
            status_of(before) == EMPTY,
            "a free id is that of an empty slot"
        );
        let generation = generation_of(before);
        Some(Held::new(self, Place { id, generation }))
    }

    /// Takes a slot whose id came out of a queue.
    ///
    /// # Panics
    ///
    /// If it is not queued.
    #[inline]
    pub(crate) fn take(&self, id: u32) -> Held<'_, T, L> {
        let slot = self.slot(id);
        // Calls do not change a queued word.
        let before = slot.word.load(Ordering::Acquire);
        let generation = generation_of(before);
        let running = word(generation, RUNNING);
        let taken =
            slot.word
                .compare_exchange(before, running, Ordering::AcqRel, Ordering::Relaxed);
        assert!(
            taken.is_ok() && status_of(before) == QUEUED,
            "an id is in one queue at most"
        );
        Held::new(self, Place { id, generation })
    }

    /// Puts a letter into the mail of an execution, and calls it.
    pub(crate) fn deliver(&self, place: Place, letter: L) -> Called {
        // The place may come from anybody.
        let chunk = self.chunks.get(place.id as usize / CHUNK);
        if chunk.and_then(OnceLock::get).is_none() {
            return Called::Stale;
        }
        let slot = self.slot(place.id);
        if generation_of(slot.word.load(Ordering::Acquire)) != place.generation {
            return Called::Stale;
        }
        let letter = Box::into_raw(Box::new(Letter {
            generation: place.generation,
            letter,
            next: ptr::null_mut(),
        }));
        let mut head = slot.mail.load(Ordering::Relaxed);
        loop {
            // SAFETY: the letter is not in the stack yet, so it is this thread's alone.
            unsafe { (*letter).next = head };
            match slot
                .mail
                .compare_exchange(head, letter, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.call(place)
    }

    /// True if the execution of a place, which may come from anybody, has not ended.
    #[cfg(feature = "server")]
    pub(crate) fn is_current(&self, place: Place) -> bool {
        let chunk = self.chunks.get(place.id as usize / CHUNK);
        chunk.and_then(OnceLock::get).is_some_and(|_| {
            generation_of(self.slot(place.id).word.load(Ordering::Acquire)) == place.generation
        })
    }

    /// Sees to it that an execution gets a turn.
    pub(crate) fn call(&self, place: Place) -> Called {
        let slot = self.slot(place.id);
        let mut before = slot.word.load(Ordering::Acquire);
        loop {
            if generation_of(before) != place.generation {
                return Called::Stale;
            }
            let (status, called) = match status_of(before) {
                PARKED => (QUEUED, Called::Queue),
                RUNNING => (CALLED, Called::Seen),
                EMPTY => return Called::Stale,
                // The one who takes a queued slot must see the letter: the exchange orders it.
                QUEUED => (QUEUED, Called::Seen),
                _ => (CALLED, Called::Seen),
            };
            let after = word(place.generation, status);
            match slot
                .word
                .compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return called,
                Err(now) => before = now,
            }
        }
    }

    /// When the timer of a slot is due; 0 if it has none.
    pub(crate) fn armed(&self, id: u32) -> u64 {
        self.slot(id).armed.load(Ordering::Acquire)
    }

    /// True if a timer that was set for `place` and `due` still counts; then it does not any more.
    pub(crate) fn disarm(&self, place: Place, due: u64) -> bool {
        let slot = self.slot(place.id);
        generation_of(slot.word.load(Ordering::Acquire)) == place.generation
            && slot
                .armed
                .compare_exchange(due, 0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// True if a timer that was set for `place` and `due` still counts.
    pub(crate) fn is_armed(&self, place: Place, due: u64) -> bool {
        let slot = self.slot(place.id);
        generation_of(slot.word.load(Ordering::Acquire)) == place.generation
            && slot.armed.load(Ordering::Acquire) == due
    }

    /// All executions in flight that have slots, while others come and go.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let chunks = self.chunks.iter().map_while(OnceLock::get);
        let slots = chunks.flat_map(|chunk| chunk.iter());
        (0..).zip(slots).filter_map(|(id, slot)| {
            let word = slot.word.load(Ordering::Acquire);
            let generation = generation_of(word);
            (status_of(word) != EMPTY).then_some(Place { id, generation })
        })
    }

    /// The ids of a cache go back, as its thread ends.
    pub(crate) fn give_back(&self, cache: &mut Cache) {
        self.free().ids.append(&mut cache.0);
    }

    #[inline]
    fn give(&self, id: u32, cache: &mut Cache) {
        cache.0.push(id);
        if cache.0.len() >= 2 * IDS {
            self.free().ids.extend(cache.0.drain(..IDS));
        }
    }
}

/// The right to the content of a slot. It is let go in one of three ways; dropped, as a panic does it, it vacates the slot.
#[must_use]
pub(crate) struct Held<'a, T, L> {
    slab: &'a Slab<T, L>,
    place: Place,
    /// It stays on the thread that has it.
    on_this_thread: PhantomData<*mut ()>,
}

impl<T, L> std::fmt::Debug for Held<'_, T, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Held").field(&self.place).finish()
    }
}

impl<'a, T, L> Held<'a, T, L> {
    const fn new(slab: &'a Slab<T, L>, place: Place) -> Held<'a, T, L> {
        Held {
            slab,
            place,
            on_this_thread: PhantomData,
        }
    }

    /// Which execution it is.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// Takes the content out.
    pub(crate) fn take(&mut self) -> Option<T> {
        let slot = self.slab.slot(self.place.id);
        // SAFETY: this is the one `Held` of the slot: `occupy` and `take` make one by moving the word to RUNNING, and
        // the content is not reached before the word has left it, by what consumes the `Held` or by its drop.
        slot.content
            .with_mut(|content| unsafe { (*content).take() })
    }

    fn put(&mut self, content: T) {
        let slot = self.slab.slot(self.place.id);
        // SAFETY: as in `take`.
        slot.content
            .with_mut(|content_of_slot| unsafe { *content_of_slot = Some(content) });
    }

    /// Takes the letters that have come, in their order.
    pub(crate) fn mail(&self, letters: &mut Vec<L>) {
        self.slab
            .slot(self.place.id)
            .take_mail(self.place.generation, letters);
    }

    /// Says for when its timer is set; 0 if for never.
    pub(crate) fn arm(&self, due: u64) {
        self.slab
            .slot(self.place.id)
            .armed
            .store(due, Ordering::Release);
    }

    /// Lets go of a slot whose id the caller puts into a queue.
    pub(crate) fn queue(self, content: T) -> u32 {
        let mut held = ManuallyDrop::new(self);
        held.put(content);
        held.requeue();
        held.place.id
    }

    /// Lets go of a slot that waits to be called. False if it was called meanwhile: then it is queued, and the caller
    /// puts its id into a queue.
    pub(crate) fn park(self, content: T) -> bool {
        let mut held = ManuallyDrop::new(self);
        held.put(content);
        let slot = held.slab.slot(held.place.id);
        let running = word(held.place.generation, RUNNING);
        let parked = word(held.place.generation, PARKED);
        let is_parked = slot
            .word
            .compare_exchange(running, parked, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if !is_parked {
            held.requeue();
        }
        is_parked
    }

    fn requeue(&self) {
        let queued = word(self.place.generation, QUEUED);
        let slot = self.slab.slot(self.place.id);
        // Not a store: what a caller has written before its call is to be seen by whoever takes the slot.
        slot.word.swap(queued, Ordering::AcqRel);
    }

    /// Lets go of a slot whose execution has ended.
    pub(crate) fn vacate(self, cache: &mut Cache) {
        let mut held = ManuallyDrop::new(self);
        held.empty();
        held.slab.give(held.place.id, cache);
    }

    fn empty(&mut self) {
        drop(self.take());
        let slot = self.slab.slot(self.place.id);
        slot.armed.store(0, Ordering::Relaxed);
        let empty = word(self.place.generation.wrapping_add(1), EMPTY);
        slot.word.swap(empty, Ordering::AcqRel);
        // What came before is of no use, and neither is what comes now.
        let mut letters = Vec::new();
        slot.take_mail(self.place.generation, &mut letters);
    }
}

impl<T, L> Drop for Held<'_, T, L> {
    fn drop(&mut self) {
        self.empty();
        self.slab.free().ids.push(self.place.id);
    }
}
