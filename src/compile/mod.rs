//! The compiler: a [`Definition`] in, a [`Program`] out.
//!
//! 1. Every state of every scope gets an id, so that transitions can be resolved.
//! 2. States are compiled one after the other; jumps name states.
//! 3. The linker replaces the states in jumps by the places of their first ops.
//!
//! The definition has been checked by the reader; the compiler relies on that, and reports only what the engine does
//! not run yet.

mod choice;
mod expression;
mod link;
mod shape;
mod state;
mod template;

use crate::asl::{Definition, Scope};
use crate::path::{Path, Root, Segment};
use crate::program::{
    AssignId, Base, CallInfo, ContextBase, ExpressionInfo, FailInfo, Load, LoadId, MapInfo,
    MergeInfo, ObjectInfo, Op, Pc, Program, StateId, StateInfo, Step, TaskInfo, Test, VariableId,
    WaitInfo,
};
use crate::stdx::{FixedMap, narrow};
use crate::value::{Doc, Key, MemberName, Name, Val};
use shape::Shapes;

/// Compiles a definition that the reader has accepted.
#[must_use]
pub fn compile(definition: &Definition) -> Program {
    let mut compiler = Compiler::new();
    let mut scopes = Vec::new();
    let start = compiler.declare(&definition.scope, &mut scopes);
    for (scope, ids) in scopes {
        compiler.scope(scope, &ids);
    }
    compiler.finish(start, definition.timeout_seconds)
}

/// States of a scope by name.
type StateIds<'d> = FixedMap<&'d str, StateId>;

struct Compiler<'d> {
    ops: Vec<Op>,
    /// Jumps whose place holds a [`StateId`] that the linker replaces.
    unlinked: Vec<usize>,
    constants: Doc,
    literals: FixedMap<&'d str, Val>,
    keys: FixedMap<Box<str>, Key>,
    states: Vec<StateInfo>,
    /// First op of each state.
    entries: Vec<Pc>,
    /// First states of the scopes in Parallel and Map states, by the place of their `StartAt`.
    starts: FixedMap<*const Scope, StateId>,
    loads: Vec<Load>,
    steps: Vec<Step>,
    merges: Vec<MergeInfo>,
    objects: Vec<ObjectInfo>,
    shapes: Shapes,
    calls: Vec<CallInfo>,
    expressions: Vec<ExpressionInfo>,
    tests: Vec<Test>,
    assigns: Vec<Box<[VariableId]>>,
    tasks: Vec<TaskInfo>,
    waits: Vec<WaitInfo>,
    fails: Vec<FailInfo>,
    forks: Vec<Vec<StateId>>,
    maps: Vec<MapInfo>,
    variables: Vec<Box<str>>,
    variable_ids: FixedMap<Box<str>, VariableId>,
}

