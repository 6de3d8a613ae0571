//! Which parts of which values an expression names: only these are converted for the slow path.

use jsonata_core::ast::{AstNode, PathStep};

use super::walk::{self, parts};

/// What is read of a value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// These members, and those of the items if it is an array. None at all: nothing is read.
    Members(Vec<(Box<str>, Part)>),
}

impl Part {
    const NOTHING: Part = Part::Members(Vec::new());

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Part::Members(members) if members.is_empty())
    }

    /// Adds what a path of names reads.
    fn add(&mut self, names: &[&str]) {
        let Part::Members(members) = self else {
            return;
        };
        let Some((first, rest)) = names.split_first() else {
            *self = Part::Whole;
            return;
        };
        let at = members.iter().position(|(name, _)| **name == **first);
        let at = at.unwrap_or_else(|| {
            members.push(((*first).into(), Part::NOTHING));
            members.len() - 1
        });
        members[at].1.add(rest);
    }

    /// What is read of a member.
    pub(super) fn member(&self, name: &str) -> &Part {
        const NOTHING: &Part = &Part::NOTHING;
        match self {
            Part::Whole => &Part::Whole,
            Part::Members(members) => members
                .iter()
                .find(|(member, _)| **member == *name)
                .map_or(NOTHING, |(_, part)| part),
        }
    }
}

/// All that an expression reads.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Reads {
    /// Of the object `$states`.
    pub(super) states: Part,
    /// Of the variables that it names, `states` and what it binds itself not taken out.
    pub(super) variables: Vec<(Box<str>, Part)>,
    /// The functions that it calls or names, by their names, and the other variables that it names.
    pub(super) functions: Vec<Box<str>>,
    /// Those of them that it calls.
    called: Vec<Box<str>>,
}

impl Reads {
    pub(super) fn of(ast: &AstNode) -> Reads {
        let mut reads = Reads {
            states: Part::NOTHING,
            variables: Vec::new(),
            functions: Vec::new(),
            called: Vec::new(),
        };
        // `%` looks back at values that names have been taken from.
        let looks_back = walk::any(ast, &|node| matches!(node, AstNode::Parent(_)));
        reads.visit(ast, looks_back);
        reads
    }

    /// The function that it calls, if there is only one.
    pub(super) fn only_function(&self) -> Option<&str> {
        match &*self.called {
            [name] => Some(name),
            _ => None,
        }
    }

    fn visit(&mut self, node: &AstNode, looks_back: bool) {
        match node {
            AstNode::Variable(name) => self.read(name, &[]),
            AstNode::Path { steps } => {
                if let Some((first, rest)) = steps.split_first()
                    && let AstNode::Variable(name) = &first.node
                {
                    let names = if looks_back || !is_plain(first) {
                        Vec::new()
                    } else {
                        names(rest)
                    };
                    self.read(name, &names);
                    let mut is_first = true;
                    parts(node, &mut |part, _| {
                        if !std::mem::take(&mut is_first) {
                            self.visit(part, looks_back);
                        }
                    });
                    return;
                }
            }
            AstNode::Function { name, .. } => {
                if !self.called.iter().any(|called| **called == **name) {
                    self.called.push(name.as_str().into());
                }
                self.function(name);
                // A variable of a function's name hides it.
                self.read(name, &[]);
            }
            _ => {}
        }
        parts(node, &mut |part, _| self.visit(part, looks_back));
    }

    fn read(&mut self, name: &str, names: &[&str]) {
        if name == "states" {
            self.states.add(names);
        }
        self.function(name);
        let at = self.variables.iter().position(|(n, _)| **n == *name);
        let at = at.unwrap_or_else(|| {
            self.variables.push((name.into(), Part::NOTHING));
            self.variables.len() - 1
        });
        self.variables[at].1.add(names);
    }

    fn function(&mut self, name: &str) {
        if !self.functions.iter().any(|known| **known == *name) {
            self.functions.push(name.into());
        }
    }
}

/// The names that a path goes along, up to the first step that may look at more than one member of a value. The value
/// that the last of them finds is read as a whole.
fn names(steps: &[PathStep]) -> Vec<&str> {
    let mut names = Vec::new();
    for step in steps {
        let AstNode::Name(name) = &step.node else {
            break;
        };
        names.push(name.as_str());
        if !is_plain(step) {
            break;
        }
    }
    names
}

/// True for a step that does nothing but what its node does.
fn is_plain(step: &PathStep) -> bool {
    step.stages.is_empty()
        && step.focus.is_none()
        && step.index_var.is_none()
        && step.ancestor_label.is_none()
        && !step.is_tuple
        && !step.inner_tuple
}
