//! `States.JsonMerge`, `States.StringToJson`, `States.JsonToString`.

use super::Scope;
use crate::stdx::FixedMap;
use crate::value::{Kind, Val};

/// A shallow merge: the second object's members win.
pub(super) fn merge(
    scope: &mut Scope<'_>,
    first: Val,
    second: Val,
    deep: Val,
) -> Result<Val, String> {
    let (first, second) = (scope.object(first)?, scope.object(second)?);
    let values = scope.values();
    match values.kind(deep) {
        Kind::False => {}
        Kind::True => {
            return Err(
                "Deep merging is not supported; the third argument must be false".to_owned(),
            );
        }
        Kind::Null | Kind::Number | Kind::String | Kind::Array | Kind::Object => {
            return Err(scope.wrong(deep, "a boolean"));
        }
    }
    let mut members: Vec<_> = values.members(first).collect();
    let places: FixedMap<&str, usize> = members
        .iter()
        .enumerate()
        .map(|(place, (key, _))| (values.key_text(*key), place))
        .collect();
    for (key, value) in values.members(second) {
        match places.get(values.key_text(key)) {
            Some(place) => members[*place].1 = value,
            None => members.push((key, value)),
        }
    }
    Ok(scope.doc.push_object(scope.constants, &members))
}

/// The value of a JSON text; blank text is null.
pub(super) fn from_string(scope: &mut Scope<'_>, data: Val) -> Result<Val, String> {
    let text = scope.string(data)?;
    match text.trim() {
        "" => Ok(Val::NULL),
        // Java has no negative zero among integers.
        "-0" => Ok(scope.doc.push_i64(0)),
        _ => {
            let text = text.into_owned();
            scope
                .doc
                .ingest(text.as_bytes())
                .map_err(|error| format!("Invalid JSON provided: {error}"))
        }
    }
}

/// The value as compact JSON.
pub(super) fn to_string(scope: &mut Scope<'_>, data: Val) -> Result<Val, String> {
    let json = scope.values().to_json(data);
    Ok(scope.doc.push_string(&json))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, run};

    #[test]
    fn recorded() {
        check(&[
            (
                "States.JsonMerge($.a, $.b, false)",
                r#"{"a":{"a":{"a1":1,"a2":2},"b":2,"d":3},"b":{"a":{"a3":1,"a4":2},"c":3,"d":4}}"#,
                r#"{"a":{"a3":1,"a4":2},"b":2,"d":4,"c":3}"#,
            ),
            (
                "States.StringToJson($)",
                r#""{\"key\":\"value\"}""#,
                r#"{"key":"value"}"#,
            ),
            ("States.StringToJson($)", r#""""#, "null"),
            ("States.StringToJson($)", r#"" ""#, "null"),
            ("States.StringToJson($)", r#""-0""#, "0"),
            ("States.StringToJson($)", r#""1.1""#, "1.1"),
            (
                "States.StringToJson($)",
                r#""[1, 2, \"HelloWorld\"]""#,
                r#"[1,2,"HelloWorld"]"#,
            ),
            ("States.JsonToString($)", "null", r#""null""#),
            ("States.JsonToString($)", "1.1", r#""1.1""#),
            (
                "States.JsonToString($)",
                r#""HelloWorld""#,
                r#""\"HelloWorld\"""#,
            ),
            (
                "States.JsonToString($)",
                r#"[1, 2, "HelloWorld"]"#,
                r#""[1,2,\"HelloWorld\"]""#,
            ),
            (
                "States.JsonToString($)",
                r#"{"Arg1": 1, "Arg2": []}"#,
                r#""{\"Arg1\":1,\"Arg2\":[]}""#,
            ),
        ]);
    }

    #[test]
    fn documented() {
        check(&[
            ("States.JsonMerge($, $, true)", "{}", "!Deep merging"),
            ("States.JsonMerge($, $, false)", "[]", "!must be an object"),
            (
                "States.JsonMerge($.a, $.a, $.a)",
                r#"{"a":{}}"#,
                "!must be a boolean",
            ),
            ("States.JsonMerge($, $, false)", "{}", "{}"),
            ("States.StringToJson($)", r#""{""#, "!Invalid JSON"),
            ("States.StringToJson($)", "1", "!must be a string"),
            (r"States.StringToJson('\{\}')", "1", "{}"),
        ]);
        let deep = format!("\"{}\"", "[".repeat(100_000));
        assert!(run("States.StringToJson($)", &deep).is_err());
    }
}
