//! The journal and what may befall it: cut and damaged files, crashes at any moment, failing syncs, full disks.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "crash/damage.rs"]
mod damage;
#[path = "crash/names.rs"]
mod names;
#[path = "crash/simulation.rs"]
mod simulation;
#[path = "crash/space.rs"]
mod space;
#[path = "crash/support.rs"]
mod support;
#[path = "crash/sync.rs"]
mod sync;
#[path = "crash/threads.rs"]
mod threads;
