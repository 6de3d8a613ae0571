//! Where the catalogue is kept: nowhere, or in a file.

use std::fmt::Debug;
use std::io::ErrorKind;
use std::path::Path;

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

use super::error::{StoreError, StoreErrorKind};
use super::tables;

/// Keys and records; a record that is absent is removed.
pub(crate) type Batch = [(String, Option<Vec<u8>>)];

/// Keeps records by key.
pub(crate) trait Storage: Debug + Send + Sync {
    /// All that there is.
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Makes changes, all or none of them; they are durable when it returns.
    fn write(&self, batch: &Batch) -> Result<(), StoreError>;

    /// True if it outlives the process.
    fn is_durable(&self) -> bool;
}

/// Keeps nothing.
#[derive(Debug)]
pub(crate) struct MemoryStorage;

impl Storage for MemoryStorage {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }

    fn write(&self, _: &Batch) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

/// The records, as JSON.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");

/// What the file is, so that another version of this program can tell.
const FORMAT: TableDefinition<'_, &str, u64> = TableDefinition::new("format");

/// Where transactions are counted in that table.
const COMMITS: &str = "commits";

/// The format of the records.
const FORMAT_VERSION: u64 = 1;

/// Name of the file in the data directory.
const FILE_NAME: &str = "catalogue.redb";

/// Bytes of the catalogue's file that are kept in memory; it is in memory itself.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Makes the tables of a new file.
type MakeTables = fn(&redb::WriteTransaction) -> Result<(), redb::Error>;

/// What tells one file of a store from another.
pub(super) struct FileKind {
    pub(super) name: &'static str,
    /// What this version reads and writes.
    pub(super) format: u64,
    pub(super) cache_bytes: usize,
    pub(super) make_tables: MakeTables,
}

/// A file of a store that is open.
pub(super) struct File {
    pub(super) database: Database,
    pub(super) path: String,
}

/// Keeps records in one file of a directory.
pub(crate) struct FileStorage(File);

impl Debug for FileStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FileStorage").field(&self.0.path).finish()
    }
}

