//! `quickstep run`: one execution for every event.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use super::deliver::{self, DeadLetterFile, DeliverArgs};
use super::log::{self, Log, LogArgs, NoLog};
use super::plain::Plain;
use super::record::{Form, Label, LineRecorder, OnInvalid, Tally};
use super::report::{self, Printer};
use super::scrape;
use super::services::ServiceArgs;
use super::validate::TypeArg;
use super::{
    EXIT_BROKEN_PIPE, EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_SUCCESS, EXIT_TROUBLE, definition,
    stdout,
};
use crate::engine::{
    Clock, DirectorySource, EVENT_BYTES_MAX, Engine, Error, Events, LineSource, Order, Reading,
    Source, StateMachine, Stream, StreamEnd, StreamOptions, StreamReport, SystemClock, TimeMode,
    check_name,
};
use crate::log::LogCounters;
use crate::metrics::LogFigures;
use crate::task::TaskRegistry;
use crate::task::mock::MockSource;

/// Runs a state machine: one execution for every line of events.
///
/// Each line of EVENTS is the input of one execution, as JSON. Outputs go to the standard output in the order of the
/// events, failures to the standard error with the number of their line.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// A definition in Amazon States Language; `-` is the standard input.
    #[arg(value_name = "DEFINITION")]
    pub definition: String,
    /// Events, one JSON value a line; `-`, or nothing, is the standard input. Or a directory, whose `.json` files are one
    /// event each, and whose `.ndjson` and `.jsonl` files are one for each line.
    #[arg(value_name = "EVENTS.ndjson|DIRECTORY")]
    pub events: Option<String>,
    /// One input, as JSON, in place of EVENTS.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["events", "input_file"])]
    pub input: Option<String>,
    /// A file that is one input, in place of EVENTS.
    #[arg(long, value_name = "FILE", conflicts_with = "events")]
    pub input_file: Option<String>,
    /// Answers for tasks: a file of answers by resource, or a MockConfigFile.json and one of its test cases.
    #[arg(long, value_name = "FILE[#TestCase]")]
    pub tasks: Option<String>,
    /// What other tasks are done with.
    #[command(flatten)]
    pub services: ServiceArgs,
    /// The machine's name, of 1 to 80 characters; the definition's file name up to its first dot, unless given.
    #[arg(long)]
    pub name: Option<String>,
    /// The type of state machine. STANDARD ones may take longer than five minutes, and may use `.sync`,
    /// `.waitForTaskToken` and activities. `quickstep validate` assumes STANDARD unless told otherwise.
    #[arg(long = "type", value_enum, ignore_case = true, default_value_t = TypeArg::Express)]
    pub machine_type: TypeArg,
    /// Whether waits, retries and timeouts take time. Virtual time skips them.
    #[arg(long, value_enum, ignore_case = true, default_value_t = TimeArg::Real)]
    pub time: TimeArg,
    /// Threads that run executions; one for every core, unless given.
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZero<usize>>,
    /// Most executions that are open at a time, those that wait among them.
    #[arg(long, value_name = "N", default_value = "10000")]
    pub in_flight: NonZero<usize>,
    /// Print one JSON object for every event: line, name, status, output or error and cause, duration.
    #[arg(long)]
    pub envelope: bool,
    /// Print results as executions end, not in the order of the events.
    #[arg(long)]
    pub unordered: bool,
    /// Go on after lines that are not JSON.
    #[arg(long)]
    pub keep_going: bool,
    /// How events are delivered, and what becomes of those that fail.
    #[command(flatten)]
    pub deliver: DeliverArgs,
    /// What is logged, and where it goes.
    #[command(flatten)]
    pub log: LogArgs,
    /// Let Prometheus scrape http://HOST:PORT/metrics while this runs. With port 0 any free one is taken. Where it listens is
    /// said on the standard error, unless --quiet.
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics: Option<String>,
    /// No progress and no summary.
    #[arg(long, short)]
    pub quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  quickstep run order.asl.json orders.ndjson > results.ndjson
  quickstep run order.asl.json --input '{\"id\": 1}' --tasks tasks.json
  tail -f orders.ndjson | quickstep run order.asl.json --envelope
  quickstep run order.asl.json --input-file order.json --tasks MockConfigFile.json#HappyPath
  quickstep run order.asl.json orders.ndjson --deliveries 3 --dead-letter failed.ndjson
  quickstep run order.asl.json incoming/ --watch 5
  quickstep run order.asl.json orders.ndjson --endpoint lambda=http://127.0.0.1:9000
  quickstep run order.asl.json orders.ndjson --metrics 127.0.0.1:9464
  quickstep run order.asl.json orders.ndjson --time virtual --log events.ndjson --log-level ERROR
  quickstep run order.asl.json orders.ndjson --log events.qslog --log-format compact --log-rotate-bytes 100000000

