//! When requests are due: fixed before the first of them is sent, and a function of the settings and a seed alone.
//!
//! A rate over time is a list of [`Segment`]s, in each of which it changes linearly. The i-th arrival is due when the integral
//! of the rate has come to a number: to i if arrivals are even, to a sum of i random numbers of mean 1 if they are those of a
//! Poisson process. So ramps, steps and bursts are Poisson processes as well, if that is asked for. Who sends with several
//! threads gives each of them every n-th arrival of the same sequence.

use std::str::FromStr;
use std::sync::Arc;

/// Nanoseconds since the beginning of a run.
pub(crate) type Nanos = u64;

/// Most segments of a rate, so that a wrong number cannot make millions of them.
const SEGMENTS_MAX: usize = 1_000_000;

/// Highest rate.
const RATE_MAX: f64 = 1e8;

/// A part of a run, in which the rate changes linearly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Segment {
    pub(crate) seconds: f64,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Segment {
    /// Arrivals in it, as a real number.
    fn arrivals(&self) -> f64 {
        self.seconds * f64::midpoint(self.from, self.to)
    }

    /// Seconds after its beginning at which `arrivals` have come.
    fn time_of(&self, arrivals: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        let from = self.from;
        // The root of `from·t + slope·t²/2 = arrivals`, in the form that is exact for slopes near zero.
        let root = (from * from + 2.0 * slope * arrivals).max(0.0).sqrt();
        let time = 2.0 * arrivals / (from + root);
        if time.is_finite() {
            time.min(self.seconds)
        } else {
            0.0
        }
    }
}

/// A rate as somebody writes it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Rate {
    Constant(f64),
    Ramp(f64, f64),
    Steps(Vec<f64>),
    /// So much, and `peak` for the first `on` seconds of every `period`.
    Bursts {
        base: f64,
        peak: f64,
        on: f64,
        period: f64,
    },
}

/// How rates are written, for help and errors.
pub(crate) const RATE_FORMS: &str =
    "10000, 100..5000 (ramp), 100,200,400 (steps), 100^5000@0.2/1 (bursts of 0.2 s every 1 s)";

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let rate = |text: &str| match text.trim().parse::<f64>() {
            Ok(rate) if (0.0..=RATE_MAX).contains(&rate) => Ok(rate),
            _ => Err(format!(
                "`{text}` is no rate; a number of requests a second up to {RATE_MAX:e} is wanted: {RATE_FORMS}"
            )),
        };
        if let Some((base, rest)) = text.split_once('^') {
            let parts = rest.split_once('@').and_then(|(peak, rest)| {
                rest.split_once('/').map(|(on, period)| (peak, on, period))
            });
            let Some((peak, on, period)) = parts else {
                return Err(format!(
                    "bursts are written BASE^PEAK@ON/PERIOD: {RATE_FORMS}"
                ));
            };
            let (on, period) = (rate(on)?, rate(period)?);
            if !(on > 0.0 && on < period) {
                return Err(format!(
                    "a burst of {on} s does not fit into a period of {period} s"
                ));
            }
            return Ok(Rate::Bursts {
                base: rate(base)?,
                peak: rate(peak)?,
                on,
                period,
            });
        }
        if let Some((from, to)) = text.split_once("..") {
            return Ok(Rate::Ramp(rate(from)?, rate(to)?));
        }
        if text.contains(',') {
            return Ok(Rate::Steps(
                text.split(',').map(rate).collect::<Result<_, _>>()?,
            ));
        }
        Ok(Rate::Constant(rate(text)?))
    }
}

