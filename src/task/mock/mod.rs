//! Answers from a file, in place of services: for tests, and for a first look.
//!
//! A file has one of two forms:
//!
//! - AWS Step Functions Local's `MockConfigFile.json`: [`TestCase`]s, each of which names a response for some of a
//!   machine's states; a response has an answer for each call (`config`).
//! - `{"tasks": {"arn:aws:lambda:*:function:quote": {"result": …}}}`: an answer for each resource, the same every time,
//!   or a child process that answers (`simple`, `exec`).

mod config;
mod exec;
mod place;
mod simple;

use std::fmt;
use std::path::{Path, PathBuf};

use super::TaskRegistry;
use crate::value::{Doc, IngestError, Kind, Values};
use place::Place;

pub use config::TestCase;
pub(crate) use exec::{Exec, ExecPending};

/// Why a file of answers could not be used: the file, the place in it, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MockError(Box<str>);

impl fmt::Display for MockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MockError {}

/// Where answers stand: `FILE` or `FILE#TestCase`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MockSource {
    /// The file.
    pub file: PathBuf,
    /// Which test case of a `MockConfigFile.json`; may be left out if there is one only.
    pub test_case: Option<String>,
}

impl MockSource {
    /// Reads `FILE` or `FILE#TestCase`; a `#` that is part of an existing file's name is left alone.
    #[must_use]
    pub fn parse(text: &str) -> MockSource {
        match text.rsplit_once('#') {
            Some((file, test_case)) if !Path::new(text).exists() => MockSource {
                file: file.into(),
                test_case: Some(test_case.to_owned()),
            },
            _ => MockSource {
                file: text.into(),
                test_case: None,
            },
        }
    }

    /// Reads the file: the machines that it has test cases for, if it is a `MockConfigFile.json`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is of neither form; what it says of one machine is read by [`MockSource::load`].
    pub fn machines(&self) -> Result<Option<Vec<String>>, MockError> {
        let shown = self.file.display();
        let at = |what: &dyn fmt::Display| MockError(format!("{shown}: {what}").into());
        let text = std::fs::read(&self.file).map_err(|error| at(&error))?;
        let (mut doc, constants) = (Doc::new(), Doc::new());
        let val = doc.ingest(&text).map_err(|error| at(&error))?;
        let root = Place::root(
            Values {
                doc: &doc,
                constants: &constants,
            },
            val,
        );
        let machines = match root.kind() {
            Kind::Object => root.member("StateMachines"),
            _ => None,
        };
        let Some(machines) = machines else {
            // The other form does not depend on the machine, so that it can be checked here.
            register(
                &text,
                "",
                self.test_case.as_deref(),
                &mut TaskRegistry::new(),
            )
            .map_err(|problem| at(&problem))?;
            return Ok(None);
        };
        let names = machines.members().map_err(|problem| at(&problem))?;
        Ok(Some(names.into_iter().map(|(name, _)| name).collect()))
    }

    /// Reads the file and registers its answers in `tasks`. A `MockConfigFile.json` has them by the machine's name.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not of one of the two forms, or has no such machine or test case.
    pub fn load(&self, machine: &str, tasks: &mut TaskRegistry) -> Result<(), MockError> {
        let shown = self.file.display();
        let at = |what: &dyn fmt::Display| MockError(format!("{shown}: {what}").into());
        let text = std::fs::read(&self.file).map_err(|error| at(&error))?;
        register(&text, machine, self.test_case.as_deref(), tasks).map_err(|problem| at(&problem))
    }
}

/// What is wrong with a file, and where in it.
#[derive(Debug)]
enum Problem {
    Json(IngestError),
    At { pointer: String, message: String },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Json(error) => error.fmt(f),
            Problem::At { pointer, message } if pointer.is_empty() => f.write_str(message),
            Problem::At { pointer, message } => write!(f, "at {pointer}: {message}"),
        }
    }
}

