//! [`Executor`]: starts executions, drives them, takes in answers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::super::error::ApiError;
use super::super::ids::Ids;
use super::super::limits::EXECUTIONS_OPEN_MAX;
use super::deploy::{Deployed, Deployments, MachineKey, TaskSource};
use super::live::{Body, Ended, History, Live, Origin, State};
use super::registry::{Registry, Taken};
use super::tokens::{TaskAnswer, TokenError, Tokens, is_token};
use super::turn::Turn;
use crate::engine::Clock;
use crate::history::{Failure, NoEvents};
use crate::interp::{Completion, Execution, FrameHandle, Invocation, Start, StartError};
use crate::stdx::{FixedMap, Timestamp};
use crate::store::{Logging, MachineKind, Revision, RevisionRecord};
use crate::task::{Answer, Inbox, ThreadInbox, lock};

/// Executions whose memory is kept for others.
const POOL_MAX: usize = 256;

/// Memory beyond which an execution is not kept for others.
const POOL_BYTES_MAX: usize = 1024 * 1024;

/// The longest sleep, after which the time of day is looked at again.
const SLEEP_MAX: Duration = Duration::from_secs(60 * 60);

/// What all executions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ids: Arc<Ids>,
    clock: Arc<dyn Clock>,
    pub(super) tokens: Tokens,
    registry: Registry,
    pub(super) inbox: Arc<dyn Inbox>,
    /// Executions that handlers are at work for, by serial number.
    pub(super) awaiting: Mutex<FixedMap<u64, Weak<Live>>>,
    pool: Mutex<Vec<Execution>>,
    serial: AtomicU64,
    open: AtomicUsize,
}

/// Runs executions.
#[derive(Debug)]
pub(crate) struct Executor {
    shared: Arc<Shared>,
    deployments: Deployments,
}

/// What starts an execution.
#[derive(Debug)]
pub(crate) struct StartRequest<'a> {
    pub(crate) origin: Origin,
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) name: &'a str,
    pub(crate) input: &'a str,
    pub(crate) trace_header: Option<&'a str>,
}

/// A task that an activity worker has taken.
#[derive(Debug)]
pub(crate) struct ActivityTask {
    pub(crate) token: Box<str>,
    pub(crate) input: String,
}

impl Executor {
    pub(crate) fn new(
        ids: Arc<Ids>,
        clock: Arc<dyn Clock>,
        tasks: TaskSource,
        mocked: Option<Vec<String>>,
        home: (&str, &str),
    ) -> std::io::Result<Executor> {
        let inbox = Answers::start()?;
        let shared = Arc::new(Shared {
            ids,
            clock,
            tokens: Tokens::default(),
            registry: Registry::default(),
            inbox: Arc::<ThreadInbox>::clone(&inbox.inbox),
            awaiting: Mutex::default(),
            pool: Mutex::default(),
            serial: AtomicU64::new(1),
            open: AtomicUsize::new(0),
        });
        inbox.serve(&shared);
        Ok(Executor {
            shared,
            deployments: Deployments::new(tasks, mocked, home.0, home.1),
        })
    }

    /// Makes a machine ready.
    pub(crate) fn deploy(&self, key: MachineKey<'_>) -> Result<Arc<Deployed>, ApiError> {
        self.deployments.get(key)
    }

    /// Executions that have not ended.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Runs an EXPRESS execution to its end.
    pub(crate) async fn run_sync(
        &self,
        request: StartRequest<'_>,
    ) -> Result<(Arc<Live>, Ended), ApiError> {
        let live = self.shared.begin(request, Invocation::Synchronous)?;
        if self.shared.turn(&live) != Turn::Done {
            self.shared.spawn(&live);
        }
        let ended = live.wait().await;
        Ok((live, ended))
    }

