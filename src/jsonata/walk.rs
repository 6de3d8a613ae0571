//! Goes over an expression's tree. The parser bounds its depth.

use jsonata_core::ast::{AstNode, PathStep, Stage};

/// How a part of an expression stands to the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// It sees the same context value `$`.
    Same,
    /// Its context is a value that the expression itself has found.
    Inner,
}

/// One walk, over a tree that is looked at and over one that is changed.
macro_rules! walk {
    ($(#[$docs:meta])* $name:ident, $path:ident $($mutable:tt)?) => {
        $(#[$docs])*
        pub(super) fn $name<'a>(
            node: &'a $($mutable)? AstNode,
            visit: &mut dyn FnMut(&'a $($mutable)? AstNode, Place),
        ) {
            match node {
                AstNode::String(_)
                | AstNode::Name(_)
                | AstNode::Number(_)
                | AstNode::Boolean(_)
                | AstNode::Null
                | AstNode::Undefined
                | AstNode::Placeholder
                | AstNode::Regex { .. }
                | AstNode::Variable(_)
                | AstNode::ParentVariable(_)
                | AstNode::Wildcard
                | AstNode::Descendant
                | AstNode::Parent(_) => {}
                AstNode::Path { steps } => $path(steps, visit),
                AstNode::Binary { lhs, rhs, .. } => {
                    visit(lhs, Place::Same);
                    visit(rhs, Place::Same);
                }
                AstNode::Unary { operand: inner, .. }
                | AstNode::Lambda { body: inner, .. }
                | AstNode::FunctionApplication(inner) => visit(inner, Place::Same),
                AstNode::Call { procedure, args } => {
                    visit(procedure, Place::Same);
                    for arg in args {
                        visit(arg, Place::Same);
                    }
                }
                AstNode::Function { args: items, .. }
                | AstNode::Array(items)
                | AstNode::ArrayGroup(items)
                | AstNode::Block(items) => {
                    for item in items {
                        visit(item, Place::Same);
                    }
                }
                AstNode::Object(pairs) => {
                    for (key, value) in pairs {
                        visit(key, Place::Same);
                        visit(value, Place::Same);
                    }
                }
                AstNode::ObjectTransform { input, pattern } => {
                    visit(input, Place::Same);
                    for (key, value) in pattern {
                        visit(key, Place::Inner);
                        visit(value, Place::Inner);
                    }
                }
                AstNode::Conditional { condition, then_branch, else_branch } => {
                    visit(condition, Place::Same);
                    visit(then_branch, Place::Same);
                    if let Some(branch) = else_branch {
                        visit(branch, Place::Same);
                    }
                }
                AstNode::Sort { input, terms } => {
                    visit(input, Place::Same);
                    for (term, _) in terms {
                        visit(term, Place::Inner);
                    }
                }
                AstNode::Transform { location, update, delete } => {
                    visit(location, Place::Inner);
                    visit(update, Place::Inner);
                    if let Some(delete) = delete {
                        visit(delete, Place::Inner);
                    }
                }
            }
        }

        fn $path<'a>(
            steps: &'a $($mutable)? [PathStep],
            visit: &mut dyn FnMut(&'a $($mutable)? AstNode, Place),
        ) {
            let mut place = Place::Same;
            for step in steps {
                visit(&$($mutable)? step.node, std::mem::replace(&mut place, Place::Inner));
                for stage in &$($mutable)? step.stages {
                    match stage {
                        Stage::Filter(predicate) => visit(predicate, Place::Inner),
                        Stage::KeepArray | Stage::Index(_) => {}
                    }
                }
            }
        }
    };
}

walk! {
    /// Calls `visit` for every direct part of `node`.
    parts, path
}

walk! {
    /// The same, for a tree whose parts may be replaced.
    parts_mut, path_mut mut
}

/// True if `node` or a part of it at any depth is one that `found` says yes to.
pub(super) fn any(node: &AstNode, found: &dyn Fn(&AstNode) -> bool) -> bool {
    if found(node) {
        return true;
    }
    let mut yes = false;
    parts(node, &mut |part, _| yes = yes || any(part, found));
    yes
}
