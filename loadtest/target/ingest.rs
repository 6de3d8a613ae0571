//! Lines of one long request a thread, answered in their order while they are sent.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::remote::Remote;
use crate::http::{Lane, wait};
use crate::load::{Next, Work};
use crate::pacer::{Pace, Pacer};
use crate::recorder::Outcome;
use crate::schedule::{Arrival, Nanos};

/// Most lines that are under way on a connection.
pub(super) const UNDER_WAY_MAX: usize = 65_536;

/// Most bytes that wait for the socket.
const UNSENT_MAX: usize = 1024 * 1024;

/// Longest wait at a time.
const LOOK: Nanos = 100_000_000;

/// A line of the answer, or its last.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    status: &'a str,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<String>,
    complete: Option<bool>,
    line: Option<u64>,
}

struct Ingest<'i, 'r> {
    remote: &'i Remote,
    work: &'i mut Work<'r, Pacer>,
    lane: &'i mut Lane,
    under_way: VecDeque<(Arrival, Nanos)>,
    /// Lines that were answered: their numbers begin with 1.
    answered: u64,
    piece: Vec<u8>,
}

/// Sends a thread's arrivals as lines of one body.
///
/// # Errors
///
/// If the request is refused, or if its answer ends otherwise than it has to.
pub(crate) fn drive(
    remote: &Remote,
    work: &mut Work<'_, Pacer>,
    lane: &mut Lane,
) -> Result<(), String> {
    let authority = lane.authority().to_owned();
    lane.send(|out| remote.api.write_ingest(&authority, out))
        .map_err(|error| format!("{authority}: {error}"))?;
    let mut ingest = Ingest {
        remote,
        work,
        lane,
        under_way: VecDeque::new(),
        answered: 0,
        piece: Vec::new(),
    };
    let ended = ingest.all();
    // What is still under way has no answer any more.
    let now = ingest.work.pace.now();
    if ended.is_err() {
        for (arrival, sent) in ingest.under_way.drain(..) {
            ingest.work.shard.done(arrival, sent, now, Outcome::Broken);
        }
    }
    ended
}

impl Ingest<'_, '_> {
    fn all(&mut self) -> Result<(), String> {
        let spin = self.work.pace.spin();
        let mut is_over = false;
        loop {
            let now = self.work.pace.now();
            if self.work.is_given_up(now) {
                return Ok(());
            }
            let mut until = now + LOOK;
            if !is_over {
                match self.lines(now)? {
                    Next::Over => {
                        is_over = true;
                        self.lane
                            .send_more(|out| out.extend_from_slice(b"0\r\n\r\n"))
                            .map_err(|error| error.to_string())?;
                    }
                    Next::At(at) => until = until.min(at),
                    Next::Due(_) => {}
                }
            }
            let left = until.saturating_sub(self.work.pace.now());
            wait([&*self.lane], left.saturating_sub(spin));
            self.lane.advance()?;
            if self.take_in()? {
                return Ok(());
            }
            if self.lane.answer.is_whole() {
                return Err("the server ended its answer before the last line".to_owned());
            }
        }
    }

    /// Sends the lines that are due.
    fn lines(&mut self, now: Nanos) -> Result<Next, String> {
        let most = UNDER_WAY_MAX.min(self.work.in_flight_max);
        self.piece.clear();
        let mut next = Next::At(now + LOOK);
        let from = self.under_way.len();
        while self.under_way.len() < most && self.lane.unsent() + self.piece.len() < UNSENT_MAX {
            next = self.work.next(now);
            let Next::Due(arrival) = next else { break };
            let input = self.remote.prepared.events.input(arrival.index);
            self.piece.extend_from_slice(input.as_bytes());
            self.piece.push(b'\n');
            self.under_way.push_back((arrival, now));
        }
        if !self.piece.is_empty() {
            let sent = self.work.pace.now();
            for (arrival, at) in self.under_way.range_mut(from..) {
                *at = sent;
                self.work.shard.sent(*arrival, sent);
            }
            let piece = &self.piece;
            let chunk = |out: &mut Vec<u8>| {
                out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            };
            self.lane
                .send_more(chunk)
                .map_err(|error| error.to_string())?;
        }
        Ok(next)
    }

    /// Reads the lines that have come. True after the last one.
    fn take_in(&mut self) -> Result<bool, String> {
        let status = self.lane.answer.status;
        if status == 0 {
            return Ok(false);
        }
        let body = std::mem::take(&mut self.lane.answer.body);
        if status != 200 {
            let shown = String::from_utf8_lossy(&body);
            return Err(format!("the request was answered {status}: {shown}"));
        }
        let now = self.work.pace.now();
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', &body[from..]) {
            let line = &body[from..from + length];
            from += length + 1;
            if self.line(line, now)? {
                return Ok(true);
            }
        }
        self.lane.answer.body = body;
        self.lane.answer.body.drain(..from);
        Ok(false)
    }

    fn line(&mut self, line: &[u8], now: Nanos) -> Result<bool, String> {
        let shown = || String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned();
        let read: Line<'_> =
            serde_json::from_slice(line).map_err(|error| format!("{error}: {}", shown()))?;
        if let Some(is_complete) = read.complete {
            return match is_complete && self.under_way.is_empty() {
                true => Ok(true),
                false => Err(format!(
                    "{} lines have no answer: {}",
                    self.under_way.len(),
                    shown()
                )),
            };
        }
        let (arrival, sent) = self
            .under_way
            .pop_front()
            .ok_or_else(|| format!("nobody asked for: {}", shown()))?;
        self.answered += 1;
        if read.line != Some(self.answered) {
            let expected = self.answered;
            return Err(format!(
                "line {expected} is to be answered, and this was: {}",
                shown()
            ));
        }
        let output = read.output.map(RawValue::get).unwrap_or_default();
        let events = &self.remote.prepared.events;
        let error = read.error.unwrap_or_default();
        let outcome = match read.status {
            "SUCCEEDED" if events.is_right(arrival.index, output.as_bytes()) => Outcome::Right,
            "SUCCEEDED" => Outcome::Wrong,
            "REFUSED" if error.contains("Throttling") || error.contains("LimitExceeded") => {
                Outcome::Throttled
            }
            "REFUSED" => Outcome::Broken,
            _ => Outcome::Failed,
        };
        self.work.shard.done(arrival, sent, now, outcome);
        Ok(false)
    }
}
