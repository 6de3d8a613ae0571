//! HTTP tasks: `http:invoke`.
//!
//! A task names an address and a connection. The address has to be one that the file of connections allows, and the
//! connection says who calls. What comes back is the task's result if its status is 2xx.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use serde_json::{Map, Value};

use super::Call;
use super::connections::{Connection, HttpConnections, OAuth, Token};
use super::encode::{self, ArrayFormat};
use super::parameters::{Members, Parameters, cut, shown};
use crate::history::Failure;
use crate::net;

/// How long a call may take, as on AWS.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Most bytes of a body that a task takes.
const ANSWER_BYTES_MAX: usize = 262_144;

/// Most bytes of a body that a failure's cause shows.
const CAUSE_BYTES_MAX: usize = 32_768;

/// Does HTTP tasks.
#[derive(Debug)]
pub(super) struct HttpTasks {
    connections: Arc<HttpConnections>,
    client: net::Client,
}

/// One call.
struct Request<'c> {
    connection: &'c Connection,
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl HttpTasks {
    pub(super) fn new(connections: Arc<HttpConnections>) -> HttpTasks {
        let client = net::Client::builder().filter(connections.filter()).build();
        HttpTasks {
            connections,
            client,
        }
    }

    /// Everything that belongs to a task has its time together: waiting for a token, asking for it, and both attempts.
    pub(super) async fn call(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let whole = tokio::time::timeout(TIME_MAX, self.exchange(call)).await;
        whole.unwrap_or_else(|_| {
            let cause = format!("there was no whole answer within {TIME_MAX:?}");
            Err(Failure::new("States.Http.Socket", cause))
        })
    }

    async fn exchange(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let parameters = Parameters::read(&call.input)?;
        let request = self.read(&parameters)?;
        let (mut answer, header) = self.send(&request, None).await?;
        if answer.status() == 401 && request.connection.has_token() {
            // The token may have been called back before its time.
            (answer, _) = self.send(&request, Some(&header)).await?;
        }
        result(&answer)
    }

    /// Sends a request; returns the header that said who calls, too.
    async fn send(
        &self,
        request: &Request<'_>,
        refused: Option<&str>,
    ) -> Result<(net::Response, String), Failure> {
        let header = request
            .connection
            .header(refused, async |oauth| self.fetch_token(oauth).await);
        let (name, value) = header.await?;
        let mut sent = net::Request::new(request.body.clone());
        *sent.method_mut() = request.method.clone();
        *sent.uri_mut() = request.uri.clone();
        for (name, value) in &request.headers {
            sent.headers_mut().insert(name, value.clone());
        }
        match (
            HeaderName::try_from(name),
            HeaderValue::try_from(value.clone()),
        ) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                sent.headers_mut().insert(name, value);
            }
            _ => {
                let cause = "what the connection says of the caller cannot be put into a header";
                return Err(Failure::new("States.Runtime", cause));
            }
        }
        let answer = self.client.send(sent, TIME_MAX, ANSWER_BYTES_MAX).await;
        Ok((answer.map_err(|error| of_net(&error))?, value))
    }

    fn read<'c>(&'c self, parameters: &Parameters<'_>) -> Result<Request<'c>, Failure> {
        let endpoint = parameters.required_text("ApiEndpoint")?;
        let method = parameters.required_text("Method")?;
        let arn = ["Authentication", "InvocationConfig"]
            .into_iter()
            .find_map(|name| parameters.value(name).ok().flatten())
            .and_then(|value| Some(value.get("ConnectionArn")?.as_str()?.to_owned()))
            .ok_or_else(|| {
                parameters
                    .wrong("The field \"Authentication.ConnectionArn\" is required but was missing")
            })?;
        const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"];
        if !METHODS.contains(&&*method) {
            return Err(parameters.wrong(&format!("{method} is not a Method of HTTP tasks")));
        }
        let connection = self.connections.find(&arn).ok_or_else(|| {
            Failure::new(
                "States.Runtime",
                format!(
                    "The connection {arn} is not known: add a [[connection]] with that arn to the file that \
                     --http-connections names"
                ),
            )
        })?;
        let uri = self.address(&endpoint, parameters, connection)?;
        let mut headers = headers(parameters, connection)?;
        let body = body(parameters, connection, &mut headers)?;
        Ok(Request {
            connection,
            method: Method::from_bytes(method.as_bytes()).unwrap_or_default(),
            uri,
            headers,
            body,
        })
    }

    /// The address with its query, if it may be called.
    fn address(
        &self,
        endpoint: &str,
        parameters: &Parameters<'_>,
        connection: &Connection,
    ) -> Result<Uri, Failure> {
        if endpoint.contains('#') {
            // What follows is not sent, and the query would be a part of it.
            return Err(parameters.wrong("ApiEndpoint cannot have a fragment, which begins with #"));
        }
        let mut query = String::new();
        if let Some(Value::Object(members)) = parameters.value("QueryParameters")? {
            for (name, value) in &members {
                match value {
                    Value::Array(values) => {
                        for value in values {
                            encode::push_pair(name, &encode::plain(value), &mut query);
                        }
                    }
                    other => encode::push_pair(name, &encode::plain(other), &mut query),
                }
            }
        }
        for (name, value) in &connection.query {
            encode::push_pair(name, value, &mut query);
        }
        let separator = match (query.is_empty(), endpoint.contains('?')) {
            (true, _) => "",
            (false, true) => "&",
            (false, false) => "?",
        };
        let uri: Uri = format!("{endpoint}{separator}{query}")
            .parse()
            .map_err(|error| parameters.wrong(&format!("ApiEndpoint is no address: {error}")))?;
        if self.connections.allows(&uri) {
            return Ok(uri);
        }
        let endpoint = shown(endpoint);
        Err(Failure::new(
            "States.Runtime",
            format!(
                "{endpoint} is not among the addresses that HTTP tasks may call: `allow` in the file that \
                 --http-connections names"
            ),
        ))
    }

    /// Asks for a token with the client's credentials.
    async fn fetch_token(&self, oauth: &OAuth) -> Result<Token, Failure> {
        let mut form = String::from("grant_type=client_credentials");
        encode::push_pair("client_id", &oauth.client_id, &mut form);
        encode::push_pair("client_secret", &oauth.client_secret, &mut form);
        if let Some(scope) = &oauth.scope {
            encode::push_pair("scope", scope, &mut form);
        }
        let failed = |what: String| {
            let url = oauth.token_url.parse().unwrap_or_default();
            let cause = format!("{} gave no token: {what}", net::shown(&url));
            Failure::new("States.Http.Socket", cause)
        };
        let request = hyper::Request::post(&*oauth.token_url)
            .header(CONTENT_TYPE, FORM)
            .header("accept", "application/json")
            .body(Bytes::from(form))
            .map_err(|error| failed(error.to_string()))?;
        let answer = self.client.send(request, TIME_MAX, ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("it answered {}", answer.status())));
        }
        #[derive(serde::Deserialize)]
        struct Granted {
            access_token: String,
            #[serde(default)]
            expires_in: Value,
        }
        let granted: Granted = serde_json::from_slice(answer.body())
            .map_err(|_| failed("its answer has no access_token".to_owned()))?;
        Ok(Token::new(
            granted.access_token,
            seconds(&granted.expires_in),
        ))
    }
}

