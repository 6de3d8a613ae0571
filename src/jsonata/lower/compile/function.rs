//! Calls: the library's functions, lambdas, and the functions that take one.

use jsonata_core::ast::{AstNode, BinaryOp};

use super::{Binding, Lowerer, Lowering, Names, Place, is_array_constructor, refuse};
use super::{LAMBDAS_MAX, Lambda, NESTING_MAX};
use crate::jsonata::Constants;
use crate::jsonata::lower::op::{Element, Function, Higher, HigherCall, Node, Op, Path, Put};
use crate::stdx::narrow;

impl<C: Constants> Lowerer<'_, C> {
    pub(super) fn function(
        &mut self,
        name: &str,
        arguments: &[&AstNode],
        place: Place,
    ) -> Lowering<Op> {
        if arguments
            .iter()
            .any(|argument| matches!(argument, AstNode::Placeholder))
        {
            return refuse("a partial application");
        }
        match self.binding(name)? {
            Some(Binding::Lambda(lambda)) => return self.apply(lambda, arguments, place),
            Some(Binding::Slot(_)) => return refuse("a call of a computed function"),
            None => {}
        }
        if self.constants.variable(name).is_some() {
            return refuse("a function that a variable may hide");
        }
        self.calls += 1;
        if let Some(higher) = higher(name, arguments.len()) {
            return self.higher(higher, arguments, place);
        }
        let Some((function, arities)) = builtin(name) else {
            return refuse("a function that is not lowered");
        };
        if !arities.contains(&arguments.len()) {
            return refuse("a function's other number of arguments");
        }
        match (function, arguments) {
            (Function::Sum | Function::Max | Function::Min | Function::Average, [list]) => {
                self.aggregate(function, list, place)
            }
            (Function::Merge, [AstNode::Array(elements)]) => match elements.as_slice() {
                [base, AstNode::Object(pairs)] => self.put(base, pairs, place),
                _ => Ok(Op::Call(function, self.arguments(arguments, place)?)),
            },
            _ => Ok(Op::Call(function, self.arguments(arguments, place)?)),
        }
    }

    fn aggregate(&mut self, function: Function, list: &AstNode, place: Place) -> Lowering<Op> {
        Ok(match self.op(list, place)? {
            Op::Path(path) if is_numeric(&path) => Op::Over(function, path),
            Op::Reach(reach) if is_numeric(&reach.path) => Op::Over(function, Box::new(reach.path)),
            list => Op::Call(function, [list].into()),
        })
    }

    /// `$merge([base, {…}])`
    fn put(&mut self, base: &AstNode, pairs: &[(AstNode, AstNode)], place: Place) -> Lowering<Op> {
        let base = Element {
            op: self.op(base, place)?,
            whole: is_array_constructor(base),
        };
        Ok(match self.object(pairs, place)? {
            Op::Object(members) if !members.computes => Op::Put(Box::new(Put {
                base,
                members: *members,
            })),
            op => {
                let members = Element { op, whole: false };
                let list = Op::Array([base, members].into());
                Op::Call(Function::Merge, [list].into())
            }
        })
    }

    fn arguments(&mut self, arguments: &[&AstNode], place: Place) -> Lowering<Box<[Op]>> {
        arguments
            .iter()
            .map(|argument| self.op(argument, place))
            .collect()
    }

    /// `lhs ~> rhs`
    pub(super) fn chain(&mut self, lhs: &AstNode, rhs: &AstNode, place: Place) -> Lowering<Op> {
        match rhs {
            AstNode::Function {
                name,
                args,
                is_builtin: true,
            } => {
                let mut arguments = vec![lhs];
                arguments.extend(args);
                self.function(name, &arguments, place)
            }
            AstNode::Variable(name) if !name.is_empty() => self.function(name, &[lhs], place),
            AstNode::Lambda { .. } => {
                let lambda = self.lambda(rhs, place, None)?;
                self.apply(lambda, &[lhs], place)
            }
            _ => refuse("`~>` to a computed function"),
        }
    }

    pub(super) fn apply(
        &mut self,
        lambda: u32,
        arguments: &[&AstNode],
        place: Place,
    ) -> Lowering<Op> {
        self.calls += 1;
        self.deepen(lambda)?;
        Ok(Op::Apply(lambda, self.arguments(arguments, place)?))
    }

    /// A lambda is called here: its body's levels are below this one.
    fn deepen(&mut self, lambda: u32) -> Lowering<()> {
        let deepest = self.nesting + self.depths[lambda as usize];
        if deepest > NESTING_MAX {
            return refuse("calls that nest too deeply");
        }
        self.deepest = self.deepest.max(deepest);
        Ok(())
    }

    /// A lambda, in whose body its own name means nothing: one that calls itself is not lowered.
    pub(super) fn lambda(
        &mut self,
        ast: &AstNode,
        place: Place,
        context: Option<u32>,
    ) -> Lowering<u32> {
        let AstNode::Lambda {
            params,
            body,
            signature: None,
            thunk,
        } = ast
        else {
            return refuse("a function with a signature");
        };
        if self.lambdas.len() == LAMBDAS_MAX {
            return refuse("too many functions");
        }
        if *thunk && !ends_plainly(body) {
            return refuse("a function that ends in a computed call");
        }
        let mut names = Names::default();
        let mut parameters = Vec::with_capacity(params.len());
        for name in params {
            let slot = self.slot();
            names.bound.push((name.clone(), Binding::Slot(slot)));
            parameters.push(slot);
        }
        // Of two parameters of one name the last is seen.
        names.bound.reverse();
        self.scopes.push(names);
        let outer = std::mem::replace(&mut self.deepest, self.nesting);
        let body = self.op(body, place);
        let deepest = std::mem::replace(&mut self.deepest, outer);
        self.scopes.pop();
        self.depths.push(deepest - self.nesting);
        self.lambdas.push(Lambda {
            parameters: parameters.into(),
            body: body?,
            context,
            passes_on: *thunk,
        });
        Ok(narrow(self.lambdas.len() - 1))
    }

    fn higher(&mut self, higher: Higher, arguments: &[&AstNode], place: Place) -> Lowering<Op> {
        let (subject, function, initial) = match (higher, arguments) {
            (_, [subject, function]) => (subject, function, None),
            (Higher::Reduce, [subject, function, initial]) => (subject, function, Some(*initial)),
            _ => return refuse("a function's other number of arguments"),
        };
        self.reduces |= higher == Higher::Reduce;
        let subject = self.op(subject, place)?;
        let lambda = match function {
            AstNode::Lambda { .. } => self.lambda(function, place, None)?,
            AstNode::Variable(name) => match self.binding(name)? {
                Some(Binding::Lambda(lambda)) => lambda,
                Some(Binding::Slot(_)) => return refuse("a computed function"),
                None => self.reference(name)?,
            },
            _ => return refuse("a computed function"),
        };
        self.deepen(lambda)?;
        let parameters = self.lambdas[lambda as usize].parameters.len();
        if higher == Higher::Reduce && parameters < 2 {
            return refuse("a reduction by a function of one argument");
        }
        let parameters_max = match higher {
            Higher::Reduce => 4,
            Higher::Sort => 2,
            _ => 3,
        };
        if parameters > parameters_max {
            return refuse("a function of too many arguments");
        }
        let initial = match initial {
            Some(initial) => Some(self.op(initial, place)?),
            None => None,
        };
        Ok(Op::Higher(
            higher,
            Box::new(HigherCall {
                subject,
                lambda,
                initial,
            }),
        ))
    }

    /// A function of the library that is passed by its name, as a lambda of one argument.
    fn reference(&mut self, name: &str) -> Lowering<u32> {
        if self.constants.variable(name).is_some() {
            return refuse("a function that a variable may hide");
        }
        match builtin(name) {
            // `$sort` has a second parameter, for which `$map` would have an index.
            Some((function, arities)) if arities == [1] && name != "sort" => {
                if self.lambdas.len() == LAMBDAS_MAX {
                    return refuse("too many functions");
                }
                let slot = self.slot();
                self.depths.push(2);
                self.lambdas.push(Lambda {
                    parameters: [slot].into(),
                    body: Op::Call(function, [Op::Slot(slot)].into()),
                    context: None,
                    passes_on: true,
                });
                Ok(narrow(self.lambdas.len() - 1))
            }
            _ => refuse("a function of the library as a value"),
        }
    }
}

