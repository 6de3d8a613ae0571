//! A load for hours, and whether anything grows meanwhile: memory, open files, files on the disk, latency.
//!
//! Of each, the slope of a line through the samples after the first fifth is told: buffers fill at the beginning.

use std::path::PathBuf;
use std::sync::Mutex;

use serde::Serialize;

use crate::args::SoakArgs;
use crate::load::{Loop, Row, Target, Work};
use crate::pacer::Pacer;
use crate::recorder::Counts;
use crate::report::{Report, grouped};
use crate::schedule::{Rate, Spread};
use crate::session::Session;
use crate::target::Kind;
use crate::usage::directory;

/// How much something grows in an hour.
#[derive(Clone, Copy, Debug, Serialize)]
struct Slope {
    what: &'static str,
    first: f64,
    last: f64,
    per_hour: f64,
}

pub(crate) fn soak(args: &SoakArgs) -> Result<Report, String> {
    let common = &args.common;
    if args.rss_growth_max.is_some()
        && let Kind::Remote { url } = &args.target.kind
    {
        // Without its process its memory is none at all, which never grows.
        return Err(format!(
            "--rss-growth-max: the memory of {url} is not known; serve:BINARY starts a server whose memory is"
        ));
    }
    let mut session = Session::new("soak", common);
    let site = common.site(session.name.clone())?;
    let ready = site.ready(&args.target)?;
    let rate = match args.rate {
        Some(rate) => rate,
        None => {
            let in_flight = args.in_flight.clamp(1, 1_000_000);
            let closed = std::time::Duration::from_secs(5).min(args.duration);
            let load = common.load(&args.target, Loop::Closed { in_flight }, closed);
            let most = session.run("at most", &args.target.text, &*ready.target, &load)?;
            most.per_second() * args.share / 100.0
        }
    };
    let watch = args.watch.clone().or_else(|| args.target.durable.clone());
    let watched = Watched {
        inner: &*ready.target,
        directory: watch,
        samples: Mutex::default(),
    };
    let pace = common.at_rate(&Rate::Constant(rate), Spread::Poisson, args.duration)?;
    let load = common.load(&args.target, pace, args.duration);
    let label = format!("soak at {} a second", grouped(rate.round()));
    let run = watched.run(&mut session, &label, &args.target.text, &load)?;
    let files = watched
        .samples
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let slopes = slopes(&run.rows, &files);
    for slope in &slopes {
        session.say(&format!(
            "  {:<28}{:>16} at first, {:>16} at last, {:>+16.1} an hour",
            slope.what,
            grouped(slope.first.round()),
            grouped(slope.last.round()),
            slope.per_hour
        ));
    }
    if let Some(most) = args.rss_growth_max
        && let Some(problem) = growth_problem(&slopes, &run.rows, most)
    {
        session.report.problem.get_or_insert(problem);
    }
    session.report.soak = Some(serde_json::json!({ "per_second": rate, "slopes": slopes }));
    Ok(session.end())
}

/// A target whose directory is looked at in every interval.
struct Watched<'t> {
    inner: &'t dyn Target,
    directory: Option<PathBuf>,
    samples: Mutex<Vec<(f64, u64, u64)>>,
}

impl Watched<'_> {
    fn run(
        &self,
        session: &mut Session<'_>,
        label: &str,
        name: &str,
        load: &crate::load::Load,
    ) -> Result<crate::load::Run, String> {
        std::thread::scope(|scope| {
            let (done, ended) = std::sync::mpsc::channel::<()>();
            let interval = load.interval;
            let sampler = scope.spawn(move || {
                let pacer = Pacer::new(std::time::Duration::ZERO);
                while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) =
                    ended.recv_timeout(interval)
                {
                    let Some(path) = &self.directory else { return };
                    let (files, bytes) = directory(path);
                    let at = crate::pacer::Pace::now(&pacer) as f64 / 1e9;
                    let mut samples = self
                        .samples
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    samples.push((at, files, bytes));
                }
            });
            let run = session.run(label, name, self, load);
            drop(done);
            let _ = sampler.join();
            run
        })
    }
}

impl Target for Watched<'_> {
    fn drive(&self, thread: usize, work: &mut Work<'_, Pacer>) -> Result<(), String> {
        self.inner.drive(thread, work)
    }

    fn begin(&self) {
        self.inner.begin();
    }

    fn process(&self) -> Option<u32> {
        self.inner.process()
    }

    fn check(&self, counts: &Counts) -> Result<Option<String>, String> {
        self.inner.check(counts)
    }
}

