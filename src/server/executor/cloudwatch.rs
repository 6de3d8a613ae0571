//! CloudWatch Logs, or what stands in for it: where the events of log groups go, besides files, if it was given an address.
//!
//! 1. A group's sink writes lines; each write is sent as it comes, in batches within the service's bounds.
//! 2. The group and the stream are made when the service does not know them.
//! 3. What the service does not take is dropped and counted by the sink, as everywhere: nobody waits for a log.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{Handle, Runtime};

use crate::aws::{CallOptions, Client, Error};
use crate::log::Lost;
use crate::stdx::Timestamp;

/// Most bytes of a batch, counted as the service counts them.
const BATCH_BYTES_MAX: usize = 1_048_576;

/// Most events of a batch.
const BATCH_EVENTS_MAX: usize = 10_000;

/// What an event counts besides its text.
const EVENT_BYTES: usize = 26;

/// Most bytes of an event, with what it counts besides.
const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Most time between the first and the last event of a batch.
const SPAN_MILLIS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// How long the service may take for a batch.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

const SERVICE: &str = "cloudwatchlogs";

/// The service, and the thread that calls are made on: the server's own threads may be waiting for the logs' end.
#[derive(Clone)]
pub(super) struct CloudWatch {
    client: Client,
    runtime: Arc<OwnRuntime>,
}

impl fmt::Debug for CloudWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatch").finish_non_exhaustive()
    }
}

/// A runtime that may be dropped on a thread of another one.
struct OwnRuntime(Option<Runtime>, Handle);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl CloudWatch {
    /// # Errors
    ///
    /// If there cannot be another thread.
    pub(super) fn new(client: Client) -> io::Result<CloudWatch> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("quickstep-logs")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(CloudWatch {
            client,
            runtime: Arc::new(OwnRuntime(Some(runtime), handle)),
        })
    }

    /// A writer of lines into a stream of a group.
    pub(super) fn writer(&self, group: &str, region: &str, stream: &str) -> LogWriter {
        LogWriter {
            to: self.clone(),
            group: group.to_owned(),
            stream: stream.to_owned(),
            options: CallOptions {
                region: Some(region.to_owned()),
                time_max: Some(CALL_TIME_MAX),
                ..CallOptions::default()
            },
        }
    }
}

