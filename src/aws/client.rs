//! The client: from a name and parameters to a result.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::Value;

use super::credentials::{Chain, Found, Keys, Remote, Role, Source, Sts};
use super::endpoint::{self, Endpoints, Target};
use super::error::{DATA_LIMIT, Error, ErrorKind};
use super::profile::Environment;
use super::protocol::{self, Parts};
use super::random;
use super::retry::{self, ATTEMPTS_MAX, Bucket};
use super::services::{Kind, Names, Operation, Protocol, Service, Services, Signing};
use super::sign::{self, Scope};
use crate::net;
use crate::task::lock;

/// Most bytes of a result: what a state may have.
pub const RESULT_BYTES_MAX: usize = 256 * 1024;

/// Most bytes of an answer. It may be longer than its result: XML says everything twice.
const ANSWER_BYTES_MAX: usize = 4 * RESULT_BYTES_MAX;

/// How long an attempt may take, unless the operation is known to take longer.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// The region that is called if nobody says which.
const REGION: &str = "us-east-1";

/// Most endpoints whose retries are counted each on its own.
const BUCKETS_MAX: usize = 1_000;

/// Says how long to wait instead, where an attempt is to follow after so long.
type Wait = Arc<dyn Fn(Duration) -> Duration + Send + Sync>;

/// Says what time of day it is.
type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Makes a [`Client`].
#[derive(Default)]
pub struct ClientBuilder {
    environment: Environment,
    endpoints: Endpoints,
    region: Option<String>,
    keys: Option<Keys>,
    net: Option<net::Client>,
    now: Option<Now>,
    wait: Option<Wait>,
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("endpoints", &self.endpoints)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// The variables that say where keys and profiles are; without them there are none.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> ClientBuilder {
        self.environment = environment;
        self
    }

    /// Addresses that are called instead of AWS's.
    #[must_use]
    pub fn endpoints(mut self, endpoints: Endpoints) -> ClientBuilder {
        self.endpoints = endpoints;
        self
    }

    /// The region to call, unless a call says another one; otherwise the environment's.
    #[must_use]
    pub fn region(mut self, region: &str) -> ClientBuilder {
        self.region = Some(region.to_owned());
        self
    }

    /// Keys, instead of those that the environment leads to.
    #[must_use]
    pub fn keys(mut self, keys: Keys) -> ClientBuilder {
        self.keys = Some(keys);
        self
    }

    /// The client that requests are sent with.
    #[must_use]
    pub fn net(mut self, net: net::Client) -> ClientBuilder {
        self.net = Some(net);
        self
    }

    /// What time it is, for signatures and the ends of keys; otherwise the system says.
    #[must_use]
    pub fn now(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> ClientBuilder {
        self.now = Some(Arc::new(now));
        self
    }

    /// How long to wait before the next attempt, given how long it should be: for tests, which do not wait.
    #[must_use]
    pub fn wait(
        mut self,
        wait: impl Fn(Duration) -> Duration + Send + Sync + 'static,
    ) -> ClientBuilder {
        self.wait = Some(Arc::new(wait));
        self
    }

    /// The client. Nothing is read or called before its first call.
    #[must_use]
    pub fn build(self) -> Client {
        let net = self.net.unwrap_or_else(|| {
            let builder = net::Client::builder();
            match self.environment.get("AWS_CA_BUNDLE") {
                Some(path) => builder.authorities(path.as_ref()).build(),
                None => builder.build(),
            }
        });
        let region = self
            .region
            .or_else(|| self.environment.region().map(str::to_owned));
        Client(Arc::new(Shared {
            region: region.unwrap_or_else(|| REGION.to_owned()),
            environment: self.environment,
            endpoints: self.endpoints,
            keys: self.keys,
            remote: Remote { net: net.clone() },
            net,
            now: self.now.unwrap_or_else(|| Arc::new(system_time)),
            wait: self.wait.unwrap_or_else(|| Arc::new(|wait| wait)),
            chain: Chain::default(),
            buckets: Mutex::default(),
            has_told: AtomicBool::new(false),
        }))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "signatures hold the time of day; tests give another clock"
)]
fn system_time() -> SystemTime {
    SystemTime::now()
}

/// How a call is made.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// The region to call, instead of the client's.
    pub region: Option<String>,
    /// The role to call in, instead of in the client's own name.
    pub role: Option<Role>,
    /// In which spelling the result's members stand.
    pub names: Names,
    /// How long an attempt may take; otherwise it depends on the operation.
    pub time_max: Option<Duration>,
    /// Most bytes of the answer and of the result; otherwise what a state may have.
    pub bytes_max: Option<usize>,
}

