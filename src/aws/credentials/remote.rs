//! Keys that something else gives: a container's service, an instance's service, a process.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

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

/// How long a process may take: it may ask somebody over the network, and nobody at a keyboard.
const PROCESS_TIME_MAX: Duration = Duration::from_secs(60);

/// Most bytes of what a process complains of that are logged.
const COMPLAINT_BYTES_MAX: u64 = 4 * 1024;

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

/// The keys that the process of a profile prints. Its command may hold secrets, and what it complains of too: neither is a
/// part of an error.
pub(super) async fn of_process(profile: &str, command: &str) -> Result<Keys, String> {
    let failed = |why: &str| format!("the credential_process of the profile '{profile}' {why}");
    let printed = timeout(PROCESS_TIME_MAX, print(profile, command)).await;
    let printed =
        printed.map_err(|_| failed(&format!("did not end within {PROCESS_TIME_MAX:?}")))?;
    let (status, text) = printed.map_err(|error| failed(&format!("failed: {error}")))?;
    if text.len() > ANSWER_BYTES_MAX {
        return Err(failed(&format!(
            "printed more than {ANSWER_BYTES_MAX} bytes"
        )));
    }
    if !status.is_some_and(|status| status.success()) {
        let status = status.map(|status| status.to_string());
        return Err(failed(&format!("failed: {}", status.unwrap_or_default())));
    }
    keys_of(&String::from_utf8_lossy(&text), failed("").trim_end())
}

/// What a command prints, and how it ends; that is not waited for if it prints too much. It is killed if this future is
/// dropped.
async fn print(profile: &str, command: &str) -> io::Result<(Option<ExitStatus>, Vec<u8>)> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut text, mut complaint) = (Vec::new(), Vec::new());
    let complain = async {
        if let Some(mut stderr) = stderr {
            let mut start = (&mut stderr).take(COMPLAINT_BYTES_MAX);
            start.read_to_end(&mut complaint).await?;
            // The rest is nobody's, but a process that cannot write it would wait.
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        io::Result::Ok(())
    };
    let answer = async {
        if let Some(stdout) = stdout {
            let mut stdout = stdout.take(ANSWER_BYTES_MAX as u64 + 1);
            stdout.read_to_end(&mut text).await?;
        }
        if text.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        child.wait().await.map(Some)
    };
    let status = {
        tokio::pin!(complain, answer);
        // Whoever inherits its streams may keep them open after its end.
        tokio::select! {
            biased;
            Ok(()) = &mut complain => answer.await?,
            status = &mut answer => status?,
        }
    };
    if !complaint.is_empty() {
        let complaint = String::from_utf8_lossy(&complaint);
        tracing::warn!(profile, "the credential_process says: {}", complaint.trim());
    }
    Ok((status, text))
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
