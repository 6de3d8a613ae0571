//! Signatures of requests: Signature Version 4, by AWS's own crate.

use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

use super::credentials::Keys;
use super::services::Signing;

/// What a signature is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    /// The service by the name that it checks.
    pub(super) name: &'a str,
    pub(super) time: SystemTime,
    pub(super) signing: Signing,
}

/// The headers that sign a request; all that are given are signed, `host` among them.
///
/// # Errors
///
/// If the request cannot be signed.
pub(super) fn signature(
    scope: Scope<'_>,
    keys: &Keys,
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Vec<(String, String)>, String> {
    let mut settings = SigningSettings::default();
    if matches!(scope.name, "s3" | "s3express" | "s3-outposts") {
        // S3 takes paths as they are sent, and wants the hash of the body in a header.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let identity = keys.to_credentials().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.name)
        .time(scope.time)
        .settings(settings)
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let body = match scope.signing {
        Signing::Whole | Signing::Not => SignableBody::Bytes(body),
        Signing::WithoutBody => SignableBody::UnsignedPayload,
    };
    let headers = headers.iter().map(|(name, value)| (&**name, &**value));
    let request = SignableRequest::new(method, url, headers, body).map_err(|e| e.to_string())?;
    let (instructions, _) = sign(request, &params)
        .map_err(|e| e.to_string())?
        .into_parts();
    let headers = instructions.headers();
    Ok(headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The example of AWS's own documentation of the signature: its body, headers and result are published.
    #[test]
    fn the_documented_example() {
        let keys = Keys::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            None,
        );
        let scope = Scope {
            region: "us-east-1",
            name: "service",
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160),
            signing: Signing::Whole,
        };
        let headers = [("host".to_owned(), "example.amazonaws.com".to_owned())];
        let url = "https://example.amazonaws.com/";
        let signed = signature(scope, &keys, "GET", url, &headers, b"").unwrap();
        let of = |wanted: &str| {
            let found = signed.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(of("x-amz-date"), Some("20150830T123600Z"));
        assert_eq!(
            of("authorization"),
            Some(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, \
                 Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
            )
        );
        let s3 = Scope {
            name: "s3",
            ..scope
        };
        let url = "https://b.s3.amazonaws.com/a%20b";
        let signed = signature(s3, &keys, "GET", url, &headers, b"").unwrap();
        assert!(
            signed
                .iter()
                .any(|(name, _)| name == "x-amz-content-sha256")
        );
    }
}
