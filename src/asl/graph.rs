//! What holds between states: targets exist, every state can be reached, every scope can end, and names of states and
//! variables do not collide.
//!
//! The reader fills a [`Graph`] while it reads, also from a definition with errors. It must not know of anything that
//! is inside a state.

use super::diagnostic::{Code, Sink};
use super::json::Span;
use super::reader::Sight;
use super::suggest::Suggester;
use crate::stdx::{FixedMap, FixedSet};

/// The scopes of a definition; a scope stands behind the one that holds it.
#[derive(Debug, Default)]
pub(super) struct Graph<'n> {
    scopes: Vec<Scope<'n>>,
}

/// Through which field a state names another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Via {
    Next,
    Default,
    /// `Choices[i]/Next`
    Choice(u32),
    /// `Catch[i]/Next`
    Catch(u32),
}

impl Via {
    fn pointer(self, state: &str) -> String {
        match self {
            Via::Next => format!("{state}/Next"),
            Via::Default => format!("{state}/Default"),
            Via::Choice(i) => format!("{state}/Choices[{i}]/Next"),
            Via::Catch(i) => format!("{state}/Catch[{i}]/Next"),
        }
    }
}

#[derive(Debug)]
struct Scope<'n> {
    /// Empty for the machine itself.
    pointer: String,
    span: Span,
    parent: Option<(usize, Sight)>,
    start: Option<(&'n str, Span)>,
    vertices: Vec<Vertex<'n>>,
    assigned: Vec<Assigned<'n>>,
    /// False if a transition or a state could not be read: then what seems missing may be there.
    complete: bool,
}

#[derive(Debug)]
struct Vertex<'n> {
    name: &'n str,
    name_span: Span,
    pointer: String,
    targets: Vec<(&'n str, Span, Via)>,
    terminal: bool,
}

#[derive(Debug)]
struct Assigned<'n> {
    name: &'n str,
    span: Span,
    pointer: String,
}

impl<'n> Graph<'n> {
    pub(super) fn enter(
        &mut self,
        pointer: String,
        span: Span,
        parent: Option<(usize, Sight)>,
    ) -> usize {
        self.scopes.push(Scope {
            pointer,
            span,
            parent,
            start: None,
            vertices: Vec::new(),
            assigned: Vec::new(),
            complete: true,
        });
        self.scopes.len() - 1
    }

    pub(super) fn start(&mut self, scope: usize, name: &'n str, span: Span) {
        self.scopes[scope].start = Some((name, span));
    }

    pub(super) fn state(
        &mut self,
        scope: usize,
        name: &'n str,
        name_span: Span,
        pointer: String,
    ) -> usize {
        let vertices = &mut self.scopes[scope].vertices;
        vertices.push(Vertex {
            name,
            name_span,
            pointer,
            targets: Vec::new(),
            terminal: false,
        });
        vertices.len() - 1
    }

    pub(super) fn target(
        &mut self,
        scope: usize,
        vertex: usize,
        name: &'n str,
        span: Span,
        via: Via,
    ) {
        self.scopes[scope].vertices[vertex]
            .targets
            .push((name, span, via));
    }

    pub(super) fn terminal(&mut self, scope: usize, vertex: usize) {
        self.scopes[scope].vertices[vertex].terminal = true;
    }

    pub(super) fn assign(&mut self, scope: usize, name: &'n str, span: Span, pointer: String) {
        self.scopes[scope].assigned.push(Assigned {
            name,
            span,
            pointer,
        });
    }

    /// Notes that something about the scope's transitions could not be read.
    pub(super) fn incomplete(&mut self, scope: usize) {
        self.scopes[scope].complete = false;
    }

    /// Reports everything that is wrong.
    pub(super) fn check(&self, sink: &mut Sink<'_>, suggester: &mut Suggester) {
        let owners = self.state_names(sink);
        for scope in &self.scopes {
            scope.check(&owners, sink, suggester);
        }
        self.variables(sink);
    }

