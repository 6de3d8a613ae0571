//! `quickstep cost`: what a load would cost on AWS.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};

use super::{EXIT_SUCCESS, EXIT_TROUBLE, definition, stdout};
use crate::asl::{self, MachineType};
use crate::cost::{
    self, Bill, Comparison, EVENTS_MAX, Execution, Measured, Prices, Sample, Usage, grouped,
};
use crate::task::TaskRegistry;
use crate::task::mock::MockSource;

/// Tells what a load would cost a month on AWS, as STANDARD and as EXPRESS.
///
/// STANDARD is billed by state transitions, EXPRESS by requests and by durations times memory. With --events the machine is run
/// on a sample of your events, in virtual time, to count transitions and waiting; what you say yourself comes before that.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CostArgs {
    /// A definition in Amazon States Language; `-` is the standard input. Not needed if --transitions says what there is to
    /// know of it.
    #[arg(value_name = "DEFINITION", required_unless_present_any = ["profile", "transitions"])]
    pub definition: Option<String>,
    /// Executions a month; 10k, 2M and 3G are short for thousands, millions and billions.
    #[arg(long, value_name = "N", value_parser = count, required_unless_present_any = ["per_second", "profile"])]
    pub executions: Option<u64>,
    /// Executions a second, all of a month of 730 hours, in place of --executions.
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "executions")]
    pub per_second: Option<f64>,
    /// A sample of events, one JSON value a line: the machine is run on them.
    #[arg(long, value_name = "EVENTS.ndjson", requires = "definition")]
    pub events: Option<String>,
    /// Answers for tasks, as in `quickstep run`.
    #[arg(long, value_name = "FILE[#TestCase]", requires = "events")]
    pub tasks: Option<String>,
    /// How long a call of a task takes on AWS, for each of those that a sample makes.
    #[arg(long, value_name = "MS", value_parser = millis, requires = "events")]
    pub task_ms: Option<u64>,
    /// How long an execution takes.
    #[arg(long, value_name = "MS", value_parser = millis, conflicts_with = "task_ms")]
    pub duration_ms: Option<u64>,
    /// How much memory an execution uses, in place of the estimate.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=MEMORY_MB_MAX))]
    pub memory_mb: Option<u64>,
    /// How many state transitions an execution has, in place of those that were counted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=TRANSITIONS_MAX))]
    pub transitions: Option<u64>,
    /// A file of kinds of executions, in place of the options above.
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["definition", "executions", "per_second", "events", "duration_ms", "memory_mb", "transitions"])]
    pub profile: Option<String>,
    /// Prices of another region or date: a file in the form of src/cost/prices.toml.
    #[arg(long, value_name = "FILE.toml")]
    pub prices: Option<String>,
    /// Pay for all transitions: the free ones of a month go to other machines of the account.
    #[arg(long)]
    pub no_free_tier: bool,
    /// How the result is shown.
    #[arg(long, value_enum, default_value_t = FormatArg::Text)]
    pub format: FormatArg,
}

const EXAMPLES: &str = "\
Examples:
  Five states, 10,000 times a month; as STANDARD $1.15:
    quickstep cost --executions 10k --transitions 5 --duration-ms 1000
  A million executions of 100 ms with 128 MB; as EXPRESS $1.00 for requests and $0.21 for durations:
    quickstep cost --executions 1M --transitions 5 --duration-ms 100 --memory-mb 128
  The machine, run on a sample of events, tasks of 80 ms:
    quickstep cost order.asl.json --events orders.ndjson --tasks tasks.json --task-ms 80 --per-second 200
  A profile of several kinds of executions:
    quickstep cost --profile month.toml

A profile; memory_mb may be left out:
  [[load]]
  name = \"orders\"
  executions = 2000000
  transitions = 6
  duration_ms = 250
  memory_mb = 64

How AWS bills: each EXPRESS execution's duration is rounded up to 100 ms and its memory to 64 MB. Each state that is
entered is a transition of a STANDARD execution, and each retry is another. 4,000 transitions a month are free.

Exit codes: 0 if there is a result, 2 if there is none.";

