//! What is to be tested.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::super::super::error::ApiError;
use super::super::super::request::{ARN, CAUSE, DATA, DEFINITION, ERROR, Fields, Text};
use super::shapes::Validation;
use crate::history::Failure;
use crate::value::escape;

/// The fields of a state, each as written: the order of members is part of what a template gives.
pub(super) type StateFields = BTreeMap<String, Box<RawValue>>;

/// How much is told of what happens to the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    Info,
    Debug,
    Trace,
}

/// What stands for the work of the state.
#[derive(Clone, Debug)]
pub(super) enum Mock<'i> {
    /// JSON text.
    Result(Cow<'i, str>),
    Error(Failure),
}

/// A request, read.
#[derive(Debug)]
pub(super) struct Test<'i> {
    definition: &'i str,
    pub(super) state_name: Option<&'i str>,
    pub(super) state: StateFields,
    pub(super) input: &'i str,
    pub(super) level: Level,
    pub(super) mock: Option<Mock<'i>>,
    /// JSON text of an object.
    pub(super) variables: Option<&'i str>,
    /// The same: `$$`.
    pub(super) context: Option<&'i str>,
    pub(super) role_arn: Option<&'i str>,
    /// How a mocked result is held against what the service may answer.
    pub(super) validation: Validation,
    /// Iterations of a Map that are said to have failed.
    pub(super) failed_iterations: u32,
    /// What a Map's `ItemReader` is said to have read: JSON text.
    pub(super) reader_data: Option<&'i str>,
    /// Retries that the state's retrier has made already.
    pub(super) retry_count: u32,
}

/// Name of a state that came without one.
const LONE: &str = "StateUnderTest";

/// Text of any length.
const ANY: Text = Text::sensitive(0, usize::MAX);

/// Most retries that may be said to have been made.
const RETRIES_MAX: i64 = 10_000;

fn mock<'i>(fields: &Fields<'_, 'i>) -> Result<(Option<Mock<'i>>, Validation), ApiError> {
    let Some(mock) = fields.object("mock")? else {
        return Ok((None, Validation::Strict));
    };
    let result = mock.text("result", DATA)?;
    let validation = match mock.one_of("fieldValidationMode", &["STRICT", "PRESENT", "NONE"])? {
        Some(1) => Validation::Present,
        Some(2) => Validation::None,
        _ => Validation::Strict,
    };
    let error = match mock.object("errorOutput")? {
        None => None,
        Some(error) => Some(Failure {
            error: error.text("error", ERROR)?.map(Into::into),
            cause: error.text("cause", CAUSE)?.map(Into::into),
        }),
    };
    match (result, error) {
        (Some(result), None) => Ok((Some(Mock::Result(result.into())), validation)),
        (None, Some(error)) => Ok((Some(Mock::Error(error)), validation)),
        (None, None) | (Some(_), Some(_)) => Err(ApiError::validation(
            "A test mock should have only one of the following fields: [result, errorOutput].",
        )),
    }
}

/// A member that has to be the text of a JSON object.
fn object<'i>(fields: &Fields<'_, 'i>, name: &str) -> Result<Option<&'i str>, ApiError> {
    let text = fields.text(name, ANY)?;
    if let Some(text) = text
        && serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text).is_err()
    {
        let message = format!("{name} must be the text of a JSON object");
        return Err(ApiError::validation(message));
    }
    Ok(text)
}

