//! Members of a request, checked against the constraints that the service's model states.
//!
//! A member of the wrong JSON type ends the reading at once (`SerializationException`). What breaks a constraint is
//! gathered, and told all together, in AWS's words: "1 validation error detected: Value …".

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use simd_json::prelude::{ValueAsScalar as _, ValueIntoString as _};
use simd_json::tape::Value;

use super::error::ApiError;

/// The members of an object in a request.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'t, 'i> {
    value: Value<'t, 'i>,
    path: String,
    problems: &'t Problems,
}

/// The constraints that are broken.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<String>>);

/// Most characters of a value that a message shows.
const SHOWN_CHARS_MAX: usize = 1_024;

/// Lengths of texts, in characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) min: usize,
    pub(crate) max: usize,
    /// Its value is not shown in messages.
    pub(crate) sensitive: bool,
}

impl Text {
    pub(crate) const fn new(min: usize, max: usize) -> Text {
        Text {
            min,
            max,
            sensitive: false,
        }
    }

    pub(crate) const fn sensitive(min: usize, max: usize) -> Text {
        Text {
            min,
            max,
            sensitive: true,
        }
    }
}

/// `Arn`.
pub(crate) const ARN: Text = Text::new(1, 256);
/// `LongArn`.
pub(crate) const LONG_ARN: Text = Text::new(1, 2_000);
/// `Name`.
pub(crate) const NAME: Text = Text::new(1, 80);
/// `PageToken`.
pub(crate) const PAGE_TOKEN: Text = Text::new(1, 1_024);
/// `ListExecutionsPageToken`.
pub(crate) const EXECUTIONS_TOKEN: Text = Text::new(1, 3_096);
/// `TaskToken`.
pub(crate) const TASK_TOKEN: Text = Text::new(1, 2_048);
/// `SensitiveData`.
pub(crate) const DATA: Text = Text::sensitive(0, 262_144);
/// `Definition`.
pub(crate) const DEFINITION: Text = Text::sensitive(1, 1_048_576);
/// `SensitiveError`.
pub(crate) const ERROR: Text = Text::sensitive(0, 256);
/// `SensitiveCause`.
pub(crate) const CAUSE: Text = Text::sensitive(0, 32_768);
/// `VersionDescription`, `AliasDescription`.
pub(crate) const DESCRIPTION: Text = Text::sensitive(0, 256);

impl Problems {
    fn add(&self, shown: &str, path: &str, constraint: &str) {
        self.0.borrow_mut().push(format!(
            "Value {shown}at '{path}' failed to satisfy constraint: {constraint}"
        ));
    }

    /// Says what is wrong, if anything is.
    pub(crate) fn finish(&self) -> Result<(), ApiError> {
        let problems = self.0.borrow();
        if problems.is_empty() {
            return Ok(());
        }
        let count = problems.len();
        let plural = if count == 1 { "" } else { "s" };
        Err(ApiError::validation(format!(
            "{count} validation error{plural} detected: {}",
            problems.join("; ")
        )))
    }
}

/// A JSON type where another is wanted.
fn wrong_type(value: Value<'_, '_>, wanted: &str) -> ApiError {
    let found = if value.as_str().is_some() {
        "STRING_VALUE"
    } else if value.as_bool() == Some(true) {
        "TRUE_VALUE"
    } else if value.as_bool() == Some(false) {
        "FALSE_VALUE"
    } else if value.is_array() {
        "START_ARRAY"
    } else if value.is_object() {
        "START_OBJECT"
    } else {
        "NUMBER_VALUE"
    };
    ApiError::new(
        "SerializationException",
        format!("{found} can not be converted to {wanted}"),
    )
}

