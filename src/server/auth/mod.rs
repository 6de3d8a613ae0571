//! Signature Version 4: who sent a request, and that nobody changed it.
//!
//! 1. [`Verifier::claim`] looks at the head of a request: who claims to have signed it, when, for what, and which headers
//!    the signature covers. Whoever fails here has sent no body yet.
//! 2. [`Claim::verify`] makes the signature of the head and the body, and compares.
//!
//! A signature holds for five minutes before and after its time, so a request that somebody overhears can be sent again
//! within that time, as on AWS: TLS is what keeps others from hearing it. Signatures in the query (presigned) and bodies in
//! signed chunks are refused.

mod canonical;
mod credentials;

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::ApiError;
use crate::stdx::Timestamp;
pub use credentials::{Credentials, CredentialsError};

/// How far a request's time may be from the server's.
const SKEW_MAX_MS: i64 = 5 * 60 * 1_000;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const SERVICE: &str = "states";
const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";

/// Headers that decide what a request means, and so have to be covered where they are there.
const COVERED: &[&str] = &[
    "host",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-target",
];

/// Checks signatures.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    credentials: Credentials,
    region: Box<str>,
}

/// Whether a signature covers the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Payload {
    /// It has to: the body is read before anything is done.
    Signed,
    /// It does not, and says so: the body is done while it is read.
    Streamed,
}

/// A signature that is still to be compared.
#[derive(Clone)]
pub(super) struct Claim {
    /// The canonical request without the hash of the body, which is its end.
    head: String,
    /// The string to sign without the hash of the canonical request, which is its end.
    preamble: String,
    key: [u8; 32],
    signature: Vec<u8>,
    is_expired: bool,
}

fn incomplete(message: impl Into<String>) -> ApiError {
    ApiError::new("IncompleteSignatureException", message)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidSignatureException", message)
}

/// The three parts of the header `Authorization`.
struct Authorization<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn read(parts: &'a Parts) -> Result<Authorization<'a>, ApiError> {
        let mut values = parts.headers.get_all("authorization").iter();
        let Some(value) = values.next() else {
            let query = parts.uri.query().unwrap_or_default();
            let of_signature = |pair: &str| {
                let name = pair.split('=').next().unwrap_or_default();
                name.eq_ignore_ascii_case("X-Amz-Signature")
            };
            if query.split('&').any(of_signature) {
                let message = "Signatures in the query are not taken here: sign with the header Authorization.";
                return Err(incomplete(message));
            }
            let code = "MissingAuthenticationTokenException";
            return Err(ApiError::new(code, "Missing Authentication Token"));
        };
        let text = value.to_str().ok().filter(|_| values.next().is_none());
        let Some(text) = text else {
            return Err(incomplete(
                "There has to be one readable header Authorization.",
            ));
        };
        let (algorithm, rest) = text.split_once(' ').unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(format!(
                "Unsupported AWS 'algorithm': only {ALGORITHM} is taken here."
            )));
        }
        let part = |name: &str| {
            let mut pairs = rest
                .split(',')
                .filter_map(|pair| pair.trim().split_once('='));
            pairs
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let found = ["Credential", "Signature", "SignedHeaders"].map(part);
        if let [Some(credential), Some(signature), Some(signed_headers)] = found {
            return Ok(Authorization {
                credential,
                signed_headers,
                signature,
            });
        }
        let missing: String = ["Credential", "Signature", "SignedHeaders"]
            .into_iter()
            .filter(|name| part(name).is_none())
            .map(|name| format!("Authorization header requires '{name}' parameter. "))
            .collect();
        Err(incomplete(missing.trim_end()))
    }
}

