//! Arguments, and what they have in common.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::events::{Events, GENERATED_MAX};
use crate::load::{Load, Loop};
use crate::page::ReportArgs;
use crate::schedule::{RATE_FORMS, Rate, Schedule, Spread};
use crate::sign::Identity;
use crate::target::{Expect, SPEC_FORMS, Site, Spec};

/// Loads a Step Functions engine, and says what its callers would see.
///
/// In an open loop requests are due at times that are fixed before the first is sent, and latency runs from then: a target
/// that stalls cannot have the tester wait politely. Every output is held against the expected one. One wrong, lost or
/// failed execution fails the test, whatever its speed.
#[derive(Parser, Debug)]
#[command(name = "quickstep-loadtest", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  What the tester itself can do, and how punctual it is:
    quickstep-loadtest run --target null --in-flight 1 --threads 1
    quickstep-loadtest run --target null --rate 500000 --threads 1
  A target that stalls for a second of every ten: compare the two lines of latency:
    quickstep-loadtest run --target stall --rate 1000 --duration 30s
  The embedded engine, then a server of its own, at a rate:
    quickstep-loadtest run --target embedded --definition order.asl.json --events order.ndjson --tasks tasks.json --rate 50000
    quickstep-loadtest run --target serve:target/release/quickstep … --rate 5000 --arrivals poisson
  How much it can do, and what that costs in latency:
    quickstep-loadtest sweep --target serve:target/release/quickstep …
  Another engine with the same events and the same checks:
    quickstep-loadtest run --target http://127.0.0.1:5000,mode=standard …
  Two of them in turns:
    quickstep-loadtest compare --target embedded --target embedded,log=ALL … --rate 20000
  Hours at 70 % of what it can do; and a server that is killed again and again:
    quickstep-loadtest soak --target serve:target/release/quickstep … --duration 2h
    quickstep-loadtest crash --binary target/release/quickstep … --kills 10
  A page with plots of results that were written with --json:
    quickstep-loadtest report sweep.json -o report.html

Exit codes: 0 if all is right, 1 if something was wrong, lost, failed or throttled, 2 if the test could not be done.";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// One load, against one target.
    Run(RunArgs),
    /// What a target can do at most, and its latency at shares of that.
    Sweep(SweepArgs),
    /// A load for a long time, and whether memory, files or latency grow.
    Soak(SoakArgs),
    /// A server that is killed under load: is what it has acknowledged still there?
    Crash(CrashArgs),
    /// Two targets in turns, in one test: what they differ by is not the hour of the day.
    Compare(CompareArgs),
    /// A page of HTML, with plots, of what tests have written with --json.
    Report(ReportArgs),
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The target: see the forms below.
    #[arg(long, long_help = TARGET_HELP)]
    pub(crate) target: Spec,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// How long it lasts, without the warm-up.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
}

const TARGET_HELP: &str = "What is loaded: null (nothing, for the pace alone), stall (stalls for a second of every ten), embedded \
(the engine in this process), serve:BINARY (a `quickstep serve` that is started for it), or the address of any server of the Step \
Functions API. Settings follow behind commas: mode=sync|async|standard|ingest, connections=N, durable=DIR, \
log=OFF|FATAL|ERROR|ALL, workers=N, definition=FILE, stall-ms=N, period-ms=N.";

#[derive(Args, Clone, Debug)]
#[group(id = "pace", multiple = true)]
pub(crate) struct PaceArgs {
    /// Open loop: requests a second.
    #[arg(long, value_name = "RATE", help = format!("Open loop: requests a second: {RATE_FORMS}"), conflicts_with_all = ["in_flight", "replay"])]
    pub(crate) rate: Option<Rate>,
    /// How requests are spread.
    #[arg(long, value_enum, default_value = "even")]
    pub(crate) arrivals: Spread,
    /// Closed loop: so many requests are under way, for saturation; no more than the target has connections, or threads if it
    /// answers on the thread that calls it.
    #[arg(long, value_name = "N", conflicts_with = "replay")]
    pub(crate) in_flight: Option<usize>,
    /// Open loop: each event once, when it happened: at the time in this member of it (RFC 3339, or seconds since 1970).
    #[arg(long, value_name = "MEMBER")]
    pub(crate) replay: Option<String>,
    /// Replay so many times as fast.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) speed: f64,
}

