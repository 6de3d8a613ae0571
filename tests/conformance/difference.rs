//! What a case finds to be different, in words.

/// The differences between what a case expects and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Differences(Vec<String>);

/// More of a text says no more.
const SHOWN_CHARS_MAX: usize = 1_000;

pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

impl Differences {
    /// Adds one in words of its own.
    pub(crate) fn add(&mut self, difference: impl Into<String>) {
        self.0.push(difference.into());
    }

    /// Adds that `what` was to be one thing and is another.
    pub(crate) fn differs(&mut self, what: &str, expected: &str, ours: &str) {
        let (expected, ours) = (shown(expected), shown(ours));
        self.add(format!(
            "{what}:\n    expected: {expected}\n    ours:     {ours}"
        ));
    }

    /// The same, unless they are equal; either may be absent.
    pub(crate) fn compare(&mut self, what: &str, expected: Option<&str>, ours: Option<&str>) {
        if expected != ours {
            let (expected, ours) = (expected.unwrap_or("(none)"), ours.unwrap_or("(none)"));
            self.differs(what, expected, ours);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(crate) fn text(&self) -> String {
        self.0.join("\n  ")
    }
}
