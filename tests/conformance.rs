//! Executions with known endings, run on the interpreter: what AWS recorded (`corpus/aws`), and cases of our own
//! (`corpus/cases`). Every case is one test. `corpus/known-failures.txt` lists the cases that are expected to fail; one
//! of them that passes fails the run, and so does an entry that names no case.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

mod conformance {
    pub(crate) mod aws;
    pub(crate) mod cases;
    pub(crate) mod difference;
    pub(crate) mod logs;
    pub(crate) mod machine;
    pub(crate) mod pattern;
    pub(crate) mod replay;
    pub(crate) mod runtime;
}

use conformance::machine::Turns;
use conformance::{aws, cases};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut known = known_failures(&corpus.join("known-failures.txt"));
    let mut trials = Vec::new();
    for case in aws::cases(&corpus.join("aws")) {
        let name = format!("aws/{} {}", case.group, case.id);
        let known = known.remove(&name);
        let kind = if case.has_history() { "" } else { "no history" };
        let check = move || all_ways(|turns| case.run(turns));
        trials.push(trial(name, kind, known, check));
    }
    for case in cases::cases(&corpus.join("cases")) {
        let name = format!("cases/{}", case.name);
        let known = known.remove(&name);
        let check = move || all_ways(|turns| case.run(turns));
        trials.push(trial(name, "", known, check));
    }
    for (name, _) in known {
        trials.push(Trial::test(name, || {
            Err("known-failures.txt names no case".into())
        }));
    }
    if !arguments.list {
        summarize(&trials);
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Says how many cases there are of each kind, by group and area: their names begin with it.
fn summarize(trials: &[Trial]) {
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for trial in trials {
        let name = trial.name();
        let group = name.split(' ').next().unwrap_or(name);
        let group = match group.strip_prefix("cases/") {
            Some(rest) => &group[.."cases/".len() + rest.find('/').unwrap_or(rest.len())],
            None => group,
        };
        let counts = counts.entry(group).or_default();
        counts[0] += 1;
        counts[1] += usize::from(trial.kind() == "no history");
        counts[2] += usize::from(trial.kind() == "known failure");
    }
    for (group, [all, no_history, known]) in counts {
        eprintln!(
            "{group}: {all} cases, {no_history} recorded without history, {known} known failures"
        );
    }
}

/// Runs a case in the turns that the product has, and in others, which must not change what comes of it.
fn all_ways(run: impl Fn(Turns) -> Result<(), String>) -> Result<(), String> {
    for turns in Turns::ALL {
        run(turns).map_err(|differences| format!("in {turns:?} turns: {differences}"))?;
    }
    Ok(())
}

/// A test of a case. `known` is why it is expected to fail.
fn trial(
    name: String,
    kind: &str,
    known: Option<String>,
    check: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Trial {
    let kind = if known.is_some() {
        "known failure"
    } else {
        kind
    };
    let run = move || match (check(), known) {
        (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
        (Err(differences), None) => Err(Failed::from(differences)),
        (Ok(()), Some(_)) => Err("passes, though known-failures.txt lists it".into()),
    };
    Trial::test(name, run).with_kind(kind)
}

/// The cases that are expected to fail, with reasons: `name<tab>reason` in every line but empty ones and comments.
fn known_failures(path: &std::path::Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).expect("the list of known failures is there");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, reason) = line
                .split_once('\t')
                .unwrap_or_else(|| panic!("{line}: no reason"));
            (name.to_owned(), reason.to_owned())
        })
        .collect()
}
