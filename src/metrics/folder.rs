//! [`Folder`]: tells the recorder of the crate `metrics` what is new.

use std::collections::BTreeMap;

use ::metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, with_recorder,
};

use super::Metrics;
use super::catalogue::{CATALOGUE, Descriptor, Kind, Unit};
use super::histogram::Distribution;
use super::snapshot::{Sample, Snapshot, Value};

/// Tells a recorder of the crate `metrics` what has been counted since the last time.
///
/// It is for programs that have a recorder already; Prometheus alone needs none, see
/// [`prometheus::render`](super::prometheus::render). Call [`Folder::fold`] a few times a second, from one place: the
/// longer it waits, the more there is to tell at once. A histogram is told as one or two values for each range, as often
/// as there were observations: their number and their sum are exact, what they were within the range is not kept.
/// Counters of the facade are whole numbers, so one of seconds is told in whole seconds.
///
/// Recorders that make histograms should be given the bounds of [`Folder::bounds`].
///
/// ```
/// use quickstep::Engine;
/// use quickstep::metrics::{Folder, describe};
///
/// let engine = Engine::builder().build()?;
/// // Once a recorder is installed:
/// describe();
/// let mut folder = Folder::new(engine.metrics());
/// // A few times a second:
/// folder.fold();
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
#[derive(Debug)]
pub struct Folder {
    metrics: Metrics,
    told: BTreeMap<(&'static str, Vec<Box<str>>), Told>,
}

/// What a recorder was told of a sample.
enum Told {
    Counter(Counter, u64),
    Gauge(Gauge, u64),
    Histogram(Histogram, Distribution),
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Told::Counter(_, number) => f.debug_tuple("Counter").field(number).finish(),
            Told::Gauge(_, number) => f.debug_tuple("Gauge").field(number).finish(),
            Told::Histogram(_, found) => f.debug_tuple("Histogram").field(found).finish(),
        }
    }
}

/// Tells the installed recorder what the metrics are: names, units and meanings.
pub fn describe() {
    with_recorder(describe_to);
}

/// Tells a recorder what the metrics are.
fn describe_to(recorder: &dyn Recorder) {
    for descriptor in CATALOGUE {
        let name = KeyName::from_const_str(descriptor.name);
        let unit = match descriptor.unit {
            Unit::Count => Some(::metrics::Unit::Count),
            Unit::Seconds => Some(::metrics::Unit::Seconds),
            Unit::Bytes => Some(::metrics::Unit::Bytes),
            // The facade has no such unit.
            Unit::ByteSeconds => None,
        };
        let help = descriptor.help.into();
        match descriptor.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram => recorder.describe_histogram(name, unit, help),
        }
    }
}

impl Folder {
    /// A folder that has told nothing yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Folder {
        Folder {
            metrics: metrics.clone(),
            told: BTreeMap::new(),
        }
    }

    /// Tells the installed recorder what is new. It has to be installed before the first call.
    pub fn fold(&mut self) {
        with_recorder(|recorder| self.fold_to(recorder));
    }

    /// Tells a recorder what is new: the same one at every call.
    pub fn fold_to(&mut self, recorder: &dyn Recorder) {
        let snapshot = self.metrics.snapshot();
        self.tell(&snapshot, recorder);
    }

    /// The bounds of a histogram's ranges in the unit of its name, if `name` is a histogram of quickstep's.
    #[must_use]
    pub fn bounds(name: &str) -> Option<Vec<f64>> {
        let descriptor = CATALOGUE.iter().find(|known| known.name == name)?;
        let bounds = descriptor.bounds()?.iter();
        Some(bounds.map(|n| in_unit(*n, descriptor.unit)).collect())
    }

    fn tell(&mut self, snapshot: &Snapshot, recorder: &dyn Recorder) {
        for family in &snapshot.families {
            let descriptor = family.descriptor;
            for sample in &family.samples {
                let key = (descriptor.name, sample.labels.clone());
                let told = self
                    .told
                    .entry(key)
                    .or_insert_with(|| register(recorder, descriptor, sample));
                told.update(&sample.value, descriptor.unit);
            }
        }
    }
}

fn register(recorder: &dyn Recorder, descriptor: &'static Descriptor, sample: &Sample) -> Told {
    let labels = descriptor.labels.iter().zip(&sample.labels);
    let labels: Vec<Label> = labels
        .map(|(name, value)| Label::new(*name, value.to_string()))
        .collect();
    let key = Key::from_parts(descriptor.name, labels);
    let metadata = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    match (&sample.value, descriptor.kind) {
        (Value::Distribution(found), _) => Told::Histogram(
            recorder.register_histogram(&key, &metadata),
            Distribution::new(found.bounds),
        ),
        (Value::Number(_), Kind::Gauge) => Told::Gauge(recorder.register_gauge(&key, &metadata), 0),
        (Value::Number(_), Kind::Counter | Kind::Histogram) => {
            Told::Counter(recorder.register_counter(&key, &metadata), 0)
        }
    }
}

impl Told {
    fn update(&mut self, value: &Value, unit: Unit) {
        match (self, value) {
            (Told::Counter(counter, told), Value::Number(number)) => {
                let whole = match unit {
                    Unit::Seconds => number / 1_000_000_000,
                    Unit::Count | Unit::Bytes | Unit::ByteSeconds => *number,
                };
                if whole > *told {
                    counter.increment(whole - *told);
                    *told = whole;
                }
            }
            // Several engines may tell one recorder, so it is told what has changed, not what there is.
            (Told::Gauge(gauge, told), Value::Number(number)) => {
                if number > told {
                    gauge.increment(in_unit(number - *told, unit));
                } else if number < told {
                    gauge.decrement(in_unit(*told - number, unit));
                }
                *told = *number;
            }
            (Told::Histogram(histogram, told), Value::Distribution(found)) => {
                for i in 0..found.counts.len() {
                    let count = found.counts[i] - told.counts[i];
                    let sum = found.sums[i].wrapping_sub(told.sums[i]);
                    observe(histogram, count, sum, unit);
                }
                told.clone_from(found);
            }
            _ => unreachable!("a metric does not change its kind"),
        }
    }
}

/// Tells a histogram of `count` observations in one range that come to `sum`. Their mean is in that range too; what is left
/// over when the sum is shared out goes to some of them, one each.
fn observe(histogram: &Histogram, count: u64, sum: u64, unit: Unit) {
    if count == 0 {
        return;
    }
    let (mean, more) = (sum / count, sum % count);
    for (value, times) in [(mean, count - more), (mean + 1, more)] {
        if times > 0 {
            let times = usize::try_from(times).unwrap_or(usize::MAX);
            histogram.record_many(in_unit(value, unit), times);
        }
    }
}

fn in_unit(number: u64, unit: Unit) -> f64 {
    match unit {
        Unit::Seconds => number as f64 / 1e9,
        Unit::Count | Unit::Bytes | Unit::ByteSeconds => number as f64,
    }
}