impl<'t, 'i> Fields<'t, 'i> {
    /// The members of a whole request.
    pub(crate) fn new(
        value: Value<'t, 'i>,
        problems: &'t Problems,
    ) -> Result<Fields<'t, 'i>, ApiError> {
        if !value.is_object() {
            return Err(wrong_type(value, "a structure"));
        }
        Ok(Fields {
            value,
            path: String::new(),
            problems,
        })
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// A member that is there and not null.
    fn get(&self, name: &str) -> Option<Value<'t, 'i>> {
        let object = self.value.as_object()?;
        let value = object.get(name)?;
        value.as_null().is_none().then_some(value)
    }

    /// True if the member is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Says that a constraint is broken which only the operation knows.
    pub(crate) fn refuse(&self, name: &str, value: &str, constraint: &str) {
        self.problems
            .add(&format!("'{}' ", cut(value)), &self.at(name), constraint);
    }

    /// A text, if it is there.
    pub(crate) fn text(&self, name: &str, text: Text) -> Result<Option<&'i str>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Some(string) = value.into_string() else {
            return Err(wrong_type(value, "a String"));
        };
        // A text has at most as many characters as bytes.
        let chars = if string.len() <= text.max && string.len() >= text.min && text.min <= 1 {
            return Ok(Some(string));
        } else {
            string.chars().count()
        };
        let shown = match text.sensitive {
            true => String::new(),
            false => format!("'{}' ", cut(string)),
        };
        if chars > text.max {
            let constraint = format!("Member must have length less than or equal to {}", text.max);
            self.problems.add(&shown, &self.at(name), &constraint);
        }
        if chars < text.min {
            let constraint = format!(
                "Member must have length greater than or equal to {}",
                text.min
            );
            self.problems.add(&shown, &self.at(name), &constraint);
        }
        Ok(Some(string))
    }

    fn missing(&self, name: &str) {
        self.problems
            .add("null ", &self.at(name), "Member must not be null");
    }

    /// A text that has to be there; an empty one stands for one that is not, until the problems are told.
    pub(crate) fn required_text(&self, name: &str, text: Text) -> Result<&'i str, ApiError> {
        let found = self.text(name, text)?;
        if found.is_none() {
            self.missing(name);
        }
        Ok(found.unwrap_or_default())
    }

    /// A boolean, false if it is not there.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match value.as_bool() {
                Some(boolean) => Ok(Some(boolean)),
                None => Err(wrong_type(value, "a Boolean")),
            },
        }
    }

    /// An integer in a range.
    pub(crate) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let whole = value
            .as_f64()
            .filter(|n| n.fract() == 0.0 && n.abs() < 9e15);
        let Some(integer) = value.as_i64().or(whole.map(|n| n as i64)) else {
            return Err(wrong_type(value, "an Integer"));
        };
        let shown = format!("'{integer}' ");
        if integer > *range.end() {
            let constraint = format!(
                "Member must have value less than or equal to {}",
                range.end()
            );
            self.problems.add(&shown, &self.at(name), &constraint);
        }
        if integer < *range.start() {
            let constraint = format!(
                "Member must have value greater than or equal to {}",
                range.start()
            );
            self.problems.add(&shown, &self.at(name), &constraint);
        }
        Ok(Some(integer))
    }

    /// Which one of some words it is.
    pub(crate) fn one_of(&self, name: &str, words: &[&str]) -> Result<Option<usize>, ApiError> {
        let Some(word) = self.text(name, Text::new(0, usize::MAX))? else {
            return Ok(None);
        };
        let found = words.iter().position(|known| *known == word);
        if found.is_none() {
            let constraint = format!("Member must satisfy enum value set: [{}]", words.join(", "));
            self.refuse(name, word, &constraint);
        }
        Ok(found)
    }

    /// The members of an object.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields<'t, 'i>>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if !value.is_object() {
            return Err(wrong_type(value, "a structure"));
        }
        Ok(Some(Fields {
            value,
            path: self.at(name),
            problems: self.problems,
        }))
    }

    /// The members of each object in a list.
    pub(crate) fn objects(&self, name: &str) -> Result<Option<Vec<Fields<'t, 'i>>>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Some(array) = value.as_array() else {
            return Err(wrong_type(value, "a list"));
        };
        let mut found = Vec::new();
        for (i, value) in array.iter().enumerate() {
            if !value.is_object() {
                return Err(wrong_type(value, "a structure"));
            }
            found.push(Fields {
                value,
                path: format!("{}.{}.member", self.at(name), i + 1),
                problems: self.problems,
            });
        }
        Ok(Some(found))
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<&'i str>>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let Some(array) = value.as_array() else {
            return Err(wrong_type(value, "a list"));
        };
        let text = |value: Value<'t, 'i>| value.into_string();
        let texts = array
            .iter()
            .map(|value| text(value).ok_or_else(|| wrong_type(value, "a String")));
        Ok(Some(texts.collect::<Result<_, _>>()?))
    }

    /// Says that a list has too many or too few elements.
    pub(crate) fn check_length(&self, name: &str, length: usize, range: RangeInclusive<usize>) {
        let mut constraint = String::new();
        // Writing to a string cannot fail.
        if length > *range.end() {
            let _ = write!(
                constraint,
                "Member must have length less than or equal to {}",
                range.end()
            );
        } else if length < *range.start() {
            let _ = write!(
                constraint,
                "Member must have length greater than or equal to {}",
                range.start()
            );
        } else {
            return;
        }
        self.problems.add("", &self.at(name), &constraint);
    }

    /// Ends the reading: says what is wrong, if anything is.
    pub(crate) fn finish(&self) -> Result<(), ApiError> {
        self.problems.finish()
    }

    /// `maxResults`: how many items are wanted.
    pub(crate) fn page_size(&self) -> Result<usize, ApiError> {
        let size = self.integer("maxResults", 0..=super::page::PAGE_MAX)?;
        Ok(match size.map(usize::try_from) {
            None | Some(Ok(0) | Err(_)) => super::page::PAGE_DEFAULT,
            Some(Ok(size)) => size,
        })
    }
}

fn cut(text: &str) -> &str {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => &text[..at],
        None => text,
    }
}