    /// Runs a definition that is of no state machine to its end, or for five minutes.
    pub(crate) async fn run_alone(
        &self,
        definition: &str,
        name: &str,
        input: &str,
    ) -> Result<Ended, ApiError> {
        let revision = Revision::new(RevisionRecord {
            id: None,
            definition: definition.into(),
            role_arn: "".into(),
            logging: Logging::off(),
            tracing: false,
            updated_ms: 0,
        });
        let key = MachineKey {
            name,
            kind: MachineKind::Express,
            revision: &revision,
            test_case: None,
        };
        let deployed = self.deployments.compile(key, MachineKind::Standard)?;
        let origin = Origin {
            machine: name.into(),
            machine_created_ms: 0,
            kind: MachineKind::Express,
            revision: Arc::clone(&revision),
            machine_arn: "".into(),
            version_arn: None,
            alias_arn: None,
        };
        let request = StartRequest {
            origin,
            deployed: Arc::new(deployed),
            name: "TestState",
            input,
            trace_header: None,
        };
        self.run_sync(request).await.map(|(_, ended)| ended)
    }

    /// Starts an execution that nobody waits for.
    pub(crate) fn start(&self, request: StartRequest<'_>) -> Result<Taken, ApiError> {
        let kind = request.origin.kind;
        let live = self.shared.begin(request, Invocation::Asynchronous)?;
        let taken = match kind {
            MachineKind::Express => Taken::New(live),
            MachineKind::Standard => self.shared.registry.take(live),
        };
        match &taken {
            Taken::New(live) => self.shared.spawn(live),
            Taken::Same(_) | Taken::Other => {
                self.shared.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(taken)
    }

    /// A STANDARD execution that is known.
    pub(crate) fn find(&self, arn: &str) -> Option<Arc<Live>> {
        self.shared.registry.get(arn)
    }

    /// Some executions of a machine that were started before the one with a serial number, the latest first; none if
    /// there are no more.
    pub(crate) fn of_machine(&self, machine: &str, before: u64) -> Vec<Arc<Live>> {
        self.shared.registry.of_machine(machine, before)
    }

    /// Ends an execution; it may have ended already. Returns when it ended.
    pub(crate) fn stop(&self, live: &Arc<Live>, failure: Failure) -> Timestamp {
        let mut guard = lock(&live.state);
        let state = &mut *guard;
        if let Some(body) = state.body.as_deref_mut() {
            body.now = self.shared.now(body.now);
            let program = &live.deployed.program;
            body.execution
                .stop(program, failure, body.now, &mut state.history);
            self.shared.finish(live, state, None);
        }
        state.ended.as_ref().map_or(live.started, |ended| ended.at)
    }

    /// Takes in what a client says of a task.
    pub(crate) fn answer(&self, token: &str, answer: TaskAnswer<'_>) -> Result<(), TokenError> {
        if !is_token(token) {
            return Err(TokenError::Invalid);
        }
        let waiting = self.shared.tokens.get(token).ok_or(TokenError::TimedOut)?;
        let completion = match answer {
            TaskAnswer::Heartbeat => Completion::Heartbeat,
            TaskAnswer::Succeeded(json) => Completion::Succeeded(json.as_bytes()),
            TaskAnswer::Failed(failure) => Completion::Failed(failure),
        };
        let live = waiting.live.upgrade().ok_or(TokenError::TimedOut)?;
        let known = self.shared.complete(&live, waiting.frame, completion);
        if !known || !matches!(answer, TaskAnswer::Heartbeat) {
            self.shared.tokens.remove_all([token]);
        }
        known.then_some(()).ok_or(TokenError::TimedOut)
    }

    /// A task of an activity, if one waits.
    pub(crate) fn take_task(&self, arn: &str, worker_name: Option<&str>) -> Option<ActivityTask> {
        let queue = self.shared.tokens.queue(arn);
        loop {
            let offer = lock(&queue.offers).pop_front()?;
            let Some(live) = offer.waiting.live.upgrade() else {
                continue;
            };
            // One that has timed out meanwhile is passed over.
            let started = Completion::Started { worker_name };
            if self.shared.complete(&live, offer.waiting.frame, started) {
                return Some(ActivityTask {
                    token: offer.token,
                    input: offer.input,
                });
            }
        }
    }

    /// Waits for a task of an activity.
    pub(crate) async fn wait_task(
        &self,
        arn: &str,
        worker_name: Option<&str>,
        mut closing: watch::Receiver<bool>,
        time_max: Duration,
    ) -> Option<ActivityTask> {
        let queue = self.shared.tokens.queue(arn);
        let deadline = tokio::time::sleep(time_max);
        tokio::pin!(deadline);
        loop {
            let arrived = queue.arrived.notified();
            if let Some(task) = self.take_task(arn, worker_name) {
                return Some(task);
            }
            tokio::select! {
                () = arrived => {}
                () = &mut deadline => return None,
                _ = closing.wait_for(|closing| *closing) => return None,
            }
        }
    }
}

/// The thread that takes in the answers of handlers.
struct Answers {
    inbox: Arc<ThreadInbox>,
    serve: std::sync::mpsc::Sender<Weak<Shared>>,
}

/// How long that thread outlives its executor at most.
const ANSWERS_LINGER: Duration = Duration::from_secs(5);

impl Answers {
    fn start() -> std::io::Result<Answers> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (serve, serves) = std::sync::mpsc::channel::<Weak<Shared>>();
        std::thread::Builder::new()
            .name("quickstep-answers".to_owned())
            .spawn(move || {
                let inbox = ThreadInbox::of_this_thread(None);
                if sender.send(Arc::clone(&inbox)).is_err() {
                    return;
                }
                let Ok(shared) = serves.recv() else {
                    return;
                };
                let mut answers = Vec::new();
                while let Some(shared) = shared.upgrade() {
                    inbox.take(&mut answers);
                    if answers.is_empty() {
                        drop(shared);
                        std::thread::park_timeout(ANSWERS_LINGER);
                        continue;
                    }
                    for answer in answers.drain(..) {
                        shared.take_answer(answer);
                    }
                }
            })?;
        let inbox = receiver
            .recv()
            .map_err(|_| std::io::Error::other("the thread of answers ended at its start"))?;
        Ok(Answers { inbox, serve })
    }

    fn serve(&self, shared: &Arc<Shared>) {
        // The thread waits for this; if it is gone, answers fail as those of a runtime that shuts down.
        let _ = self.serve.send(Arc::downgrade(shared));
    }
}

impl Shared {
    /// The time, which for an execution never goes back.
    pub(super) fn now(&self, last: Timestamp) -> Timestamp {
        self.clock.timestamp().max(last)
    }

