//! Takes what comes of executions: gives pages to the sink, settles events, and has them delivered again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::ack::{Settled, Verdict};
use super::delivery::DeadLetter;
use super::outlet::{Letter, Mail, Part};
use super::reader::Starter;
use super::report::{StreamEnd, StreamReport};
use super::{DeadLetters, Order, Recorder, Sink};
use crate::runtime::admission::Limit;

/// How long the writer waits, once draining has taken too long, for turns that workers are in.
const LEAVE_NANOS: u64 = 1_000_000_000;

/// What runs a stream, besides its reader.
pub(super) struct Writer<R: Recorder, K> {
    starter: Arc<Starter<R>>,
    receiver: Receiver<Mail<R::Page>>,
    sink: K,
    dead_letters: Option<DeadLetters>,
    /// Parts that come before it is their turn, by batch.
    early: BTreeMap<u64, Part<R::Page>>,
    next: u64,
    /// Batches of which nothing more comes.
    ended: u64,
    /// Events that are to be delivered again, by when and by when they came.
    waiting: BTreeMap<(u64, u64), Letter>,
    waited: u64,
    report: StreamReport,
}

impl<R: Recorder, K: Sink<R::Page>> Writer<R, K> {
    pub(super) fn new(
        starter: Arc<Starter<R>>,
        receiver: Receiver<Mail<R::Page>>,
        sink: K,
        dead_letters: Option<DeadLetters>,
    ) -> Writer<R, K> {
        Writer {
            starter,
            receiver,
            sink,
            dead_letters,
            early: BTreeMap::new(),
            next: 0,
            ended: 0,
            waiting: BTreeMap::new(),
            waited: 0,
            report: StreamReport::new(),
        }
    }

    /// Runs until everything that was read has its result, or nobody waits for it any more.
    pub(super) fn run(&mut self) {
        let clock = Arc::clone(&self.starter.engine.shared().clock);
        loop {
            let now = clock.nanos();
            self.tend(now);
            if self.is_over(now) {
                return;
            }
            let mail = match self.next_due() {
                None => self.receiver.recv().ok(),
                Some(due) => {
                    let left = Duration::from_nanos(due.saturating_sub(now));
                    let left = clock.poll_interval().map_or(left, |poll| left.min(poll));
                    self.receiver.recv_timeout(left).ok()
                }
            };
            if let Some(mail) = mail {
                self.take(mail);
            }
        }
    }

    pub(super) fn nanos(&self) -> u64 {
        self.starter.nanos()
    }

    /// Takes what is there; false if there was nothing.
    pub(super) fn turn(&mut self) -> bool {
        let mut has_gone = self.tend(self.starter.nanos());
        while let Ok(mail) = self.receiver.try_recv() {
            self.take(mail);
            has_gone = true;
        }
        has_gone
    }

    fn take(&mut self, mail: Mail<R::Page>) {
        match mail {
            Mail::Look => {}
            Mail::Part(part) => self.part(part),
        }
    }