/// What a call has brought.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The result.
    pub output: Value,
    /// The status of HTTP.
    pub status: u16,
    /// What the service calls the request.
    pub request_id: Option<String>,
    /// The answer's headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// A client of all services. Its clones share connections and keys. A call ends when its future is dropped.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

struct Shared {
    region: String,
    environment: Environment,
    endpoints: Endpoints,
    keys: Option<Keys>,
    net: net::Client,
    remote: Remote,
    now: Now,
    wait: Wait,
    chain: Chain,
    buckets: Mutex<BTreeMap<String, Arc<Bucket>>>,
    /// Somebody knows that placeholders are used for keys.
    has_told: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("region", &self.region)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// A call that is ready to be sent.
struct Prepared<'a> {
    service: &'a Service,
    operation: &'a Operation,
    parts: Parts,
    target: Target,
    keys: Option<Keys>,
    options: &'a CallOptions,
}

impl Client {
    /// A builder of a client that knows no environment.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The names of all services, and the version of botocore whose models describe them.
    #[must_use]
    pub fn services() -> (Vec<&'static str>, &'static str) {
        let services = Services::get();
        (services.names().collect(), services.botocore())
    }

    /// Whether there are such a service and such an action, as `arn:aws:states:::aws-sdk:SERVICE:ACTION` names them.
    ///
    /// # Errors
    ///
    /// That there is not, and what may be meant.
    pub fn check(service: &str, action: &str) -> Result<(), Error> {
        find(service, action).map(|_| ())
    }

    /// Whether an action takes these parameters: nothing is sent.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn check_parameters(service: &str, action: &str, parameters: &Value) -> Result<(), Error> {
        let service = find(service, action)?;
        let operation = &service.operations[action];
        let request = protocol::request(&service, operation, parameters, &random::token);
        let wrong = |error: protocol::ParameterError| {
            Error::new(
                ErrorKind::Parameters,
                "States.Runtime",
                &service.name,
                error.0,
            )
        };
        request.map(|_| ()).map_err(wrong)
    }

    /// The region that is called unless a call says another one.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// Whether a service is called somewhere else than at AWS.
    #[must_use]
    pub fn has_endpoint(&self, service: &str) -> bool {
        let Some(service) = Services::get().find(service) else {
            return false;
        };
        let target = endpoint::target(&service, REGION, &self.0.endpoints, &self.0.environment);
        target.is_ok_and(|target| target.is_given)
    }

    /// Calls an action of a service, both named as in `arn:aws:states:::aws-sdk:dynamodb:getItem`, and gives its result.
    ///
    /// # Errors
    ///
    /// If there is no result; the error has the name that a state's `Catch` knows.
    pub async fn call(
        &self,
        service: &str,
        action: &str,
        parameters: &Value,
        options: &CallOptions,
    ) -> Result<Value, Error> {
        let answer = self
            .call_whole(service, action, parameters, options)
            .await?;
        Ok(answer.output)
    }

    /// As [`Client::call`]; gives what came around the result as well.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn call_whole(
        &self,
        service: &str,
        action: &str,
        parameters: &Value,
        options: &CallOptions,
    ) -> Result<Answer, Error> {
        let service = find(service, action)?;
        let operation = &service.operations[action];
        let parts = protocol::request(&service, operation, parameters, &random::token).map_err(
            |error| {
                Error::new(
                    ErrorKind::Parameters,
                    "States.Runtime",
                    &service.name,
                    error.0,
                )
            },
        )?;
        let region = options.region.as_deref().unwrap_or(&self.0.region);
        let target = self.0.target(&service, region)?;
        let keys = match operation.signing {
            Signing::Not => None,
            Signing::Whole | Signing::WithoutBody => {
                let wrong = |why| Error::of_client(ErrorKind::Credentials, &service.name, why);
                Some(
                    self.0
                        .keys(options.role.as_ref(), target.is_given)
                        .await
                        .map_err(wrong)?,
                )
            }
        };
        let prepared = Prepared {
            service: &service,
            operation,
            parts,
            target,
            keys,
            options,
        };
        self.0.send(&prepared).await
    }
}

fn find(name: &str, action: &str) -> Result<Arc<Service>, Error> {
    let unknown = |service: &str, message: String| {
        Error::new(ErrorKind::Unknown, "States.Runtime", service, message)
    };
    let Some(service) = Services::get().find(name) else {
        return Err(unknown(
            name,
            format!("there is no service '{name}' of AWS's SDK"),
        ));
    };
    if service.operations.contains_key(action) {
        return Ok(service);
    }
    let mut actions = service.operations.keys();
    let hint = match actions.find(|known| known.eq_ignore_ascii_case(action)) {
        Some(known) => format!("; it is spelled '{known}'"),
        None => String::new(),
    };
    let message = format!("the service '{name}' has no action '{action}'{hint}");
    Err(unknown(&service.name, message))
}

