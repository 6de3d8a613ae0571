//! `quickstep-loadtest` as a process: every kind of target and command with some thousands of events, its report, its files,
//! and that what is wrong fails it. Rates are low and patience is long: nothing here depends on how fast a machine is.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "loadtest/answers.rs"]
mod answers;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

const SERVER: &str = concat!("serve:", env!("CARGO_BIN_EXE_quickstep"));

/// A directory of a test, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("loadtest-{name}"));
        // What an earlier run has left behind.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn data(name: &str) -> String {
    format!("{}/benches/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quickstep-loadtest"))
        .args(arguments)
        // Whatever keys there are, they are not for these servers.
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .output()
        .unwrap()
}

/// Runs a command on `order`, and reads its report.
fn order(command: &str, place: &Place, expect: &str, arguments: &[&str]) -> (Output, Value) {
    let (definition, events, tasks) = (
        data("order.asl.json"),
        data("order.ndjson"),
        data("tasks.json"),
    );
    let json = place.at("report.json");
    let mut all = vec![
        command,
        "--definition",
        &definition,
        "--events",
        &events,
        "--tasks",
        &tasks,
    ];
    all.extend(["--expect", expect, "--drain", "120s", "--json", &json]);
    if !arguments.contains(&"--warm-up") {
        all.extend(["--warm-up", "100ms"]);
    }
    all.extend(arguments);
    let output = loadtest(&all);
    let report =
        fs::read_to_string(&json).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    (output, report)
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

/// What holds of every run that went well.
fn check_run(run: &Value, sent: u64) {
    let counts = &run["counts"];
    assert_eq!(run["problem"], Value::Null, "{run}");
    assert_eq!(
        counts["right"].as_u64().unwrap() + run["warm_up_counts"]["right"].as_u64().unwrap(),
        sent
    );
    for figure in ["wrong", "failed", "throttled", "broken"] {
        assert_eq!(counts[figure], 0, "{figure}");
    }
    assert_eq!((&run["unanswered"], &run["unsent"]), (&0.into(), &0.into()));
    for times in ["latency", "naive", "lateness"] {
        let times = &run[times];
        assert_eq!(times["count"], counts["right"]);
        let curve = times["curve"].as_array().unwrap();
        assert_eq!(curve.last().unwrap()["count"], counts["right"]);
        let order = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"]
            .map(|name| times[name].as_u64().unwrap());
        assert!(order.is_sorted(), "{order:?}");
    }
    let series = run["series"].as_array().unwrap();
    let sum: u64 = series
        .iter()
        .map(|row| row["counts"]["right"].as_u64().unwrap())
        .sum();
    assert_eq!(counts["right"], sum);
}

#[test]
fn every_target_answers_right() {
    let place = Place::new("targets");
    let journal = place.at("journal");
    let kinds = [
        ("embedded".to_owned(), 2_000),
        ("embedded,mode=async".to_owned(), 4_000),
        (
            format!("embedded,mode=async,workers=1,log=all,durable={journal}"),
            2_000,
        ),
        (SERVER.to_owned(), 2_000),
        (format!("{SERVER},mode=ingest"), 2_000),
        (format!("{SERVER},mode=async,connections=4"), 1_000),
        (format!("{SERVER},mode=standard,log=all"), 300),
    ];
    for (target, rate) in kinds {
        let (hgrm, hlog) = (place.at("x.hgrm"), place.at("x.hlog"));
        let rate_text = rate.to_string();
        let arguments = [
            "--target",
            &target,
            "--rate",
            &rate_text,
            "--duration",
            "1s",
            "--threads",
            "2",
            "--hgrm",
            &hgrm,
            "--hlog",
            &hlog,
        ];
        let (output, report) = order("run", &place, &data("order.ref.ndjson"), &arguments);
        assert_eq!(output.status.code(), Some(0), "{target}: {}", text(&output));
        assert_eq!(report["schema"], "quickstep-loadtest/1");
        let run = &report["runs"][0];
        check_run(run, rate + rate / 10);
        assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
        if target.starts_with("serve") {
            let check = run["check"].as_str().unwrap();
            assert!(
                check.contains(&format!("{} executions", rate + rate / 10)),
                "{check}"
            );
        }
        let right = run["counts"]["right"].as_u64().unwrap();
        assert_eq!(counted(&hlog), right);
        let hgrm = fs::read_to_string(hgrm).unwrap();
        assert!(
            hgrm.contains(&format!("Total count    = {right:>14}]")),
            "{hgrm}"
        );
    }
}

/// Requests in an interval log, as the format's own reader has them.
fn counted(log: &str) -> u64 {
    let bytes = fs::read(log).unwrap();
    let mut sum = 0;
    for entry in IntervalLogIterator::new(&bytes) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            let encoded = interval.encoded_histogram();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(encoded)
                .unwrap();
            sum += Deserializer::new()
                .deserialize::<u64, _>(&mut &bytes[..])
                .unwrap()
                .len();
        }
    }
    sum
}