    fn begin(
        self: &Arc<Shared>,
        request: StartRequest<'_>,
        invocation: Invocation,
    ) -> Result<Arc<Live>, ApiError> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= EXECUTIONS_OPEN_MAX {
            self.open.fetch_sub(1, Ordering::Relaxed);
            let message = format!(
                "Execution Limit Exceeded: more than {EXECUTIONS_OPEN_MAX} executions are open"
            );
            return Err(ApiError::new("ExecutionLimitExceeded", message));
        }
        let live = self.live(request, invocation);
        if live.is_err() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        live
    }

    fn live(
        &self,
        request: StartRequest<'_>,
        invocation: Invocation,
    ) -> Result<Arc<Live>, ApiError> {
        let now = self.clock.timestamp();
        let deployed = request.deployed;
        let mut execution = lock(&self.pool).pop().unwrap_or_default();
        let start = Start {
            input: request.input.as_bytes(),
            machine: &deployed.identity,
            name: Some(request.name),
            invocation,
            now,
            seed: self.ids.seed(),
        };
        let mut history = History {
            qualifiers: qualifiers(&request.origin),
            ..History::default()
        };
        match request.origin.kind {
            MachineKind::Express => execution.start(&deployed.program, &start, &mut NoEvents),
            MachineKind::Standard => execution.start(&deployed.program, &start, &mut history),
        }
        .map_err(|error| invalid_input(&error))?;
        let body = Body {
            calls: Vec::new(),
            pending: Vec::new(),
            tokens: Vec::new(),
            now,
            execution,
        };
        Ok(Arc::new(Live {
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
            arn: body.execution.arn().into(),
            name: request.name.into(),
            input: request.input.into(),
            trace_header: request.trace_header.map(Into::into),
            started: now,
            origin: request.origin,
            deployed,
            state: Mutex::new(State {
                body: Some(Box::new(body)),
                history,
                ended: None,
            }),
            over: AtomicBool::new(false),
            wake: Notify::new(),
            done: Notify::new(),
        }))
    }

