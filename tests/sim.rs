//! A simulation of the whole engine: workers, journal, timers, futures and handlers on simulated time and a simulated disk.
//! One `u64` seed decides everything.
//!
//! - `world.rs`: a disk, a clock, and steps: it starts executions, gives workers and the committer their turns in any order,
//!   lets time pass, answers tasks, stops executions, makes the disk fail and the process crash.
//! - `life.rs`: one engine after another on the same disk: recovery, which a crash may cut off, shutdowns and crashes;
//!   `finish.rs`: in the end nothing fails any more, and everything is brought to its end.
//! - `actions.rs`, `handlers.rs`: starts, answers, stops; handlers do so too, in the middle of a worker's turn.
//! - `machines.rs`: what is run.
//! - `model.rs`, `outcome.rs`, `calls.rs`: the checker. It knows what was acknowledged, called, answered, told, and holds
//!   every call and every end against it: nothing acknowledged is lost; nothing whose end is on the disk runs again; none
//!   ends twice in a life; no attempt has the number of another; no wait, retry or timeout is early, and none late once
//!   everything had its turn; outputs are the machine's function of the input and of answers that were given in time.
//! - `figures.rs`: the engine's counts and metrics.
//!
//! At a crash the disk loses any part of what was not synced.
//!
//! `QUICKSTEP_SIM_SEEDS=50000 cargo test --test sim` runs so many seeds, `QUICKSTEP_SIM_SEED=7` this one alone.

#[path = "sim/actions.rs"]
mod actions;
#[path = "sim/calls.rs"]
mod calls;
#[path = "sim/clock.rs"]
mod clock;
#[path = "sim/figures.rs"]
mod figures;
#[path = "sim/finish.rs"]
mod finish;
#[path = "sim/handlers.rs"]
mod handlers;
#[path = "sim/hub.rs"]
mod hub;
#[path = "sim/life.rs"]
mod life;
#[path = "sim/machines.rs"]
mod machines;
#[path = "sim/model.rs"]
mod model;
#[path = "sim/outcome.rs"]
mod outcome;
#[path = "sim/random.rs"]
mod random;
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/world.rs"]
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use hub::{Hub, Met};
use world::World;

/// Seeds that are run unless the environment says otherwise.
const SEEDS: u64 = 500;

/// Seeds that are run twice.
const SEEDS_TWICE: u64 = 25;

/// What a seed came to: what has happened, and the digest of its trace.
struct Run {
    met: Met,
    digest: (u64, u64),
}

thread_local! {
    /// Where the last panic of a simulation was; none outside of simulations.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of simulations are told with their seed, and not on their own.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_kept = PANIC.with_borrow_mut(|kept| {
                let is_simulation = kept.is_some();
                *kept = is_simulation.then(|| panic.to_string());
                is_simulation
            });
            if !is_kept {
                others(panic);
            }
        }));
    });
}

/// Runs a seed, or tells how it fails.
fn simulate(seed: u64) -> Result<Run, String> {
    keep_panics();
    PANIC.set(Some(String::new()));
    let hub = Hub::new(seed);
    let run = catch_unwind(AssertUnwindSafe(|| World::new(seed, &hub).run()));
    let panic = PANIC.take().unwrap_or_default();
    // Handlers know the hub, and it the engine. It calls back while it is dropped.
    let left = {
        let mut state = hub.lock();
        (state.engine.take(), std::mem::take(&mut state.handles))
    };
    drop(left);
    let state = hub.lock();
    match run {
        Ok(met) => Ok(Run {
            met,
            digest: state.trace.digest(),
        }),
        Err(_) => Err(format!(
            "{}\nseed {seed} fails: {panic}\nagain: QUICKSTEP_SIM_SEED={seed} cargo test --test sim",
            state.trace,
        )),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how much is to be simulated is said where the tests are run"
)]
fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text}, and must be a number")),
    )
}

/// Runs seeds on as many threads as there are cores; tells of the failures with the lowest numbers.
fn simulate_all(seeds: u64) -> Met {
    const SHOWN: usize = 3;
    let next = AtomicU64::new(0);
    let (all, failures) = (Mutex::new(Met::default()), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    match simulate(seed) {
                        Ok(run) => all.lock().expect("no panic").add(&run.met),
                        Err(failure) => {
                            failures.lock().expect("no panic").push((seed, failure));
                        }
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no panic");
    failures.sort_unstable();
    for (_, failure) in failures.iter().take(SHOWN) {
        eprintln!("{failure}\n");
    }
    let numbers: Vec<u64> = failures.iter().map(|(seed, _)| *seed).take(50).collect();
    assert!(
        failures.is_empty(),
        "{} of {seeds} seeds fail: {numbers:?}",
        failures.len()
    );
    all.into_inner().expect("no panic")
}

#[test]
fn whatever_happens() {
    if let Some(seed) = from_environment("QUICKSTEP_SIM_SEED") {
        let run = simulate(seed).unwrap_or_else(|failure| panic!("{failure}"));
        eprintln!("seed {seed}: {:?} {:#?}", run.digest, run.met);
        return;
    }
    let seeds = from_environment("QUICKSTEP_SIM_SEEDS").unwrap_or(SEEDS);
    let met = simulate_all(seeds);
    // A simulation that has not met something shows nothing about it.
    if seeds >= SEEDS {
        for (what, count) in met.each() {
            assert!(count >= seeds / 50, "{what}: {count} times; {met:?}");
        }
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..SEEDS_TWICE {
        let digests = [seed; 2].map(|seed| match simulate(seed) {
            Ok(run) => run.digest,
            Err(failure) => panic!("{failure}"),
        });
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
}
