//! [`LineSource`]: one event a line.

use std::io::{self, Read};
use std::task::Context;

use super::{BATCH_BYTES, Events, Reading, Source};
use crate::engine::error::{Error, ErrorKind};

/// Longest line that is kept, in bytes. An input may have 262,144 bytes without its white space.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Reads one event a line. Lines end with LF or CRLF; the last one may lack its end. Empty lines are counted, but are no
/// events.
#[derive(Debug)]
pub struct LineSource<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What was read and not handed out: from `start` to `filled`.
    start: usize,
    filled: usize,
    /// Bytes from `start` on in which there is no end of line.
    searched: usize,
    /// Bytes of a line that is too long, and dropped.
    dropped: Option<u64>,
    is_at_end: bool,
}

impl<R: Read> LineSource<R> {
    /// Lines of `reader`, which need not be buffered.
    #[must_use]
    pub fn new(reader: R) -> LineSource<R> {
        LineSource {
            reader,
            buffer: Vec::new(),
            start: 0,
            filled: 0,
            searched: 0,
            dropped: None,
            is_at_end: false,
        }
    }

    /// Reads once more.
    fn fill(&mut self) -> Result<(), Error> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.buffer.len() > 4 * BATCH_BYTES && self.filled < BATCH_BYTES {
            self.buffer.truncate(2 * BATCH_BYTES);
            self.buffer.shrink_to_fit();
        }
        if self.buffer.len() < self.filled + BATCH_BYTES {
            self.buffer.resize(2 * (self.filled + BATCH_BYTES), 0);
        }
        let room = self.filled..self.filled + BATCH_BYTES;
        let read = loop {
            match self.reader.read(&mut self.buffer[room.clone()]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let count = read.map_err(|error| {
            Error::new(ErrorKind::Read, format!("failed to read events: {error}"))
        })?;
        self.filled += count;
        self.is_at_end = count == 0;
        Ok(())
    }

    /// Hands out the whole lines of the buffer.
    fn take_lines(&mut self, events: &mut Events) {
        while !events.is_full() {
            let rest = &self.buffer[self.start..self.filled];
            let Some(at) = memchr::memchr(b'\n', &rest[self.searched..]) else {
                self.searched = rest.len();
                return;
            };
            let at = self.searched + at;
            events.push(line(&rest[..at]));
            self.start += at + 1;
            self.searched = 0;
        }
    }

    /// Drops a line that is too long; at its end there is an event that says so.
    fn drop_long(&mut self, events: &mut Events) {
        let rest = &self.buffer[self.start..self.filled];
        let end = memchr::memchr(b'\n', rest);
        let bytes = end.unwrap_or(rest.len());
        let dropped = self.dropped.unwrap_or(0) + bytes as u64;
        if end.is_none() && !self.is_at_end {
            self.dropped = Some(dropped);
            self.start = self.filled;
            return;
        }
        self.start += end.map_or(bytes, |end| end + 1);
        self.dropped = None;
        self.searched = 0;
        events.push(b"");
        events.too_long = Some(dropped);
    }
}

/// A line without what ends it; nothing, if it is empty.
fn line(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.first() {
        Some(b' ' | b'\t' | b'\r') if line.trim_ascii().is_empty() => b"",
        _ => line,
    }
}

impl<R: Read + Send + 'static> Source for LineSource<R> {
    fn poll(&mut self, _: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error> {
        events.skip_empty();
        loop {
            if self.dropped.is_none() {
                self.take_lines(events);
                let rest = self.filled - self.start;
                if !events.is_empty() {
                    return Ok(Reading::More);
                }
                if self.is_at_end {
                    if rest > 0 {
                        events.push(line(&self.buffer[self.start..self.filled]));
                        self.start = self.filled;
                    }
                    return Ok(Reading::End);
                }
                if rest > EVENT_BYTES_MAX {
                    self.dropped = Some(0);
                }
            }
            if self.dropped.is_some() {
                self.drop_long(events);
                if !events.is_empty() {
                    return Ok(Reading::More);
                }
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Reads a few bytes at a time.
    struct Trickle(Vec<u8>, usize);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    fn lines(text: &str, step: usize) -> Vec<String> {
        let mut source = LineSource::new(Trickle(text.as_bytes().to_vec(), step));
        let mut all = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let mut events = Events::default();
            events.begin(3);
            let reading = source.poll(&mut context, &mut events).unwrap();
            assert!(events.len() <= 3);
            all.extend(
                events
                    .iter_from(0)
                    .map(|line| String::from_utf8(line.to_vec()).unwrap()),
            );
            if reading == Reading::End {
                return all;
            }
        }
    }

    #[test]
    fn lines_whatever_the_reads() {
        for (text, expected) in [
            ("", vec![]),
            ("1", vec!["1"]),
            ("1\n", vec!["1"]),
            ("1\n2\n3\n4\n5", vec!["1", "2", "3", "4", "5"]),
            ("{}\r\n\r\n[ ]\r\n", vec!["{}", "", "[ ]"]),
            ("\n \t\n1", vec!["", "", "1"]),
            ("\n\n", vec!["", ""]),
        ] {
            for step in [1, 2, 3, 100] {
                assert_eq!(lines(text, step), expected, "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn long_lines_are_dropped_but_counted() {
        let mut text = vec![b'1'; EVENT_BYTES_MAX + 200_000];
        text.extend_from_slice(b"\n2\n");
        let mut source = LineSource::new(io::Cursor::new(text));
        let mut seen = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let mut events = Events::default();
            events.begin(100);
            let reading = source.poll(&mut context, &mut events).unwrap();
            seen.push((events.len(), events.too_long));
            if reading == Reading::End {
                break;
            }
        }
        let bytes = EVENT_BYTES_MAX as u64 + 200_000;
        assert_eq!(seen, [(1, Some(bytes)), (1, None), (0, None)]);
    }
}
