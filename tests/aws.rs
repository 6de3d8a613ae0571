//! Calls of AWS's services: against moto, which has services of each protocol, and against servers that fail in every way
//! there is.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
mod client;

mod aws {
    mod credentials;
    mod faults;
    mod logs;
    mod moto;
    mod net;
    mod scripted;
}
