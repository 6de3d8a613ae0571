//! What AWS recorded, done over HTTP with a server: `call`, `transcript` and `test_state` of `corpus/aws`, and the executions
//! that need nobody else, with their logs as the server writes them. Every case is one test. `corpus/known-failures-api.txt` lists the cases that are expected to fail; one of them that passes
//! fails the run, and so does an entry that names no case.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

mod api {
    #[expect(dead_code, reason = "the tests of the protocol use the rest of it")]
    pub(crate) mod client;
    pub(crate) mod executions;
    pub(crate) mod logs;
    pub(crate) mod recorded;
}

#[path = "conformance/difference.rs"]
#[expect(dead_code, reason = "the other suite uses the rest of it")]
mod difference;
#[path = "conformance/pattern.rs"]
mod pattern;

use api::{executions, logs, recorded};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut known = known_failures(&corpus.join("known-failures-api.txt"));
    let mut trials = Vec::new();
    for case in recorded::cases(&corpus.join("aws")) {
        let name = case.name.clone();
        let known = known.remove(&name);
        trials.push(trial(name, known, move || case.run()));
    }
    for case in executions::cases(&corpus.join("aws")) {
        let name = case.name.clone();
        let known = known.remove(&name);
        trials.push(trial(name, known, move || case.run()));
    }
    for case in executions::cases(&corpus.join("aws")) {
        let name = case.name.replacen("execution", "logs", 1);
        let known = known.remove(&name);
        trials.push(trial(name, known, move || logs::check(&case)));
    }
    for (name, _) in known {
        trials.push(Trial::test(name, || {
            Err("known-failures-api.txt names no case".into())
        }));
    }
    if !arguments.list {
        summarize(&trials);
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Says how many cases of each kind there are, and how many are expected to fail.
fn summarize(trials: &[Trial]) {
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for trial in trials {
        let kind = trial.name().split('/').next().unwrap_or_default();
        let counts = counts.entry(kind).or_default();
        counts[0] += 1;
        counts[1] += usize::from(trial.kind() == "known failure");
    }
    for (kind, [all, known]) in counts {
        eprintln!("{kind}: {all} cases, {known} known failures");
    }
}

fn trial(
    name: String,
    known: Option<String>,
    check: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Trial {
    let kind = if known.is_some() { "known failure" } else { "" };
    let run = move || match (check(), known) {
        (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
        (Err(differences), None) => Err(Failed::from(differences)),
        (Ok(()), Some(_)) => Err("passes, though known-failures-api.txt lists it".into()),
    };
    Trial::test(name, run).with_kind(kind)
}

/// `name<tab>reason` in every line but empty ones and comments.
fn known_failures(path: &Path) -> BTreeMap<String, String> {
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
