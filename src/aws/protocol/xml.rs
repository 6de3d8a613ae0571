//! XML: a small tree of what came, and the text of what is sent.

use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::params::{self, Context, ParameterError, Place, members};
use super::query::scalar;
use crate::aws::services::{Kind, List, Member, Names, Service, Shape, Structure, TimestampFormat};

/// How deep an answer may nest.
const DEPTH_MAX: usize = 100;

/// An element of an answer.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// Without its prefix.
    pub(super) name: String,
    /// With their prefixes.
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    pub(super) text: String,
}

impl Element {
    /// The root of a document.
    pub(super) fn parse(text: &str) -> Result<Element, String> {
        let mut reader = quick_xml::Reader::from_str(text);
        let mut open: Vec<Element> = Vec::new();
        let mut root = None;
        loop {
            let done = match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) => {
                    if open.len() >= DEPTH_MAX {
                        return Err(format!("it nests more than {DEPTH_MAX} levels deep"));
                    }
                    open.push(Element::begin(&start)?);
                    None
                }
                Event::Empty(start) => Some(Element::begin(&start)?),
                Event::End(_) => open.pop(),
                Event::Text(text) => {
                    if let Some(element) = open.last_mut() {
                        let text = text.decode().map_err(|error| error.to_string())?;
                        element.text.push_str(&text);
                    }
                    None
                }
                Event::CData(data) => {
                    if let Some(element) = open.last_mut() {
                        let text = data.decode().map_err(|error| error.to_string())?;
                        element.text.push_str(&text);
                    }
                    None
                }
                Event::GeneralRef(reference) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push(character(&reference)?);
                    }
                    None
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => None,
            };
            if let Some(element) = done {
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None if root.is_none() => root = Some(element),
                    None => return Err("it has two roots".to_owned()),
                }
            }
        }
        match (root, open.is_empty()) {
            (Some(root), true) => Ok(root),
            _ => Err("it ends too early".to_owned()),
        }
    }

    fn begin(start: &BytesStart<'_>) -> Result<Element, String> {
        let name = start.local_name();
        let name = std::str::from_utf8(name.as_ref()).map_err(|error| error.to_string())?;
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = attribute
                .unescape_value()
                .map_err(|error| error.to_string())?;
            let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
            attributes.push((key, value.into_owned()));
        }
        Ok(Element {
            name: name.to_owned(),
            attributes,
            ..Element::default()
        })
    }

    /// The first element of that name within this one.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of that name within this one.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }
}

/// The character that `&…;` stands for: one of XML's five, or a number. Documents' own entities are not resolved.
fn character(reference: &quick_xml::events::BytesRef<'_>) -> Result<char, String> {
    if let Some(number) = reference
        .resolve_char_ref()
        .map_err(|error| error.to_string())?
    {
        return Ok(number);
    }
    match &**reference {
        b"amp" => Ok('&'),
        b"lt" => Ok('<'),
        b"gt" => Ok('>'),
        b"quot" => Ok('"'),
        b"apos" => Ok('\''),
        _ => Err("it has an entity that is not XML's".to_owned()),
    }
}

/// The members of a structure that an element holds.
pub(super) fn read_members(
    service: &Service,
    structure: &Structure,
    element: &Element,
    names: Names,
) -> Map<String, Value> {
    let mut out = Map::new();
    for member in structure.members.iter().filter(|m| m.location().is_none()) {
        if let Some(value) = read_member(service, member, element, names) {
            out.insert(member.name(names), value);
        }
    }
    out
}

fn read_member(
    service: &Service,
    member: &Member,
    element: &Element,
    names: Names,
) -> Option<Value> {
    let own = member.wire_name();
    if member.is_attribute() {
        let mut attributes = element.attributes.iter();
        let (_, value) = attributes.find(|(name, _)| name == own)?;
        return Some(Value::String(value.clone()));
    }
    if let Kind::Shape(number) = member.kind() {
        match service.shape(number) {
            Shape::List(list) if list.is_flattened || member.is_flattened() => {
                let name = list.item_name.as_deref().unwrap_or(own);
                let items = element.children.iter().filter(|child| child.name == name);
                let items: Vec<Value> = items
                    .map(|item| read(service, list.item, item, names))
                    .collect();
                return (!items.is_empty()).then_some(Value::Array(items));
            }
            Shape::Map(map) if map.is_flattened || member.is_flattened() => {
                let entries = element.children.iter().filter(|child| child.name == own);
                let entries = read_entries(service, map, entries, names);
                return (!entries.is_empty()).then_some(Value::Object(entries));
            }
            Shape::Structure(_) | Shape::List(_) | Shape::Map(_) => {}
        }
    }
    let child = element.child(own)?;
    Some(read(service, member.kind(), child, names))
}

/// What an element stands for.
pub(super) fn read(service: &Service, kind: Kind, element: &Element, names: Names) -> Value {
    match kind {
        Kind::Shape(number) => match service.shape(number) {
            Shape::Structure(structure) => {
                Value::Object(read_members(service, structure, element, names))
            }
            Shape::List(list) => {
                let name = list.item_name.as_deref().unwrap_or("member");
                // Some services, and those that imitate them, call the items `item` or `member` as they like.
                let items = element.children.iter().filter(|child| {
                    child.name == name || matches!(child.name.as_str(), "member" | "item")
                });
                let items = items.map(|item| read(service, list.item, item, names));
                Value::Array(items.collect())
            }
            Shape::Map(map) => {
                let entries = element.children.iter();
                Value::Object(read_entries(service, map, entries, names))
            }
        },
        other => read_text(other, &element.text),
    }
}