/// True for a path whose last step gives a number for each item, or fails: what aggregates take without a list.
fn is_numeric(path: &Path) -> bool {
    let [_, .., last] = &*path.steps else {
        return false;
    };
    let gives_numbers = matches!(
        last.node,
        Node::Name(_) | Node::Op(Op::Arithmetic(..) | Op::Negate(_))
    );
    gives_numbers && last.stages.is_empty() && !path.keep
}

/// True if the calls that a lambda ends in are all plain ones, whose results it passes on as they are.
fn ends_plainly(body: &AstNode) -> bool {
    match body {
        AstNode::Call { .. } => false,
        AstNode::Conditional {
            then_branch,
            else_branch,
            ..
        } => ends_plainly(then_branch) && else_branch.as_ref().is_none_or(|ast| ends_plainly(ast)),
        AstNode::Block(statements) => statements.last().is_none_or(ends_plainly),
        AstNode::Binary {
            op: BinaryOp::ChainPipe | BinaryOp::ColonEqual,
            ..
        } => false,
        _ => true,
    }
}

fn higher(name: &str, arguments: usize) -> Option<Higher> {
    Some(match name {
        "map" => Higher::Map,
        "filter" => Higher::Filter,
        "reduce" => Higher::Reduce,
        "single" => Higher::Single,
        "each" => Higher::Each,
        "sift" => Higher::Sift,
        "sort" if arguments == 2 => Higher::Sort,
        _ => return None,
    })
}

