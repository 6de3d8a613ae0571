//! Bounds of what clients may ask for.

use std::time::Duration;

/// Most bytes of a request's body, unless an option says otherwise. The longest definition that AWS takes may double by
/// its escapes.
pub const REQUEST_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Most bytes of the bodies of requests that are being read or done, of all connections together,
/// unless an option says otherwise.
pub const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Most bytes of a request's line and headers together, unless an option says otherwise.
pub const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take for the headers of a request, or leave a connection idle, unless an option says otherwise.
pub const HEADERS_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a client may take for a body, unless an option says otherwise.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a client may read nothing of an answer, unless an option says otherwise.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(30);

/// Most connections at a time, unless an option says otherwise.
pub const CONNECTIONS_MAX: usize = 16_384;

/// How long requests under way are waited for at the end, unless an option says otherwise.
pub const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(10);

/// How long `GetActivityTask` waits for a task.
pub(crate) const POLL_TIME_MAX: Duration = Duration::from_secs(60);

/// Executions that have ended and are still known.
pub(crate) const EXECUTIONS_ENDED_MAX: usize = 100_000;

/// Bytes of the histories of executions that have ended; the oldest are forgotten beyond it.
pub(crate) const HISTORIES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Most EXPRESS executions whose histories are kept.
pub const EXPRESS_HISTORY_MAX: usize = 1_000_000;

/// Log groups that are open at a time.
pub(crate) const LOG_GROUPS_MAX: usize = 1_000;

/// Bytes at which a log group's file is put aside, unless an option says otherwise.
pub const LOG_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of a segment of the journal, of which there are three at least; and most bytes of one commit. Smaller than those
/// of an embedder's engine: a server that only has some small machines is not to take much of the disk.
pub(crate) const JOURNAL_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
pub(crate) const JOURNAL_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Most events of a STANDARD execution.
pub(crate) const EVENTS_MAX: usize = 25_000;

/// Most bytes of one execution's history. AWS has no such bound; here it is memory.
pub(crate) const HISTORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of events in one page of a history.
pub(crate) const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most tags of a resource.
pub(crate) const TAGS_MAX: usize = 50;

/// Most versions of a state machine.
pub(crate) const VERSIONS_MAX: usize = 1_000;

/// Most aliases of a state machine.
pub(crate) const ALIASES_MAX: usize = 100;

/// Most state machines, and most activities.
pub(crate) const RESOURCES_MAX: usize = 100_000;
