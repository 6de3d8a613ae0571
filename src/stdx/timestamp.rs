//! Points in time: milliseconds since the Unix epoch, and RFC 3339 text.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

/// The text was not an RFC 3339 date-time with an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseTimestampError;

impl fmt::Display for ParseTimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an ISO-8601 extended offset date-time")
    }
}

impl std::error::Error for ParseTimestampError {}

const DAY_SECONDS: i64 = 86_400;

impl Timestamp {
    /// The last representable moment.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This moment plus `millis`, capped at [`Timestamp::MAX`].
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(millis))
    }

    /// Parses RFC 3339 text (capital `T` and `Z`, any number of fraction digits), to nanoseconds since the epoch.
    ///
    /// # Errors
    ///
    /// If the text has another form, or names a day or an hour that does not exist.
    pub fn parse_nanos(text: &str) -> Result<i128, ParseTimestampError> {
        parse(text.as_bytes()).ok_or(ParseTimestampError)
    }

    /// Parses RFC 3339 text, cut to milliseconds.
    ///
    /// # Errors
    ///
    /// As [`Timestamp::parse_nanos`].
    pub fn parse(text: &str) -> Result<Timestamp, ParseTimestampError> {
        let millis = Timestamp::parse_nanos(text)?.div_euclid(1_000_000);
        i64::try_from(millis)
            .map(Timestamp)
            .map_err(|_| ParseTimestampError)
    }
}

/// `2016-03-14T01:59:00Z` and `2016-03-14T01:59:00.123Z`: no fraction where it is zero, else three digits.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.div_euclid(1_000), self.0.rem_euclid(1_000));
        let (days, second) = (
            seconds.div_euclid(DAY_SECONDS),
            seconds.rem_euclid(DAY_SECONDS),
        );
        let (year, month, day) = civil_from_days(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second / 3_600,
            second / 60 % 60,
            second % 60
        )?;
        if millis != 0 {
            write!(f, ".{millis:03}")?;
        }
        f.write_str("Z")
    }
}

fn parse(text: &[u8]) -> Option<i128> {
    let (date, rest) = text.split_at_checked(19)?;
    for (i, expected) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if date[i] != expected {
            return None;
        }
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        date[from..to].iter().try_fold(0_i64, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in_month(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let seconds =
        days_from_civil(year, month, day) * DAY_SECONDS + hour * 3_600 + minute * 60 + second
            - offset(zone)?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// Nanoseconds of `.123…`, and what follows it. Digits past the ninth are cut.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = rest.strip_prefix(b".") else {
        return Some((0, rest));
    };
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    if end == 0 {
        return None;
    }
    let nanos = (0..9).fold(0_i64, |n, i| {
        n * 10
            + if i < end {
                i64::from(digits[i] - b'0')
            } else {
                0
            }
    });
    Some((nanos, &digits[end..]))
}

/// Seconds east of Greenwich.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone {
        b"Z" => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let [h1, h2, b':', m1, m2] = digits else {
        return None;
    };
    if ![h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours = i64::from(h1 - b'0') * 10 + i64::from(h2 - b'0');
    let minutes = i64::from(m1 - b'0') * 10 + i64::from(m2 - b'0');
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the epoch to a date of the proleptic Gregorian calendar, counted in years that start in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2016-03-14T01:59:00Z", 1_457_920_740_000),
            ("2016-03-14T01:59:00.120Z", 1_457_920_740_120),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
        ] {
            assert_eq!(Timestamp::parse(text), Ok(Timestamp(millis)));
            assert_eq!(Timestamp(millis).to_string(), text);
        }
        assert_eq!(
            Timestamp::parse("2016-03-14T03:59:00+02:00"),
            Ok(Timestamp(1_457_920_740_000))
        );
        assert_eq!(
            Timestamp::parse_nanos("1970-01-01T00:00:00.1234567891Z"),
            Ok(123_456_789)
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "Z",
            "2016-13-05T21:29:29Z",
            "2016-12-05 21:29:29Z",
            "2016-12-05T21:29:29",
            "2016-12-05t21:29:29z",
            "2015-02-29T00:00:00Z",
            "2016-12-05T24:00:00Z",
            "2016-12-05T21:29:29.Z",
            "2016-12-05T21:29:29.5",
            "2016-12-05T21:29:29+0200",
            "2016-12-05T21:29:29Zx",
            "２016-12-05T21:29:29Z",
        ] {
            assert_eq!(Timestamp::parse(text), Err(ParseTimestampError), "{text}");
        }
    }
}
