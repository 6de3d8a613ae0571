//! Starting durably.

use std::borrow::Cow;
use std::sync::Arc;

use super::outlet::Starts;
use super::{Durable, Patience};
use crate::engine::error::Error;
use crate::engine::handle::{ExecutionHandle, StartRequest, check_size};
use crate::engine::machine::StateMachine;
use crate::engine::run::Engine;
use crate::interp::{Invocation, name_of_seed};
use crate::journal::{self, EndRecord, EndStatus, Lsn, StartRecord, Ticket};
use crate::metrics::Api;
use crate::runtime::Shared;
use crate::runtime::outlet::Outlet;
use crate::runtime::start::StartBatch;
use crate::runtime::ticket::Recorded;
use crate::stdx::Timestamp;

/// Bytes of a start record besides its texts and its input, at most.
const RECORD_BYTES_MAX: usize = 64;

/// Bytes of a name that is made.
const UUID_BYTES: usize = 36;

impl Engine {
    /// Takes in an execution and returns at once; `acknowledge` is called when the start is on the disk, or when the disk
    /// has failed: on the journal's own thread, which must not be held up, or on this one. It may start executions with this,
    /// but not with what waits for the disk, which is refused there ([`ErrorKind::Journal`](crate::engine::ErrorKind)). An engine that is not durable
    /// calls it before this returns.
    ///
    /// # Errors
    ///
    /// As [`Engine::start`]; `acknowledge` is not called then. It also refuses rather than wait for room in the journal's
    /// buffers ([`ErrorKind::Throttled`](crate::engine::ErrorKind::Throttled)).
    pub fn start_then(
        &self,
        machine: &StateMachine,
        request: StartRequest<'_>,
        acknowledge: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<ExecutionHandle, Error> {
        let Some(durable) = self.durable() else {
            let handle = self.start(machine, request)?;
            acknowledge(Ok(()));
            return Ok(handle);
        };
        request.check()?;
        self.workers()?;
        self.admit(Api::StartExecution, 1, request.input.len() as u64)?;
        let (handle, start) =
            self.start_recorded(durable, machine, request, Patience::IsRefused)?;
        let for_errors = Arc::clone(durable);
        start.on_durable(move |result| {
            acknowledge(result.map_err(|error| for_errors.error(&error)));
        });
        Ok(handle)
    }

    /// What the journal of a durable engine has done, and what it holds.
    #[must_use]
    pub fn journal_counters(&self) -> Option<journal::Counters> {
        self.durable().map(|durable| durable.counters())
    }

    /// Takes in an execution that was admitted.
    pub(in crate::engine) fn start_recorded(
        &self,
        durable: &Durable,
        machine: &StateMachine,
        request: StartRequest<'_>,
        patience: Patience,
    ) -> Result<(ExecutionHandle, Ticket), Error> {
        let shared = self.shared();
        let admitted = shared.admitted(1, request.input.len() as u64);
        let known = self.known(machine);
        let seed = request.seed.unwrap_or_else(|| shared.new_seed());
        let name = match request.name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(name_of_seed(seed)),
        };
        let record = StartRecord {
            machine: known.arn.as_deref().unwrap_or_default(),
            revision: 0,
            name: &name,
            started_at: now(shared),
            seed,
            attempt: 1,
            input: request.input,
        };
        let start = self.of_journal(1, durable.append(&[record], patience))?;
        admitted.keep();
        let recorded = Recorded {
            start: start.start(0),
            attempt: 1,
        };
        let ticket = shared.start(
            &known.asynchronous,
            request.input,
            request.name,
            Some(seed),
            Some(recorded),
        );
        let handle = ExecutionHandle {
            ticket,
            shared: Arc::clone(shared),
            name: request.name.map(Into::into),
        };
        Ok((handle, start))
    }

