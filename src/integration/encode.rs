//! Text of addresses and forms: percent-encoding, and bodies that are URL-encoded.

use serde_json::Value;

/// How arrays are written in a form (`Transform.RequestEncodingOptions.ArrayFormat`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum ArrayFormat {
    /// `a[0]=x&a[1]=y`
    #[default]
    Indices,
    /// `a=x&a=y`
    Repeat,
    /// `a=x,y`
    Commas,
    /// `a[]=x&a[]=y`
    Brackets,
}

impl ArrayFormat {
    pub(super) fn parse(name: &str) -> Option<ArrayFormat> {
        Some(match name {
            "INDICES" => ArrayFormat::Indices,
            "REPEAT" => ArrayFormat::Repeat,
            "COMMAS" => ArrayFormat::Commas,
            "BRACKETS" => ArrayFormat::Brackets,
            _ => return None,
        })
    }
}

/// Appends a text with everything encoded that is not unreserved.
pub(super) fn push_encoded(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => {
                let digit = |n: u8| char::from(b"0123456789ABCDEF"[usize::from(n & 15)]);
                out.extend(['%', digit(other >> 4), digit(other)]);
            }
        }
    }
}

/// A value as a form or a query has it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Appends `name=value`.
pub(super) fn push_pair(name: &str, value: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('&');
    }
    push_encoded(name, out);
    out.push('=');
    push_encoded(value, out);
}

/// A form of an object's members; objects in it are written as `a[b]=c`.
pub(super) fn form(members: &serde_json::Map<String, Value>, arrays: ArrayFormat) -> String {
    let mut out = String::new();
    // What is to be written, the next one last: values may nest as deeply as they like.
    let mut stack: Vec<(String, &Value)> = Vec::new();
    let in_order = members.iter().rev();
    stack.extend(in_order.map(|(name, value)| (name.clone(), value)));
    while let Some((name, value)) = stack.pop() {
        match value {
            Value::Object(members) => {
                let in_order = members.iter().rev();
                stack.extend(in_order.map(|(inner, value)| (format!("{name}[{inner}]"), value)));
            }
            Value::Array(items) if arrays == ArrayFormat::Commas => {
                let items: Vec<String> = items.iter().map(plain).collect();
                push_pair(&name, &items.join(","), &mut out);
            }
            Value::Array(items) => {
                let numbered = items.iter().enumerate().rev();
                stack.extend(numbered.map(|(i, item)| {
                    let name = match arrays {
                        ArrayFormat::Indices => format!("{name}[{i}]"),
                        ArrayFormat::Brackets => format!("{name}[]"),
                        ArrayFormat::Repeat | ArrayFormat::Commas => name.clone(),
                    };
                    (name, item)
                }));
            }
            other => push_pair(&name, &plain(other), &mut out),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let value: Value =
            serde_json::from_str(r#"{"a":["x","y z"],"b":{"c":1,"d":{"e":"&é"}},"n":null}"#)
                .unwrap();
        let members = value.as_object().unwrap();
        for (arrays, expected) in [
            ("INDICES", "a%5B0%5D=x&a%5B1%5D=y%20z"),
            ("REPEAT", "a=x&a=y%20z"),
            ("COMMAS", "a=x%2Cy%20z"),
            ("BRACKETS", "a%5B%5D=x&a%5B%5D=y%20z"),
        ] {
            let arrays = ArrayFormat::parse(arrays).unwrap();
            assert_eq!(
                form(members, arrays),
                format!("{expected}&b%5Bc%5D=1&b%5Bd%5D%5Be%5D=%26%C3%A9&n=")
            );
        }
        assert_eq!(ArrayFormat::parse("NONE"), None);
    }
}
