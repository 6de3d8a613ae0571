//! [`LogFile`]: a file that is put aside when it is large or old, and a new one begun.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Now;

/// When a file is put aside. The file `log` becomes `log.1`, what was `log.1` becomes `log.2`, and so on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Before it would have more bytes than this. A line or a block that is larger alone has a file of its own.
    pub bytes: Option<u64>,
    /// Before something is written to it that many milliseconds after it was begun.
    pub age_millis: Option<i64>,
    /// So many files that were put aside are kept; older ones are deleted.
    pub keep: u32,
}

impl Default for Rotation {
    /// Never.
    fn default() -> Rotation {
        Rotation {
            bytes: None,
            age_millis: None,
            keep: Rotation::KEEP,
        }
    }
}

impl Rotation {
    /// Files that are kept unless somebody says otherwise.
    pub const KEEP: u32 = 10;
}

/// A file of a log, and its rotation.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// False for pipes and devices: these are not put aside, and what was written to them stays.
    is_regular: bool,
    size: u64,
    begun_millis: i64,
    rotation: Rotation,
    now: Option<Now>,
    pub(super) rotations: u64,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Existing {
    Replace,
    Append,
}

impl LogFile {
    pub(super) fn open(
        path: &Path,
        existing: Existing,
        rotation: Rotation,
        now: Option<Now>,
    ) -> io::Result<LogFile> {
        let file = open(path, existing)?;
        let metadata = file.metadata()?;
        let mut file = LogFile {
            path: path.to_owned(),
            is_regular: metadata.is_file(),
            file,
            size: metadata.len(),
            begun_millis: 0,
            rotation,
            now,
            rotations: 0,
        };
        file.begun_millis = file.millis();
        if file.is_regular {
            file.file.seek(SeekFrom::End(0))?;
        }
        Ok(file)
    }

    fn millis(&self) -> i64 {
        self.now.as_ref().map_or(0, |now| now().millis())
    }

    /// Writes lines, or one block; returns whether all of it is there. What was written of something that could not be
    /// written whole is taken back, where the file allows it.
    pub(super) fn write(&mut self, bytes: &[u8], is_lines: bool) -> Result<(), Unwritten> {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let part = &rest[..self.fitting(rest, is_lines)];
            self.write_part(part).map_err(|(error, torn)| Unwritten {
                error,
                written,
                torn,
            })?;
            written += part.len();
        }
        Ok(())
    }

    /// How many of the bytes go to the file as it is; puts it aside if there is no room in it.
    fn fitting(&mut self, bytes: &[u8], is_lines: bool) -> usize {
        if !self.is_regular {
            return bytes.len();
        }
        let is_old = self
            .rotation
            .age_millis
            .is_some_and(|age| self.millis().saturating_sub(self.begun_millis) >= age);
        if is_old && self.size > 0 {
            self.rotate();
        }
        let Some(bytes_max) = self.rotation.bytes else {
            return bytes.len();
        };
        if self.size > 0 && self.size.saturating_add(first(bytes, is_lines) as u64) > bytes_max {
            self.rotate();
        }
        let room = bytes_max.saturating_sub(self.size);
        match usize::try_from(room) {
            Ok(room) if room < bytes.len() && is_lines => {
                let lines = memchr::memrchr(b'\n', &bytes[..room]);
                lines.map_or_else(|| first(bytes, is_lines), |end| end + 1)
            }
            _ => bytes.len(),
        }
    }

    fn write_part(&mut self, bytes: &[u8]) -> Result<(), (io::Error, bool)> {
        let Err(error) = self.file.write_all(bytes) else {
            self.size += bytes.len() as u64;
            return Ok(());
        };
        let taken_back = self.is_regular
            && self.file.set_len(self.size).is_ok()
            && self.file.seek(SeekFrom::Start(self.size)).is_ok();
        Err((error, !taken_back))
    }

    /// Puts the file aside and begins a new one. If that fails nothing is moved, the file grows on, and the next write tries
    /// again. If somebody has taken the file away, a new one is begun in its place.
    fn rotate(&mut self) {
        let aside = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let is_there = match std::fs::rename(&self.path, aside(0)) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(_) => return,
        };
        let Ok(file) = open(&self.path, Existing::Replace) else {
            if is_there {
                // Where it cannot go back it stays, and is written to.
                let _ = std::fs::rename(aside(0), &self.path);
            }
            return;
        };
        if is_there {
            // Only now, since it loses the oldest.
            for number in (0..self.rotation.keep.max(1)).rev() {
                // Where there is none, there is nothing to rename.
                let _ = std::fs::rename(aside(number), aside(number + 1));
            }
        }
        self.file = file;
        self.size = 0;
        self.begun_millis = self.millis();
        self.rotations += 1;
    }
}

/// Something was not written.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) error: io::Error,
    /// Bytes before it that were.
    pub(super) written: usize,
    /// Whether a part of it was.
    pub(super) torn: bool,
}

/// Bytes of the first of several lines, or of all.
fn first(bytes: &[u8], is_lines: bool) -> usize {
    match is_lines {
        true => memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1),
        false => bytes.len(),
    }
}

fn open(path: &Path, existing: Existing) -> io::Result<File> {
    match existing {
        Existing::Replace => File::create(path),
        Existing::Append => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path),
    }
}
