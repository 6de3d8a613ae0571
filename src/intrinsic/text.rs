//! `States.Format`, `States.StringSplit`.

use super::{ARGUMENT_BYTES_MAX, Scope};
use crate::path::java;
use crate::value::{Kind, Val, Values};

/// A part of a template.
enum Piece<'t> {
    Text(&'t str),
    /// `{}`
    Placeholder,
}

/// Takes a template apart; `\{`, `\}` and `\\` are the characters themselves, and a brace alone is text.
fn pieces<'t>(template: &'t str, mut sink: impl FnMut(Piece<'t>)) {
    let mut rest = template;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'{' | b'\\')) {
        let (text, from) = rest.split_at(at);
        let (skip, len) = match from.as_bytes() {
            [b'{', b'}', ..] => (2, 0),
            [b'\\', b'{' | b'}' | b'\\', ..] => (1, 2),
            _ => (0, 1),
        };
        if !text.is_empty() {
            sink(Piece::Text(text));
        }
        sink(if skip == 2 {
            Piece::Placeholder
        } else {
            Piece::Text(&from[skip..len])
        });
        rest = &from[skip.max(len)..];
    }
    if !rest.is_empty() {
        sink(Piece::Text(rest));
    }
}

/// Each `{}` of the template is replaced by the argument at its place.
pub(super) fn format(
    scope: &mut Scope<'_>,
    template: Val,
    arguments: &[Val],
) -> Result<Val, String> {
    if template.is_constant() {
        // A literal template, as most are, can be read while the text grows beside it.
        let constants = scope.constants;
        let values = Values {
            doc: constants,
            constants,
        };
        return match values.string(template) {
            Some(text) => fill(scope, &text, arguments),
            None => Err(scope.wrong(template, "a string")),
        };
    }
    let text = scope.string(template)?.into_owned();
    fill(scope, &text, arguments)
}

fn fill(scope: &mut Scope<'_>, template: &str, arguments: &[Val]) -> Result<Val, String> {
    let values = scope.values();
    let total: usize = arguments.iter().map(|v| values.size(*v)).sum();
    // White space after the commas of a printed container adds less than its own size.
    if total > ARGUMENT_BYTES_MAX / 2 {
        return Err("The arguments are too large".to_owned());
    }
    let mut placeholders = 0;
    let mark = scope.doc.begin_string();
    pieces(template, |piece| match piece {
        Piece::Text(text) => scope.doc.extend_string(text),
        Piece::Placeholder => {
            if let Some(argument) = arguments.get(placeholders) {
                print(scope, *argument);
            }
            placeholders += 1;
        }
    });
    let filled = scope.doc.end_string(mark);
    if placeholders != arguments.len() {
        return Err(format!(
            "The template has {placeholders} placeholders, but there are {} arguments for them",
            arguments.len()
        ));
    }
    Ok(filled)
}

/// Appends an argument to the string that was begun.
fn print(scope: &mut Scope<'_>, argument: Val) {
    let values = scope.values();
    match values.kind(argument) {
        Kind::Array | Kind::Object => {
            let mut text = String::new();
            java::write(values, argument, &mut text);
            scope.doc.extend_string(&text);
        }
        Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::String => {
            scope.doc.extend_string_with(scope.constants, argument);
        }
    }
}

/// Every character of `splitters` divides; empty parts are dropped.
pub(super) fn split(scope: &mut Scope<'_>, data: Val, splitters: Val) -> Result<Val, String> {
    let text = scope.string(data)?.into_owned();
    let mut characters: Vec<char> = scope.string(splitters)?.chars().collect();
    characters.sort_unstable();
    let parts: Vec<Val> = text
        .split(|c| characters.binary_search(&c).is_ok())
        .filter(|part| !part.is_empty())
        .map(|part| scope.doc.push_string(part))
        .collect();
    Ok(scope.doc.push_array(scope.constants, &parts))
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn templates() {
        for (template, shown) in [
            ("", ""),
            ("a{}b", "a<>b"),
            ("{}{}", "<><>"),
            (r"\{\}{}\\{}", r"{}<>\<>"),
            ("{ } }{", "{ } }{"),
            (r"a\b\", r"a\b\"),
            ("é{}é", "é<>é"),
        ] {
            let mut out = String::new();
            pieces(template, |piece| {
                out.push_str(match piece {
                    Piece::Text(text) => text,
                    Piece::Placeholder => "<>",
                });
            });
            assert_eq!(out, shown, "{template}");
        }
    }

    #[test]
    fn recorded() {
        let format = "States.Format('Formatting argument {}.', $)";
        let split = "States.StringSplit($.a, $.b)";
        check(&[
            (format, r#""""#, r#""Formatting argument .""#),
            (format, r#"" ""#, r#""Formatting argument  .""#),
            (format, "null", r#""Formatting argument null.""#),
            (format, "1", r#""Formatting argument 1.""#),
            (format, "1.1", r#""Formatting argument 1.1.""#),
            (
                format,
                r#""{\"Arg1\": 1, \"Arg2\": []}""#,
                r#""Formatting argument {\"Arg1\": 1, \"Arg2\": []}.""#,
            ),
            (
                format,
                r#"{"Id":"arn:x","Name":"n"}"#,
                r#""Formatting argument {Id=arn:x, Name=n}.""#,
            ),
            (
                "States.Format('Hello {}, welcome to {}!', $.name, $.place)",
                r#"{"name":"John","place":"there"}"#,
                r#""Hello John, welcome to there!""#,
            ),
            ("States.Format('Format:{}', 101)", "{}", r#""Format:101""#),
            (split, r#"{"a":" ","b":","}"#, r#"[" "]"#),
            (split, r#"{"a":", , ,","b":","}"#, r#"[" "," "]"#),
            (split, r#"{"a":",,,,","b":","}"#, "[]"),
            (split, r#"{"a":"1,2,3","b":","}"#, r#"["1","2","3"]"#),
            (
                split,
                r#"{"a":"This.is+a,test=string","b":".+,="}"#,
                r#"["This","is","a","test","string"]"#,
            ),
            (
                split,
                r#"{"a":"split on T and \nnew line","b":"T\n"}"#,
                r#"["split on "," and ","new line"]"#,
            ),
            (
                "States.StringSplit($, ',')",
                r#""Value3\nValue4,Value6\n,,,\ntrue,'HelloWorld'\nNull,\n   \n""#,
                r#"["Value3\nValue4","Value6\n","\ntrue","'HelloWorld'\nNull","\n   \n"]"#,
            ),
        ]);
    }

    #[test]
    fn documented() {
        check(&[
            (
                "States.Format($.t, $.x)",
                r#"{"t":"<{}>","x":[1,"a"]}"#,
                r#""<[1, a]>""#,
            ),
            ("States.Format($.t, 'x')", r#"{"t":"\\{{}\\}"}"#, r#""{x}""#),
            (
                r"States.Format('it\'s \{{}\} \\', $)",
                "true",
                r#""it's {true} \\""#,
            ),
            ("States.Format('{}', $)", r#""q\"\n""#, r#""q\"\n""#),
            ("States.Format('{}{}', $)", "1", "!2 placeholders"),
            ("States.Format('', $)", "1", "!0 placeholders"),
            ("States.Format($)", "1", "!must be a string"),
            ("States.StringSplit('abc', '')", "1", r#"["abc"]"#),
            ("States.StringSplit('', '')", "1", "[]"),
            ("States.StringSplit('aéb', 'é')", "1", r#"["a","b"]"#),
            ("States.StringSplit($, ',')", "1", "!must be a string"),
        ]);
    }
}
