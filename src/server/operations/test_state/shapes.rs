//! What services answer, for the results of mocks to be held against: the integrations that are tested most.
//!
//! Results of other services are taken as they are, and so are members that a shape does not name: AWS lets those
//! pass as well. Where AWS's recorded refusals and its published models differ (Lambda's `MemorySize`), the former are
//! followed.

use serde_json::Value;

/// How a mocked result is held against its shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Validation {
    /// What is there and what has to be there.
    Strict,
    /// What is there.
    Present,
    None,
}

/// A value that a service answers.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A text of so many characters; times and blobs are texts, too.
    Text(usize, usize),
    OneOf(&'static [&'static str]),
    Number(f64, f64),
    Boolean,
    List(&'static Shape),
    /// Names are the client's.
    Map(&'static Shape),
    Structure(&'static [Member]),
    Any,
}

/// A member of a structure.
#[derive(Clone, Copy, Debug)]
struct Member {
    name: &'static str,
    shape: Shape,
    required: bool,
}

const fn may(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        shape,
        required: false,
    }
}

const fn must(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        shape,
        required: true,
    }
}

const TEXT: Shape = Shape::Text(0, usize::MAX);
const NUMBER: Shape = Shape::Number(f64::MIN, f64::MAX);

const ITEM: Shape = Shape::Map(&Shape::Structure(&[
    may("S", TEXT),
    may("N", TEXT),
    may("B", TEXT),
    may("SS", Shape::List(&TEXT)),
    may("NS", Shape::List(&TEXT)),
    may("BS", Shape::List(&TEXT)),
    may("M", Shape::Map(&Shape::Any)),
    may("L", Shape::List(&Shape::Any)),
    may("NULL", Shape::Boolean),
    may("BOOL", Shape::Boolean),
]));

const ENTRY: Shape = Shape::Structure(&[
    may("EventId", Shape::Text(0, 64)),
    may("ErrorCode", TEXT),
    may("ErrorMessage", TEXT),
]);

const FUNCTION: Shape = Shape::Structure(&[
    may("FunctionName", Shape::Text(1, 256)),
    may("FunctionArn", Shape::Text(0, 10_000)),
    may("Role", TEXT),
    may("Handler", Shape::Text(0, 128)),
    may("CodeSize", NUMBER),
    may("Description", Shape::Text(0, 256)),
    may("Timeout", Shape::Number(1.0, f64::MAX)),
    may("MemorySize", Shape::Number(128.0, 10_240.0)),
    may("LastModified", TEXT),
    may("CodeSha256", TEXT),
    may("Version", Shape::Text(1, 1_024)),
    may("State", TEXT),
    may("StateReason", TEXT),
    may("PackageType", Shape::OneOf(&["Zip", "Image"])),
]);

const STORAGE_CLASSES: &[&str] = &[
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
    "FSX_OPENZFS",
    "FSX_ONTAP",
];

/// Services, actions, and what they answer.
const ANSWERS: &[(&[&str], &[&str], &[Member])] = &[
    (
        &["lambda"],
        &["invoke"],
        &[
            may("StatusCode", NUMBER),
            may("FunctionError", TEXT),
            may("LogResult", TEXT),
            may("Payload", Shape::Any),
            may("ExecutedVersion", Shape::Text(1, 1_024)),
        ],
    ),
    (
        &["lambda"],
        &["getFunction"],
        &[
            may("Configuration", FUNCTION),
            may("Tags", Shape::Map(&TEXT)),
        ],
    ),
    (
        &["states", "sfn"],
        &["startExecution"],
        &[
            must("ExecutionArn", Shape::Text(1, 256)),
            must("StartDate", TEXT),
        ],
    ),
    (
        &["sfn"],
        &["startSyncExecution"],
        &[
            must("ExecutionArn", Shape::Text(1, 256)),
            must("StartDate", TEXT),
            must("StopDate", TEXT),
            must(
                "Status",
                Shape::OneOf(&["SUCCEEDED", "FAILED", "TIMED_OUT"]),
            ),
            may("Name", Shape::Text(1, 80)),
            may("Error", TEXT),
            may("Cause", TEXT),
            may("StateMachineArn", Shape::Text(1, 256)),
        ],
    ),
    (
        &["events", "eventbridge"],
        &["putEvents"],
        &[
            may("FailedEntryCount", NUMBER),
            may("Entries", Shape::List(&ENTRY)),
        ],
    ),
    (
        &["sns"],
        &["publish"],
        &[may("MessageId", TEXT), may("SequenceNumber", TEXT)],
    ),
    (
        &["sqs"],
        &["sendMessage"],
        &[
            may("MessageId", TEXT),
            may("MD5OfMessageBody", TEXT),
            may("MD5OfMessageAttributes", TEXT),
            may("SequenceNumber", TEXT),
        ],
    ),
    (&["dynamodb"], &["getItem"], &[may("Item", ITEM)]),
    (
        &["dynamodb"],
        &["putItem", "updateItem", "deleteItem"],
        &[may("Attributes", ITEM)],
    ),
    (
        &["dynamodb"],
        &["query", "scan"],
        &[
            may("Items", Shape::List(&ITEM)),
            may("Count", NUMBER),
            may("ScannedCount", NUMBER),
            may("LastEvaluatedKey", ITEM),
        ],
    ),
    (
        &["kms"],
        &["encrypt"],
        &[
            may("CiphertextBlob", Shape::Text(1, 6_144)),
            may("KeyId", Shape::Text(1, 2_048)),
        ],
    ),
    (
        &["kms"],
        &["decrypt"],
        &[
            may("Plaintext", Shape::Text(1, 4_096)),
            may("KeyId", Shape::Text(1, 2_048)),
        ],
    ),
    (
        &["s3"],
        &["getObject"],
        &[
            may("Body", TEXT),
            may("ContentLength", NUMBER),
            may("ContentType", TEXT),
            may("ETag", TEXT),
            may("LastModified", TEXT),
            may("Metadata", Shape::Map(&TEXT)),
            may("StorageClass", Shape::OneOf(STORAGE_CLASSES)),
            may("VersionId", TEXT),
        ],
    ),
    (
        &["s3"],
        &["putObject"],
        &[may("ETag", TEXT), may("VersionId", TEXT)],
    ),
];