#[derive(Args, Debug)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The target.
    #[arg(long, long_help = TARGET_HELP)]
    pub(crate) target: Spec,
    /// How long each step lasts.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub(crate) step: Duration,
    /// How requests are spread.
    #[arg(long, value_enum, default_value = "poisson")]
    pub(crate) arrivals: Spread,
    /// Requests under way in the closed loop that comes first; no more than connections, as in `run`.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    /// A rate is sustained if p99 is no longer than that, nothing is wrong, and answers keep up.
    #[arg(long, default_value = "100ms", value_parser = duration)]
    pub(crate) p99_max: Duration,
    /// Shares of the closed loop's rate that are tried, in per cent.
    #[arg(long, value_delimiter = ',', default_value = "10,25,50,70,80,90,100")]
    pub(crate) shares: Vec<f64>,
}

#[derive(Args, Debug)]
pub(crate) struct SoakArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The target.
    #[arg(long, long_help = TARGET_HELP)]
    pub(crate) target: Spec,
    /// How long it lasts.
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(crate) duration: Duration,
    /// The share of what it can do, in per cent; found by a closed loop that comes first.
    #[arg(long, default_value = "70", value_parser = constant)]
    pub(crate) share: f64,
    /// A rate instead of a share.
    #[arg(long, value_parser = constant)]
    pub(crate) rate: Option<f64>,
    /// Requests under way in the closed loop that comes first; no more than connections, as in `run`.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    /// A directory whose files and bytes are watched.
    #[arg(long, value_name = "DIR")]
    pub(crate) watch: Option<PathBuf>,
    /// Fail if memory grows by more than so many MiB an hour after the first fifth.
    #[arg(long, value_name = "MIB")]
    pub(crate) rss_growth_max: Option<f64>,
}

#[derive(Args, Debug)]
pub(crate) struct CrashArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The server's program.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: PathBuf,
    /// Its directory; one that is not there yet.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// How often it is killed.
    #[arg(long, default_value_t = 5)]
    pub(crate) kills: u32,
    /// Longest time between two of them; the shortest is a fifth of it.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub(crate) every: Duration,
    /// STANDARD executions started a second.
    #[arg(long, default_value = "200", value_parser = constant)]
    pub(crate) rate: f64,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,
}

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The two targets.
    #[arg(long, required = true, num_args = 1, long_help = TARGET_HELP)]
    pub(crate) target: Vec<Spec>,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// How long each turn lasts.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub(crate) turn: Duration,
    /// How many turns each target has.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
}

