//! From jsonata-core's syntax tree to [`Op`]s. What is not lowered exactly is refused with a [`Reason`].

mod function;
mod path;

use jsonata_core::ast::{AstNode, BinaryOp, UnaryOp};

use super::Reason;
use super::op::{
    Arithmetic, Direction, Element, Group, Higher, Lambda, Node, Object, ObjectKey, Op, Order,
    Sort, SortTerm,
};
use crate::jsonata::{Constants, Dialect, Root};
use crate::stdx::narrow;
use crate::value::{MemberName, Val, escape};

/// Levels of an expression, where a lambda that is called stands for its body; evaluation recurses over them. The slow
/// path has two levels for one of these at most, so that it never comes to AWS's bound with what is lowered.
const NESTING_MAX: usize = 48;

/// Lambdas of an expression, each of which may call those before it.
const LAMBDAS_MAX: usize = 16;

/// Ops of an expression.
const OPS_MAX: usize = 4_096;

type Lowering<T> = Result<T, Reason>;

/// What an expression needs besides its op.
#[derive(Debug)]
pub(super) struct Lowerer<'c, C> {
    dialect: Dialect,
    constants: &'c mut C,
    pub(super) roots: Vec<Root>,
    pub(super) lambdas: Vec<Lambda>,
    pub(super) slots: u32,
    scopes: Vec<Names>,
    nesting: usize,
    /// The deepest level so far, those of the lambdas that are called there included.
    deepest: usize,
    /// How many levels the body of each lambda has.
    depths: Vec<usize>,
    ops: usize,
    /// Calls that were lowered so far.
    calls: usize,
    /// Something is put into arrays or objects.
    pub(super) nests: bool,
    /// Something is made again and again of what was made before.
    pub(super) reduces: bool,
}

/// The names that a block or a lambda binds.
#[derive(Debug, Default)]
struct Names {
    bound: Vec<(String, Binding)>,
    /// Names that are bound further on in the block.
    later: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Binding {
    Slot(u32),
    Lambda(u32),
}

/// Where an op stands: what its context value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The context is the expression's own.
    Top,
    /// The context is an item.
    Inner,
}

impl<'c, C: Constants> Lowerer<'c, C> {
    pub(super) fn new(dialect: Dialect, constants: &'c mut C) -> Self {
        Lowerer {
            dialect,
            constants,
            roots: Vec::new(),
            lambdas: Vec::new(),
            slots: 0,
            scopes: Vec::new(),
            nesting: 0,
            deepest: 0,
            depths: Vec::new(),
            ops: 0,
            calls: 0,
            nests: false,
            reduces: false,
        }
    }

    /// A whole expression.
    pub(super) fn expression(&mut self, ast: &AstNode) -> Lowering<Op> {
        // Nobody can see a variable that the whole expression binds.
        let value = match assignment(ast) {
            Some((_, value)) => value,
            None => ast,
        };
        let mut op = self.op(value, Place::Top)?;
        self.mark_last(&mut op);
        Ok(op)
    }

    /// Marks the objects that only the result holds.
    fn mark_last(&mut self, op: &mut Op) {
        match op {
            Op::Object(object) => {
                object.last = true;
                for (_, value) in &mut object.members {
                    self.mark_last(value);
                }
            }
            Op::Array(elements) => {
                for element in elements {
                    self.mark_last(&mut element.op);
                }
            }
            Op::Block(statements) => {
                if let Some(statement) = statements.last_mut() {
                    self.mark_last(statement);
                }
            }
            Op::Condition(parts) => {
                let [_, then, otherwise] = &mut **parts;
                self.mark_last(then);
                self.mark_last(otherwise);
            }
            Op::Path(path) => match path.steps.last_mut() {
                Some(step) if step.stages.is_empty() => {
                    if let Node::Op(op) = &mut step.node {
                        self.mark_last(op);
                    }
                }
                _ => {}
            },
            Op::Higher(Higher::Map, call) => {
                let lambda = call.lambda as usize;
                // A lambda with a context has a name, and may be called elsewhere.
                if self.lambdas[lambda].context.is_none() {
                    let mut body = std::mem::replace(&mut self.lambdas[lambda].body, Op::Undefined);
                    self.mark_last(&mut body);
                    self.lambdas[lambda].body = body;
                }
            }
            _ => {}
        }
    }

