//! What a task is called with: the members of an object, as JSON texts, so that numbers arrive as they were written.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::history::Failure;

/// The members of an effective input.
#[derive(Debug)]
pub(super) struct Parameters<'a> {
    members: BTreeMap<String, &'a RawValue>,
    text: &'a str,
}

/// Most bytes of parameters that a message shows.
const SHOWN_BYTES_MAX: usize = 1_024;

impl<'a> Parameters<'a> {
    /// Reads an effective input, which must be an object.
    pub(super) fn read(text: &'a str) -> Result<Parameters<'a>, Failure> {
        match serde_json::from_str(text) {
            Ok(members) => Ok(Parameters { members, text }),
            Err(_) => Err(Failure::new(
                "States.Runtime",
                format!(
                    "The Parameters '{}' could not be used to start the Task: they are not an object",
                    shown(text)
                ),
            )),
        }
    }

    /// A member's JSON text; null is as good as absent.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        let text = self.members.get(name)?.get();
        (text != "null").then_some(text)
    }

    /// A member's text, if it is a string.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw)
            .map(Some)
            .map_err(|_| self.wrong(&format!("The field \"{name}\" must be a String")))
    }

    /// The text of a member that has to be there.
    pub(super) fn required_text(&self, name: &str) -> Result<String, Failure> {
        self.text(name)?
            .ok_or_else(|| self.wrong(&format!("The field \"{name}\" is required but was missing")))
    }

    /// A member's value.
    pub(super) fn value(&self, name: &str) -> Result<Option<serde_json::Value>, Failure> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw)
            .map(Some)
            .map_err(|error| self.wrong(&format!("The field \"{name}\" cannot be read: {error}")))
    }

    /// What was meant to be JSON, or a text of it: the text of a string, and of anything else its JSON.
    pub(super) fn json_text(&self, name: &str) -> Result<Option<String>, Failure> {
        match self.raw(name) {
            Some(raw) if raw.starts_with('"') => self.text(name),
            raw => Ok(raw.map(str::to_owned)),
        }
    }

    /// All members.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, raw)| (&**name, *raw))
    }

    /// The failure of a task that cannot be called with these, in AWS's words.
    pub(super) fn wrong(&self, problem: &str) -> Failure {
        Failure::new(
            "States.Runtime",
            format!(
                "The Parameters '{}' could not be used to start the Task: [{problem}]",
                shown(self.text)
            ),
        )
    }
}

/// The beginning of a text.
pub(super) fn shown(text: &str) -> &str {
    cut(text, SHOWN_BYTES_MAX)
}

/// So many bytes of a text at most, of whole characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// A JSON object that is put together from texts of JSON, its members in the order of their names, as AWS's are.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<String, Box<RawValue>>);

impl Members {
    /// Reads an object.
    pub(super) fn read(json: &[u8]) -> Result<Members, serde_json::Error> {
        serde_json::from_slice(json).map(Members)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|raw| raw.get())
    }

    /// A member's text, if it is a string.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Adds a member; nothing, if that is no JSON.
    pub(super) fn put(&mut self, name: &str, json: String) {
        if let Ok(raw) = RawValue::from_string(json) {
            self.0.insert(name.to_owned(), raw);
        }
    }

    pub(super) fn put_value(&mut self, name: &str, value: &impl serde::Serialize) {
        if let Ok(raw) = serde_json::value::to_raw_value(value) {
            self.0.insert(name.to_owned(), raw);
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = vec![b'{'];
        for (i, (name, raw)) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(crate::value::escape(name).as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(raw.get().as_bytes());
        }
        out.push(b'}');
        out
    }

    pub(super) fn to_text(&self) -> String {
        // It was written from texts.
        String::from_utf8(self.write()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_what_was_written() {
        let text = r#"{"A":"x\n","N":1.10,"O":{"b":[1e400]},"Z":null}"#;
        let parameters = Parameters::read(text).unwrap();
        assert_eq!(parameters.required_text("A").unwrap(), "x\n");
        assert_eq!(parameters.json_text("N").unwrap().unwrap(), "1.10");
        assert_eq!(
            parameters.json_text("O").unwrap().unwrap(),
            r#"{"b":[1e400]}"#
        );
        assert_eq!(parameters.raw("Z"), None);
        assert_eq!(parameters.text("Z").unwrap(), None);
        let missing = parameters.required_text("B").unwrap_err();
        assert_eq!(
            missing.cause.as_deref().unwrap(),
            format!(
                "The Parameters '{text}' could not be used to start the Task: \
                 [The field \"B\" is required but was missing]"
            )
        );
        assert_eq!(
            parameters.text("N").unwrap_err().error_name(),
            "States.Runtime"
        );
        assert!(Parameters::read("[1]").is_err());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, max, expected) in [("aé", 1, "a"), ("aé", 2, "a"), ("aé", 3, "aé"), ("", 5, "")]
        {
            assert_eq!(cut(text, max), expected);
        }
    }

    #[test]
    fn objects_from_texts() {
        let mut members = Members::read(br#"{"b": 1.0, "a": "x"}"#).unwrap();
        members.put("c", "{\"d\":1e400}".to_owned());
        members.put("not", "{".to_owned());
        members.put_value("e", &["é\""]);
        assert_eq!(
            members.to_text(),
            r#"{"a":"x","b":1.0,"c":{"d":1e400},"e":["é\""]}"#
        );
        assert_eq!(members.text("a").unwrap(), "x");
        assert_eq!(members.text("b"), None);
    }
}