A file of answers for --tasks; `exec` names a program that answers JSON lines:
  {\"tasks\": {
    \"arn:aws:lambda:*:function:quote\": {\"result\": {\"cost\": 9.9}},
    \"arn:aws:lambda:*:function:charge\": {\"error\": \"Card.Declined\", \"cause\": \"no funds\"},
    \"arn:aws:states:::sqs:sendMessage\": {\"echo\": true},
    \"arn:aws:lambda:*:function:stock\": {\"exec\": [\"python3\", \"stock.py\"]}}}

For .sync, .waitForTaskToken and activities, which need --type standard, the answer is the
result of the task: what the job came to, what the token was sent back with. What the service
answers before that has no place in the file; in --log, TaskSubmitted shows it as {}.

Exit codes: 0 if every execution succeeded, 1 if one failed, 2 if the run could not be done or
stopped at an invalid line, 130 if it was interrupted. Interrupted once, it reads no more and waits
for what is under way, for --drain seconds at most; interrupted again, it ends at once.";

/// `--time`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeArg {
    /// They take the time that they say.
    Real,
    /// They take none.
    Virtual,
}

/// What cannot be done, for the standard error.
pub(super) struct Trouble(pub(super) String);

pub(super) type Attempt<T> = Result<T, Trouble>;

pub(super) fn run(args: &RunArgs) -> u8 {
    let mut err = Plain(io::stderr());
    match attempt(args, &mut err) {
        Ok(code) => code,
        Err(Trouble(message)) => {
            // If nobody reads the standard error, the exit code has to do.
            let _ = writeln!(err, "error: {message}");
            EXIT_TROUBLE
        }
    }
}

fn attempt(args: &RunArgs, err: &mut impl Write) -> Attempt<u8> {
    if let Some(name) = &args.name {
        check_name(name).map_err(|error| Trouble(format!("--name: {error}")))?;
    }
    let loaded = definition::load(
        &args.definition,
        args.name.as_deref(),
        args.machine_type.into(),
        err,
    );
    let Ok(Some(machine)) = loaded else {
        return Ok(EXIT_TROUBLE);
    };
    let engine = engine(args, &machine)?;
    for (resource, state) in engine.unhandled(&machine) {
        // As above.
        let _ = writeln!(
            err,
            "warning: nothing answers for {resource} (state {state}); executions that call it fail. --tasks FILE \
             gives answers, --endpoint URL an address to call, see `quickstep run --help`"
        );
    }
    let source = open(args)?;
    let dead_letters = args.deliver.open_dead_letters()?;
    let opened = args.log.open();
    let opened = opened.map_err(|error| Trouble(error.to_string()))?;
    if let Some(log) = &opened {
        let counters = log.counters_reader();
        let metrics = engine.metrics();
        metrics.add_log(move || LogFigures::from(&counters()));
    }
    if let Some(address) = &args.metrics {
        serve_metrics(args, address, &engine, err)?;
    }
    match opened {
        None => Ok(stream(
            args,
            &engine,
            &machine,
            (source, dead_letters),
            || NoLog,
        )),
        Some(log) => {
            let recorder = || log::Stream(log.recorder());
            let code = stream(args, &engine, &machine, (source, dead_letters), recorder);
            let counters = args.log.close(log);
            if let Some(error) = unwritten(&counters) {
                return Err(Trouble(error));
            }
            let dropped = counters.dropped();
            if dropped > 0 {
                // As above.
                let _ = writeln!(
                    err,
                    "warning: {dropped} events are missing in the log, which was too slow; --log-policy block waits for it"
                );
            }
            Ok(code)
        }
    }
}

