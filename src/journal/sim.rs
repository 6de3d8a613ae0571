//! A disk in memory that loses what a real one may lose: for simulations of crashes.
//!
//! What was written and not synced is lost at a crash, or not, sector by sector; names that were made, changed or removed
//! since the directory was synced too. A sync may be made to fail, the room to end, the power to go before any operation.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::storage::{Storage, StorageFile};
use crate::task::lock;

/// What the disk writes as a whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A disk in memory. A copy is the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimStorage(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    files: Vec<File>,
    /// Names as processes see them, and as they were when the directory was last synced.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What has happened to names since.
    changes: Vec<Change>,
    faults: Faults,
    /// Operations that change something, so far.
    operations: u64,
    syncs: u64,
    /// Processes of before a crash no longer reach the disk.
    generation: u64,
    locked: Arc<AtomicBool>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The power goes instead of the operation of this number, counted from 1: it and all later ones fail.
    pub crash_at_operation: Option<u64>,
    /// The sync of this number fails, counted from 1. What it was to write is lost, and yet readable.
    pub fail_sync: Option<u64>,
    /// The operation of this number fails, counted from 1; if it is a write, half of it was done.
    pub fail_operation: Option<u64>,
    /// Most bytes of all files. Of a write that there is no room for, what has its place already is done.
    pub bytes_max: Option<u64>,
    /// Files get their places when they are written, as on file systems that copy on write.
    pub allocates_late: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Made(String, usize),
    Renamed(String, String),
    Removed(String),
}

#[derive(Debug, Default)]
struct File {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that differ, or may.
    dirty: BTreeSet<usize>,
    /// Bytes that have their place on the disk.
    allocated: u64,
}

impl SimStorage {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimStorage {
        SimStorage::default()
    }

    /// Says what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.0).faults = faults;
    }

    /// How many operations have changed something so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.0).operations
    }

    /// How many syncs there were so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        lock(&self.0).syncs
    }

    /// The power goes and comes back: what was not synced survives in parts, as `random` decides. Faults are over.
    pub fn crash(&self, random: &mut dyn FnMut() -> u64) {
        let mut disk = lock(&self.0);
        let changes = std::mem::take(&mut disk.changes);
        for change in changes {
            if random().is_multiple_of(2) {
                disk.apply(&change);
            }
        }
        disk.names = disk.durable_names.clone();
        for file in &mut disk.files {
            file.crash(random);
        }
        disk.restart();
    }

    /// The process goes, the system stays: nothing is lost, and nothing becomes durable by that. Faults are over.
    pub fn kill(&self) {
        lock(&self.0).restart();
    }

    /// The bytes of a file, as a process sees them.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let disk = lock(&self.0);
        let index = disk.names.get(name)?;
        Some(disk.files[*index].current.clone())
    }

    /// Makes a file durable with these bytes, whatever it was.
    pub fn set_contents(&self, name: &str, bytes: Vec<u8>) {
        let mut disk = lock(&self.0);
        let index = disk.files.len();
        disk.files.push(File {
            allocated: bytes.len() as u64,
            current: bytes.clone(),
            durable: bytes,
            dirty: BTreeSet::new(),
        });
        disk.names.insert(name.to_owned(), index);
        disk.durable_names.insert(name.to_owned(), index);
    }

    fn file(&self, index: usize) -> Arc<dyn StorageFile> {
        Arc::new(SimFile {
            disk: Arc::clone(&self.0),
            index,
            generation: lock(&self.0).generation,
        })
    }
}

impl Disk {
    fn restart(&mut self) {
        self.faults = Faults::default();
        self.generation += 1;
        self.locked = Arc::default();
        for name in self.names.values().chain(self.durable_names.values()) {
            // Whatever a file holds after a restart has its place.
            let file = &mut self.files[*name];
            file.allocated = file.allocated.max(file.current.len() as u64);
        }
    }

    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.faults.crash_at_operation {
            Some(at) if self.operations >= at => Err(io::Error::other("the power is gone")),
            _ if self.faults.fail_operation == Some(self.operations) => {
                Err(io::Error::other("the operation has failed"))
            }
            _ => Ok(()),
        }
    }

    /// How much of a write of a file is done, and what is said of it.
    fn writes(&mut self, index: usize, from: usize, bytes: usize) -> (usize, io::Result<()>) {
        if let Err(error) = self.operation() {
            let is_powered = self.faults.fail_operation == Some(self.operations);
            return (if is_powered { bytes / 2 } else { 0 }, Err(error));
        }
        match self.allocate(index, (from + bytes) as u64) {
            Ok(()) => (bytes, Ok(())),
            Err(error) => {
                let placed = self.files[index].allocated.saturating_sub(from as u64);
                let placed = usize::try_from(placed).map_or(bytes, |placed| placed.min(bytes));
                (placed, Err(error))
            }
        }
    }

    fn sync(&mut self) -> io::Result<bool> {
        self.operation()?;
        self.syncs += 1;
        Ok(self.faults.fail_sync != Some(self.syncs))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Made(name, index) => {
                self.durable_names.insert(name.clone(), *index);
            }
            Change::Renamed(from, to) => {
                if let Some(index) = self.durable_names.remove(from) {
                    self.durable_names.insert(to.clone(), index);
                }
            }
            Change::Removed(name) => {
                self.durable_names.remove(name);
            }
        }
    }

    /// Takes room on the disk for a file that grows to `bytes`.
    fn allocate(&mut self, index: usize, bytes: u64) -> io::Result<()> {
        let more = bytes.saturating_sub(self.files[index].allocated);
        let used: u64 = self
            .names
            .values()
            .map(|index| self.files[*index].allocated)
            .sum();
        let is_full = self.faults.bytes_max.is_some_and(|most| used + more > most);
        if more > 0 && is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files[index].allocated += more;
        Ok(())
    }
}

