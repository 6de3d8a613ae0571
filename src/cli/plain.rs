//! Text for people: what comes from definitions, events and answers cannot steer the terminal that it is shown on.

use std::io::{self, Write};

/// Passes text on, with its control characters spelled out: `\u001b` in place of ESC. Line feeds and tabs stay.
///
/// Writers give it whole characters.
#[derive(Debug)]
pub(super) struct Plain<W>(pub(super) W);

/// The control character that `bytes` begin with, and how many bytes it has.
fn control(bytes: &[u8]) -> Option<(u8, usize)> {
    match bytes {
        [b'\n' | b'\t', ..] => None,
        [c @ (..=0x1F | 0x7F), ..] => Some((*c, 1)),
        // U+0080 to U+009F in UTF-8.
        [0xC2, c @ 0x80..=0x9F, ..] => Some((*c, 2)),
        _ => None,
    }
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((c, length)) = control(bytes) {
            match c {
                b'\r' => self.0.write_all(b"\\r")?,
                c => write!(self.0, "\\u{c:04x}")?,
            }
            return Ok(length);
        }
        let clean = (1..bytes.len()).find(|at| control(&bytes[*at..]).is_some());
        self.0.write(&bytes[..clean.unwrap_or(bytes.len())])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        let mut out = Vec::new();
        Plain(&mut out).write_all(text.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn controls_are_spelled_out() {
        for text in ["", "a", "a\n\tb\n", "é µ ¡ 漢 😀", "\\u001b"] {
            assert_eq!(plain(text), text);
        }
        for (text, expected) in [
            ("\u{1b}[2J", r"\u001b[2J"),
            ("a\u{7}\u{8}b\u{0}", r"a\u0007\u0008b\u0000"),
            ("1\r\n", "1\\r\n"),
            (
                "\u{7f}\u{80}\u{9b}31m\u{9f}\u{a0}",
                "\\u007f\\u0080\\u009b31m\\u009f\u{a0}",
            ),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
        // Each of them, and no other character.
        for c in (0..0x300).filter_map(char::from_u32) {
            let stays = !c.is_control() || c == '\n' || c == '\t';
            let text = format!("é{c}é");
            assert_eq!(plain(&text) == text, stays, "{c:?}");
        }
    }
}
