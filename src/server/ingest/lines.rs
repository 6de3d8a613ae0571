//! Lines of a body that comes in pieces.

use memchr::memchr;

/// A line without its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Whole(Vec<u8>),
    /// It had more bytes than a line may have, which were not kept.
    TooLong,
}

/// Takes a body apart. What it keeps is less than one line.
#[derive(Debug)]
pub(super) struct Lines {
    bytes_max: usize,
    begun: Vec<u8>,
    /// The line that has begun is too long already.
    is_too_long: bool,
    /// Lines so far, empty ones among them.
    count: u64,
}

impl Lines {
    pub(super) fn new(bytes_max: usize) -> Lines {
        Lines {
            bytes_max,
            begun: Vec::new(),
            is_too_long: false,
            count: 0,
        }
    }

    /// The next line that ends in `piece`, with its number from 1, and the rest of the piece behind it. Empty lines are
    /// numbered and passed over.
    pub(super) fn next(&mut self, piece: &mut &[u8]) -> Option<(u64, Line)> {
        while let Some(end) = memchr(b'\n', piece) {
            let (last, rest) = piece.split_at(end);
            *piece = &rest[1..];
            self.add(last);
            if let Some(line) = self.end() {
                return Some(line);
            }
        }
        self.add(piece);
        *piece = &[];
        None
    }

    /// The line that no end follows.
    pub(super) fn last(&mut self) -> Option<(u64, Line)> {
        match self.begun.is_empty() && !self.is_too_long {
            true => None,
            false => self.end(),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.is_too_long || self.begun.len() + bytes.len() > self.bytes_max {
            self.is_too_long = true;
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) -> Option<(u64, Line)> {
        self.count += 1;
        let line = std::mem::take(&mut self.begun);
        if std::mem::take(&mut self.is_too_long) {
            return Some((self.count, Line::TooLong));
        }
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        (!is_blank).then_some((self.count, Line::Whole(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]], bytes_max: usize) -> Vec<(u64, Line)> {
        let mut lines = Lines::new(bytes_max);
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some(line) = lines.next(&mut rest) {
                found.push(line);
            }
            assert!(rest.is_empty());
            assert!(lines.begun.len() <= bytes_max);
        }
        found.extend(lines.last());
        found
    }

    fn whole(number: u64, text: &str) -> (u64, Line) {
        (number, Line::Whole(text.into()))
    }

    #[test]
    fn lines_have_numbers() {
        for (text, expected) in [
            ("", vec![]),
            ("\n\r\n  \n", vec![]),
            ("a", vec![whole(1, "a")]),
            ("a\n", vec![whole(1, "a")]),
            ("a\r\n\n b", vec![whole(1, "a\r"), whole(3, " b")]),
            (
                "12345\n123456\n1",
                vec![whole(1, "12345"), (2, Line::TooLong), whole(3, "1")],
            ),
            ("123456", vec![(1, Line::TooLong)]),
        ] {
            assert_eq!(split(&[text.as_bytes()], 5), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            pieces in proptest::collection::vec("[ab\n]{0,9}", 0..9),
        ) {
            let whole = pieces.concat();
            let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
            prop_assert_eq!(split(&pieces, 4), split(&[whole.as_bytes()], 4));
        }
    }
}
