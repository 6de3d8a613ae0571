//! The tables of the file of executions.
//!
//! What is written together lies together: keys grow with time, but for names. An execution that never waits is one
//! value of events, one record, and its places in the lists of names and of ends.

use redb::TableDefinition;
use serde::Deserialize;

use super::error::{StoreError, StoreErrorKind};
use super::persist::refusal;

/// The format of the file. In 1 each event was a value of its own, and what had ended was read at the start.
pub(super) const FORMAT_VERSION: u64 = 2;

/// Records of executions, by machine and serial number.
pub(super) const EXECUTIONS: TableDefinition<'_, (&str, u64), &[u8]> =
    TableDefinition::new("executions");

/// Where executions stand that have not ended.
pub(super) const FROZEN: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("frozen");

/// Where executions stood when they failed, by serial number.
pub(super) const REDRIVABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("redrivable");

/// Events, by execution and number of the first of them.
pub(super) const EVENTS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("events");

/// Serial number and machine of the execution that has an ARN.
pub(super) const NAMES: TableDefinition<'_, &str, (u64, &str)> = TableDefinition::new("names");

/// Machine and ARN of what has ended, by the time of its end and serial number.
pub(super) const ENDS: TableDefinition<'_, (i64, u64), (&str, &str)> = TableDefinition::new("ends");

/// Revisions that executions refer to.
pub(super) const REVISIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("revisions");

/// Makes the tables of a new file.
pub(super) fn make(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(EXECUTIONS)?;
    transaction.open_table(FROZEN)?;
    transaction.open_table(REDRIVABLE)?;
    transaction.open_table(EVENTS)?;
    transaction.open_table(NAMES)?;
    transaction.open_table(ENDS)?;
    transaction.open_table(REVISIONS)?;
    Ok(())
}

/// What a record holds.
pub(super) fn parsed<'a, T: Deserialize<'a>>(
    key: impl std::fmt::Display,
    record: &'a [u8],
) -> Result<T, redb::Error> {
    serde_json::from_slice(record).map_err(|error| damaged(format!("record {key}: {error}")))
}

/// A file that does not hold what it should.
pub(super) fn damaged(what: String) -> redb::Error {
    redb::Error::Corrupted(what)
}

/// What an error of the file at `path` means.
pub(super) fn failed(path: &str, error: &redb::Error) -> StoreError {
    let kind = match error {
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            StoreErrorKind::Io
        }
        _ => StoreErrorKind::Damaged,
    };
    StoreError::new(kind, refusal(path, kind, &error.to_string()))
}
