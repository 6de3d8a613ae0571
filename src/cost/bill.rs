//! [`Usage`], which adds up executions, and the [`Bill`]s that are made of it.

use serde::Serialize;

use super::amount::grouped;
use super::{Amount, Prices};

/// Bytes of a megabyte, as AWS's page counts.
pub(super) const MB: u64 = 1_000_000;

/// Longest EXPRESS execution on AWS.
const EXPRESS_MS_MAX: u64 = 300_000;

/// Seconds of a month, as AWS's calculator has it: 730 hours.
const MONTH_SECONDS: f64 = 730.0 * 3_600.0;

/// Executions of a month at a rate.
#[must_use]
pub fn month_of(per_second: f64) -> u64 {
    (per_second.max(0.0) * MONTH_SECONDS).round() as u64
}

/// What AWS bills of an execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Execution {
    /// States that it enters, and retries.
    pub transitions: u64,
    /// From its start to its end, or the most that this can be.
    pub duration_ms: u64,
    /// The least that this can be: only who surely takes longer than AWS allows is refused.
    pub least_ms: u64,
    /// Most memory that it uses.
    pub memory_bytes: u64,
}

/// What executions use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    executions: u128,
    transitions: u128,
    /// Steps of duration times steps of memory.
    steps: u128,
    /// Of what executions take at least.
    longest_ms: u64,
    most_bytes: u64,
    /// Whether the duration of one of them is no more than a bound.
    is_bound: bool,
}

impl Usage {
    /// Adds so many executions, each rounded up.
    pub fn add(&mut self, prices: &Prices, execution: Execution, times: u64) {
        let times = u128::from(times);
        let express = &prices.express;
        let duration = execution
            .duration_ms
            .max(1)
            .div_ceil(express.duration_step_ms);
        let step_bytes = express.memory_step_mb * MB;
        let memory = execution.memory_bytes.max(1).div_ceil(step_bytes);
        let steps = u128::from(duration).saturating_mul(u128::from(memory));
        let transitions = u128::from(execution.transitions);
        self.executions = self.executions.saturating_add(times);
        self.transitions = self
            .transitions
            .saturating_add(transitions.saturating_mul(times));
        self.steps = self.steps.saturating_add(steps.saturating_mul(times));
        self.longest_ms = self.longest_ms.max(execution.least_ms);
        self.most_bytes = self.most_bytes.max(execution.memory_bytes);
        self.is_bound |= execution.least_ms < execution.duration_ms;
    }

    /// The same for so many executions as these on average, rounded up.
    #[must_use]
    pub fn scaled(&self, executions: u64) -> Usage {
        let executions = u128::from(executions);
        let scale = |n: u128| match self.executions {
            0 => 0,
            own => n.saturating_mul(executions).div_ceil(own),
        };
        Usage {
            executions: scale(self.executions),
            transitions: scale(self.transitions),
            steps: scale(self.steps),
            longest_ms: self.longest_ms,
            most_bytes: self.most_bytes,
            is_bound: self.is_bound,
        }
    }

    /// How many executions.
    #[must_use]
    pub fn executions(&self) -> u128 {
        self.executions
    }

    /// State transitions of all of them.
    #[must_use]
    pub fn transitions(&self) -> u128 {
        self.transitions
    }

    /// GB-hours of all of them.
    #[must_use]
    pub fn gb_hours(&self, prices: &Prices) -> f64 {
        let (whole, step) = prices.steps_per_gb_hour();
        self.steps as f64 * step as f64 / whole as f64
    }
}

/// A line of a bill.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Line {
    /// What is paid for.
    pub what: String,
    /// How much of it.
    pub quantity: String,
    /// What it costs each.
    pub price: String,
    /// What it costs.
    #[serde(rename = "dollars")]
    pub amount: Amount,
}

/// What a month costs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Bill {
    /// What it is made of.
    pub lines: Vec<Line>,
    /// The sum.
    #[serde(rename = "total_dollars")]
    pub total: Amount,
}

impl Bill {
    fn of(lines: Vec<Line>) -> Bill {
        let total = lines.iter().map(|line| line.amount).sum();
        Bill { lines, total }
    }

    /// For STANDARD; `free` are transitions that cost nothing.
    fn standard(prices: &Prices, usage: &Usage, free: u64) -> Bill {
        let free = u128::from(free).min(usage.transitions);
        let billed = usage.transitions - free;
        let price = prices.standard.dollars_per_1000_transitions;
        let mut lines = Vec::new();
        if free > 0 {
            lines.push(Line {
                what: "state transitions, free".to_owned(),
                quantity: grouped(free),
                price: "$0".to_owned(),
                amount: Amount::default(),
            });
        }
        lines.push(Line {
            what: "state transitions".to_owned(),
            quantity: grouped(billed),
            price: format!("{} for 1,000", price.as_price()),
            amount: price.times(billed, 1_000),
        });
        Bill::of(lines)
    }

