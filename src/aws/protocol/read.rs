//! Answers: results, and errors.

use serde_json::{Map, Value};

use super::params;
use super::{json, xml};
use crate::aws::services::{Kind, Location, Names, Operation, Protocol, Service, Shape, Structure};

/// What came back.
#[derive(Clone, Copy, Debug)]
pub(in crate::aws) struct Answer<'a> {
    pub(in crate::aws) status: u16,
    pub(in crate::aws) headers: &'a hyper::HeaderMap,
    pub(in crate::aws) body: &'a [u8],
}

impl Answer<'_> {
    pub(in crate::aws) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the service calls this request.
    pub(in crate::aws) fn request_id(&self) -> Option<&str> {
        let names = ["x-amzn-requestid", "x-amz-request-id", "x-amzn-request-id"];
        names.into_iter().find_map(|name| self.header(name))
    }
}

/// What a service says went wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::aws) struct Problem {
    /// As the service writes it, without what stands around it.
    pub(in crate::aws) code: String,
    pub(in crate::aws) message: String,
    pub(in crate::aws) request_id: Option<String>,
    /// The other name that S3 gives a request.
    pub(in crate::aws) extended_request_id: Option<String>,
}

/// The result of a call that succeeded.
///
/// # Errors
///
/// What is wrong with the answer.
pub(in crate::aws) fn output(
    service: &Service,
    operation: &Operation,
    answer: Answer<'_>,
    names: Names,
) -> Result<Value, String> {
    let Some(structure) = operation.output.and_then(|kind| service.structure(kind)) else {
        return Ok(Value::Object(Map::new()));
    };
    let members = match service.protocol {
        Protocol::Json => json::read_members(service, structure, object(answer.body)?, names),
        Protocol::Query | Protocol::Ec2 => {
            let root = element(answer.body)?;
            let holder = match &operation.wrapper {
                Some(wrapper) => root.child(wrapper).unwrap_or(&root),
                None => &root,
            };
            xml::read_members(service, structure, holder, names)
        }
        Protocol::RestJson | Protocol::RestXml => rest_members(service, structure, answer, names)?,
    };
    Ok(Value::Object(members))
}

fn rest_members(
    service: &Service,
    structure: &Structure,
    answer: Answer<'_>,
    names: Names,
) -> Result<Map<String, Value>, String> {
    let mut out = match structure.payload.as_deref() {
        Some(payload) => {
            let member = structure.members.iter().find(|m| m.api_name() == payload);
            let mut out = Map::new();
            if let Some(member) = member
                && let Some(value) = read_payload(service, member.kind(), answer.body, names)?
            {
                out.insert(member.name(names), value);
            }
            out
        }
        None if structure.members.iter().all(|m| m.location().is_some()) => Map::new(),
        None if service.protocol == Protocol::RestXml => {
            if answer.body.is_empty() {
                Map::new()
            } else {
                let root = element(answer.body)?;
                let mut members = xml::read_members(service, structure, &root, names);
                if let [member] = structure.members.as_slice()
                    && members.is_empty()
                    && root.name == member.wire_name()
                {
                    // A bucket's location is the text of the root itself.
                    let value = xml::read(service, member.kind(), &root, names);
                    members.insert(member.name(names), value);
                }
                members
            }
        }
        None => json::read_members(service, structure, object(answer.body)?, names),
    };
    for member in &structure.members {
        let value = match member.location() {
            Some(Location::Status) => Some(Value::from(answer.status)),
            Some(Location::Header) => {
                let text = answer.header(&member.wire_name().to_ascii_lowercase());
                text.map(|text| read_header(service, member.kind(), text))
            }
            Some(Location::Headers) => {
                let prefix = member.other_name().unwrap_or_default().to_ascii_lowercase();
                Some(prefixed(answer, &prefix))
            }
            Some(Location::Uri | Location::Query) | None => None,
        };
        if let Some(value) = value {
            out.insert(member.name(names), value);
        }
    }
    Ok(out)
}

