//! What benches, fuzz targets and tests of parts need and no program should use: it may change with any release.

mod evaluation;
mod lowered;
mod table;

pub use evaluation::Bench;
pub use lowered::{Bailed, Expression};

/// The write-ahead journal of asynchronous starts.
pub mod journal {
    pub use crate::journal::*;
}

/// The client of AWS's services.
#[cfg(feature = "server")]
pub mod aws {
    pub use crate::aws::*;
}

/// The client of HTTP/1.1 behind calls of other services.
#[cfg(feature = "server")]
pub mod net {
    pub use crate::net::*;
}
