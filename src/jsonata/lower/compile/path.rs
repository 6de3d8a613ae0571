//! Paths, their steps and their filters.

use jsonata_core::ast::{AstNode, PathStep, Stage as AstStage};

use super::{Lowerer, Lowering, Place, refuse};
use crate::jsonata::lower::op::{Filtered, MemberOf, Node, Op, Path, Reach, Stage, Step};
use crate::jsonata::{Constants, Dialect, Root};
use crate::value::MemberName;

impl<C: Constants> Lowerer<'_, C> {
    pub(super) fn path(&mut self, steps: &[PathStep], place: Place) -> Lowering<Op> {
        if steps.iter().any(binds) {
            return refuse("`@`, `#` or `%`");
        }
        if steps
            .iter()
            .any(|step| matches!(step.node, AstNode::Sort { .. }))
            && steps.iter().any(keeps)
        {
            return refuse("`[]` of an order");
        }
        let Some((first, rest)) = steps.split_first() else {
            return refuse("a path of no steps");
        };
        let keep = steps.iter().any(keeps);
        if rest.is_empty() && !matches!(first.node, AstNode::Name(_) | AstNode::Sort { .. }) {
            return self.filtered(first, keep, place);
        }
        let mut lowered = Vec::with_capacity(steps.len());
        let (whole, rest) = match (self.states(steps)?, rest) {
            (Some(root), [field, rest @ ..]) => {
                lowered.push(Step {
                    node: Node::Op(root),
                    stages: self.stages(&field.stages)?,
                });
                (true, rest)
            }
            _ => {
                let whole = place == Place::Top || takes_all(&first.node);
                lowered.push(self.first_step(first, place, rest.is_empty())?);
                (whole, rest)
            }
        };
        for step in rest {
            lowered.push(Step {
                node: self.node(&step.node)?,
                stages: self.stages(&step.stages)?,
            });
        }
        Ok(match <[Step; 1]>::try_from(lowered) {
            // `$states.input` alone.
            Ok(
                [
                    Step {
                        node: Node::Op(root @ Op::Root(_)),
                        stages,
                    },
                ],
            ) if stages.is_empty() && !keep => root,
            Ok(only) => path_op(only.into(), whole, keep),
            Err(steps) => path_op(steps, whole, keep),
        })
    }

    /// The root that a path through `$states` starts from, in its first two steps.
    fn states(&mut self, steps: &[PathStep]) -> Lowering<Option<Op>> {
        if self.dialect != Dialect::Aws {
            return Ok(None);
        }
        let [first, field, ..] = steps else {
            return Ok(None);
        };
        let AstNode::Variable(variable) = &first.node else {
            return Ok(None);
        };
        if variable != "states" || self.binding(variable)?.is_some() {
            return Ok(None);
        }
        let root = match &field.node {
            AstNode::Name(name) if first.stages.is_empty() => match name.as_str() {
                "input" => Root::Input,
                "result" => Root::Result,
                "errorOutput" => Root::ErrorOutput,
                "context" => Root::Context,
                _ => return refuse("a field that `$states` has not"),
            },
            _ => return refuse("`$states` itself"),
        };
        Ok(Some(self.root(root)))
    }

    /// A value with filters that is no path.
    fn filtered(&mut self, step: &PathStep, keep: bool, place: Place) -> Lowering<Op> {
        let op = self.op(&step.node, place)?;
        let stages = self.stages(&step.stages)?;
        if stages.is_empty() && !keep {
            return Ok(op);
        }
        // What a block gives is no sequence any more, unlike what its one statement may give.
        let op = match (&step.node, op) {
            (_, op @ Op::Block(_)) | (AstNode::Variable(_), op) => op,
            (AstNode::Block(_), op) => Op::Block([op].into()),
            (_, op) => op,
        };
        Ok(Op::Filtered(Box::new(Filtered { op, stages, keep })))
    }

    fn first_step(&mut self, step: &PathStep, place: Place, alone: bool) -> Lowering<Step> {
        let node = match &step.node {
            AstNode::Array(_) => return refuse("a path that starts with an array"),
            AstNode::Block(_) if starts_with_array(&step.node) => {
                return refuse("a path that starts with a block with an array");
            }
            AstNode::ObjectTransform { .. } => return refuse("a path that starts with a grouping"),
            AstNode::Name(_) if place == Place::Top && self.dialect == Dialect::Aws => {
                return refuse("a name at the top");
            }
            AstNode::Name(name) => Node::Name(self.member(name)),
            AstNode::Sort { .. } => Node::Raw(self.op(&step.node, place)?),
            _ if alone => return refuse("a step alone"),
            AstNode::FunctionApplication(_) | AstNode::ArrayGroup(_) => {
                return refuse("a path that starts with `.`");
            }
            // A step sees the input itself, out of the wrapper that makes it one item.
            node => {
                let place = match self.dialect {
                    Dialect::Plain => Place::Inner,
                    Dialect::Aws => place,
                };
                Node::Op(self.op(node, place)?)
            }
        };
        Ok(Step {
            node,
            stages: self.stages(&step.stages)?,
        })
    }

    fn node(&mut self, node: &AstNode) -> Lowering<Node> {
        Ok(match node {
            AstNode::Name(name) => Node::Name(self.member(name)),
            AstNode::ArrayGroup(elements) => Node::Group(self.elements(elements, Place::Inner)?),
            AstNode::FunctionApplication(body) => Node::Op(self.op(body, Place::Inner)?),
            AstNode::Sort { .. } => return refuse("an order within a path"),
            AstNode::Array(_) => return refuse("an array within a path"),
            node => Node::Op(self.op(node, Place::Inner)?),
        })
    }

    fn stages(&mut self, stages: &[AstStage]) -> Lowering<Box<[Stage]>> {
        let mut lowered = Vec::with_capacity(stages.len());
        for stage in stages {
            match stage {
                AstStage::KeepArray => {}
                AstStage::Index(_) => return refuse("`#`"),
                AstStage::Filter(predicate) => {
                    let calls = self.calls;
                    lowered.push(match self.op(predicate, Place::Inner)? {
                        Op::Number(position) => Stage::Index(position),
                        predicate => Stage::Filter {
                            predicate,
                            calls: self.calls > calls,
                        },
                    });
                }
            }
        }
        Ok(lowered.into())
    }
}

