//! Task states: handing out the call, and taking in what became of it.

use super::PAYLOAD_BYTES_MAX;
use super::context::values;
use super::execution::{Completion, Execution, FrameHandle, FrameStatus, Stale, after_seconds};
use super::run::{Raised, Registers, Run, Stop, Want};
use crate::asl::{Pattern, Resource};
use crate::history::{Details, Failure, Observer};
use crate::program::{NumberOperand, Program, TaskId, TaskInfo};
use crate::stdx::Timestamp;
use crate::value::Val;

/// Seconds after which a Task without `TimeoutSeconds` times out, on AWS: about three years.
const TIMEOUT_SECONDS_DEFAULT: u64 = 99_999_999;

impl TaskInfo {
    /// True for `.waitForTaskToken`, and for `.sync`, which AWS gives a token too.
    pub(crate) fn has_token(&self) -> bool {
        match &self.resource {
            Resource::Service(integration) => match integration.pattern {
                Pattern::WaitForTaskToken | Pattern::Sync | Pattern::Sync2 => true,
                Pattern::RequestResponse => false,
            },
            Resource::Lambda { .. } | Resource::Activity { .. } => false,
        }
    }
}

impl Execution {
    /// Takes in what became of a task. The execution goes on with the next step.
    ///
    /// # Errors
    ///
    /// If the task has ended already; if its timeout or heartbeat has fallen due, so that the next step ends it; or if the
    /// execution's deadline has passed, which ends it.
    pub fn complete<O: Observer>(
        &mut self,
        program: &Program,
        handle: FrameHandle,
        completion: Completion<'_>,
        now: Timestamp,
        observer: &mut O,
    ) -> Result<(), Stale> {
        let frame = self.waiting_frame(handle)?;
        let is_overdue = frame.is_overdue(now);
        let mut run = Run {
            program,
            execution: self,
            now,
            observer,
        };
        if run.is_late() {
            run.time_out();
            return Err(Stale);
        }
        // What falls due first happens first, however late somebody looks.
        if is_overdue {
            return Err(Stale);
        }
        run.complete(handle.index, completion);
        Ok(())
    }

    /// True if the task's timeout or heartbeat has fallen due: an answer that comes now comes too late, and the next
    /// step ends the task.
    #[must_use]
    pub fn is_overdue(&self, handle: FrameHandle, now: Timestamp) -> bool {
        self.waiting_frame(handle)
            .is_ok_and(|frame| frame.is_overdue(now))
    }
}

impl<'a, O: Observer> Run<'a, O> {
    /// Makes the call that the caller will be given.
    #[inline(never)]
    pub(super) fn begin_task(
        &mut self,
        frame: u32,
        task: TaskId,
        registers: &mut Registers,
    ) -> Result<Stop, Raised> {
        let info = &self.program.tasks[task.index()];
        let credentials = info.has_credentials.then(|| self.pop());
        if self.is_late() {
            return Ok(Stop::Waits);
        }
        let input = registers.value;
        if values(self.execution, self.program).size(input) > PAYLOAD_BYTES_MAX {
            return Err(self.too_large(&info.resource_text));
        }
        // The paths of the timeouts are read from the state's input, which Parameters have not touched.
        let timeout_seconds = self.seconds(frame, info.timeout.as_ref(), registers)?;
        let heartbeat_seconds = self.seconds(frame, info.heartbeat.as_ref(), registers)?;
        let now = self.now;
        let timeout_at = after_seconds(now, timeout_seconds.unwrap_or(TIMEOUT_SECONDS_DEFAULT));
        let heartbeat_at =
            heartbeat_seconds.map_or(Timestamp::MAX, |seconds| after_seconds(now, seconds));
        let f = &mut self.execution.frames[frame as usize];
        f.status = FrameStatus::Task;
        f.task = Some(task);
        f.credentials = credentials;
        f.wake_at = timeout_at;
        f.heartbeat_at = heartbeat_at;
        f.heartbeat_seconds = heartbeat_seconds;
        f.missed_heartbeat = false;
        if timeout_seconds.is_some() {
            self.execution.arm(frame, timeout_at);
        }
        self.execution.arm(frame, heartbeat_at);
        self.scheduled_events(
            frame,
            info,
            input,
            timeout_seconds,
            heartbeat_seconds,
            credentials,
        );
        Ok(Stop::Wants(Want::Task))
    }

