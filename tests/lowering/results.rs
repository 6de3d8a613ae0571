//! What the lowering takes and refuses, results to the letter, and limits.

use quickstep::internal::Expression;
use quickstep::value::{Doc, Values};

const INPUT: &str = r#"{"id":"A-1","total":0.10,"big":18446744073709551616,"items":[{"sku":"a","price":1.5,"qty":2},{"sku":"b","price":3,"qty":1}],"one":[{"sku":"c"}],"nested":[[1,2],[3]],"name":"line\nbreak"}"#;

/// Functions that an expression may define.
const LAMBDAS_MAX: usize = 16;

/// The value over [`INPUT`] as JSON; `undefined`, `bail`, or `refused: …` otherwise.
fn run(text: &str) -> String {
    let expression = match Expression::aws(text, &["count_of", "v"]) {
        Ok(expression) => expression,
        Err(reason) => return format!("refused: {reason}"),
    };
    let mut doc = Doc::new();
    let input = doc.ingest(INPUT.as_bytes()).expect("it is JSON");
    let variables =
        ["7", r#"{"w":[1]}"#].map(|json| doc.ingest(json.as_bytes()).expect("it is JSON"));
    match expression.run(&mut doc, Some(input), &variables) {
        Err(_) => "bail".to_owned(),
        Ok(None) => "undefined".to_owned(),
        Ok(Some(value)) => Values {
            doc: &doc,
            constants: expression.constants(),
        }
        .to_json(value),
    }
}

#[test]
fn results_to_the_letter() {
    for (text, expected) in [
        ("$states.input.total", "0.10"),
        (
            "[$states.input.total, $states.input.big]",
            "[0.10,18446744073709551616]",
        ),
        ("$states.input.total * 1", "0.1"),
        ("$states.input.big + 0", "18446744073709552000"),
        ("1e21 + 0", "1e+21"),
        (
            "'n: ' & $states.input.total & ' ' & $states.input.big",
            r#""n: 0.1 18446744073709552000""#,
        ),
        ("$states.input.items.sku", r#"["a","b"]"#),
        ("$states.input.one.sku", r#""c""#),
        ("$states.input.one.sku[]", r#"["c"]"#),
        ("$states.input.items[price > 2].sku", r#""b""#),
        ("$states.input.items[-1].sku", r#""b""#),
        (
            "$states.input.items.{'s': sku, 'none': missing}",
            r#"[{"s":"a"},{"s":"b"}]"#,
        ),
        ("$states.input.items^(>price).sku", r#"["b","a"]"#),
        ("$sum($states.input.items.(price * qty))", "6"),
        ("$states.input.items{sku: qty}", r#"{"a":2,"b":1}"#),
        ("$states.input.items{'all': $sum(qty)}", r#"{"all":3}"#),
        ("$v.w", "[1]"),
        ("$count_of + 1", "8"),
        ("$x := $states.input.id", r#""A-1""#),
        ("$states.input.missing", "undefined"),
        ("$states.result.missing", "undefined"),
        ("$merge([{'a': 1, 'b': 2}, {'a': 3}])", r#"{"a":3,"b":2}"#),
        ("$string($states.input.one)", r#""[{\"sku\":\"c\"}]""#),
        ("$length($states.input.name)", "10"),
        ("$states.input.name & '!'", r#""line\nbreak!""#),
        ("$map($states.input.nested, $count)", "[2,1]"),
        ("($f := function($n) { $n * 2 }; $f($f(2)))", "8"),
        ("$states.input.id ~> $lowercase()", r#""a-1""#),
    ] {
        assert_eq!(run(text), expected, "{text}");
    }
}

#[test]
fn what_is_refused() {
    for (text, reason) in [
        ("$", "`$` at the top"),
        ("$$", "`$$`"),
        ("name", "a name at the top"),
        ("$states", "`$states` itself"),
        ("$states.output", "a field that `$states` has not"),
        ("$other", "a variable that is not bound"),
        ("$count_of()", "a function that is not lowered"),
        ("$random()", "a function that is not lowered"),
        ("$now()", "a function that is not lowered"),
        ("/a/", "a regular expression"),
        ("function($x) { $x }", "a function as a value"),
        ("$states.input.**", "`**`"),
        ("$states.input.items#$i", "`@`, `#` or `%`"),
    ] {
        let refused = run(text);
        if text == "$count_of()" {
            assert_eq!(refused, "refused: a function that a variable may hide");
        } else {
            assert_eq!(refused, format!("refused: {reason}"), "{text}");
        }
    }
}

#[test]
fn errors_are_the_slow_paths() {
    for text in [
        "1 + 'a'",
        "1 / 0",
        "-'a'",
        "1 < 'a'",
        "$sum(['a'])",
        "$number('x')",
        "$single([1, 2], function($v) { true })",
        "{$states.input.id: 1, 'A-1': 2}",
    ] {
        assert_eq!(run(text), "bail", "{text}");
    }
}

#[test]
fn everything_ends() {
    for text in [
        "[1..100000000]",
        "$map([1..1000000], function($v) { $length($string([1..1000])) })",
        "$map([1..1000000], function($v) { {'a': $states.input & $states.input} })",
        "$map([1..10000000], function($v) { $v })",
        "$map([1..2000], function($v) { $map([1..2000], function($w) { $v * $w }) })",
        "$reduce([1..60], function($a, $b) { $a & $a }, 'x')",
        "$reduce([1..2000], function($a, $b) { [[$a]] }, 1)",
        "$reduce([1..2000], function($a, $b) { {'a': $a} }, 1)",
        "$string($reduce([1..60], function($a, $b) { {'a': $a, 'b': $a} }, 1))",
        "$reduce([1..60], function($a, $b) { {'a': $a, 'b': $a} }, 1) = $reduce([1..60], function($a, $b) { {'a': $a, 'b': $a} }, 1)",
        "$boolean($reduce([1..60], function($a, $b) { [$a, $a] }, [0]))",
    ] {
        assert_eq!(run(text), "bail", "{text}");
    }
}

/// The most that may be nested fits a thread's stack.
#[test]
fn the_deepest_expression() {
    // Each function calls the one before it, within so many levels of its own.
    let chain = |levels: usize| {
        let mut text = String::from("(");
        for lambda in 0..LAMBDAS_MAX {
            let inner = match lambda {
                0 => "$n".to_owned(),
                _ => format!("$f{}($n)", lambda - 1),
            };
            let (open, close) = ("1+(".repeat(levels), ")".repeat(levels));
            text += &format!("$f{lambda} := function($n) {{ 1+{open}{inner}{close} }}; ");
        }
        text + &format!("$f{}(1))", LAMBDAS_MAX - 1)
    };
    assert_eq!(run(&chain(0)), (1 + LAMBDAS_MAX).to_string());
    // Where the calls nest more deeply, the slow path knows whether that is too deep.
    assert_eq!(run(&chain(10)), "refused: calls that nest too deeply");
    let deeper = format!("{}$count_of{}", "[".repeat(60), "]".repeat(60));
    assert_eq!(run(&deeper), "refused: too large");
}
