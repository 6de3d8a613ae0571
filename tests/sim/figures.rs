//! The engine's figures against the model's.

use quickstep::Engine;
use quickstep::asl::MachineType;

use crate::hub::Hub;
use crate::machines::KINDS;

/// Reads the figures, which may be done at any time.
pub(crate) fn read(_: &Hub, engine: &Engine) {
    let snapshot = engine.metrics().snapshot();
    for kind in KINDS {
        let running = snapshot.number("quickstep_executions_running", &[kind.name()]);
        assert!(
            running.unwrap_or(0) <= engine.in_flight() as u64,
            "{kind:?}: more run than are in flight"
        );
    }
}

/// Everything has ended, or was given up.
pub(crate) fn check(hub: &Hub, engine: &Engine) {
    let counts = engine.counts();
    let state = hub.lock();
    let tally = state.model.tally;
    // Nobody is told of doubtful starts, but they are counted.
    if state.model.unheard == 0 {
        assert_eq!(
            (
                counts.succeeded,
                counts.failed,
                counts.timed_out,
                counts.aborted,
                counts.refused,
                counts.abandoned,
            ),
            (
                tally.succeeded,
                tally.failed,
                tally.timed_out,
                tally.aborted,
                tally.refused,
                tally.abandoned,
            )
        );
    }
    drop(state);
    let snapshot = engine.metrics().snapshot();
    let (mut started, mut finished) = (0, 0);
    for kind in KINDS {
        let name = kind.name();
        let machine_type = match kind.machine_type() {
            MachineType::Express => "EXPRESS",
            MachineType::Standard => "STANDARD",
        };
        for mode in ["async", "sync"] {
            let labels = [name, machine_type, mode];
            started += snapshot
                .number("quickstep_executions_started_total", &labels)
                .unwrap_or(0);
        }
        for status in ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "ABANDONED"] {
            finished += snapshot
                .number("quickstep_executions_finished_total", &[name, status])
                .unwrap_or(0);
        }
        let running = snapshot.number("quickstep_executions_running", &[name]);
        assert_eq!(running.unwrap_or(0), 0, "{kind:?} is said to run");
    }
    assert_eq!(started, finished, "what was started has ended");
}