impl File {
    /// Opens the file in `directory`, or makes both.
    pub(super) fn open(directory: &Path, file_kind: &FileKind) -> Result<File, StoreError> {
        let path = directory.join(file_kind.name);
        let shown = path.display().to_string();
        let io = |why: String| {
            let kind = StoreErrorKind::Io;
            StoreError::new(kind, refusal(&shown, kind, &why))
        };
        std::fs::create_dir_all(directory).map_err(|error| {
            let message = format!("failed to create {}: {error}", directory.display());
            StoreError::new(StoreErrorKind::Io, message)
        })?;
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                File::make(directory, &path, file_kind)?;
            }
            Err(error) => return Err(io(error.to_string())),
            Ok(found) if !found.is_file() => return Err(io("it is not a file".to_owned())),
            // A new file has its name only once it is whole.
            Ok(found) if found.len() == 0 => {
                let kind = StoreErrorKind::Damaged;
                return Err(StoreError::new(kind, refusal(&shown, kind, "it is empty")));
            }
            Ok(_) => {}
        }
        File::at(&path, file_kind)
    }

    /// Makes a new file. A crash leaves none, or a whole one.
    fn make(directory: &Path, path: &Path, file_kind: &FileKind) -> Result<(), StoreError> {
        let new = directory.join(format!("{}.new", file_kind.name));
        let failed = |error: std::io::Error| {
            let kind = StoreErrorKind::Io;
            StoreError::new(
                kind,
                refusal(&path.display().to_string(), kind, &error.to_string()),
            )
        };
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            // What a crash has left behind, or nothing.
            Ok(()) | Err(_) => {}
        }
        drop(File::at(&new, file_kind)?);
        match std::fs::hard_link(&new, path) {
            Ok(()) => {}
            // Another process has made one meanwhile; if it runs, the file is in use.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // The file system has no links.
            Err(_) => std::fs::rename(&new, path).map_err(failed)?,
        }
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            // It is gone if it was renamed.
            Ok(()) | Err(_) => {}
        }
        let directory = std::fs::File::open(directory).map_err(failed)?;
        // The name survives power loss only once the directory is synced.
        directory.sync_all().map_err(failed)
    }

    /// Opens the file at a path, or makes it.
    fn at(path: &Path, file_kind: &FileKind) -> Result<File, StoreError> {
        let shown = path.display().to_string();
        let database = checked(|| {
            let mut database = Database::builder()
                .set_cache_size(file_kind.cache_bytes)
                .create(path)?;
            let commits = commits(&database);
            // Every checksum, once: what is damaged must not show itself later. What it mends by itself may be a list of free
            // pages that was not written, which is no harm, or a return to the transaction before.
            let is_whole = database.check_integrity()?;
            match is_whole || (commits.is_some() && commits == self::commits(&database)) {
                true => Ok(database),
                false => Err(DatabaseError::Storage(StorageError::Corrupted(
                    "the checksums do not fit".to_owned(),
                ))),
            }
        })
        .map_err(|error| {
            let (kind, why) = match &error {
                DatabaseError::DatabaseAlreadyOpen => (
                    StoreErrorKind::InUse,
                    "another process has it open".to_owned(),
                ),
                DatabaseError::Storage(StorageError::Io(error))
                    if error.kind() != ErrorKind::InvalidData =>
                {
                    (StoreErrorKind::Io, error.to_string())
                }
                other => (StoreErrorKind::Damaged, other.to_string()),
            };
            StoreError::new(kind, refusal(&shown, kind, &why))
        })?;
        let file = File {
            database,
            path: shown,
        };
        file.check_format(file_kind)?;
        Ok(file)
    }

    /// Checks the format of the file, or makes one that is new, with its tables.
    fn check_format(&self, file_kind: &FileKind) -> Result<(), StoreError> {
        let attempt = || -> Result<u64, redb::Error> {
            let reading = self.database.begin_read()?;
            match reading.open_table(FORMAT) {
                Ok(table) => {
                    if let Some(found) = table.get("version")? {
                        return Ok(found.value());
                    }
                }
                Err(redb::TableError::TableDoesNotExist(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let transaction = self.database.begin_write()?;
            transaction
                .open_table(FORMAT)?
                .insert("version", file_kind.format)?;
            (file_kind.make_tables)(&transaction)?;
            transaction.commit()?;
            Ok(file_kind.format)
        };
        let found = attempt().map_err(|error| self.failed(&error))?;
        if found != file_kind.format {
            let message = format!(
                "{} has format {found}, and this version of quickstep reads format {}; use the version \
                 that wrote it, or another --data-dir",
                self.path, file_kind.format
            );
            return Err(StoreError::new(StoreErrorKind::Damaged, message));
        }
        Ok(())
    }

    pub(super) fn failed(&self, error: &redb::Error) -> StoreError {
        tables::failed(&self.path, error)
    }
}

impl FileStorage {
    /// Opens the file in `directory`, or makes both.
    pub(crate) fn open(directory: &Path) -> Result<FileStorage, StoreError> {
        let kind = FileKind {
            name: FILE_NAME,
            format: FORMAT_VERSION,
            cache_bytes: CACHE_BYTES,
            make_tables: |transaction| {
                transaction.open_table(RECORDS)?;
                Ok(())
            },
        };
        let file = File::open(directory, &kind)?;
        Ok(FileStorage(file))
    }
}

/// Counts a transaction, so that the one before it can be told from it.
pub(super) fn count_commit(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(FORMAT)?;
    let commits = table.get(COMMITS)?.map_or(0, |commits| commits.value());
    table.insert(COMMITS, commits + 1)?;
    Ok(())
}

/// How many transactions a file has seen; nothing if that cannot be read.
fn commits(database: &Database) -> Option<u64> {
    let reading = database.begin_read().ok()?;
    let table = reading.open_table(FORMAT).ok()?;
    Some(table.get(COMMITS).ok()??.value())
}

/// Opens a file of which every byte may be damaged: a panic of the reader is damage, too.
fn checked(
    open: impl FnOnce() -> Result<Database, DatabaseError>,
) -> Result<Database, DatabaseError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)).unwrap_or_else(|_| {
        Err(DatabaseError::Storage(StorageError::Corrupted(
            "its structure cannot be followed".to_owned(),
        )))
    })
}

pub(super) fn refusal(path: &str, kind: StoreErrorKind, why: &str) -> String {
    match kind {
        StoreErrorKind::Damaged => format!(
            "the store {path} is damaged: {why}. It was left as it is: restore it from a copy, or move it away to \
             begin with an empty one"
        ),
        StoreErrorKind::InUse | StoreErrorKind::Unfit | StoreErrorKind::Io => {
            format!("the store {path} cannot be used: {why}")
        }
    }
}

impl Storage for FileStorage {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let attempt = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let transaction = self.0.database.begin_read()?;
            let table = transaction.open_table(RECORDS)?;
            let mut records = Vec::new();
            for entry in table.iter()? {
                let (key, record) = entry?;
                records.push((key.value().to_owned(), record.value().to_vec()));
            }
            Ok(records)
        };
        attempt().map_err(|error| self.0.failed(&error))
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let attempt = || -> Result<(), redb::Error> {
            let transaction = self.0.database.begin_write()?;
            count_commit(&transaction)?;
            {
                let mut table = transaction.open_table(RECORDS)?;
                for (key, record) in batch {
                    match record {
                        Some(record) => drop(table.insert(key.as_str(), record.as_slice())?),
                        None => drop(table.remove(key.as_str())?),
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        attempt().map_err(|error| self.0.failed(&error))
    }

    fn is_durable(&self) -> bool {
        true
    }
}
