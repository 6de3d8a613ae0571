//! States: from `Enter` to `Exit`, in the order in which AWS processes input and output.

use super::{Compiler, StateIds};
use crate::asl::{
    Catcher as CatcherField, Items, Map, NumberField, OutcomeFields, Parallel, PathField,
    QueryLanguage, Resource, ResultPath, Retrier as RetrierField, Scope, State, StateKind, Task,
    TextField, Wait,
};
use crate::asl::{Fail, Next};
use crate::path::Segment;
use crate::program::{
    Catcher, ErrorEquals, FailId, FailInfo, ForkId, MapId, MapInfo, MapItems, MergeId, MergeInfo,
    NumberOperand, Op, Pc, Retrier, StateId, StateInfo, StateType, TaskId, TaskInfo, TextOperand,
    WaitId, WaitInfo,
};
use crate::stdx::{Timestamp, narrow};
use crate::value::{Growth, Val};

/// The scopes in a state.
pub(super) fn scopes(state: &State) -> &[Scope] {
    match &state.kind {
        StateKind::Parallel(parallel) => &parallel.branches,
        StateKind::Map(map) => std::slice::from_ref(&map.processor),
        StateKind::Pass(_)
        | StateKind::Task(_)
        | StateKind::Choice(_)
        | StateKind::Wait(_)
        | StateKind::Succeed
        | StateKind::Fail(_) => &[],
    }
}

/// The names of the variables that a state assigns, wherever in it.
pub(super) fn assigned(state: &State) -> impl Iterator<Item = &str> {
    let rules = match &state.kind {
        StateKind::Choice(choice) => &choice.rules[..],
        _ => &[],
    };
    let catchers = outcome(state).map_or(&[][..], |outcome| &outcome.catch);
    let rules = rules.iter().flat_map(|rule| &rule.assign);
    let catchers = catchers.iter().flat_map(|catcher| &catcher.assign);
    let all = state.assign.iter().chain(rules).chain(catchers);
    all.map(|(name, _)| name.as_str())
}

fn outcome(state: &State) -> Option<&OutcomeFields> {
    match &state.kind {
        StateKind::Task(task) => Some(&task.outcome),
        StateKind::Parallel(parallel) => Some(&parallel.outcome),
        StateKind::Map(map) => Some(&map.outcome),
        StateKind::Pass(_)
        | StateKind::Choice(_)
        | StateKind::Wait(_)
        | StateKind::Succeed
        | StateKind::Fail(_) => None,
    }
}

fn state_type(state: &State) -> StateType {
    match &state.kind {
        StateKind::Pass(_) => StateType::Pass,
        StateKind::Task(_) => StateType::Task,
        StateKind::Choice(_) => StateType::Choice,
        StateKind::Wait(_) => StateType::Wait,
        StateKind::Succeed => StateType::Succeed,
        StateKind::Fail(_) => StateType::Fail,
        StateKind::Parallel(_) => StateType::Parallel,
        StateKind::Map(_) => StateType::Map,
    }
}

fn error_equals(names: &[String]) -> ErrorEquals {
    ErrorEquals {
        all: names.iter().any(|name| name == "States.ALL"),
        task_failed: names.iter().any(|name| name == "States.TaskFailed"),
        names: names.iter().map(|name| name.as_str().into()).collect(),
    }
}

fn retrier(field: &RetrierField) -> Retrier {
    Retrier {
        errors: error_equals(&field.error_equals),
        interval_seconds: field.interval_seconds,
        max_attempts: field.max_attempts,
        backoff_rate: field.backoff_rate,
        max_delay_seconds: field.max_delay_seconds,
        jitter: field.jitter,
    }
}

impl<'d> Compiler<'d> {
    pub(super) fn state_info(&mut self, state: &'d State) -> StateInfo {
        let retriers = outcome(state).map_or(&[][..], |outcome| &outcome.retry);
        StateInfo {
            name: state.name.as_str().into(),
            state_type: state_type(state),
            body: Pc(0),
            retriers: retriers.iter().map(retrier).collect(),
            catchers: Box::new([]),
            task: None,
            name_val: self.string(&state.name),
        }
    }

    pub(super) fn scope(&mut self, scope: &'d Scope, ids: &StateIds<'d>) {
        self.shapes.begin_scope();
        for state in &scope.states {
            let id = ids[&*state.name];
            self.shapes.begin_state();
            self.entries[id.index()] = self.here();
            self.emit(Op::Enter(id));
            self.states[id.index()].body = self.here();
            self.body(id, state, ids);
            let left = self.shapes.value().cloned();
            let catchers = outcome(state).map_or(&[][..], |outcome| &outcome.catch);
            let catchers = catchers
                .iter()
                .map(|catcher| self.catcher(id, catcher, ids))
                .collect();
            self.states[id.index()].catchers = catchers;
            self.shapes.set_value(left);
        }
    }