fn path_op(steps: Vec<Step>, whole: bool, keep: bool) -> Op {
    let path = Path {
        steps: steps.into(),
        whole,
        keep,
    };
    let plain = |step: &Step| step.stages.is_empty() && !keep;
    if let Some((root, names)) = reached(&path.steps)
        && path.steps.iter().all(plain)
    {
        return Op::Reach(Box::new(Reach { root, names, path }));
    }
    let (slot, member) = match &*path.steps {
        [step] if plain(step) => (None, &step.node),
        [first, step] if plain(first) && plain(step) => match &first.node {
            Node::Op(Op::Slot(slot)) => (Some(*slot), &step.node),
            _ => return Op::Path(Box::new(path)),
        },
        _ => return Op::Path(Box::new(path)),
    };
    let Node::Name(member) = member else {
        return Op::Path(Box::new(path));
    };
    Op::Member(Box::new(MemberOf {
        slot,
        member: member.clone(),
        path,
    }))
}

/// A root, and the names that are all that follows on it.
fn reached(steps: &[Step]) -> Option<(u32, Box<[MemberName]>)> {
    let (first, rest) = steps.split_first()?;
    let Node::Op(Op::Root(root)) = first.node else {
        return None;
    };
    let names = rest.iter().map(|step| match &step.node {
        Node::Name(member) => Some(member.clone()),
        Node::Op(_) | Node::Raw(_) | Node::Group(_) => None,
    });
    Some((root, names.collect::<Option<_>>()?))
}

/// True for a step that makes a path a stream of tuples.
fn binds(step: &PathStep) -> bool {
    step.focus.is_some()
        || step.index_var.is_some()
        || step.ancestor_label.is_some()
        || step.is_tuple
        || step.inner_tuple
}

fn keeps(step: &PathStep) -> bool {
    let stages = &step.stages;
    stages
        .iter()
        .any(|stage| matches!(stage, AstStage::KeepArray))
}

/// True for a first step that sees an array as a whole.
fn takes_all(node: &AstNode) -> bool {
    matches!(
        node,
        AstNode::Variable(_) | AstNode::ParentVariable(_) | AstNode::Sort { .. }
    )
}

/// True for a block with a statement that starts with an array constructor, which a path treats in its own way.
fn starts_with_array(node: &AstNode) -> bool {
    match node {
        AstNode::Block(statements) => statements.iter().any(|statement| match statement {
            AstNode::Path { steps } => steps.first().is_some_and(|step| {
                matches!(step.node, AstNode::Array(_)) || starts_with_array(&step.node)
            }),
            AstNode::Sort { input, .. } => {
                matches!(**input, AstNode::Array(_)) || starts_with_array(input)
            }
            statement => starts_with_array(statement),
        }),
        _ => false,
    }
}

/// True for what an order is lowered of: variables, and paths without `[]` or an order of their own.
pub(super) fn is_sortable(input: &AstNode) -> bool {
    match input {
        AstNode::Variable(_) => true,
        AstNode::Path { steps } => {
            let named = steps.len() > 1
                || matches!(steps.first(), Some(step) if matches!(step.node, AstNode::Name(_)));
            named
                && !steps.iter().any(keeps)
                && !steps
                    .iter()
                    .any(|step| matches!(step.node, AstNode::Sort { .. } | AstNode::ArrayGroup(_)))
        }
        _ => false,
    }
}
