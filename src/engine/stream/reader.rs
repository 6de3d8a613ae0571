//! Reads events and starts their executions: a step at a time, on a thread of its own or in a simulation.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::events::Events;
use super::hub::{Opened, Room};
use super::outlet::{Common, Contents, Letter, Mail, StreamBatch};
use super::{Reading, Recorder, Refusal, Source};
use crate::engine::error::Error;
use crate::engine::machine::StateMachine;
use crate::engine::name::check_name;
use crate::engine::run::Engine;
use crate::interp::Invocation;
use crate::runtime::admission::{Limit, Throttled};
use crate::runtime::outlet::Outlet;

/// Events of the first batch; each is twice as large as the one before. Short streams so reach all workers.
const FIRST_BATCH_EVENTS: usize = 16;
/// How long the reader waits at most when the engine has as much to do as it may.
const THROTTLED_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long it waits for a source that says that there is more, and gives nothing.
const EMPTY_WAIT: Duration = Duration::from_millis(5);

/// Starts batches.
pub(super) struct Starter<R: Recorder> {
    pub(super) engine: Engine,
    pub(super) machine: StateMachine,
    pub(super) common: Arc<Common<R>>,
    /// True if the payloads of events are kept until they are settled.
    pub(super) keeps_payloads: bool,
    /// What the seed of an event's first execution is made of, but for its line.
    pub(super) first_number: u64,
}

impl<R: Recorder> Starter<R> {
    pub(super) fn nanos(&self) -> u64 {
        self.engine.shared().clock.nanos()
    }

    /// Starts executions that were admitted.
    fn start<'e>(
        &self,
        opened: Opened<R::Page>,
        contents: Contents,
        first_number: u64,
        starts: impl Iterator<Item = (usize, &'e [u8], Option<Box<str>>)>,
    ) {
        let first_line = contents.first_line;
        let batch = StreamBatch::new(&self.common, opened, contents);
        let outlet = Arc::new(batch) as Arc<dyn Outlet>;
        let group = self
            .engine
            .group(&self.machine, outlet, Invocation::Synchronous);
        let shared = self.engine.shared();
        let mut batch = shared.new_batch(&group, first_line, first_number);
        for (offset, input, name) in starts {
            batch.push_at(offset, input, name.as_deref(), None);
        }
        shared.start_batch(batch);
    }

    /// Delivers an event again, which the stream has kept.
    pub(super) fn start_again(&self, mut letter: Letter) -> Result<(), (Letter, Throttled)> {
        let Some(payload) = letter.payload.take() else {
            unreachable!("what is delivered again was kept");
        };
        let shared = self.engine.shared();
        if let Err(throttled) = shared.admit(1, payload.len() as u64) {
            letter.payload = Some(payload);
            return Err((letter, throttled));
        }
        let input = payload.clone();
        let name = letter.name.clone();
        letter.payload = Some(payload);
        letter.deliveries += 1;
        let contents = Contents {
            first_line: letter.number,
            events: 1,
            bytes: input.len() as u64,
            letters: vec![Some(Box::new(letter))],
            unfit: Vec::new(),
        };
        let opened = self.common.hub.open_again();
        let number = shared.take_numbers(1);
        self.start(opened, contents, number, [(0, &*input, name)].into_iter());
        Ok(())
    }
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// There may be more to do.
    Went,
    /// There is nothing to do before something changes, or this time has passed.
    Wait(Option<Duration>),
    /// Nothing more is read.
    End,
}

/// Reads the events of a source.
pub(super) struct Reader<R: Recorder, S> {
    starter: Arc<Starter<R>>,
    source: S,
    waker: Waker,
    events: Events,
    /// The first of the events that has not been started, and its line.
    next: usize,
    line: u64,
    /// Events in the next batch, at most, and in any.
    wanted: usize,
    events_max: usize,
    is_at_end: bool,
    /// It is in its source.
    is_polling: bool,
}

impl<R: Recorder, S: Source> Reader<R, S> {
    pub(super) fn new(starter: Arc<Starter<R>>, source: S, events_max: usize) -> Reader<R, S> {
        Reader {
            waker: Waker::from(Arc::clone(&starter.common.hub)),
            starter,
            source,
            events: Events::default(),
            next: 0,
            line: 1,
            wanted: FIRST_BATCH_EVENTS.min(events_max),
            events_max,
            is_at_end: false,
            is_polling: false,
        }
    }

