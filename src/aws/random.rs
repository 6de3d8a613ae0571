//! Random numbers for tokens and for the times between attempts.

use rustls::crypto::ring;

/// So many random bytes.
fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    let random = ring::default_provider().secure_random;
    // The system's source does not fail once it has begun; if it did, a token would repeat, and the service say so.
    random.fill(&mut out).ok();
    out
}

/// A name that nobody else has.
pub(super) fn token() -> String {
    uuid::Builder::from_random_bytes(bytes())
        .into_uuid()
        .to_string()
}

/// A number from 0 to 1.
pub(super) fn share() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / f64::from(u32::MAX)
}
