//! `States.Format`, `States.StringSplit`.

use super::{ARGUMENT_BYTES_MAX, Scope};
use crate::path::java;
use crate::value::{Kind, Val, escape};

/// A template of `States.Format`, taken apart.
#[derive(Debug)]
pub(crate) struct Format {
    pieces: Box<[Piece]>,
    placeholders: usize,
    /// True if there are escapes in the text.
    is_escaped: bool,
}

/// A part of a template.
#[derive(Debug)]
enum Piece {
    /// As it stands in a JSON string.
    Text(Box<str>),
    /// `{}`
    Placeholder,
}

impl Format {
    /// Takes a template apart; `\{`, `\}` and `\\` are the characters themselves, and a brace alone is text.
    pub(crate) fn new(template: &str) -> Format {
        let (mut pieces, mut text) = (Vec::new(), String::new());
        let mut rest = template;
        while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'{' | b'\\')) {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let len = match rest.as_bytes() {
                [b'{', b'}', ..] => {
                    put_text(&mut pieces, &mut text);
                    pieces.push(Piece::Placeholder);
                    2
                }
                [b'\\', b'{' | b'}' | b'\\', ..] => {
                    text.push_str(&rest[1..2]);
                    2
                }
                _ => {
                    text.push_str(&rest[..1]);
                    1
                }
            };
            rest = &rest[len..];
        }
        text.push_str(rest);
        put_text(&mut pieces, &mut text);
        let is_placeholder = |piece: &&Piece| matches!(piece, Piece::Placeholder);
        let is_escaped = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains('\\'));
        Format {
            is_escaped: pieces.iter().any(is_escaped),
            placeholders: pieces.iter().filter(is_placeholder).count(),
            pieces: pieces.into(),
        }
    }

    /// How many arguments it takes.
    pub(crate) fn placeholders(&self) -> usize {
        self.placeholders
    }

    /// Puts in the arguments.
    pub(super) fn fill(&self, scope: &mut Scope<'_>, arguments: &[Val]) -> Result<Val, String> {
        let values = scope.values();
        let total: usize = arguments.iter().map(|v| values.size(*v)).sum();
        // White space after the commas of a printed container adds less than its own size.
        if total > ARGUMENT_BYTES_MAX / 2 {
            return Err("The arguments are too large".to_owned());
        }
        if self.placeholders != arguments.len() {
            return Err(format!(
                "The template has {} placeholders, but there are {} arguments for them",
                self.placeholders,
                arguments.len()
            ));
        }
        let mut rest = arguments.iter();
        let mut may_be_escaped = self.is_escaped;
        let mark = scope.doc.begin_string();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => scope.doc.extend_string_escaped(text),
                Piece::Placeholder => {
                    if let Some(argument) = rest.next() {
                        may_be_escaped |= print(scope, *argument);
                    }
                }
            }
        }
        Ok(match may_be_escaped {
            true => scope.doc.end_string(mark),
            false => scope.doc.end_string_known(mark, false),
        })
    }
}

/// Puts down the text between two placeholders, if there is some.
fn put_text(pieces: &mut Vec<Piece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(escape(text).into()));
        text.clear();
    }
}

/// Each `{}` of the template is replaced by the argument at its place.
pub(super) fn format(
    scope: &mut Scope<'_>,
    template: Val,
    arguments: &[Val],
) -> Result<Val, String> {
    let format = Format::new(&scope.string(template)?);
    format.fill(scope, arguments)
}

/// Appends an argument to the string that was begun. False if there are no escapes in it.
fn print(scope: &mut Scope<'_>, argument: Val) -> bool {
    let values = scope.values();
    match values.kind(argument) {
        Kind::Array | Kind::Object => {
            let mut text = String::new();
            java::write(values, argument, &mut text);
            scope.doc.extend_string(&text);
            true
        }
        Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::String => {
            let is_escaped = values.is_escaped(argument);
            scope.doc.extend_string_with(scope.constants, argument);
            is_escaped
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
            (r"\{\}{}\\{}", r"{}<>\\<>"),
            ("{ } }{", "{ } }{"),
            (r"a\b\", r"a\\b\\"),
            ("é{}é", "é<>é"),
        ] {
            let format = Format::new(template);
            let pieces = format.pieces.iter().map(|piece| match piece {
                Piece::Text(text) => text,
                Piece::Placeholder => "<>",
            });
            assert_eq!(pieces.collect::<String>(), shown, "{template}");
            assert_eq!(format.placeholders(), shown.matches("<>").count());
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