    /// Reads until nobody wants more.
    pub(super) fn run(mut self) {
        let poll = self.starter.engine.shared().clock.poll_interval();
        loop {
            match self.step() {
                Step::Went => {}
                Step::Wait(timeout) => {
                    let timeout = match (timeout, poll) {
                        (Some(timeout), Some(poll)) => Some(timeout.min(poll)),
                        (timeout, _) => timeout,
                    };
                    self.starter.common.hub.wait(timeout);
                }
                Step::End => return,
            }
        }
    }

    pub(super) fn step(&mut self) -> Step {
        if self.next < self.events.len() {
            return self.start();
        }
        if self.is_at_end {
            return Step::End;
        }
        match self.starter.common.hub.room(self.wanted) {
            Room::Closed => Step::End,
            Room::None => Step::Wait(None),
            Room::Events(room) => self.poll(room),
        }
    }

    fn poll(&mut self, room: usize) -> Step {
        self.events.begin(room);
        self.next = 0;
        let mut context = Context::from_waker(&self.waker);
        let mut wait = None;
        self.is_polling = true;
        match self.source.poll(&mut context, &mut self.events) {
            Ok(Reading::More) if self.events.is_empty() => wait = Some(Some(EMPTY_WAIT)),
            Ok(Reading::More) => {}
            Ok(Reading::Idle(after)) => wait = Some(after),
            Ok(Reading::End) => self.is_at_end = true,
            Err(error) => {
                self.is_at_end = true;
                self.starter
                    .common
                    .hub
                    .note(|notes| notes.read_error = Some(error));
            }
        }
        let (count, bytes) = self.polled();
        if self.events.is_empty() {
            return wait.map_or(Step::Went, Step::Wait);
        }
        self.wanted = (self.wanted * 2).min(self.events_max);
        if count == 0 {
            self.pass(self.events.len());
            return Step::Went;
        }
        self.start_some(self.events.len(), count, bytes)
    }

    /// The source has come back.
    fn polled(&mut self) -> (usize, usize) {
        self.is_polling = false;
        let (count, bytes) = self.measure(self.events.len());
        self.starter.common.hub.polled(count, bytes);
        (count, bytes)
    }

    /// How many of the next `lines` are events, and their bytes.
    fn measure(&self, lines: usize) -> (usize, usize) {
        let events = self.events.iter_from(self.next).take(lines);
        let events = events.filter(|event| self.events.is_one(event));
        events.fold((0, 0), |(count, bytes), event| {
            (count + 1, bytes + event.len())
        })
    }

    fn pass(&mut self, lines: usize) {
        self.next += lines;
        self.line += lines as u64;
    }

    fn start(&mut self) -> Step {
        let lines = self.events.len() - self.next;
        let (count, bytes) = self.measure(lines);
        self.start_some(lines, count, bytes)
    }

    /// Starts the next events, or as many of them as the engine takes in.
    fn start_some(&mut self, mut lines: usize, mut count: usize, mut bytes: usize) -> Step {
        let shared = Arc::clone(self.starter.engine.shared());
        while count > 0 {
            if self.starter.common.control.is_stopped() {
                return self.give_up();
            }
            let Err(throttled) = shared.admit(count, bytes as u64) else {
                return self.start_admitted(lines, count, bytes);
            };
            if throttled.limit == Limit::Closed {
                self.starter.common.control.stop();
                return self.give_up();
            }
            if lines > 1 {
                lines /= 2;
                (count, bytes) = self.measure(lines);
                continue;
            }
            let limit = shared.admission.limits().input_bytes;
            if throttled.limit == Limit::InputBytes && bytes as u64 > limit {
                return self.refuse_next(bytes as u64, limit);
            }
            let Some(after) = throttled.retry_after else {
                let hub = &self.starter.common.hub;
                hub.note(|notes| notes.read_error = Some(throttled.into()));
                return self.give_up();
            };
            return Step::Wait(Some(after.min(THROTTLED_WAIT_MAX)));
        }
        self.pass(lines);
        Step::Went
    }

    /// The next event is one that the engine could never take in.
    fn refuse_next(&mut self, bytes: u64, limit: u64) -> Step {
        if self.starter.engine.shared().admit(1, 0).is_err() {
            return Step::Wait(Some(EMPTY_WAIT));
        }
        let unfit = Refusal::OverLimit { bytes, limit };
        self.start_with(1, 1, (bytes, 0), vec![(self.line, unfit)])
    }

