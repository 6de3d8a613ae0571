//! Two targets in turns: what changes with the hour, the neighbours or the temperature changes for both.

use serde_json::json;

use crate::args::{CompareArgs, wants_target};
use crate::load::{Run, STOP};
use crate::recorder::Slice;
use crate::report::{Report, RunReport, grouped, time};
use crate::session::Session;

pub(crate) fn compare(args: &CompareArgs) -> Result<Report, String> {
    let [first, second] = args.target.as_slice() else {
        return Err(wants_target());
    };
    let common = &args.common;
    let mut session = Session::new("compare", common);
    let (pace, turn) = args.pace.pace(common, args.turn)?;
    let mut site = common.site(session.name.clone())?;
    let first_ready = site.ready(first)?;
    // Both may be the same server: its machines have different names.
    site.run.push_str("-b");
    let second_ready = site.ready(second)?;
    let contenders = [(first, &first_ready), (second, &second_ready)];
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for round in 0..args.rounds {
        // AB, BA, AB and so on: neither is always the one after the other.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let (spec, ready) = contenders[which];
            let load = common.load(spec, pace.clone(), turn);
            let label = format!("{}, turn {}", spec.text, round + 1);
            let run = session.run_silently(&label, &*ready.target, &load)?;
            let check = ready.target.check(&run.all());
            session
                .report
                .add(RunReport::new(&label, &spec.text, &load, &run, check));
            runs[which].push(run);
        }
        if STOP.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
    }
    tell(&mut session, [&first.text, &second.text], &runs);
    Ok(session.end())
}

fn tell(session: &mut Session<'_>, names: [&str; 2], runs: &[Vec<Run>; 2]) {
    session.say(&format!(
        "{:>12}{:>12}{:>10}{:>10}{:>10}  target",
        "median/s", "CPU µs each", "p50", "p99", "p99.9"
    ));
    let mut sides = Vec::new();
    for (name, runs) in names.iter().zip(runs) {
        let mut total = Slice::new();
        runs.iter().for_each(|run| total.add(&run.total));
        let rates: Vec<f64> = runs.iter().map(Run::per_second).collect();
        let cpu: f64 = runs
            .iter()
            .map(|run| run.usage.tester_cpu_seconds + run.usage.target_cpu_seconds)
            .sum();
        let cpu_each = cpu * 1e6 / (total.counts.right as f64).max(1.0);
        let at = |quantile| total.latency.value_at_quantile(quantile);
        session.say(&format!(
            "{:>12}{:>12.2}{:>10}{:>10}{:>10}  {name}",
            grouped(median(&rates).round()),
            cpu_each,
            time(at(0.5)),
            time(at(0.99)),
            time(at(0.999))
        ));
        sides.push(json!({
            "target": name,
            "per_second": { "median": median(&rates), "each": rates },
            "cpu_microseconds_each": cpu_each,
            "p50_ns": at(0.5), "p99_ns": at(0.99), "p999_ns": at(0.999), "max_ns": total.latency.max(),
        }));
    }
    // Each turn against the one beside it.
    let ratios: Vec<f64> = runs[0]
        .iter()
        .zip(&runs[1])
        .map(|(a, b)| a.per_second() / b.per_second().max(1e-9))
        .collect();
    session.say(&format!(
        "rate of the first to that of the second: {:.3} in the median of {} pairs of turns, {:.3} to {:.3}",
        median(&ratios),
        ratios.len(),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
    ));
    session.report.compare = Some(json!({
        "sides": sides,
        "rate_ratio": { "median": median(&ratios), "each": ratios },
    }));
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