impl File {
    fn crash(&mut self, random: &mut dyn FnMut() -> u64) {
        // A length that was not synced is the old one or the new one.
        if self.current.len() != self.durable.len() && random().is_multiple_of(2) {
            self.durable.resize(self.current.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if random().is_multiple_of(2) {
                self.settle(sector);
            }
        }
        self.current.clone_from(&self.durable);
    }

    /// A sector reaches the disk.
    fn settle(&mut self, sector: usize) {
        let from = sector * SECTOR_BYTES;
        let to = (from + SECTOR_BYTES)
            .min(self.current.len())
            .min(self.durable.len());
        if from < to {
            self.durable[from..to].copy_from_slice(&self.current[from..to]);
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.settle(sector);
        }
    }
}

/// The lock, given back when it is dropped.
struct SimLock(Arc<AtomicBool>);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Storage for SimStorage {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let locked = Arc::clone(&lock(&self.0).locked);
        if locked.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock(locked)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = lock(&self.0);
        disk.operation()?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        let index = disk.files.len();
        disk.files.push(File::default());
        if !disk.faults.allocates_late {
            disk.allocate(index, bytes)?;
        }
        disk.files[index].current.resize(length, 0);
        disk.names.insert(name.to_owned(), index);
        disk.changes.push(Change::Made(name.to_owned(), index));
        drop(disk);
        Ok(self.file(index))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let index = lock(&self.0).names.get(name).copied();
        Ok(self.file(index.ok_or_else(not_found)?))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = lock(&self.0);
        disk.operation()?;
        let index = disk.names.remove(from).ok_or_else(not_found)?;
        disk.names.insert(to.to_owned(), index);
        disk.changes
            .push(Change::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = lock(&self.0);
        disk.operation()?;
        disk.names.remove(name).ok_or_else(not_found)?;
        disk.changes.push(Change::Removed(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = lock(&self.0);
        if !disk.sync()? {
            return Err(io::Error::other("the sync has failed"));
        }
        for change in std::mem::take(&mut disk.changes) {
            disk.apply(&change);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: Arc<Mutex<Disk>>,
    index: usize,
    generation: u64,
}

impl SimFile {
    fn change(&self, change: impl FnOnce(&mut Disk) -> io::Result<()>) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.generation != self.generation {
            return Err(io::Error::other("the process is gone"));
        }
        change(&mut disk)
    }
}

impl StorageFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|disk| {
            let from = usize::try_from(offset).map_err(io::Error::other)?;
            let (done, result) = disk.writes(self.index, from, bytes.len());
            if done > 0 {
                let to = from + done;
                let file = &mut disk.files[self.index];
                if file.current.len() < to {
                    file.current.resize(to, 0);
                }
                file.current[from..to].copy_from_slice(&bytes[..done]);
                file.dirty
                    .extend(from / SECTOR_BYTES..=(to - 1) / SECTOR_BYTES);
            }
            result
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = lock(&self.disk);
        let current = &disk.files[self.index].current;
        let from = usize::try_from(offset).map_or(current.len(), |from| from.min(current.len()));
        let count = buffer.len().min(current.len() - from);
        buffer[..count].copy_from_slice(&current[from..from + count]);
        Ok(count)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(lock(&self.disk).files[self.index].current.len() as u64)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.change(|disk| {
            disk.operation()?;
            let length = usize::try_from(bytes).map_err(io::Error::other)?;
            let file = &mut disk.files[self.index];
            file.current.resize(length, 0);
            file.allocated = file.allocated.min(bytes);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|disk| {
            let is_fine = disk.sync()?;
            let file = &mut disk.files[self.index];
            if is_fine {
                file.sync();
                return Ok(());
            }
            // The pages count as clean from now on, though the disk has never seen them.
            file.dirty.clear();
            Err(io::Error::other("the sync has failed"))
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