    /// Takes in an execution for every input, and waits until all of them are on the disk.
    pub(in crate::engine) fn start_recorded_batch<'i>(
        &self,
        durable: &Durable,
        machine: &StateMachine,
        inputs: impl IntoIterator<Item = &'i [u8]>,
        sink: Arc<dyn Outlet>,
    ) -> Result<(), Error> {
        let shared = self.shared();
        let (mut all, mut bytes) = (Vec::new(), 0);
        for input in inputs {
            check_size(input)?;
            bytes += input.len() as u64;
            all.push(input);
        }
        self.admit(Api::StartExecution, all.len(), bytes)?;
        let admitted = shared.admitted(all.len(), bytes);
        let first_number = shared.take_numbers(all.len() as u64);
        let known = self.known(machine);
        let arn = known.arn.as_deref().unwrap_or_default();
        let appended = append_all(durable, shared, arn, &all, first_number);
        let (runs, last) = self.of_journal(all.len(), appended)?;
        admitted.keep();
        let outlet = durable.outlet(sink, Starts::OfLines(runs.into()));
        let group = self.group(machine, outlet, Invocation::Asynchronous);
        let mut open: Option<Box<StartBatch>> = None;
        for (line, input) in (0_u64..).zip(all) {
            if open.as_ref().is_none_or(|batch| batch.is_full()) {
                let next = shared.new_batch(&group, line, first_number.wrapping_add(line));
                if let Some(full) = open.replace(next) {
                    shared.start_batch(full);
                }
            }
            if let Some(batch) = &mut open {
                batch.push(input, None, None);
            }
        }
        if let Some(batch) = open {
            shared.start_batch(batch);
        }
        // Commits are in order: what was appended before the last is on the disk before it.
        last.map_or(Ok(()), |last| durable.wait(&last))
    }
}

fn now(shared: &Shared) -> Timestamp {
    shared.anchor.timestamp(shared.clock.nanos())
}

/// From which line on starts follow one another, and the start of that line.
type Runs = Vec<(u64, Lsn)>;

/// Appends a start for every input: one batch, unless that is more than a commit takes. All or none.
fn append_all(
    durable: &Durable,
    shared: &Shared,
    machine: &str,
    inputs: &[&[u8]],
    first_number: u64,
) -> Result<(Runs, Option<Ticket>), Error> {
    let started_at = now(shared);
    let room = durable.journal.options().buffer_bytes;
    let bytes_of = |input: &[u8]| RECORD_BYTES_MAX + machine.len() + UUID_BYTES + input.len();
    let (mut runs, mut tickets): (Runs, Vec<Ticket>) = (Vec::new(), Vec::new());
    let mut rest = inputs;
    while !rest.is_empty() {
        let line = (inputs.len() - rest.len()) as u64;
        let mut bytes = 0;
        let fits = rest.iter().take_while(|input| {
            bytes += bytes_of(input);
            bytes <= room
        });
        // One that is too large by itself is refused by the journal.
        let count = fits.count().max(1);
        let (these, after) = rest.split_at(count);
        let seed = |index: usize| shared.seed(first_number.wrapping_add(line + index as u64));
        let names: Vec<String> = (0..count).map(|index| name_of_seed(seed(index))).collect();
        let record = |(index, (input, name))| StartRecord {
            machine,
            revision: 0,
            name,
            started_at,
            seed: seed(index),
            attempt: 1,
            input,
        };
        let records = these.iter().copied().zip(names.iter().map(String::as_str));
        let records: Vec<StartRecord<'_>> = records.enumerate().map(record).collect();
        match durable.append(&records, Patience::Waits) {
            Ok(ticket) => {
                runs.push((line, ticket.start(0)));
                tickets.push(ticket);
            }
            Err(error) => {
                take_back(durable, &tickets);
                return Err(error);
            }
        }
        rest = after;
    }
    Ok((runs, tickets.pop()))
}

/// Ends starts that were appended before another of their batch was refused.
fn take_back(durable: &Durable, tickets: &[Ticket]) {
    for ticket in tickets {
        let end = |start| EndRecord {
            start: Lsn(start),
            status: EndStatus::Aborted,
        };
        let ends: Vec<EndRecord> = ticket.starts().map(end).collect();
        // It fails if the journal is poisoned, which is the error that the caller is told already.
        let (Ok(()) | Err(_)) = durable.journal.append_ends(&ends);
    }
}