    fn body(&mut self, id: StateId, state: &'d State, ids: &StateIds<'d>) {
        self.select_field(&state.input_path, "InputPath");
        match &state.kind {
            StateKind::Pass(pass) => {
                if let Some(parameters) = &pass.parameters {
                    self.set_template(parameters);
                }
                if let Some(result) = &pass.result {
                    let val = self.literal(result);
                    self.emit(Op::Const(val));
                    self.emit(Op::SetValue);
                }
                self.end(id, state, &pass.result_path, ids);
            }
            StateKind::Task(task) => self.task(id, state, task, ids),
            StateKind::Choice(choice) => self.choice(id, state, choice, ids),
            StateKind::Wait(wait) => {
                self.wait(wait);
                self.end(id, state, &ResultPath::Whole, ids);
            }
            StateKind::Succeed => {
                self.set_output(state.output.as_ref());
                self.select_field(&state.output_path, "OutputPath");
                self.emit(Op::ExitEnd(id));
            }
            StateKind::Fail(fail) => self.fail(fail),
            StateKind::Parallel(parallel) => self.parallel(id, state, parallel, ids),
            StateKind::Map(map) => self.map(id, state, map, ids),
        }
    }

    /// `InputPath`, `OutputPath`: what they select becomes the value.
    pub(super) fn select_field(&mut self, field: &'d PathField, name: &str) {
        match field {
            PathField::Whole => {}
            PathField::Null => {
                self.emit(Op::Const(Val::EMPTY_OBJECT));
                self.emit(Op::SetValue);
            }
            PathField::Path(path) => {
                let load = self.load(path, name);
                self.emit(Op::Select(load));
            }
        }
    }

    /// `ResultSelector` and all that follows it.
    fn end_outcome(
        &mut self,
        id: StateId,
        state: &'d State,
        outcome: &'d OutcomeFields,
        ids: &StateIds<'d>,
    ) {
        if let Some(selector) = &outcome.result_selector {
            self.set_template(selector);
        }
        self.end(id, state, &outcome.result_path, ids);
    }

    /// `Assign`, `ResultPath`, `OutputPath`, and the transition. New values of variables are computed from the result,
    /// but set last: `OutputPath` still sees the old ones.
    fn end(
        &mut self,
        id: StateId,
        state: &'d State,
        result_path: &'d ResultPath,
        ids: &StateIds<'d>,
    ) {
        let assign = self.push_assign(&state.assign);
        self.set_output(state.output.as_ref());
        let growth = self.growth(result_path);
        self.merge_result(result_path, growth);
        self.select_field(&state.output_path, "OutputPath");
        if let Some(assign) = assign {
            self.emit(Op::Assign(assign));
        }
        match &state.next {
            Next::State(name) => self.emit_to_state(ids[&**name], |to| Op::Exit(id, to)),
            Next::End => self.emit(Op::ExitEnd(id)),
        }
    }

    fn merge_result(&mut self, result_path: &'d ResultPath, growth: Option<Growth>) {
        match result_path {
            ResultPath::Whole => {}
            ResultPath::Null => self.emit(Op::KeepInput),
            ResultPath::Path(path) => {
                let steps = path
                    .segments()
                    .iter()
                    .map(|segment| self.step(segment))
                    .collect();
                self.merges.push(MergeInfo { steps, growth });
                self.emit(Op::Merge(MergeId(narrow(self.merges.len() - 1))));
            }
        }
    }

    /// What `ResultPath` is expected to make of the state's input.
    fn growth(&mut self, result_path: &ResultPath) -> Option<Growth> {
        match result_path {
            ResultPath::Whole => None,
            ResultPath::Null => self.shapes.merge(None),
            ResultPath::Path(path) => match path.segments() {
                [Segment::Child(name)] => self.shapes.merge(Some(name.raw())),
                _ => self.shapes.merge(None),
            },
        }
    }

    fn catcher(&mut self, id: StateId, catcher: &'d CatcherField, ids: &StateIds<'d>) -> Catcher {
        let start = self.here();
        let assign = self.push_assign(&catcher.assign);
        self.set_output(catcher.output.as_ref());
        self.merge_result(&catcher.result_path, None);
        if let Some(assign) = assign {
            self.emit(Op::Assign(assign));
        }
        self.emit_to_state(ids[&*catcher.next], |to| Op::Exit(id, to));
        Catcher {
            errors: error_equals(&catcher.error_equals),
            start,
        }
    }

