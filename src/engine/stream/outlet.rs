//! What comes of the executions of one batch: its pages, its events' letters, and the way to the writer.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ack::{Ack, Outcome, Settled, Verdict};
use super::control::Control;
use super::delivery::Delivery;
use super::hub::{Hub, Opened};
use super::{Order, Recorder, Refusal, Refused};
use crate::history::{Failure, HistoryEvent, LogLevel};
use crate::interp::MachineIdentity;
use crate::runtime::Place;
use crate::runtime::outlet::{Ended, Outlet, Receiver, RefusedStart};
use crate::runtime::ticket::Ticket;
use crate::stdx::FixedMap;
use crate::task::lock;

/// What the writer gets.
#[derive(Debug)]
pub(super) enum Mail<P> {
    /// What came of executions.
    Part(Part<P>),
    /// Something is new: reading has ended, or somebody stops the stream.
    Look,
}

/// Pages on their way to the sink.
#[derive(Debug)]
pub(super) struct Part<P> {
    /// The place of its batch in the stream.
    pub(super) seq: u64,
    /// In the order of the events; those from `used` on are spare.
    pub(super) pages: Vec<P>,
    pub(super) used: usize,
    /// What goes back when it is written: events, and their bytes.
    pub(super) permits: u64,
    pub(super) bytes: u64,
    /// How executions ended of events without letters.
    pub(super) outcomes: [u64; Outcome::ALL.len()],
    /// Events to settle once it is written.
    pub(super) settled: Vec<(Letter, Settled)>,
    /// Events to be delivered again.
    pub(super) again: Vec<(Letter, Duration)>,
    /// True if nothing more comes of its batch.
    pub(super) is_last: bool,
    /// True if the stream ends with it.
    pub(super) is_cut: bool,
}

/// What is kept of an event that somebody wants to hear of, or that may be delivered again.
#[derive(Debug, Default)]
pub(super) struct Letter {
    /// Number of the event, from 1.
    pub(super) number: u64,
    pub(super) name: Option<Box<str>>,
    /// Kept if it may be needed again.
    pub(super) payload: Option<Box<[u8]>>,
    /// Deliveries, this one included.
    pub(super) deliveries: u32,
    pub(super) is_redelivered_by_source: bool,
    pub(super) ack: Ack,
}

/// What the batches of a stream have in common.
pub(super) struct Common<R: Recorder> {
    pub(super) control: Arc<Control>,
    pub(super) hub: Arc<Hub<R::Page>>,
    /// By worker.
    pub(super) recorders: Box<[Mutex<R>]>,
    pub(super) order: Order,
    pub(super) delivery: Delivery,
    pub(super) sender: Sender<Mail<R::Page>>,
}

/// One batch of a stream, from its first turn to the end of its last execution.
pub(super) struct StreamBatch<R: Recorder> {
    common: Arc<Common<R>>,
    seq: u64,
    first_line: u64,
    unfit: Vec<(u64, Refusal)>,
    state: Mutex<State<R::Page>>,
}

/// What goes into a batch.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Its first line.
    pub(super) first_line: u64,
    /// How many events there are, and their bytes.
    pub(super) events: usize,
    pub(super) bytes: u64,
    /// None, or one for each line.
    pub(super) letters: Vec<Option<Box<Letter>>>,
    /// Lines that are refused for another reason than their text, which is empty.
    pub(super) unfit: Vec<(u64, Refusal)>,
}

struct State<P> {
    part: Part<P>,
    sender: Sender<Mail<P>>,
    has_begun: bool,
    /// True if the last page is for the executions that end in one go.
    is_page_open: bool,
    /// Pages that were left for executions that end later, by line.
    reserved: FixedMap<u64, usize>,
    /// By line.
    letters: Vec<Option<Box<Letter>>>,
    /// Executions that have not ended, those that have not started among them.
    open: usize,
    /// Bytes that have not gone back.
    bytes_left: u64,
    /// Executions that ended since pages were sent.
    ended: u64,
    is_last_sent: bool,
}

impl<R: Recorder> StreamBatch<R> {
    pub(super) fn new(
        common: &Arc<Common<R>>,
        opened: Opened<R::Page>,
        contents: Contents,
    ) -> StreamBatch<R> {
        StreamBatch {
            common: Arc::clone(common),
            seq: opened.seq,
            first_line: contents.first_line,
            unfit: contents.unfit,
            state: Mutex::new(State {
                part: Part::new(opened.seq, opened.pages),
                sender: common.sender.clone(),
                has_begun: false,
                is_page_open: false,
                reserved: FixedMap::default(),
                letters: contents.letters,
                open: contents.events,
                bytes_left: contents.bytes,
                ended: 0,
                is_last_sent: false,
            }),
        }
    }
}

impl<R: Recorder> fmt::Debug for StreamBatch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBatch")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

