//! What a target can do, and what its callers see at shares of that.
//!
//! A closed loop says how much it can do at most; then open loops at shares of that say which of these rates it sustains:
//! nothing wrong, answers that keep up, and a p99 within a bound. The saturation rate is the highest of them.

use std::time::Duration;

use serde_json::json;

use crate::args::SweepArgs;
use crate::load::{Loop, Run, STOP};
use crate::report::{Report, RunReport, grouped, time};
use crate::schedule::Rate;
use crate::session::Session;

/// Answers keep up if so many of those that were due a second come in a second.
const KEEPS_UP: f64 = 0.98;

/// A rate that was tried.
struct Step {
    rate: f64,
    run: Run,
    is_sustained: bool,
}

pub(crate) fn sweep(args: &SweepArgs) -> Result<Report, String> {
    if args
        .shares
        .iter()
        .any(|share| !(*share > 0.0 && *share <= 1_000.0))
    {
        return Err("--shares: per cent above 0 and up to 1000 are wanted".to_owned());
    }
    let common = &args.common;
    let mut session = Session::new("sweep", common);
    let site = common.site(session.name.clone())?;
    let ready = site.ready(&args.target)?;
    let in_flight = args.in_flight.clamp(1, 1_000_000);
    let closed = common.load(&args.target, Loop::Closed { in_flight }, args.step);
    let most = session.run("at most", &args.target.text, &*ready.target, &closed)?;
    let mut steps: Vec<Step> = Vec::new();
    let mut shares = args.shares.clone();
    shares.sort_by(f64::total_cmp);
    for share in shares {
        let rate = most.per_second() * share / 100.0;
        let pace = common.at_rate(&Rate::Constant(rate), args.arrivals, args.step)?;
        let load = common.load(&args.target, pace, args.step);
        let label = format!("{share} %: {} a second", grouped(rate.round()));
        let run = session.run_silently(&label, &*ready.target, &load)?;
        let is_sustained = is_sustained(&run, args.p99_max);
        let check = ready.target.check(&run.all());
        if let Err(problem) = &check {
            session
                .report
                .problem
                .get_or_insert(format!("{label}: {problem}"));
        }
        let told = RunReport::new(&label, &args.target.text, &load, &run, check);
        session.report.runs.push(told);
        // That a rate is too high is a result; a wrong output is a failure at any rate.
        let all = run.all();
        if all.wrong + all.failed > 0 {
            let problem = run.problem().unwrap_or_default();
            session
                .report
                .problem
                .get_or_insert(format!("{label}: {problem}"));
        }
        steps.push(Step {
            rate,
            run,
            is_sustained,
        });
        let over = steps
            .iter()
            .rev()
            .take_while(|step| !step.is_sustained)
            .count();
        if over >= 2 || STOP.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
    }
    tell(&mut session, &most, &steps, args);
    Ok(session.end())
}

/// Answers are held against what was due, not against the rate: of a Poisson process of 500 arrivals 478 or 522 come as well.
fn is_sustained(run: &Run, p99_max: Duration) -> bool {
    let due = (run.total.counts.sent + run.unsent) as f64 / run.due_seconds.max(1e-9);
    run.problem().is_none()
        && run.total.counts.done() as f64 / run.seconds.max(1e-9) >= due * KEEPS_UP * share_due(run)
        && run.total.latency.value_at_quantile(0.99) <= crate::pacer::nanos(p99_max)
}

/// The last answers come after the last request is due; a short run must not be blamed for that.
fn share_due(run: &Run) -> f64 {
    let tail = run.total.latency.max() as f64 / 1e9;
    (run.due_seconds / (run.due_seconds + tail.min(run.due_seconds))).min(1.0)
}

fn tell(session: &mut Session<'_>, most: &Run, steps: &[Step], args: &SweepArgs) {
    session.say(&format!(
        "{:>14}{:>14}{:>10}{:>10}{:>10}{:>10}  sustained",
        "due/s", "answered/s", "p50", "p99", "p99.9", "max"
    ));
    for step in steps {
        let at = |quantile| time(step.run.total.latency.value_at_quantile(quantile));
        session.say(&format!(
            "{:>14}{:>14}{:>10}{:>10}{:>10}{:>10}  {}",
            grouped(step.rate.round()),
            grouped(step.run.per_second().round()),
            at(0.5),
            at(0.99),
            at(0.999),
            time(step.run.total.latency.max()),
            if step.is_sustained {
                "yes".to_owned()
            } else {
                step.run
                    .problem()
                    .map_or("no".to_owned(), |p| format!("no: {p}"))
            }
        ));
    }
    let saturation = steps
        .iter()
        .filter(|step| step.is_sustained)
        .map(|step| step.rate)
        .fold(0.0, f64::max);
    session.say(&format!(
        "saturation: {} a second (closed loop: {}), with a p99 of {} at most",
        grouped(saturation.round()),
        grouped(most.per_second().round()),
        time(crate::pacer::nanos(args.p99_max))
    ));
    let points = steps.iter().map(|step| {
        let latency = &step.run.total.latency;
        json!({
            "due_per_second": step.rate,
            "per_second": step.run.per_second(),
            "p50_ns": latency.value_at_quantile(0.5),
            "p99_ns": latency.value_at_quantile(0.99),
            "p999_ns": latency.value_at_quantile(0.999),
            "max_ns": latency.max(),
            "is_sustained": step.is_sustained,
            "problem": step.run.problem(),
        })
    });
    session.report.sweep = Some(json!({
        "closed_loop_per_second": most.per_second(),
        "saturation_per_second": saturation,
        "p99_max_ns": crate::pacer::nanos(args.p99_max),
        "points": points.collect::<Vec<_>>(),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Slice;
    use crate::schedule::{Schedule, Spread};
    use crate::usage::Usage;

    /// A second of so many requests that were answered in a millisecond each.
    fn answered(count: u64) -> Run {
        let mut total = Slice::new();
        (total.counts.sent, total.counts.right) = (count, count);
        total.latency.record_n(1_000_000, count).unwrap();
        Run {
            total,
            rows: Vec::new(),
            unsent: 0,
            seconds: 1.0,
            due_seconds: 1.0,
            usage: Usage::default(),
            was_stopped: false,
        }
    }

    #[test]
    fn whoever_answers_all_that_was_due_sustains_the_rate() {
        let mut fewest = u64::MAX;
        for seed in 0..100 {
            let schedule = Schedule::Rate {
                segments: Rate::Constant(500.0).segments(1.0).unwrap().into(),
                spread: Spread::Poisson,
                seed,
            };
            let due = schedule.arrivals(0, 1).count() as u64;
            fewest = fewest.min(due);
            assert!(is_sustained(&answered(due), Duration::from_millis(100)));
        }
        // Against the mean rate some of them would be too few.
        assert!((fewest as f64) < 500.0 * KEEPS_UP, "{fewest}");
    }

    #[test]
    fn whoever_is_slow_or_owes_answers_does_not() {
        let p99_max = Duration::from_millis(100);
        let mut slow = answered(500);
        slow.total.latency.record_n(200_000_000, 50).unwrap();
        let late = Run {
            seconds: 1.1,
            ..answered(500)
        };
        let unsent = Run {
            unsent: 1,
            ..answered(500)
        };
        let mut unanswered = answered(500);
        unanswered.total.counts.right -= 1;
        for run in [slow, late, unsent, unanswered] {
            assert!(!is_sustained(&run, p99_max), "{run:?}");
        }
    }
}