impl Shared {
    fn target(&self, service: &Service, region: &str) -> Result<Target, Error> {
        endpoint::target(service, region, &self.endpoints, &self.environment)
            .map_err(|why| Error::of_client(ErrorKind::Parameters, &service.name, why))
    }

    /// The keys to sign with.
    async fn keys(&self, role: Option<&Role>, is_given: bool) -> Result<Keys, String> {
        let own = match &self.keys {
            Some(keys) => keys.clone(),
            None => self.own_keys(is_given).await?,
        };
        let Some(role) = role else {
            return Ok(own);
        };
        self.chain.of_role(role, &own, self, &*self.now).await
    }

    async fn own_keys(&self, is_given: bool) -> Result<Keys, String> {
        let source = Source {
            environment: &self.environment,
            remote: &self.remote,
            sts: self,
            // Who calls something else than AWS has no use for an instance's keys, nor time to wait for them.
            asks_instance: !is_given,
        };
        match self.chain.own(&source, &*self.now).await? {
            Found::Keys(keys) => Ok(keys),
            Found::Nothing if is_given => {
                if !self.has_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "no credentials of AWS were found: calls of the endpoints that are given are signed with the \
                         placeholder test/test"
                    );
                }
                Ok(Keys::placeholder())
            }
            Found::Nothing => Err(
                "no credentials of AWS were found: neither in the environment (AWS_ACCESS_KEY_ID) nor in a profile, and \
                 no web identity, container or instance gives any"
                    .to_owned(),
            ),
        }
    }

    fn bucket(&self, base: &str) -> Arc<Bucket> {
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= BUCKETS_MAX {
            buckets.clear();
        }
        Arc::clone(buckets.entry(base.to_owned()).or_default())
    }

    /// Sends a call, as often as it may be tried.
    async fn send(&self, call: &Prepared<'_>) -> Result<Answer, Error> {
        let bucket = self.bucket(&call.target.base);
        let mut spent = None;
        let mut attempt = 1;
        loop {
            let (error, asked_for) = match self.attempt(call).await {
                Ok(answer) => {
                    bucket.succeeded(spent);
                    return Ok(answer);
                }
                Err((error, asked_for)) => (error.after_attempts(attempt), asked_for),
            };
            // What may have been done already is not done a second time.
            let is_safe =
                !error.may_be_done() || retry::is_repeatable(call.service, call.operation);
            if !error.is_retryable() || !is_safe || attempt >= ATTEMPTS_MAX {
                return Err(error);
            }
            let has_timed_out = error.kind() == ErrorKind::Transport(net::ErrorKind::TimedOut);
            spent = bucket.take(has_timed_out);
            if spent.is_none() {
                return Err(error);
            }
            let wait = asked_for.unwrap_or_else(|| retry::backoff(attempt, random::share()));
            tracing::debug!(
                service = &*call.service.name,
                operation = &*call.operation.name,
                attempt,
                wait_ms = wait.as_millis() as u64,
                "tried again: {error}"
            );
            tokio::time::sleep((self.wait)(wait)).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, call: &Prepared<'_>) -> Result<Answer, (Error, Option<Duration>)> {
        let name = &*call.service.name;
        let request = self
            .request(call)
            .map_err(|why| (Error::of_client(ErrorKind::Parameters, name, why), None))?;
        let time_max = call
            .options
            .time_max
            .unwrap_or_else(|| time_max(name, &call.operation.name));
        let bytes_max = call.options.bytes_max.unwrap_or(ANSWER_BYTES_MAX);
        let answer = self.net.send(request, time_max, bytes_max).await;
        let answer = answer.map_err(|error| (Error::of_transport(name, &error), None))?;
        let asked_for = retry::asked_for(answer.headers());
        read(call, &answer).map_err(|error| (error, asked_for))
    }

    fn request(&self, call: &Prepared<'_>) -> Result<net::Request, String> {
        let parts = &call.parts;
        let url = call.target.url(parts.host_prefix.as_deref(), &parts.path);
        let uri: hyper::Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut headers = parts.headers.clone();
        headers.push(("host".to_owned(), host));
        if let Some(keys) = &call.keys {
            let scope = Scope {
                region: &call.target.region,
                name: &call.target.signing_name,
                time: (self.now)(),
                signing: call.operation.signing,
            };
            let signed = sign::signature(scope, keys, &parts.method, &url, &headers, &parts.body);
            headers.extend(signed.map_err(|why| format!("failed to sign the request: {why}"))?);
        }
        let agent = concat!("quickstep/", env!("CARGO_PKG_VERSION"));
        headers.push(("user-agent".to_owned(), agent.to_owned()));
        let mut request = hyper::Request::builder()
            .method(parts.method.as_str())
            .uri(uri);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let body = Bytes::copy_from_slice(&parts.body);
        request.body(body).map_err(|error| error.to_string())
    }
}