/// `--format` of costs.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormatArg {
    /// Tables.
    Text,
    /// One JSON object.
    Json,
}

/// A terabyte.
const MEMORY_MB_MAX: u64 = 1_000_000;
/// More than an execution's history holds.
const TRANSITIONS_MAX: u64 = 1_000_000;
/// A year, the longest time of a STANDARD execution.
const MILLIS_MAX: u64 = 366 * 86_400_000;
const EXECUTIONS_MAX: u64 = 1_000_000_000_000_000;
/// Bytes of a file of prices or of a profile.
const FILE_BYTES_MAX: u64 = 1_048_576;

fn count(text: &str) -> Result<u64, String> {
    let digits: String = text.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    let (digits, factor) = match digits.char_indices().last() {
        Some((at, 'k' | 'K')) => (&digits[..at], 1_000),
        Some((at, 'm' | 'M')) => (&digits[..at], 1_000_000),
        Some((at, 'g' | 'G')) => (&digits[..at], 1_000_000_000),
        _ => (digits.as_str(), 1),
    };
    digits
        .parse()
        .ok()
        .and_then(|n: u64| n.checked_mul(factor))
        .filter(|n| *n <= EXECUTIONS_MAX)
        .ok_or_else(|| {
            format!("a whole number up to {EXECUTIONS_MAX} is wanted, as in 250000, 250k or 1M")
        })
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text
        .parse()
        .map_err(|_| "a number is wanted, as in 200 or 0.5")?;
    if rate.is_finite() && (0.0..=100_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("0 to 100000000 a second are possible".to_owned())
    }
}

fn millis(text: &str) -> Result<u64, String> {
    let millis: Option<u64> = text.parse().ok();
    millis
        .filter(|millis| *millis <= MILLIS_MAX)
        .ok_or_else(|| format!("milliseconds are wanted, a whole number up to {MILLIS_MAX}"))
}

/// A file of kinds of executions.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    load: Vec<Kind>,
}

/// A kind of executions.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    #[serde(rename = "name")]
    _name: Option<String>,
    executions: u64,
    transitions: u64,
    duration_ms: u64,
    memory_mb: Option<u64>,
}

/// What is billed, and how it was found.
struct Load {
    usage: Usage,
    not_express: Option<String>,
    sample: Option<Billed>,
    remarks: Vec<String>,
}

/// A sample as it is billed.
struct Billed {
    executions: Vec<Execution>,
    failed: usize,
    first_failure: Option<String>,
}

/// Nothing, if `err` has been told why.
type Attempt<T> = Result<T, Option<String>>;

pub(super) fn run(args: &CostArgs, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (text, load) = match attempt(args, err) {
        Ok(done) => done,
        Err(message) => {
            if let Some(message) = message {
                // If nobody reads the standard error, the exit code has to do.
                let _ = writeln!(err, "error: {message}");
            }
            return EXIT_TROUBLE;
        }
    };
    for remark in &load.remarks {
        // As above.
        let _ = writeln!(err, "note: {remark}");
    }
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => EXIT_SUCCESS,
        Err(error) => stdout::not_written(&error, err),
    }
}

fn attempt(args: &CostArgs, err: &mut dyn Write) -> Attempt<(String, Load)> {
    let prices = match &args.prices {
        None => Prices::built_in(),
        Some(file) => Prices::parse(&read(file)?).map_err(|error| format!("{file}: {error}"))?,
    };
    let load = match &args.profile {
        Some(file) => of_profile(file, &prices)?,
        None => of_arguments(args, &prices, err)?,
    };
    let compared = cost::compare(
        &prices,
        &load.usage,
        !args.no_free_tier,
        load.not_express.clone(),
    );
    let text = match args.format {
        FormatArg::Text => text(&compared, load.sample.as_ref()),
        FormatArg::Json => json(&compared, load.sample.as_ref())?,
    };
    Ok((text, load))
}

