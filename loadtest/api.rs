//! Requests of the Step Functions API, and what their answers say.

use std::path::Path;
use std::time::Duration;

use quickstep::history::LogLevel;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Endpoint, Lane};
use super::recorder::Outcome;
use super::sign::{self, Identity, Parts};
use super::target::Mode;

/// How long calls beside the load may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the requests are of that nobody signs: servers that serve several services look for the service in it.
const UNSIGNED_AUTHORIZATION: &str = "Authorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/states/aws4_request, \
    SignedHeaders=host, Signature=0\r\n";

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// A server of the API, and the machine on it that is loaded.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// Where machines are made, and executions started and described.
    pub(crate) endpoint: Endpoint,
    /// Where synchronous executions are started.
    pub(crate) sync_endpoint: Endpoint,
    pub(crate) identity: Option<Identity>,
    pub(crate) machine_arn: String,
    pub(crate) machine_name: String,
}

fn now() -> String {
    #[expect(clippy::disallowed_methods, reason = "signatures have a date")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    let timestamp = quickstep::stdx::Timestamp::from_millis(i64::try_from(millis).unwrap_or(0));
    sign::date(timestamp)
}

impl Api {
    pub(crate) fn new(
        url: &str,
        certificates: Option<&Path>,
        identity: Option<Identity>,
    ) -> Result<Api, String> {
        let endpoint = Endpoint::parse(url, certificates)?;
        // AWS has synchronous executions at a host of their own.
        let sync_endpoint = match endpoint.authority.ends_with(".amazonaws.com") {
            true => endpoint.prefixed("sync-")?,
            false => endpoint.clone(),
        };
        Ok(Api {
            endpoint,
            sync_endpoint,
            identity,
            machine_arn: String::new(),
            machine_name: String::new(),
        })
    }

    /// Appends a request.
    pub(crate) fn write(
        &self,
        operation: &str,
        authority: &str,
        body: &[&[u8]],
        out: &mut Vec<u8>,
    ) {
        let length: usize = body.iter().map(|part| part.len()).sum();
        out.extend_from_slice(b"POST / HTTP/1.1\r\nHost: ");
        out.extend_from_slice(authority.as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(CONTENT_TYPE.as_bytes());
        out.extend_from_slice(b"\r\nX-Amz-Target: AWSStepFunctions.");
        out.extend_from_slice(operation.as_bytes());
        out.extend_from_slice(b"\r\nContent-Length: ");
        out.extend_from_slice(length.to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
        match &self.identity {
            None => out.extend_from_slice(UNSIGNED_AUTHORIZATION.as_bytes()),
            Some(identity) => {
                let target = format!("AWSStepFunctions.{operation}");
                let parts = Parts {
                    path: "/",
                    query: "",
                    headers: &[
                        ("content-type", CONTENT_TYPE),
                        ("host", authority),
                        ("x-amz-target", &target),
                    ],
                    payload: &sign::hash(&body.concat()),
                };
                sign::sign(identity, &parts, &now(), out);
            }
        }
        out.extend_from_slice(b"\r\n");
        for part in body {
            out.extend_from_slice(part);
        }
    }

    /// Appends the head of a body of lines that is sent as it comes.
    pub(crate) fn write_ingest(&self, authority: &str, out: &mut Vec<u8>) {
        let path = format!("/v1/state-machines/{}/executions", self.machine_name);
        let content_type = "application/x-ndjson";
        let head = format!(
            "POST {path}?mode=sync HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {content_type}\r\n\
             Transfer-Encoding: chunked\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        if let Some(identity) = &self.identity {
            let parts = Parts {
                path: &path,
                query: "mode=sync",
                headers: &[("content-type", content_type), ("host", authority)],
                payload: sign::UNSIGNED,
            };
            sign::sign(identity, &parts, &now(), out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Calls an operation and waits.
    ///
    /// # Errors
    ///
    /// If there is no answer, or if it is an error.
    pub(crate) fn call(
        &self,
        lane: &mut Lane,
        operation: &str,
        params: &Value,
    ) -> Result<Value, String> {
        let body = params.to_string();
        let authority = lane.authority().to_owned();
        let (status, body) = lane.call(PATIENCE, |out| {
            self.write(operation, &authority, &[body.as_bytes()], out);
        })?;
        let shown = || String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|error| format!("{operation}: {error}: {}", shown())),
            _ => Err(format!("{operation} was answered {status}: {}", shown())),
        }
    }

    /// Makes the machine that is loaded.
    ///
    /// # Errors
    ///
    /// As [`Api::call`].
    pub(crate) fn create(
        &mut self,
        name: &str,
        definition: &str,
        mode: Mode,
        role: &str,
        log: LogLevel,
    ) -> Result<(), String> {
        let kind = match mode {
            Mode::Standard => "STANDARD",
            Mode::Sync | Mode::Async | Mode::Ingest => "EXPRESS",
        };
        let mut params =
            json!({ "name": name, "definition": definition, "type": kind, "roleArn": role });
        if log != LogLevel::Off {
            let account = role.split(':').nth(4).unwrap_or_default();
            let group = format!(
                "arn:aws:logs:us-east-1:{account}:log-group:/aws/vendedlogs/states/{name}:*"
            );
            params["loggingConfiguration"] = json!({
                "level": log.as_str(),
                "includeExecutionData": true,
                "destinations": [{ "cloudWatchLogsLogGroup": { "logGroupArn": group } }],
            });
        }
        let created = self.call(
            &mut Lane::new(&self.endpoint),
            "CreateStateMachine",
            &params,
        )?;
        let arn = created["stateMachineArn"].as_str();
        self.machine_arn = arn
            .ok_or("CreateStateMachine was answered without an ARN")?
            .to_owned();
        name.clone_into(&mut self.machine_name);
        Ok(())
    }

    /// Deletes it.
    ///
    /// # Errors
    ///
    /// As [`Api::call`].
    pub(crate) fn delete(&self) -> Result<(), String> {
        let params = json!({ "stateMachineArn": self.machine_arn });
        self.call(
            &mut Lane::new(&self.endpoint),
            "DeleteStateMachine",
            &params,
        )
        .map(drop)
    }

    /// The text that the server has for Prometheus, if it has one.
    pub(crate) fn metrics(&self) -> Option<String> {
        let mut lane = Lane::new(&self.endpoint);
        let authority = lane.authority().to_owned();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let (status, body) = lane
            .call(PATIENCE, |out| out.extend_from_slice(request.as_bytes()))
            .ok()?;
        let text = String::from_utf8(body).ok()?;
        (status == 200 && text.contains("quickstep_")).then_some(text)
    }
}

/// Executions of the machine, as a server has counted them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) started: u64,
    pub(crate) finished: u64,
    pub(crate) succeeded: u64,
}

impl Api {
    /// What the server has counted, if it is one that does.
    pub(crate) fn counted(&self) -> Option<Counted> {
        let metrics = self.metrics()?;
        let machine = ("state_machine", &*self.machine_name);
        let count = |name, labels: &[(&str, &str)]| sum(&metrics, name, labels) as u64;
        Some(Counted {
            started: count("quickstep_executions_started_total", &[machine]),
            finished: count("quickstep_executions_finished_total", &[machine]),
            succeeded: count(
                "quickstep_executions_finished_total",
                &[machine, ("status", "SUCCEEDED")],
            ),
        })
    }
}

/// The sum of a counter's samples that have all of these labels.
pub(crate) fn sum(metrics: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    metrics
        .lines()
        .filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (own, own_labels) = sample.split_once('{').unwrap_or((sample, ""));
            let has = |(label, value): &(&str, &str)| {
                own_labels.contains(&format!("{label}=\"{value}\""))
            };
            (own == name && labels.iter().all(has)).then(|| value.parse::<f64>().ok())?
        })
        .sum()
}

