//! What a load would cost on AWS, as STANDARD and as EXPRESS.
//!
//! 1. [`Prices`] are read from one dated file, `prices.toml`, or from one of the same form.
//! 2. [`measure()`] runs a machine on events and tells what AWS would bill of each: transitions, waiting, calls of tasks,
//!    data.
//! 3. [`Usage`] adds up executions, each rounded up as AWS does; [`compare()`] makes two [`Bill`]s of it, and says where
//!    AWS's may differ.
//!
//! Amounts are whole billionths of a dollar, quantities whole steps: nothing is lost by adding up.

mod amount;
mod bill;
mod measure;
mod prices;

pub use amount::{Amount, grouped};
pub use bill::{Bill, Comparison, Execution, Line, Usage, compare, month_of};
pub use measure::{EVENTS_MAX, Measured, Sample, fixed_transitions, measure, not_express};
pub use prices::Prices;

/// Why a cost could not be found: the place, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CostError(Box<str>);

impl CostError {
    fn new(message: impl Into<Box<str>>) -> CostError {
        CostError(message.into())
    }
}

impl std::fmt::Display for CostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CostError {}
