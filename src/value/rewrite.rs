//! Text that is not canonical, made so before it is ingested: white space, needless escapes, duplicate names.

use std::collections::BTreeMap;

use super::error::Stop;
use super::{Doc, Kind, Val, text};

/// True for the white space of JSON.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Copies `json` to `out` without white space and with canonical escapes. It need not be JSON, but what comes out is
/// not JSON either then: white space that separates two words or numbers is not dropped silently.
pub(super) fn rewrite(json: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
    let is_word = |b: u8| !matches!(b, b'{' | b'}' | b'[' | b']' | b',' | b':' | b'"');
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        if is_space(byte) {
            let next = json[at..]
                .iter()
                .position(|&b| !is_space(b))
                .map_or(json.len(), |n| at + n);
            let before = at.checked_sub(1).map(|i| json[i]);
            if before.is_some_and(is_word) && json.get(next).copied().is_some_and(is_word) {
                return Err(Stop::Syntax);
            }
            at = next;
        } else if byte == b'"' {
            let close = string_end(json, at).ok_or(Stop::Syntax)?;
            let inside = &json[at + 1..close];
            out.push(b'"');
            if inside.contains(&b'\\') {
                let inside = simdutf8::basic::from_utf8(inside).map_err(|_| Stop::Syntax)?;
                out.extend_from_slice(text::canonical(inside).as_bytes());
            } else {
                out.extend_from_slice(inside);
            }
            out.push(b'"');
            at = close + 1;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Ok(())
}

/// The closing quote of the string that opens at `open`, if all its escapes are well formed.
fn string_end(json: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at),
            b'\\' => match json.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    text::unicode_unit(json, at)?;
                    at += 6;
                }
                _ => return None,
            },
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

impl Doc {
    /// The value at `root`, whose text begins at `start`, with each name once: its last value in its first place.
    #[cold]
    pub(super) fn without_duplicates(&self, start: usize, root: Val) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.bytes.len() - start);
        let mut stack = vec![Piece::Value(root.0)];
        while let Some(piece) = stack.pop() {
            match piece {
                Piece::Byte(byte) => text.push(byte),
                Piece::Name(at) => {
                    text.push(b'"');
                    text.extend_from_slice(self.key_bytes(&self.nodes[at as usize]));
                    text.extend_from_slice(b"\":");
                }
                Piece::Value(at) => self.take_apart(at, &mut text, &mut stack),
            }
        }
        text
    }

    fn take_apart(&self, at: u32, text: &mut Vec<u8>, stack: &mut Vec<Piece>) {
        let node = self.nodes[at as usize];
        let is_object = match node.tag.kind() {
            Kind::Object => true,
            Kind::Array => false,
            Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::String => {
                let start = node.start as usize;
                text.extend_from_slice(&self.bytes[start..start + node.size as usize]);
                return;
            }
        };
        let mut children: Vec<(u32, u32)> = Vec::new();
        let mut places: BTreeMap<&[u8], usize> = BTreeMap::new();
        let mut child = at + 1;
        while child < node.next {
            let member = &self.nodes[child as usize];
            if is_object {
                let place = *places
                    .entry(self.key_bytes(member))
                    .or_insert(children.len());
                if place < children.len() {
                    children[place].1 = child;
                } else {
                    children.push((child, child));
                }
            } else {
                children.push((child, child));
            }
            child = member.next;
        }
        text.push(if is_object { b'{' } else { b'[' });
        stack.push(Piece::Byte(if is_object { b'}' } else { b']' }));
        for (i, &(name, value)) in children.iter().enumerate().rev() {
            stack.push(Piece::Value(value));
            if is_object {
                stack.push(Piece::Name(name));
            }
            if i > 0 {
                stack.push(Piece::Byte(b','));
            }
        }
    }
}

/// What is left to write of a value with duplicate names.
enum Piece {
    Byte(u8),
    Name(u32),
    Value(u32),
}
