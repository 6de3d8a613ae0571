//! Why a call has no answer.

use std::error::Error as _;
use std::fmt;
use std::io;

/// Why a call has no answer.
#[derive(Debug)]
pub struct Error(Box<Repr>);

#[derive(Debug)]
struct Repr {
    kind: ErrorKind,
    message: String,
    /// Something of the request may have been written.
    may_be_sent: bool,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The address is not one that this client can call.
    InvalidUrl,
    /// The host's name could not be resolved.
    Unresolved,
    /// The filter refuses every address of the host.
    Forbidden,
    /// Nobody listens there.
    Refused,
    /// There is no way there, or the system refuses one more connection.
    Unreachable,
    /// The other side did not prove who it is, or does not speak TLS.
    Tls,
    /// The connection ended before the answer did.
    Reset,
    /// Connecting, or the whole call, took longer than it may.
    TimedOut,
    /// What came is no answer of HTTP.
    Garbage,
    /// The answer is larger than the caller takes.
    TooLarge,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let message = message.into();
        Error(Box::new(Repr {
            kind,
            message,
            may_be_sent: false,
        }))
    }

    /// The same error, after the request may have been written.
    pub(super) fn sent(mut self) -> Error {
        self.0.may_be_sent = true;
        self
    }

    /// Whether the other side may have read the request, and done what it asks for.
    #[must_use]
    pub fn may_be_sent(&self) -> bool {
        self.0.may_be_sent
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed a moment later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self.0.kind {
            ErrorKind::Unresolved
            | ErrorKind::Refused
            | ErrorKind::Unreachable
            | ErrorKind::Reset
            | ErrorKind::TimedOut => true,
            ErrorKind::InvalidUrl
            | ErrorKind::Forbidden
            | ErrorKind::Tls
            | ErrorKind::Garbage
            | ErrorKind::TooLarge => false,
        }
    }

    /// An error of a socket while `what` was done.
    pub(super) fn of_io(what: &str, error: &io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => ErrorKind::Reset,
            io::ErrorKind::TimedOut => ErrorKind::TimedOut,
            _ if error
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>()) =>
            {
                ErrorKind::Tls
            }
            // What frames a body is checked where the body is read.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ErrorKind::Garbage,
            _ => ErrorKind::Unreachable,
        };
        Error::new(kind, format!("{what}: {error}"))
    }

    /// An error of an exchange over a connection to `host`.
    pub(super) fn of_exchange(host: &str, error: &hyper::Error) -> Error {
        if error.is_parse() || error.is_parse_too_large() {
            let message = format!("{host} answered with what is not HTTP: {}", whole(error));
            return Error::new(ErrorKind::Garbage, message);
        }
        let mut source = error.source();
        while let Some(inner) = source {
            if let Some(error) = inner.downcast_ref::<io::Error>() {
                return Error::of_io(&format!("the connection to {host} broke"), error);
            }
            source = inner.source();
        }
        let message = format!(
            "{host} closed the connection before its answer was complete: {}",
            whole(error)
        );
        Error::new(ErrorKind::Reset, message)
    }
}

/// An error with what it was caused by: hyper's own text leaves that out.
fn whole(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}