/// What was never started, or was lost in a panic, is told of all the same: the writer counts on every batch.
impl<R: Recorder> Drop for StreamBatch<R> {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state.is_last_sent {
            return;
        }
        let lost = state.open as u64;
        state.open = 0;
        state.ended += lost;
        let letters = std::mem::take(&mut state.letters);
        let mut without_letter = lost;
        for letter in letters.into_iter().flatten() {
            without_letter = without_letter.saturating_sub(1);
            state.lose(*letter, &self.common.delivery);
        }
        state.part.outcomes[Outcome::Lost as usize] += without_letter;
        if !state.has_begun {
            self.common.hub.begun();
        }
        state.send(Order::Completion);
        drop(state);
        self.common.control.ended(self.seq);
    }
}

impl<P> Part<P> {
    fn new(seq: u64, pages: Vec<P>) -> Part<P> {
        Part {
            seq,
            pages,
            used: 0,
            permits: 0,
            bytes: 0,
            outcomes: [0; Outcome::ALL.len()],
            settled: Vec::new(),
            again: Vec::new(),
            is_last: false,
            is_cut: false,
        }
    }
}

impl<P> State<P> {
    /// An event was given up.
    fn lose(&mut self, letter: Letter, delivery: &Delivery) {
        let mut settled = Settled::lost(letter.deliveries);
        settled.verdict = delivery.judge(Outcome::Lost, None, letter.deliveries);
        self.part.settled.push((letter, settled));
    }

    /// Sends what is there, if it is time.
    fn send(&mut self, order: Order) {
        let is_done = self.open == 0;
        if !is_done && (order == Order::Events || self.ended == 0 && !self.part.is_cut) {
            return;
        }
        if is_done {
            self.part.bytes += std::mem::take(&mut self.bytes_left);
            self.is_last_sent = true;
        }
        self.part.is_last = is_done;
        // What is delivered again stays in flight.
        let stays = self.part.again.len() as u64;
        self.part.permits = std::mem::take(&mut self.ended) - stays;
        let empty = Part::new(self.part.seq, Vec::new());
        let part = std::mem::replace(&mut self.part, empty);
        self.is_page_open = false;
        // If the stream has ended, nobody wants it, and the letters' acks say so.
        let _ = self.sender.send(Mail::Part(part));
    }
}

impl<P: Default> State<P> {
    /// The page for the next execution that ends at once.
    #[inline]
    fn page(&mut self, begin: impl FnOnce(&mut P, usize)) -> &mut P {
        let is_new = !std::mem::replace(&mut self.is_page_open, true);
        if is_new {
            self.add_page();
        }
        let page = &mut self.part.pages[self.part.used - 1];
        if is_new {
            // The execution that has just ended is not open any more.
            begin(page, self.open + 1);
        }
        page
    }

    fn add_page(&mut self) {
        if self.part.used == self.part.pages.len() {
            self.part.pages.push(P::default());
        }
        self.part.used += 1;
    }

    /// The page of an execution: the one that was left for it, if one was.
    #[inline]
    fn page_of(&mut self, line: u64, begin: impl FnOnce(&mut P, usize)) -> &mut P {
        if !self.reserved.is_empty()
            && let Some(index) = self.reserved.remove(&line)
        {
            return &mut self.part.pages[index];
        }
        self.page(begin)
    }
}

impl<R: Recorder> Outlet for StreamBatch<R> {
    fn lend(&self, worker: usize, turn: &mut dyn FnMut(&mut dyn Receiver)) {
        let _guard = StopOnPanic(&self.common.control, &self.common.hub);
        let mut recorder = lock(&self.common.recorders[worker]);
        let mut state = lock(&self.state);
        if !std::mem::replace(&mut state.has_begun, true) {
            self.common.hub.begun();
        }
        turn(&mut StreamReceiver {
            batch: self,
            recorder: &mut *recorder,
            state: &mut state,
        });
        if R::ENABLED {
            recorder.idle();
        }
        drop(recorder);
        if state.open == 0 {
            self.common.control.ended(self.seq);
        }
        state.send(self.common.order);
    }
}

/// Stops the stream if its part of a worker's turn panics.
struct StopOnPanic<'a, P>(&'a Control, &'a Hub<P>);

impl<P> Drop for StopOnPanic<'_, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked();
            self.1.close();
        }
    }
}

struct StreamReceiver<'a, R: Recorder> {
    batch: &'a StreamBatch<R>,
    recorder: &'a mut R,
    state: &'a mut State<R::Page>,
}

