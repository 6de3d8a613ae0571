//! Requests whose parameters stand in the path, the query string, the headers and the body: `rest-json` and `rest-xml`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value};

use super::params::{self, Context, ParameterError, Place, members};
use super::query::scalar;
use super::xml::Writer;
use super::{Parts, json, uri};
use crate::aws::services::{
    Checksum, Kind, Location, Member, Operation, Protocol, Shape, Structure, TimestampFormat,
};

pub(super) fn request(
    context: &Context<'_>,
    operation: &Operation,
    parameters: &Value,
) -> Result<Parts, ParameterError> {
    let structure = operation
        .input
        .and_then(|input| context.service.structure(input));
    let given = match structure {
        Some(structure) => members(context, structure, parameters, &Place::ROOT)?,
        None => {
            super::no_parameters(parameters)?;
            Vec::new()
        }
    };
    let mut parts = Parts {
        method: operation.method().to_owned(),
        ..Parts::default()
    };
    let mut labels: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let mut query: Vec<(String, String)> = Vec::new();
    for (member, value) in &given {
        let place = Place::ROOT.inner(member.api_name())?;
        match member.location() {
            Some(Location::Uri) => {
                let text = scalar(member.kind(), value, TimestampFormat::Iso8601, &place)?;
                labels.push((member.wire_name(), text));
            }
            Some(Location::Query) => query_pairs(context, member, value, &place, &mut query)?,
            Some(Location::Header) => header(context, member, value, &place, &mut parts)?,
            Some(Location::Headers) => headers(member, value, &place, &mut parts)?,
            Some(Location::Status) | None => {}
        }
    }
    let value_of = |label: &str| {
        labels
            .iter()
            .find(|(name, _)| *name == label)
            .map(|(_, value)| &**value)
    };
    let path = uri::fill(operation.uri(), value_of)?;
    parts.path = with_query(path, &query);
    if let Some(structure) = structure {
        body(context, operation, structure, &given, &mut parts)?;
    }
    if let Some(checksum) = operation.checksum {
        add_checksum(checksum, &mut parts);
    }
    Ok(parts)
}

/// A path that may have a query string already, with these pairs as well.
fn with_query(path: String, pairs: &[(String, String)]) -> String {
    if pairs.is_empty() {
        return path;
    }
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{}", uri::query_string(pairs))
}

fn query_pairs(
    context: &Context<'_>,
    member: &Member,
    value: &Value,
    place: &Place<'_>,
    out: &mut Vec<(String, String)>,
) -> Result<(), ParameterError> {
    let usual = TimestampFormat::Iso8601;
    let name = member.wire_name();
    let Kind::Shape(number) = member.kind() else {
        let text = scalar(member.kind(), value, usual, place)?.into_owned();
        out.push((name.to_owned(), text));
        return Ok(());
    };
    match (context.service.shape(number), value) {
        (Shape::List(list), Value::Array(items)) => {
            for item in items {
                let text = scalar(list.item, item, usual, place)?.into_owned();
                out.push((name.to_owned(), text));
            }
            Ok(())
        }
        (Shape::Map(map), Value::Object(entries)) => {
            for (key, value) in entries {
                // A key may have one value or several.
                let values = match value {
                    Value::Array(values) => values.as_slice(),
                    value => std::slice::from_ref(value),
                };
                let kind = match map.value {
                    Kind::Shape(_) => Kind::String,
                    plain => plain,
                };
                for value in values {
                    out.push((key.clone(), scalar(kind, value, usual, place)?.into_owned()));
                }
            }
            Ok(())
        }
        (Shape::List(_), _) => Err(place.must_be("an ARRAY")),
        (Shape::Map(_) | Shape::Structure(_), _) => Err(place.must_be("an OBJECT")),
    }
}

fn header(
    context: &Context<'_>,
    member: &Member,
    value: &Value,
    place: &Place<'_>,
    parts: &mut Parts,
) -> Result<(), ParameterError> {
    let usual = TimestampFormat::Rfc822;
    let text = match (member.kind(), value) {
        (Kind::JsonText, Value::String(text)) => STANDARD.encode(text),
        (Kind::JsonText, other) => STANDARD.encode(other.to_string()),
        (Kind::Blob, value) => params::base64(value),
        (Kind::Shape(number), Value::Array(items)) => {
            let kind = match context.service.shape(number) {
                Shape::List(list) => list.item,
                Shape::Structure(_) | Shape::Map(_) => return Err(place.must_be("an OBJECT")),
            };
            let mut texts = Vec::with_capacity(items.len());
            for item in items {
                let text = scalar(kind, item, usual, place)?;
                texts.push(match text.contains([',', '"']) {
                    true => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
                    false => text.into_owned(),
                });
            }
            texts.join(",")
        }
        (kind, value) => scalar(kind, value, usual, place)?.into_owned(),
    };
    add_header(parts, &member.wire_name().to_ascii_lowercase(), text, place)
}

/// A map, each of whose entries is a header: the name is a prefix for all.
fn headers(
    member: &Member,
    value: &Value,
    place: &Place<'_>,
    parts: &mut Parts,
) -> Result<(), ParameterError> {
    let Value::Object(entries) = value else {
        return Err(place.must_be("an OBJECT"));
    };
    let prefix = member.other_name().unwrap_or_default();
    for (key, value) in entries {
        let place = place.inner(key)?;
        let text = params::text(value, &place)?.into_owned();
        let name = format!("{prefix}{key}").to_ascii_lowercase();
        add_header(parts, &name, text, &place)?;
    }
    Ok(())
}