/// What went wrong in writing the log.
fn unwritten(counters: &LogCounters) -> Option<String> {
    counters.sinks.iter().find_map(|sink| {
        let error = sink.error.as_deref()?;
        let lost = sink.dropped.write_failed;
        Some(format!(
            "failed to write {}: {error}; {lost} events are lost",
            sink.name
        ))
    })
}

fn engine(args: &RunArgs, machine: &StateMachine) -> Attempt<Engine> {
    let mut tasks = TaskRegistry::new();
    if let Some(text) = &args.tasks {
        MockSource::parse(text)
            .load(machine.name(), &mut tasks)
            .map_err(|error| Trouble(error.to_string()))?;
    }
    if args.services.are_asked_for() {
        let services = args.services.options(None).map_err(Trouble)?;
        services.register(&mut tasks);
    }
    let time = match args.time {
        TimeArg::Real => TimeMode::Real,
        TimeArg::Virtual => TimeMode::Virtual,
    };
    let engine = Engine::builder().tasks(tasks).time(time);
    let engine = match args.workers {
        Some(workers) => engine.workers(workers.get()),
        None => engine,
    };
    engine.build().map_err(|error| Trouble(error.to_string()))
}

fn serve_metrics(
    args: &RunArgs,
    address: &str,
    engine: &Engine,
    err: &mut impl Write,
) -> Attempt<()> {
    let local = scrape::serve(address, engine.metrics()).map_err(|error| {
        Trouble(format!(
            "--metrics: failed to listen at {address}: {error}; it takes an address and a port, as in 127.0.0.1:9464"
        ))
    })?;
    if !args.quiet {
        // If nobody reads the standard error, nobody wants to know.
        let _ = writeln!(err, "metrics: http://{local}/metrics");
    }
    Ok(())
}

/// Events from a file, from the standard input, or one input.
enum Input {
    Files(DirectorySource),
    Lines(LineSource<Box<dyn Read + Send>>),
    One(Option<Vec<u8>>),
}

impl Source for Input {
    fn poll(&mut self, context: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error> {
        match self {
            Input::Files(files) => files.poll(context, events),
            Input::Lines(lines) => lines.poll(context, events),
            Input::One(input) => {
                if let Some(input) = input.take() {
                    events.push(&input);
                }
                Ok(Reading::End)
            }
        }
    }
}

fn open(args: &RunArgs) -> Attempt<Input> {
    let unreadable =
        |file: &str, error: io::Error| Trouble(format!("failed to read {file}: {error}"));
    let directory = args.events.as_deref();
    let directory = directory.filter(|path| Path::new(path).is_dir());
    if directory.is_none() {
        args.deliver.refuse_directory_options()?;
    }
    if let Some(input) = &args.input {
        return Ok(Input::One(Some(input.clone().into_bytes())));
    }
    if let Some(file) = &args.input_file {
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|file| {
                file.take(EVENT_BYTES_MAX as u64 + 1)
                    .read_to_end(&mut bytes)
            })
            .map_err(|error| unreadable(file, error))?;
        if bytes.len() > EVENT_BYTES_MAX {
            return Err(Trouble(format!(
                "{file} has more than {EVENT_BYTES_MAX} bytes, which is more than an input may have"
            )));
        }
        return Ok(Input::One(Some(bytes)));
    }
    if let Some(directory) = directory {
        let files = DirectorySource::new(directory, args.deliver.directory());
        return files
            .map(Input::Files)
            .map_err(|error| Trouble(error.to_string()));
    }
    let reader: Box<dyn Read + Send> = match args.events.as_deref() {
        Some(file) if file != "-" => {
            Box::new(File::open(file).map_err(|error| unreadable(file, error))?)
        }
        _ if args.definition == "-" => {
            let message = "the definition comes from the standard input, so the events cannot: name a file, or use \
                           --input";
            return Err(Trouble(message.to_owned()));
        }
        None if io::stdin().is_terminal() => {
            let message = "no events: name a file with one JSON value a line, pipe them in, or use --input '{…}' for \
                           one execution";
            return Err(Trouble(message.to_owned()));
        }
        _ => Box::new(io::stdin()),
    };
    Ok(Input::Lines(LineSource::new(reader)))
}

