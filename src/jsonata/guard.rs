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
    /// The one argument of `$pad` is its width. Of several the first is the text or, if the text is the context, the
    /// width; then there is the width or the filling.
    Width,
    Padded,
    Columns,
    Padding,
    /// The text of `$split` or `$match`, with what it is searched for if that is known.
    Pieces,
    Matches,
    /// The text of `$replace`, what it is replaced with, and what a function gives for one match.
    Subject,
    Replacement,
    Collected,
    /// True for a function in place of a replacement.
    IsFunction,
    /// True for a function of the library.
    IsBuiltin,
    /// True if a function whose last argument is a number, or is none, takes the context for its first: if it is a text.
    FillsBeforeNumber,
    FillsBeforeOther,
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
        self.partial(node);
        match node {
            // A name that is bound is no value.
            AstNode::Binary {
                op: BinaryOp::ColonEqual,
                rhs,
                ..
            } => self.node(rhs),
            _ => parts_mut(node, &mut |part, _| self.node(part)),
        }
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

    /// A partial application of a function whose arguments are guarded is one of a function that guards them.
    fn partial(&mut self, node: &mut AstNode) {
        let AstNode::Function { name, args, .. } = node else {
            return;
        };
        if !args.iter().any(|arg| matches!(arg, AstNode::Placeholder)) {
            return;
        }
        let Some((least, most)) = arities(name) else {
            return;
        };
        // With more arguments it fails, whatever they are; with fewer it is no text that is made.
        if !(least..=most).contains(&args.len()) {
            return;
        }
        let name = name.clone();
        let lambda = self.by_reference(&name, args.len(), args.len());
        let procedure = self.if_builtin(&name, lambda, AstNode::Variable(name.clone()));
        *node = AstNode::Call {
            procedure: Box::new(AstNode::Block(vec![procedure])),
            args: std::mem::take(args),
        };
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
            AstNode::Function { name, args, .. } if is_guarded(name) => {
                let (name, args) = (name.clone(), std::mem::take(args));
                *node = self.call(&name, args);
            }
            AstNode::Variable(name) if is_guarded(name) => {
                let (name, variable) = (name.clone(), node.clone());
                if let Some((least, most)) = arities(&name) {
                    let guarded = self.by_reference(&name, least, most);
                    *node = self.if_builtin(&name, guarded, variable);
                }
            }
            _ => {}
        }
    }

    /// A call of a function whose arguments are guarded, unless the expression has bound its name to another one.
    fn call(&mut self, name: &str, mut args: Vec<AstNode>) -> AstNode {
        if args.iter().any(|arg| matches!(arg, AstNode::Placeholder)) {
            return function(name, args);
        }
        let context = || AstNode::Variable(String::new());
        let fills = fills_in(name, &args);
        match fills {
            Fills::Never if !self.is_bound(name) => return self.guarded_call(name, args),
            Fills::Always if !self.is_bound(name) => {
                return self.guarded_call(name, vec![context()]);
            }
            _ => {}
        }
        let mut statements = Vec::new();
        for (place, arg) in args.iter_mut().enumerate() {
            if is_literal(arg) {
                continue;
            }
            let variable = AstNode::Variable(format!("quickstep argument {place}"));
            let value = std::mem::replace(arg, variable.clone());
            statements.push(AstNode::Binary {
                op: BinaryOp::ColonEqual,
                lhs: Box::new(variable),
                rhs: Box::new(value),
            });
        }
        let filled: Vec<AstNode> = std::iter::once(context()).chain(args.clone()).collect();
        let guarded = match fills {
            Fills::Never => self.guarded_call(name, args.clone()),
            Fills::Always => self.guarded_call(name, filled),
            Fills::IfNumber | Fills::UnlessNumber => {
                let guard = match fills {
                    Fills::IfNumber => Guard::FillsBeforeNumber,
                    _ => Guard::FillsBeforeOther,
                };
                let asked = std::iter::once(context()).chain(args.last().cloned());
                let asked = self.asked(guard, asked.collect());
                AstNode::Conditional {
                    condition: Box::new(asked),
                    then_branch: Box::new(self.guarded_call(name, filled)),
                    else_branch: Some(Box::new(self.guarded_call(name, args.clone()))),
                }
            }
        };
        statements.push(self.if_builtin(name, guarded, function(name, args)));
        AstNode::Block(statements)
    }

    fn guarded_call(&mut self, name: &str, mut args: Vec<AstNode>) -> AstNode {
        if name == "distinct" {
            return function(&self.guarded_distinct(), args);
        }
        self.arguments(name, &mut args);
        function(name, args)
    }

    fn guarded_distinct(&mut self) -> String {
        self.note(Guard::Distinct);
        Guard::Distinct.name()
    }

    /// The first one where a name means the library's function, which is known if the expression never binds it.
    fn if_builtin(&mut self, name: &str, guarded: AstNode, bound: AstNode) -> AstNode {
        if !self.is_bound(name) {
            return guarded;
        }
        let variable = AstNode::Variable(name.to_owned());
        AstNode::Conditional {
            condition: Box::new(self.asked(Guard::IsBuiltin, vec![variable])),
            then_branch: Box::new(guarded),
            else_branch: Some(Box::new(bound)),
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
            ("pad", [width]) => self.wrap_any(width, Guard::Width),
            ("pad", [first, last]) => {
                self.wrap_any(first, Guard::Padded);
                self.wrap_any(last, Guard::Padding);
            }
            ("pad", [first, middle, last]) => {
                self.wrap_any(first, Guard::Padded);
                self.wrap_any(middle, Guard::Columns);
                self.wrap_any(last, Guard::Padding);
            }
            ("split", [subject, searched, ..]) => self.searched(subject, searched, Guard::Pieces),
            ("match", [subject, searched, ..]) => self.searched(subject, searched, Guard::Matches),
            ("replace", [subject, searched, replacement, ..]) => {
                self.searched(subject, searched, Guard::Subject);
                self.replacement(replacement);
            }
            // What is no text passes as a picture.
            ("fromMillis" | "formatInteger" | "formatNumber", args) => {
                args.iter_mut()
                    .for_each(|arg| self.wrap_any(arg, Guard::Picture));
            }
            ("toMillis" | "parseInteger", [_, picture, ..]) | ("parseInteger", [picture]) => {
                self.wrap_any(picture, Guard::Picture);
            }
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

    /// `$string` where it is a value: `$map(list, $string)`. It is given as many arguments as the function itself would
    /// be, of which some may be left out.
    fn by_reference(&mut self, name: &str, least: usize, most: usize) -> AstNode {
        let params: Vec<String> = (1..=most).map(|i| format!("quickstep value {i}")).collect();
        let mut body = None;
        for count in least..=most {
            let variables = params[..count].iter().cloned().map(AstNode::Variable);
            let args: Vec<AstNode> = variables.collect();
            let call = self.guarded_call(name, args);
            body = Some(match body {
                None => call,
                Some(fewer) => AstNode::Conditional {
                    condition: Box::new(function(
                        "exists",
                        vec![AstNode::Variable(params[count - 1].clone())],
                    )),
                    then_branch: Box::new(call),
                    else_branch: Some(Box::new(fewer)),
                },
            });
        }
        AstNode::Lambda {
            params,
            body: Box::new(body.unwrap_or(AstNode::Undefined)),
            signature: None,
            thunk: false,
        }
    }

    /// What a guard tells of values.
    fn asked(&mut self, guard: Guard, values: Vec<AstNode>) -> AstNode {
        self.note(guard);
        function(&guard.name(), values)
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
    arities(name).is_some()
}

/// How many arguments a function whose arguments are guarded takes as a value, at least and at most.
fn arities(name: &str) -> Option<(usize, usize)> {
    Some(match name {
        "join" | "toMillis" => (1, 2),
        "formatInteger" | "parseInteger" => (2, 2),
        "pad" | "split" | "match" | "formatNumber" => (2, 3),
        "replace" => (3, 4),
        "fromMillis" => (1, 3),
        "distinct" => (1, 1),
        _ => {
            of_one_argument(name)?;
            (1, 1)
        }
    })
}

/// Whether a function takes the context for its first argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fills {
    Always,
    /// If it is a text, and the last argument a number.
    IfNumber,
    /// If it is a text, and the last argument none.
    UnlessNumber,
    Never,
}

fn fills_in(name: &str, args: &[AstNode]) -> Fills {
    let least = match name {
        "split" | "match" => 2,
        "replace" => 3,
        _ if of_one_argument(name).is_some() && args.is_empty() => return Fills::Always,
        _ => return Fills::Never,
    };
    match args.last() {
        Some(_) if args.len() + 1 == least => Fills::UnlessNumber,
        // A text is what is searched for, or what replaces it.
        Some(AstNode::String(_) | AstNode::Regex { .. } | AstNode::Lambda { .. }) => Fills::Never,
        Some(_) if args.len() == least => Fills::IfNumber,
        _ => Fills::Never,
    }
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
