//! What comes of the executions of one batch: its pages, and the way to the writer.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use super::hub::{Control, Hub};
use super::{Order, Recorder, Refusal, Refused};
use crate::history::{HistoryEvent, LogLevel};
use crate::interp::MachineIdentity;
use crate::runtime::Place;
use crate::runtime::outlet::{Ended, Outlet, Receiver, RefusedStart};
use crate::runtime::ticket::Ticket;
use crate::stdx::FixedMap;
use crate::task::lock;

/// Pages on their way to the sink.
#[derive(Debug)]
pub(super) struct Part<P> {
    /// The place of its batch in the stream.
    pub(super) seq: u64,
    /// In the order of the events; those from `used` on are spare.
    pub(super) pages: Vec<P>,
    pub(super) used: usize,
    /// Permits that go back when it is written.
    pub(super) permits: usize,
    /// True if the stream ends with it.
    pub(super) is_cut: bool,
}

/// What the batches of a stream have in common.
pub(super) struct Common<R: Recorder> {
    pub(super) control: Arc<Control>,
    pub(super) hub: Arc<Hub<R::Page>>,
    /// By worker.
    pub(super) recorders: Box<[Mutex<R>]>,
    pub(super) order: Order,
}

/// One batch of a stream, from its first turn to the end of its last execution.
pub(super) struct StreamBatch<R: Recorder> {
    common: Arc<Common<R>>,
    seq: u64,
    too_long: Option<u64>,
    state: Mutex<State<R::Page>>,
}

struct State<P> {
    part: Part<P>,
    sender: Sender<Part<P>>,
    has_begun: bool,
    /// True if the last page is for the executions that end in one go.
    is_page_open: bool,
    /// Pages that were left for executions that end later, by line.
    reserved: FixedMap<u64, usize>,
    /// Executions that have not ended, those that have not started among them.
    open: usize,
    /// Permits that have not been sent.
    permits_left: usize,
    /// Executions that ended since pages were sent.
    ended: usize,
    is_cut: bool,
}

impl<R: Recorder> StreamBatch<R> {
    pub(super) fn new(
        common: &Arc<Common<R>>,
        seq: u64,
        too_long: Option<u64>,
        events: usize,
        (permits, pages): (usize, Vec<R::Page>),
        sender: Sender<Part<R::Page>>,
    ) -> StreamBatch<R> {
        StreamBatch {
            common: Arc::clone(common),
            seq,
            too_long,
            state: Mutex::new(State {
                part: Part {
                    seq,
                    pages,
                    used: 0,
                    permits: 0,
                    is_cut: false,
                },
                sender,
                has_begun: false,
                is_page_open: false,
                reserved: FixedMap::default(),
                open: events,
                permits_left: permits,
                ended: 0,
                is_cut: false,
            }),
        }
    }

    /// A batch without executions: there is nothing to wait for.
    pub(super) fn finish_empty(&self) {
        let mut state = lock(&self.state);
        self.common.hub.begun();
        state.send(self.common.order);
    }
}

impl<R: Recorder> fmt::Debug for StreamBatch<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBatch")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
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

    /// Sends what is there, if it is time.
    fn send(&mut self, order: Order) {
        let is_done = self.open == 0;
        if !is_done && (order == Order::Events || self.ended == 0 && !self.is_cut) {
            return;
        }
        let permits = if is_done {
            self.permits_left
        } else {
            self.ended.min(self.permits_left)
        };
        self.permits_left -= permits;
        self.ended = 0;
        let empty = Part {
            seq: self.part.seq,
            pages: Vec::new(),
            used: 0,
            permits: 0,
            is_cut: false,
        };
        let mut part = std::mem::replace(&mut self.part, empty);
        part.permits = permits;
        part.is_cut = std::mem::take(&mut self.is_cut);
        self.is_page_open = false;
        // If the stream has ended, nobody wants it.
        let _ = self.sender.send(part);
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

impl<R: Recorder> Receiver for StreamReceiver<'_, R> {
    fn observes(&self) -> bool {
        R::ENABLED
    }

    fn turn_to(&mut self, machine: &Arc<MachineIdentity>, seed: u64) {
        self.recorder.turn_to(machine, seed);
    }

    fn wants_level(&self, level: LogLevel) -> bool {
        self.recorder.wants(level)
    }

    fn observe(&mut self, event: &HistoryEvent<'_>) {
        self.recorder.observe(event);
    }

    fn wants(&self) -> bool {
        !self.state.is_cut && self.batch.common.control.wants(self.batch.seq)
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
        self.state.open -= 1;
        self.state.ended += 1;
        let begin = |page: &mut R::Page, executions| self.recorder.begin(page, executions);
        let page = self.state.page_of(ended.line, begin);
        self.recorder.ended(ended, page);
    }

    fn refused(&mut self, refused: &RefusedStart<'_>) -> ControlFlow<()> {
        self.state.open -= 1;
        self.state.ended += 1;
        let reason = match self.batch.too_long {
            Some(bytes) => Refusal::TooLong(bytes),
            None => Refusal::Start(refused.error.clone()),
        };
        let line = refused.line;
        let begin = |page: &mut R::Page, executions| self.recorder.begin(page, executions);
        let page = self.state.page(begin);
        let goes_on = self.recorder.refused(&Refused { line, reason }, page);
        if goes_on.is_break() {
            self.state.is_cut = true;
            self.batch.common.control.cut_after(self.batch.seq);
            self.batch.common.hub.close();
        }
        goes_on
    }

    fn abandoned(&mut self, line: u64, _: Option<&Arc<Ticket>>) {
        self.state.open -= 1;
        self.state.ended += 1;
        self.recorder.abandoned(line);
    }

    fn dropped(&mut self, _: u64, _: Option<&Arc<Ticket>>) {
        self.state.open -= 1;
        self.state.ended += 1;
    }
}
