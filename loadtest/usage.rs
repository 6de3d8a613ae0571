//! What the tester and its target use of the machine, from `/proc`. Elsewhere than on Linux everything is zero.

use std::fs;
use std::path::Path;

/// Use of the machine: times since an earlier moment, memory and handles at this one.
#[derive(Clone, Copy, PartialEq, Debug, Default, serde::Serialize)]
pub(crate) struct Usage {
    /// Processor time of the tester; with the embedded engine, of both.
    pub(crate) tester_cpu_seconds: f64,
    pub(crate) tester_rss_bytes: u64,
    /// Processor time of the target's process, if it is known.
    pub(crate) target_cpu_seconds: f64,
    pub(crate) target_rss_bytes: u64,
    /// Open files of the target's process, or of the tester.
    pub(crate) open_files: u64,
    /// Processor time that the host gave to others, of all processors.
    pub(crate) steal_seconds: f64,
}

impl Usage {
    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            tester_cpu_seconds: self.tester_cpu_seconds - earlier.tester_cpu_seconds,
            target_cpu_seconds: (self.target_cpu_seconds - earlier.target_cpu_seconds).max(0.0),
            steal_seconds: self.steal_seconds - earlier.steal_seconds,
            ..*self
        }
    }
}

/// The unit of times in `/proc`, which Linux has fixed for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of a page, where it cannot be asked for.
const PAGE_BYTES: u64 = 4096;

/// Looks at `/proc`.
#[derive(Debug)]
pub(crate) struct Sampler {
    target: Option<u32>,
    page_bytes: u64,
}

impl Sampler {
    pub(crate) fn new(target: Option<u32>) -> Sampler {
        #[cfg(target_os = "linux")]
        let page_bytes = kernel_page_bytes().unwrap_or(PAGE_BYTES);
        #[cfg(not(target_os = "linux"))]
        let page_bytes = PAGE_BYTES;
        Sampler { target, page_bytes }
    }

    pub(crate) fn sample(&mut self) -> Usage {
        let target = self.target.map(|pid| pid.to_string());
        let (target_cpu_seconds, target_rss_bytes) = match &target {
            Some(pid) => (cpu_seconds(pid), self.rss_bytes(pid)),
            None => (0.0, 0),
        };
        Usage {
            tester_cpu_seconds: cpu_seconds("self"),
            tester_rss_bytes: self.rss_bytes("self"),
            target_cpu_seconds,
            target_rss_bytes,
            open_files: open_files(target.as_deref().unwrap_or("self")),
            steal_seconds: steal_seconds(),
        }
    }

    fn rss_bytes(&self, process: &str) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
        let pages: u64 = statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse().ok())
            .unwrap_or_default();
        pages * self.page_bytes
    }
}

/// From the auxiliary vector: pairs of words, of which 6 names the size of a page.
#[cfg(target_os = "linux")]
fn kernel_page_bytes() -> Option<u64> {
    const SIZE_OF_PAGE: usize = 6;
    let vector = fs::read("/proc/self/auxv").ok()?;
    let words: Vec<usize> = vector
        .chunks_exact(size_of::<usize>())
        .filter_map(|word| word.try_into().ok().map(usize::from_ne_bytes))
        .collect();
    words
        .chunks_exact(2)
        .find(|pair| pair[0] == SIZE_OF_PAGE)
        .map(|pair| pair[1] as u64)
}

fn cpu_seconds(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in brackets, may have anything in it.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / TICKS_PER_SECOND
}

fn open_files(process: &str) -> u64 {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, |files| files.count() as u64)
}

fn steal_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let steal = stat
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(8)?.parse::<f64>().ok());
    steal.unwrap_or_default() / TICKS_PER_SECOND
}

/// Files and bytes below a directory: segments, logs, catalogues.
pub(crate) fn directory(path: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() => {
                let (inner_files, inner_bytes) = directory(&entry.path());
                files += inner_files;
                bytes += inner_bytes;
            }
            Ok(found) => {
                files += 1;
                bytes += found.len();
            }
            // It was removed meanwhile.
            Err(_) => {}
        }
    }
    (files, bytes)
}

/// What is known of this machine.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) system: String,
}

impl Machine {
    pub(crate) fn this() -> Machine {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let memory = field("/proc/meminfo", "MemTotal");
        let kibibytes: u64 = memory
            .split(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or_default();
        Machine {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: kibibytes * 1024,
            system: format!("{} {}", std::env::consts::OS, release.trim())
                .trim()
                .to_owned(),
        }
    }
}
