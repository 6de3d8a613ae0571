//! Definitions: the model of a state machine, its reader, its checks, and the `Diagnostic`s that they report.
// SKELETON

mod model;
pub use model::*;
