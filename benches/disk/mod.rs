//! What the disk can do, measured in the same run as what is held against it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// Text that does not repeat soon.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let mut random = 1_u64;
    let letter = |_| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        b'a' + u8::try_from((random >> 33) % 26).unwrap_or(0)
    };
    (0..bytes).map(letter).collect()
}

/// What a program does that only appends and syncs: blocks of the same bytes, one after the other, to a file that was
/// allocated before. Returns starts a second.
pub(crate) fn hand_written(
    directory: &Path,
    block_bytes: usize,
    record_bytes: usize,
    seconds: f64,
) -> f64 {
    let path = directory.join("hand-written");
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .expect("a file");
    let room = 1_u64 << 28;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, room).expect("room");
    file.sync_all().expect("a sync");
    let block = text(block_bytes);
    let (mut offset, mut bytes) = (0, 0_u64);
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < seconds {
        file.write_all_at(&block, offset).expect("a write");
        file.sync_data().expect("a sync");
        offset = (offset + block_bytes as u64) % (room - block_bytes as u64);
        bytes += block_bytes as u64;
    }
    let rate = bytes as f64 / record_bytes as f64 / begun.elapsed().as_secs_f64();
    let _ = fs::remove_file(path);
    rate
}

/// Microseconds of one write of a block and its sync, each of `count` of them.
pub(crate) fn sync_micros(directory: &Path, block_bytes: usize, count: usize) -> Vec<f64> {
    let path = directory.join("one-sync");
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .expect("a file");
    let block = vec![0xA5_u8; block_bytes];
    rustix::fs::fallocate(
        &file,
        rustix::fs::FallocateFlags::empty(),
        0,
        (block_bytes * count) as u64,
    )
    .expect("room");
    file.sync_all().expect("a sync");
    let times = (0..count)
        .map(|at| {
            let begun = Instant::now();
            file.write_all_at(&block, (at * block_bytes) as u64)
                .expect("a write");
            file.sync_data().expect("a sync");
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    let _ = fs::remove_file(path);
    times
}

/// The value that `percent` of all are below; sorts them.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

/// The one in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(&mut values.to_vec(), 50)
}
