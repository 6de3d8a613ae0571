//! Random numbers: the interpreter's own, and Java's for a seed that the user gives.

/// Random numbers given to the interpreter from outside, seeded at admission. The generator is SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The seed of the sequence that is left.
    pub(crate) const fn rest(&self) -> u64 {
        self.0
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in [0, 1).
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in [0, span).
    pub(crate) fn below(&mut self, span: u64) -> u64 {
        let scaled = u128::from(self.next_u64()) * u128::from(span);
        (scaled >> 64) as u64
    }

    /// A UUID, version 4.
    pub(crate) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next_u64().to_be_bytes());
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
        uuid.hyphenated().to_string()
    }
}

/// The generator of `java.util.Random`: the same seed gives the numbers that Java documents for it.
#[derive(Clone, Debug)]
pub struct JavaRandom(u64);

impl JavaRandom {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;

    /// The sequence of that seed.
    #[must_use]
    pub fn new(seed: i64) -> JavaRandom {
        JavaRandom((seed as u64 ^ Self::MULTIPLIER) & Self::MASK)
    }

    /// The upper `bits` (at most 32) of the next state.
    fn next(&mut self, bits: u32) -> u64 {
        self.0 = self.0.wrapping_mul(Self::MULTIPLIER).wrapping_add(0xB) & Self::MASK;
        self.0 >> (48 - bits)
    }

    /// `nextDouble()`: a number in [0, 1).
    pub fn next_f64(&mut self) -> f64 {
        let high = self.next(26) << 27;
        (high + self.next(27)) as f64 / (1_u64 << 53) as f64
    }

    /// `nextInt(bound)`: a number in [0, bound); `bound` is from 1 to 2^31 - 1.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let bound = u64::from(bound);
        if bound.is_power_of_two() {
            return ((bound * self.next(31)) >> 31) as u32;
        }
        loop {
            let bits = self.next(31);
            let value = bits % bound;
            // The last, incomplete run of `bound` numbers would favour the small ones.
            if bits - value + (bound - 1) < 1 << 31 {
                return value as u32;
            }
        }
    }

    /// `nextLong()`, as its 64 bits.
    pub(super) fn next_u64(&mut self) -> u64 {
        let high = self.next(32) << 32;
        // Java adds the lower half as a signed number.
        high.wrapping_add_signed(i64::from(self.next(32) as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sequences() {
        let mut random = Random::new(0);
        assert_eq!(random.next_u64(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.next_u64(), 0x6E78_9E6A_A1B9_65F4);
        let mut java = JavaRandom::new(42);
        assert_eq!(
            java.next_f64().to_bits(),
            0.727_563_680_032_868_1_f64.to_bits()
        );
        let mut java = JavaRandom::new(42);
        assert_eq!([java.below(10), java.below(10), java.below(10)], [0, 3, 8]);
        assert_eq!(
            JavaRandom::new(42).next_u64() as i64,
            -5_025_562_857_975_149_833
        );
    }

    #[test]
    fn uuid_is_of_version_4() {
        let text = Random::new(7).uuid();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "4");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
    }
}
