//! The logs that a server writes of the recorded executions, at every level, with and without data: held against what AWS
//! recorded, and against the histories that the server itself shows.

use std::path::{Path, PathBuf};

use quickstep::server::ServerOptions;
use serde_json::{Value, json};

use super::client::{Connection, Host};
use super::executions::Case;
use super::recorded::{await_end, readable};
use crate::difference::Differences;
use crate::pattern::Bindings;

/// `level` and `includeExecutionData`.
const CONFIGURATIONS: [(&str, bool); 7] = [
    ("ALL", true),
    ("ALL", false),
    ("ERROR", true),
    ("ERROR", false),
    ("FATAL", true),
    ("FATAL", false),
    ("OFF", true),
];

/// What the guide's table has at ERROR, besides what it has at FATAL.
const ERRORS: [&str; 19] = [
    "FailStateEntered",
    "LambdaFunctionFailed",
    "LambdaFunctionScheduleFailed",
    "LambdaFunctionStartFailed",
    "LambdaFunctionTimedOut",
    "MapIterationAborted",
    "MapIterationFailed",
    "MapRunAborted",
    "MapRunFailed",
    "MapStateAborted",
    "MapStateFailed",
    "ParallelStateAborted",
    "ParallelStateFailed",
    "TaskFailed",
    "TaskStartFailed",
    "TaskStateAborted",
    "TaskSubmitFailed",
    "TaskTimedOut",
    "WaitStateAborted",
];

const FATALS: [&str; 3] = ["ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut"];

/// Runs the case once for every configuration; each writes to a log group of its own.
pub(crate) fn check(case: &Case) -> Result<(), String> {
    let directory = directory(&case.name);
    let host = Host::start(ServerOptions {
        account: "111111111111".to_owned(),
        data_dir: Some(directory.clone()),
        express_history: 100,
        ..ServerOptions::default()
    });
    let mut connection = host.connect();
    let mut started = Vec::new();
    for (level, data) in CONFIGURATIONS {
        started.push(start(case, &mut connection, level, data)?);
    }
    let mut histories = Vec::new();
    for arn in started {
        await_end(&mut connection, &json!(arn));
        let history = history(&mut connection, &arn);
        histories.push((arn, history));
    }
    drop(connection);
    host.stop();
    let mut differences = Differences::default();
    for ((level, data), (arn, history)) in CONFIGURATIONS.into_iter().zip(histories) {
        let file = directory.join(format!("logs/aws/vendedlogs/states/{level}-{data}.ndjson"));
        let lines = lines(&file)?;
        let expected: Vec<Value> = in_log(&history, level, data)
            .map(|mut line| {
                line["execution_arn"] = arn.as_str().into();
                line
            })
            .collect();
        if lines != expected {
            differences.add(format!(
                "{level} {data}: the history says {expected:#?}\nthe log says {lines:#?}"
            ));
        }
        if case.name.contains("/logs ") && recorded(&case.name) == (level, data) {
            compare_recorded(case, &lines, (level, data), &mut differences);
        }
    }
    std::fs::remove_dir_all(&directory).map_err(|error| error.to_string())?;
    match differences.is_empty() {
        true => Ok(()),
        false => Err(differences.text()),
    }
}

fn directory(name: &str) -> PathBuf {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("logs-{name}"));
    // What an earlier run has left behind.
    let _ = std::fs::remove_dir_all(&directory);
    directory
}

/// Starts the case with a logging configuration; returns the execution's ARN.
fn start(
    case: &Case,
    connection: &mut Connection,
    level: &str,
    data: bool,
) -> Result<String, String> {
    let group = format!(
        "arn:aws:logs:us-east-1:111111111111:log-group:/aws/vendedlogs/states/{level}-{data}:*"
    );
    let (status, created) = connection.call(
        "CreateStateMachine",
        &json!({
            "name": format!("conformance-{level}-{data}"),
            "definition": case.definition,
            "roleArn": "arn:aws:iam::111111111111:role/conformance",
            "type": case.case["type"],
            "loggingConfiguration": {
                "level": level,
                "includeExecutionData": data,
                "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}],
            },
        }),
    );
    if status != 200 {
        return Err(format!("AWS accepts the machine; ours: {created}"));
    }
    let start = json!({"stateMachineArn": created["stateMachineArn"], "input": case.input});
    let operation = match case.case["sync"] == true {
        true => "StartSyncExecution",
        false => "StartExecution",
    };
    let (_, started) = connection.call(operation, &start);
    let arn = started["executionArn"].as_str();
    let arn = arn.ok_or_else(|| format!("{operation}: {started}"))?;
    Ok(arn.to_owned())
}

