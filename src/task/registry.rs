//! [`TaskRegistry`]: which handler answers for which resource, and what that comes to for one program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use super::limit::{ASYNC_TASKS_MAX, Limiter};
use super::{AsyncTaskHandler, Failure, OwnedTaskRequest, Pending, Reply, TaskHandler, panicked};
use crate::asl::{Pattern, Resource};
use crate::interp::Completion;
use crate::program::{Program, TaskId, TaskInfo};
use crate::value::Prepared;

/// A fixed answer.
pub(crate) type Fixed = Result<Prepared, Failure>;

/// Handlers by resource.
///
/// A pattern is a resource in which `*` stands for any text, such as `arn:aws:lambda:*:function:quote`. If several
/// patterns match a resource, one without `*` beats one with it, a longer one beats a shorter one, and of two of the
/// same length the one that was registered later wins.
///
/// ```
/// use quickstep::task::{TaskRegistry, TaskRequest};
///
/// let mut tasks = TaskRegistry::new();
/// tasks.register("arn:aws:lambda:*", |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
///     response.extend_from_slice(b"{}");
///     Ok(())
/// });
/// tasks.register_async("arn:aws:states:::sqs:sendMessage", async |_request| Ok(b"{}".to_vec()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TaskRegistry {
    entries: Vec<Entry>,
    test_case: Option<Arc<super::mock::TestCase>>,
    /// Has the tasks that a token answers and nobody else.
    #[cfg(feature = "server")]
    clients: Option<Arc<dyn TaskHandler>>,
    /// Has the tasks that nobody else answers for.
    #[cfg(feature = "server")]
    services: Option<Arc<dyn super::Services>>,
}

#[derive(Clone, Debug)]
struct Entry {
    pattern: Box<str>,
    handler: Handler,
}

/// Who answers.
#[derive(Clone, Debug)]
pub(crate) enum Handler {
    /// The same every time.
    Fixed(Arc<Fixed>),
    /// By the number of the call of its state in the execution.
    Answers(Arc<Answers>),
    /// A function.
    Sync(Arc<dyn TaskHandler>),
    /// A future.
    Async(Arc<Limited>),
    /// A function that hands the task on; whoever does it answers by its token.
    Callback(Arc<dyn TaskHandler>),
    /// A child process.
    Exec(Arc<super::mock::Exec>),
    /// A service, by a future that answers in steps.
    #[cfg(feature = "server")]
    Service(Arc<super::LimitedService>),
}

/// An asynchronous handler, and how many of its futures run at a time.
#[derive(Debug)]
pub(crate) struct Limited {
    handler: Arc<dyn AsyncTaskHandler>,
    limiter: Arc<Limiter>,
}

/// The answers of one state of a test case.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Name in `MockedResponses`.
    pub(crate) name: Box<str>,
    /// First and last call that it answers, and the answer; in order.
    pub(crate) calls: Vec<(u32, u32, Fixed)>,
}

impl Answers {
    /// The answer for a call, counted from 0.
    pub(crate) fn get(&self, call: u32) -> Option<&Fixed> {
        let found = self
            .calls
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&call));
        found.map(|(_, _, answer)| answer)
    }
}

impl TaskRegistry {
    /// A registry without handlers.
    #[must_use]
    pub fn new() -> TaskRegistry {
        TaskRegistry::default()
    }

    /// Registers a function for the resources that `pattern` matches.
    pub fn register(&mut self, pattern: &str, handler: impl TaskHandler) -> &mut TaskRegistry {
        self.insert(pattern, Handler::Sync(Arc::new(handler)))
    }

    /// Registers an asynchronous function for the resources that `pattern` matches. At most [`ASYNC_TASKS_MAX`] of its
    /// futures run at a time.
    pub fn register_async(
        &mut self,
        pattern: &str,
        handler: impl AsyncTaskHandler,
    ) -> &mut TaskRegistry {
        self.register_async_limited(pattern, ASYNC_TASKS_MAX, handler)
    }

    /// Registers an asynchronous function of which `running_max` futures run at a time, one at least. Further tasks wait
    /// for their turn, in order; the time counts for their timeouts.
    pub fn register_async_limited(
        &mut self,
        pattern: &str,
        running_max: usize,
        handler: impl AsyncTaskHandler,
    ) -> &mut TaskRegistry {
        let limited = Limited {
            handler: Arc::new(handler),
            limiter: Arc::new(Limiter::new(running_max)),
        };
        self.insert(pattern, Handler::Async(Arc::new(limited)))
    }

    /// Registers a function that hands tasks on to somebody else, who answers by [`TaskRequest::token`]: with
    /// `Engine::complete`, at any time. For `.waitForTaskToken` and `.sync` the function's response is what the service has
    /// answered to the request (`TaskSubmitted`); for others it is not used. If the function fails, so does the task.
    ///
    /// [`TaskRequest::token`]: super::TaskRequest::token
    pub fn register_callback(
        &mut self,
        pattern: &str,
        handler: impl TaskHandler,
    ) -> &mut TaskRegistry {
        self.insert(pattern, Handler::Callback(Arc::new(handler)))
    }

