//! Keys that something else gives: a container's service, an instance's service, a process.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::Keys;
use crate::aws::profile::Environment;
use crate::net::{self, ErrorKind};

/// Most bytes that such a service answers.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of a token.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// How long a container's service may take.
const CONTAINER_TIME_MAX: Duration = Duration::from_secs(5);

/// How long an instance's service may take: on most machines there is none, and nobody should wait for it.
const INSTANCE_TIME_MAX: Duration = Duration::from_secs(1);

/// Where a container's service is, if only a path is given.
const CONTAINER_HOST: &str = "http://169.254.170.2";

/// Where an instance's service is.
const INSTANCE_HOST: &str = "http://169.254.169.254";

/// How such services are reached.
#[derive(Debug)]
pub(in crate::aws) struct Remote {
    pub(in crate::aws) net: net::Client,
}

impl Remote {
    async fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        time_max: Duration,
    ) -> Result<(u16, String), net::Error> {
        let mut request = hyper::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // What is no address or no header is refused as such.
        let request = request.body(Bytes::new()).unwrap_or_default();
        let answer = self.net.send(request, time_max, ANSWER_BYTES_MAX).await?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        Ok((answer.status().as_u16(), text))
    }
}

/// A token in a file.
pub(super) fn read_token(path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("failed to read the token in {path}: {error}");
    if std::fs::metadata(path).map_err(failed)?.len() > TOKEN_BYTES_MAX {
        return Err(format!(
            "the token in {path} exceeds {TOKEN_BYTES_MAX} bytes"
        ));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok(text.trim().to_owned())
}

fn keys_of(text: &str, who: &str) -> Result<Keys, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("{who} answered with what is not JSON: {error}"))?;
    Keys::of_json(&value).ok_or_else(|| format!("{who} answered without an access key"))
}

/// The keys of a container, if it has a service for them.
pub(super) async fn of_container(
    environment: &Environment,
    remote: &Remote,
) -> Result<Option<Keys>, String> {
    let url = match environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        Some(path) => format!("{CONTAINER_HOST}{path}"),
        None => match environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            Some(url) if is_container_service(url) => url.to_owned(),
            Some(url) => {
                return Err(format!(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI is {url}; without https it has to be this machine or the \
                     container's service"
                ));
            }
            None => return Ok(None),
        },
    };
    let token = match environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(read_token(file)?),
        None => environment
            .get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .map(str::to_owned),
    };
    let headers = token.as_deref().map(|token| ("authorization", token));
    let headers: Vec<(&str, &str)> = headers.into_iter().collect();
    let answer = remote.ask("GET", &url, &headers, CONTAINER_TIME_MAX).await;
    match answer {
        Ok((200, text)) => keys_of(&text, &url).map(Some),
        Ok((status, _)) => Err(format!("{url} answered with status {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether keys may be fetched from there: what is sent without TLS stays on this machine.
fn is_container_service(url: &str) -> bool {
    let Ok(uri) = url.parse::<hyper::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let services = [
        "localhost",
        "169.254.170.2",
        "169.254.170.23",
        "[fd00:ec2::23]",
        "[::1]",
    ];
    uri.scheme_str() == Some("https") || services.contains(&host) || host.starts_with("127.")
}

/// The keys of the instance's role, if this is an instance and it has one.
pub(super) async fn of_instance(
    environment: &Environment,
    remote: &Remote,
) -> Result<Option<Keys>, String> {
    if environment.is_true("AWS_EC2_METADATA_DISABLED") {
        return Ok(None);
    }
    let host = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let host = host.unwrap_or(INSTANCE_HOST).trim_end_matches('/');
    let lifetime = [("x-aws-ec2-metadata-token-ttl-seconds", "21600")];
    let url = format!("{host}/latest/api/token");
    let token = match remote.ask("PUT", &url, &lifetime, INSTANCE_TIME_MAX).await {
        Ok((200, token)) => token,
        Ok(_) => return Ok(None),
        Err(error) => {
            return match error.kind() {
                // Most machines are no instance.
                ErrorKind::TimedOut
                | ErrorKind::Unreachable
                | ErrorKind::Refused
                | ErrorKind::Reset => Ok(None),
                _ => Err(error.to_string()),
            };
        }
    };
    let headers = [("x-aws-ec2-metadata-token", token.trim())];
    let url = format!("{host}/latest/meta-data/iam/security-credentials/");
    let name = match remote.ask("GET", &url, &headers, INSTANCE_TIME_MAX).await {
        Ok((200, text)) => text.lines().next().unwrap_or_default().trim().to_owned(),
        Ok((404, _)) => return Ok(None),
        Ok((status, _)) => return Err(format!("{url} answered with status {status}")),
        Err(error) => return Err(error.to_string()),
    };
    let url = format!("{url}{name}");
    match remote.ask("GET", &url, &headers, INSTANCE_TIME_MAX).await {
        Ok((200, text)) => keys_of(&text, &url).map(Some),
        Ok((status, _)) => Err(format!("{url} answered with status {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The keys that a process prints.
pub(super) async fn of_process(command: &str) -> Result<Keys, String> {
    let owned = command.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(owned)
            .output()
    });
    let failed = |why: String| format!("the credential_process `{command}` failed: {why}");
    let output = output.await.map_err(|error| failed(error.to_string()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{}: {}", output.status, said.trim())));
    }
    keys_of(
        &String::from_utf8_lossy(&output.stdout),
        "the credential_process",
    )
}

#[cfg(test)]
mod tests {
    use super::is_container_service;

    #[test]
    fn where_keys_may_be_fetched() {
        for (url, is_fine) in [
            ("https://example.com/x", true),
            ("http://localhost:1/x", true),
            ("http://127.0.0.1/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://example.com/x", false),
            ("http://169.254.169.254/x", false),
            ("x", false),
        ] {
            assert_eq!(is_container_service(url), is_fine, "{url}");
        }
    }
}
