//! What a month of a test's rates would cost on AWS.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use quickstep::StateMachine;
use quickstep::asl::MachineType;
use quickstep::cost::{self, Amount, Comparison, Prices, Usage};
use quickstep::task::TaskRegistry;
use quickstep::task::mock::MockSource;

use super::ReportArgs;
use super::model::Test;
use super::series::runs;

/// Months on AWS, one for each run.
#[derive(Debug)]
pub(super) struct Month {
    pub(super) rows: Vec<MonthRow>,
    /// Where AWS's bill may differ.
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct MonthRow {
    pub(super) name: String,
    pub(super) per_second: f64,
    pub(super) executions: u128,
    pub(super) transitions: u128,
    pub(super) standard: Amount,
    /// Nothing, if the machine cannot be EXPRESS.
    pub(super) express: Option<Amount>,
}

/// Runs the definition on the events, and scales what it has used to a month of each run's rate.
///
/// # Errors
///
/// If the definition, the events or the answers of tasks are not what they should be.
pub(super) fn month(
    args: &ReportArgs,
    definition: &Path,
    events: &Path,
    tests: &[Test],
) -> Result<Month, String> {
    let at = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(definition).map_err(|error| at(definition, &error))?;
    let builder = StateMachine::builder().machine_type(MachineType::Standard);
    let machine = builder.compile(&text).map_err(|diagnostics| {
        let first = diagnostics
            .first()
            .map_or("it is not valid", |diagnostic| &diagnostic.message);
        at(definition, &first)
    })?;
    let mut tasks = TaskRegistry::new();
    if let Some(source) = &args.tasks {
        MockSource::parse(source)
            .load(machine.name(), &mut tasks)
            .map_err(|error| error.to_string())?;
    }
    let mut reader = BufReader::new(File::open(events).map_err(|error| at(events, &error))?);
    let sample =
        cost::measure(&machine, &text, tasks, &mut reader).map_err(|error| at(events, &error))?;
    if args.task_ms.is_none() && sample.executions.iter().any(|measured| measured.calls > 0) {
        return Err(
            "AWS bills the time that tasks take: say with --task-ms how long a call takes"
                .to_owned(),
        );
    }
    let task_ms = args.task_ms.unwrap_or(0);
    let prices = Prices::built_in();
    let mut used = Usage::default();
    for measured in &sample.executions {
        used.add(
            &prices,
            measured.billed(&prices, text.len() as u64, task_ms),
            1,
        );
    }
    let mut notes = Vec::new();
    let not_express = cost::not_express(&text);
    let rows = runs(tests).into_iter().map(|named| {
        let month = used.scaled(cost::month_of(named.run.per_second));
        let compared: Comparison = cost::compare(&prices, &month, true, not_express.clone());
        notes = compared.notes;
        MonthRow {
            name: named.name,
            per_second: named.run.per_second,
            executions: compared.executions,
            transitions: compared.transitions,
            standard: compared.standard.total,
            express: compared.express.map(|bill| bill.total),
        }
    });
    let rows = rows.collect();
    notes.insert(
        0,
        format!(
            "A month has 730 hours, all at this rate. {} executions were looked at; a call of a task is taken to last {} ms, \
             and EXPRESS bills 100 ms at least.",
            sample.executions.len(),
            task_ms
        ),
    );
    if let Some(reason) = not_express {
        notes.push(format!("Not possible as EXPRESS: {reason}"));
    }
    Ok(Month { rows, notes })
}
