//! Numbers as JavaScript writes them, and as `$string` and `&` do.

use std::fmt::Write as _;

/// The text of one number.
#[derive(Debug)]
pub(crate) struct Text {
    bytes: [u8; Text::BYTES_MAX],
    len: usize,
}

impl Text {
    /// The longest texts have 21 digits before the point, or 17 digits, a point, a sign and an exponent.
    const BYTES_MAX: usize = 40;

    fn new() -> Text {
        Text {
            bytes: [0; Text::BYTES_MAX],
            len: 0,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Integers below this are written digit by digit, whatever way they are computed.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// `n`, which is finite, as `JSON.stringify` writes it: the shortest digits that read back the same, with an exponent
/// from 1e21 on and below 1e-6.
pub(crate) fn javascript(n: f64) -> Text {
    with_javascript(n, |digits| {
        let mut text = Text::new();
        // It cannot fail: there is room for every number.
        let _ = text.write_str(digits);
        text
    })
}

/// Gives the same text to a function; that of most numbers without a copy.
#[inline]
pub(super) fn with_javascript<T>(n: f64, f: impl FnOnce(&str) -> T) -> T {
    if n.fract() == 0.0 && n.abs() < EXACT_MAX {
        return f(itoa::Buffer::new().format(n as i64));
    }
    if (1e-5..1e15).contains(&n.abs()) {
        let mut buffer = zmij::Buffer::new();
        let shortest = buffer.format_finite(n);
        if !shortest.contains(['e', 'E']) {
            return f(shortest.strip_suffix(".0").unwrap_or(shortest));
        }
    }
    let mut text = Text::new();
    // It cannot fail either.
    let _ = write_unusual(&mut text, n);
    f(text.as_str())
}

/// `n`, which is finite, as `$string` writes it: what is no integer is rounded to 15 significant digits.
pub(super) fn string(n: f64) -> Text {
    if n.fract() == 0.0 {
        return javascript(n);
    }
    let text = javascript(n);
    let digits = text.as_str().split('e').next().unwrap_or_default();
    let significant = digits
        .trim_start_matches(['-', '0', '.'])
        .bytes()
        .filter(u8::is_ascii_digit)
        .count();
    if significant <= 15 {
        return text;
    }
    let mut rounded = Text::new();
    let _ = write!(rounded, "{n:.14e}");
    javascript(rounded.as_str().parse().unwrap_or(n))
}

/// A number that is very large or very small.
fn write_unusual(text: &mut Text, n: f64) -> std::fmt::Result {
    let magnitude = n.abs();
    if (1e-6..1e21).contains(&magnitude) {
        return write!(text, "{n}");
    }
    let mut scientific = Text::new();
    write!(scientific, "{n:e}")?;
    match scientific.as_str().split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            write!(text, "{digits}e+{exponent}")
        }
        _ => text.write_str(scientific.as_str()),
    }
}

/// True if a number is written as `$string` would write it: an integer of few digits.
pub(super) fn is_plain_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit()) && text != "-0"
}

/// `$round`: to the nearest with so many decimals, and to the even one of two that are equally near. It shifts the
/// decimal point in the number's text, as jsonata-js does, so that 1.005 is a half away from its neighbours.
pub(super) fn round(n: f64, decimals: i32) -> Option<f64> {
    let shifted = shift(n, decimals)?;
    let mut rounded = (shifted + 0.5).floor();
    if (rounded - shifted).abs() == 0.5 && (rounded % 2.0).abs() == 1.0 {
        rounded -= 1.0;
    }
    shift(rounded, -decimals)
}

/// `n` × 10^`places`, exactly rounded.
fn shift(n: f64, places: i32) -> Option<f64> {
    if places == 0 {
        return Some(n);
    }
    let mut text = Text::new();
    write!(text, "{n:e}").ok()?;
    let (digits, exponent) = text.as_str().split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let mut moved = Text::new();
    write!(moved, "{digits}e{}", exponent + places).ok()?;
    moved.as_str().parse().ok().filter(|n: &f64| n.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        for (n, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e-6, "0.000001"),
            (1.5e-6, "0.0000015"),
            (1e-7, "1e-7"),
            (-1.25e-9, "-1.25e-9"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_007_199_254_740_993.0, "9007199254740992"),
        ] {
            assert_eq!(javascript(n).as_str(), expected);
        }
    }

    #[test]
    fn texts_of_string() {
        for (n, expected) in [
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.333333333333333"),
            (2.0 / 3.0, "0.666666666666667"),
            (1e-7 / 3.0, "3.33333333333333e-8"),
            (100.0 / 3.0, "33.3333333333333"),
            (9_007_199_254_740_991.0, "9007199254740991"),
        ] {
            assert_eq!(string(n).as_str(), expected);
        }
    }

    #[test]
    fn rounding_is_to_even() {
        for (n, decimals, expected) in [
            (0.5, 0, 0.0),
            (1.5, 0, 2.0),
            (2.5, 0, 2.0),
            (-0.5, 0, 0.0),
            (-1.5, 0, -2.0),
            (-2.5, 0, -2.0),
            (1.005, 2, 1.0),
            (4.525, 2, 4.52),
            (4.515, 2, 4.52),
            (12345.0, -2, 12300.0),
            (12450.0, -2, 12400.0),
            (2.675, 1, 2.7),
        ] {
            assert_eq!(round(n, decimals), Some(expected), "{n} {decimals}");
        }
        assert_eq!(round(1e308, 10), None);
    }

    proptest! {
        #[test]
        fn texts_are_the_librarys(n in proptest::num::f64::NORMAL | proptest::num::f64::ZERO | proptest::num::f64::SUBNORMAL) {
            let value = jsonata_core::value::JValue::Number(n);
            let javascript = javascript(n);
            prop_assert_eq!(javascript.as_str(), format!("{value}"));
            let text = jsonata_core::functions::string::string(&value, None).unwrap();
            let ours = string(n);
            prop_assert_eq!(Some(ours.as_str()), text.as_str());
        }
    }
}
