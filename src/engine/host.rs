//! What a server has of an engine: machines with handlers of their own, which come and go while the engine runs; starts whose
//! inputs are looked at once; answers that nobody waits for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, TryLockError};

use super::error::{Error, ErrorKind};
use super::run::Engine;
use crate::history::Failure;
use crate::interp::MachineIdentity;
use crate::metrics::Api;
use crate::program::Program;
use crate::runtime::seat::{Beginning, FirstTurn, How, Moved, Resumption};
use crate::runtime::turn::Bound;
use crate::runtime::{Admitted, Place, Told};
use crate::stdx::Timestamp;
use crate::task::{TaskAnswer, TaskRegistry, TaskToken, lock};

impl Engine {
    /// Makes a machine ready, for as long as the value, or an execution of it, is there.
    pub(crate) fn deploy(
        &self,
        program: Program,
        identity: MachineIdentity,
        tasks: &TaskRegistry,
        futures: Option<&tokio::runtime::Handle>,
    ) -> Arc<Bound> {
        let writers = (0..self.threads()).map(|_| self.metrics().writer(&identity, &program));
        Arc::new(Bound {
            bindings: tasks.bind(&program, futures),
            writers: writers.collect(),
            program: Arc::new(program),
            identity: Arc::new(identity),
        })
    }

    /// Starts the workers, which otherwise start when they are first needed.
    pub(crate) fn launch(&self) -> Result<(), Error> {
        self.workers().map(|_| ())
    }

    /// How many threads run executions: workers, and then seats.
    pub(crate) fn threads(&self) -> usize {
        self.shared().workers() + self.seats().len()
    }

    /// The time of day, as executions have it.
    pub(crate) fn now(&self) -> Timestamp {
        let shared = self.shared();
        shared.anchor.timestamp(shared.clock.nanos())
    }

    /// Makes room for one execution.
    pub(crate) fn make_room(&self, api: Api, input: &[u8]) -> Result<Admitted<'_>, Error> {
        let bytes = input.len() as u64;
        self.admit(api, 1, bytes)?;
        Ok(self.shared().admitted(1, bytes))
    }

    /// Begins an execution on this thread, for a turn at most.
    pub(crate) fn begin(
        &self,
        beginning: Beginning<'_>,
        admitted: Admitted<'_>,
    ) -> Result<FirstTurn, Error> {
        thread_local! {
            /// Threads that begin executions have seats of their own, if there are enough.
            static CHOICE: usize = {
                static NEXT: AtomicUsize = AtomicUsize::new(0);
                NEXT.fetch_add(1, Ordering::Relaxed)
            };
        }
        let shared = self.workers()?;
        let seats = self.seats();
        let choice = CHOICE.with(|choice| *choice) % seats.len();
        let (before, from) = seats.split_at(choice);
        let free = from
            .iter()
            .chain(before)
            .find_map(|seat| match seat.try_lock() {
                Ok(seat) => Some(seat),
                Err(TryLockError::WouldBlock) => None,
                // What a panic has left behind is of no use; the seat is.
                Err(TryLockError::Poisoned(poisoned)) => {
                    let mut free = poisoned.into_inner();
                    free.clear();
                    seat.clear_poison();
                    Some(free)
                }
            });
        let mut seat = free.unwrap_or_else(|| lock(&seats[choice]));
        let begun = seat.run(shared, beginning, admitted);
        begun.map_err(|error| Error::new(ErrorKind::InvalidInput, error.to_string()))
    }

    /// Lets an execution go on that another process has begun. Returns the place that its tokens name, and its own;
    /// nothing if it has ended at once.
    pub(crate) fn resume(&self, resumption: &Resumption<'_>) -> Result<Option<Moved>, Error> {
        let shared = self.workers()?;
        let bytes = resumption.input_bytes;
        let is_admitted = match resumption.how {
            How::Resumed(_) => shared.admission.readmit(bytes),
            How::Redriven(_) => shared.admission.admit_again(bytes),
        };
        if !is_admitted {
            let message = "there are more executions than may be in flight";
            return Err(Error::new(ErrorKind::Throttled, message));
        }
        let resumed = lock(&self.seats()[0]).resume(shared, resumption, shared.admitted(1, bytes));
        resumed.map_err(|damaged| {
            let message = format!("its stored form cannot be read: {damaged}");
            Error::new(ErrorKind::Read, message)
        })
    }

    /// Stops an execution; false if it has ended.
    pub(crate) fn stop(&self, place: Place, failure: Failure) -> bool {
        self.shared().stop(place, failure)
    }

    /// Says what became of a task of the execution at a place, and waits for nothing: `told` is told whether there was
    /// such a task.
    pub(crate) fn post(&self, place: Place, token: &TaskToken, answer: TaskAnswer, told: Told) {
        // If there is none, that has been told.
        self.shared()
            .post_answer(Some(place), token, answer, Some(told));
    }

    /// False if the execution at a place has ended.
    pub(crate) fn is_in_flight(&self, place: Place) -> bool {
        self.shared().is_in_flight(place)
    }
}
