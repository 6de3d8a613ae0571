//! Fields of one type each: texts, numbers, choices among words, paths, and the rules between fields.

use std::ops::RangeInclusive;

use super::Reader;
use super::place::Place;
use crate::asl::diagnostic::{Code, Diagnostic, Severity};
use crate::asl::json::{Span, Value};
use crate::asl::model::{NumberField, PathField, ResultPath, TextField};
use crate::intrinsic;
use crate::path::{Path, ReferencePath};

impl<'n> Reader<'n> {
    /// Reports a value that breaks its field's rule.
    pub(super) fn refuse(
        &mut self,
        place: &Place<'_, 'n>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.sink.error(
            Code::SchemaValidationFailed,
            place.node.span,
            place.at.to_string(),
            message,
        )
    }

    /// Reports a part of an object; the pointer is the object's.
    pub(super) fn refuse_part(
        &mut self,
        object: &Place<'_, 'n>,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.sink.error(
            Code::SchemaValidationFailed,
            span,
            object.at.to_string(),
            message,
        )
    }

    pub(super) fn warn(&mut self, code: Code, place: &Place<'_, 'n>, message: impl Into<String>) {
        self.sink
            .error(code, place.node.span, place.at.to_string(), message)
            .severity = Severity::Warning;
    }

    fn expected(&mut self, place: &Place<'_, 'n>, what: &str) {
        self.refuse(place, format!("Expected value of type {what}"));
    }

    /// True if the value is an object; else the problem is reported.
    pub(super) fn object(&mut self, place: &Place<'_, 'n>) -> bool {
        let is_object = matches!(place.node.value, Value::Object(_));
        if !is_object {
            self.expected(place, "Object");
        }
        is_object
    }

    /// True if the value is an array with an element at least; else the problem is reported.
    pub(super) fn filled_array(&mut self, place: &Place<'_, 'n>) -> bool {
        match &place.node.value {
            Value::Array(elements) if elements.is_empty() => {
                self.refuse(place, "The array must not be empty");
                false
            }
            Value::Array(_) => true,
            _ => {
                self.expected(place, "Array");
                false
            }
        }
    }

