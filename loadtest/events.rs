//! The events that are sent, and the outputs that they are to have.
//!
//! All are in memory before the first is sent, and are sent again and again in their order.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use quickstep::stdx::Timestamp;
use quickstep::{Engine, StateMachine, Status};
use serde_json::Value;

use super::schedule::{Nanos, Random};

/// Most events that are made of templates.
pub(crate) const GENERATED_MAX: u32 = 1_000_000;

/// Events and their outputs, shared by all threads.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    inputs: Arc<[Box<str>]>,
    /// The output of each; none if nothing is to be compared.
    expected: Option<Arc<[Box<str>]>>,
}

impl Events {
    /// Events of a file, a JSON text a line.
    ///
    /// # Errors
    ///
    /// If it cannot be read, if there are none, or if one of them is no JSON.
    pub(crate) fn read(path: &Path) -> Result<Events, String> {
        let text = read(path)?;
        let lines: Vec<Box<str>> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(Into::into)
            .collect();
        Events::new(lines, &path.display().to_string())
    }

    fn new(inputs: Vec<Box<str>>, source: &str) -> Result<Events, String> {
        if inputs.is_empty() {
            return Err(format!(
                "{source} has no events: a JSON text a line is wanted"
            ));
        }
        for (i, line) in inputs.iter().enumerate() {
            serde_json::from_str::<&serde_json::value::RawValue>(line)
                .map_err(|error| format!("{source}, event {}: {error}", i + 1))?;
        }
        Ok(Events {
            inputs: inputs.into(),
            expected: None,
        })
    }

    /// Makes `count` events, of which the lines of a file are the templates, one after the other.
    ///
    /// # Errors
    ///
    /// As [`Events::read`], and if a template has a placeholder that is not known.
    pub(crate) fn generate(path: &Path, count: u32, seed: u64) -> Result<Events, String> {
        let text = read(path)?;
        let templates: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        if templates.is_empty() {
            return Err(format!("{} has no templates", path.display()));
        }
        let mut random = Random(seed);
        let made = (0..count)
            .zip(templates.iter().cycle())
            .map(|(i, template)| filled(template, i, &mut random).map(Into::into))
            .collect::<Result<Vec<Box<str>>, String>>()
            .map_err(|problem| format!("{}: {problem}", path.display()))?;
        Events::new(made, &path.display().to_string())
    }

    /// Has outputs compared with the lines of a file.
    ///
    /// # Errors
    ///
    /// If it has another number of lines than there are events.
    pub(crate) fn expect(mut self, path: &Path) -> Result<Events, String> {
        let text = read(path)?;
        let expected: Arc<[Box<str>]> = text.lines().map(Into::into).collect();
        if expected.len() != self.inputs.len() {
            return Err(format!(
                "{} has {} outputs for {} events",
                path.display(),
                expected.len(),
                self.inputs.len()
            ));
        }
        self.expected = Some(expected);
        Ok(self)
    }

    /// Has outputs compared with those of a run before the load, one event after the other.
    ///
    /// # Errors
    ///
    /// If an execution of that run does not succeed.
    pub(crate) fn expect_reference(
        mut self,
        engine: &Engine,
        machine: &StateMachine,
    ) -> Result<Events, String> {
        let mut expected: Vec<Box<str>> = Vec::with_capacity(self.inputs.len());
        for (i, input) in self.inputs.iter().enumerate() {
            let result = engine.run(machine, input.as_bytes());
            let result =
                result.map_err(|error| format!("reference run, event {}: {error}", i + 1))?;
            match (result.status, result.output) {
                (Status::Succeeded, Some(output)) => expected.push(output.into()),
                (status, _) => {
                    let failure = result.failure.unwrap_or_default();
                    return Err(format!(
                        "reference run, event {}: {}, {} {}; give `--expect none` if executions are to fail, or `--tasks` if \
                         a task wants an answer",
                        i + 1,
                        status.as_str(),
                        failure.error.unwrap_or_default(),
                        failure.cause.unwrap_or_default(),
                    ));
                }
            }
        }
        self.expected = Some(expected.into());
        Ok(self)
    }

    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    fn at(&self, index: u64) -> usize {
        // What is less than a length is no longer than one.
        (index % self.inputs.len() as u64) as usize
    }

    /// The event of a request.
    pub(crate) fn input(&self, index: u64) -> &str {
        &self.inputs[self.at(index)]
    }

    /// The output that it is to have.
    pub(crate) fn expected(&self, index: u64) -> Option<&str> {
        self.expected
            .as_ref()
            .map(|expected| &*expected[self.at(index)])
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.expected.is_some()
    }

    /// Whether an output is the right one.
    pub(crate) fn is_right(&self, index: u64, output: &[u8]) -> bool {
        self.expected(index).is_none_or(|expected| {
            expected.as_bytes() == output || same_json(expected.as_bytes(), output)
        })
    }

