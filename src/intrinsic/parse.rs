//! Text to [`Call`]: names, argument counts, literals.

use super::{Argument, CALL_BYTES_MAX, CALL_DEPTH_MAX, Call, Function, SyntaxError};
use crate::path::Path;

/// Parses a whole intrinsic expression; checks the name, the argument count, the kinds of literals and the nesting.
///
/// # Errors
///
/// If the text is not one call of one of the 18 functions, or if literal arguments cannot be right.
pub fn parse(text: &str) -> Result<Call, SyntaxError> {
    if text.len() > CALL_BYTES_MAX {
        return Err(SyntaxError {
            offset: CALL_BYTES_MAX,
            message: format!("an intrinsic function is at most {CALL_BYTES_MAX} bytes long"),
        });
    }
    let mut parser = Parser { text, at: 0 };
    let call = parser.call(1)?;
    parser.skip_spaces();
    if parser.at < text.len() {
        return Err(parser.error("unexpected text after the closing parenthesis"));
    }
    Ok(call)
}

/// True if `text` is meant to be an intrinsic call (starts with `States.`).
#[must_use]
pub fn is_call(text: &str) -> bool {
    text.starts_with("States.")
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn skip_spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError {
            offset: self.at,
            message: message.into(),
        }
    }

    /// `States.Name(arguments)`; `depth` counts this call, and recursion ends at [`CALL_DEPTH_MAX`].
    fn call(&mut self, depth: usize) -> Result<Call, SyntaxError> {
        let start = self.at;
        if depth > CALL_DEPTH_MAX {
            return Err(self.error(format!(
                "intrinsic functions nest at most {CALL_DEPTH_MAX} deep"
            )));
        }
        let name = self.take_while(|c| c.is_alphanumeric() || c == '.' || c == '_');
        let Some(function) = Function::from_name(name) else {
            return Err(SyntaxError {
                offset: start,
                message: format!("there is no intrinsic function '{name}'"),
            });
        };
        if !self.eat('(') {
            return Err(self.error("expected '('"));
        }
        let mut arguments = Vec::new();
        self.skip_spaces();
        if !self.eat(')') {
            loop {
                self.skip_spaces();
                let at = self.at;
                let index = arguments.len();
                let argument = self.argument(function, index, depth)?;
                check_literal(function, index, &argument).map_err(|message| SyntaxError {
                    offset: at,
                    message,
                })?;
                arguments.push(argument);
                self.skip_spaces();
                if self.eat(')') {
                    break;
                }
                if !self.eat(',') {
                    return Err(self.error("expected ',' or ')'"));
                }
            }
        }
        check_count(function, arguments.len()).map_err(|message| SyntaxError {
            offset: start,
            message,
        })?;
        Ok(Call {
            function,
            arguments,
            text: self.text[start..self.at].into(),
        })
    }

    fn argument(
        &mut self,
        function: Function,
        index: usize,
        depth: usize,
    ) -> Result<Argument, SyntaxError> {
        match self.peek() {
            Some('\'') => {
                let template = function == Function::Format && index == 0;
                self.string(template).map(Argument::String)
            }
            Some('$') => {
                let (path, len) = Path::parse_prefix(self.rest()).map_err(|error| SyntaxError {
                    offset: self.at + error.offset,
                    message: error.message,
                })?;
                self.at += len;
                Ok(Argument::Path(path))
            }
            Some('-' | '0'..='9') => self.number(),
            Some('S') => Ok(Argument::Call(Box::new(self.call(depth + 1)?))),
            Some(_) => {
                let start = self.at;
                match self.take_while(char::is_alphanumeric) {
                    "true" => Ok(Argument::Bool(true)),
                    "false" => Ok(Argument::Bool(false)),
                    "null" => Ok(Argument::Null),
                    _ => {
                        self.at = start;
                        Err(self.error(
                            "expected a path, a 'text', a number, true, false, null or an intrinsic function",
                        ))
                    }
                }
            }
            None => Err(self.error("this call is never closed")),
        }
    }

    /// A text in single quotes. A Format template keeps `\{`, `\}` and `\\` for [`super::call`], which alone can tell
    /// an escaped brace from a placeholder.
    fn string(&mut self, template: bool) -> Result<Box<str>, SyntaxError> {
        let start = self.at;
        self.eat('\'');
        let mut out = String::new();
        loop {
            out.push_str(self.take_while(|c| c != '\'' && c != '\\'));
            if self.eat('\'') {
                return Ok(out.into());
            }
            if !self.eat('\\') {
                self.at = start;
                return Err(self.error("this text is never closed"));
            }
            match self.peek() {
                Some(c @ ('\'' | '{' | '}' | '\\')) => {
                    if template && c != '\'' {
                        out.push('\\');
                    }
                    out.push(c);
                    self.at += c.len_utf8();
                }
                Some(_) | None => {
                    return Err(self.error("only ' { } and \\ may follow a backslash"));
                }
            }
        }
    }

    fn number(&mut self) -> Result<Argument, SyntaxError> {
        let start = self.at;
        self.eat('-');
        let whole = self.take_while(|c| c.is_ascii_digit());
        let mut valid = !whole.is_empty() && (whole.len() == 1 || !whole.starts_with('0'));
        if self.eat('.') {
            valid &= !self.take_while(|c| c.is_ascii_digit()).is_empty();
        }
        if self.eat('e') || self.eat('E') {
            let _signed = self.eat('+') || self.eat('-');
            valid &= !self.take_while(|c| c.is_ascii_digit()).is_empty();
        }
        if valid {
            return Ok(Argument::Number(self.text[start..self.at].into()));
        }
        self.at = start;
        Err(self.error("this is not a number"))
    }
}