    fn seconds(
        &mut self,
        frame: u32,
        operand: Option<&NumberOperand>,
        registers: &Registers,
    ) -> Result<Option<u64>, Raised> {
        match operand {
            None => Ok(None),
            Some(NumberOperand::Literal(n)) => Ok(Some(*n)),
            Some(NumberOperand::Expression(expression)) => self
                .eval_integer(frame, *expression, 1, registers)
                .map(Some),
            Some(NumberOperand::Load(load)) => {
                let n = self.number_operand(frame, *load, registers.data)?;
                match u64::try_from(n) {
                    Ok(seconds @ 1..) => Ok(Some(seconds)),
                    _ => {
                        let field = &self.program.loads[load.index()].field;
                        Err(self.raise(
                            frame,
                            "States.Runtime",
                            &format!("{field} must refer to a positive number."),
                        ))
                    }
                }
            }
        }
    }

    fn scheduled_events(
        &mut self,
        frame: u32,
        info: &TaskInfo,
        input: Val,
        timeout_seconds: Option<u64>,
        heartbeat_seconds: Option<u64>,
        credentials: Option<Val>,
    ) {
        let resource = &info.resource;
        match resource {
            Resource::Lambda { arn, .. } => {
                self.frame_event(
                    frame,
                    Details::LambdaFunctionScheduled {
                        resource: arn,
                        input,
                        timeout_seconds,
                    },
                );
                self.frame_event(frame, Details::LambdaFunctionStarted);
            }
            Resource::Activity { arn, .. } => {
                self.frame_event(
                    frame,
                    Details::ActivityScheduled {
                        resource: arn,
                        input,
                        timeout_seconds,
                        heartbeat_seconds,
                    },
                );
            }
            Resource::Service(_) => {
                let machine = self.execution.context.machine.clone();
                let region = machine.as_ref().map_or("", |machine| &machine.region);
                let details = Details::TaskScheduled {
                    resource,
                    parameters: input,
                    region,
                    timeout_seconds,
                    heartbeat_seconds,
                    credentials,
                };
                self.frame_event(frame, details);
                self.frame_event(frame, Details::TaskStarted { resource });
            }
        }
    }

    fn complete(&mut self, frame: u32, completion: Completion<'_>) {
        match completion {
            Completion::Heartbeat => self.heartbeat(frame),
            Completion::Started { worker_name } => {
                self.frame_event(frame, Details::ActivityStarted { worker_name });
                self.heartbeat(frame);
            }
            Completion::Submitted(json) => {
                if let Ok(output) = self.execution.doc.ingest(json) {
                    let Some(info) = self.task_info(frame) else {
                        return;
                    };
                    self.frame_event(
                        frame,
                        Details::TaskSubmitted {
                            resource: &info.resource,
                            output,
                        },
                    );
                } else {
                    self.end_task(frame, Err(not_json(json)));
                }
            }
            Completion::Succeeded(json) => {
                let result = self.execution.doc.ingest(json).map_err(|_| not_json(json));
                self.task_succeeded(frame, result);
            }
            Completion::Prepared(value) => {
                let result = self.execution.doc.put(value);
                let result = result.map_err(|_| not_json(value.json()));
                self.task_succeeded(frame, result);
            }
            Completion::Failed(failure) => self.end_task(frame, Err(failure.clone())),
            Completion::SubmitFailed(failure) => self.not_submitted(frame, failure),
        }
    }

    #[inline(always)]
    fn task_succeeded(&mut self, frame: u32, result: Result<Val, Failure>) {
        let result = result.and_then(|val| self.check_result(frame, val));
        self.end_task(frame, result);
    }

