//! Text to steps: roots, names, brackets, functions. Filters are in `parse_filter.rs`.

use super::cursor::Cursor;
use super::{
    FilterPath, Function, FunctionArgument, Origin, PATH_BYTES_MAX, Path, Root, Segment, Step,
    Steps, SyntaxError, parse_filter,
};
use crate::value::Name;

/// The path with which `text` starts, and where it ends.
pub(super) fn path(text: &str) -> Result<(Path, usize), SyntaxError> {
    let mut cursor = Cursor::new(text);
    let root = root(&mut cursor)?;
    let steps = steps(&mut cursor)?;
    let end = cursor.at;
    if end > PATH_BYTES_MAX {
        return Err(cursor.error_at(
            PATH_BYTES_MAX,
            format!("a path is at most {PATH_BYTES_MAX} bytes long"),
        ));
    }
    let text = text[..end].into();
    Ok((Path { root, steps, text }, end))
}

fn root(cursor: &mut Cursor<'_>) -> Result<Root, SyntaxError> {
    if !cursor.eat("$") {
        return Err(cursor.error("a path starts with '$'"));
    }
    if cursor.eat("$") {
        return Ok(Root::Context);
    }
    let name = cursor.take_while(|c| c.is_alphanumeric() || c == '_');
    if name.is_empty() {
        return Ok(Root::Input);
    }
    if name.starts_with(char::is_numeric) {
        return Err(cursor.error_at(1, "a variable's name does not start with a digit"));
    }
    Ok(Root::Variable(name.into()))
}

/// A path inside a filter: `@…` or `$…`.
pub(super) fn filter_path(cursor: &mut Cursor<'_>) -> Result<FilterPath, SyntaxError> {
    let start = cursor.at;
    let origin = match cursor.bump() {
        Some('@') => Origin::Current,
        Some('$') => Origin::Root,
        Some(_) | None => return Err(cursor.error_at(start, "expected '@' or '$'")),
    };
    let steps = steps(cursor)?;
    if let Steps::General(general) = &steps
        && let Some(Step::Names(_)) = general.last()
    {
        return Err(cursor.error_at(start, "a path in a filter cannot end with several names"));
    }
    Ok(FilterPath { origin, steps })
}

/// Everything after the root, up to the first character that cannot go on.
fn steps(cursor: &mut Cursor<'_>) -> Result<Steps, SyntaxError> {
    let mut steps = Vec::new();
    loop {
        match cursor.peek() {
            Some('.') => dot(cursor, &mut steps)?,
            Some('[') => steps.push(bracket(cursor)?),
            Some(_) | None => break,
        }
        if let Some(Step::Function(..)) = steps.last() {
            if let Some('.' | '[') = cursor.peek() {
                return Err(cursor.error("a function must be the last step of a path"));
            }
            break;
        }
    }
    Ok(split(steps))
}

/// Children and indexes only make a definite path.
fn split(steps: Vec<Step>) -> Steps {
    let segment = |step: &Step| match step {
        Step::Segment(segment) => Some(segment.clone()),
        Step::Names(_)
        | Step::Indexes(_)
        | Step::Slice { .. }
        | Step::Wildcard
        | Step::Descend
        | Step::Filter(_)
        | Step::Function(..) => None,
    };
    match steps.iter().map(segment).collect::<Option<Vec<_>>>() {
        Some(segments) => Steps::Definite(segments.into()),
        None => Steps::General(steps.into()),
    }
}

/// `.name`, `.*`, `.function()`, `..` and what must follow it; `.[…]` is `[…]`.
fn dot(cursor: &mut Cursor<'_>, steps: &mut Vec<Step>) -> Result<(), SyntaxError> {
    cursor.bump();
    if cursor.eat(".") {
        steps.push(Step::Descend);
    }
    match cursor.peek() {
        Some('*') => {
            cursor.bump();
            steps.push(Step::Wildcard);
        }
        Some('[') => steps.push(bracket(cursor)?),
        Some('.') => return Err(cursor.error("expected a name, '*' or '['")),
        Some(_) => {
            let start = cursor.at;
            let name = cursor.take_while(is_name);
            if name.is_empty() {
                return Err(cursor.error("expected a name, '*' or '['"));
            }
            if cursor.peek() == Some('(') {
                steps.push(function(cursor, name, start)?);
            } else {
                steps.push(Step::Segment(Segment::Child(Name::new(name))));
            }
        }
        None => return Err(cursor.error("a path does not end with '.'")),
    }
    Ok(())
}

/// Jayway lets a name run to the next blank, dot or bracket; what may follow a path in a filter or among arguments ends it too.
fn is_name(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !".[](){},'\"*?=<>!~&|".contains(c)
}