    fn spawn(self: &Arc<Shared>, live: &Arc<Live>) {
        let (shared, live) = (Arc::clone(self), Arc::clone(live));
        tokio::spawn(async move { shared.drive(&live).await });
    }

    async fn drive(self: &Arc<Shared>, live: &Arc<Live>) {
        loop {
            match self.turn(live) {
                Turn::Done => return,
                Turn::Again => tokio::task::yield_now().await,
                Turn::Parked(at) => {
                    let left = at.millis().saturating_sub(self.clock.timestamp().millis());
                    let left = Duration::from_millis(left.max(0).unsigned_abs());
                    tokio::select! {
                        () = live.wake.notified() => {}
                        () = tokio::time::sleep(left.min(SLEEP_MAX)) => {}
                    }
                }
            }
        }
    }

    /// Takes in what became of a task; false if nobody waits for it.
    fn complete(&self, live: &Arc<Live>, frame: FrameHandle, completion: Completion<'_>) -> bool {
        let mut guard = lock(&live.state);
        let state = &mut *guard;
        let Some(body) = state.body.as_deref_mut() else {
            return false;
        };
        body.now = self.now(body.now);
        let program = &live.deployed.program;
        let (execution, now) = (&mut body.execution, body.now);
        let known = match live.origin.kind {
            MachineKind::Express => {
                execution.complete(program, frame, completion, now, &mut NoEvents)
            }
            MachineKind::Standard => {
                execution.complete(program, frame, completion, now, &mut state.history)
            }
        };
        drop(guard);
        live.wake.notify_one();
        known.is_ok()
    }

    fn take_answer(&self, answer: Answer) {
        let Answer {
            address,
            frame,
            result,
            ..
        } = answer;
        let serial = u64::from(address.slot) | u64::from(address.generation) << 32;
        let Some(live) = lock(&self.awaiting).get(&serial).and_then(Weak::upgrade) else {
            return;
        };
        if let Some(body) = lock(&live.state).body.as_deref_mut()
            && let Some(at) = body.pending.iter().position(|(f, _)| *f == frame)
        {
            body.pending.swap_remove(at).1.finish();
        }
        let completion = match &result {
            Ok(json) => Completion::Succeeded(json),
            Err(failure) => Completion::Failed(failure),
        };
        self.complete(&live, frame, completion);
    }

    /// Keeps the memory of an execution that has ended.
    pub(super) fn give_back(&self, execution: Execution) {
        if execution.memory() <= POOL_BYTES_MAX {
            let mut pool = lock(&self.pool);
            if pool.len() < POOL_MAX {
                pool.push(execution);
            }
        }
    }

    /// Counts an end.
    pub(super) fn ended(&self, live: &Arc<Live>, bytes: usize) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        lock(&self.awaiting).remove(&live.serial);
        if live.origin.kind == MachineKind::Standard {
            self.registry.end(live, bytes + live.input.len());
        }
    }
}

/// `stateMachineAliasArn` and `stateMachineVersionArn`, as they are added to the first event's details.
fn qualifiers(origin: &Origin) -> Vec<u8> {
    let mut members = Vec::new();
    for (name, arn) in [
        ("stateMachineAliasArn", &origin.alias_arn),
        ("stateMachineVersionArn", &origin.version_arn),
    ] {
        if let Some(arn) = arn {
            members.extend_from_slice(
                format!(",\"{name}\":\"{}\"", crate::value::escape(arn)).as_bytes(),
            );
        }
    }
    members
}

/// AWS's error for an input that is not JSON.
fn invalid_input(error: &StartError) -> ApiError {
    ApiError::new(
        "InvalidExecutionInput",
        format!("Invalid State Machine Execution Input: '{error}'"),
    )
}