impl Rate {
    /// The segments of a run of so many seconds.
    ///
    /// # Errors
    ///
    /// If there would be too many.
    pub(crate) fn segments(&self, seconds: f64) -> Result<Vec<Segment>, String> {
        let segment = |seconds, from, to| Segment { seconds, from, to };
        Ok(match self {
            Rate::Constant(rate) => vec![segment(seconds, *rate, *rate)],
            Rate::Ramp(from, to) => vec![segment(seconds, *from, *to)],
            Rate::Steps(rates) => {
                let each = seconds / rates.len() as f64;
                rates
                    .iter()
                    .map(|rate| segment(each, *rate, *rate))
                    .collect()
            }
            Rate::Bursts {
                base,
                peak,
                on,
                period,
            } => {
                if seconds / period > SEGMENTS_MAX as f64 / 2.0 {
                    return Err(format!("more than {} bursts", SEGMENTS_MAX / 2));
                }
                let mut segments = Vec::new();
                let mut at = 0.0;
                while at < seconds {
                    let on = on.min(seconds - at);
                    segments.push(segment(on, *peak, *peak));
                    let off = (period - on).min(seconds - at - on);
                    if off > 0.0 {
                        segments.push(segment(off, *base, *base));
                    }
                    at += period;
                }
                segments
            }
        })
    }
}

/// How arrivals are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Spread {
    /// At even distances.
    Even,
    /// As independent clients arrive: a Poisson process.
    Poisson,
}

/// All arrivals of a run.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    Rate {
        segments: Arc<[Segment]>,
        spread: Spread,
        seed: u64,
    },
    /// At these times, ascending.
    Times(Arc<[Nanos]>),
}

impl Schedule {
    /// The arrivals of thread `own` of `threads`.
    pub(crate) fn arrivals(&self, own: usize, threads: usize) -> Arrivals {
        Arrivals {
            schedule: self.clone(),
            random: Random(match self {
                Schedule::Rate { seed, .. } => *seed,
                Schedule::Times(_) => 0,
            }),
            index: 0,
            segment: 0,
            passed: 0.0,
            before: 0.0,
            at: 0.0,
            own: own as u64,
            threads: threads.max(1) as u64,
        }
    }

    /// How many arrivals there are at most; the very number if they are even or replayed.
    pub(crate) fn expected(&self) -> f64 {
        match self {
            Schedule::Rate { segments, .. } => segments.iter().map(Segment::arrivals).sum(),
            Schedule::Times(times) => times.len() as f64,
        }
    }
}

/// A request that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrival {
    /// Its number in the run.
    pub(crate) index: u64,
    /// When it is due.
    pub(crate) intended: Nanos,
}

/// The arrivals of one thread.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    schedule: Schedule,
    random: Random,
    index: u64,
    segment: usize,
    /// Integral of the rate at the next arrival.
    at: f64,
    /// Integral of the rate over the segments before this one, and their seconds.
    before: f64,
    passed: f64,
    own: u64,
    threads: u64,
}

impl Arrivals {
    /// About how many are left.
    pub(crate) fn left(&self) -> f64 {
        (self.schedule.expected() - self.index as f64).max(0.0) / self.threads as f64
    }

    fn any(&mut self) -> Option<Arrival> {
        let index = self.index;
        let intended = match &self.schedule {
            Schedule::Times(times) => *times.get(usize::try_from(index).ok()?)?,
            Schedule::Rate {
                segments, spread, ..
            } => {
                if index == 0 && *spread == Spread::Poisson {
                    self.at += self.random.exponential();
                }
                // Sums of many segments are not exact: an arrival may not be lost for that, nor be made of it.
                let mut segment = segments.get(self.segment)?;
                while self.at >= self.before + segment.arrivals() - 1e-9 {
                    self.before += segment.arrivals();
                    self.passed += segment.seconds;
                    self.segment += 1;
                    segment = segments.get(self.segment)?;
                }
                let seconds = self.passed + segment.time_of((self.at - self.before).max(0.0));
                self.at += match spread {
                    Spread::Even => 1.0,
                    Spread::Poisson => self.random.exponential(),
                };
                (seconds * 1e9) as Nanos
            }
        };
        self.index += 1;
        Some(Arrival { index, intended })
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let arrival = self.any()?;
            if arrival.index % self.threads == self.own {
                return Some(arrival);
            }
        }
    }
}

