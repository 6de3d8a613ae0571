//! Where the catalogue is kept: nowhere, or in a file.

use std::fmt::Debug;
use std::path::Path;

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
};

use super::error::{StoreError, StoreErrorKind};

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

/// The format of the records.
const FORMAT_VERSION: u64 = 1;

/// Name of the file in the data directory.
const FILE_NAME: &str = "catalogue.redb";

/// Makes the tables of a new file.
type MakeTables = fn(&redb::WriteTransaction) -> Result<(), redb::Error>;

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
    pub(super) fn open(
        directory: &Path,
        name: &str,
        make_tables: MakeTables,
    ) -> Result<File, StoreError> {
        let path = directory.join(name);
        let shown = path.display().to_string();
        std::fs::create_dir_all(directory).map_err(|error| {
            let message = format!("failed to create {}: {error}", directory.display());
            StoreError::new(StoreErrorKind::Io, message)
        })?;
        let database = checked(|| {
            let mut database = Database::create(&path)?;
            // Every checksum, once: a catalogue is small, and what is damaged must not show itself later.
            match database.check_integrity()? {
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
                    if error.kind() != std::io::ErrorKind::InvalidData =>
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
        file.check_format(make_tables)?;
        Ok(file)
    }

    /// Checks the format of the file, or makes one that is new, with its tables.
    fn check_format(&self, make_tables: MakeTables) -> Result<(), StoreError> {
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
                .insert("version", FORMAT_VERSION)?;
            make_tables(&transaction)?;
            transaction.commit()?;
            Ok(FORMAT_VERSION)
        };
        let found = attempt().map_err(|error| self.failed(&error))?;
        if found != FORMAT_VERSION {
            let message = format!(
                "{} has format {found}, and this version of quickstep reads format {FORMAT_VERSION}; use the version \
                 that wrote it, or another --data-dir",
                self.path
            );
            return Err(StoreError::new(StoreErrorKind::Damaged, message));
        }
        Ok(())
    }

    pub(super) fn failed(&self, error: &redb::Error) -> StoreError {
        let kind = match error {
            redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
                StoreErrorKind::Io
            }
            _ => StoreErrorKind::Damaged,
        };
        StoreError::new(kind, refusal(&self.path, kind, &error.to_string()))
    }
}

impl FileStorage {
    /// Opens the file in `directory`, or makes both.
    pub(crate) fn open(directory: &Path) -> Result<FileStorage, StoreError> {
        let file = File::open(directory, FILE_NAME, |transaction| {
            transaction.open_table(RECORDS)?;
            Ok(())
        })?;
        Ok(FileStorage(file))
    }
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
        StoreErrorKind::InUse | StoreErrorKind::Io => {
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