/// The time of a request, and its text.
fn date(parts: &Parts) -> Result<(Timestamp, &str), ApiError> {
    let text = parts
        .headers
        .get("x-amz-date")
        .and_then(|v| v.to_str().ok());
    let Some(text) = text else {
        let message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. \
                       Only the former is taken here.";
        return Err(incomplete(message));
    };
    let extended = |text: &str| {
        let is_basic = text.is_ascii() && text.len() == "20150830T123600Z".len();
        is_basic.then(|| {
            let (y, m, d) = (&text[..4], &text[4..6], &text[6..8]);
            let (hour, minute, second) = (&text[8..11], &text[11..13], &text[13..]);
            format!("{y}-{m}-{d}{hour}:{minute}:{second}")
        })
    };
    let at = extended(text).and_then(|text| Timestamp::parse(&text).ok());
    at.map(|at| (at, text)).ok_or_else(|| {
        incomplete("Date must be in ISO-8601 'basic format', as 20150830T123600Z, in X-Amz-Date.")
    })
}

/// `20150830T123600Z`.
fn basic(at: Timestamp) -> String {
    let second = Timestamp::from_millis(at.millis() - at.millis().rem_euclid(1_000));
    second.to_string().replace(['-', ':'], "")
}

fn check_time(at: Timestamp, text: &str, now: Timestamp) -> Result<(), ApiError> {
    let moved = |by: i64| basic(Timestamp::from_millis(now.millis() + by));
    if at.millis() < now.millis() - SKEW_MAX_MS {
        return Err(invalid(format!(
            "Signature expired: {text} is now earlier than {} ({} - 5 min.)",
            moved(-SKEW_MAX_MS),
            basic(now)
        )));
    }
    if at.millis() > now.millis() + SKEW_MAX_MS {
        return Err(invalid(format!(
            "Signature not yet current: {text} is still later than {} ({} + 5 min.)",
            moved(SKEW_MAX_MS),
            basic(now)
        )));
    }
    Ok(())
}

/// `Credential`: an access key and what it signs for.
struct Scope<'a> {
    id: &'a str,
    date: &'a str,
}

impl Verifier {
    pub(super) fn new(credentials: Credentials, region: &str) -> Verifier {
        Verifier {
            credentials,
            region: region.into(),
        }
    }

    fn scope<'a>(&self, credential: &'a str, date: &str) -> Result<Scope<'a>, ApiError> {
        let mut parts = credential.split('/');
        let mut part = || parts.next();
        let (id, day, region, service, terminator) = (part(), part(), part(), part(), part());
        let all = (id, day, region, service, terminator, part());
        let (Some(id), Some(day), Some(region), Some(service), Some(terminator), None) = all else {
            let message = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.";
            return Err(incomplete(message));
        };
        if !date.starts_with(day) || day.len() != 8 {
            return Err(invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' != \
                 '{}', from '{date}'.",
                &date[..8]
            )));
        }
        if region != &*self.region {
            return Err(invalid(format!(
                "Credential should be scoped to a valid region, not '{region}': this server is in {}. ",
                self.region
            )));
        }
        if service != SERVICE {
            let message = format!("Credential should be scoped to correct service: '{SERVICE}'. ");
            return Err(invalid(message));
        }
        if terminator != TERMINATOR {
            return Err(invalid(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'. "
            )));
        }
        Ok(Scope { id, date: day })
    }

    /// Looks at the head of a request.
    pub(super) fn claim(
        &self,
        parts: &Parts,
        payload: Payload,
        now: Timestamp,
    ) -> Result<Claim, ApiError> {
        let authorization = Authorization::read(parts)?;
        let (at, date) = date(parts)?;
        let scope = self.scope(authorization.credential, date)?;
        check_time(at, date, now)?;
        check_coverage(parts, authorization.signed_headers)?;
        check_payload(parts, payload)?;
        let credential = self.credentials.get(scope.id);
        let token = parts.headers.get("x-amz-security-token");
        let Some(credential) = credential.filter(|c| c.has_token(token.map(|t| t.as_bytes())))
        else {
            let message = "The security token included in the request is invalid.";
            return Err(ApiError::new("UnrecognizedClientException", message));
        };
        let mut key = hmac(format!("AWS4{}", credential.secret).as_bytes(), scope.date);
        for part in [&*self.region, SERVICE, TERMINATOR] {
            key = hmac(&key, part);
        }
        let Scope { date: day, .. } = scope;
        Ok(Claim {
            head: canonical::head(parts, authorization.signed_headers),
            preamble: format!(
                "{ALGORITHM}\n{date}\n{day}/{}/{SERVICE}/{TERMINATOR}\n",
                self.region
            ),
            key,
            signature: hex_bytes(authorization.signature),
            is_expired: credential
                .expires
                .is_some_and(|at| at.millis() <= now.millis()),
        })
    }
}

