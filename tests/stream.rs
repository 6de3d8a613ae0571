//! Streams: every event is settled exactly once, whatever happens. Engines are simulated and time is injected; only what is
//! about threads has threads.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "stream/channels.rs"]
mod channels;
#[path = "stream/directories.rs"]
mod directories;
#[path = "stream/random.rs"]
mod random;
#[path = "stream/redelivery.rs"]
mod redelivery;
#[path = "stream/shutdown.rs"]
mod shutdown;
#[path = "stream/support.rs"]
mod support;
