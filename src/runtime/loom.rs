//! The protocols between threads, in every order that loom can think of. `scripts/test` runs them with `--cfg quickstep_loom`.
//!
//! Each model has two or three threads and a few steps; loom tries the orders in which these can happen, and what each
//! atomic read may see. A lost wake-up shows as a deadlock.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::idle::Idle;
use super::slab::{Cache, Called, Place, Slab};
use super::sync::park;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(check);
}

/// A queue as far as `Idle` is concerned.
#[derive(Default)]
struct Queue(Mutex<Vec<u32>>);

impl Queue {
    fn push(&self, item: u32) {
        self.0.lock().unwrap().push(item);
    }

    fn pop(&self) -> Option<u32> {
        self.0.lock().unwrap().pop()
    }

    fn has_work(&self) -> bool {
        !self.0.lock().unwrap().is_empty()
    }
}

/// A worker's loop, until `left` is 0. The same steps as `Worker::run` and `Worker::idle`.
fn work(number: usize, idle: &Idle, queue: &Queue, left: &AtomicUsize) {
    idle.enlist(number);
    let mut is_searching = false;
    while left.load(Ordering::SeqCst) > 0 {
        if queue.pop().is_some() {
            if std::mem::take(&mut is_searching) {
                idle.end_search();
            }
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                idle.notify_all();
            }
            continue;
        }
        if !std::mem::replace(&mut is_searching, true) {
            idle.begin_search();
            continue;
        }
        let is_last = idle.fall_asleep(number);
        if left.load(Ordering::SeqCst) == 0 || is_last && queue.has_work() {
            idle.notify();
        }
        while idle.is_asleep(number) && left.load(Ordering::SeqCst) > 0 {
            park();
        }
        idle.wake_up(number);
    }
}

#[test]
fn one_worker_sees_all_work() {
    model(|| {
        let idle = Arc::new(Idle::new(1));
        let queue = Arc::new(Queue::default());
        let left = Arc::new(AtomicUsize::new(2));
        let worker = {
            let (idle, queue, left) = (Arc::clone(&idle), Arc::clone(&queue), Arc::clone(&left));
            thread::spawn(move || work(0, &idle, &queue, &left))
        };
        for item in 0..2 {
            queue.push(item);
            idle.notify();
        }
        worker.join().unwrap();
        assert!(!queue.has_work());
    });
}

#[test]
fn of_two_workers_one_sees_the_work() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let idle = Arc::new(Idle::new(2));
        let queue = Arc::new(Queue::default());
        let left = Arc::new(AtomicUsize::new(1));
        let workers: Vec<_> = (0..2)
            .map(|number| {
                let (idle, queue, left) =
                    (Arc::clone(&idle), Arc::clone(&queue), Arc::clone(&left));
                thread::spawn(move || work(number, &idle, &queue, &left))
            })
            .collect();
        queue.push(7);
        idle.notify();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

type Slots = Slab<u32, u32>;

/// Takes what is queued, reads its mail, and parks it again; returns the letters.
fn turn(slab: &Slots, queue: &Queue, seen: &mut Vec<u32>) {
    while let Some(id) = queue.pop() {
        let mut held = slab.take(id);
        let content = held.take().expect("what is queued has a content");
        held.mail(seen);
        let place = held.place();
        if !held.park(content + 1) {
            queue.push(place.id);
        }
    }
}

#[test]
fn letters_are_neither_lost_nor_doubled() {
    model(|| {
        let slab: Arc<Slots> = Arc::new(Slab::new(2, 1));
        let queue = Arc::new(Queue::default());
        let mut cache = Cache::default();
        let held = slab.occupy(&mut cache).unwrap();
        let place = held.place();
        let senders: Vec<_> = (1..=2)
            .map(|letter| {
                let (slab, queue) = (Arc::clone(&slab), Arc::clone(&queue));
                thread::spawn(move || match slab.deliver(place, letter) {
                    Called::Queue => queue.push(place.id),
                    Called::Seen => {}
                    Called::Stale => panic!("it has not ended"),
                })
            })
            .collect();
        if !held.park(0) {
            queue.push(place.id);
        }
        let mut seen = Vec::new();
        turn(&slab, &queue, &mut seen);
        for sender in senders {
            sender.join().unwrap();
        }
        turn(&slab, &queue, &mut seen);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn a_letter_to_what_has_ended_reaches_nobody_else() {
    model(|| {
        let slab: Arc<Slots> = Arc::new(Slab::new(2, 1));
        let mut cache = Cache::default();
        let held = slab.occupy(&mut cache).unwrap();
        let old = held.place();
        let sender = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || slab.deliver(old, 1))
        };
        held.vacate(&mut cache);
        let held = slab.occupy(&mut cache).unwrap();
        let new = held.place();
        assert_ne!((old.id, old.generation), (new.id, new.generation));
        let mut seen = Vec::new();
        held.mail(&mut seen);
        // A call of the old one may not disturb the new one either.
        let is_parked = held.park(0);
        let called = sender.join().unwrap();
        assert!(called != Called::Queue);
        assert!(is_parked || old.id != new.id);
        assert!(seen.is_empty());
        assert_eq!(slab.call(new), Called::Queue);
        let held = slab.take(new.id);
        held.mail(&mut seen);
        assert!(seen.is_empty());
        held.vacate(&mut cache);
    });
}

#[test]
fn a_timer_and_an_answer_queue_it_once() {
    model(|| {
        let slab: Arc<Slots> = Arc::new(Slab::new(2, 1));
        let mut cache = Cache::default();
        let held = slab.occupy(&mut cache).unwrap();
        let place = held.place();
        held.arm(5);
        assert!(held.park(0));
        let timer = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || slab.disarm(place, 5) && slab.call(place) == Called::Queue)
        };
        let answered = slab.deliver(place, 9) == Called::Queue;
        let fired = timer.join().unwrap();
        assert!(answered != fired, "one of them queues it");
        let held = slab.take(place.id);
        let mut seen = Vec::new();
        held.mail(&mut seen);
        assert_eq!(seen, [9]);
        held.vacate(&mut cache);
        assert!(!slab.disarm(place, 5));
        assert_eq!(slab.call(Place { ..place }), Called::Stale);
    });
}
