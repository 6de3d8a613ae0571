//! Text to [`Filter`]: `(@.a == 1 && (@.b || !(@.c)))`.

use super::cursor::Cursor;
use super::filter::{BooleanExpr, Filter, Literal, NumberLiteral, Operand, Operator, Regex};
use super::{REGEX_BYTES_MAX, SyntaxError, parse};

/// What follows `[?`.
pub(super) fn filter(cursor: &mut Cursor<'_>) -> Result<Filter, SyntaxError> {
    cursor.skip_spaces();
    cursor.expect("(")?;
    let expression = cursor.nested(or)?;
    cursor.skip_spaces();
    cursor.expect(")")?;
    Ok(Filter { expression })
}

fn or(cursor: &mut Cursor<'_>) -> Result<BooleanExpr, SyntaxError> {
    let mut terms = vec![and(cursor)?];
    loop {
        cursor.skip_spaces();
        if !cursor.eat("||") {
            break;
        }
        terms.push(and(cursor)?);
    }
    Ok(match <[BooleanExpr; 1]>::try_from(terms) {
        Ok([only]) => only,
        Err(terms) => BooleanExpr::Or(terms.into()),
    })
}

fn and(cursor: &mut Cursor<'_>) -> Result<BooleanExpr, SyntaxError> {
    let mut terms = vec![unary(cursor)?];
    loop {
        cursor.skip_spaces();
        if !cursor.eat("&&") {
            break;
        }
        terms.push(unary(cursor)?);
    }
    Ok(match <[BooleanExpr; 1]>::try_from(terms) {
        Ok([only]) => only,
        Err(terms) => BooleanExpr::And(terms.into()),
    })
}

fn unary(cursor: &mut Cursor<'_>) -> Result<BooleanExpr, SyntaxError> {
    cursor.skip_spaces();
    if cursor.eat("!") {
        return Ok(BooleanExpr::Not(Box::new(cursor.nested(unary)?)));
    }
    if cursor.eat("(") {
        let inner = cursor.nested(or)?;
        cursor.skip_spaces();
        cursor.expect(")")?;
        return Ok(inner);
    }
    relation(cursor)
}

/// `left operator right`, or a path alone.
fn relation(cursor: &mut Cursor<'_>) -> Result<BooleanExpr, SyntaxError> {
    let start = cursor.at;
    let left = operand(cursor)?;
    cursor.skip_spaces();
    let Some(operator) = operator(cursor)? else {
        return match left {
            Operand::Path(path) => Ok(BooleanExpr::Exists(path)),
            Operand::Literal(_) | Operand::Regex(_) => {
                Err(cursor.error_at(start, "expected a comparison"))
            }
        };
    };
    cursor.skip_spaces();
    let right_at = cursor.at;
    let right = operand(cursor)?;
    let regexes = [&left, &right]
        .iter()
        .filter(|side| matches!(side, Operand::Regex(_)))
        .count();
    let wanted = usize::from(operator == Operator::Matches);
    if regexes != wanted {
        let message = "'=~' takes one regular expression, other operators none";
        return Err(cursor.error_at(right_at, message));
    }
    Ok(BooleanExpr::Relation {
        left,
        operator,
        right,
    })
}

/// The operator that comes next, if any.
fn operator(cursor: &mut Cursor<'_>) -> Result<Option<Operator>, SyntaxError> {
    const SIGNS: [(&str, Operator); 9] = [
        ("===", Operator::SameKindEqual),
        ("!==", Operator::SameKindNotEqual),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("=~", Operator::Matches),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];
    for (sign, operator) in SIGNS {
        if cursor.eat(sign) {
            return Ok(Some(operator));
        }
    }
    let start = cursor.at;
    let word = cursor.take_while(char::is_alphabetic);
    if word.is_empty() {
        return Ok(None);
    }
    match word.to_ascii_lowercase().as_str() {
        "in" => Ok(Some(Operator::In)),
        "nin" => Ok(Some(Operator::NotIn)),
        "all" => Ok(Some(Operator::All)),
        "subsetof" => Ok(Some(Operator::SubsetOf)),
        "anyof" => Ok(Some(Operator::AnyOf)),
        "noneof" => Ok(Some(Operator::NoneOf)),
        "contains" => Ok(Some(Operator::Contains)),
        "size" => Ok(Some(Operator::Size)),
        "empty" => Ok(Some(Operator::Empty)),
        _ => Err(cursor.error_at(start, format!("there is no operator '{word}'"))),
    }
}

fn operand(cursor: &mut Cursor<'_>) -> Result<Operand, SyntaxError> {
    match cursor.peek() {
        Some('@' | '$') => Ok(Operand::Path(cursor.nested(parse::filter_path)?)),
        Some('/') => Ok(Operand::Regex(regex(cursor)?)),
        Some(_) | None => Ok(Operand::Literal(literal(cursor)?)),
    }
}

