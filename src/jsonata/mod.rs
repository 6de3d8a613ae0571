//! JSONata, as AWS's dialect of 2.0.6: expressions are parsed and checked once, the common ones are *lowered* to ops over
//! the execution's document, and the others run in `jsonata-core` behind limits (the slow path).
//!
//! This module knows nothing of states or programs: what an expression may name is given to it by a [`Scope`].

mod lower;
mod scope;

pub(crate) use lower::{Bail, Lowered, Reason, lower};
pub(crate) use scope::{Constants, Dialect, Root, Scope};
