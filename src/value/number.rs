//! Numbers by their text: validity, reading, and exact comparison.

use std::cmp::Ordering;

/// True if `text` is a JSON number.
pub(super) fn is_number(text: &[u8]) -> bool {
    end(text) == Some(text.len())
}

/// Length of the JSON number that `text` starts with.
pub(super) fn end(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        text[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(text.first() == Some(&b'-'));
    match (text.get(at), digits(at)) {
        (_, 0) => return None,
        (Some(b'0'), _) => at += 1,
        (_, n) => at += n,
    }
    if text.get(at) == Some(&b'.') {
        let n = digits(at + 1);
        if n == 0 {
            return None;
        }
        at += 1 + n;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let n = digits(at + 1 + sign);
        if n == 0 {
            return None;
        }
        at += 1 + sign + n;
    }
    Some(at)
}

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// The nearest double of the number that ends where `bytes` do and has `len` bytes, if it is a short one without an
/// exponent: at most eight bytes, which are read as one number, and before which there is something else.
#[inline]
pub(super) fn short_f64(bytes: &[u8], len: usize) -> Option<f64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const ZEROS: u64 = ONES * b'0' as u64;
    if !(1..=8).contains(&len) {
        return None;
    }
    let last = u64::from_le_bytes(*bytes.last_chunk()?);
    // The digits end at the top byte; what is before them is not part of the number, and counts as zeros.
    let first = 8 * (8 - len as u32);
    let before = (1_u64 << first) - 1;
    let mut digits = last & !before | ZEROS & before;
    let negative = (last >> first) as u8 == b'-';
    if negative {
        digits = digits & !(0xFF << first) | u64::from(b'0') << first;
    }
    // The point is taken out: what is before it moves up by one byte.
    let mut decimals = 0;
    let point = digits ^ (ONES * b'.' as u64);
    let point = point.wrapping_sub(ONES) & !point & (ONES << 7);
    if point != 0 {
        let at = point.trailing_zeros() / 8;
        decimals = 7 - at as usize;
        let behind = u64::MAX.checked_shl(8 * at + 8).unwrap_or(0);
        let whole = digits & ((1 << (8 * at)) - 1);
        digits = digits & behind | whole << 8 | u64::from(b'0');
    }
    let values = digits ^ ZEROS;
    // A byte above 9 is an exponent's.
    if (values.wrapping_add(ONES * 0x76) | values) & (ONES << 7) != 0 {
        return None;
    }
    let pairs = (values.wrapping_mul(10) + (values >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    let mantissa = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xFFFF_FFFF;
    let magnitude = match decimals {
        0 => mantissa as f64,
        _ => mantissa as f64 / POWERS[decimals],
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// The nearest double; beyond its range an infinity.
#[inline]
pub(super) fn to_f64(text: &str) -> f64 {
    let bytes = text.as_bytes();
    // Up to 15 digits and a small power of ten are exact, and so is their quotient.
    if bytes.len() <= 16 {
        let negative = bytes.first() == Some(&b'-');
        let (mut mantissa, mut decimals, mut seen_point) = (0_u64, 0_usize, false);
        for &b in &bytes[usize::from(negative)..] {
            match b {
                b'0'..=b'9' => {
                    mantissa = mantissa * 10 + u64::from(b - b'0');
                    decimals += usize::from(seen_point);
                }
                b'.' => seen_point = true,
                _ => return slow_f64(text),
            }
        }
        if mantissa < 1 << 53 && decimals < POWERS.len() {
            let magnitude = mantissa as f64 / POWERS[decimals];
            return if negative { -magnitude } else { magnitude };
        }
    }
    slow_f64(text)
}

#[cold]
fn slow_f64(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// The integer that the number is (`1`, `1.0`, `1e2`), if it is one and fits.
pub(super) fn to_i64(text: &str) -> Option<i64> {
    if let Ok(n) = text.parse() {
        return Some(n);
    }
    let decimal = Decimal::new(text)?;
    let places = usize::try_from(decimal.point)
        .ok()
        .filter(|&places| decimal.digits.len() <= places && places <= 19);
    if decimal.digits.is_empty() {
        return Some(0);
    }
    let places = places?;
    let magnitude = decimal
        .digits
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(places);
    let n = magnitude.fold(0_i128, |n, b| n * 10 + i128::from(b - b'0'));
    i64::try_from(if decimal.negative { -n } else { n }).ok()
}

/// Compares two numbers by value, exactly.
#[inline]
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (x, y) = (to_f64(a), to_f64(b));
    // Rounding keeps order, so only numbers that round to the same double need their digits.
    match x.partial_cmp(&y) {
        Some(Ordering::Equal) | None if a != b => compare_digits(a, b),
        Some(order) => order,
        None => Ordering::Equal,
    }
}

#[cold]
fn compare_digits(a: &str, b: &str) -> Ordering {
    let (Some(a), Some(b)) = (Decimal::new(a), Decimal::new(b)) else {
        return Ordering::Equal;
    };
    match (a.digits.is_empty(), b.digits.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => {
            return if b.negative {
                Ordering::Greater
            } else {
                Ordering::Less
            };
        }
        (false, true) => {
            return if a.negative {
                Ordering::Less
            } else {
                Ordering::Greater
            };
        }
        (false, false) => {}
    }
    match (a.negative, b.negative) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => (a.point, &a.digits).cmp(&(b.point, &b.digits)),
        (true, true) => (b.point, &b.digits).cmp(&(a.point, &a.digits)),
    }
}

/// `0.digits × 10^point`: no zeros at either end of the digits; empty for zero.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn new(text: &str) -> Option<Decimal> {
        let (negative, text) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        // An exponent that does not fit is beyond every other number of a document on the same side of one.
        let exponent = exponent
            .parse::<i64>()
            .unwrap_or(if exponent.starts_with('-') {
                i64::MIN / 2
            } else {
                i64::MAX / 2
            });
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let first = all.iter().position(|&b| b != b'0').unwrap_or(all.len());
        let last = all
            .iter()
            .rposition(|&b| b != b'0')
            .map_or(first, |i| i + 1);
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(first).ok()?;
        Some(Decimal {
            negative,
            digits: all[first..last].to_vec(),
            point: point.saturating_add(exponent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in ["0", "-0", "10", "0.5", "-1.25e+10", "1E5", "1e-400"] {
            assert!(is_number(good.as_bytes()), "{good}");
        }
        for bad in [
            "", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1 ", "Infinity", "--1",
        ] {
            assert!(!is_number(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn reading() {
        for text in [
            "0",
            "-0",
            "5.91",
            "118.34",
            "9007199254740993",
            "1e3",
            "1e400",
            "-2.5e-3",
            "0.1",
            "123456789012345.6",
        ] {
            assert_eq!(
                to_f64(text).to_bits(),
                text.parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
        }
        let integers = [
            ("1", Some(1)),
            ("1.0", Some(1)),
            ("1e2", Some(100)),
            ("-120e-1", Some(-12)),
            ("0.0e9", Some(0)),
        ];
        for (text, expected) in integers {
            assert_eq!(to_i64(text), expected, "{text}");
        }
        for text in [
            "1.5",
            "1e19",
            "9223372036854775808",
            "1e999999999999999999999",
            "1e-1",
        ] {
            assert_eq!(to_i64(text), None, "{text}");
        }
        assert_eq!(to_i64("-9223372036854775808"), Some(i64::MIN));
    }

    #[test]
    fn short_numbers_are_read_at_once() {
        let check = |text: &str| {
            let around = format!("12345,e.-{text}");
            let short = short_f64(around.as_bytes(), text.len()).map(f64::to_bits);
            let parsed = text.parse::<f64>().unwrap().to_bits();
            let is_short = text.len() <= 8 && !text.contains(['e', 'E']);
            assert_eq!(short, is_short.then_some(parsed), "{text}");
        };
        for text in [
            "0",
            "-0",
            "7",
            "-7",
            "0.5",
            "-0.5",
            "12345678",
            "-1234567",
            "123456.7",
            "0.000001",
            "-0.00001",
            "1e5",
            "1E+5",
            "1.5e-3",
            "123456789",
            "99999999",
            "-9.99999",
        ] {
            check(text);
        }
        for n in (0..100_000_000).step_by(12_347) {
            check(&n.to_string());
            for decimals in 1..8 {
                let digits = format!("{n:08}");
                let (whole, rest) = digits.split_at(8 - decimals);
                let whole = whole.trim_start_matches('0');
                let whole = if whole.is_empty() { "0" } else { whole };
                check(&format!("{whole}.{rest}"));
                check(&format!("-{whole}.{rest}"));
            }
        }
    }

    #[test]
    fn order() {
        let ascending = [
            "-1e400",
            "-18446744073709551617",
            "-18446744073709551616",
            "-1",
            "0",
            "1e-400",
            "2",
            "18446744073709551616",
            "18446744073709551617",
            "1e400",
            "2e400",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        for (a, b) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("0", "-0"),
            ("0.10", "0.1"),
            ("1e400", "10e399"),
        ] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }
}