    fn op(&mut self, ast: &AstNode, place: Place) -> Lowering<Op> {
        self.ops += 1;
        self.nesting += 1;
        if self.nesting > NESTING_MAX || self.ops > OPS_MAX {
            return refuse("too large");
        }
        self.deepest = self.deepest.max(self.nesting);
        let op = self.any(ast, place);
        self.nesting -= 1;
        op
    }

    fn any(&mut self, ast: &AstNode, place: Place) -> Lowering<Op> {
        Ok(match ast {
            AstNode::String(text) => Op::Constant(self.constants.string(text)),
            AstNode::Number(n) => number(*n)?,
            AstNode::Boolean(b) => Op::Constant(Val::bool(*b)),
            AstNode::Null => Op::Constant(Val::NULL),
            AstNode::Undefined => Op::Undefined,
            AstNode::Variable(name) => self.variable(name, place)?,
            AstNode::ParentVariable(name) => self.parent(name)?,
            AstNode::Path { steps } => self.path(steps, place)?,
            AstNode::Binary { op, lhs, rhs } => self.binary(*op, lhs, rhs, place)?,
            AstNode::Unary {
                op: UnaryOp::Negate,
                operand,
            } => match &**operand {
                AstNode::Number(n) => number(-n)?,
                operand => Op::Negate(Box::new(self.op(operand, place)?)),
            },
            AstNode::Function {
                name,
                args,
                is_builtin: true,
            } => self.function(name, &args.iter().collect::<Vec<_>>(), place)?,
            AstNode::Call { procedure, args } => match &**procedure {
                AstNode::Lambda { .. } => {
                    let lambda = self.lambda(procedure, place, None)?;
                    self.apply(lambda, &args.iter().collect::<Vec<_>>(), place)?
                }
                _ => return refuse("a call of a computed function"),
            },
            AstNode::Array(_) | AstNode::Object(_) => self.constructor(ast, place)?,
            AstNode::Block(statements) => self.block(statements, place)?,
            AstNode::Conditional {
                condition,
                then_branch,
                else_branch,
            } => Op::Condition(Box::new([
                self.op(condition, place)?,
                self.op(then_branch, place)?,
                match else_branch {
                    Some(branch) => self.op(branch, place)?,
                    None => Op::Undefined,
                },
            ])),
            AstNode::Wildcard if place == Place::Inner => Op::Wildcard,
            AstNode::Sort { input, terms } => self.sort(input, terms, place)?,
            AstNode::ObjectTransform { input, pattern } => self.group(input, pattern, place)?,
            AstNode::Name(_)
            | AstNode::Unary { .. }
            | AstNode::Placeholder
            | AstNode::Regex { .. }
            | AstNode::Function { .. }
            | AstNode::Lambda { .. }
            | AstNode::Wildcard
            | AstNode::Descendant
            | AstNode::Parent(_)
            | AstNode::ArrayGroup(_)
            | AstNode::FunctionApplication(_)
            | AstNode::Transform { .. } => return refuse(construct(ast)),
        })
    }

