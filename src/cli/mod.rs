//! The commands of the `quickstep` binary.

pub mod validate;
