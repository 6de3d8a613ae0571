//! Tasks that services do: who does the work of a resource that no handler was registered for, and in which pattern.
//!
//! 1. [`Integrations`] finds the service of a resource, once per state machine: Step Functions itself, an HTTP task.
//! 2. A task is a call. Without a suffix its answer is the result. With `.waitForTaskToken` it is what the task was submitted
//!    with, and whoever has the token answers. With `.sync` it names a job, whose end is awaited.
//! 3. A job whose task is called off, because it timed out or its execution was stopped, is stopped.
//!
//! Mocks, child processes and handlers of a program win over services, per resource. This module knows nothing of the
//! engine: it has a task's parameters and its reply.

mod connections;
mod encode;
mod http;
mod metadata;
mod parameters;
mod states;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::asl::{Integration, Pattern, Resource};
use crate::history::Failure;
use crate::stdx::FixedMap;
use crate::task::{ASYNC_TASKS_MAX, LimitedService, ServiceHandler, ServiceTask, Services, lock};

pub use connections::{ConnectionsError, HttpConnections};
pub(crate) use states::{Answer, Refusal, StateMachines};

/// Work that nobody waits for.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What tasks that no handler was registered for are done with.
#[derive(Clone, Debug, Default)]
pub struct IntegrationOptions {
    /// Connections of HTTP tasks; without, there are no HTTP tasks.
    pub http: Option<Arc<HttpConnections>>,
}

/// Services, and what is kept of them while a process runs.
#[derive(Debug)]
pub(crate) struct Integrations {
    machines: Option<Arc<dyn StateMachines>>,
    http: Option<Arc<http::HttpTasks>>,
    /// By resource, so that all state machines together keep to its limit.
    known: Mutex<FixedMap<String, Arc<LimitedService>>>,
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
            (false, "states", "startExecution") => {
                Some(Action::StartExecution(states::StartExecution {
                    machines: Arc::clone(self.machines.as_ref()?),
                    pattern: *pattern,
                }))
            }
            (true, "sfn", action) => Some(Action::Sfn(states::SdkAction {
                machines: Arc::clone(self.machines.as_ref()?),
                action: action.to_owned(),
            })),
            (false, "http", "invoke") => Some(Action::Http(Arc::clone(self.http.as_ref()?))),
            _ => None,
        }
    }
}

impl Services for Integrations {
    fn find(&self, resource: &Resource) -> Option<Arc<LimitedService>> {
        let (action, pattern) = match resource {
            Resource::Service(integration) => (self.action(integration)?, integration.pattern),
            Resource::Lambda { .. } | Resource::Activity { .. } => return None,
        };
        let key = format!("{}:{}", resource.resource_type(), resource.resource());
        let mut known = lock(&self.known);
        let service = known.entry(key).or_insert_with(|| {
            let handler = Arc::new(Handler {
                action: Arc::new(action),
                pattern,
                closing: Arc::clone(&self.closing),
            });
            Arc::new(LimitedService::new(handler, ASYNC_TASKS_MAX))
        });
        Some(Arc::clone(service))
    }
}

/// What a task asks for.
#[derive(Debug)]
struct Call {
    /// The effective input.
    input: String,
    /// What names the task, and nobody can guess.
    token: String,
}

/// What a resource does.
#[derive(Debug)]
enum Action {
    StartExecution(states::StartExecution),
    Sfn(states::SdkAction),
    Http(Arc<http::HttpTasks>),
}

impl Action {
    /// Calls the service; returns its answer.
    async fn call(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        match self {
            Action::StartExecution(action) => action.call(call).await,
            Action::Sfn(action) => action.call(call).await,
            Action::Http(action) => action.call(call).await,
        }
    }

    /// Waits for the end of the job that was accepted with an answer.
    async fn wait(&self, accepted: &[u8]) -> Result<Vec<u8>, Failure> {
        match self {
            Action::StartExecution(action) => action.wait(accepted).await,
            Action::Sfn(_) | Action::Http(_) => unreachable!("these have no jobs"),
        }
    }

    /// Stops that job.
    fn stop(&self, accepted: &[u8]) -> Option<Work> {
        match self {
            Action::StartExecution(action) => Some(action.stop(accepted)),
            Action::Sfn(_) | Action::Http(_) => None,
        }
    }
}

/// Does the tasks of one resource.
#[derive(Debug)]
struct Handler {
    action: Arc<Action>,
    pattern: Pattern,
    closing: Arc<AtomicBool>,
}

impl ServiceHandler for Handler {
    fn call(&self, task: ServiceTask) -> Work {
        let (action, closing) = (Arc::clone(&self.action), Arc::clone(&self.closing));
        match self.pattern {
            Pattern::RequestResponse => Box::pin(respond(action, task)),
            Pattern::WaitForTaskToken => Box::pin(hand_over(action, task)),
            Pattern::Sync | Pattern::Sync2 => Box::pin(see_through(action, task, closing)),
        }
    }
}

fn call_of(task: &mut ServiceTask) -> Call {
    Call {
        input: std::mem::take(&mut task.request.input),
        token: std::mem::take(&mut task.token),
    }
}

/// A task whose result is the service's answer.
async fn respond(action: Arc<Action>, mut task: ServiceTask) {
    let result = action.call(&call_of(&mut task)).await;
    task.reply.send(result);
}

/// A task that whoever has its token answers.
async fn hand_over(action: Arc<Action>, mut task: ServiceTask) {
    match action.call(&call_of(&mut task)).await {
        Ok(answer) => {
            task.reply.submitted(answer);
            task.reply.leave();
        }
        Err(failure) => task.reply.not_submitted(failure),
    }
}

/// A task whose result is the end of a job.
async fn see_through(action: Arc<Action>, mut task: ServiceTask, closing: Arc<AtomicBool>) {
    let accepted = match task.submitted.take() {
        Some(accepted) => accepted,
        None => match action.call(&call_of(&mut task)).await {
            Ok(answer) => {
                task.reply.submitted(answer.clone());
                answer
            }
            Err(failure) => return task.reply.not_submitted(failure),
        },
    };
    let mut job = Job {
        action,
        accepted,
        closing,
        is_over: false,
    };
    let result = job.action.wait(&job.accepted).await;
    job.is_over = true;
    task.reply.send(result);
}

/// A job that is waited for. If that ends before the job does, the job is stopped.
#[derive(Debug)]
struct Job {
    action: Arc<Action>,
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
            self.action.stop(&self.accepted),
            tokio::runtime::Handle::try_current(),
        ) {
            runtime.spawn(stop);
        }
    }
}
