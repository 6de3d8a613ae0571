//! `MockConfigFile.json` of AWS Step Functions Local (AWS's guide, "Testing Step Functions with mocked service
//! integrations").
//!
//! ```json
//! {
//!   "StateMachines": {"Orders": {"TestCases": {"HappyPath": {"Charge": "ChargeSecondTime"}}}},
//!   "MockedResponses": {
//!     "ChargeSecondTime": {
//!       "0": {"Throw": {"Error": "Busy", "Cause": "try again"}},
//!       "1-9": {"Return": {"status": "captured"}}
//!     }
//!   }
//! }
//! ```
//!
//! The numbers count the calls of the state in the execution: retries, and visits in a loop or in a Map.

use std::sync::Arc;

use super::Problem;
use super::place::{Place, near};
use crate::history::Failure;
use crate::stdx::FixedMap;
use crate::task::{Answers, Fixed};
use crate::value::Prepared;

/// The answers of a test case, by state.
#[derive(Debug, Default)]
pub struct TestCase {
    states: FixedMap<String, Arc<Answers>>,
}

impl TestCase {
    pub(crate) fn state(&self, name: &str) -> Option<&Arc<Answers>> {
        self.states.get(name)
    }
}

pub(super) fn read(
    machines: &Place<'_>,
    responses: Option<&Place<'_>>,
    machine: &str,
    test_case: Option<&str>,
) -> Result<TestCase, Problem> {
    let all = machines.members()?;
    let Some((_, found)) = all.iter().find(|(name, _)| name == machine) else {
        let names = names(&all);
        return Err(machines.problem(format!(
            "there is no machine {machine}; there are: {names}. Name the machine with --name"
        )));
    };
    let case = select(found, test_case)?;
    let mut states = FixedMap::default();
    for (state, response) in case.members()? {
        let name = response.string()?;
        let Some(place) = responses.and_then(|responses| responses.member(&name)) else {
            return Err(response.problem(format!("MockedResponses has no {name}")));
        };
        states.insert(state, Arc::new(answers(&name, &place)?));
    }
    Ok(TestCase { states })
}

fn select<'a>(machine: &Place<'a>, test_case: Option<&str>) -> Result<Place<'a>, Problem> {
    let Some(cases) = machine.member("TestCases") else {
        return Err(machine.problem("\"TestCases\" is wanted".to_owned()));
    };
    let all = cases.members()?;
    let message = match (test_case, all.as_slice()) {
        (None, [(_, only)]) => return Ok(only.clone()),
        (None, []) => "there is no test case".to_owned(),
        (None, [(first, _), ..]) => format!(
            "name one of the test cases, as in FILE#{first}; there are: {}",
            names(&all)
        ),
        (Some(wanted), _) => {
            if let Some((_, place)) = all.iter().find(|(name, _)| name == wanted) {
                return Ok(place.clone());
            }
            let near = near(wanted, all.iter().map(|(name, _)| name.as_str()));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let (joint, names) = (if hint.is_empty() { ";" } else { "" }, names(&all));
            let there = if hint.is_empty() { "there" } else { "There" };
            format!("there is no test case {wanted}{hint}{joint} {there} are: {names}")
        }
    };
    Err(cases.problem(message))
}

fn names(all: &[(String, Place<'_>)]) -> String {
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    names.join(", ")
}

fn answers(name: &str, response: &Place<'_>) -> Result<Answers, Problem> {
    let mut calls: Vec<(u32, u32, Fixed)> = Vec::new();
    for (numbers, place) in response.members()? {
        let Some((first, last)) = range(&numbers) else {
            let message = "a call is a number from 0, or a range of them such as \"1-2\"";
            return Err(place.problem(message.to_owned()));
        };
        let overlap = calls.iter().find(|(f, l, _)| first <= *l && *f <= last);
        if let Some((f, _, _)) = overlap {
            let call = first.max(*f);
            return Err(place.problem(format!("call {call} has an answer already")));
        }
        calls.push((first, last, answer(&place)?));
    }
    calls.sort_by_key(|(first, ..)| *first);
    Ok(Answers {
        name: name.into(),
        calls,
    })
}

fn range(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    match text.split_once('-') {
        None => number(text).map(|n| (n, n)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

fn answer(place: &Place<'_>) -> Result<Fixed, Problem> {
    place.only(&["Return", "Throw"])?;
    match (place.member("Return"), place.member("Throw")) {
        (Some(result), None) => Ok(Ok(Prepared::new(&result.json()))),
        (None, Some(throw)) => {
            throw.only(&["Error", "Cause"])?;
            let part = |name| throw.member(name).map(|text| text.string()).transpose();
            Ok(Err(Failure {
                error: part("Error")?.map(Into::into),
                cause: part("Cause")?.map(Into::into),
            }))
        }
        _ => Err(place.problem("\"Return\" or \"Throw\" is wanted".to_owned())),
    }
}
