//! `POST /v1/state-machines/{name}/executions`: an execution for each line of a body, and a line of answer for each.
//!
//! This is not AWS's. A body of any length is done while it is read, and answered while it is done:
//!
//! 1. A future of its own reads pieces of the body, and takes them apart into lines.
//! 2. Asynchronously, a line is answered once its execution is accepted or refused. If executions are kept on disk, the lines
//!    of a piece are started together, and answered once they are there, while the next pieces are started. With `mode=sync`,
//!    some executions are under way at a time, and are answered with their outputs in the order of the lines.
//! 3. The last line sums up, and names the lines that failed as EventBridge Pipes does: `batchItemFailures`. An answer
//!    without it was cut off.
//!
//! Lines and bytes that are under way have bounds, and nobody waits for memory: while they are reached, or while the client
//! does not read its answers, nothing more of the body is read.

mod lines;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::http::request::Parts;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::lines::{Line, Lines};
use super::aim::Aim;
use super::app::{App, Target};
use super::auth::Payload;
use super::connection::Busy;
use super::error::ApiError;
use super::executor::{Begun, Finished, Kept, StartRequest, Started};
use super::metrics::LineOutcome;
use super::write::{Object, object};
use crate::interp::Status;
use crate::store::MachineKind;

/// Most characters of an input, as for AWS's calls.
const INPUT_CHARS_MAX: usize = 262_144;

/// Most bytes of a line.
const LINE_BYTES_MAX: usize = 4 * INPUT_CHARS_MAX;

/// Executions of one request that are under way at a time.
const UNDER_WAY_MAX: usize = 256;

/// Bytes of their inputs.
const UNDER_WAY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Lines that are started together, and bytes of their inputs at which there are no more.
const GATHERED_MAX: usize = 256;
const GATHERED_BYTES: usize = 1024 * 1024;

/// What tells that there is no room for now.
const THROTTLED: &str = "ThrottlingException";

const LOST: &str = "A defect of quickstep";

/// Answers are handed on once they are so many bytes, or once there is something to wait for.
const ANSWER_BYTES: usize = 16 * 1024;

/// Pieces of answers that wait for the client to read them.
const ANSWERS_MAX: usize = 4;

/// Lines that the summary names; it counts the others.
const FAILURES_MAX: usize = 10_000;

/// Whether executions are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Asynchronous,
    Synchronous,
}

/// Which lines are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Report {
    All,
    /// Those that failed.
    Failures,
}

/// What a path and a query ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Order {
    /// Name of the machine, maybe with a version or an alias.
    machine: String,
    mode: Mode,
    report: Report,
}

/// What stands before the name, and behind it.
const BEFORE: &str = "/v1/state-machines/";
const BEHIND: &str = "/executions";

/// True for a path that belongs here.
pub(super) fn is_ours(path: &str) -> bool {
    let inner = path
        .strip_prefix(BEFORE)
        .and_then(|rest| rest.strip_suffix(BEHIND));
    inner.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFound", message).with_status(404)
}

impl Order {
    fn read(path: &str, query: Option<&str>) -> Result<Order, ApiError> {
        let name = path
            .strip_prefix(BEFORE)
            .and_then(|rest| rest.strip_suffix(BEHIND));
        let machine = name.and_then(decoded);
        let machine = machine.ok_or_else(|| not_found(format!("There is no {path}")))?;
        let mut order = Order {
            machine,
            mode: Mode::Asynchronous,
            report: Report::All,
        };
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            match pair {
                "mode=async" => order.mode = Mode::Asynchronous,
                "mode=sync" => order.mode = Mode::Synchronous,
                "report=all" => order.report = Report::All,
                "report=failures" => order.report = Report::Failures,
                other => {
                    return Err(ApiError::validation(format!(
                        "Unknown parameter '{other}': mode=async, mode=sync, report=all and report=failures are known"
                    )));
                }
            }
        }
        Ok(order)
    }

    /// The machine as an ARN.
    fn arn(&self, app: &App) -> String {
        app.machine_arn(&self.machine)
    }
}

