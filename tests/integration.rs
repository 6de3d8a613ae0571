//! Tasks that services do: executions of the same server, HTTP endpoints, AWS's services behind a scripted endpoint. What came
//! of each task is seen in its execution's history, and in what arrived at the endpoint.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

#[path = "api/client.rs"]
#[expect(dead_code, reason = "the tests of the protocol use the rest of it")]
mod client;
#[path = "conformance/difference.rs"]
#[expect(dead_code, reason = "the other suites use the rest of it")]
mod difference;
#[path = "conformance/pattern.rs"]
mod pattern;

#[path = "integration/endpoint.rs"]
mod endpoint;
#[path = "integration/flags.rs"]
mod flags;
#[path = "integration/http.rs"]
mod http;
#[path = "integration/recorded.rs"]
mod recorded;
#[path = "integration/services.rs"]
mod services;
#[path = "integration/states.rs"]
mod states;
#[path = "integration/support.rs"]
mod support;
