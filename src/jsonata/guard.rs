//! Guards: the library bounds time, depth and the length of sequences, but not what texts and lists an expression makes,
//! nor what values that share their parts unfold to. So the tree that is evaluated is not quite the one that was parsed:
//! operands and arguments that could run away pass through functions (`weigh.rs`) that measure them first.
//!
//! A guard passes its value on unchanged, so a guarded expression has the value of the expression as it was written. Guards
//! have names that no expression can write.

use jsonata_core::ast::{AstNode, BinaryOp, PathStep};

use super::functions::MILLIS;
use super::walk::{self, parts_mut};

/// A guard, by the name of its function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Guard {
    /// A value that will be gone over with all that is in it.
    Weigh,
    /// A value that will become text.
    Text,
    /// A value that will become text with indentation.
    Indented,
    /// The left side of `&`, and its right side.
    Left,
    Right,
    /// What is put into a list or an object, or a step of a path has for one item: all of it together is bounded.
    Part,
    /// The first, a middle and the last item of a list, parts too.
    First,
    Middle,
    Last,
    /// The list and the separator of `$join`.
    List,
    Separator,
    /// The width and the filling of `$pad`.
    Width,
    Filling,
    /// The text of `$split` or `$match`, with what it is searched for if that is known.
    Pieces,
    Matches,
    /// The text of `$replace`, what it is replaced with, and what a function gives for one match.
    Subject,
    Replacement,
    Collected,
    /// True for a function in place of a replacement.
    IsFunction,
    /// The picture of a date or a number.
    Picture,
    /// `$distinct`, in linear time.
    Distinct,
}

impl Guard {
    /// The name of the function, which no expression can write.
    pub(super) fn name(self) -> String {
        format!("quickstep {self:?}")
    }
}

/// The tree that is evaluated, and the guards in it.
pub(super) fn guarded(ast: &AstNode) -> (AstNode, Vec<Guard>) {
    let mut rewrite = Rewrite {
        bound: Vec::new(),
        used: Vec::new(),
    };
    rewrite.collect_bound(ast);
    let mut ast = ast.clone();
    rewrite.node(&mut ast);
    (ast, rewrite.used)
}

struct Rewrite {
    /// What the expression itself binds: a function of such a name may be another one.
    bound: Vec<String>,
    used: Vec<Guard>,
}