/// A string, a number, `true`, `false`, `null` or an array of such.
pub(super) fn literal(cursor: &mut Cursor<'_>) -> Result<Literal, SyntaxError> {
    match cursor.peek() {
        Some('\'' | '"') => Ok(Literal::String(cursor.quoted()?.into())),
        Some('[') => cursor.nested(array),
        Some('-' | '0'..='9') => number(cursor),
        Some(c) if c.is_ascii_alphabetic() => {
            let start = cursor.at;
            match cursor.take_while(|c| c.is_alphanumeric()) {
                "true" => Ok(Literal::Bool(true)),
                "false" => Ok(Literal::Bool(false)),
                "null" => Ok(Literal::Null),
                _ => Err(cursor.error_at(start, "expected a value or a path")),
            }
        }
        Some(_) | None => Err(cursor.error("expected a value or a path")),
    }
}

fn array(cursor: &mut Cursor<'_>) -> Result<Literal, SyntaxError> {
    let start = cursor.at;
    cursor.bump();
    cursor.skip_spaces();
    let mut items = Vec::new();
    if cursor.eat("]") {
        return Ok(Literal::Array(items.into()));
    }
    loop {
        cursor.skip_spaces();
        items.push(literal(cursor)?);
        cursor.skip_spaces();
        if cursor.eat("]") {
            return Ok(Literal::Array(items.into()));
        }
        if cursor.peek().is_none() {
            return Err(cursor.error_at(start, "this bracket is never closed"));
        }
        cursor.expect(",")?;
    }
}

fn number(cursor: &mut Cursor<'_>) -> Result<Literal, SyntaxError> {
    let start = cursor.at;
    cursor.eat("-");
    let whole = cursor.take_while(|c| c.is_ascii_digit());
    let mut valid = !whole.is_empty() && (whole.len() == 1 || !whole.starts_with('0'));
    if cursor.eat(".") {
        valid &= !cursor.take_while(|c| c.is_ascii_digit()).is_empty();
    }
    if cursor.eat("e") || cursor.eat("E") {
        let _signed = cursor.eat("+") || cursor.eat("-");
        valid &= !cursor.take_while(|c| c.is_ascii_digit()).is_empty();
    }
    let text = &cursor.text[start..cursor.at];
    match NumberLiteral::parse(text) {
        Some(number) if valid => Ok(Literal::Number(number)),
        Some(_) | None => Err(cursor.error_at(start, "this is not a number")),
    }
}

/// `/pattern/flags`
fn regex(cursor: &mut Cursor<'_>) -> Result<Regex, SyntaxError> {
    let start = cursor.at;
    cursor.bump();
    let mut pattern = String::new();
    loop {
        pattern.push_str(cursor.take_while(|c| c != '/' && c != '\\'));
        match cursor.bump() {
            None => return Err(cursor.error_at(start, "this regular expression is never closed")),
            Some('\\') => {
                // `\/` is the delimiter itself; every other escape belongs to the expression.
                if !cursor.eat("/") {
                    pattern.push('\\');
                    pattern.extend(cursor.bump());
                } else {
                    pattern.push('/');
                }
            }
            Some(_) => break,
        }
    }
    let flags_at = cursor.at;
    let flags = cursor.take_while(|c| c.is_ascii_alphabetic());
    compile(&pattern, flags).map_err(|message| {
        let at = if message.starts_with("flag") {
            flags_at
        } else {
            start
        };
        cursor.error_at(at, message)
    })
}

/// Java's `matches()`: the expression must cover the whole text.
fn compile(pattern: &str, flags: &str) -> Result<Regex, String> {
    // The newline ends a comment of the `x` flag before it can swallow the closing parenthesis.
    let whole = format!("\\A(?:{pattern}\n)\\z");
    let exact = format!("\\A(?:{pattern})\\z");
    let verbose = flags.contains('x');
    let mut builder = regex::RegexBuilder::new(if verbose { &whole } else { &exact });
    builder.size_limit(REGEX_BYTES_MAX);
    builder.dfa_size_limit(REGEX_BYTES_MAX);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            // Unicode classes and case, and `\n` as the only line end, are how the expressions work here anyway.
            'u' | 'U' | 'd' => &mut builder,
            _ => return Err(format!("flag '{flag}' is not known")),
        };
    }
    match builder.build() {
        Ok(regex) => Ok(Regex {
            source: format!("/{pattern}/{flags}").into(),
            regex,
        }),
        Err(regex::Error::CompiledTooBig(_)) => {
            Err("this regular expression is too large".to_owned())
        }
        Err(_) => Err(
            "this is not a regular expression (look-around and back-references are not supported)"
                .to_owned(),
        ),
    }
}
