//! Texts that repeat themselves, in fewer bytes: the events of an execution show the same documents again and again.
//!
//! The packed form is the length of the text, then runs of bytes, each followed by a match: the length of what is repeated
//! and how far back it began. The last run may have no match. All numbers have 7 bits in a byte. It is meant to cost as
//! little as writing the bytes would, not to be small.

use crate::value::{Damaged, Reader, put, put_bytes};

/// Shorter matches cost as much as they save.
const MATCH_MIN: usize = 4;

/// Bits of a place in the table of what was seen.
const TABLE_BITS: u32 = 13;

/// Bytes without a match after which steps become longer: what does not repeat itself is passed over quickly.
const STEP_SHIFT: u32 = 6;

/// Most bytes that are unpacked from one text: damage must not ask for all memory.
const UNPACKED_MAX: usize = 1 << 30;

/// Packs a text.
pub(super) fn pack(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 + 16);
    put(&mut out, text.len() as u64);
    // Places are counted from 1; 0 is none.
    let mut table = [0_u32; 1 << TABLE_BITS];
    let (mut at, mut run, mut misses) = (0, 0, 0_u32);
    while let Some(word) = word_at(text, at) {
        let slot = &mut table[(word.wrapping_mul(0x9E37_79B1) >> (32 - TABLE_BITS)) as usize];
        let seen = *slot as usize;
        // Beyond 4 GiB nothing is found any more, and nothing is wrong.
        *slot = u32::try_from(at + 1).unwrap_or(0);
        let found = seen
            .checked_sub(1)
            .filter(|&seen| word_at(text, seen) == Some(word));
        let Some(from) = found else {
            misses += 1;
            at += 1 + (misses >> STEP_SHIFT) as usize;
            continue;
        };
        let rest = text[from + MATCH_MIN..].iter().zip(&text[at + MATCH_MIN..]);
        let length = MATCH_MIN + rest.take_while(|(a, b)| a == b).count();
        put_bytes(&mut out, &text[run..at]);
        put(&mut out, length as u64);
        put(&mut out, (at - from) as u64);
        at += length;
        run = at;
        misses = 0;
    }
    if run < text.len() {
        put_bytes(&mut out, &text[run..]);
    }
    out
}

fn word_at(text: &[u8], at: usize) -> Option<u32> {
    let bytes = text.get(at..at + MATCH_MIN)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The text that was packed.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, Damaged> {
    let damaged = Damaged {
        what: "a packed text",
    };
    let size = |n: u64| {
        usize::try_from(n)
            .ok()
            .filter(|&n| n <= UNPACKED_MAX)
            .ok_or(damaged)
    };
    let mut reader = Reader::new(packed);
    let length = size(reader.number()?)?;
    // What is there bounds what is asked for at first; the rest comes with its matches.
    let mut text = Vec::with_capacity(length.min(packed.len() * 16));
    while !reader.rest().is_empty() {
        text.extend_from_slice(reader.bytes()?);
        if reader.rest().is_empty() {
            break;
        }
        let (repeated, back) = (size(reader.number()?)?, size(reader.number()?)?);
        if back == 0 || back > text.len() || text.len() + repeated > length {
            return Err(damaged);
        }
        let mut left = repeated;
        let from = text.len() - back;
        // A match may reach into what it makes: then as much is copied as there is.
        while left > 0 {
            let count = left.min(text.len() - from);
            text.extend_from_within(from..from + count);
            left -= count;
        }
    }
    match text.len() == length {
        true => Ok(text),
        false => Err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intrinsic::Random;

    fn texts() -> Vec<Vec<u8>> {
        let mut random = Random::new(7);
        let mut texts = vec![
            Vec::new(),
            b"a".to_vec(),
            b"abcd".to_vec(),
            vec![b'x'; 10_000],
            b"abcabcabcabcabcabc".to_vec(),
        ];
        for size in [5, 100, 4_000, 70_000] {
            // Noise, words that come again, and few letters.
            texts.push((0..size).map(|_| random.next_u64() as u8).collect());
            let words = (0..size / 8).map(|_| format!("{{\"word-{}\":", random.next_u64() % 50));
            texts.push(words.collect::<String>().into_bytes());
            texts.push(
                (0..size)
                    .map(|_| b'a' + (random.next_u64() % 3) as u8)
                    .collect(),
            );
        }
        texts
    }

    #[test]
    fn what_is_packed_comes_back() {
        for text in texts() {
            let packed = pack(&text);
            assert_eq!(unpack(&packed).unwrap(), text);
            assert!(
                packed.len() <= text.len() + 12,
                "{} of {}",
                packed.len(),
                text.len()
            );
        }
    }

    #[test]
    fn what_repeats_itself_becomes_small() {
        let event = br#"{"id":7,"stateEnteredEventDetails":{"input":"{\"orderId\":\"ord-7f3a9c21\",\"total\":76.82}"}}"#;
        let text = event.repeat(20);
        assert!(pack(&text).len() < event.len() + 20);
    }

    /// Damage is told, or makes another text, but never more than was said, and no panic.
    #[test]
    fn damage_is_told() {
        let mut random = Random::new(11);
        for text in texts() {
            let packed = pack(&text);
            for cut in 0..packed.len().min(200) {
                assert!(unpack(&packed[..cut]).is_err(), "{cut} of {}", packed.len());
            }
            for _ in 0..200 {
                let mut packed = packed.clone();
                let at = (random.next_u64() % packed.len() as u64) as usize;
                packed[at] ^= 1 << (random.next_u64() % 8);
                if let Ok(other) = unpack(&packed) {
                    assert!(other.len() <= UNPACKED_MAX);
                }
            }
        }
        let mut huge = Vec::new();
        put(&mut huge, u64::MAX);
        assert!(unpack(&huge).is_err());
    }
}