    fn task(&mut self, id: StateId, state: &'d State, task: &'d Task, ids: &StateIds<'d>) {
        if let Some(credentials) = &task.credentials {
            self.push_template(credentials);
        }
        if let Some(parameters) = &task.parameters {
            self.set_template(parameters);
        }
        let info = TaskInfo {
            resource_text: task.resource.as_str().into(),
            resource: match Resource::parse(&task.resource) {
                Ok(resource) => resource,
                Err(error) => panic!(
                    "the reader has accepted the resource {}: {error:?}",
                    task.resource
                ),
            },
            timeout: self.number(task.timeout.as_ref(), "TimeoutSecondsPath"),
            heartbeat: self.number(task.heartbeat.as_ref(), "HeartbeatSecondsPath"),
            has_credentials: task.credentials.is_some(),
        };
        self.tasks.push(info);
        let task_id = TaskId(narrow(self.tasks.len() - 1));
        self.states[id.index()].task = Some(task_id);
        self.emit(Op::Task(task_id));
        self.end_outcome(id, state, &task.outcome, ids);
    }

    fn number(&mut self, field: Option<&NumberField>, name: &str) -> Option<NumberOperand> {
        field.map(|field| match field {
            NumberField::Literal(n) => NumberOperand::Literal(*n),
            NumberField::Path(path) => NumberOperand::Load(self.load(path, name)),
            NumberField::Expression(field) => NumberOperand::Expression(self.expression(field)),
        })
    }

    fn wait(&mut self, wait: &Wait) {
        let info = match wait {
            Wait::Seconds(seconds) => WaitInfo::Seconds(*seconds),
            Wait::SecondsPath(path) => WaitInfo::SecondsPath(self.load(path, "SecondsPath")),
            Wait::Timestamp(text) => match Timestamp::parse(text) {
                Ok(timestamp) => WaitInfo::Until(timestamp.millis()),
                Err(error) => panic!("the reader has accepted the timestamp {text}: {error}"),
            },
            Wait::TimestampPath(path) => WaitInfo::TimestampPath(self.load(path, "TimestampPath")),
            Wait::SecondsExpression(field) => WaitInfo::SecondsExpression(self.expression(field)),
            Wait::TimestampExpression(field) => {
                WaitInfo::TimestampExpression(self.expression(field))
            }
        };
        self.waits.push(info);
        self.emit(Op::Wait(WaitId(narrow(self.waits.len() - 1))));
    }

    fn fail(&mut self, fail: &'d Fail) {
        let error = self.text(fail.error.as_ref(), "ErrorPath");
        let cause = self.text(fail.cause.as_ref(), "CausePath");
        self.fails.push(FailInfo { error, cause });
        self.emit(Op::Fail(FailId(narrow(self.fails.len() - 1))));
    }

    fn text(&mut self, field: Option<&'d TextField>, name: &str) -> TextOperand {
        match field {
            None => TextOperand::Absent,
            Some(TextField::Literal(text)) => TextOperand::Literal(text.as_str().into()),
            Some(TextField::Expression(field)) => TextOperand::Expression(self.expression(field)),
            Some(TextField::Path(path)) => TextOperand::Load(self.load(path, name)),
            Some(TextField::Call(call)) => {
                self.push_call(call, name);
                TextOperand::Popped
            }
        }
    }

    fn parallel(
        &mut self,
        id: StateId,
        state: &'d State,
        parallel: &'d Parallel,
        ids: &StateIds<'d>,
    ) {
        if let Some(parameters) = &parallel.parameters {
            self.set_template(parameters);
        }
        let starts = parallel
            .branches
            .iter()
            .map(|branch| self.starts[&std::ptr::from_ref(branch)])
            .collect();
        self.forks.push(starts);
        self.emit(Op::Fork(ForkId(narrow(self.forks.len() - 1))));
        self.end_outcome(id, state, &parallel.outcome, ids);
    }

    fn map(&mut self, id: StateId, state: &'d State, map: &'d Map, ids: &StateIds<'d>) {
        let (items, items_text) = match (&map.items, &map.items_path) {
            (Some(Items::List(list)), _) => {
                self.push_template(list);
                (MapItems::Popped, "")
            }
            (Some(Items::Expression(field)), _) => {
                (MapItems::Expression(self.expression(field)), "")
            }
            (None, _) if state.query_language == QueryLanguage::Jsonata => (MapItems::Input, "$"),
            (None, PathField::Whole | PathField::Null) => (MapItems::Value, "$"),
            (None, PathField::Path(path)) => {
                (MapItems::Load(self.load(path, "ItemsPath")), path.text())
            }
        };
        let max_concurrency = self.number(map.max_concurrency.as_ref(), "MaxConcurrencyPath");
        let map_id = MapId(narrow(self.maps.len()));
        let info = MapInfo {
            items,
            items_text: items_text.into(),
            iteration: Pc(0),
            has_selector: map.item_selector.is_some(),
            max_concurrency,
        };
        self.maps.push(info);
        self.emit(Op::Map(map_id));
        self.end_outcome(id, state, &map.outcome, ids);
        self.maps[map_id.index()].iteration = self.here();
        if let Some(selector) = &map.item_selector {
            self.set_template(selector);
        }
        let start = self.starts[&std::ptr::from_ref(&map.processor)];
        self.emit_to_state(start, Op::Begin);
    }
}