fn check_count(function: Function, count: usize) -> Result<(), String> {
    let (least, most) = function.argument_counts();
    if (least..=most).contains(&count) {
        return Ok(());
    }
    let wanted = match (least, most) {
        (1, usize::MAX) => "at least one argument".to_owned(),
        (0, _) => "no arguments".to_owned(),
        (1, _) => "one argument".to_owned(),
        _ if least == most => format!("{least} arguments"),
        _ => format!("{least} or {most} arguments"),
    };
    Err(format!("{} takes {wanted}, not {count}", function.name()))
}

/// What a literal must be at one place of one function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    Array,
    Object,
    Number,
    String,
    Bool,
}

fn wanted(function: Function, index: usize) -> Wanted {
    match (function, index) {
        (
            Function::ArrayPartition
            | Function::ArrayContains
            | Function::ArrayGetItem
            | Function::ArrayLength
            | Function::ArrayUnique,
            0,
        ) => Wanted::Array,
        (Function::ArrayPartition | Function::ArrayGetItem, 1)
        | (Function::ArrayRange | Function::MathRandom | Function::MathAdd, _) => Wanted::Number,
        (
            Function::Base64Encode
            | Function::Base64Decode
            | Function::StringToJson
            | Function::Format,
            0,
        )
        | (Function::StringSplit, _)
        | (Function::Hash, 1) => Wanted::String,
        (Function::JsonMerge, 0 | 1) => Wanted::Object,
        (Function::JsonMerge, _) => Wanted::Bool,
        _ => Wanted::Any,
    }
}

/// Paths and calls can be anything; a literal that can never be right is an error of the definition.
fn check_literal(function: Function, index: usize, argument: &Argument) -> Result<(), String> {
    let wanted = wanted(function, index);
    let given = match argument {
        Argument::Path(_) | Argument::Call(_) => return Ok(()),
        Argument::String(_) => Wanted::String,
        Argument::Number(_) => Wanted::Number,
        Argument::Bool(_) => Wanted::Bool,
        Argument::Null => Wanted::Any,
    };
    if wanted == Wanted::Any || wanted == given {
        return Ok(());
    }
    let kind = match wanted {
        Wanted::Array => "an array",
        Wanted::Object => "an object",
        Wanted::Number => "a number",
        Wanted::String => "a string",
        Wanted::Bool => "a boolean",
        Wanted::Any => "a value",
    };
    Err(format!(
        "argument {} of {} must be {kind}",
        index + 1,
        function.name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn arguments() {
        let text =
            r"States.Format( 'it\'s \{{}\} \\' ,$.a['b,)'] , -1.5e3,true,false,null,States.UUID())";
        let call = parse(text).unwrap();
        assert_eq!((call.function, &*call.text), (Function::Format, text));
        let shown: Vec<String> = call
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Path(path) => path.text().to_owned(),
                Argument::String(text) => format!("{text:?}"),
                Argument::Number(text) => text.to_string(),
                Argument::Bool(value) => value.to_string(),
                Argument::Null => "null".to_owned(),
                Argument::Call(call) => call.text.to_string(),
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#""it's \\{{}\\} \\\\""#,
                "$.a['b,)']",
                "-1.5e3",
                "true",
                "false",
                "null",
                "States.UUID()"
            ]
        );
        let decoded = parse(r"States.StringToJson('\{\}\\\'')").unwrap();
        assert_eq!(decoded.arguments, [Argument::String(r"{}\'".into())]);
    }

    #[test]
    fn nesting() {
        let nested = |depth: usize| {
            let open = "States.Array(".repeat(depth);
            parse(&format!("{open}{}", ")".repeat(depth)))
        };
        assert!(nested(CALL_DEPTH_MAX).is_ok());
        assert_eq!(nested(CALL_DEPTH_MAX + 1).unwrap_err().offset, 130);
        assert!(nested(10_000).is_err());
    }

    #[test]
    fn rejected() {
        for (text, offset, message) in [
            ("", 0, "no intrinsic function"),
            ("States.Nope()", 0, "no intrinsic function 'States.Nope'"),
            ("States.Array", 12, "expected '('"),
            ("States.Array(", 13, "never closed"),
            ("States.Array($.a", 16, "expected ',' or ')'"),
            ("States.Array($.a,)", 17, "expected a path"),
            ("States.Array('a", 13, "never closed"),
            (r"States.Array('\n')", 15, "may follow a backslash"),
            (
                r#"States.StringToJson('{"text":"An \"escaped double quote\" here"}')"#,
                34,
                "may follow a backslash",
            ),
            ("States.Array(01)", 13, "not a number"),
            ("States.Array(1.)", 13, "not a number"),
            ("States.Array(yes)", 13, "expected a path"),
            ("States.Array() x", 15, "unexpected text"),
            ("States.Array($.a[)", 17, "in quotes"),
            ("States.UUID(1)", 0, "takes no arguments, not 1"),
            ("States.ArrayLength()", 0, "takes one argument, not 0"),
            ("States.Format()", 0, "at least one argument"),
            ("States.MathRandom(1)", 0, "2 or 3 arguments"),
            ("States.Array(States.MathAdd(1))", 13, "2 arguments"),
            ("States.MathAdd('1', 2)", 15, "must be a number"),
            ("States.ArrayLength('a')", 19, "must be an array"),
            ("States.Hash('a', 5)", 17, "must be a string"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {error}");
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>(), call in "(States\\.(Array|Format|UUID|MathAdd)|[$.'a1(),{}\\[\\]\\\\ é-]){0,30}") {
            for text in [text, call] {
                if let Err(error) = parse(&text) {
                    prop_assert!(error.offset <= text.len());
                }
            }
        }
    }
}
