//! [`Amount`]: money, in whole billionths of a dollar.

use std::fmt;
use std::iter::Sum;

/// Digits after the point that an amount has.
const DIGITS: usize = 9;
const NANOS_PER_DOLLAR: u128 = 1_000_000_000;

/// An amount of US dollars, to a billionth of one.
///
/// It is shown in cents, rounded half up; below a cent, to a millionth of a dollar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Amount(u128);

impl Amount {
    /// So many billionths of a dollar.
    #[must_use]
    pub const fn from_nanos(nanos: u128) -> Amount {
        Amount(nanos)
    }

    /// Reads `0.025`: digits, and at most nine after the point.
    pub(super) fn parse(text: &str) -> Option<Amount> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than a price ever has; so nothing overflows.
        if whole.is_empty() || whole.len() > 12 || part.len() > DIGITS {
            return None;
        }
        if !is_number(whole) || !is_number(part) {
            return None;
        }
        let whole: u128 = whole.parse().ok()?;
        let part: u128 = format!("{part:0<DIGITS$}").parse().ok()?;
        Some(Amount(whole * NANOS_PER_DOLLAR + part))
    }

    /// Billionths of a dollar.
    #[must_use]
    pub const fn nanos(self) -> u128 {
        self.0
    }

    /// As a number, for graphs and JSON.
    #[must_use]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / NANOS_PER_DOLLAR as f64
    }

    /// The amount as a price: with all digits that it has, but two at least.
    #[must_use]
    pub fn as_price(self) -> String {
        let part = format!("{:09}", self.0 % NANOS_PER_DOLLAR);
        let kept = part.trim_end_matches('0').len().max(2);
        let whole = grouped(self.0 / NANOS_PER_DOLLAR);
        format!("${whole}.{}", &part[..kept])
    }

    /// `count` of what costs this for each `per`, rounded half up.
    pub(super) fn times(self, count: u128, per: u128) -> Amount {
        let product = self.0.saturating_mul(count);
        Amount(product.saturating_add(per / 2) / per)
    }

    pub(super) fn plus(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CENT: u128 = NANOS_PER_DOLLAR / 100;
        const MICRO: u128 = NANOS_PER_DOLLAR / 1_000_000;
        let text = if self.0 == 0 || self.0 >= CENT {
            let cents = self.0.saturating_add(CENT / 2) / CENT;
            format!("${}.{:02}", grouped(cents / 100), cents % 100)
        } else {
            let micros = (self.0 + MICRO / 2) / MICRO;
            match micros {
                0 => "<$0.000001".to_owned(),
                _ => format!("$0.{micros:06}"),
            }
        };
        f.pad(&text)
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::default(), Amount::plus)
    }
}

impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

/// `1,234,567`
#[must_use]
pub fn grouped(n: u128) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown() {
        for (text, nanos, shown, price) in [
            ("0", 0, "$0.00", "$0.00"),
            ("0.025", 25_000_000, "$0.03", "$0.025"),
            ("0.024999999", 24_999_999, "$0.02", "$0.024999999"),
            ("1.00", 1_000_000_000, "$1.00", "$1.00"),
            ("0.01642", 16_420_000, "$0.02", "$0.01642"),
            ("0.000025", 25_000, "$0.000025", "$0.000025"),
            ("0.0000004", 400, "<$0.000001", "$0.0000004"),
            ("0.009999999", 9_999_999, "$0.010000", "$0.009999999"),
            (
                "1234567.895",
                1_234_567_895_000_000,
                "$1,234,567.90",
                "$1,234,567.895",
            ),
        ] {
            let amount = Amount::parse(text).unwrap();
            assert_eq!(amount.nanos(), nanos, "{text}");
            assert_eq!(
                (amount.to_string(), amount.as_price()),
                (shown.to_owned(), price.to_owned())
            );
        }
        for wrong in [
            "",
            ".5",
            "1,0",
            "-1",
            "1e3",
            "0.0000000001",
            "1234567890123",
            "0.5 ",
            "٣",
        ] {
            assert_eq!(Amount::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn halves_are_rounded_up() {
        let price = Amount::from_nanos(5);
        assert_eq!(price.times(1, 10).nanos(), 1);
        assert_eq!(price.times(9, 100).nanos(), 0);
        assert_eq!(price.times(u128::MAX, 1).nanos(), u128::MAX);
    }
}
