//! A client of HTTP/1.1: pooled connections, with and without TLS, and a bound on everything that another side decides.
//!
//! 1. A request waits for one of its origin's connections: at most [`Limits::connections_max`] are open at a time.
//! 2. It takes the one that was used last, or opens one: the name is resolved, addresses that the [`AddressFilter`]
//!    refuses are left out, and the others are tried in turn.
//! 3. The answer is read up to a bound. A connection whose answer was read to its end goes back; any other is closed,
//!    among them those of a call that was dropped.
//!
//! There are no redirects, no cookies, no compression and no retries: whoever calls knows what an answer means, and
//! what may be sent twice. This module knows nothing of AWS.

mod address;
mod client;
mod connect;
mod error;
mod pool;

pub use address::{AddressFilter, is_link_local, is_private};
pub(crate) use client::shown;
pub use client::{Client, ClientBuilder, Limits, Request, Response};
pub use error::{Error, ErrorKind};