/// What an answer means.
fn read(call: &Prepared<'_>, answer: &net::Response) -> Result<Answer, Error> {
    let name = &*call.service.name;
    let status = answer.status().as_u16();
    let parts = protocol::Answer {
        status,
        headers: answer.headers(),
        body: answer.body(),
    };
    // Some operations of S3 begin to answer before they know their end, and say so in the body.
    let is_late = status == 200 && may_be_late(call) && is_late_error(answer.body());
    if !answer.status().is_success() || is_late {
        let problem = protocol::failure(call.service, parts);
        return Err(of_problem(call.service, status, &problem));
    }
    let output = protocol::output(call.service, call.operation, parts, call.options.names);
    let output = output.map_err(|why| {
        let message = format!("the answer of {name} cannot be read: {why}");
        Error::of_client(ErrorKind::Garbage, name, message).with_answer(status, parts.request_id())
    })?;
    let bytes_max = call.options.bytes_max.unwrap_or(RESULT_BYTES_MAX);
    // The result of an answer is seldom longer than the answer; only if it may be too large it is measured.
    let bytes = match answer.body().len() * 2 > bytes_max {
        true => output.to_string().len(),
        false => 0,
    };
    if bytes > bytes_max {
        let message = format!("the result has {bytes} bytes, more than {bytes_max}");
        return Err(Error::new(ErrorKind::TooLarge, DATA_LIMIT, name, message));
    }
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    Ok(Answer {
        output,
        status,
        request_id: parts.request_id().map(str::to_owned),
        headers: answer.headers().iter().map(header).collect(),
    })
}

/// Whether a body is XML that the service has made: not what somebody has stored, and gets back.
fn may_be_late(call: &Prepared<'_>) -> bool {
    let output = call.operation.output;
    let output = output.and_then(|output| call.service.structure(output));
    let payload = output.and_then(|output| {
        let mut members = output.members.iter();
        members.find(|member| Some(member.api_name()) == output.payload.as_deref())
    });
    call.service.protocol == Protocol::RestXml
        && payload.is_none_or(|payload| matches!(payload.kind(), Kind::Shape(_)))
}

fn is_late_error(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    let body = match body.strip_prefix(b"<?xml") {
        Some(rest) => {
            let end = rest
                .iter()
                .position(|byte| *byte == b'>')
                .map_or(0, |at| at + 1);
            rest[end..].trim_ascii_start()
        }
        None => body,
    };
    body.starts_with(b"<Error>")
}

fn of_problem(service: &Service, status: u16, problem: &protocol::Problem) -> Error {
    let class = match service.errors.get(&*problem.code) {
        Some(class) => class.to_string(),
        // What the model does not know has the name that all errors of the service share.
        None => format!("{}Exception", service.name),
    };
    let name = format!("{}.{class}", service.name);
    let message = match problem.message.as_str() {
        "" if problem.code.is_empty() => format!("the service answered with status {status}"),
        "" => problem.code.clone(),
        message => message.to_owned(),
    };
    Error::new(ErrorKind::Service, &name, &service.name, message)
        .with_answer(status, problem.request_id.as_deref())
        .with_extended_id(problem.extended_request_id.as_deref())
        .with_code(&problem.code)
        .retryable(
            retry::is_retryable(status, &problem.code),
            retry::may_be_done(status, &problem.code),
        )
}

/// How long an operation may take: some wait for the work that they start.
fn time_max(service: &str, operation: &str) -> Duration {
    match (service, operation) {
        ("Lambda", "Invoke") => Duration::from_secs(15 * 60 + 5),
        ("Sfn", "StartSyncExecution") => Duration::from_secs(5 * 60 + 5),
        ("Sfn", "GetActivityTask") => Duration::from_secs(65),
        _ => CALL_TIME_MAX,
    }
}

impl Sts for Shared {
    async fn call(
        &self,
        action: &'static str,
        parameters: Value,
        keys: Option<&Keys>,
    ) -> Result<Value, String> {
        let service = find("sts", action).map_err(|error| error.to_string())?;
        let operation = &service.operations[action];
        let parts = protocol::request(&service, operation, &parameters, &random::token);
        let prepared = Prepared {
            service: &service,
            operation,
            parts: parts.map_err(|error| error.0)?,
            target: self
                .target(&service, &self.region)
                .map_err(|error| error.to_string())?,
            keys: keys.cloned(),
            options: &CallOptions::default(),
        };
        let answer = self
            .send(&prepared)
            .await
            .map_err(|error| error.to_string())?;
        Ok(answer.output)
    }
}
