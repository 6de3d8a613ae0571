//! `States.Array…`

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Scope;
use crate::stdx::FixedMap;
use crate::value::{Kind, Val, Values};

/// How many items `States.ArrayRange` makes at most.
const RANGE_ITEMS_MAX: i128 = 1_000;

/// Chunks of `size` items; the last may be shorter.
pub(super) fn partition(scope: &mut Scope<'_>, array: Val, size: Val) -> Result<Val, String> {
    let items: Vec<Val> = scope.values().elements(scope.array(array)?).collect();
    let rounded = scope.rounded(size)?;
    let chunk = match usize::try_from(rounded) {
        Ok(chunk) if chunk > 0 => chunk,
        Ok(_) | Err(_) => {
            return Err(format!(
                "The chunk size must be a positive integer but was: {rounded}"
            ));
        }
    };
    let chunks: Vec<Val> = items
        .chunks(chunk)
        .map(|chunk| scope.doc.push_array(scope.constants, chunk))
        .collect();
    Ok(scope.doc.push_array(scope.constants, &chunks))
}

pub(super) fn contains(scope: &Scope<'_>, array: Val, item: Val) -> Result<Val, String> {
    let values = scope.values();
    let mut elements = values.elements(scope.array(array)?);
    Ok(Val::bool(
        elements.any(|element| values.equal(element, item)),
    ))
}

/// `first`, `first + step`, … up to and including `last`.
pub(super) fn range(
    scope: &mut Scope<'_>,
    first: Val,
    last: Val,
    step: Val,
) -> Result<Val, String> {
    let first = i128::from(scope.rounded(first)?);
    let last = i128::from(scope.rounded(last)?);
    let step = i128::from(scope.rounded(step)?);
    if step == 0 {
        return Err("The increment must not be zero".to_owned());
    }
    let steps = (last - first) / step;
    let is_away = (last - first).signum() == -step.signum();
    let count = if is_away { 0 } else { steps + 1 };
    if count > RANGE_ITEMS_MAX {
        return Err(format!("The range has more than {RANGE_ITEMS_MAX} items"));
    }
    let items: Vec<Val> = (0..count)
        .filter_map(|i| i64::try_from(first + i * step).ok())
        .map(|n| scope.doc.push_i64(n))
        .collect();
    Ok(scope.doc.push_array(scope.constants, &items))
}

pub(super) fn get_item(scope: &Scope<'_>, array: Val, index: Val) -> Result<Val, String> {
    let values = scope.values();
    let array = scope.array(array)?;
    let Some(place) = values.as_i64(index) else {
        return Err(scope.wrong(index, "an integer"));
    };
    usize::try_from(place)
        .ok()
        .and_then(|place| values.element(array, place))
        .ok_or_else(|| {
            let len = values.len(array);
            format!("The index {place} is out of bounds for an array of length {len}")
        })
}

pub(super) fn length(scope: &mut Scope<'_>, array: Val) -> Result<Val, String> {
    let len = scope.values().len(scope.array(array)?);
    Ok(scope.doc.push_i64(i64::try_from(len).unwrap_or(i64::MAX)))
}

/// The first of each set of equal items, in their order.
pub(super) fn unique(scope: &mut Scope<'_>, array: Val) -> Result<Val, String> {
    let values = scope.values();
    let array = scope.array(array)?;
    let mut seen: FixedMap<u64, Vec<Val>> = FixedMap::default();
    let mut kept = Vec::new();
    for item in values.elements(array) {
        let alike = seen.entry(hash(values, item)).or_default();
        if alike.iter().all(|other| !values.equal(*other, item)) {
            alike.push(item);
            kept.push(item);
        }
    }
    Ok(scope.doc.push_array(scope.constants, &kept))
}

