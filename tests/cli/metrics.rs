//! `run --metrics`: what can be scraped while a run is under way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::support::{PICKY, file, folder, run, start};

fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_run_can_be_scraped() {
    let folder = folder("scraped");
    let definition = file(&folder, "picky.asl.json", PICKY);
    let log = folder.join("log.ndjson").to_str().unwrap().to_owned();
    let mut child = start(&[
        "run",
        "--metrics",
        "127.0.0.1:0",
        "--log",
        &log,
        &definition,
    ]);
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    let address = line
        .trim_end()
        .strip_prefix("metrics: http://")
        .and_then(|rest| rest.strip_suffix("/metrics"))
        .unwrap_or_else(|| panic!("{line}"));
    let mut events = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    events
        .write_all(b"{\"bad\":true}\n{\"bad\":false}\n{\"bad\":false}\n")
        .unwrap();
    // Two outputs, and the failure's line: then all three have ended, and the run goes on.
    for _ in 0..2 {
        let mut output = String::new();
        out.read_line(&mut output).unwrap();
        assert_eq!(output, "{\"bad\":false}\n");
    }
    let response = get(address, "/metrics");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: text/plain; version=0.0.4"),
        "{head}"
    );
    for expected in [
        r#"quickstep_executions_finished_total{state_machine="picky",status="SUCCEEDED"} 2"#,
        r#"quickstep_executions_finished_total{state_machine="picky",status="FAILED"} 1"#,
        r#"quickstep_executions_running{state_machine="picky"} 0"#,
        r#"quickstep_state_transitions_total{state_machine="picky",state_type="Choice"} 3"#,
    ] {
        assert!(
            body.lines().any(|line| line == expected),
            "{expected}\n{body}"
        );
    }
    // How much of the log is written by now is not known.
    for expected in [
        format!(r#"quickstep_log_events_dropped_total{{sink="{log}",reason="queue_full"}} 0"#),
        format!(r#"quickstep_log_events_total{{sink="{log}"}} "#),
        format!(r#"quickstep_log_queue_depth{{sink="{log}"}} "#),
    ] {
        assert!(
            body.lines().any(|line| line.starts_with(&expected)),
            "{expected}\n{body}"
        );
    }
    assert!(get(address, "/").starts_with("HTTP/1.1 404 Not Found\r\n"));
    drop(events);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn an_address_has_to_be_one() {
    let ran = run("no-address", PICKY, &["--metrics", "nowhere"], "");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .starts_with("error: --metrics: failed to listen at nowhere: "),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("127.0.0.1:9464"), "{}", ran.err);
}
