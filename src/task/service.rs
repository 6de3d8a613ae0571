//! Tasks that services do: a future that answers in two steps, first what the service has said to the call, then the result.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use super::limit::Limiter;
use super::{OwnedTaskRequest, Reply, TaskRequest};
use crate::asl::Resource;

/// Knows who does the tasks that no handler was registered for.
pub(crate) trait Services: Debug + Send + Sync {
    /// Who does the tasks of a resource; nobody, if the service is out of reach.
    fn find(&self, resource: &Resource) -> Option<Arc<LimitedService>>;
}

/// Does tasks of one resource.
pub(crate) trait ServiceHandler: Debug + Send + Sync {
    /// Does a task, and answers by its reply.
    fn call(&self, task: ServiceTask) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A handler, and how many of its futures run at a time.
#[derive(Debug)]
pub(crate) struct LimitedService {
    pub(super) handler: Arc<dyn ServiceHandler>,
    pub(super) limiter: Arc<Limiter>,
}

impl LimitedService {
    /// A handler of which so many futures run at a time, one at least.
    pub(crate) fn new(handler: Arc<dyn ServiceHandler>, running_max: usize) -> LimitedService {
        LimitedService {
            handler,
            limiter: Arc::new(Limiter::new(running_max)),
        }
    }
}

/// A task as a service's handler sees it.
#[derive(Debug)]
pub(crate) struct ServiceTask {
    pub(crate) request: OwnedTaskRequest,
    /// What names the task.
    pub(crate) token: String,
    pub(crate) execution_arn: String,
    /// `RoleArn` of the state's `Credentials`.
    pub(crate) role_arn: Option<String>,
    /// What the service said when it accepted the task, if another process had it do so: then only the end is to be awaited.
    pub(crate) submitted: Option<Vec<u8>>,
    pub(crate) reply: Reply,
}

impl ServiceTask {
    pub(crate) fn new(
        request: &TaskRequest<'_>,
        submitted: Option<Vec<u8>>,
        reply: Reply,
    ) -> ServiceTask {
        ServiceTask {
            request: request.to_owned(),
            token: request.token().as_str().to_owned(),
            execution_arn: request.execution_arn(),
            role_arn: request.role_arn(),
            submitted,
            reply,
        }
    }
}
