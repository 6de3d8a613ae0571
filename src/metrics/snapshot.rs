//! [`Snapshot`]: what all metrics come to at one moment.

use super::catalogue::Descriptor;
use super::histogram::Distribution;

/// What all metrics come to at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// The metrics that have samples, in the order of the catalogue.
    pub families: Vec<Family>,
}

/// A metric with its samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Family {
    /// What it is.
    pub descriptor: &'static Descriptor,
    /// One sample for each set of labels.
    pub samples: Vec<Sample>,
}

/// A value with its labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// The values of [`Descriptor::labels`], in their order.
    pub labels: Vec<Box<str>>,
    /// The value.
    pub value: Value,
}

/// A value, in the [`Unit`](super::Unit) of its descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(u64),
    /// Of a histogram.
    Distribution(Distribution),
}

impl Snapshot {
    /// The value of one metric: `labels` are the values of its labels, in the order of the catalogue.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[&str]) -> Option<&Value> {
        let is_meant = |family: &&Family| family.descriptor.name == name;
        let family = self.families.iter().find(is_meant)?;
        let sample = family.samples.iter().find(|sample| {
            sample
                .labels
                .iter()
                .map(|label| &**label)
                .eq(labels.iter().copied())
        })?;
        Some(&sample.value)
    }

    /// The same, if it is a number.
    #[must_use]
    pub fn number(&self, name: &str, labels: &[&str]) -> Option<u64> {
        match self.value(name, labels)? {
            Value::Number(number) => Some(*number),
            Value::Distribution(_) => None,
        }
    }
}