/// How long a token is good. Some say it as a text, some as a fraction, some not at all.
fn seconds(expires_in: &Value) -> u64 {
    let seconds = match expires_in {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    // What is past any number of seconds is as much as there is.
    seconds
        .filter(|seconds| *seconds >= 0.0)
        .map_or(300, |seconds| seconds as u64)
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Headers that are not the task's to give: those of the connection itself, and those that name who calls.
const FORBIDDEN: [&str; 20] = [
    "authorization",
    "connection",
    "content-length",
    "content-md5",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-forwarded-for",
];

fn headers(
    parameters: &Parameters<'_>,
    connection: &Connection,
) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let mut headers = Vec::new();
    let agent = concat!("quickstep/", env!("CARGO_PKG_VERSION"), " HttpInvoke");
    headers.push((hyper::header::USER_AGENT, HeaderValue::from_static(agent)));
    let mut put = |name: &str, value: &str| {
        let named = HeaderName::try_from(name)
            .map_err(|_| parameters.wrong(&format!("{name} is no name of a header")))?;
        let value = HeaderValue::try_from(value).map_err(|_| {
            parameters.wrong(&format!(
                "The header {name} has characters that no header can have"
            ))
        })?;
        headers.retain(|(other, _)| *other != named);
        headers.push((named, value));
        Ok::<(), Failure>(())
    };
    if let Some(Value::Object(members)) = parameters.value("Headers")? {
        for (name, value) in &members {
            let lower = name.to_ascii_lowercase();
            let is_forbidden = FORBIDDEN.contains(&&*lower)
                || ["x-amz-", "x-amzn-", "x-forwarded-"]
                    .iter()
                    .any(|prefix| lower.starts_with(prefix));
            if is_forbidden {
                return Err(
                    parameters.wrong(&format!("The header {name} is not supported in HTTP tasks"))
                );
            }
            put(name, &encode::plain(value))?;
        }
    }
    for (name, value) in &connection.headers {
        put(name, value)?;
    }
    Ok(headers)
}

/// The body, as JSON or as a form; its type is added to the headers.
fn body(
    parameters: &Parameters<'_>,
    connection: &Connection,
    headers: &mut Vec<(HeaderName, HeaderValue)>,
) -> Result<Bytes, Failure> {
    let transform = parameters.value("Transform")?.unwrap_or_default();
    let encoding = transform.get("RequestBodyEncoding").and_then(Value::as_str);
    let arrays = transform
        .get("RequestEncodingOptions")
        .and_then(|options| options.get("ArrayFormat")?.as_str());
    let is_form = match encoding {
        None | Some("NONE") => false,
        Some("URL_ENCODED") => true,
        Some(other) => {
            return Err(parameters.wrong(&format!("RequestBodyEncoding cannot be {other}")));
        }
    };
    let arrays = match arrays {
        None => ArrayFormat::default(),
        Some(name) => ArrayFormat::parse(name)
            .ok_or_else(|| parameters.wrong(&format!("ArrayFormat cannot be {name}")))?,
    };
    let raw = parameters.raw("RequestBody");
    if raw.is_none() && connection.body.is_empty() {
        return Ok(Bytes::new());
    }
    let given = headers.iter().find(|(name, _)| *name == CONTENT_TYPE);
    let given = given.and_then(|(_, value)| value.to_str().ok());
    let is_json = given.is_none_or(is_json);
    let has_type = given.is_some();
    let mut with_type = |value: &'static str| {
        if !has_type {
            headers.push((CONTENT_TYPE, HeaderValue::from_static(value)));
        }
    };
    // What needs no change is sent as it was written.
    if !is_form && connection.body.is_empty() {
        with_type("application/json");
        let text = match raw {
            Some(raw) if !is_json && raw.starts_with('"') => {
                parameters.text("RequestBody")?.unwrap_or_default()
            }
            raw => raw.unwrap_or_default().to_owned(),
        };
        return Ok(text.into());
    }
    let mut members = match parameters.value("RequestBody")? {
        None => Map::new(),
        Some(Value::Object(members)) => members,
        Some(_) => {
            return Err(parameters.wrong("RequestBody must be an object to be encoded or added to"));
        }
    };
    for (name, value) in &connection.body {
        members.insert(name.clone(), value.clone());
    }
    if is_form {
        with_type(FORM);
        return Ok(encode::form(&members, arrays).into());
    }
    with_type("application/json");
    Ok(Value::Object(members).to_string().into())
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// The task's result, or its failure if the status is not 2xx.
fn result(answer: &net::Response) -> Result<Vec<u8>, Failure> {
    let status = answer.status();
    let body = String::from_utf8_lossy(answer.body());
    if !status.is_success() {
        let cause = match body.trim().is_empty() {
            true => status.canonical_reason().unwrap_or_default(),
            false => cut(&body, CAUSE_BYTES_MAX),
        };
        let error = format!("States.Http.StatusCode.{}", status.as_u16());
        return Err(Failure::new(error, cause));
    }
    Ok(described(answer, &body).write())
}

/// What HTTP tasks and calls of API Gateway have for a result.
pub(super) fn described(answer: &net::Response, body: &str) -> Members {
    let mut headers = Map::new();
    for (name, value) in answer.headers() {
        let values = headers
            .entry(name.as_str())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(String::from_utf8_lossy(value.as_bytes()).into());
        }
    }
    let content_type = answer.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let mut members = Members::default();
    members.put_value("Headers", &headers);
    // What says that it is JSON and is not, is a text all the same.
    members.put_value("ResponseBody", &body);
    if content_type.is_some_and(is_json) && !body.trim().is_empty() {
        members.put("ResponseBody", body.to_owned());
    }
    members.put_value("StatusCode", &answer.status().as_u16());
    let reason = answer.status().canonical_reason().unwrap_or_default();
    members.put_value("StatusText", &reason);
    members
}