    pub(crate) fn insert(&mut self, pattern: &str, handler: Handler) -> &mut TaskRegistry {
        self.entries.push(Entry {
            pattern: pattern.into(),
            handler,
        });
        self
    }

    /// States that the test case names are answered by it, whatever their resource.
    pub(crate) fn set_test_case(&mut self, test_case: super::mock::TestCase) {
        self.test_case = Some(Arc::new(test_case));
    }

    /// Activities and `.waitForTaskToken` tasks that nothing else answers for are handed on to clients by this function: see
    /// [`TaskRegistry::register_callback`].
    #[cfg(feature = "server")]
    pub(crate) fn set_clients(&mut self, handler: Arc<dyn TaskHandler>) {
        self.clients = Some(handler);
    }

    /// Tasks that no handler was registered for are done by services, where these are in reach.
    #[cfg(feature = "server")]
    pub(crate) fn set_services(&mut self, services: Arc<dyn super::Services>) {
        self.services = Some(services);
    }

    /// True if a handler needs a tokio runtime.
    pub(crate) fn needs_runtime(&self) -> bool {
        #[cfg(feature = "server")]
        if self.services.is_some() {
            return true;
        }
        self.entries
            .iter()
            .any(|entry| matches!(entry.handler, Handler::Async(_)))
    }

    fn find(&self, resource: &str) -> Option<&Handler> {
        let rank = |entry: &Entry| (!entry.pattern.contains('*'), entry.pattern.len());
        // Of equals, `max_by_key` takes the last.
        self.entries
            .iter()
            .filter(|entry| matches(&entry.pattern, resource))
            .max_by_key(|entry| rank(entry))
            .map(|entry| &entry.handler)
    }

    fn find_for(&self, state: &str, info: &TaskInfo, steps: Steps) -> Option<Handler> {
        let resource = &*info.resource_text;
        if let Some(answers) = self.test_case.as_ref().and_then(|case| case.state(state)) {
            return Some(Handler::Answers(Arc::clone(answers)));
        }
        let found = self.find(resource).cloned();
        #[cfg(feature = "server")]
        let found = found.or_else(|| {
            let services = self.services.as_ref()?;
            services.find(&info.resource).map(Handler::Service)
        });
        #[cfg(feature = "server")]
        let found = found.or_else(|| {
            // A job (`.sync`) has nobody who could tell that it is done.
            let is_for_clients = steps == Steps::Started || resource.ends_with(".waitForTaskToken");
            let clients = self.clients.as_ref().filter(|_| is_for_clients)?;
            Some(Handler::Callback(Arc::clone(clients)))
        });
        #[cfg(not(feature = "server"))]
        let _ = steps;
        found
    }

    /// Finds the handlers of a program's Tasks.
    pub(crate) fn bind(
        &self,
        program: &Program,
        runtime: Option<&tokio::runtime::Handle>,
    ) -> Bindings {
        let bindings = program.tasks().map(|(state, info)| {
            let steps = match &info.resource {
                Resource::Activity { .. } => Steps::Started,
                Resource::Service(integration) => match integration.pattern {
                    Pattern::RequestResponse => Steps::None,
                    Pattern::Sync | Pattern::Sync2 | Pattern::WaitForTaskToken => Steps::Submitted,
                },
                Resource::Lambda { .. } => Steps::None,
            };
            Binding {
                steps,
                handler: self.find_for(state, info, steps),
            }
        });
        let tasks: Box<[Binding]> = bindings.collect();
        let has_callbacks = tasks
            .iter()
            .any(|binding| matches!(binding.handler, Some(Handler::Callback(_))));
        Bindings {
            has_tokens: has_callbacks || program.tasks().any(|(_, info)| info.has_token()),
            tasks,
            runtime: runtime.cloned(),
        }
    }
}

/// Whether `*` in `pattern` can stand for texts that make it `text`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else {
        return text.is_empty();
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The handlers of one program's Tasks, by [`TaskId`].
#[derive(Debug)]
pub(crate) struct Bindings {
    tasks: Box<[Binding]>,
    /// True if a token of one of the Tasks can be known to somebody.
    pub(crate) has_tokens: bool,
    runtime: Option<tokio::runtime::Handle>,
}

/// Who answers for one Task.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) steps: Steps,
    pub(crate) handler: Option<Handler>,
}

/// What a Task goes through before its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Steps {
    /// Nothing.
    None,
    /// An activity worker takes it.
    Started,
    /// The service accepts it: `.sync`, `.waitForTaskToken`.
    Submitted,
}