/// A hash that equal values share. Every value inside contributes by its own hash and by the way that leads to it, and
/// the contributions are added: so the order of members does not matter, the order of elements does.
fn hash(values: Values<'_>, v: Val) -> u64 {
    let mut sum = 0_u64;
    let mut pending = vec![(v, 0_u64)];
    while let Some((v, way)) = pending.pop() {
        let kind = values.kind(v);
        let mut hasher = DefaultHasher::new();
        (way, kind as u8).hash(&mut hasher);
        match kind {
            Kind::Number => hash_number(values.text(v), &mut hasher),
            Kind::String => values.text(v).hash(&mut hasher),
            Kind::Null | Kind::False | Kind::True | Kind::Array | Kind::Object => {}
        }
        let own = hasher.finish();
        sum = sum.wrapping_add(own);
        for (index, element) in values.elements(v).enumerate() {
            pending.push((element, step(own, index)));
        }
        for (key, member) in values.members(v) {
            pending.push((member, step(own, values.key_text(key))));
        }
    }
    sum
}

fn step(way: u64, by: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (way, by).hash(&mut hasher);
    hasher.finish()
}

/// Hashes a number by its significant digits and its magnitude: `100`, `1e2` and `100.0` are equal.
fn hash_number(text: &str, hasher: &mut DefaultHasher) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let unsigned = mantissa.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let leading = digits().take_while(|digit| *digit == b'0').count();
    let total = whole.len() + fraction.len();
    if leading == total {
        // Zero, whatever its sign and its exponent.
        return;
    }
    let trailing = fraction.bytes().rev().chain(whole.bytes().rev());
    let trailing = trailing.take_while(|digit| *digit == b'0').count();
    let Ok(exponent) = exponent.trim_start_matches('+').parse::<i64>() else {
        return;
    };
    let magnitude = i128::from(exponent) + whole.len() as i128 - leading as i128;
    // Beyond what can be read as an exponent numbers only share a hash.
    if magnitude.abs() > 1 << 62 {
        return;
    }
    (mantissa.starts_with('-'), magnitude).hash(hasher);
    for digit in digits().skip(leading).take(total - leading - trailing) {
        digit.hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, run};
    use super::*;
    use crate::value::Doc;

    #[test]
    fn equal_values_share_a_hash() {
        let constants = Doc::new();
        let mut doc = Doc::new();
        let groups: [&[&str]; 9] = [
            &["0", "-0", "0.0", "0e5", "-0.00e-3"],
            &["100", "1e2", "100.0", "0.1E+3", "1000e-1", "1E2"],
            &["-100", "-1e2"],
            &["1.5", "0.15e1", "15e-1", "1.50"],
            &["\"1\""],
            &["[1,2]", "[1.0,2e0]"],
            &["[2,1]"],
            &[r#"{"a":1,"b":[2]}"#, r#"{"b":[2],"a":1}"#],
            &[r#"{"a":2,"b":[1]}"#],
        ];
        let mut hashes = Vec::new();
        for group in groups {
            let all: Vec<u64> = group
                .iter()
                .map(|json| {
                    let v = doc.ingest(json.as_bytes()).unwrap();
                    let values = Values {
                        doc: &doc,
                        constants: &constants,
                    };
                    hash(values, v)
                })
                .collect();
            assert!(all.iter().all(|hash| *hash == all[0]), "{group:?}");
            assert!(!hashes.contains(&all[0]), "{group:?}");
            hashes.push(all[0]);
        }
    }

    #[test]
    fn recorded() {
        check(&[
            ("States.Array()", "{}", "[]"),
            (
                "States.Array($.a, $.b)",
                r#"{"a":"","b":" "}"#,
                r#"[""," "]"#,
            ),
            ("States.Array($.a, $.a)", r#"{"a":null}"#, "[null,null]"),
            ("States.Array($.a, $.a)", r#"{"a":1.1}"#, "[1.1,1.1]"),
            (
                "States.Array($.a,$.b)",
                r#"{"a":"{\"Arg1\": 1, \"Arg2\": []}","b":{"Arg1": 1, "Arg2": []}}"#,
                r#"["{\"Arg1\": 1, \"Arg2\": []}",{"Arg1":1,"Arg2":[]}]"#,
            ),
            ("States.ArrayPartition($.a, $.b)", r#"{"a":[],"b":3}"#, "[]"),
            (
                "States.ArrayPartition($.a, $.b)",
                r#"{"a":[0],"b":5}"#,
                "[[0]]",
            ),
            (
                "States.ArrayPartition($.a, $.b)",
                r#"{"a":[0,1,2],"b":1}"#,
                "[[0],[1],[2]]",
            ),
            (
                "States.ArrayPartition($.a, $.b)",
                r#"{"a":[0,1,2],"b":2}"#,
                "[[0,1],[2]]",
            ),
            (
                "States.ArrayPartition($.a, $.b)",
                r#"{"a":[0,1,2,3],"b":3}"#,
                "[[0,1,2],[3]]",
            ),
            (
                "States.ArrayRange($.a, $.b, $.c)",
                r#"{"a":0,"b":9,"c":3}"#,
                "[0,3,6,9]",
            ),
            (
                "States.ArrayRange($.a, $.b, $.c)",
                r#"{"a":0,"b":10,"c":3}"#,
                "[0,3,6,9]",
            ),
            (
                "States.ArrayRange($.a, $.b, $.c)",
                r#"{"a":1,"b":9,"c":9}"#,
                "[1]",
            ),
            (
                "States.ArrayRange($.a, $.b, $.c)",
                r#"{"a":1,"b":9,"c":2}"#,
                "[1,3,5,7,9]",
            ),
            ("States.ArrayRange(0, 3, 1)", "{}", "[0,1,2,3]"),
            (
                "States.ArrayLength($)",
                r#"[null,null,true,true,false,1,1.1,0,"x",[],[null],{"a":1,"b":2}]"#,
                "12",
            ),
        ]);
    }

    #[test]
    fn documented() {
        check(&[
            ("States.ArrayPartition($, 1.5)", "[1,2,3]", "[[1,2],[3]]"),
            ("States.ArrayPartition($, 0)", "[1]", "!positive integer"),
            ("States.ArrayPartition($, -1)", "[1]", "!positive integer"),
            ("States.ArrayPartition($, 1)", "{}", "!must be an array"),
            ("States.ArrayRange(9, 1, -4)", "{}", "[9,5,1]"),
            ("States.ArrayRange(1, 0, 1)", "{}", "[]"),
            ("States.ArrayRange(0.5, 3.4, 1)", "{}", "[1,2,3]"),
            ("States.ArrayRange(1, 9, 0)", "{}", "!must not be zero"),
            ("States.ArrayRange(1, 1001, 1)", "{}", "!more than 1000"),
            (
                "States.ArrayRange(-9223372036854775808, 9223372036854775807, 9223372036854775807)",
                "{}",
                "[-9223372036854775808,-1,9223372036854775806]",
            ),
            ("States.ArrayRange($, 1, 1)", "\"0\"", "!must be a number"),
            (
                "States.ArrayContains($.a, $.b)",
                r#"{"a":[1,2,[3]],"b":[3.0]}"#,
                "true",
            ),
            (
                "States.ArrayContains($.a, 'x')",
                r#"{"a":[1,2,[3]]}"#,
                "false",
            ),
            ("States.ArrayContains($.a, null)", r#"{"a":[null]}"#, "true"),
            (
                "States.ArrayContains($.a, 1)",
                r#"{"a":"1"}"#,
                "!must be an array",
            ),
            ("States.ArrayGetItem($, 1)", "[1,2]", "2"),
            (
                "States.ArrayGetItem($, 2)",
                "[1,2]",
                "!out of bounds for an array of length 2",
            ),
            ("States.ArrayGetItem($, -1)", "[1,2]", "!out of bounds"),
            (
                "States.ArrayGetItem($, 0.5)",
                "[1,2]",
                "!must be an integer",
            ),
            ("States.ArrayLength($)", "{}", "!must be an array"),
            ("States.ArrayUnique($)", "[]", "[]"),
            (
                "States.ArrayUnique($)",
                r#"[1,"1",1.0,true,[1,2],[2,1],[1,2],{"a":1,"b":2},{"b":2,"a":1e0},null,null]"#,
                r#"[1,"1",true,[1,2],[2,1],{"a":1,"b":2},null]"#,
            ),
        ]);
    }

    #[test]
    fn unique_is_not_quadratic() {
        let many: Vec<String> = (0..100_000).map(|n| format!("{{\"id\":{n}}}")).collect();
        let json = format!("[{0},{0}]", many.join(","));
        let unique = run("States.ArrayUnique($)", &json).unwrap();
        assert_eq!(unique, format!("[{}]", many.join(",")));
    }
}
