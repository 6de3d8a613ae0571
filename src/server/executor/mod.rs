//! The seam between the API and what executes: everything that the operations know of running executions is
//! [`Executor`].
//!
//! Behind it is a simple driver on the same interpreter that everything else uses: every execution that cannot end at
//! once is a future, which steps it, and sleeps until it has to be stepped again. STANDARD executions keep their
//! histories in memory, and are lost when the process ends.
//!
//! 1. [`Executor::start`] and [`Executor::run_sync`] make a [`Live`] and step it.
//! 2. A turn ends with the execution, at a moment to wait for, or for lack of fuel; `turn` performs its tasks.
//! 3. Answers come from handlers through the inbox of one thread, or from clients with a task token. Both complete the
//!    task under the execution's lock and wake its future.

mod deploy;
mod driver;
mod live;
mod registry;
mod tokens;
mod turn;

pub(crate) use deploy::{MachineKey, TaskSource};
pub(crate) use driver::{Executor, StartRequest};
pub(crate) use live::{Ended, Live, Origin};
pub(crate) use registry::Taken;
pub(crate) use tokens::{TaskAnswer, TokenError};
