//! `[?(…)]`: what a filter is.

use super::FilterPath;

/// A compiled filter.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Filter {
    pub(super) expression: BooleanExpr,
}

/// A test of one value; its depth is bounded by the parser.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum BooleanExpr {
    Or(Box<[BooleanExpr]>),
    And(Box<[BooleanExpr]>),
    Not(Box<BooleanExpr>),
    /// A path alone: it leads somewhere, be it to null.
    Exists(FilterPath),
    Relation {
        left: Operand,
        operator: Operator,
        right: Operand,
    },
}

/// One side of an operator.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Operand {
    Path(FilterPath),
    Literal(Literal),
    Regex(Regex),
}

/// What stands between two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    SameKindEqual,
    SameKindNotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
    All,
    SubsetOf,
    AnyOf,
    NoneOf,
    Contains,
    Size,
    Empty,
}

/// A value written into a filter; its depth is bounded by the parser.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(NumberLiteral),
    String(Box<str>),
    Array(Box<[Literal]>),
}

/// A number with its text: Jayway compares a string with a number by either.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct NumberLiteral {
    pub(super) text: Box<str>,
    pub(super) value: Number,
}

/// A number as filters compare it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Number {
    Integer(i64),
    Float(f64),
}

impl NumberLiteral {
    /// None if Rust cannot read the text as a number.
    pub(super) fn parse(text: &str) -> Option<NumberLiteral> {
        Some(NumberLiteral {
            text: text.into(),
            value: Number::parse(text)?,
        })
    }
}

impl Number {
    pub(super) fn parse(text: &str) -> Option<Number> {
        if let Ok(integer) = text.parse() {
            return Some(Number::Integer(integer));
        }
        // Rust also reads "inf", "nan" and "infinity"; no number of JSON or Java starts like that.
        if text.contains(['i', 'I', 'n', 'N']) {
            return None;
        }
        text.parse().ok().map(Number::Float)
    }
}

/// A regular expression that must match the whole text.
#[derive(Clone, Debug)]
pub(super) struct Regex {
    pub(super) source: Box<str>,
    pub(super) regex: regex::Regex,
}

impl PartialEq for Regex {
    fn eq(&self, other: &Regex) -> bool {
        self.source == other.source
    }
}