    fn start_admitted(&mut self, lines: usize, count: usize, bytes: usize) -> Step {
        let mut unfit = Vec::new();
        let mut unfit_bytes = 0;
        if let Some(bytes) = self.events.too_long {
            unfit.push((self.line, Refusal::TooLong(bytes)));
        }
        if self.events.has_extras() {
            let events = self.events.iter_from(self.next).take(lines);
            for ((line, index), event) in (self.line..).zip(self.next..).zip(events) {
                let name = self.events.extra(index);
                let name = name.and_then(|extra| extra.name.as_deref());
                if let Some(Err(error)) = name.map(check_name) {
                    unfit.push((line, Refusal::Name(error.to_string().into())));
                    unfit_bytes += event.len() as u64;
                }
            }
        }
        if unfit_bytes > 0 {
            let shared = self.starter.engine.shared();
            shared.release(0, unfit_bytes);
        }
        let bytes = bytes as u64;
        self.start_with(lines, count, (bytes, bytes - unfit_bytes), unfit)
    }

    /// Starts the next events, whose bytes are so many, and so many of them admitted.
    fn start_with(
        &mut self,
        lines: usize,
        count: usize,
        (bytes, admitted_bytes): (u64, u64),
        unfit: Vec<(u64, Refusal)>,
    ) -> Step {
        let starter = Arc::clone(&self.starter);
        let Some(opened) = starter.common.hub.open() else {
            let shared = starter.engine.shared();
            shared.release(count, admitted_bytes);
            return self.give_up();
        };
        let letters = self.letters(lines);
        let names: Vec<Option<Box<str>>> = match letters.is_empty() {
            true => Vec::new(),
            false => (letters.iter())
                .map(|letter| letter.as_ref().and_then(|letter| letter.name.clone()))
                .collect(),
        };
        let unfit_lines: Vec<u64> = unfit.iter().map(|(line, _)| *line).collect();
        let first_line = self.line;
        let starts = self.events.iter_from(self.next).take(lines).enumerate();
        let starts = starts.filter(|(_, event)| self.events.is_one(event));
        let starts = starts.map(|(offset, event)| {
            let name = names.get(offset).and_then(Clone::clone);
            // Such a start is refused for its text, and the reason is replaced.
            match !unfit_lines.is_empty() && unfit_lines.contains(&(first_line + offset as u64)) {
                true => (offset, &b""[..], None),
                false => (offset, event, name),
            }
        });
        let contents = Contents {
            first_line,
            events: count,
            bytes,
            letters,
            unfit,
        };
        let number = starter.first_number.wrapping_add(first_line);
        starter.start(opened, contents, number, starts);
        self.pass(lines);
        Step::Went
    }

    /// What is kept of the next events.
    fn letters(&mut self, lines: usize) -> Vec<Option<Box<Letter>>> {
        let keeps = self.starter.keeps_payloads;
        if !keeps && !self.events.has_extras() {
            return Vec::new();
        }
        let range = self.next..self.next + lines;
        let extras: Vec<_> = range.map(|index| self.events.take_extra(index)).collect();
        let events = self.events.iter_from(self.next).zip(extras);
        let letters = (self.line..).zip(events).map(|(number, (event, extra))| {
            if !self.events.is_one(event) || extra.is_none() && !keeps {
                return None;
            }
            let extra = extra.map_or_else(Default::default, |extra| *extra);
            Some(Box::new(Letter {
                number,
                name: extra.name,
                payload: keeps.then(|| event.into()),
                deliveries: extra.delivered.saturating_add(1),
                is_redelivered_by_source: extra.is_redelivered_by_source,
                ack: extra.ack,
            }))
        });
        letters.collect()
    }

    /// Nobody gets to what was read and not started.
    fn give_up(&mut self) -> Step {
        self.is_at_end = true;
        let (lost, errors) = self.events.lose_from(self.next);
        self.next = self.events.len();
        self.starter.common.hub.note(|notes| {
            notes.lost += lost;
            notes.ack_errors.extend(errors);
        });
        Step::End
    }
}

/// However the reader ends, the writer hears of it.
impl<R: Recorder, S> Drop for Reader<R, S> {
    fn drop(&mut self) {
        if self.is_polling {
            let events = self.events.iter_from(0);
            let count = events.filter(|event| self.events.is_one(event)).count();
            self.starter.common.hub.polled(count, 0);
        }
        let (lost, errors) = self.events.lose_from(self.next);
        let common = &self.starter.common;
        common.hub.note(|notes| {
            notes.lost += lost;
            notes.ack_errors.extend::<Vec<Error>>(errors);
        });
        common.hub.leave();
        // If the stream has ended, nobody waits for this.
        let _ = common.sender.send(Mail::Look);
    }
}
