//! [`Storage`]: everything of the journal that touches a file system, and [`FileStorage`], the real one.
//!
//! It knows names, bytes and offsets, nothing of segments or records.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of files.
pub trait Storage: Debug + Send + Sync + 'static {
    /// Keeps every other process and journal out, for as long as the guard lives.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if somebody has the lock.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// The names of the files, in any order.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file that must not exist, with `bytes` zeros that have their place on the disk already. Nothing is left
    /// of it if that fails.
    ///
    /// # Errors
    ///
    /// What the file system says; a kind for want of space if there is none.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives a file another name, at once or not at all.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; whoever has it open can go on reading.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns once names made, changed and removed before survive a loss of power.
    ///
    /// # Errors
    ///
    /// What the file system says; nobody knows then what survives.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file.
pub trait StorageFile: Debug + Send + Sync {
    /// Writes all the bytes at an offset.
    ///
    /// # Errors
    ///
    /// What the file system says; some of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads from an offset until the buffer is full or the file ends; returns how many bytes it has read.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The length of the file.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn bytes(&self) -> io::Result<u64>;

    /// Cuts the file.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Returns once what was written survives a loss of power.
    ///
    /// # Errors
    ///
    /// What the file system says; nobody knows then what survives.
    fn sync_data(&self) -> io::Result<()>;

    /// As [`StorageFile::sync_data`], and the file's length too.
    ///
    /// # Errors
    ///
    /// As there.
    fn sync_all(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub struct FileStorage {
    directory: PathBuf,
}

/// The file that a process which has the journal open keeps locked. It stays: removing it would let two processes lock
/// two files of the same name.
const LOCK_NAME: &str = "lock";

impl FileStorage {
    /// The directory, made if there is none.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn create(directory: impl Into<PathBuf>) -> io::Result<FileStorage> {
        let directory = directory.into();
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
        let missing: Vec<&Path> = directory.ancestors().take_while(is_missing).collect();
        if !missing.is_empty() {
            fs::create_dir_all(&directory)?;
        }
        // A new name survives power loss only once the directory that holds it is synced.
        for made in missing {
            let parent = made.parent().filter(|path| !path.as_os_str().is_empty());
            sync_directory(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(FileStorage { directory })
    }

    /// A directory that is there, to look at; nothing is made.
    ///
    /// # Errors
    ///
    /// If it is no directory.
    pub fn existing(directory: impl Into<PathBuf>) -> io::Result<FileStorage> {
        let directory = directory.into();
        fs::read_dir(&directory)?;
        Ok(FileStorage { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Storage for FileStorage {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path(LOCK_NAME))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            // A name that is not Unicode is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.path(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        if let Err(error) = allocate(&file, bytes) {
            drop(file);
            fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(Arc::new(OpenFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))?;
        Ok(Arc::new(OpenFile(file)))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(OpenFile(File::open(self.path(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere a directory cannot be opened as a file, and its entries are journalled by the file system.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Gives the file its length and its place on the disk.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => return Ok(()),
        // A file system that cannot: zeros take the place.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    let zeros = vec![0; 1 << 20];
    let file = OpenFileRef(file);
    let mut offset = 0;
    while offset < bytes {
        let count = (bytes - offset).min(zeros.len() as u64);
        file.write_at(
            &zeros[..usize::try_from(count).unwrap_or(zeros.len())],
            offset,
        )?;
        offset += count;
    }
    Ok(())
}

#[derive(Debug)]
struct OpenFile(File);

struct OpenFileRef<'f>(&'f File);

impl OpenFileRef<'_> {
    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self.0, bytes, offset)
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_write(self.0, bytes, offset)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
            offset += count as u64;
        }
        Ok(())
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self.0, buffer, offset)
    }
}

impl StorageFile for OpenFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        OpenFileRef(&self.0).write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = OpenFileRef(&self.0);
        let mut read = 0;
        while read < buffer.len() {
            match file.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}