impl<R: Recorder> StreamReceiver<'_, R> {
    #[inline]
    fn leave(&mut self, bytes: u64) {
        self.state.open -= 1;
        self.state.ended += 1;
        self.state.bytes_left -= bytes;
        self.state.part.bytes += bytes;
    }

    /// What was kept of the event of that line.
    fn take_letter(&mut self, line: u64) -> Option<Letter> {
        let index = usize::try_from(line - self.batch.first_line).ok()?;
        let letter = self.state.letters.get_mut(index)?.take();
        letter.map(|letter| *letter)
    }

    /// An execution has ended whose event has a letter.
    #[cold]
    fn ended_with(&mut self, letter: Letter, ended: &Ended<'_>) {
        let outcome = Outcome::of(ended.status());
        let failure = ended.failure();
        let delivery = &self.batch.common.delivery;
        let verdict = delivery.judge(outcome, failure, letter.deliveries);
        if let Verdict::Again { after } = verdict
            && letter.payload.is_some()
            && !letter.is_redelivered_by_source
        {
            // It stays in flight, and its bytes do.
            self.state.part.bytes -= ended.input_bytes;
            self.state.part.again.push((letter, after));
            return;
        }
        let number = letter.number;
        let settled = Settled {
            verdict,
            outcome,
            failure: failure.cloned(),
            deliveries: letter.deliveries,
        };
        self.state.part.settled.push((letter, settled));
        let begin = |page: &mut R::Page, executions| self.recorder.begin(page, executions);
        let page = self.state.page_of(ended.line, begin);
        let numbered = Ended {
            line: number,
            ..*ended
        };
        self.recorder.ended(&numbered, page);
    }

    fn lost(&mut self, line: u64) -> u64 {
        self.leave(0);
        match self.take_letter(line) {
            None => {
                self.state.part.outcomes[Outcome::Lost as usize] += 1;
                line
            }
            Some(letter) => {
                let number = letter.number;
                self.state.lose(letter, &self.batch.common.delivery);
                number
            }
        }
    }
}

impl<R: Recorder> Receiver for StreamReceiver<'_, R> {
    fn observes(&self) -> bool {
        R::ENABLED
    }

    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, _: Option<&str>, seed: u64) {
        self.recorder.turn_to(machine, seed);
    }

    fn wants_level(&self, level: LogLevel) -> bool {
        self.recorder.wants(level)
    }

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.recorder.observe(event);
    }

    fn wants(&self) -> bool {
        !self.state.part.is_cut && self.batch.common.control.wants(self.batch.seq)
    }

    fn parked(&mut self, line: u64, place: Place) {
        let state = &mut *self.state;
        if self.batch.common.order == Order::Events && !state.reserved.contains_key(&line) {
            state.is_page_open = false;
            state.add_page();
            state.reserved.insert(line, state.part.used - 1);
        }
        self.batch.common.control.parked(self.batch.seq, place);
    }

    #[inline]
    fn ended(&mut self, ended: &Ended<'_>) {
        self.leave(ended.input_bytes);
        if !self.state.letters.is_empty()
            && let Some(letter) = self.take_letter(ended.line)
        {
            return self.ended_with(letter, ended);
        }
        self.state.part.outcomes[Outcome::of(ended.status()) as usize] += 1;
        let begin = |page: &mut R::Page, executions| self.recorder.begin(page, executions);
        let page = self.state.page_of(ended.line, begin);
        self.recorder.ended(ended, page);
    }

    fn refused(&mut self, start: &RefusedStart<'_>) -> ControlFlow<()> {
        self.leave(0);
        let line = start.line;
        let unfit = self.batch.unfit.iter().find(|(unfit, _)| *unfit == line);
        let reason = match unfit {
            Some((_, reason)) => reason.clone(),
            None => Refusal::Start(start.error.clone()),
        };
        let mut refused = Refused {
            line,
            name: None,
            reason,
        };
        match self.take_letter(line) {
            None => self.state.part.outcomes[Outcome::Invalid as usize] += 1,
            Some(letter) => {
                refused.line = letter.number;
                refused.name.clone_from(&letter.name);
                let settled = Settled {
                    verdict: Verdict::Rejected,
                    outcome: Outcome::Invalid,
                    failure: Some(Failure {
                        error: None,
                        cause: Some(refused.reason.to_string().into()),
                    }),
                    deliveries: letter.deliveries,
                };
                self.state.part.settled.push((letter, settled));
            }
        }
        let begin = |page: &mut R::Page, executions| self.recorder.begin(page, executions);
        let page = self.state.page(begin);
        let goes_on = self.recorder.refused(&refused, page);
        if goes_on.is_break() {
            self.state.part.is_cut = true;
            self.batch.common.control.cut_after(self.batch.seq);
            self.batch.common.hub.close();
        }
        goes_on
    }

    fn abandoned(&mut self, line: u64, _: Option<&Arc<Ticket>>) {
        let number = self.lost(line);
        self.recorder.abandoned(number);
    }

    fn dropped(&mut self, line: u64, _: Option<&Arc<Ticket>>) {
        self.lost(line);
    }
}
