//! Whether, and when, a call is tried again: the mode `standard` of AWS's SDKs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::services::{Operation, Service};

/// How often a call is tried in all.
pub(super) const ATTEMPTS_MAX: u32 = 3;

/// Most time between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(20);

/// What an endpoint has to spend on retries, so that one that is down is not called three times as often as one that is
/// well.
const TOKENS_MAX: u32 = 500;

/// What a retry costs, and one after a call that took all its time.
const COST: u32 = 5;
const COST_TIMED_OUT: u32 = 10;

/// What a call that succeeded at once brings back.
const REFUND: u32 = 1;

/// Error codes by which services say that they are called too often.
const THROTTLING: [&str; 16] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
    "KMSThrottlingException",
    "ThrottlingError",
];

/// Error codes of what passes by itself.
const TRANSIENT: [&str; 4] = [
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalError",
    "InternalServerError",
];

/// Whether the same call may succeed a moment later.
pub(super) fn is_retryable(status: u16, code: &str) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
        || THROTTLING.contains(&code)
        || TRANSIENT.contains(&code)
}

/// Whether an answer may come from a service that has done what was asked for, or from one in front of it that does not
/// know. Who is called too often has done nothing.
pub(super) fn may_be_done(status: u16, code: &str) -> bool {
    let is_inner = matches!(code, "InternalError" | "InternalServerError");
    (is_inner || matches!(status, 500 | 502 | 504)) && !THROTTLING.contains(&code)
}

/// What names of operations begin with that change nothing, or nothing that lasts.
const READING: [&str; 8] = [
    "AssumeRole",
    "BatchGet",
    "Describe",
    "Get",
    "Head",
    "List",
    "Query",
    "Scan",
];

/// Whether an operation may be done twice: it reads, or a token of its input makes repeated requests one.
pub(super) fn is_repeatable(service: &Service, operation: &Operation) -> bool {
    // It hands out what then nobody else gets.
    if &*operation.name == "GetActivityTask" {
        return false;
    }
    let input = operation.input.and_then(|input| service.structure(input));
    matches!(operation.method(), "GET" | "HEAD")
        || READING
            .iter()
            .any(|prefix| operation.name.starts_with(prefix))
        || input.is_some_and(|input| input.members.iter().any(|member| member.is_token()))
}

/// How long to wait before the attempt after `attempt` (the first is 1): a share of 1, 2, 4 … seconds.
pub(super) fn backoff(attempt: u32, share: f64) -> Duration {
    let seconds = 2_u64.saturating_pow(attempt.saturating_sub(1));
    let longest = Duration::from_secs(seconds).min(BACKOFF_MAX);
    longest.mul_f64(share.clamp(0.0, 1.0))
}

/// How long the service asks to be left alone: seconds in `Retry-After`, milliseconds in `x-amz-retry-after`.
pub(super) fn asked_for(headers: &hyper::HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let millis = number("x-amz-retry-after").map(Duration::from_millis);
    let asked = millis.or_else(|| number("retry-after").map(Duration::from_secs))?;
    Some(asked.min(BACKOFF_MAX))
}

/// What may be spent on retries.
#[derive(Debug)]
pub(super) struct Bucket(AtomicU32);

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket(AtomicU32::new(TOKENS_MAX))
    }
}

/// What a retry has cost, to be given back if it succeeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Spent(u32);

impl Bucket {
    /// Takes what a retry costs, if it is there.
    pub(super) fn take(&self, has_timed_out: bool) -> Option<Spent> {
        let cost = if has_timed_out { COST_TIMED_OUT } else { COST };
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(cost)
            });
        taken.ok().map(|_| Spent(cost))
    }

    /// A call succeeded, after a retry that cost so much or without any.
    pub(super) fn succeeded(&self, spent: Option<Spent>) {
        let back = spent.map_or(REFUND, |spent| spent.0);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                (left < TOKENS_MAX).then(|| (left + back).min(TOKENS_MAX))
            })
            // It was full.
            .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::services::Services;

    #[test]
    fn what_is_tried_again() {
        for (status, code, again) in [
            (400, "ThrottlingException", true),
            (400, "ProvisionedThroughputExceededException", true),
            (400, "ConditionalCheckFailedException", false),
            (400, "RequestTimeout", true),
            (403, "AccessDenied", false),
            (429, "", true),
            (500, "", true),
            (501, "", false),
            (503, "SlowDown", true),
        ] {
            assert_eq!(is_retryable(status, code), again, "{status} {code}");
        }
    }

    #[test]
    fn what_may_be_done_already() {
        for (status, code, may) in [
            (500, "", true),
            (502, "", true),
            (504, "", true),
            (400, "InternalServerError", true),
            (503, "SlowDown", false),
            (500, "ThrottlingException", false),
            (429, "", false),
            (400, "RequestTimeout", false),
        ] {
            assert_eq!(may_be_done(status, code), may, "{status} {code}");
        }
        for (service, action, repeatable) in [
            ("dynamodb", "getItem", true),
            ("dynamodb", "putItem", false),
            ("dynamodb", "query", true),
            // They have a token.
            ("dynamodb", "transactWriteItems", true),
            ("batch", "submitJob", false),
            ("sqs", "sendMessage", false),
            ("lambda", "invoke", false),
            ("s3", "headObject", true),
            ("s3", "putObject", false),
            ("sfn", "getActivityTask", false),
            ("sts", "assumeRoleWithWebIdentity", true),
        ] {
            let service = Services::get().find(service).unwrap();
            let operation = &service.operations[action];
            assert_eq!(is_repeatable(&service, operation), repeatable, "{action}");
        }
    }

    #[test]
    fn times_between_attempts() {
        let millis = |attempt, share| backoff(attempt, share).as_millis();
        assert_eq!(
            [1, 2, 3, 9].map(|n| millis(n, 1.0)),
            [1_000, 2_000, 4_000, 20_000]
        );
        assert_eq!(millis(2, 0.25), 500);
        assert_eq!(millis(u32::MAX, 1.0), 20_000);
        for (name, value, asked) in [
            ("retry-after", "3", Some(3_000)),
            ("retry-after", "86400", Some(20_000)),
            ("retry-after", "soon", None),
            ("x-amz-retry-after", "250", Some(250)),
        ] {
            let mut headers = hyper::HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let found = asked_for(&headers).map(|asked| asked.as_millis());
            assert_eq!(found, asked, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_spent_comes_back_with_success() {
        let bucket = Bucket::default();
        let mut spent = None;
        let mut count = 0;
        while let Some(cost) = bucket.take(false) {
            spent = Some(cost);
            count += 1;
        }
        assert_eq!(count, TOKENS_MAX / COST);
        bucket.succeeded(spent);
        assert_eq!(bucket.take(true), None);
        assert!(bucket.take(false).is_some());
        for _ in 0..COST {
            bucket.succeeded(None);
        }
        assert!(bucket.take(false).is_some());
        assert_eq!(bucket.take(false), None);
    }
}
