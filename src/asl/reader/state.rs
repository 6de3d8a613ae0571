//! One state: its type, its language, the fields that it may have, and the types that need no file of their own.

use super::place::Place;
use super::{Here, Reader, SECONDS_MAX};
use crate::asl::diagnostic::Code;
use crate::asl::graph::Via;
use crate::asl::json::Member;
use crate::asl::json::Value;
use crate::asl::model::{
    Fail, MachineType, Next, NumberField, Parallel, Pass, PathField, QueryLanguage, State,
    StateKind, Task, Wait,
};
use crate::asl::resource::{self, Pattern, Resource, ResourceError};
use crate::stdx::Timestamp;

/// The types, in the order in which AWS lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    Task,
    Wait,
    Pass,
    Succeed,
    Fail,
    Choice,
    Parallel,
    Map,
}

const TYPES: [Type; 8] = [
    Type::Task,
    Type::Wait,
    Type::Pass,
    Type::Succeed,
    Type::Fail,
    Type::Choice,
    Type::Parallel,
    Type::Map,
];

const TYPE_NAMES: [&str; 8] = [
    "Task", "Wait", "Pass", "Succeed", "Fail", "Choice", "Parallel", "Map",
];

/// Fields of every state.
const COMMON: &[&str] = &["Type", "Comment", "QueryLanguage"];

/// The fields that a state of this type and language has besides the common ones.
fn fields(kind: Type, language: QueryLanguage) -> &'static [&'static str] {
    match language {
        QueryLanguage::JsonPath => jsonpath_fields(kind),
        QueryLanguage::Jsonata => super::jsonata::fields(kind),
    }
}

#[rustfmt::skip]
fn jsonpath_fields(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Pass => &[
            "Next", "End", "InputPath", "OutputPath", "Parameters", "Result", "ResultPath", "Assign",
        ],
        Type::Task => &[
            "Next", "End", "InputPath", "OutputPath", "Resource", "Parameters", "ResultSelector", "ResultPath",
            "Credentials", "TimeoutSeconds", "TimeoutSecondsPath", "HeartbeatSeconds", "HeartbeatSecondsPath",
            "Retry", "Catch", "Assign",
        ],
        Type::Choice => &["InputPath", "OutputPath", "Choices", "Default", "Assign"],
        Type::Wait => &[
            "Next", "End", "InputPath", "OutputPath", "Seconds", "SecondsPath", "Timestamp", "TimestampPath",
            "Assign",
        ],
        Type::Succeed => &["InputPath", "OutputPath"],
        Type::Fail => &["Error", "ErrorPath", "Cause", "CausePath"],
        Type::Parallel => &[
            "Next", "End", "InputPath", "OutputPath", "Branches", "Parameters", "ResultSelector", "ResultPath",
            "Retry", "Catch", "Assign",
        ],
        Type::Map => &[
            "Next", "End", "InputPath", "OutputPath", "ItemsPath", "ItemProcessor", "Iterator", "ItemSelector",
            "Parameters", "MaxConcurrency", "MaxConcurrencyPath", "ResultSelector", "ResultPath", "Retry", "Catch",
            "Assign", "ItemReader", "ItemBatcher", "ResultWriter", "Label", "ToleratedFailureCount",
            "ToleratedFailureCountPath", "ToleratedFailurePercentage", "ToleratedFailurePercentagePath",
        ],
    }
}

