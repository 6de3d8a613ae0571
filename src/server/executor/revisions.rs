//! Revisions that starts in the journal refer to, each in a file of its own.
//!
//! A start runs what its machine was when it was started, whatever becomes of the machine: so the journal names a revision by
//! a number, and the file of that number has it. The number is made of what the file holds, so that a file proves itself.
//! Files that no unfinished start refers to any more are removed at the next start of the server.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::stdx::FixedSet;
use crate::store::{RevisionRecord, StoreError, StoreErrorKind};
use crate::task::lock;

/// What the names of the files end with.
const ENDING: &str = ".json";

/// What a start runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct KeptRevision {
    pub(super) machine: Box<str>,
    pub(super) machine_created_ms: i64,
    /// Number of the version, if it is a published one.
    pub(super) version: Option<u64>,
    /// Of the mocks.
    pub(super) test_case: Option<Box<str>>,
    pub(super) revision: RevisionRecord,
}

/// The directory of these files.
#[derive(Debug)]
pub(super) struct Revisions {
    directory: PathBuf,
    /// Those that this process refers to.
    written: Mutex<FixedSet<u64>>,
}

fn number_of(content: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(content).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

fn refused(what: &str, path: &Path, error: &io::Error) -> StoreError {
    let message = format!("failed to {what} {}: {error}", path.display());
    StoreError::new(StoreErrorKind::Io, message)
}

/// A file's name survives the power's loss once its directory is synced.
fn sync_directory(directory: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(directory)?.sync_all(),
        // Elsewhere a directory cannot be opened, and needs not to be.
        false => Ok(()),
    }
}

impl Revisions {
    /// The files in a directory, which is made if there is none.
    pub(super) fn open(directory: PathBuf) -> Result<Revisions, StoreError> {
        let make = || -> io::Result<()> {
            fs::create_dir_all(&directory)?;
            match directory.parent() {
                // The current directory is there.
                None => Ok(()),
                Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
                Some(parent) => sync_directory(parent),
            }
        };
        make().map_err(|error| refused("create", &directory, &error))?;
        Ok(Revisions {
            directory,
            written: Mutex::default(),
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:016x}{ENDING}"))
    }

    /// Keeps a revision; it is on the disk when this returns its number.
    pub(super) fn keep(&self, kept: &KeptRevision) -> Result<u64, StoreError> {
        let content = serde_json::to_vec(kept).map_err(|error| {
            let message = format!("failed to write a revision as JSON: {error}");
            StoreError::new(StoreErrorKind::Io, message)
        })?;
        let number = number_of(&content);
        // Nobody else writes or removes files meanwhile.
        let mut written = lock(&self.written);
        if !written.contains(&number) {
            let (path, unfinished) = (self.path(number), self.directory.join("unfinished"));
            let write = || -> io::Result<()> {
                let mut file = File::create(&unfinished)?;
                file.write_all(&content)?;
                file.sync_all()?;
                fs::rename(&unfinished, &path)?;
                sync_directory(&self.directory)
            };
            write().map_err(|error| refused("write", &path, &error))?;
            written.insert(number);
        }
        Ok(number)
    }

    /// A revision that was kept.
    pub(super) fn load(&self, number: u64) -> Result<KeptRevision, StoreError> {
        let path = self.path(number);
        let content = fs::read(&path).map_err(|error| refused("read", &path, &error))?;
        let read = serde_json::from_slice(&content);
        match (read, number_of(&content) == number) {
            (Ok(kept), true) => Ok(kept),
            _ => Err(StoreError::new(
                StoreErrorKind::Damaged,
                format!("{} is damaged", path.display()),
            )),
        }
    }

    /// Removes the files to which neither this process nor `referred` refers.
    pub(super) fn sweep(&self, referred: &FixedSet<u64>) -> Result<(), StoreError> {
        let wrong = |error: &io::Error| refused("tidy", &self.directory, error);
        let written = lock(&self.written);
        for entry in fs::read_dir(&self.directory).map_err(|error| wrong(&error))? {
            let path = entry.map_err(|error| wrong(&error))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let digits = name.and_then(|name| name.strip_suffix(ENDING));
            // What else there is somebody else has put there.
            let Some(number) = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok())
            else {
                continue;
            };
            if !referred.contains(&number) && !written.contains(&number) {
                fs::remove_file(&path).map_err(|error| refused("remove", &path, &error))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Logging;

    fn revision(definition: &str) -> KeptRevision {
        KeptRevision {
            machine: "m".into(),
            machine_created_ms: 1,
            version: Some(2),
            test_case: None,
            revision: RevisionRecord {
                id: None,
                definition: definition.into(),
                role_arn: "r".into(),
                logging: Logging::off(),
                tracing: false,
                updated_ms: 3,
            },
        }
    }

    #[test]
    fn what_is_referred_to_stays_and_proves_itself() {
        let directory =
            std::env::temp_dir().join(format!("quickstep-revisions-{}", std::process::id()));
        let revisions = Revisions::open(directory.clone()).unwrap();
        let numbers = ["a", "b", "c"].map(|text| revisions.keep(&revision(text)).unwrap());
        assert_eq!(revisions.keep(&revision("a")).unwrap(), numbers[0]);
        let mut different = numbers.to_vec();
        different.dedup();
        assert_eq!(different.len(), 3);
        // Another process refers to what it writes itself and to what it is told of.
        let revisions = Revisions::open(directory.clone()).unwrap();
        assert_eq!(revisions.keep(&revision("b")).unwrap(), numbers[1]);
        revisions
            .sweep(&[numbers[2]].into_iter().collect())
            .unwrap();
        let found = numbers.map(|number| revisions.load(number).map_err(|error| error.kind()));
        assert_eq!(found[0], Err(StoreErrorKind::Io));
        assert_eq!(found[1..], [Ok(revision("b")), Ok(revision("c"))]);
        // A file that holds something else is not believed.
        fs::copy(revisions.path(numbers[1]), revisions.path(numbers[2])).unwrap();
        let error = revisions.load(numbers[2]).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Damaged);
        assert!(
            error
                .to_string()
                .contains(&format!("{:016x}.json is damaged", numbers[2]))
        );
        fs::remove_dir_all(directory).unwrap();
    }
}
