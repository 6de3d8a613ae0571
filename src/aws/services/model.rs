//! The description of a service, as `scripts/aws-services` writes it: a letter for each name, and what follows the usual
//! rule left out.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What a value is: one of the plain kinds, or a shape of the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "u32")]
pub(crate) enum Kind {
    String,
    Integer,
    Double,
    Boolean,
    Blob,
    /// Any JSON.
    Document,
    Timestamp(TimestampFormat),
    /// Bytes that are a body of their own.
    Stream,
    /// JSON that travels as text.
    JsonText,
    /// The shape with that number.
    Shape(u32),
}

/// How a timestamp is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimestampFormat {
    /// As is usual where it stands.
    Usual,
    Unix,
    Iso8601,
    Rfc822,
}

/// The first number of a shape; those below are plain kinds.
const FIRST_SHAPE: u32 = 16;

impl From<u32> for Kind {
    fn from(number: u32) -> Kind {
        match number {
            0 => Kind::String,
            1 => Kind::Integer,
            2 => Kind::Double,
            3 => Kind::Boolean,
            4 => Kind::Blob,
            6 => Kind::Timestamp(TimestampFormat::Usual),
            7 => Kind::Timestamp(TimestampFormat::Unix),
            8 => Kind::Timestamp(TimestampFormat::Iso8601),
            9 => Kind::Timestamp(TimestampFormat::Rfc822),
            10 => Kind::Stream,
            11 => Kind::JsonText,
            shape if shape >= FIRST_SHAPE => Kind::Shape(shape - FIRST_SHAPE),
            // 5, and numbers that the generator does not give.
            _ => Kind::Document,
        }
    }
}

/// How a service is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(crate) enum Protocol {
    #[serde(rename = "json")]
    Json,
    #[serde(rename = "rest-json")]
    RestJson,
    #[serde(rename = "rest-xml")]
    RestXml,
    #[serde(rename = "query")]
    Query,
    #[serde(rename = "ec2")]
    Ec2,
}

/// A service.
#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    /// As error names begin: `DynamoDb`.
    #[serde(rename = "n")]
    pub(crate) name: Box<str>,
    /// What AWS calls it: `DynamoDB`, `CloudWatch Logs`.
    #[serde(rename = "i")]
    pub(crate) id: Box<str>,
    #[serde(rename = "p")]
    pub(crate) protocol: Protocol,
    /// The first part of its hosts' names.
    #[serde(rename = "e")]
    pub(crate) endpoint_prefix: Box<str>,
    #[serde(rename = "v")]
    pub(crate) version: Box<str>,
    /// The name that requests are signed for, where it is not the first part of the host's.
    #[serde(rename = "s")]
    signing_name: Option<Box<str>>,
    /// Hosts by partition, and by `us-east-1`, where they are not the usual ones.
    #[serde(rename = "h", default)]
    pub(crate) hosts: BTreeMap<Box<str>, HostRule>,
    #[serde(rename = "j")]
    pub(crate) json_version: Option<Box<str>>,
    #[serde(rename = "t")]
    pub(crate) target_prefix: Option<Box<str>>,
    #[serde(rename = "o")]
    pub(crate) operations: BTreeMap<Box<str>, Operation>,
    /// Error codes, and the names of their classes.
    #[serde(rename = "f")]
    pub(crate) errors: BTreeMap<Box<str>, Box<str>>,
    #[serde(rename = "d")]
    shapes: Vec<Shape>,
}

impl Service {
    pub(crate) fn signing_name(&self) -> &str {
        self.signing_name
            .as_deref()
            .unwrap_or(&self.endpoint_prefix)
    }

    /// A shape; an empty structure if there is none with that number, which the generator would not write.
    pub(crate) fn shape(&self, number: u32) -> &Shape {
        static NOTHING: Shape = Shape::Structure(Structure {
            members: Vec::new(),
            payload: None,
            name: None,
        });
        self.shapes.get(number as usize).unwrap_or(&NOTHING)
    }