    fn heartbeat(&mut self, frame: u32) {
        let now = self.now;
        let f = &mut self.execution.frames[frame as usize];
        if let Some(seconds) = f.heartbeat_seconds {
            let at = after_seconds(now, seconds);
            f.heartbeat_at = at;
            self.execution.arm(frame, at);
        }
    }

    fn task_info(&self, frame: u32) -> Option<&'a TaskInfo> {
        let program = self.program;
        self.execution.frames[frame as usize]
            .task
            .map(|task| &program.tasks[task.index()])
    }

    fn check_result(&self, frame: u32, result: Val) -> Result<Val, Failure> {
        if values(self.execution, self.program).size(result) <= PAYLOAD_BYTES_MAX {
            return Ok(result);
        }
        let label = match self.task_info(frame) {
            Some(TaskInfo {
                resource: Resource::Service(integration),
                ..
            }) => integration.service.clone(),
            Some(info) => info.resource_text.to_string(),
            None => String::new(),
        };
        Err(*self.too_large(&label))
    }

    /// Ends the frame's task, which its service has not accepted.
    #[cold]
    fn not_submitted(&mut self, frame: u32, failure: &Failure) {
        let Some(info) = self.task_info(frame) else {
            return;
        };
        self.execution.frames[frame as usize].end_task();
        let resource = &info.resource;
        self.frame_event(frame, Details::TaskSubmitFailed { resource, failure });
        self.task_failed(frame, failure.clone());
    }

    fn task_failed(&mut self, frame: u32, failure: Failure) {
        self.execution.frames[frame as usize].status = FrameStatus::Ready;
        if self.state_failed(frame, failure) {
            self.execution.ready.push_back(frame);
        }
    }

    /// Ends the frame's task; its state goes on, or fails.
    pub(super) fn end_task(&mut self, frame: u32, result: Result<Val, Failure>) {
        let Some(info) = self.task_info(frame) else {
            return;
        };
        self.execution.frames[frame as usize].end_task();
        match result {
            Ok(output) => {
                self.frame_event(frame, succeeded(&info.resource, output));
                self.execution.frames[frame as usize].value = output;
                self.execution.make_ready(frame);
            }
            Err(failure) => {
                let timed_out = failure.error_name() == "States.Timeout";
                self.frame_event(frame, failed(&info.resource, &failure, timed_out));
                self.task_failed(frame, failure);
            }
        }
    }
}

fn succeeded(resource: &Resource, output: Val) -> Details<'_> {
    match resource {
        Resource::Lambda { .. } => Details::LambdaFunctionSucceeded { output },
        Resource::Activity { .. } => Details::ActivitySucceeded { output },
        Resource::Service(_) => Details::TaskSucceeded { resource, output },
    }
}

fn failed<'a>(resource: &'a Resource, failure: &'a Failure, timed_out: bool) -> Details<'a> {
    match (resource, timed_out) {
        (Resource::Lambda { .. }, false) => Details::LambdaFunctionFailed { failure },
        (Resource::Lambda { .. }, true) => Details::LambdaFunctionTimedOut { failure },
        (Resource::Activity { .. }, false) => Details::ActivityFailed { failure },
        (Resource::Activity { .. }, true) => Details::ActivityTimedOut { failure },
        (Resource::Service(_), false) => Details::TaskFailed { resource, failure },
        (Resource::Service(_), true) => Details::TaskTimedOut { resource, failure },
    }
}

/// A task whose answer is not JSON has failed.
#[cold]
fn not_json(answer: &[u8]) -> Failure {
    const SHOWN_BYTES_MAX: usize = 200;
    let shown = String::from_utf8_lossy(&answer[..answer.len().min(SHOWN_BYTES_MAX)]).into_owned();
    Failure::new(
        "States.Runtime",
        format!("The task's answer is not JSON: {shown}"),
    )
}