impl<'n> Reader<'n> {
    pub(super) fn state(
        &mut self,
        place: &Place<'_, 'n>,
        name: &'n str,
        here: Here,
    ) -> Option<State> {
        if !self.object(place) {
            self.graph.incomplete(here.scope);
            return None;
        }
        let query_language = self.state_language(place);
        let kind = self.state_type(place, here)?;
        self.state_fields(place, kind, query_language);
        if let Type::Succeed | Type::Fail = kind {
            self.graph.terminal(here.scope, here.vertex);
        }
        let next = match kind {
            Type::Succeed | Type::Fail | Type::Choice => Next::End,
            Type::Task | Type::Wait | Type::Pass | Type::Parallel | Type::Map => {
                self.next(place, here)
            }
        };
        let (input_path, output_path, assign, output, kind) = match query_language {
            QueryLanguage::JsonPath => (
                self.path_field(place, "InputPath"),
                self.path_field(place, "OutputPath"),
                self.assign(place, here.scope),
                None,
                self.state_kind(place, kind, here),
            ),
            QueryLanguage::Jsonata => (
                PathField::Whole,
                PathField::Whole,
                self.jsonata_assign_of_state(place, kind, here),
                self.output(place, kind),
                self.jsonata_state(place, kind, here),
            ),
        };
        Some(State {
            name: name.to_owned(),
            pointer: place.at.to_string(),
            query_language,
            input_path,
            output_path,
            assign,
            output,
            next,
            kind,
        })
    }

    /// The language that decides how the state's fields are read: its own, else the machine's.
    fn state_language(&mut self, state: &Place<'_, 'n>) -> QueryLanguage {
        let Some(place) = state.get("QueryLanguage") else {
            return self.language;
        };
        let language = self.query_language(&place);
        if (self.language, language) == (QueryLanguage::Jsonata, QueryLanguage::JsonPath) {
            self.refuse_part(
                state,
                place.node.span,
                "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine",
            );
        }
        language
    }

    fn state_type(&mut self, state: &Place<'_, 'n>, here: Here) -> Option<Type> {
        let kind = if self.required(state, &["Type"]) {
            state
                .get("Type")
                .and_then(|place| self.one_of(&place, &TYPE_NAMES))
        } else {
            None
        };
        if kind.is_none() {
            self.graph.incomplete(here.scope);
        }
        kind.map(|index| TYPES[index])
    }

    /// Reports fields that the type or the language does not have.
    fn state_fields(&mut self, state: &Place<'_, 'n>, kind: Type, language: QueryLanguage) {
        let other = match language {
            QueryLanguage::JsonPath => QueryLanguage::Jsonata,
            QueryLanguage::Jsonata => QueryLanguage::JsonPath,
        };
        let own = fields(kind, language);
        for member in state.members() {
            let name = member.name.as_ref();
            if name == "Comment" {
                self.string(&state.member(member));
            } else if COMMON.contains(&name) || own.contains(&name) {
                continue;
            } else if fields(kind, other).contains(&name) {
                self.wrong_language(state, member, language);
            } else {
                self.unknown_in_state(state, member, own, language);
            }
        }
    }

    /// As [`Reader::known`], for an object whose fields depend on the language.
    pub(super) fn known_in(
        &mut self,
        object: &Place<'_, 'n>,
        own: &[&str],
        other: &[&str],
        language: QueryLanguage,
    ) {
        let both: Vec<&str> = own.iter().chain(other).copied().collect();
        self.known(object, &both);
        for member in object.members() {
            let name = member.name.as_ref();
            if other.contains(&name) && !own.contains(&name) {
                self.wrong_language(object, member, language);
            }
        }
    }

    /// Reports a field that only the other language has.
    pub(super) fn wrong_language(
        &mut self,
        object: &Place<'_, 'n>,
        member: &'n Member<'n>,
        language: QueryLanguage,
    ) {
        let (own, other) = match language {
            QueryLanguage::JsonPath => ("JSONPath", "JSONata"),
            QueryLanguage::Jsonata => ("JSONata", "JSONPath"),
        };
        let name = member.name.as_ref();
        self.refuse_part(
            object,
            member.name_span,
            format!(
                "The QueryLanguage is set to '{own}', but field '{name}' is only supported for the '{other}' QueryLanguage"
            ),
        );
    }