    /// The structure that a kind is, if it is one.
    pub(crate) fn structure(&self, kind: Kind) -> Option<&Structure> {
        match kind {
            Kind::Shape(number) => match self.shape(number) {
                Shape::Structure(structure) => Some(structure),
                Shape::List(_) | Shape::Map(_) => None,
            },
            _ => None,
        }
    }
}

/// A host, with `{region}` where the region goes; the region to sign for, if it is another; the name to sign for, if it
/// is another.
#[derive(Debug, Deserialize)]
pub(crate) struct HostRule(
    pub(crate) Box<str>,
    #[serde(default)] pub(crate) Option<Box<str>>,
    #[serde(default)] pub(crate) Option<Box<str>>,
);

/// An operation.
#[derive(Debug, Deserialize)]
pub(crate) struct Operation {
    #[serde(rename = "n")]
    pub(crate) name: Box<str>,
    #[serde(rename = "m")]
    method: Option<Box<str>>,
    #[serde(rename = "u")]
    uri: Option<Box<str>>,
    #[serde(rename = "i")]
    pub(crate) input: Option<Kind>,
    /// The XML element that holds the input.
    #[serde(rename = "in")]
    pub(crate) input_name: Option<Box<str>>,
    #[serde(rename = "ix")]
    pub(crate) input_namespace: Option<Box<str>>,
    #[serde(rename = "o")]
    pub(crate) output: Option<Kind>,
    /// The XML element within the answer's that holds the output.
    #[serde(rename = "w")]
    pub(crate) wrapper: Option<Box<str>>,
    #[serde(rename = "h")]
    pub(crate) host_prefix: Option<Box<str>>,
    #[serde(rename = "a", default)]
    pub(crate) signing: Signing,
    #[serde(rename = "c")]
    pub(crate) checksum: Option<Checksum>,
}

impl Operation {
    pub(crate) fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("POST")
    }

    pub(crate) fn uri(&self) -> &str {
        self.uri.as_deref().unwrap_or("/")
    }
}

/// How a request is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub(crate) enum Signing {
    /// Whole.
    #[default]
    #[serde(rename = "whole")]
    Whole,
    /// Without its body.
    #[serde(rename = "body")]
    WithoutBody,
    /// Not at all: who calls proves himself otherwise.
    #[serde(rename = "none")]
    Not,
}

/// A checksum of its body that a request must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(crate) enum Checksum {
    #[serde(rename = "md5")]
    Md5,
    #[serde(rename = "crc32")]
    Crc32,
}

/// What has parts.
#[derive(Debug, Deserialize)]
pub(crate) enum Shape {
    #[serde(rename = "s")]
    Structure(Structure),
    #[serde(rename = "l")]
    List(List),
    #[serde(rename = "m")]
    Map(Map),
}

/// A structure.
#[derive(Debug, Deserialize)]
pub(crate) struct Structure {
    #[serde(rename = "m")]
    pub(crate) members: Vec<Member>,
    /// The member that is the body.
    #[serde(rename = "p")]
    pub(crate) payload: Option<Box<str>>,
    #[serde(rename = "n")]
    pub(crate) name: Option<Box<str>>,
}

/// A member of a structure: its name in the service's API, what it is, and what is unusual about it.
#[derive(Debug, Deserialize)]
pub(crate) struct Member(Box<str>, Kind, #[serde(default)] Traits);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Traits {
    /// Its name in Step Functions, where it is not that of the API with a capital letter.
    #[serde(rename = "k")]
    name: Option<Box<str>>,
    #[serde(rename = "n")]
    wire_name: Option<Box<str>>,
    #[serde(rename = "l")]
    location: Option<Location>,
    #[serde(rename = "f")]
    is_flattened: bool,
    #[serde(rename = "t")]
    is_token: bool,
    #[serde(rename = "a")]
    is_attribute: bool,
    #[serde(rename = "q")]
    query_name: Option<Box<str>>,
    #[serde(rename = "x")]
    namespace: Option<Namespace>,
}

