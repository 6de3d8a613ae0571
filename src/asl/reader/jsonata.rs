//! JSONata states. Their fields are known by name, and their transitions, handlers and inner scopes are read; what
//! their expressions say is not: every such definition is refused until this file reads them.

use super::place::Place;
use super::state::Type;
use super::{Here, Reader};
use crate::asl::graph::Via;
use crate::asl::json::Value;
use crate::asl::model::{QueryLanguage, StateKind};
use crate::stdx::narrow;

#[rustfmt::skip]
pub(super) fn fields(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Pass => &["Next", "End", "Output", "Assign"],
        Type::Task => &[
            "Next", "End", "Resource", "Arguments", "Output", "Credentials", "TimeoutSeconds", "HeartbeatSeconds",
            "Retry", "Catch", "Assign",
        ],
        Type::Choice => &["Choices", "Default", "Output", "Assign"],
        Type::Wait => &["Next", "End", "Seconds", "Timestamp", "Output", "Assign"],
        Type::Succeed => &["Output"],
        Type::Fail => &["Error", "Cause"],
        Type::Parallel => &[
            "Next", "End", "Branches", "Arguments", "Output", "Retry", "Catch", "Assign",
        ],
        Type::Map => &[
            "Next", "End", "Items", "ItemProcessor", "Iterator", "ItemSelector", "MaxConcurrency", "Output", "Retry",
            "Catch", "Assign", "ItemReader", "ItemBatcher", "ResultWriter", "Label", "ToleratedFailureCount",
            "ToleratedFailurePercentage",
        ],
    }
}

impl<'n> Reader<'n> {
    /// Reads what does not depend on the language. What it returns is never run.
    pub(super) fn jsonata_state(
        &mut self,
        state: &Place<'_, 'n>,
        kind: Type,
        here: Here,
    ) -> StateKind {
        self.assign_names(state, here.scope);
        match kind {
            Type::Choice => self.jsonata_choice(state, here),
            Type::Task => {
                if self.required(state, &["Resource"])
                    && let Some(place) = state.get("Resource")
                {
                    self.resource(&place, here.machine_type);
                }
            }
            Type::Wait => {
                self.exclusive(state, &["Seconds", "Timestamp"]);
            }
            Type::Parallel => {
                self.branches(state, here);
            }
            Type::Map => {
                self.processor(state, here);
            }
            Type::Pass | Type::Succeed | Type::Fail => {}
        }
        self.retry(state);
        self.catch(state, here, QueryLanguage::Jsonata);
        StateKind::Succeed
    }

    fn jsonata_choice(&mut self, state: &Place<'_, 'n>, here: Here) {
        self.default_target(state, here);
        if !self.required(state, &["Choices"]) {
            return;
        }
        let Some(place) = state.get("Choices") else {
            return;
        };
        if !self.filled_array(&place) {
            return;
        }
        for (i, element) in place.elements().iter().enumerate() {
            let rule = place.element(i, element);
            if self.object(&rule) {
                self.known(&rule, &["Condition", "Next", "Output", "Assign"]);
                self.required(&rule, &["Condition"]);
                self.required_target(&rule, here, Via::Choice(narrow(i)));
                self.assign_names(&rule, here.scope);
            }
        }
    }

    /// The names of `Assign`.
    pub(super) fn assign_names(&mut self, object: &Place<'_, 'n>, scope: usize) {
        let Some(place) = object.get("Assign") else {
            return;
        };
        // The whole object may be one expression.
        if matches!(place.node.value, Value::String(_)) || !self.object(&place) {
            return;
        }
        for member in place.members() {
            self.variable(&place, member, &member.name, scope);
        }
    }
}