fn add_header(
    parts: &mut Parts,
    name: &str,
    value: String,
    place: &Place<'_>,
) -> Result<(), ParameterError> {
    // What would end a header must not begin another one.
    let is_sane = value
        .bytes()
        .all(|byte| byte == b'\t' || !byte.is_ascii_control());
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_sane || !is_name {
        return Err(place.must_be("fit for a header: without line ends and control characters"));
    }
    parts.header(name, value.trim());
    Ok(())
}

fn body(
    context: &Context<'_>,
    operation: &Operation,
    structure: &Structure,
    given: &[(&Member, Cow<'_, Value>)],
    parts: &mut Parts,
) -> Result<(), ParameterError> {
    if let Some(payload) = structure.payload.as_deref() {
        let found = given
            .iter()
            .find(|(member, _)| member.api_name() == payload);
        return match found {
            Some((member, value)) => payload_body(context, member, value, parts),
            None => Ok(()),
        };
    }
    if structure
        .members
        .iter()
        .all(|member| member.location().is_some())
    {
        return Ok(());
    }
    let in_body = given
        .iter()
        .filter(|(member, _)| member.location().is_none());
    match context.service.protocol {
        Protocol::RestXml => {
            let mut writer = Writer {
                context,
                out: String::new(),
            };
            let name = operation.input_name.as_deref();
            let name = name
                .or(structure.name.as_deref())
                .unwrap_or(&operation.name);
            let namespace = operation.input_namespace.as_deref();
            let object = in_body.map(|(member, value)| {
                (
                    member.name(crate::aws::services::Names::Api),
                    value.as_ref().clone(),
                )
            });
            let value = Value::Object(object.collect::<Map<_, _>>());
            let kind = operation.input.unwrap_or(Kind::Document);
            let namespace = namespace.map(|uri| (uri, None));
            writer.element(name, namespace, kind, &value, &Place::ROOT)?;
            xml_body(writer.out, parts);
        }
        _ => {
            let mut object = Map::new();
            for (member, value) in in_body {
                let place = Place::ROOT.inner(member.api_name())?;
                let written = json::write(context, member.kind(), value, &place)?;
                object.insert(member.wire_name().to_owned(), written);
            }
            parts.body = Value::Object(object).to_string().into_bytes();
            parts.header("content-type", "application/json");
        }
    }
    Ok(())
}

/// One member is the body.
fn payload_body(
    context: &Context<'_>,
    member: &Member,
    value: &Value,
    parts: &mut Parts,
) -> Result<(), ParameterError> {
    let place = Place::ROOT.inner(member.api_name())?;
    match member.kind() {
        Kind::Blob => {
            parts.body = params::bytes(value);
            set_type(parts, "application/octet-stream");
        }
        Kind::Stream => {
            // A text keeps its quotes, as the entity tags of objects show that AWS has put.
            parts.body = value.to_string().into_bytes();
            set_type(parts, "application/octet-stream");
        }
        Kind::String => {
            parts.body = params::text(value, &place)?.into_owned().into_bytes();
            set_type(parts, "text/plain");
        }
        kind if context.service.protocol == Protocol::RestXml => {
            let mut writer = Writer {
                context,
                out: String::new(),
            };
            let namespace = member.namespace();
            let namespace = namespace.map(|namespace| (&*namespace.0, namespace.1.as_deref()));
            let shape = context
                .service
                .structure(kind)
                .and_then(|shape| shape.name.as_deref());
            let name = member.other_name().or(shape).unwrap_or(member.api_name());
            writer.element(name, namespace, kind, value, &place)?;
            xml_body(writer.out, parts);
        }
        kind => {
            let written = json::write(context, kind, value, &place)?;
            parts.body = written.to_string().into_bytes();
            set_type(parts, "application/json");
        }
    }
    Ok(())
}

fn xml_body(xml: String, parts: &mut Parts) {
    parts.body = xml.into_bytes();
    set_type(parts, "application/xml");
}

/// Says what the body is, unless a parameter has.
fn set_type(parts: &mut Parts, content_type: &str) {
    if parts.headers.iter().all(|(name, _)| name != "content-type") {
        parts.header("content-type", content_type);
    }
}

fn add_checksum(checksum: Checksum, parts: &mut Parts) {
    let has = |prefix: &str, parts: &Parts| {
        parts
            .headers
            .iter()
            .any(|(name, _)| name.starts_with(prefix))
    };
    match checksum {
        Checksum::Md5 if !has("content-md5", parts) => {
            let digest = Md5::digest(&parts.body);
            parts.header("content-md5", STANDARD.encode(digest));
        }
        Checksum::Crc32 if !has("x-amz-checksum-", parts) => {
            let sum = crc32fast::hash(&parts.body).to_be_bytes();
            parts.header("x-amz-checksum-crc32", STANDARD.encode(sum));
        }
        Checksum::Md5 | Checksum::Crc32 => {}
    }
}

/// The beginning of the host's name: `{AccountId}.` with the parameter put in.
pub(super) fn host_prefix(template: &str, parameters: &Value) -> Result<String, ParameterError> {
    let value_of = |label: &str| {
        let found = parameters.get(label).or_else(|| {
            let object = parameters.as_object()?;
            let mut entries = object.iter();
            let (_, value) = entries.find(|(name, _)| name.eq_ignore_ascii_case(label))?;
            Some(value)
        });
        let text = found?.as_str()?;
        let is_label = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        is_label.then_some(text)
    };
    uri::fill(template, value_of)
}
