//! From the tree to the model: one method per part of the language, each of which reports and goes on.
//!
//! A field that breaks a rule is reported and a stand-in takes its place, so that reading always reaches the end and
//! every problem is reported at once. The stand-ins are never seen: a definition with an error is not handed out.
//!
//! A state's query language decides which reader its fields get: [`state`] asks once, and everything about JSONata is
//! in [`jsonata`].

mod choice;
mod jsonata;
mod map;
mod outcome;
mod place;
mod state;
mod template;
mod values;

use super::diagnostic::{Code, Diagnostic, Severity, Sink};
use super::graph::{Graph, Via};
use super::json::{self, Node, Span, SyntaxErrorKind, Value};
use super::model::{Definition, Location, MachineType, QueryLanguage, Scope, State};
use super::suggest::Suggester;
use crate::stdx::{FixedMap, FixedSet};
use place::Place;

/// AWS's bound for the text of a definition.
pub const DEFINITION_BYTES_MAX: usize = 1_048_576;

/// The longest wait, time-out and interval that AWS accepts.
const SECONDS_MAX: u64 = 99_999_999;

const STATE_NAME_CHARS_MAX: usize = 80;

/// What came of a definition's text.
#[derive(Debug)]
pub struct Reading {
    /// The model; there is one if and only if no diagnostic is an error.
    pub definition: Option<Definition>,
    /// Everything that there is to say, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a definition and checks all of it.
#[must_use]
pub fn read(text: &str, machine_type: MachineType) -> Reading {
    if text.len() > DEFINITION_BYTES_MAX {
        return Reading {
            definition: None,
            diagnostics: vec![too_large()],
        };
    }
    let tree = match json::parse(text) {
        Ok(tree) => tree,
        Err(error) => return not_json(text, &error),
    };
    let mut reader = Reader {
        text,
        sink: Sink::new(text),
        suggester: Suggester::new(),
        graph: Graph::default(),
        labels: FixedMap::default(),
        language: QueryLanguage::JsonPath,
    };
    let definition = reader.definition(&Place::root(&tree), machine_type);
    reader.graph.check(&mut reader.sink, &mut reader.suggester);
    let diagnostics = reader.sink.finish();
    let is_error = |d: &Diagnostic| d.severity == Severity::Error;
    let refused = diagnostics.iter().any(is_error);
    Reading {
        definition: definition.filter(|_| !refused),
        diagnostics,
    }
}

fn too_large() -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: Code::DefinitionTooLarge,
        message: format!("The definition is longer than {DEFINITION_BYTES_MAX} bytes"),
        pointer: String::new(),
        line: 1,
        column: 1,
        span: 0..0,
        suggestion: None,
    }
}

const NOT_AN_OBJECT: &str = "Definition must be a valid JSON object";

fn not_json(text: &str, error: &json::SyntaxError) -> Reading {
    let mut sink = Sink::new(text);
    let (code, message) = match error.kind {
        SyntaxErrorKind::Empty => (Code::SchemaValidationFailed, NOT_AN_OBJECT.to_owned()),
        SyntaxErrorKind::TooDeep => (Code::TooDeeplyNested, error.message.clone()),
        SyntaxErrorKind::Malformed => {
            let location = sink.location(error.span);
            let message = format!(
                "{}, at line {}, column {}",
                error.message, location.line, location.column
            );
            (Code::InvalidJsonDescription, message)
        }
    };
    sink.error(code, error.span, String::new(), message);
    Reading {
        definition: None,
        diagnostics: sink.finish(),
    }
}

/// The state machine, the scope and the state that are being read.
#[derive(Clone, Copy, Debug)]
struct Here {
    /// The type of the executions that run these states; the children of a distributed Map have their own.
    machine_type: MachineType,
    /// Index in the graph.
    scope: usize,
    /// Index in the scope.
    vertex: usize,
}

