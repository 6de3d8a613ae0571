//! The binary, run as a user runs it: arguments and standard input in, both outputs and the exit code out.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "cli/support.rs"]
mod support;

#[path = "cli/config.rs"]
mod config;
#[path = "cli/cost.rs"]
mod cost;
#[path = "cli/events.rs"]
mod events;
#[path = "cli/examples.rs"]
mod examples;
#[path = "cli/exec.rs"]
mod exec;
#[path = "cli/journal.rs"]
mod journal;
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/metrics.rs"]
mod metrics;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/tasks.rs"]
mod tasks;
#[path = "cli/terminal.rs"]
mod terminal;
#[cfg(target_os = "linux")]
#[path = "cli/unwritable.rs"]
mod unwritable;