impl Steps {
    /// What is told to the execution before the result.
    #[inline(always)]
    pub(crate) const fn completion(self) -> Option<Completion<'static>> {
        match self {
            Steps::None => None,
            Steps::Started => Some(Completion::Started { worker_name: None }),
            // On AWS this event holds the service's own answer to the call: a message's id, an execution's ARN. Files of
            // answers and handlers have only the result of the task, which is all that states can see.
            Steps::Submitted => Some(Completion::Submitted(b"{}")),
        }
    }
}

impl Handler {
    /// True if it answers from another thread, or a future.
    #[inline(always)]
    pub(crate) fn answers_later(&self) -> bool {
        match self {
            Handler::Async(_) | Handler::Exec(_) => true,
            #[cfg(feature = "server")]
            Handler::Service(_) => true,
            Handler::Fixed(_) | Handler::Answers(_) | Handler::Sync(_) | Handler::Callback(_) => {
                false
            }
        }
    }
}

impl Binding {
    /// What is told to the execution before the handler is called. A service says itself when it has accepted a task.
    #[inline(always)]
    pub(crate) fn first_step(&self) -> Option<Completion<'static>> {
        #[cfg(feature = "server")]
        if let Some(Handler::Service(_)) = self.handler {
            return None;
        }
        self.steps.completion()
    }
}

impl Bindings {
    #[inline(always)]
    pub(crate) fn task(&self, task: TaskId) -> &Binding {
        &self.tasks[task.index()]
    }

    /// The tasks in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.tasks.iter()
    }

    /// Starts a future that answers through `reply`.
    pub(crate) fn spawn(
        &self,
        limited: &Limited,
        request: OwnedTaskRequest,
        mut reply: Reply,
    ) -> Pending {
        let Some(runtime) = &self.runtime else {
            let cause = "the engine has no tokio runtime for an asynchronous handler";
            reply.send(Err(Failure::new("States.Runtime", cause)));
            return Pending::outside();
        };
        let handler = Arc::clone(&limited.handler);
        // The place in the queue is taken now: futures may begin in another order.
        let turn = limited.limiter.join();
        let task = runtime.spawn(async move {
            (&turn).await;
            reply.called();
            reply.send(guarded(handler, request).await);
        });
        Pending::future(task.abort_handle())
    }
}

impl Bindings {
    /// Starts the future of a task that a service does.
    #[cfg(feature = "server")]
    pub(crate) fn spawn_service(
        &self,
        service: &super::LimitedService,
        mut task: super::ServiceTask,
    ) -> Pending {
        let Some(runtime) = &self.runtime else {
            let cause = "the engine has no tokio runtime for calls of services";
            task.reply.send(Err(Failure::new("States.Runtime", cause)));
            return Pending::outside();
        };
        let handler = Arc::clone(&service.handler);
        let turn = service.limiter.join();
        let task = runtime.spawn(async move {
            (&turn).await;
            task.reply.called();
            handler.call(task).await;
        });
        Pending::future(task.abort_handle())
    }
}

/// The handler's answer, or the failure that its panic comes to.
async fn guarded(
    handler: Arc<dyn AsyncTaskHandler>,
    request: OwnedTaskRequest,
) -> Result<Vec<u8>, Failure> {
    let resource = request.resource.clone();
    let failed = |payload: Box<dyn std::any::Any + Send>| Err(panicked(&resource, &*payload));
    let mut future = match catch_unwind(AssertUnwindSafe(|| handler.call(request))) {
        Ok(future) => future,
        Err(payload) => return failed(payload),
    };
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(payload) => Poll::Ready(failed(payload)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskRequest;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "a", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*b*", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a**c", "abc", true),
            (
                "*:function:quote",
                "arn:aws:lambda:x:1:function:quote",
                true,
            ),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_most_precise_handler_wins() {
        let answer = |text: &'static str| {
            move |_: &TaskRequest<'_>, response: &mut Vec<u8>| {
                response.extend_from_slice(text.as_bytes());
                Ok(())
            }
        };
        let mut tasks = TaskRegistry::new();
        tasks.register("arn:f", answer("exact"));
        for (pattern, name) in [("arn:*", "long"), ("a*", "short"), ("arn*f", "later")] {
            tasks.register(pattern, answer(name));
        }
        for (resource, pattern) in [
            ("arn:f", Some("arn:f")),
            ("arn:g", Some("arn:*")),
            ("arn-f", Some("arn*f")),
            ("arn:f:f", Some("arn*f")),
            ("ab", Some("a*")),
            ("b", None),
        ] {
            let found = tasks.find(resource).map(|handler| {
                let is = |entry: &&Entry| match (&entry.handler, handler) {
                    (Handler::Sync(a), Handler::Sync(b)) => Arc::ptr_eq(a, b),
                    _ => false,
                };
                &*tasks.entries.iter().find(is).unwrap().pattern
            });
            assert_eq!(found, pattern, "{resource}");
        }
    }
}