    fn binary(&mut self, op: BinaryOp, lhs: &AstNode, rhs: &AstNode, place: Place) -> Lowering<Op> {
        let arithmetic = match op {
            BinaryOp::Concatenate => {
                let mut operands = Vec::new();
                self.operands(lhs, rhs, place, &mut operands)?;
                return Ok(Op::Concat(operands.into()));
            }
            BinaryOp::ChainPipe => return self.chain(lhs, rhs, place),
            BinaryOp::Add => Some(Arithmetic::Add),
            BinaryOp::Subtract => Some(Arithmetic::Subtract),
            BinaryOp::Multiply => Some(Arithmetic::Multiply),
            BinaryOp::Divide => Some(Arithmetic::Divide),
            BinaryOp::Modulo => Some(Arithmetic::Modulo),
            BinaryOp::ColonEqual => return refuse("a binding within an expression"),
            BinaryOp::FocusBind | BinaryOp::IndexBind | BinaryOp::Coalesce | BinaryOp::Default => {
                return refuse("an operator");
            }
            _ => None,
        };
        let both = Box::new([self.op(lhs, place)?, self.op(rhs, place)?]);
        if let Some(arithmetic) = arithmetic {
            return Ok(Op::Arithmetic(arithmetic, both));
        }
        Ok(match op {
            BinaryOp::Equal => Op::Equal(both),
            BinaryOp::NotEqual => Op::NotEqual(both),
            BinaryOp::LessThan => Op::Order(Order::Less, both),
            BinaryOp::LessThanOrEqual => Op::Order(Order::LessOrEqual, both),
            BinaryOp::GreaterThan => Op::Order(Order::Greater, both),
            BinaryOp::GreaterThanOrEqual => Op::Order(Order::GreaterOrEqual, both),
            BinaryOp::And => Op::And(both),
            BinaryOp::Or => Op::Or(both),
            BinaryOp::Range => Op::Range(both),
            BinaryOp::In => Op::In(both),
            _ => return refuse("an operator"),
        })
    }

    /// The operands of a chain of `&`, which leans to the left, from left to right.
    fn operands(
        &mut self,
        lhs: &AstNode,
        rhs: &AstNode,
        place: Place,
        operands: &mut Vec<Op>,
    ) -> Lowering<()> {
        let mut rights = vec![rhs];
        let mut left = lhs;
        while let AstNode::Binary {
            op: BinaryOp::Concatenate,
            lhs,
            rhs,
        } = left
        {
            rights.push(rhs);
            left = lhs;
        }
        operands.push(self.op(left, place)?);
        for right in rights.iter().rev() {
            operands.push(self.op(right, place)?);
        }
        Ok(())
    }

    fn variable(&mut self, name: &str, place: Place) -> Lowering<Op> {
        if name.is_empty() {
            return match (place, self.dialect) {
                (Place::Inner, _) => Ok(Op::Context),
                (Place::Top, Dialect::Plain) => Ok(self.root(Root::Data)),
                (Place::Top, Dialect::Aws) => refuse("`$` at the top"),
            };
        }
        match self.binding(name)? {
            Some(Binding::Slot(slot)) => Ok(Op::Slot(slot)),
            Some(Binding::Lambda(_)) => refuse("a function as a value"),
            None if name == "states" && self.dialect == Dialect::Aws => refuse("`$states` itself"),
            None => match self.constants.variable(name) {
                Some(number) => Ok(self.root(Root::Variable(number))),
                None => refuse("a variable that is not bound"),
            },
        }
    }

    fn parent(&mut self, name: &str) -> Lowering<Op> {
        match self.dialect {
            Dialect::Plain if name.is_empty() => Ok(self.root(Root::Data)),
            Dialect::Plain | Dialect::Aws => refuse("`$$`"),
        }
    }

    fn root(&mut self, root: Root) -> Op {
        let known = self.roots.iter().position(|other| *other == root);
        let place = known.unwrap_or_else(|| {
            self.roots.push(root);
            self.roots.len() - 1
        });
        Op::Root(narrow(place))
    }

    /// What a name is bound to within the expression.
    fn binding(&self, name: &str) -> Lowering<Option<Binding>> {
        for names in self.scopes.iter().rev() {
            if let Some((_, binding)) = names.bound.iter().find(|(bound, _)| bound == name) {
                return Ok(Some(*binding));
            }
            if names.later.iter().any(|later| later == name) {
                return refuse("a variable that is bound later");
            }
        }
        Ok(None)
    }

