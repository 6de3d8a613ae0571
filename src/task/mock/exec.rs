//! Child processes that answer tasks, one JSON line in, one JSON line out.
//!
//! A request is `{"resource":…,"state":…,"attempt":…,"execution":…,"input":…}`; `attempt` counts the retries before the
//! call, from 0. An answer is `{"result":…}` or `{"error":…,"cause":…}`. Answers come in the order of the requests: a
//! process is asked one thing at a time. What it writes to its standard error passes through.
//!
//! 1. A thread per process takes requests from one queue; it starts its process when the first one comes.
//! 2. A process that ends fails the task under way with [`ERROR_DIED`], and is started again for the next one. One that
//!    answers something else fails it with [`ERROR_BAD_ANSWER`], and is started again too: later answers would
//!    no longer belong to their requests.
//! 3. A request that is called off leaves the queue, or takes its process with it: a process that hangs holds nobody up
//!    for longer than its task's timeout.
//! 4. At the end each process sees its standard input closed, and is killed if it has not ended shortly after.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::history::Failure;
use crate::task::{Reply, TaskRequest, lock};
use crate::value::{Doc, Kind, Name, Values, escape};

/// Error of a task whose process ended before it answered.
pub(crate) const ERROR_DIED: &str = "Exec.Died";
/// Error of a task whose process answered something that is no answer.
pub(crate) const ERROR_BAD_ANSWER: &str = "Exec.BadAnswer";
/// Error of a task whose process could not be started.
pub(crate) const ERROR_NOT_STARTED: &str = "Exec.NotStarted";

/// Longest line that is read as an answer.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How much of a bad answer is shown.
const SHOWN_BYTES_MAX: usize = 200;
/// How often, and how many times, a process is looked after before it is killed at the end.
const END_POLL: Duration = Duration::from_millis(5);
const END_POLLS: usize = 100;

/// The processes of one entry.
#[derive(Debug)]
pub(crate) struct Exec {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    resource: Box<str>,
    argv: Vec<String>,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// One per process. Locked after the queue, if both are.
    seats: Box<[Mutex<Seat>]>,
}

#[derive(Debug, Default)]
struct Queue {
    /// In the order of their ids.
    requests: VecDeque<Request>,
    next_id: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Request {
    id: u64,
    line: Vec<u8>,
    reply: Reply,
}

/// A process, and the request that it works on.
#[derive(Debug, Default)]
struct Seat {
    child: Option<Child>,
    request: Option<u64>,
    /// The process was killed, or is to be as soon as it has started.
    is_killed: bool,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct ExecPending {
    shared: Arc<Shared>,
    id: u64,
}

impl ExecPending {
    /// Calls the request off.
    pub(crate) fn cancel(&self) {
        let mut queue = lock(&self.shared.queue);
        if let Ok(at) = queue
            .requests
            .binary_search_by_key(&self.id, |request| request.id)
        {
            queue.requests.remove(at);
            return;
        }
        for seat in &self.shared.seats {
            let mut seat = lock(seat);
            if seat.request == Some(self.id) {
                seat.kill();
            }
        }
    }
}

impl Seat {
    /// Ends the process; the thread that reads from it sees the end.
    fn kill(&mut self) {
        self.is_killed = true;
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
        }
    }
}

impl Exec {
    pub(crate) fn new(resource: &str, argv: Vec<String>, processes: usize) -> Arc<Exec> {
        let seats = (0..processes).map(|_| Mutex::default()).collect();
        Arc::new(Exec {
            shared: Arc::new(Shared {
                resource: resource.into(),
                argv,
                queue: Mutex::default(),
                wake: Condvar::new(),
                seats,
            }),
            threads: Mutex::default(),
        })
    }

    /// Queues a request.
    pub(crate) fn begin(&self, request: &TaskRequest<'_>, reply: Reply) -> ExecPending {
        let line = line(request);
        let id = {
            let mut queue = lock(&self.shared.queue);
            let id = queue.next_id;
            queue.next_id += 1;
            queue.requests.push_back(Request { id, line, reply });
            id
        };
        self.shared.wake.notify_one();
        self.start_threads();
        ExecPending {
            shared: Arc::clone(&self.shared),
            id,
        }
    }