impl<'i> Test<'i> {
    pub(super) fn read(fields: &Fields<'_, 'i>) -> Result<Test<'i>, ApiError> {
        let definition = fields.required_text("definition", DEFINITION)?;
        let role_arn = fields.text("roleArn", ARN)?;
        let input = fields.text("input", DATA)?.unwrap_or("{}");
        let level = match fields.one_of("inspectionLevel", &["INFO", "DEBUG", "TRACE"])? {
            Some(1) => Level::Debug,
            Some(2) => Level::Trace,
            _ => Level::Info,
        };
        let reveals = fields.boolean("revealSecrets")?.unwrap_or(false);
        let state_name = fields.text("stateName", ANY)?;
        let (mut retry_count, mut failed_iterations, mut reader_data) = (None, None, None);
        if let Some(configuration) = fields.object("stateConfiguration")? {
            retry_count = configuration.integer("retrierRetryCount", 0..=RETRIES_MAX)?;
            configuration.text("errorCausedByState", ANY)?;
            let count = 0..=i64::from(i32::MAX);
            failed_iterations = configuration.integer("mapIterationFailureCount", count)?;
            reader_data = configuration.text("mapItemReaderData", ANY)?;
        }
        fields.finish()?;
        let variables = object(fields, "variables")?;
        let context = object(fields, "context")?;
        let (mock, validation) = mock(fields)?;
        fields.finish()?;
        if reveals && mock.is_some() {
            return Err(ApiError::validation(
                "TestState does not support RevealSecrets when a mock is specified.",
            ));
        }
        let state = match state_name {
            None => serde_json::from_str(definition).unwrap_or_default(),
            Some(name) => find(definition, name)
                .ok_or_else(|| ApiError::validation("State not found in definition"))?,
        };
        Ok(Test {
            definition,
            state_name,
            state,
            input,
            level,
            mock,
            variables,
            context,
            role_arn,
            validation,
            failed_iterations: u32::try_from(failed_iterations.unwrap_or(0)).unwrap_or(0),
            reader_data,
            retry_count: u32::try_from(retry_count.unwrap_or(0)).unwrap_or(0),
        })
    }

    pub(super) fn name(&self) -> &'i str {
        self.state_name.unwrap_or(LONE)
    }

    /// The machine that was given, or one around the state.
    pub(super) fn whole(&self) -> String {
        match self.state_name {
            Some(_) => self.definition.to_owned(),
            None => format!(
                "{{\"StartAt\":\"{LONE}\",\"States\":{{\"{LONE}\":{}}}}}",
                self.definition
            ),
        }
    }

    /// Where the state stands in that machine.
    pub(super) fn pointer(&self) -> String {
        format!("/States/{}", self.name())
    }

    /// True by the `QueryLanguage` of the state, or of the machine that it stands in.
    pub(super) fn is_jsonata(&self) -> bool {
        let of_machine = || {
            self.state_name?;
            let machine: StateFields = serde_json::from_str(self.definition).ok()?;
            text(machine.get("QueryLanguage")?)
        };
        let language = self.text_field("QueryLanguage").or_else(of_machine);
        language.as_deref() == Some("JSONata")
    }

    /// A field of the state that is a text.
    pub(super) fn text_field(&self, name: &str) -> Option<String> {
        text(self.state.get(name)?)
    }
}

/// The text of a JSON string.
pub(super) fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// The fields of the state of that name, wherever it stands in the machine.
fn find(definition: &str, name: &str) -> Option<StateFields> {
    let machine: BTreeMap<String, Box<RawValue>> = serde_json::from_str(definition).ok()?;
    let states = machine.get("States")?;
    let states: BTreeMap<String, Box<RawValue>> = serde_json::from_str(states.get()).ok()?;
    if let Some(state) = states.get(name) {
        return Some(serde_json::from_str(state.get()).unwrap_or_default());
    }
    // serde_json gives up beyond 128 levels, and so does this.
    states.values().find_map(|state| {
        let fields: StateFields = serde_json::from_str(state.get()).ok()?;
        let inner = ["ItemProcessor", "Iterator"].iter().find_map(|processor| {
            let processor = fields.get(*processor)?;
            find(processor.get(), name)
        });
        inner.or_else(|| {
            let branches = fields.get("Branches")?;
            let branches: Vec<Box<RawValue>> = serde_json::from_str(branches.get()).ok()?;
            branches.iter().find_map(|branch| find(branch.get(), name))
        })
    })
}
