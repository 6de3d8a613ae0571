//! Definitions: the model of a state machine, its reader, its checks, and the `Diagnostic`s that they report.
//!
//! 1. `json` turns the text into a tree in which everything knows its place.
//! 2. `reader` turns the tree into the model, field by field, and reports every rule that a field breaks.
//! 3. `graph` checks what holds between states: targets, reachability, ends, unique names.
//!
//! It must not know how a definition is compiled or run.

mod diagnostic;
mod graph;
mod json;
mod model;
#[cfg(feature = "server")]
mod places;
mod reader;
mod resource;
pub(crate) mod suggest;
mod unsupported;

pub use diagnostic::{Code, Diagnostic, Severity, aws_message};
pub use model::*;
#[cfg(feature = "server")]
pub(crate) use places::Places;
pub use reader::{DEFINITION_BYTES_MAX, Reading, read};
pub use resource::{Integration, Pattern, Resource, ResourceError};
pub use unsupported::unsupported;