    fn slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots - 1
    }

    fn bind(&mut self, name: &str, binding: Binding) {
        if let Some(names) = self.scopes.last_mut() {
            names.later.retain(|later| later != name);
            names.bound.push((name.to_owned(), binding));
        }
    }

    fn block(&mut self, statements: &[AstNode], place: Place) -> Lowering<Op> {
        let mut later = Vec::new();
        for statement in statements {
            if let Some((name, _)) = assignment(statement) {
                if later.iter().any(|other| other == name) {
                    return refuse("a variable that is bound twice");
                }
                later.push(name.to_owned());
            }
        }
        self.scopes.push(Names {
            bound: Vec::new(),
            later,
        });
        let ops = self.statements(statements, place);
        self.scopes.pop();
        let mut ops = ops?;
        Ok(match ops.len() {
            0 => Op::Undefined,
            // What can be no sequence needs no block, which takes a sequence in a sequence out of it.
            1 if is_scalar(&ops[0]) => ops.remove(0),
            _ => Op::Block(ops.into()),
        })
    }

    fn statements(&mut self, statements: &[AstNode], place: Place) -> Lowering<Vec<Op>> {
        let mut ops = Vec::with_capacity(statements.len());
        for (index, statement) in statements.iter().enumerate() {
            let op = match assignment(statement) {
                Some((name, lambda @ AstNode::Lambda { .. })) => {
                    if index + 1 == statements.len() {
                        return refuse("a function as a value");
                    }
                    let context = self.slot();
                    let lambda = self.lambda(lambda, place, Some(context))?;
                    self.bind(name, Binding::Lambda(lambda));
                    Op::Define(context)
                }
                Some((name, value)) => {
                    let value = self.op(value, place)?;
                    let slot = self.slot();
                    self.bind(name, Binding::Slot(slot));
                    Op::Bind(slot, Box::new(value))
                }
                None => self.op(statement, place)?,
            };
            ops.push(op);
        }
        Ok(ops)
    }

    /// An array or an object. One of literals alone is a constant.
    fn constructor(&mut self, ast: &AstNode, place: Place) -> Lowering<Op> {
        let mut json = String::new();
        if write_literal(ast, 0, &mut json) {
            return Ok(Op::Constant(self.constants.literal(&json)));
        }
        match ast {
            AstNode::Object(pairs) => self.object(pairs, place),
            AstNode::Array(elements) => Ok(Op::Array(self.elements(elements, place)?)),
            _ => refuse("an expression that has no meaning here"),
        }
    }

    fn elements(&mut self, elements: &[AstNode], place: Place) -> Lowering<Box<[Element]>> {
        self.nests = true;
        elements
            .iter()
            .map(|element| {
                Ok(Element {
                    op: self.op(element, place)?,
                    whole: is_array_constructor(element),
                })
            })
            .collect()
    }

    fn object(&mut self, pairs: &[(AstNode, AstNode)], place: Place) -> Lowering<Op> {
        self.nests = true;
        let outer = place == Place::Top;
        // An object takes the input out of its wrapper; in AWS's dialect there is nothing to see either way.
        let place = match self.dialect {
            Dialect::Plain => Place::Inner,
            Dialect::Aws => place,
        };
        let mut members = Vec::with_capacity(pairs.len());
        let mut names: Vec<&str> = Vec::new();
        for (key, value) in pairs {
            let key = match key {
                AstNode::String(name) => {
                    if names.contains(&name.as_str()) {
                        return refuse("a member that is there twice");
                    }
                    names.push(name);
                    ObjectKey::Constant(self.constants.key(name))
                }
                key => ObjectKey::Computed(self.op(key, place)?),
            };
            members.push((key, self.op(value, place)?));
        }
        let is_computed = |(key, _): &(ObjectKey, Op)| matches!(key, ObjectKey::Computed(_));
        Ok(Op::Object(Box::new(Object {
            computes: members.iter().any(is_computed),
            members: members.into(),
            outer,
            last: false,
        })))
    }

    fn group(
        &mut self,
        input: &AstNode,
        pattern: &[(AstNode, AstNode)],
        place: Place,
    ) -> Lowering<Op> {
        self.nests = true;
        // It may fail where there is nothing to group.
        self.calls += 1;
        let input = match (self.op(input, place)?, input) {
            (op, AstNode::Block(_)) => Op::Block([op].into()),
            (op, _) => op,
        };
        let pairs = pattern
            .iter()
            .map(|(key, value)| Ok((self.op(key, Place::Inner)?, self.op(value, Place::Inner)?)))
            .collect::<Lowering<_>>()?;
        Ok(Op::Group(Box::new(Group { input, pairs })))
    }

    fn sort(&mut self, input: &AstNode, terms: &[(AstNode, bool)], place: Place) -> Lowering<Op> {
        self.calls += 1;
        if !path::is_sortable(input) {
            return refuse("an order of what is no plain path");
        }
        let input = self.op(input, place)?;
        let terms = terms
            .iter()
            .map(|(term, ascending)| {
                Ok(SortTerm {
                    op: self.op(term, Place::Inner)?,
                    direction: if *ascending {
                        Direction::Ascending
                    } else {
                        Direction::Descending
                    },
                })
            })
            .collect::<Lowering<_>>()?;
        Ok(Op::Sort(Box::new(Sort { input, terms })))
    }

    fn member(&mut self, name: &str) -> MemberName {
        self.constants.member(name)
    }
}

