//! "Did you mean …": the nearest known name, within a budget that keeps reading linear.

/// Names further away than this are not suggested.
const DISTANCE_MAX: usize = 3;
/// Longer names are not compared.
const LENGTH_MAX: usize = 80;
/// How many comparisons one definition may cost.
const COMPARISONS_MAX: usize = 100_000;

/// What is left of the comparisons that one definition may cost.
#[derive(Debug)]
pub(crate) struct Suggester {
    comparisons: usize,
}

impl Suggester {
    pub(crate) fn new() -> Suggester {
        Suggester {
            comparisons: COMPARISONS_MAX,
        }
    }

    /// The candidate that is most like `name`, if one is near enough.
    pub(crate) fn nearest<'c>(
        &mut self,
        name: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<&'c str> {
        let wanted: Vec<char> = name.chars().take(LENGTH_MAX + 1).collect();
        if wanted.is_empty() || wanted.len() > LENGTH_MAX {
            return None;
        }
        let allowed = DISTANCE_MAX.min(wanted.len().div_ceil(3));
        let mut best: Option<(usize, &str)> = None;
        for candidate in candidates {
            if self.comparisons == 0 {
                break;
            }
            self.comparisons -= 1;
            let limit = best.map_or(allowed, |(d, _)| d.saturating_sub(1));
            if candidate == name || candidate.len() > 4 * LENGTH_MAX {
                continue;
            }
            if let Some(distance) = distance(&wanted, candidate, limit)
                && best.is_none_or(|(d, _)| distance < d)
            {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }

    /// As [`Suggester::nearest`], as a question.
    pub(crate) fn question<'c>(
        &mut self,
        name: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<String> {
        self.nearest(name, candidates)
            .map(|candidate| format!("did you mean `{candidate}`?"))
    }
}

/// Insertions, deletions, substitutions and swaps of neighbours between the two, ASCII case aside (a difference in
/// nothing but case counts as none); `None` past `limit`.
fn distance(a: &[char], b: &str, limit: usize) -> Option<usize> {
    let b: Vec<char> = b.chars().take(LENGTH_MAX + DISTANCE_MAX + 1).collect();
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    let mut current = vec![0; b.len() + 1];
    for i in 1..=a.len() {
        current[0] = i;
        for j in 1..=b.len() {
            let same = a[i - 1].eq_ignore_ascii_case(&b[j - 1]);
            let mut cost = (previous[j] + 1)
                .min(current[j - 1] + 1)
                .min(previous[j - 1] + usize::from(!same));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before[j - 2] + 1);
            }
            current[j] = cost;
        }
        if current.iter().all(|d| *d > limit) {
            return None;
        }
        (before, previous, current) = (previous, current, before);
    }
    (previous[b.len()] <= limit).then_some(previous[b.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_or_none() {
        let known = ["Next", "End", "Resource", "ResultPath", "ResultSelector"];
        for (name, expected) in [
            ("next", Some("Next")),
            ("Nxet", Some("Next")),
            ("Resouce", Some("Resource")),
            ("ResultsPath", Some("ResultPath")),
            ("Nothing", None),
            ("X", None),
            ("", None),
        ] {
            assert_eq!(Suggester::new().nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn the_budget_ends_the_search() {
        let mut suggester = Suggester { comparisons: 1 };
        assert_eq!(suggester.nearest("Nex", ["End", "Next"]), None);
        assert_eq!(suggester.nearest("Nex", ["Next"]), None);
    }
}