/// The failure of a task that got no answer.
pub(super) fn of_net(error: &net::Error) -> Failure {
    let name = match error.kind() {
        net::ErrorKind::TooLarge => "States.DataLimitExceeded",
        net::ErrorKind::Forbidden | net::ErrorKind::InvalidUrl => "States.Runtime",
        _ => "States.Http.Socket",
    };
    let cause = match error.kind() {
        net::ErrorKind::Forbidden => format!(
            "{error}: HTTP tasks may not call addresses of this machine or of private networks, unless \
             allow_private_addresses says so in the file that --http-connections names"
        ),
        _ => error.to_string(),
    };
    Failure::new(name, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTIONS: &str = r#"
        allow = ["https://api.example.com/*"]
        [[connection]]
        arn = "plain"
        basic = { username = "me", password = "p" }
        [[connection]]
        arn = "more"
        api_key = { name = "X-Key", value = "k" }
        headers = { X-Team = "blue" }
        query = { version = 2 }
        body = { tenant = "t" }
    "#;

    fn request(parameters: &str) -> Result<(String, String, String), Failure> {
        let tasks = HttpTasks::new(Arc::new(HttpConnections::parse(CONNECTIONS).unwrap()));
        let parameters = Parameters::read(parameters)?;
        let request = tasks.read(&parameters)?;
        let headers = request.headers.iter().skip(1);
        let headers = headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        Ok((
            format!("{} {}", request.method, request.uri),
            headers.collect::<Vec<_>>().join(", "),
            String::from_utf8(request.body.to_vec()).unwrap(),
        ))
    }

    #[test]
    fn requests() {
        for (parameters, line, headers, body) in [
            (
                r#"{"ApiEndpoint":"https://api.example.com/a","Method":"GET","Authentication":{"ConnectionArn":"plain"},
                    "QueryParameters":{"a":"b c","n":[1,2]},"Headers":{"X-A":"b"}}"#,
                "GET https://api.example.com/a?a=b%20c&n=1&n=2",
                "x-a: b",
                "",
            ),
            (
                r#"{"ApiEndpoint":"https://api.example.com/a?x=y","Method":"POST","InvocationConfig":{"ConnectionArn":"more"},
                    "RequestBody":{"n":1.5}}"#,
                "POST https://api.example.com/a?x=y&version=2",
                "x-team: blue, content-type: application/json",
                r#"{"n":1.5,"tenant":"t"}"#,
            ),
            (
                r#"{"ApiEndpoint":"https://api.example.com/a","Method":"POST","Authentication":{"ConnectionArn":"plain"},
                    "RequestBody":{"n":1e400}}"#,
                "POST https://api.example.com/a",
                "content-type: application/json",
                r#"{"n":1e400}"#,
            ),
            (
                r#"{"ApiEndpoint":"https://api.example.com/a","Method":"POST","Authentication":{"ConnectionArn":"plain"},
                    "Headers":{"Content-Type":"text/plain"},"RequestBody":"as it is"}"#,
                "POST https://api.example.com/a",
                "content-type: text/plain",
                "as it is",
            ),
            (
                r#"{"ApiEndpoint":"https://api.example.com/a","Method":"POST","Authentication":{"ConnectionArn":"plain"},
                    "RequestBody":{"a":["x"]},"Transform":{"RequestBodyEncoding":"URL_ENCODED",
                    "RequestEncodingOptions":{"ArrayFormat":"BRACKETS"}}}"#,
                "POST https://api.example.com/a",
                "content-type: application/x-www-form-urlencoded",
                "a%5B%5D=x",
            ),
        ] {
            let expected = (line.to_owned(), headers.to_owned(), body.to_owned());
            assert_eq!(request(parameters).unwrap(), expected);
        }
    }

    #[test]
    fn requests_that_are_refused() {
        for (members, problem) in [
            (
                r#""ApiEndpoint":"https://elsewhere.example/","Method":"GET""#,
                "is not among the addresses",
            ),
            (
                r#""ApiEndpoint":"https://api.example.com/a#b","Method":"GET""#,
                "ApiEndpoint cannot have a fragment",
            ),
            (
                r#""ApiEndpoint":"https://x@api.example.com/","Method":"GET""#,
                "is not among the addresses",
            ),
            (
                r#""ApiEndpoint":"https://api.example.com/","Method":"TRACE""#,
                "TRACE is not a Method",
            ),
            (
                r#""Method":"GET""#,
                "The field \"ApiEndpoint\" is required but was missing",
            ),
            (
                r#""ApiEndpoint":"https://api.example.com/","Method":"GET","Headers":{"Host":"x"}"#,
                "The header Host is not supported",
            ),
            (
                r#""ApiEndpoint":"https://api.example.com/","Method":"GET","Headers":{"X-A":"a\r\nHost: b"}"#,
                "characters that no header can have",
            ),
            (
                r#""ApiEndpoint":"https://api.example.com/","Method":"POST","RequestBody":[1],
                    "Transform":{"RequestBodyEncoding":"URL_ENCODED"}"#,
                "RequestBody must be an object",
            ),
        ] {
            let connection = r#""Authentication":{"ConnectionArn":"plain"}"#;
            let failure = request(&format!("{{{members},{connection}}}")).unwrap_err();
            assert_eq!(failure.error_name(), "States.Runtime");
            assert!(
                failure.cause.as_deref().unwrap().contains(problem),
                "{failure:?}"
            );
        }
        let failure =
            request(r#"{"ApiEndpoint":"https://api.example.com/","Method":"GET"}"#).unwrap_err();
        assert!(failure.cause.unwrap().contains("ConnectionArn"));
    }

    #[test]
    fn times_of_tokens() {
        for (said, expected) in [
            ("3600", 3_600),
            ("\"3600\"", 3_600),
            ("3599.9", 3_599),
            ("1e300", u64::MAX),
            ("-1", 300),
            ("null", 300),
            ("\"soon\"", 300),
            ("\"NaN\"", 300),
        ] {
            let said: Value = serde_json::from_str(said).unwrap();
            assert_eq!(seconds(&said), expected, "{said}");
        }
    }

    #[test]
    fn answers() {
        let answer = |status: u16, kind: &str, body: &'static str| {
            hyper::Response::builder()
                .status(status)
                .header("content-type", kind)
                .header("x-a", "1")
                .header("x-a", "2")
                .body(Bytes::from_static(body.as_bytes()))
                .unwrap()
        };
        let shown = result(&answer(200, "application/json", r#"{"n": 1e400}"#)).unwrap();
        assert_eq!(
            String::from_utf8(shown).unwrap(),
            r#"{"Headers":{"content-type":["application/json"],"x-a":["1","2"]},"ResponseBody":{"n": 1e400},"StatusCode":200,"StatusText":"OK"}"#
        );
        for (kind, body) in [("text/plain", "{}"), ("application/json", "{")] {
            let shown = String::from_utf8(result(&answer(201, kind, body)).unwrap()).unwrap();
            assert!(
                shown.contains(&format!(r#""ResponseBody":"{body}""#)),
                "{shown}"
            );
        }
        assert_eq!(
            result(&answer(404, "text/plain", "gone")).unwrap_err(),
            Failure::new("States.Http.StatusCode.404", "gone")
        );
        assert_eq!(
            result(&answer(503, "text/plain", "")).unwrap_err(),
            Failure::new("States.Http.StatusCode.503", "Service Unavailable")
        );
    }
}