/// Holds the pieces of a body against the whole of it, and reads what a path and a query ask for.
pub(super) fn check(path: &str, query: Option<&str>, body: &[u8]) {
    if is_ours(path) {
        // Any answer will do.
        let _ = Order::read(path, query);
    }
    let split = |size: usize| {
        let mut lines = Lines::new(64);
        let mut found = Vec::new();
        for mut piece in body.chunks(size) {
            found.extend(std::iter::from_fn(|| lines.next(&mut piece)));
        }
        found.extend(lines.last());
        found
    };
    assert_eq!(
        split(3),
        split(body.len().max(1)),
        "pieces make another whole"
    );
}

/// A part of a path without its `%41`s.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = digit(digits[0])? * 16 + digit(digits[1])?;
        out.push(u8::try_from(byte).ok()?);
        rest = after;
    }
    String::from_utf8(out).ok()
}

const MEDIA_TYPES: &[&str] = &[
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// Begins with a request: the body of its answer.
pub(super) fn begin(
    app: &Arc<App>,
    parts: &Parts,
    body: Incoming,
    busy: Busy,
) -> Result<Answers, ApiError> {
    if let Some(verifier) = &app.verifier {
        verifier
            .claim(parts, Payload::Streamed, app.now())?
            .verify_head()?;
    }
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let content_type = header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !MEDIA_TYPES
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known))
    {
        let message = format!(
            "The Content-Type has to be {}, not '{media_type}'",
            MEDIA_TYPES[0]
        );
        return Err(ApiError::new("UnsupportedMediaTypeException", message).with_status(415));
    }
    if header("content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"))
    {
        let message = "Requests with a Content-Encoding are not understood";
        return Err(ApiError::new("UnsupportedMediaTypeException", message).with_status(415));
    }
    let order = Order::read(parts.uri.path(), parts.uri.query())?;
    let arn = order.arn(app);
    let origin = app
        .origin(Target::parse(&arn)?)
        .map_err(|error| error.with_status(404))?;
    if order.mode == Mode::Synchronous && origin.kind == MachineKind::Standard {
        return Err(ApiError::type_not_supported());
    }
    let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
    let ingest = Ingest {
        app: Arc::clone(app),
        mode: order.mode,
        keeps: origin.kind == MachineKind::Express && app.executor.keeps_starts(),
        gathered: Vec::new(),
        gathered_bytes: 0,
        report: order.report,
        arn: arn.into(),
        trace: header("x-amzn-trace-id").map(Into::into),
        under_way: VecDeque::new(),
        under_way_bytes: 0,
        out: Vec::new(),
        sender,
        tally: Tally::default(),
    };
    tokio::spawn(ingest.run(body));
    Ok(Answers {
        receiver,
        _busy: busy,
    })
}

/// The body of an answer, as it comes.
#[derive(Debug)]
pub(super) struct Answers {
    receiver: mpsc::Receiver<Bytes>,
    _busy: Busy,
}