impl<'d> Compiler<'d> {
    fn new() -> Compiler<'d> {
        Compiler {
            ops: Vec::new(),
            unlinked: Vec::new(),
            constants: Doc::new(),
            literals: FixedMap::default(),
            keys: FixedMap::default(),
            states: Vec::new(),
            entries: Vec::new(),
            starts: FixedMap::default(),
            loads: Vec::new(),
            steps: Vec::new(),
            merges: Vec::new(),
            objects: Vec::new(),
            shapes: Shapes::default(),
            calls: Vec::new(),
            expressions: Vec::new(),
            tests: Vec::new(),
            assigns: Vec::new(),
            tasks: Vec::new(),
            waits: Vec::new(),
            fails: Vec::new(),
            forks: Vec::new(),
            maps: Vec::new(),
            variables: Vec::new(),
            variable_ids: FixedMap::default(),
        }
    }

    /// Gives ids to the states of a scope and of all scopes in it; returns the first state's.
    fn declare(
        &mut self,
        scope: &'d Scope,
        scopes: &mut Vec<(&'d Scope, StateIds<'d>)>,
    ) -> StateId {
        let mut ids = StateIds::default();
        for state in &scope.states {
            let id = StateId(narrow(self.states.len()));
            let info = self.state_info(state);
            self.states.push(info);
            self.entries.push(Pc(0));
            ids.insert(&state.name, id);
            // Expressions tell variables from functions by what is assigned anywhere.
            for name in state::assigned(state) {
                self.variable(name);
            }
        }
        let start = ids[&*scope.start_at];
        self.starts.insert(scope, start);
        scopes.push((scope, ids));
        for inner in scope.states.iter().flat_map(state::scopes) {
            self.declare(inner, scopes);
        }
        start
    }

    fn emit(&mut self, op: Op) {
        self.ops.push(op);
    }

    fn here(&self) -> Pc {
        Pc(narrow(self.ops.len()))
    }

    /// Emits an op that jumps to a state.
    fn emit_to_state(&mut self, state: StateId, op: impl FnOnce(Pc) -> Op) {
        self.unlinked.push(self.ops.len());
        self.emit(op(Pc(state.0)));
    }

    /// A constant, from its JSON text.
    fn literal(&mut self, json: &'d str) -> Val {
        if let Some(val) = self.literals.get(json) {
            return *val;
        }
        let val = self.ingest(json);
        self.literals.insert(json, val);
        val
    }

    fn ingest(&mut self, json: &str) -> Val {
        match self.constants.ingest(json.as_bytes()) {
            Ok(val) => val.as_constant(),
            Err(error) => panic!("the reader has accepted a literal that is not JSON: {error}"),
        }
    }

    /// A string constant, from its decoded text.
    fn string(&mut self, text: &str) -> Val {
        self.constants.push_string(text).as_constant()
    }

    fn key(&mut self, name: &str) -> Key {
        if let Some(key) = self.keys.get(name) {
            return *key;
        }
        let key = self.constants.push_key(&Name::new(name)).as_constant();
        self.keys.insert(name.into(), key);
        key
    }

    fn variable(&mut self, name: &str) -> VariableId {
        if let Some(id) = self.variable_ids.get(name) {
            return *id;
        }
        let id = VariableId(narrow(self.variables.len()));
        self.variables.push(name.into());
        self.variable_ids.insert(name.into(), id);
        id
    }

    fn load(&mut self, path: &Path, field: &str) -> LoadId {
        let base = match path.root() {
            Root::Input => Base::Value,
            Root::Variable(name) => Base::Variable(self.variable(name)),
            Root::Context => Base::Context(context_base(path)),
        };
        let taken = match base {
            Base::Value | Base::Variable(_) => 0,
            Base::Context(base) => base.members().len(),
        };
        let steps = path.segments().map(|segments| {
            let first = narrow(self.steps.len());
            for segment in &segments[taken..] {
                let step = self.step(segment);
                self.steps.push(step);
            }
            first..narrow(self.steps.len())
        });
        self.loads.push(Load {
            base,
            steps,
            path: path.clone(),
            field: field.into(),
        });
        LoadId(narrow(self.loads.len() - 1))
    }

    fn step(&mut self, segment: &Segment) -> Step {
        match segment {
            Segment::Child(name) => Step::Child(self.member_name(name)),
            Segment::Index(index) => Step::Index(*index),
        }
    }

    fn member_name(&mut self, name: &Name) -> MemberName {
        let key = self.key(&name.decoded());
        let member = MemberName::new(name.clone(), key);
        // Most paths read what the last template with such a member has made.
        match self.shapes.place(name.raw()) {
            Some((layout, position)) => member.expect(layout, position),
            None => member,
        }
    }

    /// Emits the op that pushes what a path finds.
    fn push_load(&mut self, path: &Path, field: &str) {
        let load = self.load(path, field);
        let is_context = matches!(self.loads[load.index()].base, Base::Context(_));
        self.emit(if is_context {
            Op::LoadContext(load)
        } else {
            Op::Load(load)
        });
    }

    fn assign_id(&mut self, variables: Box<[VariableId]>) -> AssignId {
        self.assigns.push(variables);
        AssignId(narrow(self.assigns.len() - 1))
    }
}

/// The longest part of a context path that needs no context object.
fn context_base(path: &Path) -> ContextBase {
    let Some(segments) = path.segments() else {
        return ContextBase::Whole;
    };
    let starts_with = |members: &[&str]| {
        segments.len() >= members.len()
            && members
                .iter()
                .zip(segments)
                .all(|(member, segment)| match segment {
                    Segment::Child(name) => name.raw() == *member,
                    Segment::Index(_) => false,
                })
    };
    [
        ContextBase::ExecutionInput,
        ContextBase::MapItemValue,
        ContextBase::MapItemIndex,
        ContextBase::StateName,
    ]
    .into_iter()
    .find(|base| starts_with(base.members()))
    .unwrap_or(ContextBase::Whole)
}
