//! Values as the Java library prints them: `{Arg1=1, Arg2=[]}`, texts without quotes.

use crate::value::{Elements, Kind, Members, Val, Values, unescape};

/// A container of which some children are printed already.
enum Open<'a> {
    Array(Elements<'a>),
    Object(Members<'a>),
}

/// Appends `v` to `out` as Java's `toString` has it; numbers keep their text.
pub(crate) fn write(values: Values<'_>, v: Val, out: &mut String) {
    // An explicit stack: the depth is the user's.
    let mut open = Vec::new();
    let mut separator = "";
    begin(values, v, out, &mut open);
    while let Some(container) = open.last_mut() {
        let child = match container {
            Open::Array(elements) => elements.next(),
            Open::Object(members) => members.next().map(|(key, child)| {
                out.push_str(separator);
                separator = "";
                out.push_str(&unescape(values.key_text(key)));
                out.push('=');
                child
            }),
        };
        match child {
            Some(child) => {
                out.push_str(separator);
                let depth = open.len();
                begin(values, child, out, &mut open);
                separator = if open.len() > depth { "" } else { ", " };
            }
            None => {
                out.push(match container {
                    Open::Array(_) => ']',
                    Open::Object(_) => '}',
                });
                open.pop();
                separator = ", ";
            }
        }
    }
}

/// Prints a scalar, or opens a container.
fn begin<'a>(values: Values<'a>, v: Val, out: &mut String, open: &mut Vec<Open<'a>>) {
    match values.kind(v) {
        Kind::Array => {
            out.push('[');
            open.push(Open::Array(values.elements(v)));
        }
        Kind::Object => {
            out.push('{');
            open.push(Open::Object(values.members(v)));
        }
        Kind::String => out.push_str(&values.string(v).unwrap_or_default()),
        Kind::Null | Kind::False | Kind::True | Kind::Number => out.push_str(values.text(v)),
    }
}

/// The Java class that the library reports for a value.
pub(super) fn class(values: Values<'_>, v: Val) -> &'static str {
    match values.kind(v) {
        Kind::Null => "null",
        Kind::False | Kind::True => "java.lang.Boolean",
        Kind::String => "java.lang.String",
        Kind::Array => "java.util.ArrayList",
        Kind::Object => "java.util.LinkedHashMap",
        Kind::Number => {
            let text = values.text(v);
            if text.contains(['.', 'e', 'E']) {
                "java.lang.Double"
            } else if text.parse::<i32>().is_ok() {
                "java.lang.Integer"
            } else if text.parse::<i64>().is_ok() {
                "java.lang.Long"
            } else {
                "java.math.BigInteger"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Doc;

    #[test]
    fn like_a_java_map() {
        for (json, text) in [
            (r#"{"Arg1":1,"Arg2":[]}"#, "{Arg1=1, Arg2=[]}"),
            (
                r#"[[],[1],{"a":{}},{"b":[null,true]}, "x"]"#,
                "[[], [1], {a={}}, {b=[null, true]}, x]",
            ),
            (
                r#"{"a":"q\"\n","b\"":[[1,2],[3]],"c":1.50}"#,
                "{a=q\"\n, b\"=[[1, 2], [3]], c=1.50}",
            ),
            ("\"plain\"", "plain"),
            ("null", "null"),
        ] {
            let constants = Doc::new();
            let mut doc = Doc::new();
            let v = doc.ingest(json.as_bytes()).unwrap();
            let values = Values {
                doc: &doc,
                constants: &constants,
            };
            let mut out = String::new();
            write(values, v, &mut out);
            assert_eq!(out, text);
        }
    }
}
