//! A `quickstep serve` that the tester starts, kills and starts again.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::pacer::{Pace, Pacer, nanos};

/// A server of our own.
#[derive(Debug)]
pub(crate) struct Server {
    binary: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    /// The address that it has been given; it keeps it when it is started again.
    url: String,
}

impl Server {
    /// A server that was not started yet.
    ///
    /// # Errors
    ///
    /// If there is no such program.
    pub(crate) fn new(binary: &Path, arguments: Vec<String>) -> Result<Server, String> {
        if !binary.is_file() {
            return Err(format!("there is no program {}", binary.display()));
        }
        Ok(Server {
            binary: binary.to_owned(),
            arguments,
            child: None,
            url: String::new(),
        })
    }

    /// Starts it, and gives its address.
    ///
    /// # Errors
    ///
    /// If it does not say that it listens.
    pub(crate) fn start(&mut self) -> Result<String, String> {
        let addr = self
            .url
            .split_once("://")
            .map_or("127.0.0.1:0", |(_, addr)| addr);
        let mut child = Command::new(&self.binary)
            .args(["serve", "--addr", addr])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("failed to start {}: {error}", self.binary.display()))?;
        let stderr = child.stderr.take();
        self.child = Some(child);
        let mut reader = BufReader::new(stderr.ok_or("the server has no standard error")?);
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = reader
                .read_line(&mut line)
                .map_err(|error| error.to_string())?;
            said.push_str(&line);
            let url = line
                .find("http")
                .and_then(|at| line[at..].split([' ', '\n']).next());
            if let Some(url) = url
                && line.starts_with("quickstep ")
            {
                url.clone_into(&mut self.url);
                break;
            }
            if read == 0 || said.len() > 64 * 1024 {
                return Err(format!(
                    "{} has not begun to serve: {said}",
                    self.binary.display()
                ));
            }
        }
        // What it says further must not fill the pipe.
        std::thread::spawn(move || {
            let mut rest = reader;
            let mut buffer = [0; 4096];
            while rest.read(&mut buffer).is_ok_and(|read| read > 0) {}
        });
        Ok(self.url.clone())
    }

    /// Its number, as the system has it.
    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Has it end at once.
    ///
    /// # Errors
    ///
    /// If it has ended by itself before.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        // It may end in this moment: then there is nothing to kill.
        let _ = child.kill();
        let _ = child.wait();
        match ended {
            None => Ok(()),
            Some(status) => Err(format!("the server ended by itself: {status}")),
        }
    }

    /// Has it end in its own way, for a time.
    pub(crate) fn stop(&mut self, patience: Duration) {
        #[cfg(target_os = "linux")]
        if let Some(child) = &mut self.child
            && let Ok(Some(pid)) = i32::try_from(child.id()).map(rustix::process::Pid::from_raw)
            && rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok()
        {
            let pacer = Pacer::new(Duration::ZERO);
            while pacer.now() < nanos(patience) && matches!(child.try_wait(), Ok(None)) {
                pacer.wait_until(pacer.now() + 5_000_000);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = patience;
        // Whoever has not ended by now is not asked again.
        let _ = self.kill();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with the tester, whatever became of it.
        let _ = self.kill();
    }
}