/// Random numbers from a seed (SplitMix64): the same on every machine, for ever.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to and without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of mean 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(rate: &str, seconds: f64, spread: Spread, seed: u64) -> Schedule {
        let segments = rate.parse::<Rate>().unwrap().segments(seconds).unwrap();
        Schedule::Rate {
            segments: segments.into(),
            spread,
            seed,
        }
    }

    fn times(schedule: &Schedule) -> Vec<Nanos> {
        schedule
            .arrivals(0, 1)
            .map(|arrival| arrival.intended)
            .collect()
    }

    #[test]
    fn rates_are_read() {
        for (text, rate) in [
            ("10", Rate::Constant(10.0)),
            ("1..5e3", Rate::Ramp(1.0, 5000.0)),
            ("1, 2,3", Rate::Steps(vec![1.0, 2.0, 3.0])),
            (
                "1^9@0.5/2",
                Rate::Bursts {
                    base: 1.0,
                    peak: 9.0,
                    on: 0.5,
                    period: 2.0,
                },
            ),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap(), rate);
        }
        for wrong in [
            "", "-1", "x", "1..", "1^2", "1^2@3/2", "1^2@0/2", "1e9", "nan", "1,,2",
        ] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn even_arrivals_are_where_they_are_said_to_be() {
        let constant = schedule("4", 1.0, Spread::Even, 0);
        assert_eq!(times(&constant), [0, 250_000_000, 500_000_000, 750_000_000]);
        // Twice as many in the second half.
        let steps = schedule("2,4", 2.0, Spread::Even, 0);
        let expected = [0, 500, 1000, 1250, 1500, 1750].map(|ms| ms * 1_000_000);
        assert_eq!(times(&steps), expected);
        // t² arrivals after t seconds.
        let ramp = times(&schedule("0..6", 3.0, Spread::Even, 0));
        for (i, at) in ramp.iter().enumerate() {
            let seconds = *at as f64 / 1e9;
            assert!(
                (seconds * seconds - i as f64).abs() < 1e-6,
                "{i}: {seconds}"
            );
        }
        assert_eq!(ramp.len(), 9);
        let bursts = times(&schedule("0^10@0.5/1", 2.0, Spread::Even, 0));
        assert_eq!(bursts.len(), 10);
        assert!(bursts.iter().all(|at| at % 1_000_000_000 < 500_000_000));
    }

    #[test]
    fn a_poisson_process_has_its_mean_and_its_variance() {
        let arrivals = times(&schedule("10000", 100.0, Spread::Poisson, 7));
        let mut counts = vec![0_f64; 10_000];
        for at in &arrivals {
            counts[(at / 10_000_000) as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 1e4;
        let variance = counts.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 1e4;
        // A hundred a bucket: the standard errors are 0.1 and 1.4.
        assert!((mean - 100.0).abs() < 1.0, "{mean}");
        assert!((variance - 100.0).abs() < 10.0, "{variance}");
    }

    proptest! {
        #[test]
        fn threads_share_what_one_would_send(
            rate in prop_oneof![
                "[1-9][0-9]{0,2}",
                "[0-9]{1,3}\\.\\.[1-9][0-9]{0,2}",
                "[0-9]{1,3},[1-9][0-9]{0,2}",
                "[0-9]{1,2}\\^[1-9][0-9]{0,2}@0\\.[1-9]/1",
            ],
            is_poisson: bool,
            seed: u64,
            threads in 1_usize..5,
        ) {
            let spread = if is_poisson { Spread::Poisson } else { Spread::Even };
            let schedule = schedule(&rate, 3.0, spread, seed);
            let all: Vec<Arrival> = schedule.arrivals(0, 1).collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].intended <= pair[1].intended));
            prop_assert!(all.iter().all(|arrival| arrival.intended <= 3_000_000_000));
            prop_assert!(all.iter().zip(0..).all(|(arrival, i)| arrival.index == i));
            let mut shared: Vec<Arrival> = (0..threads)
                .flat_map(|own| schedule.arrivals(own, threads))
                .collect();
            shared.sort_by_key(|arrival| arrival.index);
            prop_assert_eq!(&shared, &all);
            if !is_poisson {
                let expected = schedule.expected();
                prop_assert!((all.len() as f64 - expected).abs() <= 1.0, "{} {expected}", all.len());
            }
        }
    }
}