/// All events that the server shows.
fn history(connection: &mut Connection, arn: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut request = json!({"executionArn": arn, "maxResults": 1000});
    loop {
        let (status, mut page) = connection.call("GetExecutionHistory", &request);
        assert_eq!(status, 200, "{page}");
        events.append(page["events"].as_array_mut().expect("a page has events"));
        match page.get("nextToken") {
            Some(token) => request["nextToken"] = token.clone(),
            None => return events,
        }
    }
}

/// The lines of a log, in the order of the events; none if there is no file.
fn lines(file: &Path) -> Result<Vec<Value>, String> {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Ok(Vec::new());
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        lines.push(line);
    }
    // An execution that goes on with another worker may have its lines in another order.
    lines.sort_by_key(|line| line["id"].as_str().and_then(|id| id.parse::<u64>().ok()));
    Ok(lines)
}

/// The events of a history in the form of a log.
fn in_log<'h>(
    history: &'h [Value],
    level: &'h str,
    data: bool,
) -> impl Iterator<Item = Value> + 'h {
    let is_wanted = move |event: &&Value| {
        let event_type = event["type"].as_str().unwrap_or_default();
        let is_fatal = FATALS.contains(&event_type);
        match level {
            "ALL" => true,
            "ERROR" => is_fatal || ERRORS.contains(&event_type),
            "FATAL" => is_fatal,
            _ => false,
        }
    };
    history.iter().filter(is_wanted).map(move |event| {
        let members = event.as_object().into_iter().flatten();
        let mut details = members
            .filter(|(name, _)| name.ends_with("EventDetails"))
            .map(|(_, details)| details.clone())
            .next()
            .unwrap_or_else(|| json!({}));
        if let (false, Some(details)) = (data, details.as_object_mut()) {
            for name in [
                "input",
                "inputDetails",
                "output",
                "outputDetails",
                "parameters",
                "assignedVariables",
                "assignedVariablesDetails",
            ] {
                details.remove(name);
            }
        }
        let mut line = json!({
            "id": event["id"].to_string(),
            "type": event["type"],
            "details": details,
            "previous_event_id": event["previousEventId"].to_string(),
            "redrive_count": "0",
        });
        if let Some(seconds) = event["timestamp"].as_f64() {
            line["event_timestamp"] = format!("{:.0}", seconds * 1_000.0).into();
        }
        line
    })
}

/// The configuration that a recording was made with, which its name ends with: `…_ERROR_True]#0`.
fn recorded(name: &str) -> (&'static str, bool) {
    let level = ["OFF", "FATAL", "ERROR"]
        .into_iter()
        .find(|level| name.contains(&format!("_{level}_")));
    (level.unwrap_or("ALL"), !name.contains("_False]"))
}

/// Compares with the recorded history, which has documents instead of their texts.
fn compare_recorded(
    case: &Case,
    lines: &[Value],
    (level, data): (&str, bool),
    differences: &mut Differences,
) {
    let history = case.case["history"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let expected: Vec<Value> = in_log(history, level, data).collect();
    if expected.len() != lines.len() {
        differences.add(format!("AWS logs {expected:#?}, we {lines:#?}"));
    }
    let mut bindings = Bindings::new();
    for (expected, line) in expected.iter().zip(lines) {
        let mut ours = readable(expected, line);
        for name in ["event_timestamp", "execution_arn"] {
            let member = ours.as_object_mut().and_then(|line| line.remove(name));
            if !member.is_some_and(|member| member.is_string()) {
                differences.add(format!("{name} is no text: {line}"));
            }
        }
        bindings.compare(expected, &ours, "log", differences);
    }
}