    pub(super) fn string(&mut self, place: &Place<'_, 'n>) -> Option<&'n str> {
        if let Value::String(text) = &place.node.value {
            return Some(text);
        }
        self.expected(place, "String");
        None
    }

    pub(super) fn boolean(&mut self, place: &Place<'_, 'n>) -> Option<bool> {
        if let Value::Bool(value) = place.node.value {
            return Some(value);
        }
        self.expected(place, "Boolean");
        None
    }

    pub(super) fn number(&mut self, place: &Place<'_, 'n>) -> Option<f64> {
        if let Value::Number = place.node.value {
            return self.source(place).parse().ok();
        }
        self.expected(place, "Number");
        None
    }

    /// A whole number within `range`; 0 after a report.
    pub(super) fn integer(&mut self, place: &Place<'_, 'n>, range: RangeInclusive<u64>) -> u64 {
        let Value::Number = place.node.value else {
            self.expected(place, "Integer");
            return 0;
        };
        let text = self.source(place);
        // `60.0` and `6e1` are whole as well.
        let value = text.parse::<i128>().ok().or_else(|| {
            let n = text.parse::<f64>().ok()?;
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            (n.fract() == 0.0 && n.abs() < 9e15).then_some(n as i128)
        });
        let Some(value) = value else {
            self.expected(place, "Integer");
            return 0;
        };
        match u64::try_from(value) {
            Ok(value) if range.contains(&value) => value,
            _ => {
                let message = if *range.end() == u64::MAX {
                    format!("The value must be {} or more", range.start())
                } else {
                    format!(
                        "The value must be between {} and {}",
                        range.start(),
                        range.end()
                    )
                };
                self.refuse(place, message);
                0
            }
        }
    }

    /// The index of the value among `words`.
    pub(super) fn one_of(&mut self, place: &Place<'_, 'n>, words: &[&str]) -> Option<usize> {
        let text = match &place.node.value {
            Value::String(text) => text.as_ref(),
            _ => "",
        };
        if let Some(index) = words.iter().position(|word| *word == text) {
            return Some(index);
        }
        let field = place.at.last_name().to_owned();
        let question = self.suggester.question(text, words.iter().copied());
        self.refuse(
            place,
            format!(
                "The field '{field}' should have one of these values: [{}]",
                words.join(", ")
            ),
        )
        .suggestion = question;
        None
    }

    /// Any path.
    pub(super) fn path(&mut self, place: &Place<'_, 'n>) -> Option<Path> {
        let text = self.string(place)?;
        match Path::parse(text) {
            Ok(path) => Some(path),
            Err(error) => {
                self.refuse(
                    place,
                    format!("Value is not a valid JSONPath: {}", error.message),
                );
                None
            }
        }
    }

    /// A path that finds one value at most.
    pub(super) fn definite_path(&mut self, place: &Place<'_, 'n>) -> Option<Path> {
        let path = self.path(place)?;
        if !path.is_definite() {
            self.refuse(
                place,
                "Value is not a Reference Path: it can find more than one value",
            );
        }
        Some(path)
    }

    /// `InputPath`, `OutputPath`, `ItemsPath`.
    pub(super) fn path_field(&mut self, object: &Place<'_, 'n>, name: &str) -> PathField {
        let Some(place) = object.get(name) else {
            return PathField::Whole;
        };
        match &place.node.value {
            Value::Null => PathField::Null,
            Value::String(text) if text == "$" => PathField::Whole,
            _ => self.path(&place).map_or(PathField::Whole, PathField::Path),
        }
    }

    pub(super) fn result_path(&mut self, object: &Place<'_, 'n>) -> ResultPath {
        let Some(place) = object.get("ResultPath") else {
            return ResultPath::Whole;
        };
        let text = match &place.node.value {
            Value::Null => return ResultPath::Null,
            Value::String(text) if text == "$" => return ResultPath::Whole,
            Value::String(text) => text,
            _ => {
                self.expected(&place, "String");
                return ResultPath::Whole;
            }
        };
        match ReferencePath::parse(text) {
            Ok(path) => ResultPath::Path(path),
            Err(error) => {
                self.refuse(
                    &place,
                    format!("Value is not a Reference Path: {}", error.message),
                );
                ResultPath::Whole
            }
        }
    }

    /// `NAME` (a whole number) or `NAMEPath`.
    pub(super) fn number_field(
        &mut self,
        object: &Place<'_, 'n>,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Option<NumberField> {
        let path_name = format!("{name}Path");
        self.exclusive(object, &[name, &path_name]);
        if let Some(place) = object.get(name) {
            return Some(NumberField::Literal(self.integer(&place, range)));
        }
        let place = object.get(&path_name)?;
        self.definite_path(&place).map(NumberField::Path)
    }

    /// `NAME` (a text) or `NAMEPath`, a path or a call.
    pub(super) fn text_field(&mut self, object: &Place<'_, 'n>, name: &str) -> Option<TextField> {
        let path_name = format!("{name}Path");
        self.exclusive(object, &[name, &path_name]);
        if let Some(place) = object.get(name) {
            let text = self.string(&place)?;
            if looks_like_expression(text) {
                self.warn(
                    Code::NoPath,
                    &place,
                    format!("The value looks like a path; a path belongs into '{path_name}'"),
                );
            }
            return Some(TextField::Literal(text.to_owned()));
        }
        let place = object.get(&path_name)?;
        let text = self.string(&place)?;
        if !intrinsic::is_call(text) {
            return self.path(&place).map(TextField::Path);
        }
        match intrinsic::parse(text) {
            Ok(call) => Some(TextField::Call(call)),
            Err(error) => {
                self.refuse(
                    &place,
                    format!(
                        "Value is not a valid intrinsic function call: {}",
                        error.message
                    ),
                );
                None
            }
        }
    }

    /// Reports the names that `object` lacks.
    pub(super) fn required(&mut self, object: &Place<'_, 'n>, names: &[&str]) -> bool {
        let missing: Vec<&str> = names.iter().copied().filter(|n| !object.has(n)).collect();
        if !missing.is_empty() {
            self.refuse_part(
                object,
                object.head(),
                format!("These fields are required: [{}]", missing.join(", ")),
            );
        }
        missing.is_empty()
    }

    /// Reports it if `object` has more than one of `names`.
    pub(super) fn exclusive(&mut self, object: &Place<'_, 'n>, names: &[&str]) {
        let mut present = object
            .members()
            .iter()
            .filter(|m| names.contains(&m.name.as_ref()));
        let first = present.next();
        let Some((first, second)) = first.zip(present.next()) else {
            return;
        };
        if first.name != second.name {
            self.refuse_part(
                object,
                second.name_span,
                format!(
                    "Only one of these fields is allowed: [{}]",
                    names.join(", ")
                ),
            );
        }
    }

    /// Reports the members of `object` whose names are not among `known`. `Comment` is allowed everywhere.
    pub(super) fn known(&mut self, object: &Place<'_, 'n>, known: &[&str]) {
        for member in object.members() {
            let name = member.name.as_ref();
            if name == "Comment" {
                self.string(&object.member(member));
            } else if !known.contains(&name) {
                let question = self.suggester.question(name, known.iter().copied());
                self.refuse_part(
                    object,
                    member.name_span,
                    format!("Field '{name}' is not supported"),
                )
                .suggestion = question;
            }
        }
    }

    /// The text of a value as written.
    pub(super) fn source(&self, place: &Place<'_, 'n>) -> &'n str {
        &self.text[place.node.span.range()]
    }
}

/// True for what a person writes who means a path or a call.
pub(super) fn looks_like_expression(text: &str) -> bool {
    text.starts_with("$.")
        || text.starts_with("$$.")
        || text.starts_with("$[")
        || (intrinsic::is_call(text) && text.contains('(') && text.ends_with(')'))
}
