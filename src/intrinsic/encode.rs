//! `States.Base64Encode`, `States.Base64Decode`, `States.Hash`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::Digest as _;

use super::Scope;
use crate::value::Val;

/// The longest text that can be encoded, decoded or hashed, in characters.
const CHARACTERS_MAX: usize = 10_000;

/// Java's basic decoder takes texts with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(super) fn base64_encode(scope: &mut Scope<'_>, data: Val) -> Result<Val, String> {
    let text = scope.string(data)?;
    check_length(&text)?;
    let encoded = BASE64.encode(text.as_bytes());
    Ok(scope.doc.push_string(&encoded))
}

pub(super) fn base64_decode(scope: &mut Scope<'_>, data: Val) -> Result<Val, String> {
    let text = scope.string(data)?;
    check_length(&text)?;
    let decoded = BASE64
        .decode(text.as_bytes())
        .map_err(|_| "The argument must be a valid Base64 string".to_owned())?;
    // Like Java's String: what is not UTF-8 becomes U+FFFD.
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    Ok(scope.doc.push_string(&decoded))
}

/// The hash of a string's UTF-8, or of any other value's JSON, in hexadecimal.
pub(super) fn hash(scope: &mut Scope<'_>, data: Val, algorithm: Val) -> Result<Val, String> {
    let values = scope.values();
    let text = match values.string(data) {
        Some(text) => text,
        None => values.to_json(data).into(),
    };
    check_length(&text)?;
    let algorithm = scope.string(algorithm)?;
    let Some(hex) = hash_text(text.as_bytes(), &algorithm) else {
        return Err(
            "The algorithm must be one of MD5, SHA-1, SHA-256, SHA-384, SHA-512".to_owned(),
        );
    };
    Ok(scope.doc.push_string(&hex))
}

/// The hash in hexadecimal; `None` if there is no such algorithm.
pub(crate) fn hash_text(bytes: &[u8], algorithm: &str) -> Option<String> {
    Some(match algorithm {
        "MD5" => hex(&md5::Md5::digest(bytes)),
        "SHA-1" => hex(&sha1::Sha1::digest(bytes)),
        "SHA-256" => hex(&sha2::Sha256::digest(bytes)),
        "SHA-384" => hex(&sha2::Sha384::digest(bytes)),
        "SHA-512" => hex(&sha2::Sha512::digest(bytes)),
        _ => return None,
    })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)])
        .collect()
}

fn check_length(text: &str) -> Result<(), String> {
    // No text has more characters than bytes, and counting is for the doubtful ones only.
    if text.len() <= CHARACTERS_MAX || text.encode_utf16().count() <= CHARACTERS_MAX {
        return Ok(());
    }
    Err(format!(
        "The argument is longer than {CHARACTERS_MAX} characters"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, run};

    #[test]
    fn recorded() {
        check(&[
            ("States.Base64Decode($)", r#""""#, r#""""#),
            (
                "States.Base64Decode($)",
                r#""RGF0YSB0byBlbmNvZGU=""#,
                r#""Data to encode""#,
            ),
            ("States.Base64Encode($)", r#""""#, r#""""#),
            (
                "States.Base64Encode($)",
                r#""Data to encode""#,
                r#""RGF0YSB0byBlbmNvZGU=""#,
            ),
            (
                "States.Hash($, 'SHA-256')",
                r#""Hash this string""#,
                r#""1cac63f39fd68d8c531f27b807610fb3d50f0fc3f186995767fb6316e7200a3e""#,
            ),
        ]);
    }

    #[test]
    fn documented() {
        check(&[
            (
                "States.Hash('input data', 'SHA-1')",
                "{}",
                r#""aaff4a450a104cd177d28d18d74485e8cae074b7""#,
            ),
            (
                "States.Hash('', 'MD5')",
                "{}",
                r#""d41d8cd98f00b204e9800998ecf8427e""#,
            ),
            ("States.Hash('', 'SHA-224')", "{}", "!must be one of"),
            (
                "States.Base64Decode('RGF0YSB0byBlbmNvZGU')",
                "{}",
                r#""Data to encode""#,
            ),
            ("States.Base64Decode('@')", "{}", "!valid Base64"),
            ("States.Base64Encode($)", "1", "!must be a string"),
        ]);
        for (len, fits) in [(10_000, true), (10_001, false)] {
            for text in ["States.Base64Encode($)", "States.Hash($, 'SHA-512')"] {
                let json = format!("\"{}\"", "é".repeat(len));
                assert_eq!(run(text, &json).is_ok(), fits, "{text} of {len}");
            }
        }
    }
}
