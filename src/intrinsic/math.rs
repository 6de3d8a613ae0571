//! `States.MathRandom`, `States.MathAdd`, and AWS's rounding.

use super::{JavaRandom, Random, Scope};
use crate::value::Val;

/// Half up, as Java's `Math.round`: -1.5 gives -1. None beyond 64 bits.
pub(super) fn round(number: f64) -> Option<i64> {
    let floor = number.floor();
    let rounded = if number - floor >= 0.5 {
        floor + 1.0
    } else {
        floor
    };
    // Both bounds are powers of two, exact as floats; a NaN is in no range.
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
        .contains(&rounded)
        .then_some(rounded as i64)
}

/// An integer in [start, end).
pub(super) fn random(
    scope: &mut Scope<'_>,
    start: Val,
    end: Val,
    random: &mut Random,
) -> Result<Val, String> {
    let (start, span) = range(scope, start, end)?;
    let offset = random.below(span);
    Ok(scope.doc.push_i64(start.wrapping_add_unsigned(offset)))
}

/// The same for a seed: what `new java.util.Random(seed)` gives first for that range.
pub(super) fn random_seeded(
    scope: &mut Scope<'_>,
    start: Val,
    end: Val,
    seed: Val,
) -> Result<Val, String> {
    let (start, span) = range(scope, start, end)?;
    let mut random = JavaRandom::new(scope.rounded(seed)?);
    let offset = match i32::try_from(span) {
        Ok(bound) => u64::from(random.below(bound.unsigned_abs())),
        Err(_) => random.next_u64() % span,
    };
    Ok(scope.doc.push_i64(start.wrapping_add_unsigned(offset)))
}

/// The start, and how many integers there are, at least one.
fn range(scope: &Scope<'_>, start: Val, end: Val) -> Result<(i64, u64), String> {
    let (start, end) = (scope.rounded(start)?, scope.rounded(end)?);
    if start >= end {
        return Err(format!(
            "The start number {start} must be less than the end number {end}"
        ));
    }
    Ok((start, end.abs_diff(start)))
}

/// Both numbers are rounded before they are added; they and their sum have 32 bits.
pub(super) fn add(scope: &mut Scope<'_>, left: Val, right: Val) -> Result<Val, String> {
    let narrow = |v: Val| {
        i32::try_from(scope.rounded(v)?).map_err(|_| {
            format!(
                "The number {} is not between {} and {}",
                scope.shown(v),
                i32::MIN,
                i32::MAX
            )
        })
    };
    let (left, right) = (narrow(left)?, narrow(right)?);
    match left.checked_add(right) {
        Some(sum) => Ok(scope.doc.push_i64(i64::from(sum))),
        None => Err(format!(
            "The sum of {left} and {right} is not between {} and {}",
            i32::MIN,
            i32::MAX
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, run};
    use super::round;

    #[test]
    fn half_up() {
        for (number, rounded) in [
            (1.5, Some(2)),
            (-1.5, Some(-1)),
            (-1.51, Some(-2)),
            (0.499_999_999_999_999_94, Some(0)),
            (4_503_599_627_370_497.5, Some(4_503_599_627_370_498)),
            (1e300, None),
            (f64::INFINITY, None),
            (f64::NAN, None),
        ] {
            assert_eq!(round(number), rounded, "{number}");
        }
    }

    #[test]
    fn recorded() {
        check(&[
            ("States.MathAdd($.a, -1)", r#"{"a":3}"#, "2"),
            ("States.MathAdd($.a, $.b)", r#"{"a":1.5,"b":1.51}"#, "4"),
            ("States.MathAdd($.a, $.b)", r#"{"a":-1.5,"b":0}"#, "-1"),
            (
                "States.MathAdd(States.MathAdd(States.MathAdd($[1], $[0]), $[2]), 4.3)",
                "[9,44,6]",
                "63",
            ),
        ]);
        for (start, end) in [("12.5", "44.51"), ("9999", "99999"), ("-99999", "-9999")] {
            let n = run(&format!("States.MathRandom({start}, {end})"), "{}").unwrap();
            let n: f64 = n.parse().unwrap();
            let (start, end): (f64, f64) = (start.parse().unwrap(), end.parse().unwrap());
            assert!(start <= n && n < end, "{n} for {start} {end}");
        }
    }

    #[test]
    fn documented() {
        check(&[
            ("States.MathAdd(2147483647, 1)", "{}", "!sum"),
            ("States.MathAdd(2147483648, -1)", "{}", "!not between"),
            ("States.MathAdd(1e400, 1)", "{}", "!too large"),
            ("States.MathAdd($, 1)", "null", "!must be a number"),
            ("States.MathRandom(1, 1)", "{}", "!must be less"),
            ("States.MathRandom(5, 6)", "{}", "5"),
            ("States.MathRandom(0, 10, 42)", "{}", "0"),
        ]);
        let widest = "States.MathRandom(-9223372036854775808, 9223372036854775807, 1)";
        assert_eq!(run(widest, "{}"), run(widest, "{}"));
    }
}