    fn unknown_in_state(
        &mut self,
        state: &Place<'_, 'n>,
        member: &'n Member<'n>,
        own: &[&'static str],
        language: QueryLanguage,
    ) {
        let name = member.name.as_ref();
        let owners: Vec<&str> = TYPES
            .iter()
            .zip(TYPE_NAMES)
            .filter(|(kind, _)| fields(**kind, language).contains(&name))
            .map(|(_, type_name)| type_name)
            .collect();
        let suggestion = if owners.is_empty() {
            let known = own.iter().chain(COMMON).copied();
            self.suggester.question(name, known)
        } else {
            Some(format!(
                "`{name}` belongs to states of the type {}",
                owners.join(", ")
            ))
        };
        self.refuse_part(
            state,
            member.name_span,
            format!("Field '{name}' is not supported"),
        )
        .suggestion = suggestion;
    }

    /// `Next` or `End`, exactly one of them.
    fn next(&mut self, state: &Place<'_, 'n>, here: Here) -> Next {
        let ends = state
            .get("End")
            .and_then(|place| self.boolean(&place))
            .unwrap_or(false);
        if ends {
            self.graph.terminal(here.scope, here.vertex);
        }
        let Some(place) = state.get("Next") else {
            if !ends {
                self.graph.incomplete(here.scope);
                self.refuse_part(
                    state,
                    state.head(),
                    "One of these fields is required: [Next, End]",
                );
            }
            return Next::End;
        };
        if ends {
            self.exclusive(state, &["Next", "End"]);
        }
        match self.target(&place, here, Via::Next) {
            Some(name) => Next::State(name),
            None => Next::End,
        }
    }

    fn state_kind(&mut self, state: &Place<'_, 'n>, kind: Type, here: Here) -> StateKind {
        match kind {
            Type::Pass => StateKind::Pass(self.pass(state)),
            Type::Task => StateKind::Task(Box::new(self.task(state, here))),
            Type::Choice => StateKind::Choice(self.choice(state, here)),
            Type::Wait => StateKind::Wait(self.wait(state)),
            Type::Succeed => StateKind::Succeed,
            Type::Fail => StateKind::Fail(Fail {
                error: self.text_field(state, "Error"),
                cause: self.text_field(state, "Cause"),
            }),
            Type::Parallel => StateKind::Parallel(Parallel {
                branches: self.branches(state, here),
                parameters: self.template_field(state, "Parameters"),
                outcome: self.outcome(state, here),
            }),
            Type::Map => StateKind::Map(Box::new(self.map(state, here))),
        }
    }

    fn pass(&mut self, state: &Place<'_, 'n>) -> Pass {
        let result = state.get("Result").map(|place| {
            self.static_result(&place);
            self.source(&place).to_owned()
        });
        Pass {
            parameters: self.template_field(state, "Parameters"),
            result,
            result_path: self.result_path(state),
        }
    }

    /// Warns of the `.$` names in a `Result`, which nothing computes.
    fn static_result(&mut self, place: &Place<'_, 'n>) {
        for member in place.members() {
            if member.name.ends_with(".$") && matches!(member.node.value, Value::String(_)) {
                self.warn(
                    Code::PassResultIsStatic,
                    &place.member(member),
                    "'Result' is not computed: this text is passed on as it is written",
                );
            }
        }
    }

    fn task(&mut self, state: &Place<'_, 'n>, here: Here) -> Task {
        let resource = if self.required(state, &["Resource"]) {
            state
                .get("Resource")
                .and_then(|place| self.resource(&place, here.machine_type))
        } else {
            None
        };
        let timeout = self.number_field(state, "TimeoutSeconds", 1..=SECONDS_MAX);
        let heartbeat = self.number_field(state, "HeartbeatSeconds", 1..=SECONDS_MAX);
        self.heartbeat_within_timeout(state, timeout.as_ref(), heartbeat.as_ref());
        Task {
            resource: resource.unwrap_or_default().to_owned(),
            parameters: self.template_field(state, "Parameters"),
            credentials: self.template_field(state, "Credentials"),
            timeout,
            heartbeat,
            outcome: self.outcome(state, here),
        }
    }

    pub(super) fn heartbeat_within_timeout(
        &mut self,
        state: &Place<'_, 'n>,
        timeout: Option<&NumberField>,
        heartbeat: Option<&NumberField>,
    ) {
        if let Some(NumberField::Literal(timeout)) = timeout
            && let Some(NumberField::Literal(heartbeat)) = heartbeat
            && *timeout > 0
            && heartbeat >= timeout
            && let Some(place) = state.get("HeartbeatSeconds")
        {
            self.refuse(
                &place,
                "'HeartbeatSeconds' must be smaller than 'TimeoutSeconds'",
            );
        }
    }

    pub(super) fn resource(
        &mut self,
        place: &Place<'_, 'n>,
        machine_type: MachineType,
    ) -> Option<&'n str> {
        let arn = self.string(place)?;
        match Resource::parse(arn) {
            Ok(resource) => {
                if machine_type == MachineType::Express {
                    self.express_resource(place, &resource);
                }
            }
            Err(ResourceError::NotAnArn) => {
                self.refuse(place, "Value is not a valid resource ARN");
            }
            Err(ResourceError::NotRecognized) => {
                let known: Vec<String> = resource::optimized().collect();
                let end = arn.splitn(6, ':').nth(5).unwrap_or_default();
                let question = self
                    .suggester
                    .question(end, known.iter().map(String::as_str));
                self.refuse(
                    place,
                    format!(
                        "The resource provided {arn} is not recognized. The value is not a valid resource ARN, or the resource is not available in this region."
                    ),
                )
                .suggestion = question;
            }
        }
        Some(arn)
    }