impl Body for Answers {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.receiver
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// What became of a line.
struct Answer {
    line: u64,
    outcome: LineOutcome,
    /// Bytes of its input.
    bytes: usize,
    /// There is no room for now.
    is_refused_for_now: bool,
    /// The members of the answer, beside its number.
    json: Vec<u8>,
}

impl Answer {
    fn new(line: u64, outcome: LineOutcome, write: impl FnOnce(&mut Object<'_>)) -> Answer {
        Answer {
            line,
            outcome,
            bytes: 0,
            is_refused_for_now: false,
            json: object(|o| {
                o.number("line", line);
                write(o);
            }),
        }
    }

    /// The answer of a line whose execution nobody waits for.
    fn accepted(line: u64, arn: Result<&str, &ApiError>) -> Answer {
        match arn {
            Ok(arn) => Answer::new(line, LineOutcome::Accepted, |o| {
                o.string("status", "ACCEPTED");
                o.string("executionArn", arn);
            }),
            Err(error) => Answer::refused(line, error),
        }
    }

    fn refused(line: u64, error: &ApiError) -> Answer {
        Answer::new(line, LineOutcome::Refused, |o| {
            o.string("status", "REFUSED");
            o.string("error", error.code);
            o.string("cause", &error.message);
        })
    }

    fn is_failure(&self) -> bool {
        matches!(self.outcome, LineOutcome::Refused | LineOutcome::Failed)
    }
}

/// Lines whose answers are to come, or have to wait for others.
enum UnderWay {
    Running(JoinHandle<Answer>, u64),
    /// They are accepted once they are on the disk.
    Kept(Kept, Vec<Answer>),
    Done(Answer),
}

/// Answers whose turn it is.
enum Next {
    One(Answer),
    Some(Vec<Answer>),
}

#[derive(Default)]
struct Tally {
    lines: u64,
    failed: u64,
    failures: Vec<u64>,
}

/// The client reads no more.
struct Gone;

/// Why the body is not read on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Broken,
    TooSlow,
    Closing,
}

/// What came first.
enum First {
    Frame(Option<Result<Frame<Bytes>, hyper::Error>>),
    Answers(Next),
    End(End),
}

async fn until_closing(closing: &mut watch::Receiver<bool>) {
    // If nobody can tell any more, it is about to end as well.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Lines that were started together.
struct Gathered {
    answers: Vec<Answer>,
    kept: Kept,
}

struct Ingest {
    app: Arc<App>,
    mode: Mode,
    /// Whether executions that nobody waits for are on disk before they are accepted.
    keeps: bool,
    /// Lines that are to be started together, and their bytes.
    gathered: Vec<(u64, String)>,
    gathered_bytes: usize,
    report: Report,
    arn: Box<str>,
    trace: Option<Box<str>>,
    under_way: VecDeque<UnderWay>,
    under_way_bytes: usize,
    out: Vec<u8>,
    sender: mpsc::Sender<Bytes>,
    tally: Tally,
}

impl Ingest {
    async fn run(mut self, mut body: Incoming) {
        let mut lines = Lines::new(LINE_BYTES_MAX);
        let mut closing = self.app.closing.subscribe();
        let Ok(end) = self.read(&mut body, &mut lines, &mut closing).await else {
            return;
        };
        if end == End::Complete
            && let Some((number, line)) = lines.last()
            && self.line(number, line).await.is_err()
        {
            return;
        }
        if self.start_gathered().await.is_err() {
            return;
        }
        while !self.under_way.is_empty() {
            if self.await_front().await.is_err() {
                return;
            }
        }
        self.sum_up(end);
        // Whoever does not want to know the sum has gone.
        let _ = self.flush().await;
    }

    /// Does what comes, until nothing does.
    async fn read(
        &mut self,
        body: &mut Incoming,
        lines: &mut Lines,
        closing: &mut watch::Receiver<bool>,
    ) -> Result<End, Gone> {
        loop {
            // A client may wait for answers before it goes on: only who owes nothing but the body is too slow.
            let patience = tokio::time::sleep(self.app.body_time_max);
            let is_idle = self.under_way.is_empty();
            let next = tokio::select! {
                frame = body.frame() => First::Frame(frame),
                answer = front(&mut self.under_way), if !is_idle => First::Answers(answer),
                () = until_closing(closing) => First::End(End::Closing),
                () = patience, if is_idle => First::End(End::TooSlow),
            };
            match next {
                First::Answers(answers) => {
                    self.answers(answers).await?;
                    self.flush_unless_ready().await?;
                }
                First::Frame(None) => return Ok(End::Complete),
                First::Frame(Some(Err(_))) => return Ok(End::Broken),
                First::Frame(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    let mut piece = &data[..];
                    while let Some((number, line)) = lines.next(&mut piece) {
                        self.line(number, line).await?;
                    }
                    self.start_gathered().await?;
                    self.flush_unless_ready().await?;
                }
                First::End(end) => return Ok(end),
            }
        }
    }

    async fn await_front(&mut self) -> Result<(), Gone> {
        self.flush_unless_ready().await?;
        let answers = front(&mut self.under_way).await;
        self.answers(answers).await
    }

    /// Hands on what is written, unless more can be written at once.
    async fn flush_unless_ready(&mut self) -> Result<(), Gone> {
        match self.under_way.front() {
            Some(UnderWay::Done(_)) => Ok(()),
            Some(UnderWay::Running(running, _)) if running.is_finished() => Ok(()),
            Some(UnderWay::Running(..) | UnderWay::Kept(..)) | None => self.flush().await,
        }
    }

    /// Starts an execution, once there is room for it.
    async fn line(&mut self, number: u64, line: Line) -> Result<(), Gone> {
        while self.under_way.len() >= UNDER_WAY_MAX || self.under_way_bytes > UNDER_WAY_BYTES_MAX {
            self.await_front().await?;
        }
        self.tally.lines += 1;
        let input = match text(line) {
            Ok(input) => input,
            Err(error) => {
                self.start_gathered().await?;
                return self.done(Answer::refused(number, &error)).await;
            }
        };
        match self.mode {
            Mode::Asynchronous if self.keeps => {
                self.under_way_bytes += input.len();
                self.gathered_bytes += input.len();
                self.gathered.push((number, input));
                match self.gathered.len() < GATHERED_MAX && self.gathered_bytes < GATHERED_BYTES {
                    true => Ok(()),
                    false => self.start_gathered().await,
                }
            }
            Mode::Asynchronous => {
                let started = match self.start(&input) {
                    Ok(begun) if begun.has_to_wait() => {
                        let running = async move { answer(number, begun.acknowledged().await) };
                        let running = UnderWay::Running(tokio::spawn(running), number);
                        self.under_way.push_back(running);
                        return Ok(());
                    }
                    Ok(begun) => begun.acknowledged().await,
                    Err(error) => Err(error),
                };
                self.done(answer(number, started)).await
            }
            Mode::Synchronous => {
                self.under_way_bytes += input.len();
                let (app, arn) = (Arc::clone(&self.app), self.arn.clone());
                let running = run(app, arn, self.trace.clone(), number, input);
                let running = UnderWay::Running(tokio::spawn(running), number);
                self.under_way.push_back(running);
                Ok(())
            }
        }
    }

    /// Starts what was gathered, with one commit for all of it.
    async fn start_gathered(&mut self) -> Result<(), Gone> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let started = loop {
            let started = self.start_kept(&gathered);
            let is_refused = started
                .answers
                .iter()
                .any(|answer| answer.is_refused_for_now);
            if !is_refused || self.under_way.is_empty() {
                break started;
            }
            // What is on its way to the disk makes room there.
            self.await_front().await?;
        };
        self.under_way
            .push_back(UnderWay::Kept(started.kept, started.answers));
        Ok(())
    }

    fn start_kept(&self, gathered: &[(u64, String)]) -> Gathered {
        let aims: Vec<Result<(Arc<Aim>, String), ApiError>> = gathered
            .iter()
            .map(|_| Ok((self.app.aim(&self.arn)?, self.app.ids.uuid())))
            .collect();
        let trace = self.trace.as_deref();
        let requests: Vec<StartRequest<'_>> = gathered
            .iter()
            .zip(&aims)
            .filter_map(|((_, input), aim)| {
                let (aim, name) = aim.as_ref().ok()?;
                Some(request(aim, trace, name, input))
            })
            .collect();
        let started = self.app.executor.start_kept(&requests);
        let mut arns = started.arns.into_iter();
        let answers = gathered.iter().zip(&aims).map(|((number, input), aim)| {
            // Those that were aimed were started, in their order.
            let arn = match aim {
                Err(error) => Err(error.clone()),
                Ok(_) => arns.next().unwrap_or_else(|| Err(ApiError::internal(LOST))),
            };
            Answer {
                bytes: input.len(),
                is_refused_for_now: arn.as_ref().is_err_and(|error| error.code == THROTTLED),
                ..Answer::accepted(*number, arn.as_deref())
            }
        });
        Gathered {
            answers: answers.collect(),
            kept: started.kept,
        }
    }

    /// Starts an execution that nobody waits for.
    fn start(&self, input: &str) -> Result<Begun, ApiError> {
        let name = self.app.ids.uuid();
        let target = self.app.aim(&self.arn)?;
        let request = request(&target, self.trace.as_deref(), &name, input);
        self.app.executor.begin(request)
    }

    /// Takes in an answer, which those of the lines before it may have to precede.
    async fn done(&mut self, answer: Answer) -> Result<(), Gone> {
        if self.under_way.is_empty() {
            return self.answer(answer).await;
        }
        self.under_way.push_back(UnderWay::Done(answer));
        Ok(())
    }

    async fn answers(&mut self, answers: Next) -> Result<(), Gone> {
        match answers {
            Next::One(answer) => self.answer(answer).await,
            Next::Some(answers) => {
                for answer in answers {
                    self.answer(answer).await?;
                }
                Ok(())
            }
        }
    }

    /// Writes an answer whose turn it is.
    async fn answer(&mut self, answer: Answer) -> Result<(), Gone> {
        self.under_way_bytes -= answer.bytes;
        self.app.metrics.line(answer.outcome);
        if answer.is_failure() {
            self.tally.failed += 1;
            if self.tally.failures.len() < FAILURES_MAX {
                self.tally.failures.push(answer.line);
            }
        }
        if answer.is_failure() || self.report == Report::All {
            self.out.extend_from_slice(&answer.json);
            self.out.push(b'\n');
        }
        match self.out.len() < ANSWER_BYTES {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    /// Hands on what is written, once there is room: a connection whose client does not read comes to its end.
    async fn flush(&mut self) -> Result<(), Gone> {
        if self.out.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.out));
        self.sender.send(piece).await.map_err(|_| Gone)
    }

    fn sum_up(&mut self, end: End) {
        let tally = &self.tally;
        let summary = object(|o| {
            o.boolean("complete", end == End::Complete);
            match end {
                End::Complete => {}
                End::Broken => o.string("reason", "the body broke off"),
                End::TooSlow => o.string("reason", "nothing more of the body came in time"),
                End::Closing => o.string("reason", "the server is about to end"),
            }
            o.number("lines", tally.lines);
            o.number("failed", tally.failed);
            o.objects("batchItemFailures", &tally.failures, |o, line| {
                o.string("itemIdentifier", &line.to_string());
            });
        });
        self.out.extend_from_slice(&summary);
        self.out.push(b'\n');
    }
}

/// The answers of the first lines that are under way. Nothing is lost if this is not waited for to its end.
async fn front(under_way: &mut VecDeque<UnderWay>) -> Next {
    let answers = match under_way.front_mut() {
        Some(UnderWay::Running(running, number)) => Next::One(match running.await {
            Ok(answer) => answer,
            Err(_) => Answer::refused(*number, &ApiError::internal(LOST)),
        }),
        Some(UnderWay::Kept(kept, answers)) => {
            let result = kept.wait().await;
            let mut answers = std::mem::take(answers);
            if let Err(error) = result {
                for answer in &mut answers {
                    if !answer.is_failure() {
                        let bytes = answer.bytes;
                        *answer = Answer::refused(answer.line, &error);
                        answer.bytes = bytes;
                    }
                }
            }
            Next::Some(answers)
        }
        Some(UnderWay::Done(_)) | None => match under_way.pop_front() {
            Some(UnderWay::Done(answer)) => return Next::One(answer),
            // Nobody asks while there is none.
            Some(UnderWay::Running(..) | UnderWay::Kept(..)) | None => {
                return std::future::pending().await;
            }
        },
    };
    under_way.pop_front();
    answers
}

/// The answer to a start that nobody waits for.
fn answer(number: u64, started: Result<Started, ApiError>) -> Answer {
    let arn = match started {
        Ok(Started::New { arn, .. }) => Ok(arn),
        // Its name is new.
        Ok(Started::Taken { .. }) => Err(ApiError::new(
            "ExecutionAlreadyExists",
            "Execution Already Exists",
        )),
        Err(error) => Err(error),
    };
    Answer::accepted(number, arn.as_deref())
}

/// The text of an input.
fn text(line: Line) -> Result<String, ApiError> {
    let too_long = || {
        ApiError::validation(format!(
            "1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have length less than \
             or equal to {INPUT_CHARS_MAX}"
        ))
    };
    let Line::Whole(bytes) = line else {
        return Err(too_long());
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("Invalid State Machine Execution Input: 'not UTF-8 at byte {at}'");
        ApiError::new("InvalidExecutionInput", message)
    })?;
    match text.len() > INPUT_CHARS_MAX && text.chars().count() > INPUT_CHARS_MAX {
        true => Err(too_long()),
        false => Ok(text),
    }
}

