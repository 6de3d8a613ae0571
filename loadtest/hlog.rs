//! Interval logs of HdrHistogram, version 1.3: a histogram for each interval, which its tools read and plot.
//!
//! A histogram is its counts up to the greatest value, zeros run together, in the V2 encoding; that in a zlib stream; that in
//! base64. The stream is not compressed: the encoding leaves little to compress.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use hdrhistogram::Histogram;

/// What begins a histogram, and one in a zlib stream.
const COOKIE: u32 = 0x1c84_9303 | 0x10;
const COMPRESSED_COOKIE: u32 = 0x1c84_9304 | 0x10;

/// Most bytes of a stored block of a zlib stream.
const STORED_MAX: usize = 65_535;

/// A log that is written.
#[derive(Debug)]
pub(crate) struct IntervalLog {
    path: PathBuf,
    file: BufWriter<File>,
}

impl IntervalLog {
    /// Begins a log.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn create(path: &Path, started_at: f64) -> Result<IntervalLog, String> {
        let failed = |error: std::io::Error| format!("failed to write {}: {error}", path.display());
        let mut log = IntervalLog {
            path: path.to_owned(),
            file: BufWriter::new(File::create(path).map_err(failed)?),
        };
        let head = format!(
            "#[quickstep-loadtest, values in nanoseconds]\n#[Histogram log format version 1.3]\n\
             #[StartTime: {started_at:.3} (seconds since epoch)]\n#[BaseTime: {started_at:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
        );
        log.file.write_all(head.as_bytes()).map_err(failed)?;
        Ok(log)
    }

    /// Adds an interval.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn add(
        &mut self,
        from: f64,
        seconds: f64,
        histogram: &Histogram<u64>,
    ) -> Result<(), String> {
        let line = line(from, seconds, histogram);
        let written = self
            .file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.flush());
        written.map_err(|error| format!("failed to write {}: {error}", self.path.display()))
    }
}

fn line(from: f64, seconds: f64, histogram: &Histogram<u64>) -> String {
    let mut out = format!(
        "{from:.3},{seconds:.3},{:.6},",
        histogram.max() as f64 / 1e6
    );
    let _ = writeln!(
        out,
        "{}",
        base64::engine::general_purpose::STANDARD.encode(stream(&encode(histogram)))
    );
    out
}

/// Where a value is counted: of each power of two, `2^10` places, and twice as many at the beginning.
fn place(value: u64) -> usize {
    const HALF_BITS: u32 = 10;
    let mask = (2_u64 << HALF_BITS) - 1;
    let bucket = 64 - (value | mask).leading_zeros() - (HALF_BITS + 1);
    let within = usize::try_from(value >> bucket).unwrap_or(0);
    ((bucket as usize + 1) << HALF_BITS) + within - (1 << HALF_BITS)
}

/// The V2 encoding.
fn encode(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut counts = Vec::new();
    let mut next = 0;
    for step in histogram.iter_recorded() {
        let at = place(step.value_iterated_to());
        if at > next {
            // Zeros are told by their number, as a negative one.
            let zeros = i64::try_from(at - next).unwrap_or(i64::MAX);
            variable(-zeros, &mut counts);
        }
        variable(
            i64::try_from(step.count_at_value()).unwrap_or(i64::MAX),
            &mut counts,
        );
        next = at + 1;
    }
    let mut out = Vec::with_capacity(counts.len() + 40);
    let length = u32::try_from(counts.len()).unwrap_or(u32::MAX);
    for word in [COOKIE, length, 0, 3] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(&histogram.low().to_be_bytes());
    out.extend_from_slice(&histogram.high().to_be_bytes());
    out.extend_from_slice(&1.0_f64.to_be_bytes());
    out.extend_from_slice(&counts);
    out
}

/// A number in zig-zag LEB128, of nine bytes at most, whose last one has all of its bits.
fn variable(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    for _ in 0..8 {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
    out.push((rest & 0xff) as u8);
}

/// The bytes in a zlib stream of stored blocks.
fn stream(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let blocks = bytes.chunks(STORED_MAX);
    let last = blocks.len() - 1;
    for (i, block) in blocks.enumerate() {
        zlib.push(u8::from(i == last));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        zlib.extend_from_slice(&length.to_le_bytes());
        zlib.extend_from_slice(&(!length).to_le_bytes());
        zlib.extend_from_slice(block);
    }
    zlib.extend_from_slice(&adler32(bytes).to_be_bytes());
    let mut out = Vec::with_capacity(zlib.len() + 8);
    out.extend_from_slice(&COMPRESSED_COOKIE.to_be_bytes());
    out.extend_from_slice(&u32::try_from(zlib.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&zlib);
    out
}

fn adler32(bytes: &[u8]) -> u32 {
    const BASE: u32 = 65_521;
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % BASE;
        b = (b + a) % BASE;
    }
    (b << 16) | a
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn logs_are_read_by_the_format_s_own_reader(
            intervals in prop::collection::vec(
                prop::collection::vec((0_u32..42, any::<u64>(), 1_u64..1_000_000_000), 0..60),
                0..4,
            ),
        ) {
            let mut text = String::from("#[Histogram log format version 1.3]\n");
            let mut histograms = Vec::new();
            for (i, samples) in intervals.iter().enumerate() {
                let mut histogram = crate::recorder::histogram();
                for (bits, value, count) in samples {
                    histogram.saturating_record_n(1.max(value & ((1 << bits) - 1)), *count);
                }
                text.push_str(&line(i as f64, 1.0, &histogram));
                histograms.push(histogram);
            }
            let mut read = Vec::new();
            for entry in IntervalLogIterator::new(text.as_bytes()) {
                if let LogEntry::Interval(interval) = entry.unwrap() {
                    let bytes = base64::engine::general_purpose::STANDARD
                        .decode(interval.encoded_histogram())
                        .unwrap();
                    read.push(Deserializer::new().deserialize::<u64, _>(&mut &bytes[..]).unwrap());
                }
            }
            prop_assert_eq!(read, histograms);
        }
    }

    #[test]
    fn long_histograms_are_in_several_blocks() {
        let bytes = vec![7; 3 * STORED_MAX + 1];
        assert_eq!(stream(&bytes).len(), 8 + 2 + 4 * 5 + bytes.len() + 4);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }
}
