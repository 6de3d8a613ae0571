//! Lowering: the expressions that state machines are made of, as ops over the execution's own document.
//!
//! [`lower`] takes a syntax tree of jsonata-core's parser and gives a [`Lowered`], or the [`Reason`] why the expression
//! stays with the slow path. What is lowered is done exactly as JSONata 2.0.6 does it, sequences and singletons included.
//!
//! A lowered expression covers what usually happens. Whatever else it meets (an error, which the slow path words, or a
//! type, a mark or a size that is not worth code of its own) ends in [`Bail`], and the caller evaluates the whole
//! expression again. Expressions are pure but for random numbers, and functions with those are not lowered.

mod compare;
mod compile;
mod function;
mod group;
mod higher;
pub(crate) mod number;
mod op;
mod path;
mod run;
mod sequence;
mod test;
mod text;

use std::cell::Cell;
use std::fmt;

use jsonata_core::ast::AstNode;

use self::compile::Lowerer;
use self::op::{Lambda, Op};
use self::run::Machine;
use self::sequence::{Item, Memory};
use super::{Constants, Dialect, Root, Scope};
use crate::value::{DEPTH_MAX, Kind, MemberName, Val, Values};

/// Why an expression is not lowered; for the disassembler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reason(&'static str);

impl Reason {
    /// Nobody asked for it.
    pub(super) const UNASKED: Reason = Reason("lowering is off");

    const fn new(reason: &'static str) -> Reason {
        Reason(reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A lowered expression gives up: the whole expression is to be evaluated on the slow path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bail;

/// An expression as ops.
#[derive(Debug)]
pub(crate) struct Lowered {
    op: Op,
    roots: Box<[Root]>,
    lambdas: Box<[Lambda]>,
    slots: usize,
    /// `"null"`, `"boolean"`, `"number"`, `"string"`, `"array"`, `"object"`.
    types: [Val; 6],
    /// The context value at the top, which only the plain dialect has.
    data: Option<Root>,
    /// A result may nest deeper than documents may.
    nests: bool,
}

/// Lowers an expression.
///
/// # Errors
///
/// The reason why it is left to the slow path.
pub(crate) fn lower(
    ast: &AstNode,
    dialect: Dialect,
    constants: &mut impl Constants,
) -> Result<Lowered, Reason> {
    let types = ["null", "boolean", "number", "string", "array", "object"];
    let types = types.map(|name| constants.string(name));
    let mut lowerer = Lowerer::new(dialect, constants);
    let op = lowerer.expression(ast)?;
    Ok(Lowered {
        op,
        roots: lowerer.roots.into(),
        lambdas: lowerer.lambdas.into(),
        slots: lowerer.slots as usize,
        types,
        data: (dialect == Dialect::Plain).then_some(Root::Data),
        nests: lowerer.nests && lowerer.reduces,
    })
}

thread_local! {
    /// The memory of the last evaluation on this thread.
    static MEMORY: Cell<Option<Box<Memory>>> = const { Cell::new(None) };
}

impl Lowered {
    /// The value of the expression; `None` if it is undefined.
    ///
    /// # Errors
    ///
    /// If the slow path is to evaluate it; what was made in the document until then is garbage.
    #[inline]
    pub(crate) fn run(&self, scope: &mut impl Scope) -> Result<Option<Val>, Bail> {
        match &self.op {
            Op::Root(root) => return Ok(scope.root(self.roots[*root as usize])),
            Op::Reach(reach) => {
                let Some(start) = scope.root(self.roots[reach.root as usize]) else {
                    return Ok(None);
                };
                let (doc, constants) = scope.parts();
                if let Ok(found) = reach.follow(Values { doc, constants }, start) {
                    return Ok(found);
                }
            }
            _ => {}
        }
        self.run_in_memory(scope)
    }

    #[inline(never)]
    fn run_in_memory(&self, scope: &mut impl Scope) -> Result<Option<Val>, Bail> {
        let mut memory = MEMORY.take().unwrap_or_default();
        memory.begin(self.slots);
        memory
            .roots
            .extend(self.roots.iter().map(|root| scope.root(*root)));
        let data = self.data.and_then(|root| scope.root(root));
        let context = data.map_or(Item::Undefined, Item::Val);
        let machine = Machine::new(&self.lambdas, &self.types, scope.parts(), &mut memory);
        let result = self.evaluate(machine, context);
        memory.trim();
        MEMORY.set(Some(memory));
        result
    }

    /// The name in `$states.input.name`, if the expression is that.
    pub(crate) fn input_member(&self) -> Option<&MemberName> {
        match &self.op {
            Op::Reach(reach) => match &*reach.names {
                [name] if self.roots[reach.root as usize] == Root::Input => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the expression finds in the state's input, if it is one that follows names through objects: so that the
    /// members of a template need no more than that. `None` also if there is nothing, or an array on the way.
    #[inline(always)]
    pub(crate) fn of_input(&self, values: Values<'_>, input: Val) -> Option<Val> {
        let place = match &self.op {
            Op::Root(root) => *root,
            Op::Reach(reach) => reach.root,
            _ => return None,
        };
        if self.roots[place as usize] != Root::Input {
            return None;
        }
        match &self.op {
            Op::Reach(reach) => reach.follow(values, input).ok().flatten(),
            _ => Some(input),
        }
    }

    #[inline(never)]
    fn evaluate(&self, mut machine: Machine<'_>, context: Item) -> Result<Option<Val>, Bail> {
        let item = machine.eval(&self.op, context)?;
        let value = machine.value(item)?;
        if let (Some(value), true) = (value, self.nests) {
            check_depth(machine.values(), value)?;
        }
        Ok(value)
    }
}

/// Bails if a value that lambdas may have wrapped again and again nests deeper than what is ingested may.
fn check_depth(values: Values<'_>, value: Val) -> Result<(), Bail> {
    let mut level = vec![value];
    let mut seen = 0_usize;
    for _ in 0..=DEPTH_MAX {
        let mut below = Vec::new();
        for val in level {
            match values.kind(val) {
                Kind::Array => below.extend(values.elements(val)),
                Kind::Object => below.extend(values.members(val).map(|(_, val)| val)),
                _ => {}
            }
            seen += 1;
            if seen + below.len() > run::ITEMS_MAX {
                return Err(Bail);
            }
        }
        below.retain(|val| matches!(values.kind(*val), Kind::Array | Kind::Object));
        if below.is_empty() {
            return Ok(());
        }
        level = below;
    }
    Err(Bail)
}

const fn assert_shared<T: Send + Sync>() {}
const _: () = assert_shared::<Lowered>();
