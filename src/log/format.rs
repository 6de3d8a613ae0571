//! The compact format, version 1: numbers, block headers, checksums.
//!
//! A log is a sequence of blocks and nothing else, so that logs can be cut and joined at blocks. Numbers are
//! little-endian. See [`Header`] for what stands before a block, [`item`] for what is in it.

/// The version of the format that is written, and the only one that is read.
pub(crate) const VERSION: u8 = 1;

/// Bytes of what stands in a block at which it is complete.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// Most bytes of what stands in a block: a larger one is damaged. An event that would need more is dropped.
pub const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most bytes of a document's JSON. Of larger ones, of which a log shows no more than their beginning, only that is
/// stored.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 512 * 1024;

/// Items of a block. Each is one byte that says what it is, and what follows.
///
/// *number*: base 128, seven bits a byte, the lowest first, the top bit set in all bytes but the last; ten bytes at
/// most. *signed*: the same of `2n` for `n >= 0`, of `-2n - 1` otherwise.
///
/// *text*: a number `n`. Odd: `n / 2` bytes of UTF-8 follow. Zero: a number and so many bytes of UTF-8 follow, which are
/// the next entry of the block's dictionary as well. Otherwise the entry `n / 2 - 1` of that dictionary.
///
/// *value*: a number `n`. Even: the document `n / 2`. Odd: a part of the text document `n / 2`, from the byte that the
/// next number says, as long as the number after it says.
pub(crate) mod item {
    /// The items that follow, up to the next of these, belong to one turn of one execution. *text* the machine's name;
    /// *text* the part of the execution's ARN before its name; one byte, see below; the execution's name; the id that
    /// ends the ARN, if there is one; *signed* milliseconds since 1970.
    ///
    /// Documents are numbered for each turn from 5 on; before them are `null`, `true`, `false`, `{}` and `[]`.
    pub(crate) const TURN: u8 = 1;
    /// The next document: *number* of bytes, and as many bytes of UTF-8, which are the text of a JSON value.
    pub(crate) const TEXT: u8 = 2;
    /// The next document: *number* of members, and for each *text* its name as it stands between quotes in JSON, and
    /// *value*.
    pub(crate) const OBJECT: u8 = 3;
    /// The next document: *number* of elements, and *value* of each.
    pub(crate) const ARRAY: u8 = 4;
    /// An event: this plus the number of its type. *number* by how much its id is greater than that of the event before
    /// in the turn (at first, than 0); *number* its id less the previous event's id; *signed* milliseconds since the
    /// event before (at first, since the turn's time). Then its fields, each a byte with the field's number and a value
    /// by the field: *value* for documents, *number*, or *text*; for variables, *number* of them and *text* name and
    /// *value* of each; for credentials *number* 0, or 1 and *text* the role. A byte 0 ends them.
    pub(crate) const EVENT: u8 = 16;

    /// The name of an execution is *text*.
    pub(crate) const NAME_IS_TEXT: u8 = 0;
    /// The name is the UUID of which 16 bytes follow.
    pub(crate) const NAME_IS_UUID: u8 = 1;
    /// Added if the 16 bytes of another UUID follow the name; after a colon it ends the ARN.
    pub(crate) const HAS_ID: u8 = 2;
}

/// Documents that are there before the first of a turn.
pub(crate) const UNIVERSAL: [&str; 5] = ["null", "true", "false", "{}", "[]"];

/// What stands before the items of a block, 24 bytes:
///
/// | at | bytes | what |
/// |---:|---:|---|
/// | 0 | 4 | `F1 71 73 6C`, of which no UTF-8 text is |
/// | 4 | 1 | [`VERSION`] |
/// | 5 | 3 | zero |
/// | 8 | 4 | bytes of the items |
/// | 12 | 4 | events among them |
/// | 16 | 4 | CRC-32C of the items |
/// | 20 | 4 | CRC-32C of the 20 bytes before |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) version: u8,
    pub(crate) bytes: u32,
    pub(crate) events: u32,
    pub(crate) checksum: u32,
}

pub(crate) const MAGIC: [u8; 4] = [0xF1, b'q', b's', b'l'];

impl Header {
    pub(crate) const BYTES: usize = 24;