    /// Names are unique in the whole machine. Every name with the pointer of its state.
    fn state_names(&self, sink: &mut Sink<'_>) -> FixedMap<&'n str, &str> {
        let mut owners: FixedMap<&str, (&str, Span)> = FixedMap::default();
        for vertex in self.scopes.iter().flat_map(|scope| &scope.vertices) {
            let Some((_, first)) = owners.get(vertex.name) else {
                owners.insert(vertex.name, (&vertex.pointer, vertex.name_span));
                continue;
            };
            let first = sink.location(*first);
            sink.error(
                Code::DuplicateStateName,
                vertex.name_span,
                vertex.pointer.clone(),
                format!("Duplicate State name: {}", vertex.name),
            )
            .suggestion = Some(format!(
                "names are unique in the whole state machine; another is at line {}, column {}",
                first.line, first.column
            ));
        }
        owners
            .into_iter()
            .map(|(name, (pointer, _))| (name, pointer))
            .collect()
    }

    /// A scope must not assign a variable that a scope around it assigns.
    fn variables(&self, sink: &mut Sink<'_>) {
        let declared: Vec<FixedSet<&str>> = self
            .scopes
            .iter()
            .map(|scope| scope.assigned.iter().map(|a| a.name).collect())
            .collect();
        for scope in &self.scopes {
            for assigned in &scope.assigned {
                let mut parent = scope.parent;
                while let Some((outer, Sight::Open)) = parent {
                    if declared[outer].contains(assigned.name) {
                        sink.error(
                            Code::SchemaValidationFailed,
                            assigned.span,
                            assigned.pointer.clone(),
                            format!(
                                "The variable '{}' belongs to an outer scope and cannot be assigned here",
                                assigned.name
                            ),
                        );
                        break;
                    }
                    parent = self.scopes[outer].parent;
                }
            }
        }
    }
}

impl<'n> Scope<'n> {
    fn check(
        &self,
        owners: &FixedMap<&'n str, &str>,
        sink: &mut Sink<'_>,
        suggester: &mut Suggester,
    ) {
        let mut index: FixedMap<&str, usize> = FixedMap::default();
        for (i, vertex) in self.vertices.iter().enumerate() {
            index.entry(vertex.name).or_insert(i);
        }
        let mut missing = |name: &str, span: Span, pointer: String| {
            let suggestion = match owners.get(name) {
                Some(owner) => Some(format!("{owner} is in another scope")),
                None => suggester.question(name, self.vertices.iter().map(|v| v.name)),
            };
            // AWS says 'Next' whatever the field is called.
            sink.error(
                Code::MissingTransitionTarget,
                span,
                pointer,
                format!("Missing 'Next' target: {name}"),
            )
            .suggestion = suggestion;
        };
        let start = self.start.and_then(|(name, span)| {
            let start = index.get(name).copied();
            if start.is_none() {
                missing(name, span, format!("{}/StartAt", self.pointer));
            }
            start
        });
        for vertex in &self.vertices {
            for (name, span, via) in &vertex.targets {
                if !index.contains_key(name) {
                    missing(name, *span, via.pointer(&vertex.pointer));
                }
            }
        }
        if !self.complete || self.vertices.is_empty() {
            return;
        }
        if !self.vertices.iter().any(|vertex| vertex.terminal) {
            sink.error(
                Code::MissingEndState,
                self.span,
                self.pointer.clone(),
                "Workflow has no terminal state",
            );
            return;
        }
        let reached = match (start, self.start) {
            (Some(start), _) => self.reached_from(start, &index),
            (None, Some(_)) => self.targeted(&index),
            // Without a `StartAt`, AWS says nothing of what it would reach.
            (None, None) => return,
        };
        for (vertex, reached) in self.vertices.iter().zip(reached) {
            if !reached {
                sink.error(
                    Code::MissingTransitionTarget,
                    vertex.name_span,
                    vertex.pointer.clone(),
                    format!("State \"{}\" is not reachable.", vertex.name),
                );
            }
        }
    }

    fn reached_from(&self, start: usize, index: &FixedMap<&str, usize>) -> Vec<bool> {
        let mut reached = vec![false; self.vertices.len()];
        reached[start] = true;
        let mut open = vec![start];
        while let Some(vertex) = open.pop() {
            for (name, _, _) in &self.vertices[vertex].targets {
                if let Some(next) = index.get(name)
                    && !reached[*next]
                {
                    reached[*next] = true;
                    open.push(*next);
                }
            }
        }
        reached
    }

    /// Where `StartAt` names no state, the states that some state names.
    fn targeted(&self, index: &FixedMap<&str, usize>) -> Vec<bool> {
        let mut targeted = vec![false; self.vertices.len()];
        for (name, _, _) in self.vertices.iter().flat_map(|vertex| &vertex.targets) {
            if let Some(i) = index.get(name) {
                targeted[*i] = true;
            }
        }
        targeted
    }
}
