//! JSONata, as AWS's dialect of 2.0.6: expressions are parsed and checked once, the common ones are *lowered* to ops over
//! the execution's document, and the others run in `jsonata-core` behind limits (the slow path).
//!
//! This module knows nothing of states or programs: what an expression may name is given to it by a [`Scope`].
//!
//! - `expression.rs`: text to [`Expression`]: the tree, and the checks that AWS makes when a definition is created.
//! - `syntax.rs`: what is wrong with a text, and where.
//! - `reads.rs`: which parts of which values an expression names; `walk.rs` goes over a tree.
//! - `compiled.rs`: an expression with its names resolved, and [`evaluate`].
//! - `lower/`: an expression as ops over the document, where it is one of the common ones.
//! - `slow.rs`: `jsonata-core`; `convert.rs`: values there and back; `functions.rs`: what AWS adds or has differently.
//! - `guard.rs`, `weigh.rs`: what keeps a hostile expression within its memory; `limits.rs`: the bounds.
//! - `error.rs`: AWS's texts.

mod compiled;
mod convert;
mod error;
mod expression;
mod functions;
mod guard;
mod limits;
mod lower;
mod reads;
mod scope;
mod slow;
mod syntax;
mod walk;
mod weigh;

pub(crate) use compiled::{Compiled, evaluate};
pub use expression::Expression;
pub(crate) use expression::{Available, ProblemKind};
pub(crate) use limits::with_patience;
pub(crate) use lower::{Bail, Lowered, Reason, lower};
pub(crate) use scope::{Constants, Dialect, Root, Scope};
