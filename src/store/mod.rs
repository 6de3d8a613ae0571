//! The catalogue of a server: state machines with their revisions, versions, aliases and tags, and activities.
//!
//! [`Catalogue`] holds all of it in memory and answers from there. Every change is first given to a [`Storage`], which
//! makes it durable or keeps nothing; what a storage holds is read once, at the start. This module knows nothing of
//! requests, executions or clocks.

mod catalogue;
mod error;
mod executions;
mod pack;
mod persist;
mod record;
mod tables;
mod writer;

pub(crate) use catalogue::{Catalogue, Machine, Revision};
pub use error::{StoreError, StoreErrorKind};
pub(crate) use executions::{
    Chunk, EndedRecord, ExecutionRecord, ExecutionStore, Progress, RedrivenRecord, Standing,
    Stored, StoredExecution,
};
pub(crate) use persist::{FileStorage, MemoryStorage, Storage};
pub(crate) use record::{
    ActivityRecord, AliasRecord, Logging, MachineKind, MachineRecord, RevisionRecord, Route, Tag,
    VersionRecord,
};
