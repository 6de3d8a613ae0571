//! Signatures that botocore 1.44 made, and what becomes of them once something is changed.

use hyper::Request;

use super::*;

const FILE: &str = r#"
    [[credentials]]
    access_key_id = "AKIDEXAMPLE"
    secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    [[credentials]]
    access_key_id = "OTHER"
    secret_access_key = "other"
    session_token = "tok/en="
    [[credentials]]
    access_key_id = "OLD"
    secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    expires = 2026-11-22T12:00:00Z
"#;

const NOW: &str = "2026-11-22T12:00:00Z";
const SCOPE: &str = "AKIDEXAMPLE/20261122/eu-west-1/states/aws4_request";
const PLAIN: &str = "18d6f6f0df2e5417b153b842e543807def7e24f9739cdc6f70c9efc157168a38";
const HEADERS: &str = "content-type;host;x-amz-date;x-amz-target";

fn verifier() -> Verifier {
    Verifier::new(Credentials::parse(FILE).unwrap(), "eu-west-1")
}

fn authorization(credential: &str, headers: &str, signature: &str) -> String {
    format!("{ALGORITHM} Credential={credential}, SignedHeaders={headers}, Signature={signature}")
}

/// The request that `PLAIN` signs.
fn plain() -> Request<()> {
    Request::post("/")
        .header("host", "127.0.0.1:8083")
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", "AWSStepFunctions.ListStateMachines")
        .header("x-amz-date", "20261122T120000Z")
        .header("authorization", authorization(SCOPE, HEADERS, PLAIN))
        .body(())
        .unwrap()
}

fn set(request: &mut Request<()>, name: &'static str, value: &str) {
    let value = value.parse().unwrap();
    request.headers_mut().insert(name, value);
}

/// The code and the text of the error, or nothing.
fn verified(request: Request<()>, body: &[u8], now: &str) -> Option<(&'static str, String)> {
    let (parts, ()) = request.into_parts();
    let now = Timestamp::parse(now).unwrap();
    let claim = verifier().claim(&parts, Payload::Signed, now);
    let error = claim.and_then(|claim| claim.verify(body)).err()?;
    assert_eq!(error.status, 400);
    Some((error.code, error.message))
}

#[test]
fn signatures_of_botocore_are_verified() {
    assert_eq!(verified(plain(), b"{}", NOW), None);
    // Headers that nobody signed may come on the way.
    let mut request = plain();
    set(&mut request, "x-amzn-trace-id", "Root=1");
    set(&mut request, "x-forwarded-for", "::1");
    assert_eq!(verified(request, b"{}", NOW), None);
    let request = Request::post("http://h/v1/state-machines/a%20b.c/executions?mode=sync&A=%7E")
        .header("host", "h")
        .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        .header("x-b", "  one   two  ")
        .header("x-amz-date", "20261122T120000Z")
        .header(
            "authorization",
            authorization(
                SCOPE,
                "host;x-amz-content-sha256;x-amz-date;x-b",
                "fde263f929b398af1e88adc880fb8697370189e2d94bc024af9457fe15f29e4e",
            ),
        )
        .body(());
    let (parts, ()) = request.unwrap().into_parts();
    let now = Timestamp::parse(NOW).unwrap();
    let claim = verifier().claim(&parts, Payload::Streamed, now);
    assert_eq!(claim.and_then(|claim| claim.verify_head()), Ok(()));
    let refused = verifier().claim(&parts, Payload::Signed, now).err();
    assert_eq!(refused.unwrap().code, "IncompleteSignatureException");
}