/// What all commands take.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// The definition that is run.
    #[arg(long, value_name = "FILE")]
    pub(crate) definition: Option<PathBuf>,
    /// The events, a JSON text a line, sent one after the other and again from the first.
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Take the lines of --events as templates, and make so many events of them: ${i}, ${hex}, ${int:1:100}, ${pick:a|b}.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(GENERATED_MAX)))]
    pub(crate) generate: Option<u32>,
    /// The right outputs: a file with one a line; `reference`, a run of the embedded engine before the load; or `none`.
    #[arg(long, default_value = "reference", value_name = "FILE|reference|none")]
    pub(crate) expect: Expect,
    /// Who answers tasks, as in `quickstep run`.
    #[arg(long, value_name = "FILE[#TestCase]")]
    pub(crate) tasks: Option<String>,
    /// Threads that send.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// What arrivals and events at random come from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long the beginning is not measured.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(crate) warm_up: Duration,
    /// The length of an interval of the series; longer in tests of more than an hour.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// How long is waited at the end for what was sent late, and for answers.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) drain: Duration,
    /// How long a server may take for one answer; then its connection is closed, and the request is one without an answer.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Spin for so many microseconds before a request is due: punctual, and costs a core. 200 for null and stall, else 0.
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) spin: Option<u64>,

    /// Write the report as JSON.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) json: Option<PathBuf>,
    /// Write the percentiles for HdrHistogram's plotter; of several runs, -2, -3 and so on follow.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write an interval log for HdrHistogram's tools; of several runs, -2, -3 and so on follow.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hlog: Option<PathBuf>,
    /// Show no progress.
    #[arg(long, short, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Sign requests with this access key. Requests are not signed without.
    #[arg(
        long,
        env = "AWS_ACCESS_KEY_ID",
        hide_env_values = true,
        help_heading = "Servers",
        requires = "secret_key"
    )]
    pub(crate) access_key: Option<String>,
    /// The secret key.
    #[arg(
        long,
        env = "AWS_SECRET_ACCESS_KEY",
        hide_env_values = true,
        help_heading = "Servers"
    )]
    pub(crate) secret_key: Option<String>,
    /// The session's token.
    #[arg(
        long,
        env = "AWS_SESSION_TOKEN",
        hide_env_values = true,
        help_heading = "Servers"
    )]
    pub(crate) session_token: Option<String>,
    /// The region in signatures.
    #[arg(
        long,
        env = "AWS_REGION",
        default_value = "us-east-1",
        help_heading = "Servers"
    )]
    pub(crate) region: String,
    /// The role of machines that are made.
    #[arg(
        long,
        default_value = "arn:aws:iam::123456789012:role/loadtest",
        help_heading = "Servers"
    )]
    pub(crate) role: String,
    /// Load this machine, which is there already.
    #[arg(long, value_name = "ARN", help_heading = "Servers")]
    pub(crate) machine: Option<String>,
    /// Root certificates in PEM, instead of the system's.
    #[arg(long, value_name = "FILE", help_heading = "Servers")]
    pub(crate) ca: Option<PathBuf>,
    /// A further argument of the `quickstep serve` that is started.
    #[arg(
        long,
        value_name = "ARGUMENT",
        allow_hyphen_values = true,
        help_heading = "Servers"
    )]
    pub(crate) serve_arg: Vec<String>,
}

/// Most intervals of a run, so that memory does not grow with its length.
const INTERVALS_MAX: u32 = 3_600;

impl Common {
    /// What targets have in common.
    ///
    /// # Errors
    ///
    /// If events cannot be read.
    pub(crate) fn site(&self, run: String) -> Result<Site, String> {
        let events = match (&self.events, self.generate) {
            (None, _) => None,
            (Some(file), None) => Some(Events::read(file)?),
            (Some(file), Some(count)) => Some(Events::generate(file, count, self.seed)?),
        };
        let identity = match (&self.access_key, &self.secret_key) {
            (Some(access_key), Some(secret_key)) => Some(Identity {
                access_key: access_key.clone(),
                secret_key: secret_key.clone(),
                token: self.session_token.clone(),
                region: self.region.clone(),
            }),
            _ => None,
        };
        Ok(Site {
            definition: self.definition.clone(),
            events,
            expect: self.expect.clone(),
            tasks: self.tasks.clone(),
            threads: self.threads.into(),
            certificates: self.ca.clone(),
            identity,
            role: self.role.clone(),
            machine: self.machine.clone(),
            serve_args: self.serve_arg.clone(),
            run,
            timeout: self.timeout,
        })
    }

    /// A load of so long.
    pub(crate) fn load(&self, spec: &Spec, pace: Loop, duration: Duration) -> Load {
        let spin = self
            .spin
            .unwrap_or(if spec.runs_executions() { 0 } else { 200 });
        let pace = match pace {
            // What is reported is what can be.
            Loop::Closed { in_flight } => Loop::Closed {
                in_flight: in_flight.min(spec.under_way_max(self.threads.into())),
            },
            open @ Loop::Open(_) => open,
        };
        Load {
            pace,
            warm_up: self.warm_up,
            duration,
            threads: self.threads.into(),
            interval: self
                .interval
                .max(duration / INTERVALS_MAX)
                .max(Duration::from_millis(10)),
            drain: self.drain,
            spin: Duration::from_micros(spin),
        }
    }