/// A namespace of XML: its address, and the prefix that stands for it.
#[derive(Debug, Deserialize)]
pub(crate) struct Namespace(pub(crate) Box<str>, pub(crate) Option<Box<str>>);

/// Where a member travels, if not in the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(crate) enum Location {
    #[serde(rename = "uri")]
    Uri,
    #[serde(rename = "querystring")]
    Query,
    #[serde(rename = "header")]
    Header,
    #[serde(rename = "headers")]
    Headers,
    #[serde(rename = "statusCode")]
    Status,
}

/// In which spelling the members of results stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Names {
    /// That of `arn:aws:states:::aws-sdk:…`: `DbInstances`, `Bool`.
    #[default]
    Sdk,
    /// That of the services' APIs, with a capital letter in front, as in other resources: `DBInstances`, `BOOL`.
    Api,
}

impl Member {
    /// The name in the service's API.
    pub(crate) fn api_name(&self) -> &str {
        &self.0
    }

    pub(crate) fn kind(&self) -> Kind {
        self.1
    }

    /// The name in parameters and results.
    pub(crate) fn name(&self, names: Names) -> String {
        match (&self.2.name, names) {
            (Some(name), Names::Sdk) => name.to_string(),
            (None, Names::Sdk) | (_, Names::Api) => first_upper(&self.0),
        }
    }

    /// Whether parameters may call it so: both spellings are taken.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        if self.2.name.as_deref() == Some(name) {
            return true;
        }
        let (mut own, mut given) = (self.0.chars(), name.chars());
        let own_first = own.next().map(|first| first.to_ascii_uppercase());
        own_first == given.next() && own.as_str() == given.as_str()
    }

    /// The name in requests and answers.
    pub(crate) fn wire_name(&self) -> &str {
        self.2.wire_name.as_deref().unwrap_or(&self.0)
    }

    /// The name in requests and answers, if it is not that of the member.
    pub(crate) fn other_name(&self) -> Option<&str> {
        self.2.wire_name.as_deref()
    }

    pub(crate) fn query_name(&self) -> Option<&str> {
        self.2.query_name.as_deref()
    }

    pub(crate) fn location(&self) -> Option<Location> {
        self.2.location
    }

    pub(crate) fn is_flattened(&self) -> bool {
        self.2.is_flattened
    }

    /// Whether a random text makes repeated requests one.
    pub(crate) fn is_token(&self) -> bool {
        self.2.is_token
    }

    pub(crate) fn is_attribute(&self) -> bool {
        self.2.is_attribute
    }

    pub(crate) fn namespace(&self) -> Option<&Namespace> {
        self.2.namespace.as_ref()
    }
}

/// A name with a capital letter in front.
pub(crate) fn first_upper(name: &str) -> String {
    let mut out = name.to_owned();
    if let Some(first) = out.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    out
}

/// A list.
#[derive(Debug, Deserialize)]
pub(crate) struct List {
    #[serde(rename = "m")]
    pub(crate) item: Kind,
    #[serde(rename = "n")]
    pub(crate) item_name: Option<Box<str>>,
    #[serde(rename = "f", default)]
    pub(crate) is_flattened: bool,
}

/// A map, whose keys are texts.
#[derive(Debug, Deserialize)]
pub(crate) struct Map {
    #[serde(rename = "k")]
    pub(crate) key: Kind,
    #[serde(rename = "v")]
    pub(crate) value: Kind,
    #[serde(rename = "kn")]
    key_name: Option<Box<str>>,
    #[serde(rename = "vn")]
    value_name: Option<Box<str>>,
    #[serde(rename = "f", default)]
    pub(crate) is_flattened: bool,
}

impl Map {
    pub(crate) fn key_name(&self) -> &str {
        self.key_name.as_deref().unwrap_or("key")
    }

    pub(crate) fn value_name(&self) -> &str {
        self.value_name.as_deref().unwrap_or("value")
    }
}
