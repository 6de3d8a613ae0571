//! The lowered form of an expression: a tree in which names, variables, functions and constants are resolved.
//!
//! The tree is as deep as the expression was nested, which lowering bounds, so that evaluation may recurse over it.

use crate::value::{Key, MemberName, Val};

/// An operation; evaluated in a context value, it gives an item.
#[derive(Debug)]
pub(super) enum Op {
    Undefined,
    /// A string, `true`, `false` or `null`.
    Constant(Val),
    Number(f64),
    /// The value of a root, by its place among those that the expression names.
    Root(u32),
    /// A variable that the expression binds itself.
    Slot(u32),
    /// `$`
    Context,
    /// `$states.input.a.b`
    Reach(Box<Reach>),
    /// `name`, `$x.name`
    Member(Box<MemberOf>),
    Path(Box<Path>),
    Filtered(Box<Filtered>),
    Negate(Box<Op>),
    Arithmetic(Arithmetic, Box<[Op; 2]>),
    Order(Order, Box<[Op; 2]>),
    Equal(Box<[Op; 2]>),
    NotEqual(Box<[Op; 2]>),
    In(Box<[Op; 2]>),
    And(Box<[Op; 2]>),
    Or(Box<[Op; 2]>),
    /// The operands of a chain of `&`.
    Concat(Box<[Op]>),
    Range(Box<[Op; 2]>),
    /// Condition, and what it chooses from.
    Condition(Box<[Op; 3]>),
    Block(Box<[Op]>),
    /// `$x := …`
    Bind(u32, Box<Op>),
    /// `$f := function…`: the context in which the lambda is made is kept in the slot.
    Define(u32),
    Array(Box<[Element]>),
    Object(Box<Object>),
    Group(Box<Group>),
    Sort(Box<Sort>),
    Wildcard,
    Call(Function, Box<[Op]>),
    /// `$merge([base, {…}])`
    Put(Box<Put>),
    /// An aggregate of a path whose last step gives a number for each item: `$sum(items.(price * count))`
    Over(Function, Box<Path>),
    /// A call of a lambda that has a name.
    Apply(u32, Box<[Op]>),
    Higher(Higher, Box<HigherCall>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Names from a root on: the most frequent expression of all.
#[derive(Debug)]
pub(super) struct Reach {
    /// The root, by its place among those that the expression names.
    pub(super) root: u32,
    pub(super) names: Box<[MemberName]>,
    /// The same as a path, for what arrays are on the way.
    pub(super) path: Path,
}

/// The paths that are most frequent in functions and filters.
#[derive(Debug)]
pub(super) struct MemberOf {
    /// The variable whose member it is; without one it is the context's.
    pub(super) slot: Option<u32>,
    pub(super) member: MemberName,
    /// The same as a path, for what is no object.
    pub(super) path: Path,
}

/// Steps that each map over what the one before gave.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) steps: Box<[Step]>,
    /// The first step takes an array as one item: it starts from a variable, or the context is the input itself.
    pub(super) whole: bool,
    /// `[]` stands on a step.
    pub(super) keep: bool,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) node: Node,
    pub(super) stages: Box<[Stage]>,
}

#[derive(Debug)]
pub(super) enum Node {
    Name(MemberName),
    Op(Op),
    /// An op whose sequence of one item is not that item yet.
    Raw(Op),
    /// `.[…]`: arrays that later steps do not flatten.
    Group(Box<[Element]>),
}

/// A filter of a step.
#[derive(Debug)]
pub(super) enum Stage {
    /// `[0]`
    Index(f64),
    Filter {
        predicate: Op,
        /// It calls something, which could fail where there is no item to filter.
        calls: bool,
    },
}

/// A value that is no path, with filters: `$x[0]`, `(…)[a = 1]`, `$x[]`.
#[derive(Debug)]
pub(super) struct Filtered {
    pub(super) op: Op,
    pub(super) stages: Box<[Stage]>,
    pub(super) keep: bool,
}

/// An element of an array constructor.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) op: Op,
    /// An array constructor itself, whose array stays an element.
    pub(super) whole: bool,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) members: Box<[(ObjectKey, Op)]>,
    /// Not all names are constants.
    pub(super) computes: bool,
    /// The context is the whole input, which is not taken apart if it is an array.
    pub(super) outer: bool,
    /// Nothing in the expression looks into the object, only the result holds it.
    pub(super) last: bool,
}

#[derive(Debug)]
pub(super) enum ObjectKey {
    Constant(Key),
    Computed(Op),
}

/// An object, and members that are put into it or take the place of those that it has.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) base: Element,
    /// All of its names are constants.
    pub(super) members: Object,
}

/// `items{key: value}`
#[derive(Debug)]
pub(super) struct Group {
    pub(super) input: Op,
    pub(super) pairs: Box<[(Op, Op)]>,
}

#[derive(Debug)]
pub(super) struct Sort {
    pub(super) input: Op,
    pub(super) terms: Box<[SortTerm]>,
}

#[derive(Debug)]
pub(super) struct SortTerm {
    pub(super) op: Op,
    pub(super) direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ascending,
    Descending,
}

/// `function($a, $b) { … }`. No lambda calls itself, so its variables have fixed slots.
#[derive(Debug)]
pub(super) struct Lambda {
    pub(super) parameters: Box<[u32]>,
    pub(super) body: Op,
    /// Where the context is that the lambda was made in; without one it is the caller's.
    pub(super) context: Option<u32>,
    /// The body ends in calls, whose sequences are passed on as such: one of one item is not that item.
    pub(super) passes_on: bool,
}

#[derive(Debug)]
pub(super) struct HigherCall {
    pub(super) subject: Op,
    pub(super) lambda: u32,
    /// The third argument of `$reduce`.
    pub(super) initial: Option<Op>,
}

/// Functions that take a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Higher {
    Map,
    Filter,
    Reduce,
    Single,
    Each,
    Sift,
    Sort,
}

/// Functions of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Append,
    Average,
    Boolean,
    Ceil,
    Contains,
    Count,
    Distinct,
    Exists,
    Floor,
    Join,
    Keys,
    Length,
    Lookup,
    Lowercase,
    Max,
    Merge,
    Min,
    Not,
    Number,
    Power,
    Reverse,
    Round,
    Sort,
    Split,
    Spread,
    Sqrt,
    String,
    Substring,
    SubstringAfter,
    SubstringBefore,
    Sum,
    Trim,
    Type,
    Uppercase,
}