/// A function of the library, and the numbers of arguments with which it does not look at the context.
fn builtin(name: &str) -> Option<(Function, &'static [usize])> {
    Some(match name {
        "abs" => (Function::Abs, &[1]),
        "append" => (Function::Append, &[2]),
        "average" => (Function::Average, &[1]),
        "boolean" => (Function::Boolean, &[1]),
        "ceil" => (Function::Ceil, &[1]),
        "contains" => (Function::Contains, &[2]),
        "count" => (Function::Count, &[1]),
        "distinct" => (Function::Distinct, &[1]),
        "exists" => (Function::Exists, &[1]),
        "floor" => (Function::Floor, &[1]),
        "join" => (Function::Join, &[1, 2]),
        "keys" => (Function::Keys, &[1]),
        "length" => (Function::Length, &[1]),
        "lookup" => (Function::Lookup, &[2]),
        "lowercase" => (Function::Lowercase, &[1]),
        "max" => (Function::Max, &[1]),
        "merge" => (Function::Merge, &[1]),
        "min" => (Function::Min, &[1]),
        "not" => (Function::Not, &[1]),
        "number" => (Function::Number, &[1]),
        "power" => (Function::Power, &[2]),
        "reverse" => (Function::Reverse, &[1]),
        "round" => (Function::Round, &[1, 2]),
        "sort" => (Function::Sort, &[1]),
        "split" => (Function::Split, &[2]),
        "spread" => (Function::Spread, &[1]),
        "sqrt" => (Function::Sqrt, &[1]),
        "string" => (Function::String, &[1]),
        "substring" => (Function::Substring, &[2, 3]),
        "substringAfter" => (Function::SubstringAfter, &[2]),
        "substringBefore" => (Function::SubstringBefore, &[2]),
        "sum" => (Function::Sum, &[1]),
        "trim" => (Function::Trim, &[1]),
        "type" => (Function::Type, &[1]),
        "uppercase" => (Function::Uppercase, &[1]),
        _ => return None,
    })
}