/// True for an op that gives neither a sequence nor an array.
fn is_scalar(op: &Op) -> bool {
    matches!(
        op,
        Op::Undefined
            | Op::Constant(_)
            | Op::Number(_)
            | Op::Negate(_)
            | Op::Arithmetic(..)
            | Op::Order(..)
            | Op::Equal(_)
            | Op::NotEqual(_)
            | Op::In(_)
            | Op::And(_)
            | Op::Or(_)
            | Op::Concat(_)
            | Op::Object(_)
    )
}

/// `$name := value`
fn assignment(statement: &AstNode) -> Option<(&str, &AstNode)> {
    match statement {
        AstNode::Binary {
            op: BinaryOp::ColonEqual,
            lhs,
            rhs,
        } => match &**lhs {
            AstNode::Variable(name) if !name.is_empty() => Some((name, rhs)),
            _ => None,
        },
        _ => None,
    }
}

/// Writes a literal as JSON; false if the tree is none.
fn write_literal(ast: &AstNode, depth: usize, json: &mut String) -> bool {
    if depth > NESTING_MAX {
        return false;
    }
    match ast {
        AstNode::Null => json.push_str("null"),
        AstNode::Boolean(value) => json.push_str(if *value { "true" } else { "false" }),
        AstNode::Number(n) if n.is_finite() => {
            json.push_str(super::number::javascript(*n).as_str());
        }
        AstNode::String(text) => write_text(text, json),
        AstNode::Array(elements) => {
            json.push('[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    json.push(',');
                }
                if !write_literal(element, depth + 1, json) {
                    return false;
                }
            }
            json.push(']');
        }
        AstNode::Object(pairs) => {
            json.push('{');
            for (place, (name, value)) in pairs.iter().enumerate() {
                let is_twice = pairs[..place].iter().any(|(other, _)| other == name);
                let AstNode::String(text) = name else {
                    return false;
                };
                if place > 0 {
                    json.push(',');
                }
                write_text(text, json);
                json.push(':');
                if is_twice || !write_literal(value, depth + 1, json) {
                    return false;
                }
            }
            json.push('}');
        }
        _ => return false,
    }
    true
}

fn write_text(text: &str, json: &mut String) {
    json.push('"');
    json.push_str(&escape(text));
    json.push('"');
}

fn number(n: f64) -> Lowering<Op> {
    if n.is_finite() {
        Ok(Op::Number(n))
    } else {
        refuse("a number out of range")
    }
}

/// True for `[…]`, with or without filters: as an element of another array it stays whole.
fn is_array_constructor(ast: &AstNode) -> bool {
    match ast {
        AstNode::Array(_) => true,
        AstNode::Path { steps } => {
            matches!(steps.as_slice(), [step] if matches!(step.node, AstNode::Array(_)))
        }
        _ => false,
    }
}

fn refuse<T>(reason: &'static str) -> Lowering<T> {
    Err(Reason::new(reason))
}

/// What a disassembler calls an expression that has no lowered form at all.
fn construct(ast: &AstNode) -> &'static str {
    match ast {
        AstNode::Regex { .. } => "a regular expression",
        AstNode::Lambda { .. } => "a function as a value",
        AstNode::Placeholder => "a partial application",
        AstNode::Descendant => "`**`",
        AstNode::Wildcard => "`*` of the whole input",
        AstNode::Parent(_) => "`%`",
        AstNode::Transform { .. } => "a transformation",
        AstNode::Function { .. } => "a call without `$`",
        _ => "an expression that has no meaning here",
    }
}
