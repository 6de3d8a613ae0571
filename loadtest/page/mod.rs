//! `report`: one page of HTML made of the JSON of tests. It has no script and asks nobody for anything: its plots are SVG,
//! drawn here, and beside each stands the table that it was drawn from.
//!
//! 1. `model` reads the JSON of tests, of this version or another of the same schema.
//! 2. `series` takes lines for plots out of it; `plot` draws them; `html` puts the page together.
//! 3. `month` tells what the same load would cost on AWS, if a definition is given.

mod html;
mod model;
mod month;
mod plot;
mod series;

use std::path::{Path, PathBuf};

use clap::Args;

use self::model::Test;

/// What `report` takes.
#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Results of tests: what --json has written. Their runs are shown beside each other.
    #[arg(value_name = "RESULT.json", required = true)]
    pub(crate) results: Vec<PathBuf>,
    /// The page.
    #[arg(long, short, value_name = "FILE.html")]
    pub(crate) output: PathBuf,
    /// Its title.
    #[arg(long, default_value = "Load test")]
    pub(crate) title: String,
    /// Tell what a month of these rates would cost on AWS with this definition.
    #[arg(long, value_name = "FILE", requires = "events")]
    pub(crate) definition: Option<PathBuf>,
    /// Events for that, one JSON value a line.
    #[arg(long, value_name = "FILE", requires = "definition")]
    pub(crate) events: Option<PathBuf>,
    /// Who answers tasks for that, as in `quickstep run`.
    #[arg(long, value_name = "FILE[#TestCase]", requires = "definition")]
    pub(crate) tasks: Option<String>,
    /// How long a call of a task takes on AWS, in milliseconds; wanted if there are any.
    #[arg(long, value_name = "MS", requires = "definition", value_parser = clap::value_parser!(u64).range(..=86_400_000))]
    pub(crate) task_ms: Option<u64>,
}

/// Bytes of one result: a test of some hours has a few megabytes.
const RESULT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Writes the page.
///
/// # Errors
///
/// If a result cannot be read or is none, if the cost cannot be found, or if the page cannot be written.
pub(crate) fn report(args: &ReportArgs) -> Result<(), String> {
    let tests = args.results.iter().map(|path| read(path));
    let tests = tests.collect::<Result<Vec<Test>, String>>()?;
    let month = match (&args.definition, &args.events) {
        (Some(definition), Some(events)) => Some(month::month(args, definition, events, &tests)?),
        _ => None,
    };
    let page = html::page(&args.title, &tests, month.as_ref());
    std::fs::write(&args.output, page)
        .map_err(|error| format!("failed to write {}: {error}", args.output.display()))
}

fn read(path: &Path) -> Result<Test, String> {
    let at = |error: String| format!("{}: {error}", path.display());
    let length = std::fs::metadata(path)
        .map_err(|error| at(error.to_string()))?
        .len();
    if length > RESULT_BYTES_MAX {
        return Err(at(format!("it has more than {RESULT_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
    Test::parse(&text).map_err(at)
}
