//! Tasks that services do: who does the work of a resource that no handler was registered for, and in which pattern.
//!
//! 1. `Integrations` finds the service of a resource, once per state machine: Step Functions itself, an HTTP task.
//! 2. A task is a call. Without a suffix its answer is the result. With `.waitForTaskToken` it is what the task was submitted
//!    with, and whoever has the token answers. With `.sync` it names a job, whose end is awaited.
//! 3. A job whose task is called off, because it timed out or its execution was stopped, is stopped.
//!
//! Mocks, child processes and handlers of a program win over services, per resource. This module knows nothing of the
//! engine: it has a task's parameters and its reply.

mod check;
mod connections;
mod encode;
mod http;
mod jobs;
mod metadata;
mod parameters;
mod services;
mod states;

use std::fmt::Debug;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use services::Reach;

use crate::asl::{Integration, Pattern, Resource};
use crate::aws::{self, Endpoints};
use crate::history::Failure;
use crate::net;
use crate::stdx::FixedMap;
use crate::task::{
    ASYNC_TASKS_MAX, LimitedService, Reply, ServiceHandler, ServiceTask, Services, TaskRegistry,
    lock,
};

pub(crate) use check::unknown_actions;
pub use connections::{ConnectionsError, HttpConnections};
pub(crate) use states::{Answer, Refusal, StateMachines};

/// Work that nobody waits for.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What tasks that no handler was registered for are done with.
///
/// Without any, tasks of services are done by nobody: nothing is called that was not asked for.
#[derive(Clone, Debug, Default)]
pub struct IntegrationOptions {
    http: Option<Arc<HttpConnections>>,
    services: Option<Reach>,
}

impl IntegrationOptions {
    /// Connections of HTTP tasks; without, there are no HTTP tasks.
    #[must_use]
    pub fn http(mut self, connections: HttpConnections) -> IntegrationOptions {
        self.http = Some(Arc::new(connections));
        self
    }

    /// Has tasks that no handler of `tasks` is registered for done by services. Their futures run on the engine's tokio
    /// runtime. `.waitForTaskToken` is not among them: an engine has no API that could take a token back.
    pub fn register(&self, tasks: &mut TaskRegistry) {
        tasks.set_services(Arc::new(Integrations::new(self, None)));
    }

    /// AWS's services where they are given an address: by `endpoints`, which are `URL` or `SERVICE=URL`, or by
    /// `AWS_ENDPOINT_URL` and its like among the environment's variables, which lead to credentials, too. With `calls_aws`
    /// the others are called at AWS.
    ///
    /// # Errors
    ///
    /// If an endpoint is no address, or names a service that there is not.
    pub fn services(
        mut self,
        endpoints: &[String],
        variables: impl IntoIterator<Item = (String, String)>,
        region: Option<&str>,
        calls_aws: bool,
    ) -> Result<IntegrationOptions, EndpointError> {
        let endpoints =
            Endpoints::parse(endpoints).map_err(|error| EndpointError(error.to_string()))?;
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        let authorities = variables.iter().find(|(name, _)| name == "AWS_CA_BUNDLE");
        let net = match authorities.filter(|(_, path)| !path.is_empty()) {
            Some((_, path)) => net::Client::builder().authorities(Path::new(path)),
            None => net::Client::builder(),
        };
        let builder = aws::Client::builder()
            .net(net.limits(CONNECTIONS).build())
            .environment(aws::Environment::new(variables))
            .endpoints(endpoints);
        let builder = match region {
            Some(region) => builder.region(region),
            None => builder,
        };
        self.services = Some(Reach {
            client: builder.build(),
            is_aws_allowed: calls_aws,
        });
        Ok(self)
    }
}

impl IntegrationOptions {
    /// The client of CloudWatch Logs, if that was given an address.
    pub(crate) fn logs(&self) -> Option<aws::Client> {
        let client = &self.services.as_ref()?.client;
        client
            .has_endpoint("cloudwatchlogs")
            .then(|| client.clone())
    }
}

/// Connections to an endpoint: as many as are in use may lie idle, so that a load that comes and goes opens none anew.
const CONNECTIONS: net::Limits = net::Limits {
    connections_max: 256,
    idle_max: 256,
    idle_time_max: Duration::from_secs(20),
    origins_max: 1_024,
    connect_time_max: Duration::from_millis(3_100),
};

/// Why an endpoint is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointError(String);

impl std::fmt::Display for EndpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EndpointError {}

/// Services, and what is kept of them while a process runs.
#[derive(Debug)]
pub(crate) struct Integrations {
    machines: Option<Arc<dyn StateMachines>>,
    http: Option<Arc<http::HttpTasks>>,
    services: Option<Reach>,
    /// By resource, so that all state machines together keep to its limit.
    known: Mutex<FixedMap<String, Weak<LimitedService>>>,
    closing: Arc<AtomicBool>,
}