/// What an answer says of an execution, of all that is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Said {
    pub(crate) status: String,
    pub(crate) output: Option<String>,
    pub(crate) execution_arn: String,
}

/// Reads an answer.
///
/// # Errors
///
/// What the request has come to, if the answer is an error or none.
pub(crate) fn read(status: u16, body: &[u8]) -> Result<Said, Outcome> {
    if status == 200 {
        return serde_json::from_slice(body).map_err(|_| Outcome::Broken);
    }
    let has = |needle: &[u8]| memchr::memmem::find(body, needle).is_some();
    let throttled = matches!(status, 429 | 503)
        || has(b"Throttling")
        || has(b"LimitExceeded")
        || has(b"TooManyRequests");
    Err(match throttled {
        true => Outcome::Throttled,
        false => Outcome::Broken,
    })
}

/// Reads an answer, of which nothing but its status is looked at if it has the very output that is expected.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn read_quickly(
    status: u16,
    body: &[u8],
    expected: Option<&[u8]>,
) -> Result<Option<Said>, Outcome> {
    // A quotation mark within a text would have a backslash before it, so that these are members.
    const SUCCEEDED: &[u8] = b"\"status\":\"SUCCEEDED\"";
    if status == 200
        && let Some(expected) = expected
        && memchr::memmem::find(body, expected).is_some()
        && memchr::memmem::find(body, SUCCEEDED).is_some()
    {
        return Ok(None);
    }
    read(status, body).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_by_labels() {
        let text = "# TYPE a counter\na{m=\"x\",s=\"OK\"} 3\na{m=\"y\",s=\"OK\"} 4\na{m=\"x\",s=\"NO\"} 5\nab 7\n";
        assert_eq!(sum(text, "a", &[("m", "x")]), 8.0);
        assert_eq!(sum(text, "a", &[("m", "x"), ("s", "OK")]), 3.0);
        assert_eq!(sum(text, "ab", &[]), 7.0);
    }

    #[test]
    fn errors_are_told_apart() {
        let throttled = br#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
        assert_eq!(read(400, throttled).unwrap_err(), Outcome::Throttled);
        assert_eq!(
            read(400, br#"{"__type":"InvalidArn"}"#).unwrap_err(),
            Outcome::Broken
        );
        assert_eq!(read(200, b"no").unwrap_err(), Outcome::Broken);
        assert_eq!(
            read(200, br#"{"status":"SUCCEEDED","x":1}"#)
                .unwrap()
                .status,
            "SUCCEEDED"
        );
    }
}