/// The shape of what an action of a service answers.
fn answer(service: &str, action: &str) -> Option<&'static [Member]> {
    let found = ANSWERS
        .iter()
        .find(|(services, actions, _)| services.contains(&service) && actions.contains(&action));
    found.map(|(_, _, members)| *members)
}

/// What is wrong with a result that stands for a service's answer.
pub(super) fn check(
    service: &str,
    action: &str,
    result: &Value,
    validation: Validation,
) -> Result<(), String> {
    let Some(members) = answer(service, action).filter(|_| validation != Validation::None) else {
        return Ok(());
    };
    let checked = structure(members, result, validation).unwrap_or_else(|| {
        // The result as a whole has no name.
        Err("The result must be an object".to_owned())
    });
    checked.map_err(|problem| format!("Mock result schema validation error: {problem}"))
}

/// `None` if the value is no object.
fn structure(
    members: &[Member],
    value: &Value,
    validation: Validation,
) -> Option<Result<(), String>> {
    let object = value.as_object()?;
    let problem = members.iter().find_map(|member| {
        let Some(value) = object.get(member.name) else {
            let missing = member.required && validation == Validation::Strict;
            return missing.then(|| format!("Required field '{}' is missing", member.name));
        };
        member.shape.check(member.name, value, validation).err()
    });
    Some(problem.map_or(Ok(()), Err))
}

impl Shape {
    /// Recurses as deep as shapes are nested, whatever the value is.
    fn check(&self, name: &str, value: &Value, validation: Validation) -> Result<(), String> {
        let must_be = |what: &str| Err(format!("Field '{name}' must be {what}"));
        let is = |what: &str| Err(format!("Field '{name}' {what}"));
        match self {
            Shape::Any => Ok(()),
            Shape::Text(min, max) => match value.as_str().map(|text| text.chars().count()) {
                None => must_be("a string"),
                Some(length) if length < *min => is("is smaller than the minimum length"),
                Some(length) if length > *max => is("exceeds the maximum length"),
                Some(_) => Ok(()),
            },
            Shape::OneOf(words) => match value.as_str() {
                None => must_be("a string"),
                Some(word) if !words.contains(&word) => is("is not an expected value"),
                Some(_) => Ok(()),
            },
            Shape::Number(min, max) => match value.as_f64() {
                None => must_be("a number"),
                Some(number) if number < *min => is("is less than the minimum value"),
                Some(number) if number > *max => is("exceeds the maximum value"),
                Some(_) => Ok(()),
            },
            Shape::Boolean => match value.is_boolean() {
                true => Ok(()),
                false => must_be("a boolean"),
            },
            Shape::List(of) => match value.as_array() {
                None => must_be("an array"),
                Some(items) => items
                    .iter()
                    .try_for_each(|item| of.check(name, item, validation)),
            },
            Shape::Map(of) => match value.as_object() {
                None => must_be("an object"),
                Some(members) => members
                    .iter()
                    .try_for_each(|(name, value)| of.check(name, value, validation)),
            },
            Shape::Structure(members) => {
                structure(members, value, validation).unwrap_or_else(|| must_be("an object"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_held_against_shapes() {
        use Validation::{None, Present, Strict};
        for (action, result, validation, expected) in [
            (
                "lambda:invoke",
                json!({"StatusCode": 200, "Payload": [1], "X": 1}),
                Strict,
                "",
            ),
            (
                "lambda:invoke",
                json!(7),
                Strict,
                "The result must be an object",
            ),
            ("lambda:invoke", json!(7), None, ""),
            ("unknown:thing", json!(7), Strict, ""),
            (
                "sfn:startExecution",
                json!({"ExecutionArn": "a"}),
                Strict,
                "Required field 'StartDate' is missing",
            ),
            (
                "sfn:startExecution",
                json!({"ExecutionArn": "a"}),
                Present,
                "",
            ),
            (
                "kms:encrypt",
                json!({"KeyId": "a".repeat(2_049)}),
                Present,
                "Field 'KeyId' exceeds the maximum length",
            ),
            (
                "dynamodb:getItem",
                json!({"Item": {"a": {"S": 1}}}),
                Strict,
                "Field 'S' must be a string",
            ),
            (
                "dynamodb:getItem",
                json!({"Item": {"a": {"BOOL": 1}}}),
                Strict,
                "Field 'BOOL' must be a boolean",
            ),
            (
                "dynamodb:getItem",
                json!({"Item": {"a": 1}}),
                Strict,
                "Field 'a' must be an object",
            ),
            (
                "dynamodb:scan",
                json!({"Items": [{"a": {"L": {}}}]}),
                Strict,
                "Field 'L' must be an array",
            ),
        ] {
            let (service, action) = action.split_once(':').unwrap();
            let found = check(service, action, &result, validation);
            let expected = match expected {
                "" => Ok(()),
                text => Err(format!("Mock result schema validation error: {text}")),
            };
            assert_eq!(found, expected, "{service}:{action} {result}");
        }
    }
}
