//! [`Filter`]: which events are wanted.

use super::decode::{Entry, Held};
use super::render::Renderer;
use crate::history::{EventType, LogLevel};

/// Which events are wanted: those that meet everything that is asked. By default all are.
///
/// ```
/// use quickstep::history::LogLevel;
/// use quickstep::log::Filter;
///
/// let failures_of_orders = Filter::default().machine("order").level(LogLevel::Error);
/// # let _ = failures_of_orders;
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    level: LogLevel,
    machine: Option<Box<str>>,
    execution: Option<Box<str>>,
    state: Option<Box<str>>,
    event_type: Option<EventType>,
    text: Option<Box<str>>,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            level: LogLevel::All,
            machine: None,
            execution: None,
            state: None,
            event_type: None,
            text: None,
        }
    }
}

impl Filter {
    /// Events of this level and above: those that a log of the level has.
    #[must_use]
    pub fn level(mut self, level: LogLevel) -> Filter {
        self.level = level;
        self
    }

    /// Events of one machine's executions.
    #[must_use]
    pub fn machine(mut self, name: &str) -> Filter {
        self.machine = Some(name.into());
        self
    }

    /// Events of one execution, by its name or its ARN.
    #[must_use]
    pub fn execution(mut self, name_or_arn: &str) -> Filter {
        self.execution = Some(name_or_arn.into());
        self
    }

    /// Events that name the state, and those between in the same turn.
    #[must_use]
    pub fn state(mut self, name: &str) -> Filter {
        self.state = Some(name.into());
        self
    }

    /// Events of one type.
    #[must_use]
    pub fn event_type(mut self, event_type: EventType) -> Filter {
        self.event_type = Some(event_type);
        self
    }

    /// Events with this text in a field; documents are searched as compact JSON.
    #[must_use]
    pub fn text(mut self, text: &str) -> Filter {
        self.text = Some(text.into());
        self
    }

    /// True if nothing is asked.
    pub(crate) fn wants_all(&self) -> bool {
        self.level == LogLevel::All
            && self.machine.is_none()
            && self.execution.is_none()
            && self.state.is_none()
            && self.event_type.is_none()
            && self.text.is_none()
    }

    /// Whether the event is wanted. `scratch` is used for searching.
    pub(crate) fn wants(
        &self,
        entry: &Entry<'_, '_>,
        renderer: &mut Renderer,
        scratch: &mut Vec<u8>,
    ) -> bool {
        let is = |wanted: &Option<Box<str>>, text: &[u8]| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted.as_bytes() == text)
        };
        entry.event_type.level() >= self.level
            && self
                .event_type
                .is_none_or(|wanted| wanted == entry.event_type)
            && is(&self.machine, entry.machine())
            && (is(&self.execution, entry.execution_name())
                || is(&self.execution, entry.execution_arn()))
            && (self.state.is_none() || entry.state().is_some_and(|state| is(&self.state, state)))
            && self
                .text
                .as_deref()
                .is_none_or(|text| has_text(entry, text, renderer, scratch))
    }
}

fn has_text(
    entry: &Entry<'_, '_>,
    wanted: &str,
    renderer: &mut Renderer,
    scratch: &mut Vec<u8>,
) -> bool {
    let has = |text: &[u8]| memchr::memmem::find(text, wanted.as_bytes()).is_some();
    let items = entry.items();
    let mut document = |value| {
        scratch.clear();
        renderer.raw(entry, value, scratch);
        has(scratch)
    };
    entry.fields().iter().any(|(_, held)| match *held {
        Held::Text(text) => has(text.of(items)),
        Held::Document(value) => document(value),
        Held::Variables { first, end } => entry
            .members(first, end)
            .iter()
            .any(|member| has(member.name.of(items)) || document(member.value)),
        Held::Credentials(role_arn) => role_arn.is_some_and(|role_arn| has(role_arn.of(items))),
        Held::Number(_) => false,
    })
}