    fn express(prices: &Prices, usage: &Usage) -> Bill {
        let price = prices.express.dollars_per_1000000_requests;
        let mut lines = vec![Line {
            what: "requests".to_owned(),
            quantity: grouped(usage.executions),
            price: format!("{} for 1,000,000", price.as_price()),
            amount: price.times(usage.executions, 1_000_000),
        }];
        // Compared in units of a step's share of a GB-hour, which are whole.
        let (whole, step) = prices.steps_per_gb_hour();
        let used = usage.steps.saturating_mul(step);
        let mut begin = 0;
        for tier in &prices.express.tiers {
            let end = tier
                .up_to_gb_hours
                .map_or(u128::MAX, |end| u128::from(end) * whole);
            let here = used.min(end).saturating_sub(begin);
            if here > 0 || begin == 0 {
                lines.push(Line {
                    what: "duration".to_owned(),
                    quantity: format!("{} GB-hours", fraction(here as f64 / whole as f64)),
                    price: format!(
                        "{} for a GB-hour{}",
                        tier.dollars_per_gb_hour.as_price(),
                        scope(begin / whole, tier.up_to_gb_hours)
                    ),
                    amount: tier.dollars_per_gb_hour.times(here, whole),
                });
            }
            begin = end;
        }
        Bill::of(lines)
    }
}

/// Which hours a tier is of.
fn scope(begin: u128, end: Option<u64>) -> String {
    match end {
        Some(end) => format!(" up to {}", grouped(end.into())),
        None => format!(" above {}", grouped(begin)),
    }
}

/// Four digits, with commas.
fn fraction(n: f64) -> String {
    match n {
        n if n >= 1_000.0 => grouped(n.round() as u128),
        n if n >= 10.0 => format!("{n:.2}"),
        n if n >= 0.1 || n == 0.0 => format!("{n:.3}"),
        n => format!("{n:.6}"),
    }
}

/// A month on AWS, as STANDARD and as EXPRESS.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// Of the prices.
    pub region: String,
    /// When the prices were read.
    pub date: String,
    /// Where the prices are from.
    pub source: String,
    /// How many executions.
    pub executions: u128,
    /// Their state transitions.
    pub transitions: u128,
    /// Their durations times memory, rounded up for each.
    pub gb_hours: f64,
    /// The bill as STANDARD.
    pub standard: Bill,
    /// The bill as EXPRESS, or nothing, if the load cannot run so.
    pub express: Option<Bill>,
    /// Why it cannot run as EXPRESS.
    pub not_express: Option<String>,
    /// Where AWS's bill may differ.
    pub notes: Vec<String>,
}

/// What a month of `usage` costs. Without `is_free_tier` all transitions are paid for; `not_express` says why the machine
/// cannot be EXPRESS, if it cannot.
#[must_use]
pub fn compare(
    prices: &Prices,
    usage: &Usage,
    is_free_tier: bool,
    not_express: Option<String>,
) -> Comparison {
    let free = if is_free_tier {
        prices.standard.free_transitions
    } else {
        0
    };
    let not_express = not_express.or_else(|| {
        (usage.longest_ms > EXPRESS_MS_MAX).then(|| {
            format!(
                "an execution takes {} s, and AWS ends EXPRESS executions after five minutes",
                grouped(u128::from(usage.longest_ms / 1_000))
            )
        })
    });
    Comparison {
        region: prices.region.clone(),
        date: prices.date.clone(),
        source: prices.source.clone(),
        executions: usage.executions,
        transitions: usage.transitions,
        gb_hours: usage.gb_hours(prices),
        standard: Bill::standard(prices, usage, free),
        express: not_express.is_none().then(|| Bill::express(prices, usage)),
        not_express,
        notes: notes(prices, usage, is_free_tier),
    }
}

