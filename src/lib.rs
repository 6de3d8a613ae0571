//! quickstep runs Amazon States Language state machines with Express semantics.

pub mod asl;
#[cfg(feature = "server")]
pub mod cli;
pub mod intrinsic;
pub mod path;
pub mod stdx;
pub mod value;
