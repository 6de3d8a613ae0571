//! `quickstep cost`: loads in, bills out.

use serde_json::Value;

use crate::support::{PASS, PICKY, QUOTE, Ran, file, folder, quickstep, task};

fn cost(arguments: &[&str], stdin: &str) -> Ran {
    quickstep(&[&["cost"], arguments].concat(), stdin)
}

fn bill(arguments: &[&str], stdin: &str) -> Value {
    let Ran { code, out, err } = cost(&[arguments, &["--format", "json"]].concat(), stdin);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn the_usual_guides_examples() {
    let Ran { code, out, err } = cost(
        &[
            "--executions",
            "10k",
            "--transitions",
            "5",
            "--duration-ms",
            "1000",
        ],
        "",
    );
    assert_eq!((code, err.as_str()), (0, ""));
    for line in ["4,000", "46,000", "$0.025 for 1,000", "$1.15"] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let found = bill(
        &[
            "--executions",
            "1M",
            "--transitions",
            "5",
            "--duration-ms",
            "100",
            "--memory-mb",
            "128",
        ],
        "",
    );
    assert_eq!(found["express"]["lines"][0]["dollars"], 1.0);
    assert_eq!(found["express"]["lines"][1]["dollars"], 0.208_333_333);
    assert_eq!(found["express"]["total_dollars"], 1.208_333_333);
}

#[test]
fn a_sample_is_run() {
    let folder = folder("cost-sample");
    let retry = r#","Retry":[{"ErrorEquals":["States.ALL"],"IntervalSeconds":2,"MaxAttempts":1}]"#;
    let definition = file(&folder, "ask.asl.json", task(QUOTE, retry));
    let events = file(&folder, "events.ndjson", "1\n2\n");
    let fails = file(
        &folder,
        "tasks.json",
        format!(r#"{{"tasks":{{"{QUOTE}":{{"error":"Down","cause":"for now"}}}}}}"#),
    );
    let arguments = [
        &*definition,
        "--events",
        &*events,
        "--tasks",
        &*fails,
        "--executions",
        "1000",
    ];
    let Ran { code, out, err } = cost(&arguments, "");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--task-ms"), "{err}");
    let found = bill(&[&arguments[..], &["--task-ms", "150"]].concat(), "");
    // One state and one retry; two seconds of waiting and two calls.
    assert_eq!(found["transitions"], 2_000);
    let sample = &found["sample"];
    assert_eq!(
        (&sample["executions"], &sample["failed"]),
        (&2.into(), &2.into())
    );
    assert_eq!(sample["duration_ms"]["max"], 2_300);
    let hours = 1_000.0 * 2.3 * 64.0 / 1_024.0 / 3_600.0;
    assert!((found["gb_hours"].as_f64().unwrap() / hours - 1.0).abs() < 1e-9);
    let Ran { out, .. } = cost(&[&arguments[..], &["--task-ms", "150"]].concat(), "");
    assert!(
        out.contains("2 of them did not succeed") && out.contains("line 1: Down: for now"),
        "{out}"
    );
}

#[test]
fn tasks_that_overlap_are_told_of() {
    let folder = folder("cost-overlap");
    let inner = task(QUOTE, "");
    let definition = file(
        &folder,
        "each.asl.json",
        format!(
            r#"{{"StartAt":"Each","States":{{"Each":{{"Type":"Map","ItemProcessor":{inner},"End":true}}}}}}"#
        ),
    );
    let events = file(&folder, "events.ndjson", "[1,2,3,4]\n");
    let tasks = file(
        &folder,
        "tasks.json",
        format!(r#"{{"tasks":{{"{QUOTE}":{{"result":1}}}}}}"#),
    );
    let arguments = [
        &*definition,
        "--events",
        &*events,
        "--tasks",
        &*tasks,
        "--executions",
        "1000",
    ];
    // Six minutes one after the other, a minute and a half at the same time: nobody knows that it takes too long.
    let found = bill(&[&arguments[..], &["--task-ms", "90000"]].concat(), "");
    assert_eq!(found["sample"]["duration_ms"]["max"], 360_000);
    assert!(found["not_express"].is_null() && found["express"].is_object());
    let overlap =
        |found: &serde_json::Value| found["notes"].to_string().contains("at the same time");
    assert!(overlap(&found), "{found}");
    // Whoever knows it says it.
    let found = bill(&[&arguments[..], &["--duration-ms", "360000"]].concat(), "");
    assert!(found["express"].is_null() && !overlap(&found), "{found}");
}

#[test]
fn definitions_are_counted_where_that_is_possible() {
    let folder = folder("cost-definition");
    let pass = file(&folder, "pass.asl.json", PASS);
    let picky = file(&folder, "picky.asl.json", PICKY);
    let more = ["--per-second", "1", "--duration-ms", "20"];
    let found = bill(&[&[&*pass], &more[..]].concat(), "");
    assert_eq!(
        (&found["executions"], &found["transitions"]),
        (&2_628_000.into(), &2_628_000.into())
    );
    let Ran { code, err, .. } = cost(&[&[&*picky], &more[..]].concat(), "");
    assert!(
        code == 2 && err.contains("by the state Check") && err.contains("--events"),
        "{err}"
    );
    // Events from the standard input.
    let stdin = "{\"bad\":false}\n{\"bad\":false}\n{\"bad\":true}\n";
    let found = bill(&[&picky, "--executions", "3", "--events", "-"], stdin);
    assert_eq!(found["transitions"], 6);
}

#[test]
fn what_only_standard_can_do_has_no_express_bill() {
    let folder = folder("cost-standard");
    let definition = file(
        &folder,
        "sync.asl.json",
        task("arn:aws:states:::batch:submitJob.sync", ""),
    );
    let arguments = [&*definition, "--executions", "10k", "--duration-ms", "1000"];
    let found = bill(&arguments, "");
    assert!(found["express"].is_null(), "{found}");
    assert!(
        found["not_express"]
            .as_str()
            .unwrap()
            .starts_with("/States/Ask"),
        "{found}"
    );
    assert_eq!(found["standard"]["total_dollars"], 0.15);
    assert!(cost(&arguments, "").out.contains("not possible"));
}

#[test]
fn profiles_and_prices_are_files() {
    let folder = folder("cost-profile");
    let profile = file(
        &folder,
        "month.toml",
        "[[load]]\nexecutions = 1000000\ntransitions = 5\nduration_ms = 100\nmemory_mb = 128\n\
         [[load]]\nname = \"rare\"\nexecutions = 10\ntransitions = 2\nduration_ms = 5000\n",
    );
    let found = bill(&["--profile", &profile, "--no-free-tier"], "");
    assert_eq!(found["transitions"], 5_000_020);
    let built_in = include_str!("../../src/cost/prices.toml");
    let dear = built_in
        .replace("\"0.025\"", "\"0.0375\"")
        .replace("us-east-1", "sa-east-1");
    let prices = file(&folder, "prices.toml", dear);
    let dear = bill(
        &["--profile", &profile, "--no-free-tier", "--prices", &prices],
        "",
    );
    let dollars = |bill: &Value| bill["standard"]["total_dollars"].as_f64().unwrap();
    assert!((dollars(&dear) / dollars(&found) - 1.5).abs() < 1e-9);
    assert_eq!(dear["region"], "sa-east-1");
    for (text, expected) in [
        ("", "missing field `load`"),
        ("load = []", "it has no [[load]]"),
        (
            "[[load]]\nexecutions = -1\ntransitions = 1\nduration_ms = 1",
            "month.toml: ",
        ),
        (
            "[[load]]\nexecutions = 1\ntransitions = 1\nduration_ms = 99999999999",
            "duration_ms of the 1. [[load]]",
        ),
    ] {
        let profile = file(&folder, "month.toml", text);
        let Ran { code, err, .. } = cost(&["--profile", &profile], "");
        assert!(code == 2 && err.contains(expected), "{err}");
    }
}

#[test]
fn bad_arguments_are_explained() {
    let folder = folder("cost-bad");
    let definition = file(&folder, "pass.asl.json", PASS);
    let broken = file(&folder, "broken.asl.json", "{]");
    let no_events = file(&folder, "none.ndjson", "");
    for (arguments, expected) in [
        (&["--executions", "1"][..], "<DEFINITION>"),
        (&[&definition], "--executions"),
        (&[&definition, "--executions", "many"], "a whole number"),
        (&[&definition, "--executions", "1"], "--duration-ms"),
        (
            &[&broken, "--executions", "1", "--duration-ms", "1"],
            "error[",
        ),
        (
            &["missing.json", "--executions", "1", "--duration-ms", "1"],
            "failed to read missing.json",
        ),
        (
            &[&definition, "--executions", "1", "--events", &no_events],
            "there are no events",
        ),
        (&["-", "--executions", "1", "--events", "-"], "name a file"),
        (
            &[
                &definition,
                "--executions",
                "1",
                "--duration-ms",
                "1",
                "--memory-mb",
                "0",
            ],
            "--memory-mb",
        ),
        (
            &["--profile", "missing.toml"],
            "failed to read missing.toml",
        ),
    ] {
        let Ran { code, out, err } = cost(arguments, PASS);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        let all = format!("{out}{err}");
        assert!(all.contains(expected), "{arguments:?}: {all}");
    }
}