fn read(file: &str) -> Result<String, String> {
    let failed = |error: io::Error| format!("failed to read {file}: {error}");
    let mut text = String::new();
    let opened = File::open(file).map_err(failed)?;
    let count = opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if count as u64 > FILE_BYTES_MAX {
        return Err(format!("{file} has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}

fn of_profile(file: &str, prices: &Prices) -> Attempt<Load> {
    let text = read(file)?;
    let profile: Profile = toml::from_str(&text)
        .map_err(|error| format!("{file}: {}", error.to_string().trim_end()))?;
    if profile.load.is_empty() {
        return Err(Some(format!("{file}: it has no [[load]]")));
    }
    let mut usage = Usage::default();
    for (number, kind) in profile.load.iter().enumerate() {
        for (what, value, most) in [
            ("executions", kind.executions, EXECUTIONS_MAX),
            ("transitions", kind.transitions, TRANSITIONS_MAX),
            ("duration_ms", kind.duration_ms, MILLIS_MAX),
            ("memory_mb", kind.memory_mb.unwrap_or(0), MEMORY_MB_MAX),
        ] {
            if value > most {
                return Err(Some(format!(
                    "{file}: {what} of the {number}. [[load]] is {value}: at most {most} are possible",
                    number = number + 1
                )));
            }
        }
        let execution = Execution {
            transitions: kind.transitions,
            duration_ms: kind.duration_ms,
            least_ms: kind.duration_ms,
            memory_bytes: memory(kind.memory_mb, || prices.memory_bytes(0, 0, 0)),
        };
        usage.add(prices, execution, kind.executions);
    }
    Ok(Load {
        usage,
        not_express: None,
        sample: None,
        remarks: Vec::new(),
    })
}

/// Bytes: what was said, or what is estimated.
fn memory(said_mb: Option<u64>, estimated: impl Fn() -> u64) -> u64 {
    said_mb.map_or_else(estimated, |mb| mb * 1_000_000)
}

fn of_arguments(args: &CostArgs, prices: &Prices, err: &mut dyn Write) -> Attempt<Load> {
    let count = match (args.executions, args.per_second) {
        (Some(executions), _) => executions,
        (None, rate) => cost::month_of(rate.unwrap_or(0.0)),
    };
    let definition = match &args.definition {
        // If nobody reads the standard error, the exit code has to do.
        Some(file) => Some(definition::read(file, err).ok().flatten().ok_or(None)?),
        None => None,
    };
    let mut remarks = Vec::new();
    let (file, text) = (
        args.definition.as_deref().unwrap_or_default(),
        definition.as_deref(),
    );
    let machine = match text {
        Some(text) => {
            let compiled = definition::compile(file, text, None, MachineType::Standard, err);
            Some(compiled.ok().flatten().ok_or(None)?)
        }
        None => None,
    };
    let sample = match (&args.events, &machine, text) {
        (Some(events), Some(machine), Some(text)) => {
            let sample = sample(args, events, machine, text)?;
            if sample.is_cut {
                remarks.push(format!(
                    "{events} has more than {} events; the first of them are the sample",
                    grouped(EVENTS_MAX as u128)
                ));
            }
            Some(billed(args, prices, text, sample)?)
        }
        _ => None,
    };
    let mut usage = Usage::default();
    match &sample {
        Some(sample) => {
            for execution in &sample.executions {
                usage.add(prices, *execution, 1);
            }
            usage = usage.scaled(count);
        }
        None => usage.add(prices, alone(args, prices, text)?, count),
    }
    Ok(Load {
        usage,
        not_express: text.and_then(cost::not_express),
        sample,
        remarks,
    })
}

/// Runs the machine on the events.
fn sample(
    args: &CostArgs,
    events: &str,
    machine: &crate::engine::StateMachine,
    text: &str,
) -> Attempt<Sample> {
    let mut tasks = TaskRegistry::new();
    if let Some(source) = &args.tasks {
        MockSource::parse(source)
            .load(machine.name(), &mut tasks)
            .map_err(|error| error.to_string())?;
    }
    let mut reader: Box<dyn BufRead> = match events {
        "-" if args.definition.as_deref() == Some("-") => {
            let message =
                "the definition comes from the standard input, so the events cannot: name a file";
            return Err(Some(message.to_owned()));
        }
        "-" => Box::new(BufReader::new(io::stdin())),
        file => Box::new(BufReader::new(
            File::open(file).map_err(|error| format!("failed to read {file}: {error}"))?,
        )),
    };
    cost::measure(machine, text, tasks, &mut *reader)
        .map_err(|error| Some(format!("{events}: {error}")))
}

/// What AWS would bill of a sample.
fn billed(args: &CostArgs, prices: &Prices, text: &str, sample: Sample) -> Attempt<Billed> {
    let has_calls = sample.executions.iter().any(|measured| measured.calls > 0);
    if has_calls && args.duration_ms.is_none() && args.task_ms.is_none() {
        let message = "AWS bills the time that tasks take, which mocks do not: say with --task-ms how long a call of a task \
                       takes, or with --duration-ms how long an execution takes";
        return Err(Some(message.to_owned()));
    }
    let task_ms = args.task_ms.unwrap_or(0);
    let of = |measured: &Measured| {
        let found = measured.billed(prices, text.len() as u64, task_ms);
        Execution {
            transitions: args.transitions.unwrap_or(found.transitions),
            duration_ms: args.duration_ms.unwrap_or(found.duration_ms),
            least_ms: args.duration_ms.unwrap_or(found.least_ms),
            memory_bytes: memory(args.memory_mb, || found.memory_bytes),
        }
    };
    Ok(Billed {
        executions: sample.executions.iter().map(of).collect(),
        failed: sample.failed,
        first_failure: sample.first_failure,
    })
}

/// An execution without a sample.
fn alone(args: &CostArgs, prices: &Prices, text: Option<&str>) -> Attempt<Execution> {
    let Some(duration_ms) = args.duration_ms else {
        let message = "how long does an execution take? Say it with --duration-ms, or run the machine on a sample with --events";
        return Err(Some(message.to_owned()));
    };
    let counted = || {
        let reading = asl::read(text.unwrap_or_default(), MachineType::Standard);
        let definition = reading.definition.ok_or(None)?;
        cost::fixed_transitions(&definition.scope).map_err(|state| {
            Some(format!(
                "how many transitions an execution has depends on its input, by the state {state}: run the machine on a \
                 sample with --events, or say it with --transitions"
            ))
        })
    };
    Ok(Execution {
        transitions: args.transitions.map_or_else(counted, Ok)?,
        duration_ms,
        least_ms: duration_ms,
        memory_bytes: memory(args.memory_mb, || {
            prices.memory_bytes(text.map_or(0, str::len) as u64, 0, 0)
        }),
    })
}

fn text(compared: &Comparison, sample: Option<&Billed>) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} executions a month on AWS, {}, prices of {}\n",
        grouped(compared.executions),
        compared.region,
        compared.date
    );
    let _ = writeln!(
        out,
        "  {:<44}{:>24}",
        "state transitions",
        grouped(compared.transitions)
    );
    let _ = writeln!(
        out,
        "  {:<44}{:>24.3}",
        "durations times memory, GB-hours", compared.gb_hours
    );
    if let Some(sample) = sample {
        show_sample(&mut out, sample);
    }
    show_bill(&mut out, "STANDARD", &compared.standard);
    match (&compared.express, &compared.not_express) {
        (Some(bill), _) => {
            show_bill(&mut out, "EXPRESS", bill);
            let (standard, express) = (compared.standard.total.dollars(), bill.total.dollars());
            if standard > 0.0 && express > 0.0 {
                let (dearer, ratio) = match standard > express {
                    true => ("STANDARD", standard / express),
                    false => ("EXPRESS", express / standard),
                };
                let _ = writeln!(
                    out,
                    "\n{dearer} costs {ratio:.1} times as much as the other."
                );
            }
        }
        (None, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            let _ = writeln!(out, "\nEXPRESS\n  not possible: {reason}");
        }
    }
    out.push_str("\nWhere AWS's bill may differ:\n");
    for note in &compared.notes {
        wrap(&mut out, note);
    }
    out
}

/// A note in lines of a terminal's width.
fn wrap(out: &mut String, note: &str) {
    const COLUMNS: usize = 98;
    let mut column = 0;
    out.push('-');
    for word in note.split(' ') {
        let length = word.chars().count();
        if column + 1 + length > COLUMNS {
            out.push_str("\n ");
            column = 1;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + length;
    }
    out.push('\n');
}

fn show_bill(out: &mut String, name: &str, bill: &Bill) {
    // As in `text`.
    let _ = writeln!(out, "\n{name}");
    for line in &bill.lines {
        let _ = writeln!(
            out,
            "  {:<24}{:>20}  {:<34}{:>16}",
            line.what, line.quantity, line.price, line.amount
        );
    }
    let _ = writeln!(out, "  {:<80}{:>16}", "a month", bill.total);
}

/// Half, nine tenths and 99 of a hundred are no more than that, and the most.
fn percentiles(values: impl Iterator<Item = u64>) -> [u64; 4] {
    let mut sorted: Vec<u64> = values.collect();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    [50, 90, 99, 100].map(|share| {
        let rank = (sorted.len() * share).div_ceil(100).saturating_sub(1);
        sorted.get(rank.min(last)).copied().unwrap_or(0)
    })
}

type Figure = (&'static str, fn(&Execution) -> u64);
const FIGURES: [Figure; 3] = [
    ("transitions", |execution| execution.transitions),
    ("duration_ms", |execution| execution.duration_ms),
    ("memory_bytes", |execution| execution.memory_bytes),
];

fn show_sample(out: &mut String, sample: &Billed) {
    // As in `text`.
    let _ = writeln!(
        out,
        "\nIn a sample of {} executions{:>13}{:>13}{:>13}{:>13}",
        grouped(sample.executions.len() as u128),
        "p50",
        "p90",
        "p99",
        "max"
    );
    for (name, value) in FIGURES {
        let _ = write!(out, "  {:<28}", name.replace('_', " "));
        for figure in percentiles(sample.executions.iter().map(value)) {
            let _ = write!(out, "{:>13}", grouped(figure.into()));
        }
        out.push('\n');
    }
    if sample.failed > 0 {
        let _ = writeln!(
            out,
            "  {} of them did not succeed, and are billed all the same; {}",
            grouped(sample.failed as u128),
            sample.first_failure.as_deref().unwrap_or_default()
        );
    }
}

fn json(compared: &Comparison, sample: Option<&Billed>) -> Result<String, String> {
    let mut value = serde_json::to_value(compared).map_err(|error| error.to_string())?;
    if let (Some(sample), Some(object)) = (sample, value.as_object_mut()) {
        let mut shown = serde_json::Map::new();
        shown.insert("executions".to_owned(), sample.executions.len().into());
        shown.insert("failed".to_owned(), sample.failed.into());
        for (name, figure) in FIGURES {
            let [p50, p90, p99, max] = percentiles(sample.executions.iter().map(figure));
            let figures = serde_json::json!({"p50": p50, "p90": p90, "p99": p99, "max": max});
            shown.insert(name.to_owned(), figures);
        }
        object.insert("sample".to_owned(), shown.into());
    }
    Ok(format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        for (text, expected) in [
            ("0", 0),
            ("10k", 10_000),
            ("1M", 1_000_000),
            ("2_000,000", 2_000_000),
            ("3G", 3_000_000_000),
        ] {
            assert_eq!(count(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "k",
            "-1",
            "1.5M",
            "1e6",
            "9999999G",
            "99999999999999999999",
            "1é",
        ] {
            assert!(count(text).is_err(), "{text}");
        }
        assert_eq!(rate("0.5"), Ok(0.5));
        assert!(rate("NaN").is_err() && rate("-1").is_err() && rate("x").is_err());
        assert!(millis("31622400001").is_err());
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(percentiles(1..=100), [50, 90, 99, 100]);
        assert_eq!(percentiles([7].into_iter()), [7; 4]);
        assert_eq!(percentiles([1, 2, 3].into_iter()), [2, 3, 3, 3]);
        assert_eq!(percentiles(std::iter::empty()), [0; 4]);
    }
}