impl Integrations {
    /// `machines` is the Step Functions API of the process, if it has one.
    pub(crate) fn new(
        options: &IntegrationOptions,
        machines: Option<Arc<dyn StateMachines>>,
    ) -> Integrations {
        let http = options.http.clone();
        Integrations {
            machines,
            http: http.map(|connections| Arc::new(http::HttpTasks::new(connections))),
            services: options.services.clone(),
            known: Mutex::default(),
            closing: Arc::default(),
        }
    }

    /// The process ends: jobs of tasks that are given up now are not stopped, since executions on disk go on later.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn action(&self, integration: &Integration) -> Option<Action> {
        let Integration {
            service,
            action,
            pattern,
            sdk,
        } = integration;
        match (*sdk, &**service, &**action) {
            (false, "states", "startExecution") if self.machines.is_some() => {
                Some(Action::StartExecution(states::StartExecution {
                    machines: Arc::clone(self.machines.as_ref()?),
                    pattern: *pattern,
                }))
            }
            (true, "sfn", action) if self.machines.is_some() => {
                Some(Action::Sfn(states::SdkAction {
                    machines: Arc::clone(self.machines.as_ref()?),
                    action: action.to_owned(),
                }))
            }
            (false, "http", "invoke") => Some(Action::Http(Arc::clone(self.http.as_ref()?))),
            (false, "lambda", "invoke") => self.function(None),
            _ => self.service(integration),
        }
    }

    fn function(&self, arn: Option<&str>) -> Option<Action> {
        let client = self.services.as_ref()?.client("lambda")?;
        services::Function::new(client, arn).map(Action::Function)
    }

    fn service(&self, integration: &Integration) -> Option<Action> {
        let reach = self.services.as_ref()?;
        let service = match integration.sdk {
            true => &*integration.service,
            false => services::of_resource(&integration.service)?.service,
        };
        // What there is not is told by the call.
        let is_unknown = aws::Client::check(service, &integration.action).is_err();
        let client = match is_unknown {
            true => &reach.client,
            false => reach.client(service)?,
        };
        let action = services::ServiceAction::new(client, integration)?;
        match integration.pattern {
            Pattern::RequestResponse | Pattern::WaitForTaskToken => Some(Action::Service(action)),
            Pattern::Sync | Pattern::Sync2 => jobs::Jobs::new(action).map(Action::Job),
        }
    }
}

impl Services for Integrations {
    fn find(&self, resource: &Resource) -> Option<Arc<LimitedService>> {
        if resource.waits_for_token() && self.machines.is_none() {
            // There is no API that could take the token back.
            return None;
        }
        let (action, pattern) = match resource {
            Resource::Service(integration) => (self.action(integration)?, integration.pattern),
            Resource::Lambda { arn, .. } => (self.function(Some(arn))?, Pattern::RequestResponse),
            Resource::Activity { .. } => return None,
        };
        let label = match resource {
            Resource::Service(integration) => integration.service.as_str(),
            Resource::Lambda { arn, .. } | Resource::Activity { arn, .. } => arn,
        };
        let key = format!("{}:{}", resource.resource_type(), resource.resource());
        let mut known = lock(&self.known);
        if let Some(service) = known.get(&key).and_then(Weak::upgrade) {
            return Some(service);
        }
        let handler = Arc::new(Handler {
            action: Arc::new(action),
            pattern,
            label: label.into(),
            closing: Arc::clone(&self.closing),
        });
        let service = Arc::new(LimitedService::new(handler, limit_of(resource)));
        // Those of machines that are gone.
        known.retain(|_, service| service.strong_count() > 0);
        known.insert(key, Arc::downgrade(&service));
        Some(service)
    }
}

/// How many tasks of a resource run at a time. Executions that wait for their children hold no turn that these could need
/// for children of their own: a limit would let them wait for each other for ever.
fn limit_of(resource: &Resource) -> usize {
    match resource {
        Resource::Service(integration) if matches!(&*integration.service, "states" | "sfn") => {
            usize::MAX
        }
        Resource::Service(_) | Resource::Lambda { .. } | Resource::Activity { .. } => {
            ASYNC_TASKS_MAX
        }
    }
}

/// What a task asks for.
#[derive(Clone, Debug)]
struct Call {
    /// The effective input.
    input: String,
    /// What names the task, and nobody can guess.
    token: String,
    execution_arn: String,
    /// In whose name services are called.
    role_arn: Option<String>,
    /// The service, or the function's ARN, as failures name it.
    label: Arc<str>,
}

/// What came of waiting for a job.
#[derive(Debug)]
enum Ended {
    /// It has ended, and this is the task's result.
    Told(Result<Vec<u8>, Failure>),
    /// Nobody can say how it stands; it may go on.
    Unknown(Failure),
}

