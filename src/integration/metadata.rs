//! What AWS tells of an HTTP exchange in the results of its optimised integrations: `SdkHttpMetadata` and
//! `SdkResponseMetadata`.

use serde_json::{Map, Value, json};

use super::parameters::Members;

/// Adds them to a result.
pub(super) fn put(members: &mut Members, headers: &[(&str, &str)], status: u16, request_id: &str) {
    let mut all = Map::new();
    let mut last = Map::new();
    for (name, value) in headers {
        let values = all
            .entry((*name).to_owned())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(Value::from(*value));
        }
        last.insert((*name).to_owned(), Value::from(*value));
    }
    members.put_value(
        "SdkHttpMetadata",
        &json!({"AllHttpHeaders": all, "HttpHeaders": last, "HttpStatusCode": status}),
    );
    members.put_value("SdkResponseMetadata", &json!({ "RequestId": request_id }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_recorded() {
        let mut members = Members::default();
        put(
            &mut members,
            &[("A", "1"), ("B", "x"), ("A", "2")],
            201,
            "id",
        );
        assert_eq!(
            members.to_text(),
            r#"{"SdkHttpMetadata":{"AllHttpHeaders":{"A":["1","2"],"B":["x"]},"HttpHeaders":{"A":"2","B":"x"},"HttpStatusCode":201},"SdkResponseMetadata":{"RequestId":"id"}}"#
        );
    }
}