    /// What EXPRESS refuses. The two spaces before AWS's `at` are the end of these texts.
    fn express_resource(&mut self, place: &Place<'_, 'n>, resource: &Resource) {
        let message = match resource {
            Resource::Lambda { .. } => return,
            Resource::Activity { arn, .. } => {
                format!("Express state machine does not support Activity ARN '{arn}' ")
            }
            Resource::Service(integration) => match integration.pattern {
                Pattern::RequestResponse => return,
                Pattern::Sync | Pattern::Sync2 => {
                    "Express state machine does not support '.sync' service integration ".to_owned()
                }
                Pattern::WaitForTaskToken => {
                    "Express state machine does not support '.waitForTaskToken' service integration "
                        .to_owned()
                }
            },
        };
        self.refuse(place, message);
    }

    fn wait(&mut self, state: &Place<'_, 'n>) -> Wait {
        const NAMES: [&str; 4] = ["Seconds", "SecondsPath", "Timestamp", "TimestampPath"];
        self.exclusive(state, &NAMES);
        if let Some(place) = state.get("Seconds") {
            return Wait::Seconds(self.integer(&place, 0..=SECONDS_MAX));
        }
        if let Some(place) = state.get("Timestamp") {
            let text = self.string(&place).unwrap_or_default();
            if Timestamp::parse(text).is_err() && matches!(place.node.value, Value::String(_)) {
                self.refuse(&place, "String does not match RFC3339 timestamp");
            }
            return Wait::Timestamp(text.to_owned());
        }
        let by_path = |reader: &mut Self, name: &str| {
            let place = state.get(name)?;
            reader.definite_path(&place)
        };
        if let Some(path) = by_path(self, "SecondsPath") {
            return Wait::SecondsPath(path);
        }
        if let Some(path) = by_path(self, "TimestampPath") {
            return Wait::TimestampPath(path);
        }
        if !NAMES.iter().any(|name| state.has(name)) {
            self.refuse_part(
                state,
                state.head(),
                format!("One of these fields is required: [{}]", NAMES.join(", ")),
            );
        }
        Wait::Seconds(0)
    }
}
