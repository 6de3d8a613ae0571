//! `ResultSelector`, `ResultPath`, `Retry` and `Catch`: what Task, Parallel and Map share.

use super::jsonata::Spot;
use super::place::Place;
use super::{Here, Reader, SECONDS_MAX};
use crate::asl::graph::Via;
use crate::asl::model::{
    Catcher, JitterStrategy, OutcomeFields, QueryLanguage, ResultPath, Retrier,
};
use crate::jsonata::Available;
use crate::stdx::narrow;

const MAX_ATTEMPTS_MAX: u64 = 99_999_999;
const MAX_DELAY_SECONDS_MAX: u64 = 31_622_400;

/// The names that begin with `States.`; `States.Http.StatusCode.` takes a number as well.
const RESERVED_ERRORS: &[&str] = &[
    "States.ALL",
    "States.BranchFailed",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.Http.Socket",
    "States.IntrinsicFailure",
    "States.ItemReaderFailed",
    "States.NoChoiceMatched",
    "States.ParameterPathFailure",
    "States.Permissions",
    "States.QueryEvaluationError",
    "States.ResultPathMatchFailure",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.TaskFailed",
    "States.Timeout",
];

impl<'n> Reader<'n> {
    pub(super) fn outcome(&mut self, state: &Place<'_, 'n>, here: Here) -> OutcomeFields {
        OutcomeFields {
            result_selector: self.template_field(state, "ResultSelector"),
            result_path: self.result_path(state),
            retry: self.retry(state),
            catch: self.catch(state, here, QueryLanguage::JsonPath),
        }
    }

    pub(super) fn retry(&mut self, state: &Place<'_, 'n>) -> Vec<Retrier> {
        let Some(place) = state.get("Retry") else {
            return Vec::new();
        };
        let mut retriers = Vec::new();
        for (i, element) in self.handlers(&place).iter().enumerate() {
            let element = place.element(i, element);
            if self.object(&element) {
                let last = i + 1 == place.elements().len();
                retriers.push(self.retrier(&element, last));
            }
        }
        retriers
    }

    fn retrier(&mut self, place: &Place<'_, 'n>, last: bool) -> Retrier {
        self.known(
            place,
            &[
                "ErrorEquals",
                "IntervalSeconds",
                "MaxAttempts",
                "BackoffRate",
                "MaxDelaySeconds",
                "JitterStrategy",
            ],
        );
        let error_equals = self.error_equals(place, last);
        let interval_seconds = place
            .get("IntervalSeconds")
            .map_or(1, |p| self.integer(&p, 1..=SECONDS_MAX));
        let max_attempts = place
            .get("MaxAttempts")
            .map_or(3, |p| self.integer(&p, 0..=MAX_ATTEMPTS_MAX));
        let backoff_rate = place.get("BackoffRate").map_or(2.0, |p| {
            let rate = self.number(&p);
            if rate.is_some_and(|rate| !(1.0..f64::INFINITY).contains(&rate)) {
                self.refuse(&p, "The value must be 1.0 or more");
            }
            rate.unwrap_or(1.0)
        });
        let max_delay_seconds = place
            .get("MaxDelaySeconds")
            .map(|p| self.integer(&p, 1..=MAX_DELAY_SECONDS_MAX));
        let jitter = place
            .get("JitterStrategy")
            .map_or(JitterStrategy::None, |p| {
                match self.one_of(&p, &["FULL", "NONE"]) {
                    Some(0) => JitterStrategy::Full,
                    _ => JitterStrategy::None,
                }
            });
        Retrier {
            error_equals,
            interval_seconds,
            max_attempts: u32::try_from(max_attempts).unwrap_or(u32::MAX),
            backoff_rate,
            max_delay_seconds,
            jitter,
        }
    }

    /// `Catch`.
    pub(super) fn catch(
        &mut self,
        state: &Place<'_, 'n>,
        here: Here,
        language: QueryLanguage,
    ) -> Vec<Catcher> {
        let Some(place) = state.get("Catch") else {
            return Vec::new();
        };
        let mut catchers = Vec::new();
        for (i, element) in self.handlers(&place).iter().enumerate() {
            let element = place.element(i, element);
            if !self.object(&element) {
                continue;
            }
            let (own, other): (&[&str], &[&str]) = match language {
                QueryLanguage::JsonPath => (
                    &["ErrorEquals", "Next", "Assign", "ResultPath"],
                    &["Output"],
                ),
                QueryLanguage::Jsonata => (
                    &["ErrorEquals", "Next", "Assign", "Output"],
                    &["ResultPath"],
                ),
            };
            self.known_in(&element, own, other, language);
            let last = i + 1 == place.elements().len();
            let error_equals = self.error_equals(&element, last);
            let next = self.required_target(&element, here, Via::Catch(narrow(i)));
            let (result_path, assign, output) = match language {
                QueryLanguage::JsonPath => (
                    self.result_path(&element),
                    self.assign(&element, here.scope),
                    None,
                ),
                QueryLanguage::Jsonata => {
                    let spot =
                        |name| Spot::new(format!("Catch[{i}]/{name}"), Available::ErrorOutput);
                    (
                        ResultPath::Whole,
                        self.jsonata_assign(&element, &spot("Assign"), here.scope),
                        self.jsonata_field(&element, "Output", &spot("Output")),
                    )
                }
            };
            catchers.push(Catcher {
                error_equals,
                result_path,
                assign,
                output,
                next,
            });
        }
        catchers
    }

    /// The elements of `Retry` or `Catch`; both may be empty.
    fn handlers(&mut self, place: &Place<'_, 'n>) -> &'n [crate::asl::json::Node<'n>] {
        if !matches!(place.node.value, crate::asl::json::Value::Array(_)) {
            self.refuse(place, "Expected value of type Array");
        }
        place.elements()
    }

    fn error_equals(&mut self, handler: &Place<'_, 'n>, last: bool) -> Vec<String> {
        if !self.required(handler, &["ErrorEquals"]) {
            return Vec::new();
        }
        let Some(place) = handler.get("ErrorEquals") else {
            return Vec::new();
        };
        if !self.filled_array(&place) {
            return Vec::new();
        }
        let elements = place.elements();
        let mut names = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            let element = place.element(i, element);
            let Some(name) = self.string(&element) else {
                continue;
            };
            if name == "States.ALL" && elements.len() > 1 {
                self.refuse(&element, "'States.ALL' must appear alone in 'ErrorEquals'");
            } else if name == "States.ALL" && !last {
                let list = handler.at.last_name().to_owned();
                self.refuse(
                    &element,
                    format!("'States.ALL' must appear in the last element of '{list}'"),
                );
            } else if name.starts_with("States.") && !is_reserved(name) {
                let question = self
                    .suggester
                    .question(name, RESERVED_ERRORS.iter().copied());
                self.refuse(
                    &element,
                    format!("'{name}' is not an error name; names that begin with 'States.' are reserved"),
                )
                .suggestion = question;
            }
            names.push(name.to_owned());
        }
        names
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED_ERRORS.contains(&name)
        || name
            .strip_prefix("States.Http.StatusCode.")
            .is_some_and(|code| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()))
}
