//! Tasks that child processes answer.

use crate::support::{QUOTE, Ran, file, folder, quickstep, ran, task};

/// Runs one Task whose answers come from a shell script.
fn run(test: &str, script: &str, state: &str, more: &[&str], stdin: &str) -> Ran {
    let folder = folder(test);
    let definition = file(&folder, "machine.asl.json", task(QUOTE, state));
    let script = file(&folder, "answer.sh", script);
    let entry = serde_json::json!({"tasks": {QUOTE: {"exec": ["sh", script]}}});
    let tasks = file(&folder, "tasks.json", entry.to_string());
    let fixed = ["run", "--quiet", &definition, "--tasks", &tasks];
    quickstep(&[&fixed[..], more].concat(), stdin)
}

const RETRY: &str =
    r#","Retry":[{"ErrorEquals":["Exec.Died"],"IntervalSeconds":1,"MaxAttempts":3}]"#;

#[test]
fn a_process_answers_line_by_line() {
    let script = r#"echo "started" >&2
while read -r line; do
  echo "{\"result\":$(echo "$line" | sed -e 's/"execution":"[^"]*"/"execution":"E"/')}"
done"#;
    let Ran { code, out, err } = run("exec", script, "", &[], "1\n\"é\"\n");
    let request = |input: &str| {
        format!(
            "{{\"resource\":\"{QUOTE}\",\"state\":\"Ask\",\"attempt\":0,\"execution\":\"E\",\"input\":{input}}}\n"
        )
    };
    assert_eq!((code, err.as_str()), (0, "started\n"));
    assert_eq!(out, request("1") + &request("\"é\""));
}

#[test]
fn failures_are_answers_too() {
    let script = r#"while read -r line; do echo '{"error":"Closed","cause":"until noon"}'; done"#;
    assert_eq!(
        run("exec-fails", script, "", &[], "1"),
        ran(1, "", "line 1: FAILED: Closed: until noon\n")
    );
}

#[test]
fn a_process_that_dies_is_started_again() {
    // Every process dies at its second request.
    let script = r#"read -r line; echo '{"result":"first"}'; read -r line; exit 3"#;
    let Ran { code, out, err } = run("exec-dies", script, "", &[], "1\n2\n3\n");
    assert_eq!((code, out.as_str()), (1, "\"first\"\n\"first\"\n"));
    assert!(err.starts_with("line 2: FAILED: Exec.Died: `sh "), "{err}");
    assert!(
        err.ends_with(&format!(
            "which answers for {QUOTE}, ended before it answered: exit status: 3\n"
        )),
        "{err}"
    );
    assert_eq!(
        run(
            "exec-retried",
            script,
            RETRY,
            &["--time", "virtual"],
            "1\n2\n3\n"
        ),
        ran(0, "\"first\"\n\"first\"\n\"first\"\n", "")
    );
}

#[test]
fn what_is_no_answer() {
    for (i, answer) in ["hello", "{}", "{\"result\":1,\"error\":\"E\"}", "[1]", ""]
        .into_iter()
        .enumerate()
    {
        let script = format!("while read -r line; do echo '{answer}'; done");
        let Ran { code, out, err } = run(&format!("exec-bad-{i}"), &script, "", &[], "1\n");
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(
            err.contains("FAILED: Exec.BadAnswer: `sh ")
                && err
                    .trim_end()
                    .ends_with(format!("{{\"error\": …}}: {answer}").trim_end()),
            "{err}"
        );
    }
    let folder = folder("exec-missing");
    let definition = file(&folder, "machine.asl.json", task(QUOTE, ""));
    let tasks = file(
        &folder,
        "tasks.json",
        r#"{"tasks":{"*":{"exec":["./no-such-program"]}}}"#,
    );
    let Ran { err, .. } = quickstep(&["run", "--quiet", &definition, "--tasks", &tasks], "1");
    assert!(
        err.contains("FAILED: Exec.NotStarted: failed to start `./no-such-program`"),
        "{err}"
    );
}

#[test]
fn a_process_that_hangs_is_ended_by_the_timeout() {
    // Virtual time does not overtake a process, so this takes the second that it says.
    let script = r#"while read -r line; do
  case "$line" in *hang*) exec sleep 600;; esac
  echo '{"result":"fine"}'
done"#;
    for time in ["real", "virtual"] {
        assert_eq!(
            run(
                &format!("exec-hangs-{time}"),
                script,
                r#","TimeoutSeconds":1"#,
                &["--time", time, "--in-flight", "1"],
                "\"hang\"\n\"go\"\n"
            ),
            ran(1, "\"fine\"\n", "line 1: FAILED: States.Timeout\n")
        );
    }
}

#[test]
fn a_call_that_is_called_off_harms_no_other() {
    let folder = folder("exec-called-off");
    // Two calls at once: the first that fails calls the other off, often when its answer is on the way.
    let ask = |name: &str| {
        format!(
            r#"{{"StartAt":"{name}","States":{{"{name}":{{"Type":"Task","Resource":"{QUOTE}","End":true}}}}}}"#
        )
    };
    let both = format!(
        r#"{{"StartAt":"P","States":{{"P":{{"Type":"Parallel","Branches":[{},{}],"ResultPath":null,"End":true}}}}}}"#,
        ask("A"),
        ask("B")
    );
    let definition = file(&folder, "machine.asl.json", both);
    let script = r#"while read -r line; do case "$line" in
  *'"input":0}') echo '{"error":"Zero"}';;
  *) echo '{"result":1}';;
esac; done"#;
    let script = file(&folder, "answer.sh", script);
    let entry = serde_json::json!({"tasks": {QUOTE: {"exec": ["sh", script]}}});
    let tasks = file(&folder, "tasks.json", entry.to_string());
    let events = "0\n1\n".repeat(300);
    let Ran { out, err, .. } =
        quickstep(&["run", "--quiet", &definition, "--tasks", &tasks], &events);
    assert_eq!(out, "1\n".repeat(300), "{err}");
    assert!(!err.contains("Exec."), "{err}");
}
