//! The reader of compact logs on arbitrary bytes: as a log, and as the items of a block whose checksums are right.
//!
//! It must end, keep its memory bounded and show nothing but JSON; a sound block behind whatever the bytes are must be
//! shown, unless they are the beginning of a block that holds it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quickstep::log::{Filter, LineFormat, LogReader};
use serde_json::value::RawValue;

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (crc & 1) * 0x82F6_3B78
        })
    })
}

/// A block of these items.
fn block(items: &[u8]) -> Vec<u8> {
    let mut block = vec![0xF1, b'q', b's', b'l', 1, 0, 0, 0];
    block.extend_from_slice(&(items.len() as u32).to_le_bytes());
    block.extend_from_slice(&1_u32.to_le_bytes());
    block.extend_from_slice(&crc32c(items).to_le_bytes());
    let checksum = crc32c(&block);
    block.extend_from_slice(&checksum.to_le_bytes());
    block.extend_from_slice(items);
    block
}

/// One turn of the execution `e`, with one event.
const SOUND: &[u8] = b"\x01\x03m\x09arn:\x00\x03e\x00\x12\x01\x01\x00\x02\x00\x00";

fn read(log: &[u8], format: LineFormat) -> (Vec<u8>, usize) {
    let (mut lines, mut damages) = (Vec::new(), 0);
    let write = |part: &[u8]| {
        if lines.len() < 1 << 20 {
            lines.extend_from_slice(part);
        }
        Ok(())
    };
    let count = |_| damages += 1;
    LogReader::new(log)
        .render(&Filter::default(), format, true, write, count)
        .expect("memory can be read and written");
    (lines, damages)
}

fuzz_target!(|bytes: &[u8]| {
    let sound = block(SOUND);
    let (expected, damages) = read(&sound, LineFormat::Json);
    assert!(damages == 0 && !expected.is_empty());
    read(bytes, LineFormat::Json);
    let log = [block(bytes), sound].concat();
    let (lines, damages) = read(&log, LineFormat::Json);
    assert!(damages <= 1);
    if lines.len() < 1 << 20 {
        assert!(lines.ends_with(&expected));
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line: Result<&RawValue, _> = serde_json::from_slice(line);
            line.expect("a line is JSON");
        }
    }
    let (text, _) = read(&log, LineFormat::Text);
    assert!(std::str::from_utf8(&text).is_ok() || text.len() >= 1 << 20);
});
