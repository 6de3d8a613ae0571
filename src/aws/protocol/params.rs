//! Parameters: finding the members that they name, and what is wrong with those that cannot be sent.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::aws::services::{Member, Names, Service, Structure, TimestampFormat};
use crate::stdx::Timestamp;

/// How deep parameters may nest: more than a state's input does.
const DEPTH_MAX: usize = 200;

/// Why parameters cannot be sent: where, and what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ParameterError(pub(crate) String);

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where in the parameters a value stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    name: &'a str,
    depth: usize,
}

impl<'a> Place<'a> {
    pub(super) const ROOT: Place<'static> = Place {
        parent: None,
        name: "",
        depth: 0,
    };

    /// A value within the one at this place.
    pub(super) fn inner<'b>(&'b self, name: &'b str) -> Result<Place<'b>, ParameterError>
    where
        'a: 'b,
    {
        if self.depth >= DEPTH_MAX {
            let message = format!("The parameters nest more than {DEPTH_MAX} levels deep");
            return Err(ParameterError(message));
        }
        Ok(Place {
            parent: Some(self),
            name,
            depth: self.depth + 1,
        })
    }

    /// That the value there is not what it must be.
    pub(super) fn must_be(&self, what: &str) -> ParameterError {
        ParameterError(match self.parent {
            None => format!("The parameters must be {what}"),
            Some(_) => format!("The value for the field '{self}' must be {what}"),
        })
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::with_capacity(self.depth);
        let mut place = Some(self);
        while let Some(here) = place {
            if here.parent.is_some() {
                names.push(here.name);
            }
            place = here.parent;
        }
        names.reverse();
        f.write_str(&names.join("."))
    }
}

/// What writing parameters needs: the service, and new random names.
pub(super) struct Context<'a> {
    pub(super) service: &'a Service,
    /// Makes a text that nobody else has.
    pub(super) token: &'a dyn Fn() -> String,
}

/// The members of a structure that parameters give, in the order of the model. Null counts as not given.
pub(super) fn members<'a>(
    context: &Context<'_>,
    structure: &'a Structure,
    value: &'a Value,
    place: &Place<'_>,
) -> Result<Vec<(&'a Member, Cow<'a, Value>)>, ParameterError> {
    let Value::Object(object) = value else {
        return Err(place.must_be("a STRUCTURE"));
    };
    let mut given: Vec<(usize, Cow<'a, Value>)> = Vec::with_capacity(object.len());
    for (name, value) in object {
        let Some(at) = structure.members.iter().position(|m| m.is_called(name)) else {
            return Err(unknown(structure, name, place));
        };
        if !value.is_null() {
            given.push((at, Cow::Borrowed(value)));
        }
    }
    for (at, member) in structure.members.iter().enumerate() {
        if member.is_token() && given.iter().all(|(known, _)| *known != at) {
            given.push((at, Cow::Owned(Value::String((context.token)()))));
        }
    }
    given.sort_by_key(|(at, _)| *at);
    if let Some(twice) = given.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let name = structure.members[twice[0].0].name(Names::Sdk);
        let message = format!("The field '{name}' is given in two spellings");
        return Err(ParameterError(message));
    }
    let member = |(at, value)| (&structure.members[at], value);
    Ok(given.into_iter().map(member).collect())
}

fn unknown(structure: &Structure, name: &str, place: &Place<'_>) -> ParameterError {
    let within = match place.parent {
        None => String::new(),
        Some(_) => format!(" in '{place}'"),
    };
    let mut names = structure
        .members
        .iter()
        .map(|member| member.name(Names::Sdk));
    let hint = match names.find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => format!("; it is spelled '{known}'"),
        None => String::new(),
    };
    ParameterError(format!(
        "The field '{name}'{within} is not supported by Step Functions{hint}"
    ))
}

/// A text; objects and lists count as their JSON.
pub(super) fn text<'v>(
    value: &'v Value,
    place: &Place<'_>,
) -> Result<Cow<'v, str>, ParameterError> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Object(_) | Value::Array(_) => Ok(Cow::Owned(value.to_string())),
        Value::Null | Value::Bool(_) | Value::Number(_) => Err(place.must_be("a STRING")),
    }
}

/// A whole number.
pub(super) fn integer(value: &Value, place: &Place<'_>) -> Result<i64, ParameterError> {
    let wrong = || place.must_be("an INTEGER");
    let Value::Number(number) = value else {
        return Err(wrong());
    };
    if let Some(integer) = number.as_i64() {
        return Ok(integer);
    }
    // `1.0` and `1e3` are whole numbers as well. Beyond 2^53 not all of them can be told apart.
    match number.as_f64() {
        Some(float) if float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 => {
            Ok(float as i64)
        }
        _ => Err(wrong()),
    }
}

/// A number, as JSON writes it, or one of the three names that are none.
pub(super) fn double(value: &Value, place: &Place<'_>) -> Result<Value, ParameterError> {
    match value {
        Value::Number(_) => Ok(value.clone()),
        Value::String(text) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => {
            Ok(value.clone())
        }
        _ => Err(place.must_be("a DOUBLE")),
    }
}

pub(super) fn boolean(value: &Value, place: &Place<'_>) -> Result<bool, ParameterError> {
    value.as_bool().ok_or_else(|| place.must_be("a BOOLEAN"))
}

/// Bytes: those of a text, or of the JSON that anything else is.
pub(super) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        other => other.to_string().into_bytes(),
    }
}

