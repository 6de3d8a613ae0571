//! Signature Version 4, as clients of AWS sign.

use hmac::{Hmac, KeyInit as _, Mac as _};
use quickstep::stdx::Timestamp;
use sha2::{Digest as _, Sha256};

/// Who signs.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) token: Option<String>,
    pub(crate) region: String,
}

/// The hash of a body that is signed without its content.
pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// The service's name in signatures.
const SERVICE: &str = "states";

/// A request's parts that are signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) path: &'a str,
    /// Parameters, sorted and encoded.
    pub(crate) query: &'a str,
    /// Names in lower case, sorted; `x-amz-date` and the token are not among them.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body in hexadecimal digits, or [`UNSIGNED`].
    pub(crate) payload: &'a str,
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

fn keyed(key: &[u8], text: &str) -> [u8; 32] {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// A time as `20261123T120000Z`.
pub(crate) fn date(now: Timestamp) -> String {
    let text = now.to_string();
    let digits: String = text
        .chars()
        .take(19)
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    format!("{digits}Z")
}

/// Appends the headers of a signature, each a line, to a request's head.
pub(crate) fn sign(identity: &Identity, parts: &Parts<'_>, date: &str, out: &mut Vec<u8>) {
    let mut headers: Vec<(&str, &str)> = parts.headers.to_vec();
    headers.push(("x-amz-date", date));
    if let Some(token) = &identity.token {
        headers.push(("x-amz-security-token", token));
    }
    if parts.payload == UNSIGNED {
        headers.push(("x-amz-content-sha256", UNSIGNED));
    }
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical = format!("POST\n{}\n{}\n", parts.path, parts.query);
    for (name, value) in &headers {
        canonical.push_str(name);
        canonical.push(':');
        canonical.push_str(value);
        canonical.push('\n');
    }
    canonical.push_str(&format!("\n{names}\n{}", parts.payload));
    let day = &date[..8];
    let scope = format!("{day}/{}/{SERVICE}/aws4_request", identity.region);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hash(canonical.as_bytes())
    );
    let mut key = keyed(format!("AWS4{}", identity.secret_key).as_bytes(), day);
    for part in [&identity.region, SERVICE, "aws4_request"] {
        key = keyed(&key, part);
    }
    let signature = hex(&keyed(&key, &to_sign));
    for (name, value) in &headers {
        if !parts.headers.iter().any(|(given, _)| given == name) {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    out.extend_from_slice(
        format!(
            "Authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}\r\n",
            identity.access_key
        )
        .as_bytes(),
    );
}
