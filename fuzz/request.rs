//! Requests of the server: heads, signatures, envelopes, operations, and the lines of streamed bodies.
//!
//! Whatever a client sends has an answer in JSON, which is no defect's.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = quickstep::server::fuzz::request(input);
});
