//! The bounds of one evaluation.

use std::cell::Cell;

use jsonata_core::evaluator::EvaluatorOptions;

use super::scope::Dialect;

/// Most items of an array or a sequence that an expression makes. The items of a payload are fewer.
pub(super) const ITEMS_MAX: usize = 262_144;

/// Longest text that an expression makes, in bytes, and most bytes of what it turns into text.
pub(super) const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most values that are looked at where an expression compares or unfolds a value with all that is in it: values that
/// share their parts can be small in memory and endless to go over.
pub(super) const VALUES_MAX: usize = 400_000;

/// Most matches that `$match` lists: each is an object of three members.
pub(super) const MATCHES_MAX: usize = 65_536;

/// Longest picture of a date or a number, and the largest number in one.
pub(super) const PICTURE_NUMBER_MAX: usize = 1_000;

/// Longest text that `$parse` reads.
pub(super) const PARSED_BYTES_MAX: usize = 1024 * 1024;

/// Most values that one evaluation puts into lists and objects, all of them together.
const PARTS_MAX: usize = 1_000_000;

/// Largest result, as JSON, that is handed out; far above any payload.
pub(super) const RESULT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest evaluation.
pub(super) const MILLIS_MAX: u64 = 200;

/// Deepest evaluation in AWS's dialect: AWS's own bound lies near 100 (200 summands fail, 99 do not).
const DEPTH_MAX_AWS: usize = 100;

/// Deepest evaluation of plain JSONata, as its own test suite has it.
const DEPTH_MAX_PLAIN: usize = 302;

/// Longest evaluation in a simulation: far above what an evaluation that ends takes on a slow machine, so that results do
/// not depend on how fast it is, and yet an end for those that would not end.
const PATIENT_MILLIS_MAX: u64 = 2_000;

thread_local! {
    static IS_PATIENT: Cell<bool> = const { Cell::new(false) };
}

/// Gives evaluations on this thread, while `run` lasts, far more time than they need. All other bounds hold: for
/// simulations, whose results must not depend on how fast the machine is.
pub(crate) fn with_patience<T>(run: impl FnOnce() -> T) -> T {
    /// Puts it back, even if `run` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_PATIENT.set(self.0);
        }
    }
    let _before = Before(IS_PATIENT.replace(true));
    run()
}

/// The bounds that `jsonata-core` holds itself.
pub(super) fn options(dialect: Dialect) -> EvaluatorOptions {
    let (depth, items, millis) = match dialect {
        Dialect::Aws => (DEPTH_MAX_AWS, ITEMS_MAX, MILLIS_MAX),
        Dialect::Plain => (DEPTH_MAX_PLAIN, PLAIN_ITEMS_MAX, PLAIN_MILLIS_MAX),
    };
    EvaluatorOptions {
        timeout_ms: Some(match IS_PATIENT.get() {
            true => millis.max(PATIENT_MILLIS_MAX),
            false => millis,
        }),
        cancel: None,
        max_stack_depth: Some(depth),
        max_sequence_length: Some(items),
    }
}

/// Most values that one value may consist of.
pub(super) const fn values_max(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Aws => VALUES_MAX,
        Dialect::Plain => 2 * PLAIN_ITEMS_MAX,
    }
}

/// Most values that one evaluation puts into lists and objects.
pub(super) const fn parts_max(dialect: Dialect) -> usize {
    match dialect {
        Dialect::Aws => PARTS_MAX,
        Dialect::Plain => 4 * PLAIN_ITEMS_MAX,
    }
}

/// JSONata's own bound for a range: the test suite makes them as long.
const PLAIN_ITEMS_MAX: usize = 10_000_000;

/// Three times what the test suite gives its largest cases: nobody but tests evaluates plain JSONata, on machines that have other
/// work as well.
const PLAIN_MILLIS_MAX: u64 = 30_000;