#[test]
fn whatever_a_signature_covers_cannot_be_changed() {
    let mismatch = |request, body: &[u8]| {
        let (code, message) = verified(request, body, NOW).expect("it is refused");
        assert_eq!(code, "InvalidSignatureException");
        assert!(message.starts_with("The request signature we calculated does not match"));
    };
    mismatch(plain(), b"{} ");
    for (name, value) in [
        ("host", "127.0.0.1:8084"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "AWSStepFunctions.DeleteStateMachine"),
        ("x-amz-date", "20261122T120001Z"),
    ] {
        let mut request = plain();
        set(&mut request, name, value);
        mismatch(request, b"{}");
        // Nor by a second value.
        let mut request = plain();
        request.headers_mut().append(name, value.parse().unwrap());
        if name != "x-amz-date" {
            mismatch(request, b"{}");
        }
    }
    for uri in ["/?a=b", "/a"] {
        let mut request = plain();
        *request.uri_mut() = uri.parse().unwrap();
        mismatch(request, b"{}");
    }
    for i in 0..PLAIN.len() {
        let mut signature = PLAIN.as_bytes().to_vec();
        signature[i] = if signature[i] == b'0' { b'1' } else { b'0' };
        let signature = String::from_utf8(signature).unwrap();
        let mut request = plain();
        set(
            &mut request,
            "authorization",
            &authorization(SCOPE, HEADERS, &signature),
        );
        mismatch(request, b"{}");
    }
    for signature in ["", &PLAIN[..62], &PLAIN[..63], "zz", &format!("{PLAIN}00")] {
        let mut request = plain();
        set(
            &mut request,
            "authorization",
            &authorization(SCOPE, HEADERS, signature),
        );
        mismatch(request, b"{}");
    }
}

#[test]
fn times_have_five_minutes() {
    for (now, expected) in [
        ("2026-11-22T12:05:00Z", None),
        ("2026-11-22T11:55:00Z", None),
        (
            "2026-11-22T12:05:00.001Z",
            Some(
                "Signature expired: 20261122T120000Z is now earlier than 20261122T120000Z (20261122T120500Z - 5 min.)",
            ),
        ),
        (
            "2026-11-22T11:54:00Z",
            Some(
                "Signature not yet current: 20261122T120000Z is still later than 20261122T115900Z (20261122T115400Z + 5 min.)",
            ),
        ),
    ] {
        let found = verified(plain(), b"{}", now);
        let expected = expected.map(|text| ("InvalidSignatureException", text.to_owned()));
        assert_eq!(found, expected, "{now}");
    }
}

#[test]
fn tokens_belong_to_keys() {
    let scope = "OTHER/20261122/eu-west-1/states/aws4_request";
    let with_token = format!("{HEADERS};x-amz-security-token");
    let unknown = "UnrecognizedClientException";
    let invalid = "InvalidSignatureException";
    let of_other = authorization(scope, &with_token, PLAIN);
    let of_nobody = of_other.replace("OTHER", "NOBODY");
    for (authorization, token, expected) in [
        (&of_other, Some("tok/en="), invalid),
        (&of_other, Some("token"), unknown),
        (&of_nobody, Some("tok/en="), unknown),
        (&authorization(scope, HEADERS, PLAIN), None, unknown),
        (
            &authorization(SCOPE, &with_token, PLAIN),
            Some("t"),
            unknown,
        ),
        // A token that is not covered could be anybody's.
        (&authorization(SCOPE, HEADERS, PLAIN), Some("t"), invalid),
    ] {
        let mut request = plain();
        set(&mut request, "authorization", authorization);
        if let Some(token) = token {
            set(&mut request, "x-amz-security-token", token);
        }
        let (code, message) = verified(request, b"{}", NOW).unwrap();
        assert_eq!(code, expected, "{message}");
    }
    // The signature does not name the key: that of the same secret fits until the key expires.
    let mut request = plain();
    let old = authorization(&SCOPE.replace("AKIDEXAMPLE", "OLD"), HEADERS, PLAIN);
    set(&mut request, "authorization", &old);
    let (code, message) = verified(request, b"{}", NOW).unwrap();
    assert_eq!(code, "ExpiredTokenException");
    assert_eq!(
        message,
        "The security token included in the request is expired"
    );
    let mut request = plain();
    set(&mut request, "authorization", &old);
    assert_eq!(verified(request, b"{}", "2026-11-22T11:59:59Z"), None);
}