/// What holds a `StartAt` and its `States`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ScopeKind {
    Machine,
    Branch,
    /// `ItemProcessor`, or `Iterator` of old.
    Processor,
}

#[derive(Debug)]
struct Reader<'n> {
    text: &'n str,
    sink: Sink<'n>,
    suggester: Suggester,
    graph: Graph<'n>,
    /// Labels of distributed Maps and where they were first.
    labels: FixedMap<&'n str, Location>,
    /// `QueryLanguage` of the machine.
    language: QueryLanguage,
}

impl<'n> Reader<'n> {
    fn definition(
        &mut self,
        root: &Place<'_, 'n>,
        machine_type: MachineType,
    ) -> Option<Definition> {
        if !matches!(root.node.value, Value::Object(_)) {
            self.sink.error(
                Code::SchemaValidationFailed,
                root.node.span,
                String::new(),
                NOT_AN_OBJECT,
            );
            return None;
        }
        self.duplicates(root);
        if let Some(place) = root.get("QueryLanguage") {
            self.language = self.query_language(&place);
        }
        if let Some(version) = root.get("Version") {
            self.string(&version);
        }
        let timeout_seconds = root
            .get("TimeoutSeconds")
            .map(|p| self.integer(&p, 1..=SECONDS_MAX));
        let comment = root.get("Comment").and_then(|p| match &p.node.value {
            Value::String(comment) => Some(comment.as_ref().to_owned()),
            _ => None,
        });
        let scope = self.scope(root, ScopeKind::Machine, machine_type, None);
        Some(Definition {
            comment,
            timeout_seconds,
            scope,
        })
    }

    /// Reports the members of one name, anywhere in the tree.
    fn duplicates(&mut self, place: &Place<'_, 'n>) {
        for (first, later) in json::duplicates(place.members()) {
            let first = self.sink.location(first.name_span);
            let name = later.name.as_ref();
            let (code, message) = if place.at.last_name() == "States" {
                let message = format!("Duplicate State name: {name}");
                (Code::DuplicateStateName, message)
            } else {
                let message = format!("The field '{name}' appears more than once");
                (Code::DuplicateField, message)
            };
            let pointer = place.member(later).at.to_string();
            self.sink
                .error(code, later.name_span, pointer, message)
                .suggestion = Some(format!(
                "the first is at line {}, column {}",
                first.line, first.column
            ));
        }
        for member in place.members() {
            if has_parts(&member.node) {
                self.duplicates(&place.member(member));
            }
        }
        for (i, element) in place.elements().iter().enumerate() {
            if has_parts(element) {
                self.duplicates(&place.element(i, element));
            }
        }
    }

    /// Reads a scope. `parent` is the index of the scope around it, and whether its variables can be seen.
    fn scope(
        &mut self,
        place: &Place<'_, 'n>,
        kind: ScopeKind,
        machine_type: MachineType,
        parent: Option<(usize, Sight)>,
    ) -> Scope {
        let known: &[&str] = match kind {
            ScopeKind::Machine => &[
                "StartAt",
                "States",
                "TimeoutSeconds",
                "Version",
                "QueryLanguage",
            ],
            ScopeKind::Branch => &["StartAt", "States"],
            ScopeKind::Processor => &["StartAt", "States", "ProcessorConfig"],
        };
        self.known(place, known);
        self.required(place, &["States", "StartAt"]);
        let pointer = match kind {
            ScopeKind::Machine => String::new(),
            ScopeKind::Branch | ScopeKind::Processor => place.at.to_string(),
        };
        let scope = self.graph.enter(pointer, place.head(), parent);
        let start_at = place.get("StartAt").and_then(|p| {
            let name = self.string(&p)?;
            self.graph.start(scope, name, p.node.span);
            Some(name)
        });
        let states = match place.get("States") {
            Some(place) => self.states(&place, machine_type, scope),
            None => Vec::new(),
        };
        Scope {
            start_at: start_at.unwrap_or_default().to_owned(),
            states,
        }
    }

