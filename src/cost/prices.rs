//! [`Prices`]: the dated file of prices, read and checked.

use super::{Amount, CostError};

/// The prices that come with this version.
const BUILT_IN: &str = include_str!("prices.toml");

/// What AWS charges for Step Functions in a region, at a date.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When they were read.
    pub date: String,
    /// Where they hold.
    pub region: String,
    /// The page that they are from.
    pub source: String,
    pub(super) standard: Standard,
    pub(super) express: Express,
}

#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Standard {
    /// Transitions of a month that are free.
    pub(super) free_transitions: u64,
    #[serde(deserialize_with = "dollars")]
    pub(super) dollars_per_1000_transitions: Amount,
}

#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Express {
    #[serde(deserialize_with = "dollars")]
    pub(super) dollars_per_1000000_requests: Amount,
    pub(super) duration_step_ms: u64,
    pub(super) memory_step_mb: u64,
    pub(super) memory_base_mb: u64,
    pub(super) tiers: Vec<Tier>,
}

/// A price of durations.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    /// Where the next begins; the last has none.
    pub(super) up_to_gb_hours: Option<u64>,
    #[serde(deserialize_with = "dollars")]
    pub(super) dollars_per_gb_hour: Amount,
}

fn dollars<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    Amount::parse(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is no price: write dollars with at most nine digits after the point, as in \"0.025\""
        ))
    })
}

/// Steps and bounds of tiers stay below this, so that their products fit.
const NUMBER_MAX: u64 = 1_000_000_000;

impl Prices {
    /// The prices that come with this version.
    ///
    /// # Panics
    ///
    /// Never: a test reads them.
    #[must_use]
    pub fn built_in() -> Prices {
        Prices::parse(BUILT_IN).unwrap_or_else(|error| unreachable!("prices.toml: {error}"))
    }

    /// Prices from the text of a file in the form of `prices.toml`.
    ///
    /// # Errors
    ///
    /// If a price is missing, unknown or none, or if the tiers do not follow on one another.
    pub fn parse(text: &str) -> Result<Prices, CostError> {
        let prices: Prices =
            toml::from_str(text).map_err(|error| CostError::new(error.to_string().trim_end()))?;
        prices.check().map_err(CostError::new)?;
        Ok(prices)
    }

    fn check(&self) -> Result<(), String> {
        let express = &self.express;
        for (what, number) in [
            ("express.duration_step_ms", express.duration_step_ms),
            ("express.memory_step_mb", express.memory_step_mb),
        ] {
            if number == 0 || number > NUMBER_MAX {
                return Err(format!("{what} is {number}: it must be 1 to {NUMBER_MAX}"));
            }
        }
        if express.memory_base_mb > NUMBER_MAX {
            return Err(format!(
                "express.memory_base_mb must be at most {NUMBER_MAX}"
            ));
        }
        let Some((last, others)) = express.tiers.split_last() else {
            return Err("express.tiers is empty: durations have no price".to_owned());
        };
        if last.up_to_gb_hours.is_some() {
            return Err(
                "the last of express.tiers has an end, up_to_gb_hours: what costs more than that?"
                    .to_owned(),
            );
        }
        let mut begin = 0;
        for tier in others {
            match tier.up_to_gb_hours {
                Some(end) if end > begin && end <= NUMBER_MAX => begin = end,
                Some(end) => {
                    return Err(format!(
                        "up_to_gb_hours = {end} in express.tiers: each must be greater than the one before, and at most \
                         {NUMBER_MAX}"
                    ));
                }
                None => {
                    return Err(
                        "one of express.tiers that is not the last has no up_to_gb_hours"
                            .to_owned(),
                    );
                }
            }
        }
        Ok(())
    }

    /// Steps of an hour with a GB of memory: megabyte-milliseconds of it, by those of a step, as a fraction.
    pub(super) fn steps_per_gb_hour(&self) -> (u128, u128) {
        const MB_MS_PER_GB_HOUR: u128 = 1_024 * 3_600_000;
        let step =
            u128::from(self.express.memory_step_mb) * u128::from(self.express.duration_step_ms);
        (MB_MS_PER_GB_HOUR, step)
    }

    /// The memory that AWS's page estimates for an EXPRESS execution, in bytes: a base, the definition, and its data for
    /// each iteration of a Map and branch of a Parallel. The page counts 1,000 KB to the MB.
    #[must_use]
    pub fn memory_bytes(&self, definition_bytes: u64, payload_bytes: u64, steps: u64) -> u64 {
        let base = self.express.memory_base_mb * super::bill::MB;
        let data = payload_bytes.saturating_mul(steps.max(1));
        base.saturating_add(definition_bytes).saturating_add(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_with_this_version_is_right() {
        let prices = Prices::built_in();
        assert_eq!(prices.region, "us-east-1");
        assert_eq!(prices.date.len(), "2026-11-23".len());
        // 64 MB for 100 ms are 1/160 GB-s; a GB-hour has 576,000 of them.
        let (whole, step) = prices.steps_per_gb_hour();
        assert_eq!((whole / step, whole % step), (576_000, 0));
    }

    #[test]
    fn wrong_prices_are_refused() {
        for (from, to, expected) in [
            ("\"0.025\"", "\"a lot\"", "\"a lot\" is no price"),
            ("\"0.025\"", "0.025", "expected a string"),
            ("free_transitions", "gratis", "unknown field `gratis`"),
            (
                "duration_step_ms = 100",
                "duration_step_ms = 0",
                "must be 1 to",
            ),
            (
                "up_to_gb_hours = 5000",
                "up_to_gb_hours = 1000",
                "greater than the one before",
            ),
            ("up_to_gb_hours = 5000\n", "", "has no up_to_gb_hours"),
            (
                "dollars_per_gb_hour = \"0.01642\"",
                "dollars_per_gb_hour = \"1\"\nup_to_gb_hours = 9000",
                "has an end",
            ),
            ("date = \"2026-11-23\"\n", "", "missing field `date`"),
        ] {
            assert!(BUILT_IN.contains(from), "{from}");
            let error = Prices::parse(&BUILT_IN.replacen(from, to, 1))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn memory_is_estimated_as_the_page_does() {
        let prices = Prices::built_in();
        // Its example: a definition of 50 KB, 400 iterations with 32 KB each, 62.85 MB.
        assert_eq!(prices.memory_bytes(50_000, 32_000, 400), 62_850_000);
        assert_eq!(prices.memory_bytes(0, 7, 0), 50_000_007);
        assert_eq!(prices.memory_bytes(1, u64::MAX, 2), u64::MAX);
    }
}
