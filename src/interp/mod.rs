//! The interpreter: runs a [`Program`](crate::program::Program) until the execution ends, parks or is out of fuel.
//!
//! It is pure and synchronous. Time is given to it with every turn, randomness with the start; tasks are yielded to the
//! caller, who answers at once or later. It knows no clock, file, lock, thread or handler.
//!
//! An [`Execution`] is a set of frames over one document: one frame for the machine itself, and one for every branch of
//! a Parallel and every iteration of a Map that is under way. [`Execution::step`] runs the frames that are ready, each
//! until it ends or has to wait.

mod choice;
mod context;
mod counts;
mod execution;
mod failure;
mod freeze;
mod join;
mod merge;
mod query;
mod redrive;
mod run;
mod task;
mod wait;

pub use freeze::Freezer;

pub use context::{Invocation, MachineIdentity, Start, name_of_seed};
pub(crate) use context::{express_id, uuid};
pub use counts::Counts;
pub use execution::{
    Completion, Execution, FrameHandle, Outcome, Stale, StartError, Status, TaskCall, Yield,
};

/// Most bytes of an input, an output or a result (AWS's guide, "Quotas").
pub const PAYLOAD_BYTES_MAX: usize = 262_144;

/// Most bytes of one variable, and of all variables that one `Assign` sets.
pub const ASSIGN_BYTES_MAX: usize = 262_144;

/// Most bytes of all variables of an execution.
pub const VARIABLES_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Most iterations of an inline Map that run at a time.
pub const MAP_CONCURRENCY_MAX: usize = 40;

/// Branches and iterations under way beyond which a Map starts no more than one iteration at a time.
const FRAMES_WIDE_MAX: usize = 10_000;

/// Longest run of an EXPRESS execution, in seconds.
pub const EXPRESS_SECONDS_MAX: u64 = 300;

/// Transitions that one turn runs before it yields [`Yield::OutOfFuel`], unless the caller says otherwise.
pub const FUEL: u32 = 10_000;