    /// The header of a block.
    pub(crate) fn of(items: &[u8], events: u32) -> Header {
        Header {
            version: VERSION,
            bytes: crate::stdx::narrow(items.len()),
            events,
            checksum: crc32c(items),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; Header::BYTES] {
        let mut out = [0; Header::BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = self.version;
        out[8..12].copy_from_slice(&self.bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.events.to_le_bytes());
        out[16..20].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = crc32c(&out[..20]);
        out[20..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` if these are not the bytes of a header.
    pub(crate) fn parse(bytes: &[u8; Header::BYTES]) -> Option<Header> {
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(word)
        };
        (bytes[..4] == MAGIC && bytes[5..8] == [0; 3] && word(20) == crc32c(&bytes[..20])).then(
            || Header {
                version: bytes[4],
                bytes: word(8),
                events: word(12),
                checksum: word(16),
            },
        )
    }
}

/// Appends a *number*.
#[inline(always)]
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a *signed*.
#[inline(always)]
pub(crate) fn push_signed(out: &mut Vec<u8>, number: i64) {
    push_number(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Reads what stands in a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'b> {
    pub(crate) bytes: &'b [u8],
    pub(crate) at: usize,
}

/// The bytes at this place mean nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed {
    /// From the beginning of the items.
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

pub(crate) type Reading<T> = Result<T, Malformed>;

impl<'b> Cursor<'b> {
    #[cold]
    pub(crate) fn malformed<T>(&self, what: &'static str) -> Reading<T> {
        Err(Malformed { at: self.at, what })
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Reading<u8> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => self.malformed("the block ends too early"),
        }
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Reading<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        self.malformed("a number has more than 64 bits")
    }

    pub(crate) fn signed(&mut self) -> Reading<i64> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A number of things of which each takes a byte at least.
    pub(crate) fn count(&mut self) -> Reading<u32> {
        let count = self.number()?;
        match u32::try_from(count) {
            Ok(short) if count <= (self.bytes.len() - self.at) as u64 => Ok(short),
            _ => self.malformed("more is announced than there is"),
        }
    }

    pub(crate) fn take(&mut self, count: u32) -> Reading<&'b [u8]> {
        match self.bytes[self.at..].get(..count as usize) {
            Some(bytes) => {
                self.at += count as usize;
                Ok(bytes)
            }
            None => self.malformed("the block ends too early"),
        }
    }
}

/// Tables for eight bytes at a time: `TABLES[k][b]` is what the byte `b` adds with `k` bytes after it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    /// Castagnoli's polynomial, its bits reversed.
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = (remainder >> 1) ^ (POLYNOMIAL * (remainder & 1));
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// CRC-32C: it finds every error of one bit, and every one within 32 bits.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk) ^ u64::from(crc);
        let byte = |k: u32| (word >> (8 * k) & 0xFF) as usize;
        crc = TABLES[7][byte(0)]
            ^ TABLES[6][byte(1)]
            ^ TABLES[5][byte(2)]
            ^ TABLES[4][byte(3)]
            ^ TABLES[3][byte(4)]
            ^ TABLES[2][byte(5)]
            ^ TABLES[1][byte(6)]
            ^ TABLES[0][byte(7)];
    }
    for &byte in rest {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(byte)) & 0xFF) as usize];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_castagnolis() {
        // The check value of the polynomial's published parameters, and RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46DD_794E);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn numbers_and_back() {
        for number in [
            0,
            1,
            127,
            128,
            300,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            push_number(&mut bytes, number);
            let mut cursor = Cursor {
                bytes: &bytes,
                at: 0,
            };
            assert_eq!((cursor.number(), cursor.at), (Ok(number), bytes.len()));
        }
        for number in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            push_signed(&mut bytes, number);
            let mut cursor = Cursor {
                bytes: &bytes,
                at: 0,
            };
            assert_eq!((cursor.signed(), cursor.at), (Ok(number), bytes.len()));
        }
        for bytes in [&[0x80][..], &[], &[0xFF; 10], &[0xFF; 11]] {
            let mut cursor = Cursor { bytes, at: 0 };
            assert!(cursor.number().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_header_is_what_it_says() {
        let header = Header::of(b"some items", 3);
        let bytes = header.to_bytes();
        assert_eq!(Header::parse(&bytes), Some(header));
        assert_eq!(
            bytes[..20],
            [
                0xF1, b'q', b's', b'l', 1, 0, 0, 0, 10, 0, 0, 0, 3, 0, 0, 0, 0xC7, 0x3A, 0x4D, 0x63
            ]
        );
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&broken), None, "bit {bit}");
        }
    }
}