#[test]
fn malformed_authorizations_are_told() {
    let scoped = |from: &str, to: &str| authorization(&SCOPE.replace(from, to), HEADERS, PLAIN);
    let incomplete = "IncompleteSignatureException";
    for (text, code, expected) in [
        (
            "Bearer x".to_owned(),
            incomplete,
            "Unsupported AWS 'algorithm'",
        ),
        (
            ALGORITHM.to_owned(),
            incomplete,
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter.",
        ),
        (
            format!("{ALGORITHM} Credential={SCOPE},Signature={PLAIN}"),
            incomplete,
            "Authorization header requires 'SignedHeaders' parameter.",
        ),
        (
            scoped("/states", ""),
            incomplete,
            "Credential must have exactly 5",
        ),
        (
            scoped("request", "request/x"),
            incomplete,
            "Credential must have exactly 5",
        ),
    ] {
        let mut request = plain();
        set(&mut request, "authorization", &text);
        let (found, message) = verified(request, b"{}", NOW).unwrap();
        assert_eq!(found, code, "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn scopes_and_coverage_are_checked() {
    let scoped = |from: &str, to: &str| authorization(&SCOPE.replace(from, to), HEADERS, PLAIN);
    let invalid = "InvalidSignatureException";
    for (text, code, expected) in [
        (
            scoped("20261122", "20261121"),
            invalid,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261121' != '20261122', from '20261122T120000Z'.",
        ),
        (
            scoped("20261122", "2026112"),
            invalid,
            "Date in Credential scope",
        ),
        (
            scoped("eu-west-1", "eu-west-2"),
            invalid,
            "Credential should be scoped to a valid region, not 'eu-west-2'",
        ),
        (
            scoped("states", "s3"),
            invalid,
            "Credential should be scoped to correct service: 'states'.",
        ),
        (
            scoped("aws4_request", "aws5"),
            invalid,
            "Credential should be scoped with a valid terminator",
        ),
        (
            authorization(SCOPE, "content-type;x-amz-date;x-amz-target", PLAIN),
            invalid,
            "'Host' or ':authority' must be a 'SignedHeader'",
        ),
        (
            authorization(SCOPE, "content-type;host;x-amz-date", PLAIN),
            invalid,
            "'x-amz-target' must be a 'SignedHeader'",
        ),
        (
            authorization(SCOPE, "content-type;host;x-amz-target", PLAIN),
            invalid,
            "'x-amz-date' must be a 'SignedHeader'",
        ),
    ] {
        let mut request = plain();
        set(&mut request, "authorization", &text);
        let (found, message) = verified(request, b"{}", NOW).unwrap();
        assert_eq!(found, code, "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn other_forms_of_signatures_are_refused() {
    let refused = |change: &dyn Fn(&mut Request<()>)| {
        let mut request = plain();
        change(&mut request);
        verified(request, b"{}", NOW).unwrap()
    };
    let (code, message) = refused(&|r| drop(r.headers_mut().remove("authorization")));
    assert_eq!(code, "MissingAuthenticationTokenException");
    assert_eq!(message, "Missing Authentication Token");
    let incomplete = |change: &dyn Fn(&mut Request<()>), expected: &str| {
        let (code, message) = refused(change);
        assert_eq!(code, "IncompleteSignatureException");
        assert!(message.contains(expected), "{message}");
    };
    incomplete(
        &|r| {
            r.headers_mut().remove("authorization");
            *r.uri_mut() = "/?X-Amz-Signature=1".parse().unwrap();
        },
        "Signatures in the query are not taken here",
    );
    incomplete(
        &|r| {
            r.headers_mut()
                .append("authorization", "x".parse().unwrap());
        },
        "one readable header",
    );
    incomplete(
        &|r| drop(r.headers_mut().remove("x-amz-date")),
        "'X-Amz-Date'",
    );
    for date in [
        "",
        "20261122",
        "2026-11-22T12:00:00",
        "20261322T120000Z",
        "20261122T12000é",
    ] {
        incomplete(&|r| set(r, "x-amz-date", date), "X-Amz-Date");
    }
    incomplete(
        &|r| set(r, "content-encoding", "aws-chunked"),
        "signed chunks",
    );
    for (hash, expected) in [
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "signed chunks"),
        ("UNSIGNED-PAYLOAD", "has to cover the body"),
    ] {
        let covered = format!("{HEADERS};x-amz-content-sha256");
        let signed = authorization(SCOPE, &covered, PLAIN);
        incomplete(
            &|r| {
                set(r, "x-amz-content-sha256", hash);
                set(r, "authorization", &signed);
            },
            expected,
        );
    }
}