/// Bytes in base64.
pub(super) fn base64(value: &Value) -> String {
    STANDARD.encode(bytes(value))
}

/// A moment: RFC 3339, or seconds since the epoch.
pub(super) fn timestamp(value: &Value, place: &Place<'_>) -> Result<Timestamp, ParameterError> {
    let wrong = || place.must_be("a TIMESTAMP, as 2030-01-31T12:00:00Z");
    match value {
        Value::String(text) => Timestamp::parse(text).map_err(|_| wrong()),
        Value::Number(number) => match number.as_f64() {
            // Within the years that can be written.
            Some(seconds) if seconds.abs() < 250_000_000_000.0 => {
                Ok(Timestamp::from_millis((seconds * 1_000.0).round() as i64))
            }
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// A moment as text.
pub(super) fn timestamp_text(
    at: Timestamp,
    format: TimestampFormat,
    usual: TimestampFormat,
) -> String {
    match (format, usual) {
        (TimestampFormat::Unix, _) | (TimestampFormat::Usual, TimestampFormat::Unix) => {
            unix(at).to_string()
        }
        (TimestampFormat::Rfc822, _) | (TimestampFormat::Usual, TimestampFormat::Rfc822) => {
            rfc822(at)
        }
        (TimestampFormat::Iso8601 | TimestampFormat::Usual, _) => iso8601(at),
    }
}

/// A moment as a number of seconds.
pub(super) fn unix(at: Timestamp) -> Value {
    match at.millis() % 1_000 {
        0 => Value::from(at.millis() / 1_000),
        _ => Value::from(at.millis() as f64 / 1_000.0),
    }
}

/// A moment as Step Functions shows it: without a fraction if there is none.
pub(super) fn iso8601(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix(".000Z") {
        Some(whole) => format!("{whole}Z"),
        None => text,
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment as in HTTP's headers.
fn rfc822(at: Timestamp) -> String {
    let text = at.to_string();
    let weekday = at.millis().div_euclid(86_400_000).rem_euclid(7) as usize;
    let month = text.get(5..7).and_then(|month| month.parse::<usize>().ok());
    let month = month.and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    format!(
        "{}, {} {} {} {} GMT",
        DAYS[weekday],
        part(8..10),
        month.unwrap_or(&""),
        part(0..4),
        part(11..19)
    )
}

/// A moment that an answer gives as text, in whichever of the forms.
pub(super) fn read_timestamp(text: &str) -> Option<Timestamp> {
    if let Ok(at) = Timestamp::parse(text) {
        return Some(at);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let is_sane = seconds.abs() < 250_000_000_000.0;
        return is_sane.then(|| Timestamp::from_millis((seconds * 1_000.0).round() as i64));
    }
    // Tue, 29 Apr 2014 18:30:38 GMT
    let mut parts = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    Timestamp::parse(&format!("{year}-{month:02}-{day:0>2}T{time}Z")).ok()
}

/// Bytes of an answer as a value: their text, or base64 if they are none.
pub(super) fn blob(bytes: Vec<u8>) -> Value {
    Value::String(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(not) => STANDARD.encode(not.as_bytes()),
    })
}

/// Bytes of an answer, that came as base64, as a value.
pub(super) fn blob_of_base64(text: &str) -> Value {
    match STANDARD.decode(text.trim()) {
        Ok(bytes) => blob(bytes),
        Err(_) => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn moments_in_all_forms() {
        let at = Timestamp::from_millis(1_398_796_238_000);
        let part = Timestamp::from_millis(1_398_796_238_250);
        assert_eq!(iso8601(at), "2014-04-29T18:30:38Z");
        assert_eq!(iso8601(part), "2014-04-29T18:30:38.250Z");
        assert_eq!(rfc822(at), "Tue, 29 Apr 2014 18:30:38 GMT");
        assert_eq!(unix(at), json!(1_398_796_238));
        assert_eq!(unix(part), json!(1_398_796_238.25));
        for text in [
            "2014-04-29T18:30:38Z",
            "2014-04-29T20:30:38+02:00",
            "1398796238",
            "1398796238.0",
            "Tue, 29 Apr 2014 18:30:38 GMT",
        ] {
            assert_eq!(read_timestamp(text), Some(at), "{text}");
        }
        for text in ["", "yesterday", "Tue, 29 Apr 2014", "1e300", "NaN"] {
            assert_eq!(read_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_are_text_or_base64() {
        assert_eq!(blob(b"caf\xc3\xa9".to_vec()), json!("café"));
        assert_eq!(blob(vec![0xff, 0xfe]), json!("//4="));
        assert_eq!(blob_of_base64("aGk="), json!("hi"));
        assert_eq!(base64(&json!("hi")), "aGk=");
        assert_eq!(base64(&json!({"a": 1})), STANDARD.encode(r#"{"a":1}"#));
    }

    #[test]
    fn what_is_a_whole_number() {
        let place = Place::ROOT.inner("Count").unwrap();
        for (value, whole) in [
            (json!(3), Some(3)),
            (json!(-3.0), Some(-3)),
            (json!(1e3), Some(1_000)),
            (json!(2.5), None),
            (json!("3"), None),
            (json!(u64::MAX), None),
        ] {
            let found = integer(&value, &place);
            assert_eq!(found.clone().ok(), whole, "{value}");
            if let Err(error) = found {
                assert_eq!(
                    error.0,
                    "The value for the field 'Count' must be an INTEGER"
                );
            }
        }
    }
}