fn register(
    text: &[u8],
    machine: &str,
    test_case: Option<&str>,
    tasks: &mut TaskRegistry,
) -> Result<(), Problem> {
    let (mut doc, constants) = (Doc::new(), Doc::new());
    let val = doc.ingest(text).map_err(Problem::Json)?;
    let values = Values {
        doc: &doc,
        constants: &constants,
    };
    let root = Place::root(values, val);
    if root.kind() == Kind::Object {
        if let Some(machines) = root.member("StateMachines") {
            let responses = root.member("MockedResponses");
            let case = config::read(&machines, responses.as_ref(), machine, test_case)?;
            tasks.set_test_case(case);
            return Ok(());
        }
        if let Some(entries) = root.member("tasks") {
            if let Some(name) = test_case {
                return Err(root.problem(format!(
                    "test cases, such as #{name}, are of MockConfigFile.json files; this one has \"tasks\""
                )));
            }
            return simple::read(&entries, tasks);
        }
    }
    Err(root.problem(
        "a file of answers is either {\"tasks\": {\"RESOURCE\": {\"result\": …}}} or a MockConfigFile.json with \
         \"StateMachines\" and \"MockedResponses\""
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cases: &[(&str, Option<&str>, &str)]) {
        for (text, case, expected) in cases {
            let problem = register(text.as_bytes(), "M", *case, &mut TaskRegistry::new());
            let problem = problem.expect_err(text).to_string();
            assert!(problem.contains(expected), "{text}\n{problem}\n{expected}");
        }
    }

    #[test]
    fn bad_files_say_what_to_do() {
        check(&[
            ("{", None, "invalid JSON at line 1 column"),
            ("[]", None, "a file of answers is either"),
            (
                r#"{"tasks":[]}"#,
                None,
                "at /tasks: an object is wanted, this is an array",
            ),
            (
                r#"{"tasks":{"a/b":{"reslt":1}}}"#,
                None,
                "at /tasks/a~1b/reslt: unknown; did you mean `result`?",
            ),
            (
                r#"{"tasks":{"a":{}}}"#,
                None,
                "at /tasks/a: one of \"result\", \"error\", \"echo\" and \"exec\" is wanted",
            ),
            (
                r#"{"tasks":{"a":{"exec":"ls"}}}"#,
                None,
                "at /tasks/a/exec: an array is wanted, this is a string",
            ),
            (
                r#"{"tasks":{"a":{"exec":[]}}}"#,
                None,
                "at /tasks/a/exec: the program to run is missing",
            ),
            (r#"{"tasks":{}}"#, Some("T"), "this one has \"tasks\""),
        ]);
    }

    #[test]
    fn bad_test_cases_say_what_to_do() {
        let config = |cases: &str, responses: &str| {
            format!(
                r#"{{"StateMachines":{{"M":{{"TestCases":{cases}}}}},"MockedResponses":{responses}}}"#
            )
        };
        let with_response =
            |response: &str| config(r#"{"T":{"S":"R"}}"#, &format!("{{\"R\":{response}}}"));
        check(&[
            (
                r#"{"StateMachines":{"N":{}}}"#,
                None,
                "at /StateMachines: there is no machine M; there are: N. Name the machine with --name",
            ),
            (
                &config(r#"{"Happy":{},"Sad":{}}"#, "{}"),
                None,
                "at /StateMachines/M/TestCases: name one of the test cases, as in FILE#Happy; there are: Happy, Sad",
            ),
            (
                &config(r#"{"Happy":{},"Sad":{}}"#, "{}"),
                Some("Hapy"),
                "there is no test case Hapy; did you mean `Happy`? There are: Happy, Sad",
            ),
            (
                &config(r#"{"T":{"S":"Q"}}"#, r#"{"R":{}}"#),
                None,
                "at /StateMachines/M/TestCases/T/S: MockedResponses has no Q",
            ),
            (
                &with_response(r#"{"x":{"Return":1}}"#),
                None,
                "at /MockedResponses/R/x: a call is a number from 0, or a range of them such as \"1-2\"",
            ),
            (
                &with_response(r#"{"0-2":{"Return":1},"2":{"Return":1}}"#),
                None,
                "at /MockedResponses/R/2: call 2 has an answer already",
            ),
            (
                &with_response(r#"{"0":{}}"#),
                None,
                "at /MockedResponses/R/0: \"Return\" or \"Throw\" is wanted",
            ),
            (
                &with_response(r#"{"0":{"Throw":{"Error":1}}}"#),
                None,
                "at /MockedResponses/R/0/Throw/Error: a string is wanted, this is a number",
            ),
        ]);
    }
}
