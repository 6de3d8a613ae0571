//! From parameters to a request, and from an answer to a result or an error: a file per form.
//!
//! Nothing here sends anything, and nothing depends on the time.

mod json;
mod params;
mod query;
mod read;
mod rest;
mod uri;
mod xml;

pub(super) use params::ParameterError;
pub(super) use read::{Answer, Problem, failure, output};

use serde_json::Value;

use self::params::{Context, Place};
use super::services::{Operation, Protocol, Service};

/// A request but for its host and its signature.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Parts {
    pub(super) method: String,
    /// As it is written, with the query string.
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// What the host's name begins with.
    pub(super) host_prefix: Option<String>,
}

impl Parts {
    fn header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }
}

/// The request that calls an operation with these parameters.
pub(super) fn request(
    service: &Service,
    operation: &Operation,
    parameters: &Value,
    token: &dyn Fn() -> String,
) -> Result<Parts, ParameterError> {
    let context = Context { service, token };
    let mut parts = match service.protocol {
        Protocol::Json => json_request(&context, operation, parameters)?,
        Protocol::Query | Protocol::Ec2 => {
            let mut parts = Parts {
                method: "POST".to_owned(),
                path: "/".to_owned(),
                body: query::body(&context, operation, parameters)?.into_bytes(),
                ..Parts::default()
            };
            parts.header(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            );
            parts
        }
        Protocol::RestJson | Protocol::RestXml => rest::request(&context, operation, parameters)?,
    };
    if let Some(template) = &operation.host_prefix {
        parts.host_prefix = Some(rest::host_prefix(template, parameters)?);
    }
    Ok(parts)
}

fn json_request(
    context: &Context<'_>,
    operation: &Operation,
    parameters: &Value,
) -> Result<Parts, ParameterError> {
    let body = match operation.input {
        Some(input) => json::write(context, input, parameters, &Place::ROOT)?.to_string(),
        None => {
            no_parameters(parameters)?;
            "{}".to_owned()
        }
    };
    let mut parts = Parts {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        body: body.into_bytes(),
        ..Parts::default()
    };
    let service = context.service;
    let version = service.json_version.as_deref().unwrap_or("1.0");
    parts.header("content-type", format!("application/x-amz-json-{version}"));
    let prefix = service.target_prefix.as_deref().unwrap_or_default();
    parts.header("x-amz-target", format!("{prefix}.{}", operation.name));
    Ok(parts)
}

/// Checks that nothing is given to an operation that takes nothing.
fn no_parameters(parameters: &Value) -> Result<(), ParameterError> {
    match parameters {
        Value::Null => Ok(()),
        Value::Object(object) => match object.keys().next() {
            None => Ok(()),
            Some(name) => Err(ParameterError(format!(
                "The field '{name}' is not supported by Step Functions"
            ))),
        },
        _ => Err(Place::ROOT.must_be("a STRUCTURE")),
    }
}

#[cfg(test)]
mod tests;