/// What the executor is asked for.
fn request<'r>(
    aim: &'r Aim,
    trace: Option<&'r str>,
    name: &'r str,
    input: &'r str,
) -> StartRequest<'r> {
    StartRequest {
        origin: &aim.origin,
        deployed: Arc::clone(&aim.deployed),
        name,
        input,
        trace_header: trace,
    }
}

async fn run_to_end(
    app: &App,
    arn: &str,
    trace: Option<&str>,
    input: &str,
) -> Result<Finished, ApiError> {
    let (name, aim) = (app.ids.uuid(), app.aim(arn)?);
    app.executor
        .run_sync(request(&aim, trace, &name, input))
        .await
}

/// Runs an execution to its end. Its input counts as a body of a request while it does.
async fn run(
    app: Arc<App>,
    arn: Box<str>,
    trace: Option<Box<str>>,
    line: u64,
    input: String,
) -> Answer {
    let bytes = input.len();
    let all = app.bodies.fetch_add(bytes, Ordering::Relaxed) + bytes;
    let mut answer = if all > app.bodies_bytes_max {
        let message = "Too many large requests at a time; try again";
        Answer::refused(line, &ApiError::new("ThrottlingException", message))
    } else {
        match run_to_end(&app, &arn, trace.as_deref(), &input).await {
            Err(error) => Answer::refused(line, &error),
            Ok(Finished { ended, .. }) => {
                let outcome = match ended.status {
                    Status::Succeeded => LineOutcome::Succeeded,
                    _ => LineOutcome::Failed,
                };
                Answer::new(line, outcome, |o| {
                    o.string("status", ended.status.as_str());
                    if let Some(output) = &ended.output {
                        o.raw("output", output.as_bytes());
                    }
                    if let Some(failure) = &ended.failure {
                        o.maybe("error", failure.error.as_deref());
                        o.maybe("cause", failure.cause.as_deref());
                    }
                })
            }
        }
    };
    app.bodies.fetch_sub(bytes, Ordering::Relaxed);
    answer.bytes = bytes;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries() {
        let order = |machine: &str, mode, report| {
            Ok(Order {
                machine: machine.to_owned(),
                mode,
                report,
            })
        };
        use Mode::{Asynchronous, Synchronous};
        use Report::{All, Failures};
        for (path, query, expected) in [
            ("a", None, order("a", Asynchronous, All)),
            ("a", Some(""), order("a", Asynchronous, All)),
            (
                "a%3Alive",
                Some("mode=sync"),
                order("a:live", Synchronous, All),
            ),
            (
                "%C3%A9:1",
                Some("mode=async&report=failures"),
                order("é:1", Asynchronous, Failures),
            ),
            ("a", Some("mode=Sync"), Err(400)),
            ("a", Some("x=1"), Err(400)),
            ("%", None, Err(404)),
            ("%4", None, Err(404)),
            ("%zz", None, Err(404)),
            ("%ff", None, Err(404)),
        ] {
            let path = format!("{BEFORE}{path}{BEHIND}");
            assert!(is_ours(&path));
            let found = Order::read(&path, query).map_err(|error| error.status);
            assert_eq!(found, expected, "{path} {query:?}");
        }
        for path in [
            "/v1/state-machines//executions",
            "/v1/state-machines/a/b/executions",
            "/v1/state-machines/a",
            "/",
        ] {
            assert!(!is_ours(path), "{path}");
        }
    }
}