impl Rewrite {
    fn collect_bound(&mut self, node: &AstNode) {
        match node {
            AstNode::Binary {
                op: BinaryOp::ColonEqual,
                lhs,
                ..
            } => {
                if let AstNode::Variable(name) = &**lhs {
                    self.bound.push(name.clone());
                }
            }
            AstNode::Lambda { params, .. } => self.bound.extend(params.iter().cloned()),
            _ => {}
        }
        walk::parts(node, &mut |part, _| self.collect_bound(part));
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    fn node(&mut self, node: &mut AstNode) {
        self.chain(node);
        parts_mut(node, &mut |part| self.node(part));
        if let AstNode::Function { name, args, .. } = node
            && name == "now"
            && !args.is_empty()
            && !self.is_bound(name)
        {
            // Only `$fromMillis` knows pictures.
            "fromMillis".clone_into(name);
            args.insert(0, function(MILLIS, Vec::new()));
        }
        self.guard(node);
    }

    /// `x ~> $string()` is `$string(x)`: its arguments are then where they are elsewhere.
    fn chain(&self, node: &mut AstNode) {
        let AstNode::Binary {
            op: BinaryOp::ChainPipe,
            lhs,
            rhs,
        } = node
        else {
            return;
        };
        // A function before `~>` is composed with the one behind it.
        let is_value = !matches!(
            **lhs,
            AstNode::Variable(_) | AstNode::Lambda { .. } | AstNode::Transform { .. }
        );
        let (name, rest) = match &mut **rhs {
            AstNode::Function { name, args, .. }
                if is_guarded(name)
                    && !self.is_bound(name)
                    && !args.iter().any(|arg| matches!(arg, AstNode::Placeholder)) =>
            {
                (name.clone(), std::mem::take(args))
            }
            AstNode::Variable(name) if is_guarded(name) && !self.is_bound(name) && is_value => {
                (name.clone(), Vec::new())
            }
            _ => return,
        };
        let first = std::mem::replace(&mut **lhs, AstNode::Undefined);
        let args = std::iter::once(first).chain(rest).collect();
        *node = function(&name, args);
    }

    fn guard(&mut self, node: &mut AstNode) {
        match node {
            AstNode::Binary { op, lhs, rhs } => match op {
                BinaryOp::Concatenate => {
                    if is_literal(lhs) || is_literal(rhs) {
                        self.wrap(lhs, Guard::Text);
                        self.wrap(rhs, Guard::Text);
                    } else {
                        self.wrap(lhs, Guard::Left);
                        self.wrap(rhs, Guard::Right);
                    }
                }
                BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::In => {
                    self.wrap(lhs, Guard::Weigh);
                    self.wrap(rhs, Guard::Weigh);
                }
                BinaryOp::And | BinaryOp::Or => {
                    self.truth(lhs);
                    self.truth(rhs);
                }
                BinaryOp::ColonEqual => {
                    if let AstNode::Object(_) | AstNode::Array(_) | AstNode::Function { .. } = **rhs
                    {
                        self.wrap(rhs, Guard::Weigh);
                    }
                }
                BinaryOp::Range => self.wrap_any(node, Guard::Part),
                _ => {}
            },
            AstNode::Conditional { condition, .. } => self.truth(condition),
            AstNode::Array(items) | AstNode::ArrayGroup(items) => self.list(items),
            AstNode::Object(pairs) | AstNode::ObjectTransform { pattern: pairs, .. } => {
                for (_, value) in pairs {
                    self.part(value);
                }
            }
            AstNode::Path { .. } => self.path(node),
            AstNode::Function { name, args, .. } if !self.is_bound(name) => {
                if name == "distinct" {
                    *name = Guard::Distinct.name();
                    self.note(Guard::Distinct);
                } else {
                    let name = name.clone();
                    self.arguments(&name, args);
                }
            }
            AstNode::Variable(name) if !self.is_bound(name) => {
                if name == "distinct" {
                    *name = Guard::Distinct.name();
                    self.note(Guard::Distinct);
                } else if let Some(guard) = of_one_argument(name) {
                    *node = self.by_reference(name, guard);
                }
            }
            _ => {}
        }
    }

    /// What is looked at for being true.
    fn truth(&mut self, node: &mut AstNode) {
        if let AstNode::Variable(_)
        | AstNode::Path { .. }
        | AstNode::Function { .. }
        | AstNode::Call { .. }
        | AstNode::Block(_)
        | AstNode::Conditional { .. } = node
        {
            self.wrap(node, Guard::Weigh);
        }
    }

    /// The items of a list, which takes over those of the lists among them.
    fn list(&mut self, items: &mut [AstNode]) {
        let count = items.iter().filter(|item| grows(item)).count();
        let growing = items.iter_mut().filter(|item| grows(item));
        for (i, item) in growing.enumerate() {
            let guard = match i {
                _ if count == 1 => Guard::Part,
                0 => Guard::First,
                _ if i + 1 == count => Guard::Last,
                _ => Guard::Middle,
            };
            self.wrap(item, guard);
        }
    }

    fn part(&mut self, value: &mut AstNode) {
        if grows(value) {
            self.wrap(value, Guard::Part);
        }
    }

    /// A path puts what its steps have for single items into one list.
    fn path(&mut self, node: &mut AstNode) {
        let AstNode::Path { steps } = node else {
            return;
        };
        let several = steps.len() > 1;
        for (i, step) in steps.iter_mut().enumerate() {
            // A lone step has no list to put anything into; what a stage or `%` looks at is the step itself.
            if !several || !step.stages.is_empty() || step.is_tuple || step.inner_tuple {
                continue;
            }
            let guard = if i == 0 { Guard::Weigh } else { Guard::Part };
            match &mut step.node {
                AstNode::Function { .. } | AstNode::Call { .. } | AstNode::Block(_) => {
                    self.wrap_any(&mut step.node, guard);
                }
                AstNode::Variable(name) if i > 0 && !name.is_empty() => {
                    self.wrap_any(&mut step.node, guard);
                }
                AstNode::FunctionApplication(inner) => self.wrap_any(inner, guard),
                _ => {}
            }
        }
        let unfolds =
            |step: &PathStep| matches!(step.node, AstNode::Wildcard | AstNode::Descendant);
        if !steps.iter().any(unfolds) {
            return;
        }
        // What `**` goes over is the first step's value, or the context.
        let start = match &steps[0].node {
            AstNode::Variable(name) => AstNode::Variable(name.clone()),
            AstNode::Name(_) | AstNode::Wildcard | AstNode::Descendant => {
                AstNode::Variable(String::new())
            }
            _ => return,
        };
        let mut weighed = start;
        self.wrap_any(&mut weighed, Guard::Weigh);
        let path = std::mem::replace(node, AstNode::Undefined);
        *node = AstNode::Block(vec![weighed, path]);
    }

    fn arguments(&mut self, name: &str, args: &mut [AstNode]) {
        if args.iter().any(|arg| matches!(arg, AstNode::Placeholder)) {
            return;
        }
        match (name, args) {
            ("string", [value, _]) => self.wrap(value, Guard::Indented),
            ("join", [list, separator]) => {
                self.wrap_any(list, Guard::List);
                self.wrap_any(separator, Guard::Separator);
            }
            ("join", [list]) => self.wrap(list, Guard::Text),
            ("pad", [_, width]) => self.wrap_any(width, Guard::Width),
            ("pad", [_, width, filling]) => {
                self.wrap_any(width, Guard::Width);
                self.wrap_any(filling, Guard::Filling);
            }
            ("split", [subject, searched, ..]) => self.searched(subject, searched, Guard::Pieces),
            ("match", [subject, searched, ..]) => self.searched(subject, searched, Guard::Matches),
            ("replace", [subject, searched, replacement, ..]) => {
                self.searched(subject, searched, Guard::Subject);
                self.replacement(replacement);
            }
            (
                "fromMillis" | "toMillis" | "formatInteger" | "parseInteger" | "formatNumber",
                [_, picture, ..],
            ) => self.wrap_any(picture, Guard::Picture),
            (name, [value, ..]) => {
                if let Some(guard) = of_one_argument(name) {
                    self.wrap(value, guard);
                }
            }
            _ => {}
        }
    }

    /// The text that a function searches, with what it is searched for: its length says how much may be found, and if
    /// that is too much, it is counted.
    fn searched(&mut self, subject: &mut AstNode, searched: &AstNode, guard: Guard) {
        let inner = std::mem::replace(subject, AstNode::Undefined);
        let mut args = vec![inner];
        match searched {
            AstNode::String(text) => args.push(AstNode::String(text.clone())),
            AstNode::Regex { pattern, flags } => {
                args.push(AstNode::String(pattern.clone()));
                args.push(AstNode::String(flags.clone()));
            }
            _ => {}
        }
        self.note(guard);
        *subject = function(&guard.name(), args);
    }

    /// What a match is replaced with: a text, or a function whose texts are counted as they come.
    fn replacement(&mut self, node: &mut AstNode) {
        const MATCH: &str = "quickstep match";
        match node {
            AstNode::Lambda { body, thunk, .. } => {
                *thunk = false;
                self.wrap_any(body, Guard::Collected);
            }
            AstNode::Variable(name) => {
                let name = name.clone();
                let call = function(&name, vec![AstNode::Variable(MATCH.to_owned())]);
                self.note(Guard::Collected);
                self.note(Guard::IsFunction);
                let collecting = AstNode::Lambda {
                    params: vec![MATCH.to_owned()],
                    body: Box::new(function(&Guard::Collected.name(), vec![call])),
                    signature: None,
                    thunk: false,
                };
                let mut text = node.clone();
                self.wrap_any(&mut text, Guard::Replacement);
                *node = AstNode::Conditional {
                    condition: Box::new(function(
                        &Guard::IsFunction.name(),
                        vec![AstNode::Variable(name)],
                    )),
                    then_branch: Box::new(collecting),
                    else_branch: Some(Box::new(text)),
                };
            }
            _ => self.wrap_any(node, Guard::Replacement),
        }
    }

    /// `$string` where it is a value: `$map(list, $string)`.
    fn by_reference(&mut self, name: &str, guard: Guard) -> AstNode {
        const VALUE: &str = "quickstep value";
        let mut value = AstNode::Variable(VALUE.to_owned());
        self.wrap(&mut value, guard);
        AstNode::Lambda {
            params: vec![VALUE.to_owned()],
            body: Box::new(function(name, vec![value])),
            signature: None,
            thunk: false,
        }
    }

    fn note(&mut self, guard: Guard) {
        if !self.used.contains(&guard) {
            self.used.push(guard);
        }
    }

    /// Puts a guard around a part, unless it is a literal.
    fn wrap(&mut self, node: &mut AstNode, guard: Guard) {
        if !is_literal(node) {
            self.wrap_any(node, guard);
        }
    }

    fn wrap_any(&mut self, node: &mut AstNode, guard: Guard) {
        self.note(guard);
        let inner = std::mem::replace(node, AstNode::Undefined);
        *node = function(&guard.name(), vec![inner]);
    }
}

/// Functions whose arguments are guarded.
fn is_guarded(name: &str) -> bool {
    matches!(
        name,
        "join"
            | "pad"
            | "split"
            | "match"
            | "replace"
            | "distinct"
            | "fromMillis"
            | "toMillis"
            | "formatInteger"
            | "parseInteger"
            | "formatNumber"
    ) || of_one_argument(name).is_some()
}

/// The guard of a function that takes one argument.
fn of_one_argument(name: &str) -> Option<Guard> {
    match name {
        "string" | "base64encode" | "encodeUrl" | "encodeUrlComponent" => Some(Guard::Text),
        "boolean" | "not" => Some(Guard::Weigh),
        _ => None,
    }
}

/// True for what may have more parts than it is written with.
fn grows(node: &AstNode) -> bool {
    !is_literal(node)
        && !matches!(
            node,
            AstNode::Array(_) | AstNode::Object(_) | AstNode::Lambda { .. }
        )
}

fn is_literal(node: &AstNode) -> bool {
    matches!(
        node,
        AstNode::String(_)
            | AstNode::Number(_)
            | AstNode::Boolean(_)
            | AstNode::Null
            | AstNode::Undefined
            | AstNode::Regex { .. }
    )
}

fn function(name: &str, args: Vec<AstNode>) -> AstNode {
    AstNode::Function {
        name: name.to_owned(),
        args,
        is_builtin: true,
    }
}