    /// Sees to what is due; false if nothing is.
    fn tend(&mut self, now: u64) -> bool {
        let control = &self.starter.common.control;
        if !control.is_stopped() && control.drained_at().is_some_and(|at| at <= now) {
            control.stop();
        }
        if control.is_stopped() {
            let waiting = std::mem::take(&mut self.waiting);
            let has_some = !waiting.is_empty();
            for letter in waiting.into_values() {
                self.lose(letter);
            }
            return has_some;
        }
        let mut has_gone = false;
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            has_gone = true;
            let letter = first.remove();
            match self.starter.start_again(letter) {
                Ok(()) => self.report.redelivered += 1,
                Err((letter, throttled)) => match throttled.retry_after {
                    Some(after) => {
                        self.wait(letter, now, after);
                        return has_gone;
                    }
                    None if throttled.limit == Limit::Closed => {
                        self.lose(letter);
                        self.starter.common.control.stop();
                    }
                    None => self.lose(letter),
                },
            }
        }
        has_gone
    }

    /// When there is something to do though nothing comes.
    pub(super) fn next_due(&self) -> Option<u64> {
        let control = &self.starter.common.control;
        let waiting = self.waiting.first_key_value().map(|((due, _), _)| *due);
        let drained = control.drained_at().map(|at| match control.is_stopped() {
            true => at.saturating_add(LEAVE_NANOS),
            false => at,
        });
        waiting.into_iter().chain(drained).min()
    }

    /// True if nothing more comes, or if it has taken too long.
    pub(super) fn is_over(&self, now: u64) -> bool {
        let common = &self.starter.common;
        if self.waiting.is_empty() && common.hub.batches_read() == Some(self.ended) {
            return true;
        }
        let left = common.control.drained_at();
        common.control.is_stopped() && left.is_some_and(|at| at.saturating_add(LEAVE_NANOS) <= now)
    }

    fn part(&mut self, part: Part<R::Page>) {
        self.ended += u64::from(part.is_last);
        match self.starter.common.order {
            Order::Completion => self.put(part),
            Order::Events => {
                self.early.insert(part.seq, part);
                while let Some(part) = self.early.remove(&self.next) {
                    self.next += 1;
                    self.put(part);
                }
            }
        }
    }

    /// True if what comes from now on is not wanted.
    fn is_shut(&self) -> bool {
        match self.report.end {
            StreamEnd::Finished => false,
            StreamEnd::Refused => self.starter.common.order == Order::Events,
            _ => true,
        }
    }

    fn put(&mut self, mut part: Part<R::Page>) {
        if self.is_shut() {
            return self.drop_part(part);
        }
        for page in &mut part.pages[..part.used] {
            if let Err(error) = self.sink.write(page) {
                self.fail(error);
                return self.drop_part(part);
            }
        }
        if part.is_cut {
            self.report.end = StreamEnd::Refused;
            if self.starter.common.order == Order::Events {
                self.starter.common.control.stop();
            }
        }
        self.report.add(&part.outcomes);
        for (letter, settled) in part.settled {
            self.settle(letter, &settled);
        }
        if !part.again.is_empty() {
            let now = self.starter.nanos();
            for (letter, after) in part.again {
                self.wait(letter, now, after);
            }
        }
        let hub = &self.starter.common.hub;
        hub.recycle(part.permits, part.bytes, part.pages);
    }

    fn fail(&mut self, error: io::Error) {
        if !matches!(self.report.end, StreamEnd::WriteFailed(_)) {
            self.report.end = StreamEnd::WriteFailed(error);
        }
        self.starter.common.control.stop();
    }

    fn wait(&mut self, letter: Letter, now: u64, after: Duration) {
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.waited += 1;
        let due = now.saturating_add(after);
        self.waiting.insert((due, self.waited), letter);
    }

    /// Says what became of an event.
    fn settle(&mut self, letter: Letter, settled: &Settled) {
        if matches!(self.report.end, StreamEnd::WriteFailed(_)) {
            return self.lose(letter);
        }
        if settled.verdict == Verdict::Rejected
            && let Some(dead_letters) = &mut self.dead_letters
        {
            let handed_over = dead_letters(&DeadLetter {
                number: letter.number,
                name: letter.name.as_deref(),
                payload: letter.payload.as_deref().unwrap_or_default(),
                settled,
            });
            if let Err(error) = handed_over {
                self.lose(letter);
                return self.fail(error);
            }
        }
        self.report.add_settled(settled);
        if let Err(error) = letter.ack.settle(settled) {
            self.report.ack_failed(error);
        }
    }

    /// An event whose result nobody took, or that is not delivered again after all.
    fn lose(&mut self, letter: Letter) {
        let settled = Settled::lost(letter.deliveries);
        self.report.add_settled(&settled);
        if let Err(error) = letter.ack.settle(&settled) {
            self.report.ack_failed(error);
        }
    }

    /// What came of these events is not wanted.
    fn drop_part(&mut self, part: Part<R::Page>) {
        self.report.add_lost(part.outcomes.iter().sum());
        let settled = part.settled.into_iter().map(|(letter, _)| letter);
        let again = part.again.into_iter().map(|(letter, _)| letter);
        for letter in settled.chain(again) {
            self.lose(letter);
        }
    }

    /// What the stream has done. Reader and workers may still be at work; what they have is lost.
    pub(super) fn finish(mut self) -> StreamReport {
        // A stream that was stopped has gaps.
        while let Some((_, part)) = self.early.pop_first() {
            self.put(part);
        }
        for letter in std::mem::take(&mut self.waiting).into_values() {
            self.lose(letter);
        }
        let common = &self.starter.common;
        common.hub.close();
        let (read, lost, read_error, ack_errors) = common.hub.note(|notes| {
            let errors = std::mem::take(&mut notes.ack_errors);
            (notes.read, notes.lost, notes.read_error.take(), errors)
        });
        let report = &mut self.report;
        report.add_lost(lost);
        ack_errors
            .into_iter()
            .for_each(|error| report.ack_failed(error));
        report.read = read;
        report.in_flight = read.saturating_sub(report.done + report.rejected + report.nacked);
        if matches!(report.end, StreamEnd::Finished) {
            report.end = match read_error {
                Some(error) => StreamEnd::ReadFailed(error),
                None if common.control.is_stopped() => StreamEnd::Stopped,
                None if common.control.drained_at().is_some() => StreamEnd::Drained,
                None => StreamEnd::Finished,
            };
        }
        self.report
    }
}
