//! [`Simulation`]: the workers of an engine on one thread, for tests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::durable::Durable;
use crate::journal;
use crate::jsonata::with_patience;
use crate::runtime::{Own, Shared, Worker};

/// Gives the workers of an engine their turns; made by [`EngineBuilder::build_simulated`](super::EngineBuilder).
///
/// Nothing happens but in [`Simulation::turn`], and in what is called on the engine itself. Asynchronous handlers and child
/// processes have threads of their own, and do not belong in a simulation; tasks are answered by functions or by their
/// tokens. Nothing in a simulation depends on how fast the machine is: expressions in JSONata have far more time than they
/// need there, within their other bounds.
///
/// ```
/// use quickstep::engine::StartRequest;
/// use quickstep::{Engine, StateMachine};
///
/// let machine = StateMachine::compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#);
/// let (engine, mut simulation) = Engine::builder().workers(2).build_simulated()?;
/// let execution = engine.start(&machine.unwrap(), StartRequest::new(b"1"))?;
/// assert!(execution.result().is_none());
/// assert!(simulation.turn(1));
/// assert_eq!(execution.result().unwrap()?.output.as_deref(), Some("1"));
/// assert!(!simulation.turn(0), "there is nothing left to do");
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
pub struct Simulation {
    shared: Arc<Shared>,
    owns: Vec<Own>,
    durable: Option<Arc<Durable>>,
    /// What the last of [`Simulation::commit`] came to.
    committed: Option<journal::Turn>,
}

impl Simulation {
    pub(super) fn new(
        shared: Arc<Shared>,
        owns: Vec<Own>,
        durable: Option<Arc<Durable>>,
    ) -> Simulation {
        Simulation {
            shared,
            owns,
            durable,
            committed: None,
        }
    }

    /// One turn of the journal's committer: at most one commit. False if there was nothing to do at this moment, or if the
    /// engine is not durable. Starts that wait for the disk take such turns themselves.
    pub fn commit(&mut self) -> bool {
        self.committed = self.durable.as_ref().map(|durable| durable.turn());
        self.committed == Some(journal::Turn::Busy)
    }

    /// What the last [`Simulation::commit`] has left to do, and when.
    #[doc(hidden)]
    #[must_use]
    pub fn committed(&self) -> Option<journal::Turn> {
        self.committed
    }

    /// The first half of [`Engine::shutdown`](super::Engine::shutdown): everything is given up, while the journal is open.
    /// The threads of workers see to that at once.
    #[doc(hidden)]
    pub fn give_up(&mut self) {
        self.shared.drain(Duration::ZERO);
        self.shared.close();
    }

    /// How many executions have a place of their own: those that wait, those that somebody has a handle of, until they
    /// end.
    #[doc(hidden)]
    #[must_use]
    pub fn places(&self) -> usize {
        self.shared.places()
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.owns.len()
    }

    /// One turn of a worker. False if there was nothing to do.
    ///
    /// # Panics
    ///
    /// If there is no worker of that number.
    pub fn turn(&mut self, worker: usize) -> bool {
        with_patience(|| Worker::new(&self.shared, &mut self.owns[worker]).turn())
    }

    /// Turns of all workers, until none has anything to do at this moment, or until there were `turns_max`. False if it
    /// came to the latter.
    pub fn run_until_idle(&mut self, turns_max: usize) -> bool {
        let mut turns = 0;
        loop {
            let mut is_idle = true;
            for worker in 0..self.owns.len() {
                if self.turn(worker) {
                    is_idle = false;
                    turns += 1;
                }
            }
            if is_idle {
                return true;
            }
            if turns >= turns_max {
                return false;
            }
        }
    }

    /// When the next timer is due, by [`Clock::nanos`](super::Clock::nanos); `None` if there is none. It may be early: then
    /// there is nothing to do, and the next one is nearer.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        self.shared.next_timer()
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("workers", &self.owns.len())
            .finish_non_exhaustive()
    }
}
