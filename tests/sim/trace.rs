//! What happened, step by step: a hash of all of it, and the last lines as text.

use std::collections::VecDeque;
use std::fmt::{self, Write};

/// Lines that are kept to be shown.
const LINES: usize = 100;

#[derive(Clone, Debug)]
pub(crate) struct Trace {
    hash: u64,
    count: u64,
    last: VecDeque<String>,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace {
            hash: 0xCBF2_9CE4_8422_2325,
            count: 0,
            last: VecDeque::with_capacity(LINES),
        }
    }
}

impl Trace {
    /// Adds a line.
    pub(crate) fn add(&mut self, now: u64, line: fmt::Arguments<'_>) {
        let mut text = match self.last.len() < LINES {
            true => String::new(),
            false => self.last.pop_front().unwrap_or_default(),
        };
        text.clear();
        write!(text, "{now:>9} ms  {line}").expect("a string takes every text");
        for byte in text.bytes() {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        self.count += 1;
        self.last.push_back(text);
    }

    /// The number of lines, and a hash of all of them.
    pub(crate) fn digest(&self) -> (u64, u64) {
        (self.count, self.hash)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.count - self.last.len() as u64;
        writeln!(f, "the last {} of {} steps:", self.last.len(), self.count)?;
        for (number, line) in (first..).zip(&self.last) {
            writeln!(f, "{number:>6} {line}")?;
        }
        Ok(())
    }
}
