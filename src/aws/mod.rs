//! Calls of AWS's services, any of them: one client, and a table of what there is to call.
//!
//! 1. The service and its operation are looked up in the table ([`services`]); `protocol` makes a request of the
//!    parameters, or says what is wrong with them.
//! 2. `endpoint` says where the service is: at AWS, or wherever somebody has put another one.
//! 3. `credentials` finds whose name the request is sent in, and `sign` signs it.
//! 4. `net` sends it; `retry` says whether to do so again. The answer becomes a result in Step Functions' spelling, or an
//!    [`Error`] with the name that a state's `Catch` knows.
//!
//! Parameters and results are JSON. This module knows nothing of states, engines and servers.

mod client;
mod credentials;
mod endpoint;
mod error;
mod profile;
mod protocol;
mod random;
mod retry;
mod services;
mod sign;

pub use client::{Answer, CallOptions, Client, ClientBuilder, RESULT_BYTES_MAX};
pub use credentials::{Keys, Role};
pub use endpoint::{EndpointError, Endpoints};
pub use error::{Error, ErrorKind};
pub use profile::Environment;
pub use services::Names;
