//! Parameters as a form: the protocols `query` and `ec2`.

use std::borrow::Cow;

use serde_json::Value;

use super::params::{self, Context, ParameterError, Place, members};
use super::uri::encode_to;
use crate::aws::services::{
    Kind, List, Member, Operation, Protocol, Shape, TimestampFormat, first_upper,
};

/// The body of a request.
pub(super) fn body(
    context: &Context<'_>,
    operation: &Operation,
    value: &Value,
) -> Result<String, ParameterError> {
    let mut form = Form {
        context,
        is_ec2: context.service.protocol == Protocol::Ec2,
        out: String::new(),
    };
    form.pair("Action", &operation.name);
    form.pair("Version", &context.service.version);
    match operation.input {
        Some(input) => form.write(input, value, "", None, &Place::ROOT)?,
        None => super::no_parameters(value)?,
    }
    Ok(form.out)
}

struct Form<'a> {
    context: &'a Context<'a>,
    is_ec2: bool,
    out: String,
}

impl Form<'_> {
    fn pair(&mut self, name: &str, value: &str) {
        if !self.out.is_empty() {
            self.out.push('&');
        }
        encode_to(name, "", &mut self.out);
        self.out.push('=');
        encode_to(value, "", &mut self.out);
    }

    fn write(
        &mut self,
        kind: Kind,
        value: &Value,
        name: &str,
        member: Option<&Member>,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        let text: Cow<'_, str> = match kind {
            Kind::Shape(number) => {
                return match self.context.service.shape(number) {
                    Shape::Structure(_) => self.structure(kind, value, name, place),
                    Shape::List(list) => self.list(list, value, name, member, place),
                    Shape::Map(map) => {
                        let is_flattened =
                            map.is_flattened || member.is_some_and(Member::is_flattened);
                        self.map(map, is_flattened, value, name, place)
                    }
                };
            }
            Kind::Blob | Kind::Stream => params::base64(value).into(),
            other => scalar(other, value, TimestampFormat::Iso8601, place)?,
        };
        self.pair(name, &text);
        Ok(())
    }

    fn structure(
        &mut self,
        kind: Kind,
        value: &Value,
        name: &str,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        let Some(structure) = self.context.service.structure(kind) else {
            return Ok(());
        };
        for (member, value) in members(self.context, structure, value, place)? {
            let place = place.inner(member.api_name())?;
            let own = match self.is_ec2 {
                true => match member.query_name() {
                    Some(name) => name.to_owned(),
                    None => first_upper(member.wire_name()),
                },
                false => member.wire_name().to_owned(),
            };
            let name = join(name, &own);
            self.write(member.kind(), &value, &name, Some(member), &place)?;
        }
        Ok(())
    }

    fn list(
        &mut self,
        list: &List,
        value: &Value,
        name: &str,
        member: Option<&Member>,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        let Value::Array(items) = value else {
            return Err(place.must_be("an ARRAY"));
        };
        if items.is_empty() {
            // An empty list says something else than none.
            if !self.is_ec2 {
                self.pair(name, "");
            }
            return Ok(());
        }
        let is_flattened = list.is_flattened || member.is_some_and(Member::is_flattened);
        let prefix = match (is_flattened || self.is_ec2, list.item_name.as_deref()) {
            (true, Some(item)) if !self.is_ec2 => match name.rsplit_once('.') {
                Some((before, _)) => join(before, item),
                None => item.to_owned(),
            },
            (true, _) => name.to_owned(),
            (false, item) => join(name, item.unwrap_or("member")),
        };
        for (i, item) in items.iter().enumerate() {
            let index = i.to_string();
            let place = place.inner(&index)?;
            let name = format!("{prefix}.{}", i + 1);
            self.write(list.item, item, &name, None, &place)?;
        }
        Ok(())
    }

    fn map(
        &mut self,
        map: &crate::aws::services::Map,
        is_flattened: bool,
        value: &Value,
        name: &str,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        let Value::Object(entries) = value else {
            return Err(place.must_be("an OBJECT"));
        };
        let prefix = match is_flattened {
            true => name.to_owned(),
            false => join(name, "entry"),
        };
        for (i, (key, value)) in entries.iter().enumerate() {
            let place = place.inner(key)?;
            let entry = format!("{prefix}.{}", i + 1);
            self.pair(&join(&entry, map.key_name()), key);
            let name = join(&entry, map.value_name());
            self.write(map.value, value, &name, None, &place)?;
        }
        Ok(())
    }
}

fn join(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    }
}

/// A value without parts as text.
pub(super) fn scalar<'v>(
    kind: Kind,
    value: &'v Value,
    usual: TimestampFormat,
    place: &Place<'_>,
) -> Result<Cow<'v, str>, ParameterError> {
    Ok(match kind {
        Kind::Integer => params::integer(value, place)?.to_string().into(),
        Kind::Double => match params::double(value, place)? {
            Value::String(text) => text.into(),
            number => number.to_string().into(),
        },
        Kind::Boolean => params::boolean(value, place)?.to_string().into(),
        Kind::Timestamp(format) => {
            let at = params::timestamp(value, place)?;
            params::timestamp_text(at, format, usual).into()
        }
        Kind::Document => value.to_string().into(),
        Kind::String | Kind::JsonText | Kind::Blob | Kind::Stream | Kind::Shape(_) => {
            params::text(value, place)?
        }
    })
}
