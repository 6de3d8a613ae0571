//! Values as JSON: the bodies of the protocols `json` and `rest-json`.

use serde_json::{Map, Value};

use super::params::{self, Context, ParameterError, Place, members};
use crate::aws::services::{Kind, Names, Service, Shape, Structure, TimestampFormat};
use crate::stdx::Timestamp;

/// A value of the parameters as it is sent.
pub(super) fn write(
    context: &Context<'_>,
    kind: Kind,
    value: &Value,
    place: &Place<'_>,
) -> Result<Value, ParameterError> {
    Ok(match kind {
        Kind::String => Value::String(params::text(value, place)?.into_owned()),
        Kind::Integer => Value::from(params::integer(value, place)?),
        Kind::Double => params::double(value, place)?,
        Kind::Boolean => Value::Bool(params::boolean(value, place)?),
        Kind::Blob | Kind::Stream => Value::String(params::base64(value)),
        Kind::Document => value.clone(),
        Kind::JsonText => Value::String(match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }),
        Kind::Timestamp(format) => {
            let at = params::timestamp(value, place)?;
            match format {
                TimestampFormat::Usual | TimestampFormat::Unix => params::unix(at),
                other => Value::String(params::timestamp_text(at, other, other)),
            }
        }
        Kind::Shape(number) => match context.service.shape(number) {
            Shape::Structure(structure) => {
                let given = members(context, structure, value, place)?;
                let mut out = Map::new();
                for (member, value) in given {
                    let place = place.inner(member.api_name())?;
                    let written = write(context, member.kind(), &value, &place)?;
                    out.insert(member.wire_name().to_owned(), written);
                }
                Value::Object(out)
            }
            Shape::List(list) => {
                let Value::Array(items) = value else {
                    return Err(place.must_be("an ARRAY"));
                };
                let mut out = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let name = i.to_string();
                    let place = place.inner(&name)?;
                    out.push(nullable(context, list.item, item, &place)?);
                }
                Value::Array(out)
            }
            Shape::Map(map) => {
                let Value::Object(entries) = value else {
                    return Err(place.must_be("an OBJECT"));
                };
                let mut out = Map::new();
                for (key, value) in entries {
                    let place = place.inner(key)?;
                    out.insert(key.clone(), nullable(context, map.value, value, &place)?);
                }
                Value::Object(out)
            }
        },
    })
}

/// As [`write`]; lists and maps may hold null.
fn nullable(
    context: &Context<'_>,
    kind: Kind,
    value: &Value,
    place: &Place<'_>,
) -> Result<Value, ParameterError> {
    match value {
        Value::Null => Ok(Value::Null),
        value => write(context, kind, value, place),
    }
}

/// A value of an answer as results show it. What the model does not know is left out, as the SDKs leave it out; nothing is
/// said of what the model knows otherwise.
pub(super) fn read(service: &Service, kind: Kind, value: Value, names: Names) -> Value {
    match (kind, value) {
        (Kind::Shape(number), value) => match (service.shape(number), value) {
            (Shape::Structure(structure), Value::Object(object)) => {
                Value::Object(read_members(service, structure, object, names))
            }
            (Shape::List(list), Value::Array(items)) => {
                let items = items.into_iter();
                Value::Array(items.map(|v| read(service, list.item, v, names)).collect())
            }
            (Shape::Map(map), Value::Object(entries)) => Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key, read(service, map.value, value, names)))
                    .collect(),
            ),
            (_, value) => value,
        },
        (Kind::Blob | Kind::Stream, Value::String(text)) => params::blob_of_base64(&text),
        (Kind::Timestamp(_), value) => read_timestamp(value),
        (_, value) => value,
    }
}

/// The members of a structure that stand in the body.
pub(super) fn read_members(
    service: &Service,
    structure: &Structure,
    mut object: Map<String, Value>,
    names: Names,
) -> Map<String, Value> {
    let mut out = Map::new();
    for member in &structure.members {
        if member.location().is_some() {
            continue;
        }
        if let Some(value) = object.remove(member.wire_name())
            && !value.is_null()
        {
            out.insert(
                member.name(names),
                read(service, member.kind(), value, names),
            );
        }
    }
    out
}

fn read_timestamp(value: Value) -> Value {
    let at = match &value {
        Value::Number(number) => number
            .as_f64()
            .filter(|seconds| seconds.abs() < 250_000_000_000.0)
            .map(|seconds| Timestamp::from_millis((seconds * 1_000.0).round() as i64)),
        Value::String(text) => params::read_timestamp(text),
        _ => None,
    };
    match at {
        Some(at) => Value::String(params::iso8601(at)),
        None => value,
    }
}