/// Sends whole lines.
#[derive(Debug)]
pub(super) struct LogWriter {
    to: CloudWatch,
    group: String,
    stream: String,
    options: CallOptions,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (batches, too_large) = batches(bytes);
        let mut lost = Lost {
            events: too_large,
            why: "the event exceeds 256 KiB".to_owned(),
        };
        for batch in &batches {
            match self.send(batch) {
                Ok(0) => {}
                Ok(refused) => {
                    lost.events += refused;
                    lost.why = "the events are too old or too new for the service".to_owned();
                }
                Err(error) => {
                    lost.events += batch.len() as u64;
                    lost.why = error.to_string();
                }
            }
        }
        match lost.events {
            0 => Ok(bytes.len()),
            _ => Err(io::Error::other(lost)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogWriter {
    fn call(&self, action: &str, parameters: &Value) -> Result<Value, Error> {
        let call = self
            .to
            .client
            .call(SERVICE, action, parameters, &self.options);
        self.to.runtime.1.block_on(call)
    }

    /// Sends a batch; how many of its events were refused.
    fn send(&self, batch: &[Event<'_>]) -> Result<u64, Error> {
        let events: Vec<Value> = batch
            .iter()
            .map(|event| json!({"Timestamp": event.millis, "Message": event.text}))
            .collect();
        let parameters =
            json!({"LogGroupName": self.group, "LogStreamName": self.stream, "LogEvents": events});
        let answer = match self.call("putLogEvents", &parameters) {
            Err(error) if error.code() == Some("ResourceNotFoundException") => {
                self.make()?;
                self.call("putLogEvents", &parameters)?
            }
            result => result?,
        };
        Ok(refused(&answer, batch.len() as u64))
    }

    /// Makes the group and the stream, unless they are there.
    fn make(&self) -> Result<(), Error> {
        let names = json!({"LogGroupName": self.group, "LogStreamName": self.stream});
        for (action, parameters) in [
            ("createLogGroup", &json!({"LogGroupName": self.group})),
            ("createLogStream", &names),
        ] {
            match self.call(action, parameters) {
                Err(error) if error.code() != Some("ResourceAlreadyExistsException") => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// How many events of a batch an answer refuses: those before one place, and those from another on.
fn refused(answer: &Value, count: u64) -> u64 {
    let Some(info) = answer.get("RejectedLogEventsInfo") else {
        return 0;
    };
    let place = |name: &str| info.get(name).and_then(Value::as_u64);
    let old = place("TooOldLogEventEndIndex").unwrap_or(0);
    let old = old.max(place("ExpiredLogEventEndIndex").unwrap_or(0));
    let new = place("TooNewLogEventStartIndex").map_or(0, |start| count.saturating_sub(start));
    (old + new).min(count)
}

/// The name of a stream that no other server has: it begins as AWS's do.
pub(super) fn stream_name(now: Timestamp, unique: &str) -> String {
    // `2030-01-31T12:30:00.000Z` is `2030-01-31-12-30`.
    let minute: String = now.to_string().chars().take(16).collect();
    let minute = minute.replace(['T', ':'], "-");
    format!("states/quickstep/{minute}/{unique}")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Event<'a> {
    millis: i64,
    text: &'a str,
}

/// The events of lines in batches that the service takes, in the order of time, and how many are too large for any.
fn batches(bytes: &[u8]) -> (Vec<Vec<Event<'_>>>, u64) {
    let mut events = Vec::new();
    let mut too_large = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        // What the log writes is JSON, and so text.
        let Ok(text) = std::str::from_utf8(line) else {
            too_large += 1;
            continue;
        };
        if text.is_empty() {
            continue;
        }
        if text.len() + EVENT_BYTES > EVENT_BYTES_MAX {
            too_large += 1;
            continue;
        }
        events.push(Event {
            millis: millis_of(text),
            text,
        });
    }
    events.sort_by_key(|event| event.millis);
    let mut out: Vec<Vec<Event<'_>>> = Vec::new();
    let mut size = 0;
    for event in events {
        let bytes = event.text.len() + EVENT_BYTES;
        let fits = out.last().is_some_and(|batch| {
            batch.len() < BATCH_EVENTS_MAX
                && size + bytes <= BATCH_BYTES_MAX
                // Its first event is its earliest.
                && batch.first().is_some_and(|first| event.millis - first.millis < SPAN_MILLIS_MAX)
        });
        match out.last_mut().filter(|_| fits) {
            Some(batch) => {
                batch.push(event);
                size += bytes;
            }
            None => {
                out.push(vec![event]);
                size = bytes;
            }
        }
    }
    (out, too_large)
}

/// When an event happened, as its line says; the log writes the member last but for the ARN, once at the top.
fn millis_of(line: &str) -> i64 {
    const NAME: &str = "\"event_timestamp\":\"";
    // The text may stand in a document within the line as well, where its quotes are escaped.
    let after = line.rsplit_once(NAME).map(|(_, after)| after);
    let number = after.and_then(|after| after.split('"').next()?.parse().ok());
    number.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(millis: i64, filler: usize) -> String {
        let text = "x".repeat(filler);
        format!(
            "{{\"id\":\"1\",\"details\":{{\"input\":\"{{\\\"event_timestamp\\\":\\\"5\\\"}}{text}\"}},\
             \"event_timestamp\":\"{millis}\"}}\n"
        )
    }

    fn sizes(lines: &[String]) -> (Vec<usize>, u64) {
        let text = lines.concat();
        let (found, too_large) = batches(text.as_bytes());
        for batch in &found {
            assert!(batch.is_sorted_by_key(|event| event.millis));
            let bytes: usize = batch.iter().map(|e| e.text.len() + EVENT_BYTES).sum();
            assert!(bytes <= BATCH_BYTES_MAX && batch.len() <= BATCH_EVENTS_MAX);
            let span = batch[batch.len() - 1].millis - batch[0].millis;
            assert!(span < SPAN_MILLIS_MAX);
        }
        (found.iter().map(Vec::len).collect(), too_large)
    }

    #[test]
    fn batches_are_within_the_bounds() {
        let day = SPAN_MILLIS_MAX;
        assert_eq!(sizes(&[]), (vec![], 0));
        assert_eq!(sizes(&[line(7, 0), line(3, 0)]), (vec![2], 0));
        // The span.
        let days = [line(0, 0), line(day - 1, 0), line(day, 0), line(2 * day, 0)];
        assert_eq!(sizes(&days), (vec![2, 1, 1], 0));
        // The number.
        let many: Vec<String> = (0..25_000)
            .map(|n| format!("{{\"event_timestamp\":\"{n}\"}}\n"))
            .collect();
        assert_eq!(sizes(&many), (vec![10_000, 10_000, 5_000], 0));
        // The bytes: five events of 200 KB each fit, six do not.
        let large: Vec<String> = (0..7).map(|n| line(n, 200_000)).collect();
        assert_eq!(sizes(&large), (vec![5, 2], 0));
        // An event.
        let largest = EVENT_BYTES_MAX - EVENT_BYTES - (line(1, 0).len() - 1);
        let events = [line(1, largest), line(1, largest + 1), line(1, 0)];
        assert_eq!(sizes(&events), (vec![2], 1));
    }

    #[test]
    fn times_are_those_of_the_events() {
        let text = line(1_893_456_000_123, 1);
        let (found, _) = batches(text.as_bytes());
        assert_eq!(found[0][0].millis, 1_893_456_000_123);
        assert_eq!(found[0][0].text, text.trim_end());
    }

    #[test]
    fn what_an_answer_refuses() {
        for (info, count) in [
            (json!({}), 0),
            (json!({"TooOldLogEventEndIndex": 2}), 2),
            (
                json!({"TooOldLogEventEndIndex": 2, "ExpiredLogEventEndIndex": 3}),
                3,
            ),
            (json!({"TooNewLogEventStartIndex": 8}), 2),
            (
                json!({"TooOldLogEventEndIndex": 10, "TooNewLogEventStartIndex": 0}),
                10,
            ),
        ] {
            let answer = json!({"RejectedLogEventsInfo": info});
            assert_eq!(refused(&answer, 10), count, "{info}");
        }
        assert_eq!(refused(&json!({}), 10), 0);
    }

    #[test]
    fn names_of_streams() {
        let now = Timestamp::from_millis(1_893_456_000_000);
        assert_eq!(
            stream_name(now, "ab12"),
            "states/quickstep/2030-01-01-00-00/ab12"
        );
    }
}
