//! quickstep runs Amazon States Language state machines with Express semantics.

pub mod asl;
#[cfg(feature = "server")]
pub mod cli;
pub mod compile;
pub mod engine;
pub mod history;
pub mod interp;
pub mod intrinsic;
pub mod path;
pub mod program;
pub mod stdx;
pub mod task;
pub mod value;

pub use engine::{Engine, ExecutionResult, StateMachine, TimeMode};
pub use history::Failure;
pub use interp::Status;