    fn states(
        &mut self,
        place: &Place<'_, 'n>,
        machine_type: MachineType,
        scope: usize,
    ) -> Vec<State> {
        if !self.object(place) {
            self.graph.incomplete(scope);
            return Vec::new();
        }
        if place.members().is_empty() {
            self.graph.incomplete(scope);
            self.refuse(place, "There must be at least one state");
        }
        let mut states = Vec::with_capacity(place.members().len());
        let mut names: FixedSet<&str> = FixedSet::default();
        for member in place.members() {
            // A second state of this name has been reported as a duplicate member.
            if !names.insert(member.name.as_ref()) {
                continue;
            }
            let name = member.name.as_ref();
            let state = place.member(member);
            self.state_name(&state, name, member.name_span);
            let vertex = self
                .graph
                .state(scope, name, member.name_span, state.at.to_string());
            let here = Here {
                machine_type,
                scope,
                vertex,
            };
            states.extend(self.state(&state, name, here));
        }
        states
    }

    fn state_name(&mut self, state: &Place<'_, 'n>, name: &str, span: Span) {
        let message = if name.is_empty() {
            "A state's name must not be empty".to_owned()
        } else if name.chars().count() > STATE_NAME_CHARS_MAX {
            format!(
                "A state's name must not be longer than {STATE_NAME_CHARS_MAX} characters, but this one has {}",
                name.chars().count()
            )
        } else {
            return;
        };
        let pointer = state.at.to_string();
        self.sink
            .error(Code::InvalidStateName, span, pointer, message);
    }

    /// `Next` of a Choice rule or a catcher.
    fn required_target(&mut self, object: &Place<'_, 'n>, here: Here, via: Via) -> String {
        if !self.required(object, &["Next"]) {
            self.graph.incomplete(here.scope);
        }
        object
            .get("Next")
            .and_then(|place| self.target(&place, here, via))
            .unwrap_or_default()
    }

    /// `Default` of a Choice.
    fn default_target(&mut self, state: &Place<'_, 'n>, here: Here) -> Option<String> {
        let place = state.get("Default")?;
        self.target(&place, here, Via::Default)
    }

    /// The name of a state that follows, noted in the graph.
    fn target(&mut self, place: &Place<'_, 'n>, here: Here, via: Via) -> Option<String> {
        let name = self.string(place);
        match name {
            Some(name) => self
                .graph
                .target(here.scope, here.vertex, name, place.node.span, via),
            None => self.graph.incomplete(here.scope),
        }
        name.map(str::to_owned)
    }

    fn branches(&mut self, state: &Place<'_, 'n>, here: Here) -> Vec<Scope> {
        if !self.required(state, &["Branches"]) {
            return Vec::new();
        }
        let Some(place) = state.get("Branches") else {
            return Vec::new();
        };
        if !self.filled_array(&place) {
            return Vec::new();
        }
        let mut branches = Vec::with_capacity(place.elements().len());
        for (i, element) in place.elements().iter().enumerate() {
            let element = place.element(i, element);
            if self.object(&element) {
                let parent = Some((here.scope, Sight::Open));
                branches.push(self.scope(&element, ScopeKind::Branch, here.machine_type, parent));
            }
        }
        branches
    }

    /// `JSONPath` or `JSONata`; as with AWS, any other text counts as JSONata once it has been reported.
    fn query_language(&mut self, place: &Place<'_, 'n>) -> QueryLanguage {
        match self.one_of(place, &["JSONPath", "JSONata"]) {
            Some(0) => QueryLanguage::JsonPath,
            _ => QueryLanguage::Jsonata,
        }
    }
}

/// Whether a scope sees the variables of the scope around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// A branch or an iteration.
    Open,
    /// The child executions of a distributed Map.
    Closed,
}

fn has_parts(node: &Node<'_>) -> bool {
    matches!(node.value, Value::Array(_) | Value::Object(_))
}