    fn start_threads(&self) {
        let mut threads = lock(&self.threads);
        if !threads.is_empty() {
            return;
        }
        for seat in 0..self.shared.seats.len() {
            let shared = Arc::clone(&self.shared);
            threads.push(std::thread::spawn(move || shared.serve(seat)));
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        {
            let mut queue = lock(&self.shared.queue);
            queue.is_closed = true;
            queue.requests.clear();
            for seat in &self.shared.seats {
                let mut seat = lock(seat);
                if seat.request.is_some() {
                    seat.kill();
                }
            }
        }
        self.shared.wake.notify_all();
        for thread in lock(&self.threads).drain(..) {
            // A thread that has panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn line(request: &TaskRequest<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(512);
    let _ = write!(
        line,
        r#"{{"resource":"{}","state":"{}","attempt":{},"execution":"{}","input":"#,
        escape(request.resource()),
        escape(request.state()),
        request.attempt(),
        escape(&request.execution_name()),
    );
    request.write_input(&mut line);
    line.extend_from_slice(b"}\n");
    line
}

/// The two ends of a process.
struct Pipes {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Shared {
    fn serve(&self, seat: usize) {
        let mut pipes = None;
        let mut doc = Doc::new();
        while let Some(mut request) = self.next(seat) {
            request.reply.called();
            let result = self.ask(seat, &mut pipes, &request.line, &mut doc);
            let is_killed = {
                let mut seat = lock(&self.seats[seat]);
                seat.request = None;
                std::mem::take(&mut seat.is_killed)
            };
            if is_killed {
                // Perhaps after its answer, for a request that was called off then: the next one needs another process.
                pipes = None;
                self.reap(seat);
            }
            request.reply.send(result);
        }
        drop(pipes);
        self.end(seat);
    }

    /// Waits for a request; none if there will be no more.
    fn next(&self, seat: usize) -> Option<Request> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(request) = queue.requests.pop_front() {
                lock(&self.seats[seat]).request = Some(request.id);
                return Some(request);
            }
            if queue.is_closed {
                return None;
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn ask(
        &self,
        seat: usize,
        pipes: &mut Option<Pipes>,
        line: &[u8],
        doc: &mut Doc,
    ) -> Result<Vec<u8>, Failure> {
        if pipes.is_some() && self.has_ended(seat) {
            *pipes = None;
        }
        if pipes.is_none() {
            *pipes = Some(self.start(seat)?);
        }
        let Some(Pipes { stdin, stdout }) = pipes else {
            return Err(self.died(seat));
        };
        let mut answer = Vec::new();
        let asked = stdin.write_all(line).and_then(|()| stdin.flush());
        let read = asked.and_then(|()| {
            let mut bounded = stdout.by_ref().take(ANSWER_BYTES_MAX);
            bounded.read_until(b'\n', &mut answer)
        });
        if read.is_err()
            || answer.last() != Some(&b'\n') && (answer.len() as u64) < ANSWER_BYTES_MAX
        {
            *pipes = None;
            return Err(self.died(seat));
        }
        match parse(&answer, doc) {
            Some(result) => result,
            None => {
                *pipes = None;
                lock(&self.seats[seat]).kill();
                self.reap(seat);
                Err(self.bad_answer(&answer))
            }
        }
    }

    fn has_ended(&self, seat: usize) -> bool {
        match &mut lock(&self.seats[seat]).child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => true,
        }
    }

    fn start(&self, seat: usize) -> Result<Pipes, Failure> {
        let not_started = |what: &dyn std::fmt::Display| {
            Failure::new(
                ERROR_NOT_STARTED,
                format!("failed to start {}: {what}", self.shown()),
            )
        };
        let spawned = Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|error| not_started(&error))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(not_started(&"it has no pipes"));
        };
        {
            let mut seat = lock(&self.seats[seat]);
            seat.child = Some(child);
            if seat.is_killed {
                // The request was called off while the process started.
                seat.kill();
            }
        }
        Ok(Pipes {
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    /// Waits for the end of a process that has ended or was killed.
    fn reap(&self, seat: usize) -> String {
        // Taken out, so that nobody waits for the lock.
        let child = lock(&self.seats[seat]).child.take();
        match child.map(|mut child| (child.kill(), child.wait())) {
            Some((_, Ok(status))) => status.to_string(),
            Some((_, Err(error))) => error.to_string(),
            None => "it is gone".to_owned(),
        }
    }

    /// Lets a process end by itself for a while; its standard input is closed.
    fn end(&self, seat: usize) {
        for _ in 0..END_POLLS {
            if self.has_ended(seat) {
                break;
            }
            std::thread::park_timeout(END_POLL);
        }
        self.reap(seat);
    }

    fn shown(&self) -> String {
        format!(
            "`{}`, which answers for {}",
            self.argv.join(" "),
            self.resource
        )
    }

    fn died(&self, seat: usize) -> Failure {
        // One that has closed its output may still run.
        for _ in 0..END_POLLS {
            if self.has_ended(seat) {
                break;
            }
            std::thread::park_timeout(END_POLL);
        }
        let status = self.reap(seat);
        Failure::new(
            ERROR_DIED,
            format!("{}, ended before it answered: {status}", self.shown()),
        )
    }

    fn bad_answer(&self, answer: &[u8]) -> Failure {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(SHOWN_BYTES_MAX)]);
        Failure::new(
            ERROR_BAD_ANSWER,
            format!(
                "{}, answered neither {{\"result\": …}} nor {{\"error\": …}}: {}",
                self.shown(),
                shown.trim_end()
            ),
        )
    }
}

/// The answer; none if it is no answer.
fn parse(answer: &[u8], doc: &mut Doc) -> Option<Result<Vec<u8>, Failure>> {
    doc.clear();
    let val = doc.ingest(answer).ok()?;
    let constants = Doc::new();
    let values = Values {
        doc,
        constants: &constants,
    };
    let member = |name: &str| values.get(val, &Name::new(name));
    let text = |name: &str| {
        let val = member(name).filter(|val| values.kind(*val) != Kind::Null)?;
        let text = values
            .string(val)
            .map_or_else(|| values.to_json(val), std::borrow::Cow::into_owned);
        Some(text.into_boxed_str())
    };
    match (member("result"), text("error")) {
        (Some(result), None) => {
            let mut json = Vec::new();
            values.write(result, &mut json);
            Some(Ok(json))
        }
        (None, Some(error)) => Some(Err(Failure {
            error: Some(error),
            cause: text("cause"),
        })),
        _ => None,
    }
}
