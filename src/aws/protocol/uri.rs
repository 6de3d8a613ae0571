//! Paths and query strings.

use super::params::ParameterError;

/// Appends a text as it stands in an address: what is not a letter, a digit, or one of `-._~` and of `also` becomes `%XX`.
pub(super) fn encode_to(text: &str, also: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other if other.is_ascii() && also.as_bytes().contains(&other) => {
                out.push(char::from(other));
            }
            other => {
                let digit = |n: u8| char::from(b"0123456789ABCDEF"[usize::from(n & 15)]);
                out.extend(['%', digit(other >> 4), digit(other)]);
            }
        }
    }
}

/// A query string of pairs.
pub(super) fn query_string(pairs: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        encode_to(name, "", &mut out);
        out.push('=');
        encode_to(value, "", &mut out);
    }
    out
}

/// Puts values into a template: `/{Bucket}/{Key+}`. A label with `+` may hold slashes.
pub(super) fn fill<'v>(
    template: &str,
    value_of: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, ParameterError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((label, after)) = after.split_once('}') else {
            break;
        };
        let (label, also) = match label.strip_suffix('+') {
            Some(label) => (label, "/"),
            None => (label, ""),
        };
        let value = value_of(label).filter(|value| !value.is_empty());
        let Some(value) = value else {
            let message = format!("The field '{label}' is required: it is a part of the address");
            return Err(ParameterError(message));
        };
        // Not a step of a path: `..` would call something else.
        if matches!(value, "." | "..") {
            let message = format!("The field '{label}' cannot be '{value}'");
            return Err(ParameterError(message));
        }
        encode_to(value, also, &mut out);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{fill, query_string};

    #[test]
    fn templates() {
        let value_of = |label: &str| match label {
            "Bucket" => Some("b"),
            "Key" => Some("a/b c+ä"),
            "Dots" => Some(".."),
            "Empty" => Some(""),
            _ => None,
        };
        for (template, path) in [
            ("/", Ok("/")),
            ("/{Bucket}/{Key+}", Ok("/b/a/b%20c%2B%C3%A4")),
            ("/x/{Key}/y?z", Ok("/x/a%2Fb%20c%2B%C3%A4/y?z")),
            ("/{Dots}/y", Err("The field 'Dots' cannot be '..'")),
            (
                "/{Empty}",
                Err("The field 'Empty' is required: it is a part of the address"),
            ),
        ] {
            let filled = fill(template, value_of);
            assert_eq!(
                filled.as_deref().map_err(|error| error.0.as_str()),
                path,
                "{template}"
            );
        }
        let pairs = [
            ("a".to_owned(), "1&2".to_owned()),
            ("b".to_owned(), String::new()),
        ];
        assert_eq!(query_string(&pairs), "a=1%262&b=");
    }
}