/// What a resource does.
#[derive(Debug)]
enum Action {
    StartExecution(states::StartExecution),
    Sfn(states::SdkAction),
    Http(Arc<http::HttpTasks>),
    Function(services::Function),
    Service(services::ServiceAction),
    Job(jobs::Jobs),
}

impl Action {
    /// Calls the service; returns its answer.
    async fn call(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        match self {
            Action::StartExecution(action) => action.call(call).await,
            Action::Sfn(action) => action.call(call).await,
            Action::Http(action) => action.call(call).await,
            Action::Function(action) => action.call(call).await,
            Action::Service(action) => action.call(call).await,
            Action::Job(action) => action.call(call).await,
        }
    }

    /// Waits for the end of the job that was accepted with an answer.
    async fn wait(&self, call: &Call, accepted: &[u8]) -> Ended {
        match self {
            Action::StartExecution(action) => action.wait(accepted).await,
            Action::Job(action) => action.wait(call, accepted).await,
            Action::Sfn(_) | Action::Http(_) | Action::Function(_) | Action::Service(_) => {
                unreachable!("these have no jobs")
            }
        }
    }

    /// Stops that job.
    fn stop(&self, call: &Call, accepted: &[u8]) -> Option<Work> {
        match self {
            Action::StartExecution(action) => Some(action.stop(accepted)),
            Action::Job(action) => action.stop(call, accepted),
            Action::Sfn(_) | Action::Http(_) | Action::Function(_) | Action::Service(_) => None,
        }
    }
}

/// Does the tasks of one resource.
#[derive(Debug)]
struct Handler {
    action: Arc<Action>,
    pattern: Pattern,
    label: Arc<str>,
    closing: Arc<AtomicBool>,
}

impl ServiceHandler for Handler {
    fn call(&self, task: ServiceTask) -> Work {
        let action = Arc::clone(&self.action);
        let call = Call {
            input: task.request.input,
            token: task.token,
            execution_arn: task.execution_arn,
            role_arn: task.role_arn,
            label: Arc::clone(&self.label),
        };
        let (reply, submitted) = (task.reply, task.submitted);
        match self.pattern {
            Pattern::RequestResponse => Box::pin(respond(action, call, reply)),
            Pattern::WaitForTaskToken => Box::pin(hand_over(action, call, reply)),
            Pattern::Sync | Pattern::Sync2 => {
                let closing = Arc::clone(&self.closing);
                Box::pin(see_through(action, call, submitted, reply, closing))
            }
        }
    }
}

/// A task whose result is the service's answer.
async fn respond(action: Arc<Action>, call: Call, reply: Reply) {
    reply.send(action.call(&call).await);
}

/// A task that whoever has its token answers.
async fn hand_over(action: Arc<Action>, call: Call, reply: Reply) {
    match action.call(&call).await {
        Ok(answer) => {
            reply.submitted(answer);
            reply.leave();
        }
        Err(failure) => reply.not_submitted(failure),
    }
}

/// A task whose result is the end of a job.
async fn see_through(
    action: Arc<Action>,
    call: Call,
    submitted: Option<Vec<u8>>,
    reply: Reply,
    closing: Arc<AtomicBool>,
) {
    let accepted = match submitted {
        Some(accepted) => accepted,
        None => match action.call(&call).await {
            Ok(answer) => {
                reply.submitted(answer.clone());
                answer
            }
            Err(failure) => return reply.not_submitted(failure),
        },
    };
    let mut job = Job {
        action,
        call,
        accepted,
        closing,
        is_over: false,
    };
    let ended = job.action.wait(&job.call, &job.accepted).await;
    job.is_over = matches!(ended, Ended::Told(_));
    reply.send(match ended {
        Ended::Told(result) => result,
        Ended::Unknown(failure) => Err(failure),
    });
}

/// A job that is waited for. If that ends before the job does, the job is stopped.
#[derive(Debug)]
struct Job {
    action: Arc<Action>,
    call: Call,
    accepted: Vec<u8>,
    closing: Arc<AtomicBool>,
    is_over: bool,
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.is_over || self.closing.load(Ordering::Acquire) {
            return;
        }
        // A future is dropped by the runtime that it ran on; if that has ended, nobody could do it.
        if let (Some(stop), Ok(runtime)) = (
            self.action.stop(&self.call, &self.accepted),
            tokio::runtime::Handle::try_current(),
        ) {
            runtime.spawn(stop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_wait_for_no_turn() {
        for (resource, limit) in [
            ("arn:aws:states:::states:startExecution.sync:2", usize::MAX),
            (
                "arn:aws:states:::aws-sdk:sfn:startSyncExecution",
                usize::MAX,
            ),
            ("arn:aws:states:::glue:startJobRun.sync", ASYNC_TASKS_MAX),
        ] {
            let resource = Resource::parse(resource).unwrap();
            assert_eq!(limit_of(&resource), limit, "{resource:?}");
        }
    }
}