/// Whether the signature covers what it has to.
fn check_coverage(parts: &Parts, signed: &str) -> Result<(), ApiError> {
    for name in COVERED {
        // There is always a host: hyper does without one, but a signature does not.
        let wanted = *name == "host" || parts.headers.contains_key(*name);
        if wanted && !signed.split(';').any(|signed| signed == *name) {
            let name = match *name {
                "host" => "'Host' or ':authority'".to_owned(),
                other => format!("'{other}'"),
            };
            return Err(invalid(format!(
                "{name} must be a 'SignedHeader' in the AWS Authorization."
            )));
        }
    }
    Ok(())
}

/// Whether the body comes as it is signed.
fn check_payload(parts: &Parts, payload: Payload) -> Result<(), ApiError> {
    let hash = parts.headers.get("x-amz-content-sha256");
    let hash = hash.map(|hash| hash.as_bytes());
    let encoding = parts.headers.get("content-encoding");
    let is_chunked = hash.is_some_and(|hash| hash.starts_with(b"STREAMING-"))
        || encoding.is_some_and(|encoding| encoding.as_bytes().starts_with(b"aws-chunked"));
    if is_chunked {
        let message =
            "Bodies in signed chunks (aws-chunked) are not taken here: send the body as it is.";
        return Err(incomplete(message));
    }
    match payload {
        Payload::Signed if hash == Some(UNSIGNED) => Err(incomplete(
            "The signature has to cover the body: UNSIGNED-PAYLOAD is not taken here.",
        )),
        Payload::Streamed if hash != Some(UNSIGNED) => Err(incomplete(
            "This body is done while it is read, and its signature could only be checked afterwards: sign with \
             'X-Amz-Content-Sha256: UNSIGNED-PAYLOAD'.",
        )),
        Payload::Signed | Payload::Streamed => Ok(()),
    }
}

impl Claim {
    /// Compares the signature of a request with such a body.
    pub(super) fn verify(&self, body: &[u8]) -> Result<(), ApiError> {
        self.compare(&hex(&Sha256::digest(body)))
    }

    /// The same for a signature that does not cover the body.
    pub(super) fn verify_head(&self) -> Result<(), ApiError> {
        self.compare("UNSIGNED-PAYLOAD")
    }

    fn compare(&self, body_hash: &str) -> Result<(), ApiError> {
        let mut request = Sha256::new();
        request.update(self.head.as_bytes());
        request.update(body_hash.as_bytes());
        let string = format!("{}{}", self.preamble, hex(&request.finalize()));
        let own = hmac(&self.key, &string);
        if !bool::from(own[..].ct_eq(&self.signature)) {
            return Err(invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ));
        }
        // Only who has the key is told that it has expired.
        if self.is_expired {
            let message = "The security token included in the request is expired";
            return Err(ApiError::new("ExpiredTokenException", message));
        }
        Ok(())
    }
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    // Keys may have any length.
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    hmac.update(text.as_bytes());
    hmac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n & 15)]);
    let digits = bytes.iter().flat_map(|b| [digit(b >> 4), digit(*b)]);
    digits.collect()
}

/// The bytes of a signature; none, which is no signature's, if it is not made of hexadecimal digits.
fn hex_bytes(text: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        let is_hex = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(pair, 16).ok())?
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(digits).collect();
    bytes.unwrap_or_default()
}

#[cfg(test)]
mod tests;