#[test]
fn one_wrong_output_fails_the_test() {
    let place = Place::new("wrong");
    let reference = fs::read_to_string(data("order.ref.ndjson")).unwrap();
    let expected = place.at("expected.ndjson");
    fs::write(&expected, reference.replacen("DHL", "UPS", 1)).unwrap();
    for target in [
        "embedded",
        "embedded,mode=async",
        SERVER,
        &format!("{SERVER},mode=ingest"),
        &format!("{SERVER},mode=standard"),
    ] {
        // Each of the 1,024 events once, and no more.
        let arguments = [
            "--target",
            target,
            "--rate",
            "1024",
            "--duration",
            "1s",
            "--warm-up",
            "0s",
        ];
        let (output, report) = order("run", &place, &expected, &arguments);
        assert_eq!(output.status.code(), Some(1), "{target}: {}", text(&output));
        assert_eq!(report["runs"][0]["counts"]["wrong"], 1, "{target}");
        assert_eq!(report["runs"][0]["counts"]["right"], 1023, "{target}");
        assert!(
            report["problem"]
                .as_str()
                .unwrap()
                .contains("1 wrong outputs")
        );
    }
}

#[test]
fn executions_that_fail_fail_the_test() {
    let place = Place::new("failed");
    let definition = place.at("fails.asl.json");
    fs::write(
        &definition,
        r#"{"StartAt":"F","States":{"F":{"Type":"Fail","Error":"E"}}}"#,
    )
    .unwrap();
    let events = data("hello.ndjson");
    for target in [
        "embedded",
        "embedded,mode=async",
        SERVER,
        &format!("{SERVER},mode=ingest"),
        &format!("{SERVER},mode=standard"),
    ] {
        let arguments = [
            "run",
            "--target",
            target,
            "--definition",
            &definition,
            "--events",
            &events,
            "--rate",
            "50",
            "--duration",
            "1s",
        ];
        let output = loadtest(
            &[
                &arguments[..],
                &["--expect", "none", "--drain", "120s", "--warm-up", "0s"],
            ]
            .concat(),
        );
        assert_eq!(output.status.code(), Some(1), "{target}");
        assert!(
            text(&output).contains("50 executions failed"),
            "{target}: {}",
            text(&output)
        );
        // There is no reference for what fails.
        let output = loadtest(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text(&output).contains("reference run, event 1: FAILED"),
            "{}",
            text(&output)
        );
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let (definition, events) = (data("hello.asl.json"), data("hello.ndjson"));
    for (arguments, told) in [
        (vec!["--target", "embedded", "--rate", "1"], "--definition"),
        (vec!["--target", "null"], "--rate"),
        (vec!["--target", "null", "--rate", "fast"], "no rate"),
        (
            vec![
                "--target",
                "http://127.0.0.1:1",
                "--definition",
                &definition,
                "--events",
                &events,
                "--rate",
                "1",
            ],
            "127.0.0.1:1",
        ),
        (
            vec![
                "--target",
                "serve:/nowhere",
                "--definition",
                &definition,
                "--events",
                &events,
                "--rate",
                "1",
            ],
            "no program",
        ),
        (
            vec![
                "--target",
                "embedded",
                "--definition",
                &events,
                "--events",
                &events,
                "--rate",
                "1",
            ],
            "hello.ndjson",
        ),
        (
            vec![
                "--target",
                "embedded",
                "--definition",
                &definition,
                "--events",
                &events,
                "--replay",
                "at",
            ],
            "no time in `at`",
        ),
    ] {
        let output = loadtest(&[&["run"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output).contains(told),
            "{arguments:?}: {}",
            text(&output)
        );
    }
}

#[test]
fn events_are_replayed_when_they_happened() {
    let place = Place::new("replay");
    let events = place.at("events.ndjson");
    let lines = (0..200).map(|i| {
        format!(
            "{{\"n\":{i},\"at\":{}}}\n",
            1_795_176_000.0 + f64::from(i) / 100.0
        )
    });
    fs::write(&events, lines.collect::<String>()).unwrap();
    let (definition, json) = (data("hello.asl.json"), place.at("report.json"));
    let arguments = [
        "run",
        "--target",
        "embedded",
        "--definition",
        &definition,
        "--events",
        &events,
        "--replay",
        "at",
    ];
    let output = loadtest(
        &[
            &arguments[..],
            &["--speed", "4", "--drain", "120s", "--json", &json],
        ]
        .concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    check_run(&report["runs"][0], 200);
    // Nothing of what happened is left to the warm-up.
    assert_eq!(report["runs"][0]["counts"]["right"], 200);
}

#[test]
fn events_are_made_of_templates() {
    let place = Place::new("generate");
    let templates = place.at("templates.ndjson");
    fs::write(
        &templates,
        "{\"n\":${i},\"id\":\"${hex}\",\"q\":${int:1:9}}\n[\"${pick:a|b}\"]\n",
    )
    .unwrap();
    let definition = data("hello.asl.json");
    let arguments = [
        "run",
        "--target",
        SERVER,
        "--definition",
        &definition,
        "--events",
        &templates,
        "--generate",
        "500",
    ];
    let output = loadtest(
        &[
            &arguments[..],
            &["--rate", "500", "--duration", "1s", "--drain", "120s"],
        ]
        .concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn signatures_are_those_that_the_server_checks() {
    let place = Place::new("signed");
    let credentials = place.at("credentials.toml");
    let table = "[[credentials]]\naccess_key_id = \"AKIATEST\"\nsecret_access_key = \"secret/key\"\nsession_token = \"to+ken\"\n";
    fs::write(&credentials, table).unwrap();
    for (secret, mode, code) in [
        ("secret/key", "sync", 0),
        ("secret/key", "standard", 0),
        ("secret/key", "ingest", 0),
        ("other", "sync", 2),
    ] {
        let target = format!("{SERVER},mode={mode}");
        let keys = [
            "--access-key",
            "AKIATEST",
            "--secret-key",
            secret,
            "--session-token",
            "to+ken",
        ];
        let serve = ["--serve-arg", "--credentials", "--serve-arg", &credentials];
        let arguments = [
            &["--target", &target, "--rate", "100", "--duration", "1s"][..],
            &keys,
            &serve,
        ]
        .concat();
        let (output, _) = order("run", &place, "reference", &arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{mode}: {}",
            text(&output)
        );
        if code == 2 {
            assert!(text(&output).contains("signature"), "{}", text(&output));
        }
    }
}

#[test]
fn servers_are_reached_over_tls() {
    let place = Place::new("tls");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (place.at("certificate.pem"), place.at("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let serve = ["--tls-cert", &certificate, "--tls-key", &key]
        .into_iter()
        .flat_map(|argument| ["--serve-arg", argument]);
    let serve: Vec<&str> = serve.collect();
    for mode in ["sync", "standard", "ingest"] {
        let target = format!("{SERVER},mode={mode}");
        let load = ["--target", &target, "--rate", "200", "--duration", "1s"];
        let arguments = [&load[..], &serve, &["--ca", &certificate]].concat();
        let (output, report) = order("run", &place, "reference", &arguments);
        assert_eq!(output.status.code(), Some(0), "{mode}: {}", text(&output));
        check_run(&report["runs"][0], 220);
        // Nobody else vouches for it.
        let (output, _) = order("run", &place, "reference", &[&load[..], &serve].concat());
        assert_eq!(output.status.code(), Some(2), "{mode}: {}", text(&output));
    }
}

#[test]
fn a_sweep_finds_a_rate() {
    let place = Place::new("sweep");
    let arguments = [
        "--target",
        SERVER,
        "--step",
        "500ms",
        "--shares",
        "5,10",
        "--p99-max",
        "60s",
        "--in-flight",
        "4",
    ];
    let (output, report) = order("sweep", &place, "reference", &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let sweep = &report["sweep"];
    assert!(sweep["closed_loop_per_second"].as_f64().unwrap() > 0.0);
    let points = sweep["points"].as_array().unwrap();
    assert_eq!(
        (points.len(), report["runs"].as_array().unwrap().len()),
        (2, 3)
    );
    assert!(points[0]["due_per_second"].as_f64() < points[1]["due_per_second"].as_f64());
}

#[test]
fn targets_are_compared_in_turns() {
    let place = Place::new("compare");
    let arguments = [
        "--target", "embedded", "--target", SERVER, "--rate", "200", "--turn", "300ms", "--rounds",
        "3",
    ];
    let (output, report) = order("compare", &place, "reference", &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let targets: Vec<&str> = report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["target"].as_str().unwrap())
        .collect();
    assert_eq!(
        targets,
        ["embedded", SERVER, SERVER, "embedded", "embedded", SERVER]
    );
    assert_eq!(
        report["compare"]["rate_ratio"]["each"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

/// A server of `quickstep` with an EXPRESS machine that others have used already; it ends with this.
struct Served {
    child: std::process::Child,
    url: String,
    arn: String,
}

impl Served {
    fn new(definition: &str) -> Served {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quickstep"))
            .args(["serve", "--addr", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = said.find(|line| line.as_ref().unwrap().starts_with("quickstep "));
        let line = line.unwrap().unwrap();
        let url = line.split(' ').find(|word| word.starts_with("http://"));
        let url = url.unwrap().to_owned();
        // What it says further must not fill the pipe.
        std::thread::spawn(move || said.for_each(drop));
        let mut served = Served {
            child,
            url,
            arn: String::new(),
        };
        let definition = fs::read_to_string(definition).unwrap();
        let machine = serde_json::json!({"name": "shared", "type": "EXPRESS", "definition": definition,
            "roleArn": "arn:aws:iam::123456789012:role/any"});
        let made = served.call("CreateStateMachine", &machine);
        served.arn = made["stateMachineArn"].as_str().unwrap().to_owned();
        let start = serde_json::json!({"stateMachineArn": served.arn, "input": "{}"});
        served.call("StartSyncExecution", &start);
        served
    }

    fn call(&self, action: &str, params: &Value) -> Value {
        let authority = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(authority).unwrap();
        let body = params.to_string();
        let length = body.len();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {authority}\r\nX-Amz-Target: AWSStepFunctions.{action}\r\n\
             Content-Type: application/x-amz-json-1.0\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn targets_may_share_a_machine() {
    let place = Place::new("shared");
    let (definition, json) = (data("hello.asl.json"), place.at("report.json"));
    let served = Served::new(&definition);
    let (first, second) = (served.url.clone(), format!("{},mode=async", served.url));
    let arguments = [
        "compare",
        "--target",
        &first,
        "--target",
        &second,
        "--machine",
        &served.arn,
        "--definition",
        &definition,
        "--events",
        &data("hello.ndjson"),
        "--rate",
        "100",
        "--turn",
        "300ms",
        "--warm-up",
        "100ms",
        "--rounds",
        "2",
        "--drain",
        "120s",
        "--json",
        &json,
    ];
    let output = loadtest(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4);
    for run in runs {
        let check = run["check"].as_str().unwrap();
        assert!(check.contains("counted 40 executions"), "{check}");
    }
}

#[test]
fn what_can_be_under_way_is_reported() {
    let place = Place::new("under-way");
    let target = format!("{SERVER},connections=3");
    let arguments = [
        "--target",
        &target,
        "--in-flight",
        "64",
        "--duration",
        "200ms",
    ];
    let (output, report) = order("run", &place, "reference", &arguments);
    // Whether something was sent in so short a time is another matter.
    let run = &report["runs"][0];
    let threads = run["threads"]
        .as_u64()
        .unwrap_or_else(|| panic!("{}", text(&output)));
    assert_eq!(run["loop"]["in_flight"], threads.max(3));
}

#[test]
fn memory_that_is_not_known_has_no_bound() {
    let arguments = ["--target", "http://127.0.0.1:1", "--rss-growth-max", "1"];
    let output = loadtest(&[&["soak"], &arguments[..]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("not known"), "{}", text(&output));
}

#[test]
fn a_soak_tells_slopes() {
    let place = Place::new("soak");
    let target = format!("{SERVER},durable={}", place.at("data"));
    let arguments = [
        "--target",
        &target,
        "--rate",
        "200",
        "--duration",
        "2s",
        "--interval",
        "100ms",
    ];
    let (output, report) = order("soak", &place, "reference", &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let sent = report["runs"][0]["counts"]["sent"].as_u64().unwrap()
        + report["runs"][0]["warm_up_counts"]["sent"]
            .as_u64()
            .unwrap();
    check_run(&report["runs"][0], sent);
    let slopes = report["soak"]["slopes"].as_array().unwrap();
    assert_eq!(slopes.len(), 6, "{slopes:?}");
}

#[test]
fn what_is_acknowledged_outlives_the_server() {
    let place = Place::new("crash");
    let data_dir = place.at("data");
    let arguments = [
        "--binary",
        env!("CARGO_BIN_EXE_quickstep"),
        "--data-dir",
        &data_dir,
        "--kills",
        "3",
        "--every",
        "1s",
        "--rate",
        "100",
    ];
    let (output, report) = order("crash", &place, "reference", &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let ledger = &report["crash"];
    assert_eq!(ledger["kills"], 3);
    assert_eq!(ledger["right"], ledger["acknowledged"]);
    assert!(ledger["acknowledged"].as_u64().unwrap() > 0);
    // The directory is there now.
    let (output, _) = order("crash", &place, "reference", &arguments);
    assert_eq!(output.status.code(), Some(2));
}