    /// Arrivals at a rate, in the warm-up and in what is measured: the warm-up has the rate of the beginning.
    ///
    /// # Errors
    ///
    /// If there are none, or too many segments.
    pub(crate) fn at_rate(
        &self,
        rate: &Rate,
        spread: Spread,
        duration: Duration,
    ) -> Result<Loop, String> {
        let mut segments = rate.segments(duration.as_secs_f64())?;
        if let Some(first) = segments.first().copied() {
            let warm_up = crate::schedule::Segment {
                seconds: self.warm_up.as_secs_f64(),
                to: first.from,
                ..first
            };
            segments.insert(0, warm_up);
        }
        segments.retain(|segment| segment.seconds > 0.0);
        Ok(Loop::Open(Schedule::Rate {
            segments: segments.into(),
            spread,
            seed: self.seed,
        }))
    }
}

impl PaceArgs {
    /// The loop, and how long it lasts.
    ///
    /// # Errors
    ///
    /// If it is not said which, or if events have no times.
    pub(crate) fn pace(
        &self,
        common: &Common,
        duration: Duration,
    ) -> Result<(Loop, Duration), String> {
        if let Some(rate) = &self.rate {
            return Ok((common.at_rate(rate, self.arrivals, duration)?, duration));
        }
        if let Some(in_flight) = self.in_flight {
            return match in_flight {
                1..=1_000_000 => Ok((Loop::Closed { in_flight }, duration)),
                _ => Err("--in-flight: a number from 1 to 1,000,000 is wanted".to_owned()),
            };
        }
        let Some(member) = &self.replay else {
            return Err("how is it paced? --rate for an open loop, --in-flight for a closed one, or --replay".to_owned());
        };
        if !(self.speed > 0.0 && self.speed <= 1e6) {
            return Err("--speed: a number above 0 and up to a million is wanted".to_owned());
        }
        let events = common.events.as_deref().ok_or("--replay wants --events")?;
        let times = Events::read(events)?.times(member, self.speed)?;
        let last = Duration::from_nanos(times.last().copied().unwrap_or_default());
        // Nothing of what happened is warm-up: it is put behind it.
        let warm_up = crate::pacer::nanos(common.warm_up);
        let times = times.into_iter().map(|at| at + warm_up).collect();
        Ok((
            Loop::Open(Schedule::Times(times)),
            last + Duration::from_millis(1),
        ))
    }
}

/// Reads a number above zero.
fn constant(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(Rate::Constant(rate)) if rate > 0.0 => Ok(rate),
        _ => Err(format!("`{text}`: a number above 0 is wanted")),
    }
}

/// Reads `10s`, `500ms`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        other => return Err(format!("`{other}` is no unit: ms, s, m and h are")),
    };
    match digits.parse::<f64>() {
        Ok(number) if (0.0..=1e6).contains(&(number * unit)) => {
            Ok(Duration::from_secs_f64(number * unit))
        }
        _ => Err(format!(
            "`{text}` is no duration: 500ms, 10s, 2m and 1h are, up to a million seconds"
        )),
    }
}

/// The forms of targets, for errors that come after parsing.
pub(crate) fn wants_target() -> String {
    format!("two targets are wanted, each with --target: {SPEC_FORMS}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_and_rates_are_read() {
        assert_eq!(duration("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("1.5h").unwrap(), Duration::from_secs(5400));
        assert_eq!(constant("2.5").unwrap(), 2.5);
        for wrong in ["", "0", "-1", "inf", "nan", "1..2"] {
            assert!(constant(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "x", "-1s", "1d", "1e9s", "nans"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
