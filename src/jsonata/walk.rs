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

/// Calls `visit` for every direct part of `node`.
pub(super) fn parts<'a>(node: &'a AstNode, visit: &mut dyn FnMut(&'a AstNode, Place)) {
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
        AstNode::Path { steps } => path(steps, visit),
        AstNode::Binary { lhs, rhs, .. } => {
            visit(lhs, Place::Same);
            visit(rhs, Place::Same);
        }
        AstNode::Unary { operand: inner, .. }
        | AstNode::Lambda { body: inner, .. }
        | AstNode::FunctionApplication(inner) => visit(inner, Place::Same),
        AstNode::Function { args, .. } => args.iter().for_each(|arg| visit(arg, Place::Same)),
        AstNode::Call { procedure, args } => {
            visit(procedure, Place::Same);
            args.iter().for_each(|arg| visit(arg, Place::Same));
        }
        AstNode::Array(items) | AstNode::ArrayGroup(items) | AstNode::Block(items) => {
            items.iter().for_each(|item| visit(item, Place::Same));
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
        AstNode::Conditional {
            condition,
            then_branch,
            else_branch,
        } => {
            visit(condition, Place::Same);
            visit(then_branch, Place::Same);
            if let Some(branch) = else_branch {
                visit(branch, Place::Same);
            }
        }
        AstNode::Sort { input, terms } => {
            visit(input, Place::Same);
            terms.iter().for_each(|(term, _)| visit(term, Place::Inner));
        }
        AstNode::Transform {
            location,
            update,
            delete,
        } => {
            visit(location, Place::Inner);
            visit(update, Place::Inner);
            if let Some(delete) = delete {
                visit(delete, Place::Inner);
            }
        }
    }
}

fn path<'a>(steps: &'a [PathStep], visit: &mut dyn FnMut(&'a AstNode, Place)) {
    for (i, step) in steps.iter().enumerate() {
        let place = if i == 0 { Place::Same } else { Place::Inner };
        visit(&step.node, place);
        stages(step, visit);
    }
}

fn stages<'a>(step: &'a PathStep, visit: &mut dyn FnMut(&'a AstNode, Place)) {
    for stage in &step.stages {
        match stage {
            Stage::Filter(predicate) => visit(predicate, Place::Inner),
            Stage::KeepArray | Stage::Index(_) => {}
        }
    }
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

/// Calls `visit` for every direct part of `node`, which it may replace.
pub(super) fn parts_mut(node: &mut AstNode, visit: &mut dyn FnMut(&mut AstNode)) {
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
        AstNode::Path { steps } => path_mut(steps, visit),
        AstNode::Binary { lhs, rhs, .. } => {
            visit(lhs);
            visit(rhs);
        }
        AstNode::Unary { operand: inner, .. }
        | AstNode::Lambda { body: inner, .. }
        | AstNode::FunctionApplication(inner) => visit(inner),
        AstNode::Function { args, .. } => args.iter_mut().for_each(visit),
        AstNode::Call { procedure, args } => {
            visit(procedure);
            args.iter_mut().for_each(visit);
        }
        AstNode::Array(items) | AstNode::ArrayGroup(items) | AstNode::Block(items) => {
            items.iter_mut().for_each(visit);
        }
        AstNode::Object(pairs) => pairs_mut(pairs, visit),
        AstNode::ObjectTransform { input, pattern } => {
            visit(input);
            pairs_mut(pattern, visit);
        }
        AstNode::Conditional {
            condition,
            then_branch,
            else_branch,
        } => {
            visit(condition);
            visit(then_branch);
            if let Some(branch) = else_branch {
                visit(branch);
            }
        }
        AstNode::Sort { input, terms } => {
            visit(input);
            terms.iter_mut().for_each(|(term, _)| visit(term));
        }
        AstNode::Transform {
            location,
            update,
            delete,
        } => {
            visit(location);
            visit(update);
            if let Some(delete) = delete {
                visit(delete);
            }
        }
    }
}

fn path_mut(steps: &mut [PathStep], visit: &mut dyn FnMut(&mut AstNode)) {
    for step in steps {
        visit(&mut step.node);
        for stage in &mut step.stages {
            match stage {
                Stage::Filter(predicate) => visit(predicate),
                Stage::KeepArray | Stage::Index(_) => {}
            }
        }
    }
}

fn pairs_mut(pairs: &mut [(AstNode, AstNode)], visit: &mut dyn FnMut(&mut AstNode)) {
    for (key, value) in pairs {
        visit(key);
        visit(value);
    }
}