fn read_entries<'e>(
    service: &Service,
    map: &crate::aws::services::Map,
    entries: impl Iterator<Item = &'e Element>,
    names: Names,
) -> Map<String, Value> {
    let mut out = Map::new();
    for entry in entries {
        if let Some(key) = entry.text_of(map.key_name())
            && let Some(value) = entry.child(map.value_name())
        {
            out.insert(key.to_owned(), read(service, map.value, value, names));
        }
    }
    out
}

/// A value without parts, from its text. What is not of its kind stays a text.
pub(super) fn read_text(kind: Kind, text: &str) -> Value {
    let other = || Value::String(text.to_owned());
    let trimmed = text.trim();
    match kind {
        Kind::Integer => trimmed.parse::<i64>().map_or_else(|_| other(), Value::from),
        Kind::Double => match trimmed.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::from(number),
            _ => other(),
        },
        Kind::Boolean => match trimmed {
            "true" | "True" | "1" => Value::Bool(true),
            "false" | "False" | "0" => Value::Bool(false),
            _ => other(),
        },
        Kind::Timestamp(_) => match params::read_timestamp(trimmed) {
            Some(at) => Value::String(params::iso8601(at)),
            None => other(),
        },
        Kind::Blob => params::blob_of_base64(text),
        Kind::String | Kind::Document | Kind::Stream | Kind::JsonText | Kind::Shape(_) => other(),
    }
}

/// Writes XML of parameters.
pub(super) struct Writer<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) out: String,
}

impl Writer<'_> {
    /// An element of that name, with what the value holds.
    pub(super) fn element(
        &mut self,
        name: &str,
        namespace: Option<(&str, Option<&str>)>,
        kind: Kind,
        value: &Value,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        self.out.push('<');
        self.out.push_str(name);
        if let Some((uri, prefix)) = namespace {
            let prefix = prefix.map(|prefix| format!(":{prefix}"));
            self.attribute(&format!("xmlns{}", prefix.unwrap_or_default()), uri);
        }
        match kind {
            Kind::Shape(number) => match self.context.service.shape(number) {
                Shape::Structure(structure) => self.structure(structure, value, place)?,
                Shape::List(list) => {
                    self.out.push('>');
                    let item = list.item_name.as_deref().unwrap_or("member");
                    self.items(list, item, value, place)?;
                }
                Shape::Map(map) => {
                    self.out.push('>');
                    self.entries(map, "entry", value, place)?;
                }
            },
            Kind::Blob | Kind::Stream => {
                self.out.push('>');
                self.out.push_str(&params::base64(value));
            }
            other => {
                self.out.push('>');
                let text = scalar(other, value, TimestampFormat::Iso8601, place)?;
                escape(&text, &mut self.out);
            }
        }
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape(value, &mut self.out);
        self.out.push('"');
    }

    /// The rest of an element that is open: its attributes, and the members in the body.
    fn structure(
        &mut self,
        structure: &Structure,
        value: &Value,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        let given = members(self.context, structure, value, place)?;
        for (member, value) in &given {
            if member.is_attribute() {
                let place = place.inner(member.api_name())?;
                self.attribute(member.wire_name(), &params::text(value, &place)?);
            }
        }
        self.out.push('>');
        for (member, value) in &given {
            if !member.is_attribute() && member.location().is_none() {
                let place = place.inner(member.api_name())?;
                self.member(member, value, &place)?;
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        member: &Member,
        value: &Value,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        let name = member.wire_name();
        if let Kind::Shape(number) = member.kind() {
            match self.context.service.shape(number) {
                Shape::List(list) if list.is_flattened || member.is_flattened() => {
                    let item = list.item_name.as_deref().unwrap_or(name);
                    return self.items(list, item, value, place);
                }
                Shape::Map(map) if map.is_flattened || member.is_flattened() => {
                    return self.entries(map, name, value, place);
                }
                Shape::Structure(_) | Shape::List(_) | Shape::Map(_) => {}
            }
        }
        let namespace = member.namespace();
        let namespace = namespace.map(|namespace| (&*namespace.0, namespace.1.as_deref()));
        self.element(name, namespace, member.kind(), value, place)
    }

    fn items(
        &mut self,
        list: &List,
        name: &str,
        value: &Value,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        let Value::Array(items) = value else {
            return Err(place.must_be("an ARRAY"));
        };
        for (i, item) in items.iter().enumerate() {
            let index = i.to_string();
            self.element(name, None, list.item, item, &place.inner(&index)?)?;
        }
        Ok(())
    }

    fn entries(
        &mut self,
        map: &crate::aws::services::Map,
        name: &str,
        value: &Value,
        place: &Place<'_>,
    ) -> Result<(), ParameterError> {
        let Value::Object(entries) = value else {
            return Err(place.must_be("an OBJECT"));
        };
        for (key, value) in entries {
            let place = place.inner(key)?;
            self.out.push_str(&format!("<{name}>"));
            let text = Value::String(key.clone());
            self.element(map.key_name(), None, map.key, &text, &place)?;
            self.element(map.value_name(), None, map.value, value, &place)?;
            self.out.push_str(&format!("</{name}>"));
        }
        Ok(())
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            '\n' => out.push_str("&#xA;"),
            other => out.push(other),
        }
    }
}
