//! What stands on either side of a filter's operator, and how Jayway compares it.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::NotFound;
use super::eval::Walk;
use super::filter::{Literal, Number, Operator, Regex};
use crate::value::{Doc, Kind, Val, Values};

/// A value of a document, a literal of a path, or what was computed of them.
#[derive(Clone, Debug)]
pub(super) enum Item<'p> {
    /// A path that leads nowhere; it equals nothing, not even itself.
    Missing,
    Val(Val),
    Literal(&'p Literal),
    /// The matches of an indefinite path.
    List(Vec<Val>),
    Items(Vec<Item<'p>>),
    Number(Number),
    Text(String),
}

impl<'p> Item<'p> {
    /// Puts the item into a document.
    pub(super) fn push(&self, doc: &mut Doc, constants: &Doc) -> Val {
        match self {
            Item::Missing => Val::NULL,
            Item::Val(v) => *v,
            Item::Literal(literal) => push_literal(literal, doc, constants),
            Item::List(items) => doc.push_array(constants, items),
            Item::Items(items) => {
                let items: Vec<Val> = items.iter().map(|item| item.push(doc, constants)).collect();
                doc.push_array(constants, &items)
            }
            Item::Number(Number::Integer(n)) => doc.push_i64(*n),
            Item::Number(Number::Float(n)) => doc.push_f64(*n),
            Item::Text(text) => doc.push_string(text),
        }
    }

    /// Number of elements, or of members; None for scalars.
    pub(super) fn count(&self, values: Values<'_>) -> Option<usize> {
        match self {
            Item::Val(v) => match values.kind(*v) {
                Kind::Array | Kind::Object => Some(values.len(*v)),
                Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::String => None,
            },
            Item::Literal(Literal::Array(items)) => Some(items.len()),
            Item::List(items) => Some(items.len()),
            Item::Items(items) => Some(items.len()),
            Item::Missing | Item::Literal(_) | Item::Number(_) | Item::Text(_) => None,
        }
    }

    /// The elements of an array; None for anything else.
    pub(super) fn elements(&self, values: Values<'_>) -> Option<Vec<Item<'p>>> {
        match self {
            Item::Val(v) => (values.kind(*v) == Kind::Array)
                .then(|| values.elements(*v).map(Item::Val).collect()),
            Item::Literal(Literal::Array(items)) => Some(items.iter().map(Item::Literal).collect()),
            Item::List(items) => Some(items.iter().map(|v| Item::Val(*v)).collect()),
            Item::Items(items) => Some(items.clone()),
            Item::Missing | Item::Literal(_) | Item::Number(_) | Item::Text(_) => None,
        }
    }

    /// The text of a string.
    pub(super) fn string<'s>(&'s self, values: Values<'s>) -> Option<Cow<'s, str>> {
        match self {
            Item::Val(v) => values.string(*v),
            Item::Literal(Literal::String(text)) => Some(Cow::Borrowed(text)),
            Item::Text(text) => Some(Cow::Borrowed(text)),
            Item::Missing | Item::Literal(_) | Item::List(_) | Item::Items(_) | Item::Number(_) => {
                None
            }
        }
    }

    pub(super) fn number(&self, values: Values<'_>) -> Option<Number> {
        match self {
            Item::Val(v) if values.kind(*v) == Kind::Number => Number::parse(values.text(*v)),
            Item::Literal(Literal::Number(number)) => Some(number.value),
            Item::Number(number) => Some(*number),
            Item::Val(_)
            | Item::Missing
            | Item::Literal(_)
            | Item::List(_)
            | Item::Items(_)
            | Item::Text(_) => None,
        }
    }

    /// How a number reads as a text.
    fn number_text<'s>(&'s self, values: Values<'s>) -> Option<Cow<'s, str>> {
        match self {
            Item::Val(v) if values.kind(*v) == Kind::Number => Some(Cow::Borrowed(values.text(*v))),
            Item::Literal(Literal::Number(number)) => Some(Cow::Borrowed(&number.text)),
            Item::Number(Number::Integer(n)) => Some(Cow::Owned(n.to_string())),
            Item::Number(Number::Float(n)) => Some(Cow::Owned(n.to_string())),
            Item::Val(_)
            | Item::Missing
            | Item::Literal(_)
            | Item::List(_)
            | Item::Items(_)
            | Item::Text(_) => None,
        }
    }

    fn kind(&self, values: Values<'_>) -> Option<Kind> {
        let of_bool = |b| if b { Kind::True } else { Kind::False };
        match self {
            Item::Missing => None,
            Item::Val(v) => Some(values.kind(*v)),
            Item::Literal(Literal::Null) => Some(Kind::Null),
            Item::Literal(Literal::Bool(b)) => Some(of_bool(*b)),
            Item::Literal(Literal::Number(_)) | Item::Number(_) => Some(Kind::Number),
            Item::Literal(Literal::String(_)) | Item::Text(_) => Some(Kind::String),
            Item::Literal(Literal::Array(_)) | Item::List(_) | Item::Items(_) => Some(Kind::Array),
        }
    }
}

/// Recursion ends where the parser's limit of nesting does.
fn push_literal(literal: &Literal, doc: &mut Doc, constants: &Doc) -> Val {
    match literal {
        Literal::Null => Val::NULL,
        Literal::Bool(b) => Val::bool(*b),
        Literal::Number(number) => doc.push_number_text(&number.text),
        Literal::String(text) => doc.push_string(text),
        Literal::Array(items) => {
            let items: Vec<Val> = items
                .iter()
                .map(|item| push_literal(item, doc, constants))
                .collect();
            doc.push_array(constants, &items)
        }
    }
}

/// `left operator right`
pub(super) fn compare(
    walk: &Walk<'_>,
    left: &Item<'_>,
    operator: Operator,
    right: &Item<'_>,
) -> Result<bool, NotFound> {
    let values = walk.values;
    let ordered = |accept: fn(Ordering) -> bool| Ok(order(values, left, right).is_some_and(accept));
    match operator {
        Operator::Equal => equal(walk, left, right),
        Operator::NotEqual => Ok(!equal(walk, left, right)?),
        Operator::SameKindEqual => Ok(same_kind(values, left, right) && equal(walk, left, right)?),
        Operator::SameKindNotEqual => {
            Ok(!(same_kind(values, left, right) && equal(walk, left, right)?))
        }
        Operator::Less => ordered(Ordering::is_lt),
        Operator::LessOrEqual => ordered(Ordering::is_le),
        Operator::Greater => ordered(Ordering::is_gt),
        Operator::GreaterOrEqual => ordered(Ordering::is_ge),
        Operator::Matches => Ok(false),
        Operator::In => is_in(walk, left, right),
        Operator::NotIn => Ok(!is_in(walk, left, right)?),
        Operator::All => every_in(walk, right, left),
        Operator::SubsetOf => every_in(walk, left, right),
        Operator::AnyOf => Ok(any_in(walk, left, right)?.unwrap_or(false)),
        Operator::NoneOf => Ok(any_in(walk, left, right)?.is_some_and(|any| !any)),
        Operator::Contains => contains(walk, left, right),
        Operator::Size => Ok(right.number(values).is_some_and(|wanted| {
            size(values, left).is_some_and(|size| order_numbers(size, wanted).is_eq())
        })),
        Operator::Empty => {
            let wanted = match right.kind(values) {
                Some(Kind::True) => true,
                Some(Kind::False) => false,
                Some(_) | None => return Ok(false),
            };
            Ok(size(values, left)
                .is_some_and(|size| order_numbers(size, Number::Integer(0)).is_eq() == wanted))
        }
    }
}

fn same_kind(values: Values<'_>, left: &Item<'_>, right: &Item<'_>) -> bool {
    let boolean = |kind| matches!(kind, Some(Kind::True | Kind::False));
    let (left, right) = (left.kind(values), right.kind(values));
    left == right || boolean(left) && boolean(right)
}

/// Characters of a string as Java counts them, elements, or members.
fn size(values: Values<'_>, item: &Item<'_>) -> Option<Number> {
    let size = match item.string(values) {
        Some(text) => text.encode_utf16().count(),
        None => item.count(values)?,
    };
    i64::try_from(size).ok().map(Number::Integer)
}

/// A number and a string are compared as the left one's kind.
fn equal(walk: &Walk<'_>, left: &Item<'_>, right: &Item<'_>) -> Result<bool, NotFound> {
    let values = walk.values;
    if let (Item::Val(left), Item::Val(right)) = (left, right)
        && values.kind(*left) == values.kind(*right)
    {
        // Deep equality looks at no more values than the smaller one has bytes.
        walk.visit(values.size(*left).min(values.size(*right)) / 8)?;
        return Ok(values.equal(*left, *right));
    }
    let (Some(left_kind), Some(right_kind)) = (left.kind(values), right.kind(values)) else {
        return Ok(false);
    };
    match (left_kind, right_kind) {
        (Kind::Number, Kind::Number) => Ok(order(values, left, right).is_some_and(Ordering::is_eq)),
        (Kind::Number, Kind::String) => {
            let right = right.string(values).and_then(|text| Number::parse(&text));
            let left = left.number(values);
            Ok(matches!((left, right), (Some(l), Some(r)) if order_numbers(l, r).is_eq()))
        }
        (Kind::String, Kind::Number) => Ok(left.string(values) == right.number_text(values)),
        (Kind::String, Kind::String) => Ok(left.string(values) == right.string(values)),
        (Kind::Array, Kind::Array) => {
            let (Some(left), Some(right)) = (left.elements(values), right.elements(values)) else {
                return Ok(false);
            };
            if left.len() != right.len() {
                return Ok(false);
            }
            walk.visit(left.len())?;
            // Two documents' arrays were compared above, so one side is a literal and bounds the depth.
            for (left, right) in left.iter().zip(&right) {
                if !equal(walk, left, right)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (left, right) => Ok(left == right),
    }
}

/// Only two numbers or two strings have an order.
fn order(values: Values<'_>, left: &Item<'_>, right: &Item<'_>) -> Option<Ordering> {
    if let (Item::Val(left), Item::Val(right)) = (left, right) {
        return match values.compare_numbers(*left, *right) {
            Some(order) => Some(order),
            None => values.compare_strings(*left, *right),
        };
    }
    if let (Some(left), Some(right)) = (left.number(values), right.number(values)) {
        return Some(order_numbers(left, right));
    }
    let (left, right) = (left.string(values)?, right.string(values)?);
    Some(left.encode_utf16().cmp(right.encode_utf16()))
}

fn order_numbers(left: Number, right: Number) -> Ordering {
    match (left, right) {
        (Number::Integer(left), Number::Integer(right)) => left.cmp(&right),
        (Number::Float(left), Number::Float(right)) => {
            left.partial_cmp(&right).unwrap_or(Ordering::Equal)
        }
        (Number::Integer(left), Number::Float(right)) => order_mixed(left, right),
        (Number::Float(left), Number::Integer(right)) => order_mixed(right, left).reverse(),
    }
}

/// An integer against a float, without rounding the integer.
fn order_mixed(left: i64, right: f64) -> Ordering {
    // The bounds are powers of two, exact as floats.
    if right >= 9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    if right < -9_223_372_036_854_775_808.0 {
        return Ordering::Greater;
    }
    let whole = right.trunc() as i64;
    left.cmp(&whole).then_with(|| {
        0.0_f64
            .partial_cmp(&right.fract())
            .unwrap_or(Ordering::Equal)
    })
}

fn is_in(walk: &Walk<'_>, item: &Item<'_>, list: &Item<'_>) -> Result<bool, NotFound> {
    match list.elements(walk.values) {
        Some(elements) => found_in(walk, item, &elements),
        None => Ok(false),
    }
}

fn found_in(walk: &Walk<'_>, item: &Item<'_>, list: &[Item<'_>]) -> Result<bool, NotFound> {
    for element in list {
        walk.visit(1)?;
        if equal(walk, item, element)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn every_in(walk: &Walk<'_>, items: &Item<'_>, list: &Item<'_>) -> Result<bool, NotFound> {
    let (Some(items), Some(list)) = (items.elements(walk.values), list.elements(walk.values))
    else {
        return Ok(false);
    };
    for item in &items {
        if !found_in(walk, item, &list)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// None unless both are lists.
fn any_in(walk: &Walk<'_>, items: &Item<'_>, list: &Item<'_>) -> Result<Option<bool>, NotFound> {
    let (Some(items), Some(list)) = (items.elements(walk.values), list.elements(walk.values))
    else {
        return Ok(None);
    };
    for item in &items {
        if found_in(walk, item, &list)? {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// A string contains a string, an array a value.
fn contains(walk: &Walk<'_>, left: &Item<'_>, right: &Item<'_>) -> Result<bool, NotFound> {
    let values = walk.values;
    if let (Some(left), Some(right)) = (left.string(values), right.string(values)) {
        return Ok(left.contains(&*right));
    }
    is_in(walk, right, left)
}

/// The expression covers the whole text, or that of one element.
pub(super) fn matches(walk: &Walk<'_>, item: &Item<'_>, regex: &Regex) -> Result<bool, NotFound> {
    let values = walk.values;
    let matches_scalar = |item: &Item<'_>| match item.string(values) {
        Some(text) => regex.regex.is_match(&text),
        None => match item.kind(values) {
            Some(Kind::Number) => item
                .number_text(values)
                .is_some_and(|text| regex.regex.is_match(&text)),
            Some(Kind::True) => regex.regex.is_match("true"),
            Some(Kind::False) => regex.regex.is_match("false"),
            Some(Kind::Null | Kind::String | Kind::Array | Kind::Object) | None => false,
        },
    };
    let Some(elements) = item.elements(values) else {
        return Ok(matches_scalar(item));
    };
    walk.visit(elements.len())?;
    Ok(elements.iter().any(matches_scalar))
}