/// What is wrong with the growth of memory, if so many MiB an hour are allowed. What was not measured is not within bounds.
fn growth_problem(slopes: &[Slope], rows: &[Row], most: f64) -> Option<String> {
    let end = rows.last().map_or(0.0, |row| row.at);
    let samples = rows.iter().filter(|row| row.at >= end * FIRST_SHARE);
    if samples.count() < 2 || rows.iter().all(|row| row.usage.tester_rss_bytes == 0) {
        return Some("how memory grows is not known: there are too few samples of it".to_owned());
    }
    let mut memory = slopes
        .iter()
        .filter(|slope| slope.what.ends_with("memory, MiB"));
    // Nothing that is no number is within a bound, nor within a bound that is none.
    let too_much = |slope: &&Slope| !most.ge(&slope.per_hour);
    let worst = memory.find(too_much)?;
    Some(format!(
        "{} grows by {:.1} MiB an hour, and {most} are allowed",
        worst.what.trim_end_matches(", MiB"),
        worst.per_hour
    ))
}

const MIB: f64 = 1024.0 * 1024.0;

/// Of the time: what buffers have to fill in.
const FIRST_SHARE: f64 = 0.2;

fn slopes(rows: &[Row], files: &[(f64, u64, u64)]) -> Vec<Slope> {
    let of_rows = |what, value: fn(&Row) -> f64| {
        slope(
            what,
            &rows
                .iter()
                .map(|row| (row.at, value(row)))
                .collect::<Vec<_>>(),
        )
    };
    let of_files = |what, value: fn(&(f64, u64, u64)) -> f64| {
        slope(
            what,
            &files
                .iter()
                .map(|sample| (sample.0, value(sample)))
                .collect::<Vec<_>>(),
        )
    };
    [
        of_rows("tester's memory, MiB", |row| {
            row.usage.tester_rss_bytes as f64 / MIB
        }),
        of_rows("target's memory, MiB", |row| {
            row.usage.target_rss_bytes as f64 / MIB
        }),
        of_rows("open files", |row| row.usage.open_files as f64),
        of_rows("p99, microseconds", |row| row.p99_ns as f64 / 1e3),
        of_files("files in the directory", |sample| sample.1 as f64),
        of_files("directory, MiB", |sample| sample.2 as f64 / MIB),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Least squares over the samples after the first fifth.
fn slope(what: &'static str, samples: &[(f64, f64)]) -> Option<Slope> {
    let end = samples.last()?.0;
    let kept: Vec<(f64, f64)> = samples
        .iter()
        .copied()
        .filter(|(at, _)| *at >= end * FIRST_SHARE)
        .collect();
    let count = kept.len() as f64;
    let mean_at = kept.iter().map(|(at, _)| at).sum::<f64>() / count;
    let mean = kept.iter().map(|(_, value)| value).sum::<f64>() / count;
    let spread: f64 = kept.iter().map(|(at, _)| (at - mean_at).powi(2)).sum();
    let together: f64 = kept
        .iter()
        .map(|(at, value)| (at - mean_at) * (value - mean))
        .sum();
    Some(Slope {
        what,
        first: kept.first()?.1,
        last: kept.last()?.1,
        per_hour: if spread > 0.0 {
            together / spread * 3_600.0
        } else {
            0.0
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;

    #[test]
    fn slopes_leave_out_the_beginning() {
        let mut samples: Vec<(f64, f64)> = (0..20)
            .map(|i| (f64::from(i), 1e6 * f64::from(i)))
            .collect();
        samples.extend((20..=100).map(|i| (f64::from(i), 5.0 + f64::from(i) * 0.5)));
        let found = slope("x", &samples).unwrap();
        assert!((found.per_hour - 1_800.0).abs() < 1e-6, "{found:?}");
        assert_eq!((found.first, found.last), (15.0, 55.0));
        assert_eq!(slope("x", &[(1.0, 3.0)]).unwrap().per_hour, 0.0);
        assert!(slope("x", &[]).is_none());
    }

    fn row(at: f64, mib: f64) -> Row {
        let bytes = (mib * MIB) as u64;
        Row {
            at,
            seconds: 1.0,
            counts: Counts::default(),
            per_second: 0.0,
            p50_ns: 0,
            p99_ns: 0,
            p999_ns: 0,
            max_ns: 0,
            usage: Usage {
                tester_rss_bytes: (100.0 * MIB) as u64,
                target_rss_bytes: bytes,
                ..Usage::default()
            },
        }
    }

    #[test]
    fn growth_is_held_against_its_bound() {
        let problem = |rows: &[Row], most| growth_problem(&slopes(rows, &[]), rows, most);
        let grows: Vec<Row> = (0..100)
            .map(|i| row(f64::from(i), 10.0 + f64::from(i)))
            .collect();
        assert!(problem(&grows, 3_601.0).is_none());
        let told = problem(&grows, 3_599.0).unwrap();
        assert!(
            told.starts_with("target's memory grows by 3600.0 MiB"),
            "{told}"
        );
        assert!(problem(&grows, f64::NAN).is_some());
        // One sample tells nothing, and neither does none.
        assert!(problem(&grows[..1], 3_601.0).is_some());
        assert!(problem(&[], 3_601.0).is_some());
    }
}