    /// When the events happened, from a member of theirs: RFC 3339, or seconds since 1970. They become times since the first.
    ///
    /// # Errors
    ///
    /// If one has no such member.
    pub(crate) fn times(&self, member: &str, speed: f64) -> Result<Vec<Nanos>, String> {
        let mut times: Vec<f64> = Vec::with_capacity(self.inputs.len());
        for (i, input) in self.inputs.iter().enumerate() {
            let event: Value = serde_json::from_str(input).map_err(|error| error.to_string())?;
            let seconds = match &event[member] {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => Timestamp::parse_nanos(text).ok().map(|n| n as f64 / 1e9),
                _ => None,
            };
            times.push(seconds.ok_or_else(|| {
                format!(
                    "event {} has no time in `{member}`: RFC 3339 or seconds since 1970 are wanted",
                    i + 1
                )
            })?);
        }
        let first = times.first().copied().unwrap_or_default();
        let mut nanos: Vec<Nanos> = times
            .iter()
            .map(|seconds| ((seconds - first).max(0.0) / speed * 1e9) as Nanos)
            .collect();
        // An event that was written down late is sent with the one before it.
        let mut latest = 0;
        for at in &mut nanos {
            latest = latest.max(*at);
            *at = latest;
        }
        Ok(nanos)
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))
}

/// A template with its placeholders filled in.
fn filled(template: &str, number: u32, random: &mut Random) -> Result<String, String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let (inner, after) = after
            .split_once('}')
            .ok_or_else(|| "a placeholder `${` is not closed".to_owned())?;
        out.push_str(&placeholder(inner, number, random)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn placeholder(inner: &str, number: u32, random: &mut Random) -> Result<String, String> {
    let unknown = || {
        format!(
            "`${{{inner}}}` is unknown: ${{i}}, ${{hex}}, ${{int:1:100}} and ${{pick:a|b|c}} are known"
        )
    };
    let (kind, rest) = inner.split_once(':').unwrap_or((inner, ""));
    Ok(match kind {
        "i" => number.to_string(),
        "hex" => format!("{:016x}", random.next()),
        "int" => {
            let (from, to) = rest.split_once(':').ok_or_else(unknown)?;
            let from: i64 = from.parse().map_err(|_| unknown())?;
            let to: i64 = to.parse().map_err(|_| unknown())?;
            let range =
                u64::try_from(to.checked_sub(from).ok_or_else(unknown)?).map_err(|_| unknown())?;
            let drawn = random.next() % range.saturating_add(1);
            from.wrapping_add_unsigned(drawn).to_string()
        }
        "pick" => {
            let choices: Vec<&str> = rest.split('|').collect();
            choices[(random.next() % choices.len() as u64) as usize].to_owned()
        }
        _ => return Err(unknown()),
    })
}

/// Equal but for white space, the order of members, escapes, and how numbers are written: what another engine may do.
fn same_json(a: &[u8], b: &[u8]) -> bool {
    let (Ok(a), Ok(b)) = (serde_json::from_slice(a), serde_json::from_slice(b)) else {
        return false;
    };
    same(&a, &b)
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(lines: &[&str]) -> Events {
        Events::new(lines.iter().map(|line| (*line).into()).collect(), "here").unwrap()
    }

    #[test]
    fn outputs_are_compared_as_json() {
        for (a, b, is_same) in [
            (r#"{"a":1,"b":[5.0]}"#, r#"{ "b": [5], "a": 1.0 }"#, true),
            (r#""\u00e9""#, "\"é\"", true),
            (r#"{"a":1}"#, r#"{"a":2}"#, false),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
            ("[1]", "[1,1]", false),
            ("[1]", "[1", false),
        ] {
            assert_eq!(same_json(a.as_bytes(), b.as_bytes()), is_same, "{a} {b}");
        }
    }

    #[test]
    fn templates_are_filled_the_same_from_the_same_seed() {
        let template = r#"{"n":${i},"id":"${hex}","q":${int:-2:2},"c":"${pick:x|y}"}"#;
        let made = |seed| {
            let mut random = Random(seed);
            [0, 1].map(|i| filled(template, i, &mut random).unwrap())
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        let event: Value = serde_json::from_str(&made(1)[1]).unwrap();
        assert_eq!(event["n"], 1);
        assert!((-2..=2).contains(&event["q"].as_i64().unwrap()));
        for wrong in ["${", "${x}", "${int:1}", "${int:2:1}"] {
            assert!(filled(wrong, 0, &mut Random(0)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_of_events_become_a_schedule() {
        let events = events(&[
            r#"{"at":"2026-11-20T12:00:00Z"}"#,
            r#"{"at":"2026-11-20T12:00:02Z"}"#,
            r#"{"at":"2026-11-20T12:00:01Z"}"#,
            r#"{"at":1795176004}"#,
        ]);
        let times = events.times("at", 2.0).unwrap();
        assert_eq!(times[..3], [0, 1_000_000_000, 1_000_000_000]);
        assert_eq!(times[3], 2_000_000_000);
        assert!(events.times("when", 1.0).unwrap_err().contains("event 1"));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let wrong = Events::new(vec!["{}".into(), "{".into()], "events.ndjson");
        assert!(wrong.unwrap_err().starts_with("events.ndjson, event 2: "));
    }
}