fn read_payload(
    service: &Service,
    kind: Kind,
    body: &[u8],
    names: Names,
) -> Result<Option<Value>, String> {
    Ok(match kind {
        Kind::Blob | Kind::Stream => Some(params::blob(body.to_vec())),
        Kind::String => Some(Value::String(String::from_utf8_lossy(body).into_owned())),
        _ if body.is_empty() => None,
        kind if service.protocol == Protocol::RestXml => {
            Some(xml::read(service, kind, &element(body)?, names))
        }
        kind => {
            let value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
            Some(json::read(service, kind, value, names))
        }
    })
}

fn read_header(service: &Service, kind: Kind, text: &str) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    match kind {
        Kind::JsonText => match STANDARD.decode(text).map(String::from_utf8) {
            Ok(Ok(json)) => Value::String(json),
            _ => Value::String(text.to_owned()),
        },
        Kind::Shape(number) => match service.shape(number) {
            Shape::List(list) => {
                let items = text
                    .split(',')
                    .map(|item| xml::read_text(list.item, item.trim()));
                Value::Array(items.collect())
            }
            Shape::Structure(_) | Shape::Map(_) => Value::String(text.to_owned()),
        },
        kind => xml::read_text(kind, text),
    }
}

fn prefixed(answer: Answer<'_>, prefix: &str) -> Value {
    let mut out = Map::new();
    for (name, value) in answer.headers {
        if let Some(key) = name.as_str().strip_prefix(prefix)
            && let Ok(text) = value.to_str()
        {
            out.insert(key.to_owned(), Value::String(text.to_owned()));
        }
    }
    Value::Object(out)
}

/// The object that a body is; nothing stands for an empty one.
fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("it is JSON, but no object".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

fn element(body: &[u8]) -> Result<xml::Element, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("it is not XML: {error}"))?;
    xml::Element::parse(text).map_err(|error| format!("it is not XML: {error}"))
}

/// What an answer that is no success says.
pub(in crate::aws) fn failure(service: &Service, answer: Answer<'_>) -> Problem {
    let mut problem = match service.protocol {
        Protocol::Json | Protocol::RestJson => json_problem(answer),
        Protocol::Query | Protocol::Ec2 | Protocol::RestXml => xml_problem(answer),
    };
    if let Some(id) = answer.request_id() {
        problem.request_id = Some(id.to_owned());
    }
    problem.extended_request_id = answer.header("x-amz-id-2").map(str::to_owned);
    if problem.code.is_empty() && answer.status == 404 {
        // An answer to HEAD has no body.
        problem.code = "NotFound".to_owned();
    }
    problem
}

fn json_problem(answer: Answer<'_>) -> Problem {
    let object = object(answer.body).unwrap_or_default();
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| object.get(*name)?.as_str());
        found.map(str::to_owned)
    };
    let code = answer.header("x-amzn-errortype").map(str::to_owned);
    let code = code.or_else(|| text(&["__type", "code", "Code"]));
    let code = code.unwrap_or_default();
    // `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException:http://…`
    let code = code.rsplit('#').next().unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default();
    Problem {
        code: code.to_owned(),
        message: text(&["message", "Message", "errorMessage"]).unwrap_or_default(),
        ..Problem::default()
    }
}

fn xml_problem(answer: Answer<'_>) -> Problem {
    let Ok(root) = element(answer.body) else {
        return Problem::default();
    };
    let nested = root
        .child("Errors")
        .and_then(|errors| errors.child("Error"));
    let error = root.child("Error").or(nested).unwrap_or(&root);
    let id = |element: &xml::Element| {
        let names = ["RequestId", "RequestID"];
        let found = names.into_iter().find_map(|name| element.text_of(name));
        found.map(str::to_owned)
    };
    Problem {
        code: error.text_of("Code").unwrap_or_default().to_owned(),
        message: error.text_of("Message").unwrap_or_default().to_owned(),
        request_id: id(&root).or_else(|| id(error)),
        extended_request_id: None,
    }
}