fn function(cursor: &mut Cursor<'_>, name: &str, start: usize) -> Result<Step, SyntaxError> {
    let function = match name {
        "length" | "size" => Function::Length,
        "min" => Function::Min,
        "max" => Function::Max,
        "avg" => Function::Avg,
        "sum" => Function::Sum,
        "stddev" => Function::Stddev,
        "keys" => Function::Keys,
        "concat" => Function::Concat,
        "append" => Function::Append,
        "first" => Function::First,
        "last" => Function::Last,
        "index" => Function::Index,
        other => return Err(cursor.error_at(start, format!("there is no function '{other}'"))),
    };
    cursor.bump();
    let mut arguments = Vec::new();
    cursor.skip_spaces();
    if !cursor.eat(")") {
        loop {
            cursor.skip_spaces();
            arguments.push(cursor.nested(function_argument)?);
            cursor.skip_spaces();
            if cursor.eat(")") {
                break;
            }
            cursor.expect(",")?;
        }
    }
    if function == Function::Index && arguments.len() != 1 {
        return Err(cursor.error_at(start, "index takes one argument"));
    }
    Ok(Step::Function(function, arguments.into()))
}

fn function_argument(cursor: &mut Cursor<'_>) -> Result<FunctionArgument, SyntaxError> {
    match cursor.peek() {
        Some('$' | '@') => Ok(FunctionArgument::Path(filter_path(cursor)?)),
        Some(_) | None => Ok(FunctionArgument::Literal(parse_filter::literal(cursor)?)),
    }
}

/// `[…]`
fn bracket(cursor: &mut Cursor<'_>) -> Result<Step, SyntaxError> {
    let start = cursor.at;
    cursor.bump();
    cursor.skip_spaces();
    let step = match cursor.peek() {
        Some('\'' | '"') => names(cursor)?,
        Some('*') => {
            cursor.bump();
            Step::Wildcard
        }
        Some('?') => {
            cursor.bump();
            Step::Filter(parse_filter::filter(cursor)?)
        }
        Some('-' | ':' | '0'..='9') => indexes(cursor)?,
        Some(']') => return Err(cursor.error("expected a name, an index, '*' or a filter")),
        Some(_) => return Err(cursor.error("a name in brackets stands in quotes")),
        None => return Err(cursor.error_at(start, "this bracket is never closed")),
    };
    cursor.skip_spaces();
    if cursor.peek().is_none() {
        return Err(cursor.error_at(start, "this bracket is never closed"));
    }
    cursor.expect("]")?;
    Ok(step)
}

/// `'a'` or `'a','b'`
fn names(cursor: &mut Cursor<'_>) -> Result<Step, SyntaxError> {
    let first = Name::new(&cursor.quoted()?);
    let mut names = vec![first];
    loop {
        cursor.skip_spaces();
        if !cursor.eat(",") {
            break;
        }
        cursor.skip_spaces();
        if !matches!(cursor.peek(), Some('\'' | '"')) {
            return Err(cursor.error("expected a name in quotes"));
        }
        let name = Name::new(&cursor.quoted()?);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(match <[Name; 1]>::try_from(names) {
        Ok([only]) => Step::Segment(Segment::Child(only)),
        Err(names) => Step::Names(names.into()),
    })
}

/// `0`, `-1`, `0,2`, `1:3`, `1:`, `:3`
fn indexes(cursor: &mut Cursor<'_>) -> Result<Step, SyntaxError> {
    let start = cursor.at;
    let first = match cursor.peek() {
        Some(':') => None,
        Some(_) | None => Some(cursor.integer()?),
    };
    cursor.skip_spaces();
    if cursor.eat(":") {
        cursor.skip_spaces();
        let to = match cursor.peek() {
            Some('-' | '0'..='9') => Some(cursor.integer()?),
            Some(_) | None => None,
        };
        cursor.skip_spaces();
        if cursor.peek() == Some(':') {
            return Err(cursor.error("a slice has no step"));
        }
        if first.is_none() && to.is_none() {
            return Err(cursor.error_at(start, "a slice needs a start or an end"));
        }
        return Ok(Step::Slice { from: first, to });
    }
    let Some(first) = first else {
        return Err(cursor.error("expected an index"));
    };
    let mut indexes = vec![first];
    while cursor.eat(",") {
        cursor.skip_spaces();
        indexes.push(cursor.integer()?);
        cursor.skip_spaces();
    }
    Ok(match indexes[..] {
        [only] => Step::Segment(Segment::Index(only)),
        _ => Step::Indexes(indexes.into()),
    })
}
