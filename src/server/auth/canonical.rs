//! The canonical form of a request's head, as its signature covers it.

use hyper::http::request::Parts;

/// All of the canonical request but the hash of the body.
pub(super) fn head(parts: &Parts, signed_headers: &str) -> String {
    let mut out = String::with_capacity(512);
    out.push_str(parts.method.as_str());
    out.push('\n');
    path(parts.uri.path(), &mut out);
    out.push('\n');
    query(parts.uri.query().unwrap_or_default(), &mut out);
    out.push('\n');
    for name in signed_headers.split(';') {
        out.push_str(name);
        out.push(':');
        for (i, value) in parts.headers.get_all(name).iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            trimmed(value.as_bytes(), &mut out);
        }
        out.push('\n');
    }
    out.push('\n');
    out.push_str(signed_headers);
    out.push('\n');
    out
}

/// The path as it was sent, encoded once more: of all services S3 alone does without.
fn path(path: &str, out: &mut String) {
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => {
                let digit = |n: u8| char::from(b"0123456789ABCDEF"[usize::from(n & 15)]);
                out.extend(['%', digit(other >> 4), digit(other)]);
            }
        }
    }
}

/// The pairs in order, each with its `=`.
fn query(query: &str, out: &mut String) {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    for (i, (name, value)) in pairs.into_iter().enumerate() {
        if i > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
}

/// A header's value without spaces around it, and with one where it has several.
fn trimmed(value: &[u8], out: &mut String) {
    let value = String::from_utf8_lossy(value);
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    out.extend(words.next());
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
}