fn notes(prices: &Prices, usage: &Usage, is_free_tier: bool) -> Vec<String> {
    let express = &prices.express;
    let mut notes = vec![
        format!(
            "Prices of {} as of {}, from {}; `quickstep cost --prices` takes others. Taxes and discounts are not in them.",
            prices.region, prices.date, prices.source
        ),
        "Not included: what tasks call (Lambda and other services), CloudWatch Logs and metrics, X-Ray, data transfer, \
         keys of KMS."
            .to_owned(),
        "Transitions are states entered and retries, those within Map and Parallel among them.".to_owned(),
        format!(
            "EXPRESS durations are rounded up to {} ms and memory to {} MB for each execution. AWS measures both; memory \
             is estimated here as its page does: {} MB, the definition, and the data for each iteration of a Map and \
             branch of a Parallel. The times are those of quickstep and of your figures: AWS adds its own between states.",
            express.duration_step_ms, express.memory_step_mb, express.memory_base_mb
        ),
        "Tiers are those of all EXPRESS machines of an account in the region together: beside others, more of this load \
         is in the cheaper ones."
            .to_owned(),
    ];
    if usage.is_bound {
        notes.push(
            "Tasks within a Map or a Parallel run at the same time on AWS. Here their times are added up, so EXPRESS's \
             durations are the most that they can be, and only what surely takes longer than its five minutes is refused. \
             `quickstep cost --duration-ms` says how long an execution takes."
                .to_owned(),
        );
    }
    if is_free_tier {
        notes.push(format!(
            "The {} free transitions a month are the account's, for all its STANDARD machines; `quickstep cost \
             --no-free-tier` leaves them out. EXPRESS has none.",
            grouped(prices.standard.free_transitions.into())
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(executions: u64, transitions: u64, duration_ms: u64, memory_mb: u64) -> Usage {
        let mut usage = Usage::default();
        let execution = Execution {
            transitions,
            duration_ms,
            least_ms: duration_ms,
            memory_bytes: memory_mb * MB,
        };
        usage.add(&Prices::built_in(), execution, executions);
        usage
    }

    fn bills(usage: &Usage) -> (Bill, Bill) {
        let compared = compare(&Prices::built_in(), usage, true, None);
        (compared.standard, compared.express.unwrap())
    }

    #[test]
    fn worked_examples_come_out() {
        // 10,000 executions of five states: 50,000 transitions, 4,000 of them free.
        let (standard, _) = bills(&usage(10_000, 5, 1_000, 64));
        assert_eq!(standard.total.nanos(), 1_150_000_000);
        assert_eq!(standard.total.to_string(), "$1.15");
        // 100,000 executions of four transitions.
        let (standard, _) = bills(&usage(100_000, 4, 1_000, 64));
        assert_eq!(standard.total.to_string(), "$9.90");
        // 1,000,000 executions of 100 ms with 128 MB: 12,500 GB-s.
        let (_, express) = bills(&usage(1_000_000, 5, 100, 128));
        assert_eq!(express.lines[0].amount.to_string(), "$1.00");
        assert_eq!(express.lines[1].amount.to_string(), "$0.21");
        assert_eq!(express.lines[1].quantity, "3.472 GB-hours");
        assert_eq!(express.total.to_string(), "$1.21");
        // AWS's page: a million of 30 s, and a hundred million of 10 s, with 64 MB.
        let (_, express) = bills(&usage(1_000_000, 5, 30_000, 64));
        assert_eq!(express.total.to_string(), "$32.25");
        let (_, express) = bills(&usage(100_000_000, 5, 10_000, 63));
        let amounts: Vec<String> = express
            .lines
            .iter()
            .map(|line| line.amount.to_string())
            .collect();
        assert_eq!(amounts, ["$100.00", "$60.00", "$120.00", "$202.97"]);
        assert_eq!(express.total.to_string(), "$482.97");
    }

    #[test]
    fn each_execution_is_rounded_up() {
        let prices = Prices::built_in();
        for (duration_ms, memory_bytes, steps) in [
            (0, 0, 1),
            (1, 1, 1),
            (100, 64 * MB, 1),
            (101, 64 * MB, 2),
            (100, 64 * MB + 1, 2),
            (7_503, 129 * MB, 76 * 3),
        ] {
            let mut usage = Usage::default();
            usage.add(
                &prices,
                Execution {
                    transitions: 1,
                    duration_ms,
                    least_ms: duration_ms,
                    memory_bytes,
                },
                10,
            );
            assert_eq!(
                usage.steps,
                steps * 10,
                "{duration_ms} ms, {memory_bytes} bytes"
            );
        }
    }

    #[test]
    fn tiers_begin_and_end_where_they_should() {
        // One GB-hour is 576,000 executions of one step.
        let of_hours = |steps_more: u64, hours: u64| {
            let (_, express) = bills(&usage(576_000 * hours + steps_more, 1, 100, 64));
            let quantities = express.lines[1..].iter().map(|line| line.quantity.clone());
            let sum: Amount = express.lines[1..].iter().map(|line| line.amount).sum();
            (quantities.collect::<Vec<_>>(), sum.nanos())
        };
        assert_eq!(
            of_hours(0, 1_000),
            (vec!["1,000 GB-hours".to_owned()], 60_000_000_000)
        );
        // One step more costs the next tier's price: 0.03 / 576,000.
        let (quantities, nanos) = of_hours(1, 1_000);
        assert_eq!((quantities.len(), nanos), (2, 60_000_000_052));
        assert_eq!(of_hours(0, 5_000).1, 180_000_000_000);
        let (quantities, nanos) = of_hours(1, 5_000);
        assert_eq!((quantities.len(), nanos), (3, 180_000_000_029));
    }

    #[test]
    fn free_transitions_end() {
        for (executions, total) in [
            (0, "$0.00"),
            (3_999, "$0.00"),
            (4_000, "$0.00"),
            (4_001, "$0.000025"),
        ] {
            assert_eq!(
                bills(&usage(executions, 1, 1, 1)).0.total.to_string(),
                total
            );
        }
        let all = compare(&Prices::built_in(), &usage(4_000, 1, 1, 1), false, None);
        assert_eq!(all.standard.total.to_string(), "$0.10");
    }

    #[test]
    fn what_takes_too_long_is_not_express() {
        let prices = Prices::built_in();
        assert!(
            compare(&prices, &usage(1, 1, 300_000, 1), true, None)
                .express
                .is_some()
        );
        let long = compare(&prices, &usage(1, 1, 300_001, 1), true, None);
        assert!(long.express.is_none() && long.not_express.unwrap().contains("five minutes"));
    }

    #[test]
    fn who_may_be_quick_enough_is_express() {
        let prices = Prices::built_in();
        let of = |least_ms| {
            let mut usage = Usage::default();
            let execution = Execution {
                transitions: 1,
                duration_ms: 400_000,
                least_ms,
                memory_bytes: 1,
            };
            usage.add(&prices, execution, 1);
            compare(&prices, &usage, true, None)
        };
        assert!(of(300_000).express.is_some() && of(300_001).express.is_none());
        // What is billed is the most, and that is told.
        let text = "at the same time on AWS";
        assert!(of(0).gb_hours > 0.0 && of(0).notes.iter().any(|note| note.contains(text)));
        let known = of(400_000);
        assert!(!known.notes.iter().any(|note| note.contains(text)));
    }

    #[test]
    fn samples_stand_for_more() {
        let prices = Prices::built_in();
        let mut sample = usage(1, 3, 100, 64);
        sample.add(
            &prices,
            Execution {
                transitions: 4,
                duration_ms: 200,
                least_ms: 200,
                memory_bytes: 1,
            },
            1,
        );
        let month = sample.scaled(1_001);
        // 7 transitions and 3 steps of two, for 1,001.
        assert_eq!(
            (month.executions, month.transitions, month.steps),
            (1_001, 3_504, 1_502)
        );
        assert_eq!(Usage::default().scaled(10), Usage::default());
        assert_eq!(month_of(1.0), 2_628_000);
        assert_eq!(month_of(f64::NAN), 0);
    }

    proptest! {
        #[test]
        fn more_never_costs_less(
            executions in 0..1_000_000_000_000_u64,
            transitions in 0..25_000_u64,
            duration_ms in 0..300_000_u64,
            memory_mb in 0..1_000_u64,
            more in 0..1_000_u64,
            which in 0..4,
        ) {
            let (mut e, mut t, mut d, mut m) = (executions, transitions, duration_ms, memory_mb);
            let less = bills(&usage(e, t, d, m));
            *[&mut e, &mut t, &mut d, &mut m][which as usize] += more;
            let more = compare(&Prices::built_in(), &usage(e, t, d, m), true, None);
            prop_assert!(more.standard.total >= less.0.total);
            if let Some(express) = more.express {
                prop_assert!(express.total >= less.1.total);
            }
        }

        #[test]
        fn lines_add_up(executions in 0..1_000_000_000_u64, duration_ms in 0..300_000_u64) {
            let (standard, express) = bills(&usage(executions, 7, duration_ms, 64));
            for bill in [standard, express] {
                let sum: u128 = bill.lines.iter().map(|line| line.amount.nanos()).sum();
                prop_assert_eq!(bill.total.nanos(), sum);
            }
        }

        #[test]
        fn nothing_overflows(n in any::<u64>(), t in any::<u64>(), d in any::<u64>(), m in any::<u64>()) {
            let prices = Prices::built_in();
            let mut usage = Usage::default();
            let execution = Execution { transitions: t, duration_ms: d, least_ms: d, memory_bytes: m };
            usage.add(&prices, execution, n);
            usage.add(&prices, execution, n);
            let compared = compare(&prices, &usage.scaled(n), false, None);
            prop_assert!(compared.standard.lines.len() == 1);
        }
    }
}