/// Runs the stream and reports; returns the exit code.
fn stream<L: Log + 'static>(
    args: &RunArgs,
    engine: &Engine,
    machine: &StateMachine,
    (source, dead_letters): (Input, Option<DeadLetterFile>),
    log: impl Fn() -> L + Sync,
) -> u8 {
    let clock = SystemClock::new();
    let options = StreamOptions {
        in_flight: args.in_flight.get(),
        order: if args.unordered {
            Order::Completion
        } else {
            Order::Events
        },
        delivery: args.deliver.delivery(),
        ..StreamOptions::default()
    };
    let is_directory = matches!(source, Input::Files(_));
    let goes_on = args.keep_going || is_directory || dead_letters.is_some();
    let mut stream = Stream::new(engine, machine, options);
    if let Some(mut file) = dead_letters {
        stream = stream.dead_letters(move |letter| file.put(letter));
    }
    drain_when_interrupted(args, engine, &stream);
    let form = if args.envelope {
        Form::Envelopes
    } else {
        Form::Outputs
    };
    let on_invalid = if goes_on {
        OnInvalid::Pass
    } else {
        OnInvalid::Stop
    };
    let label = if is_directory {
        Label::Name
    } else {
        Label::Line
    };
    let bar = if args.quiet { None } else { report::progress() };
    let mut printer = Printer::new(io::stdout().lock(), Plain(io::stderr()), bar);
    let recorder = || LineRecorder::new(form, label, on_invalid, log());
    let (report, recorders) = stream.run(source, recorder, &mut printer);
    printer.finish();
    let mut tally = Tally::new();
    for recorder in recorders {
        tally.add(&recorder.into_tally());
    }
    let elapsed = Duration::from_nanos(clock.nanos());
    let tells_of_events = is_directory || args.deliver.may_repeat() || report.in_flight > 0;
    let events = tells_of_events.then(|| report::events(&report));
    finish(args, &report, &tally, elapsed, &events.unwrap_or_default())
}

fn drain_when_interrupted(args: &RunArgs, engine: &Engine, stream: &Stream) {
    let (stopper, engine) = (stream.stopper(), engine.clone());
    let (patience, quiet) = (Duration::from_secs(args.deliver.drain.into()), args.quiet);
    let again = AtomicBool::new(false);
    // Without a handler the process just ends, as it would have anyway.
    let _ = ctrlc::set_handler(move || {
        if again.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_INTERRUPTED.into());
        }
        let under_way = engine.in_flight();
        if under_way > 0 && !quiet {
            // If nobody reads the standard error, nobody wants to know.
            let _ = writeln!(
                io::stderr(),
                "waiting for {}, {} s at most; interrupt again to end at once",
                report::count(under_way as u64, "execution"),
                patience.as_secs()
            );
        }
        stopper.drain(patience);
    });
}

fn finish(
    args: &RunArgs,
    report: &StreamReport,
    tally: &Tally,
    elapsed: Duration,
    events: &str,
) -> u8 {
    let mut err = Plain(io::stderr());
    // If nobody reads the standard error, the exit code has to do.
    let mut code = match &report.end {
        StreamEnd::Finished if tally.ended() == tally.succeeded && tally.invalid == 0 => {
            EXIT_SUCCESS
        }
        StreamEnd::Finished => EXIT_FAILURE,
        StreamEnd::Refused => EXIT_TROUBLE,
        StreamEnd::Stopped | StreamEnd::Drained => {
            let _ = writeln!(err, "interrupted");
            EXIT_INTERRUPTED
        }
        StreamEnd::ReadFailed(error) => {
            let _ = writeln!(err, "error: {error}");
            EXIT_TROUBLE
        }
        StreamEnd::WriteFailed(error) => match deliver::dead_letter_error(error) {
            Some(message) => {
                let _ = writeln!(err, "error: {message}");
                EXIT_TROUBLE
            }
            None => match stdout::not_written(error, &mut err) {
                EXIT_BROKEN_PIPE => return EXIT_BROKEN_PIPE,
                code => code,
            },
        },
    };
    if let Some(error) = &report.ack_error {
        let _ = writeln!(err, "error: {error}");
        if report.ack_failures > 1 {
            let _ = writeln!(
                err,
                "error: and {} more of that kind",
                report.ack_failures - 1
            );
        }
        code = EXIT_TROUBLE;
    }
    if !args.quiet {
        let summary = report::summary(tally, elapsed) + events;
        let _ = err.write_all(summary.as_bytes());
    }
    code
}
