//! Why a call has no result.

use std::fmt;

use crate::net;

/// What kind of thing went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such service or action.
    Unknown,
    /// The parameters are not those of the action. Nothing was sent.
    Parameters,
    /// There are no credentials, or the role cannot be had. Nothing was sent.
    Credentials,
    /// The service answered that it will not.
    Service,
    /// There was no answer; why, the kind says.
    Transport(net::ErrorKind),
    /// The answer is not what this service answers.
    Garbage,
    /// The answer, or the result in it, is larger than a state may have.
    TooLarge,
}

/// Why a call has no result.
#[derive(Clone, Debug)]
pub struct Error(Box<Repr>);

#[derive(Clone, Debug)]
struct Repr {
    kind: ErrorKind,
    name: String,
    code: Option<String>,
    message: String,
    service: String,
    status: Option<u16>,
    request_id: Option<String>,
    extended_request_id: Option<String>,
    is_retryable: bool,
    may_be_done: bool,
    attempts: u32,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, name: &str, service: &str, message: String) -> Error {
        Error(Box::new(Repr {
            kind,
            name: name.to_owned(),
            code: None,
            message,
            service: service.to_owned(),
            status: None,
            request_id: None,
            extended_request_id: None,
            is_retryable: false,
            may_be_done: false,
            attempts: 1,
        }))
    }

    /// What a client, not the service, says: such errors have one name for each service, as in AWS's SDKs.
    pub(super) fn of_client(kind: ErrorKind, service: &str, message: String) -> Error {
        Error::new(
            kind,
            &format!("{service}.SdkClientException"),
            service,
            message,
        )
    }

    pub(super) fn of_transport(service: &str, error: &net::Error) -> Error {
        let kind = match error.kind() {
            net::ErrorKind::TooLarge => {
                let message = error.to_string();
                return Error::new(ErrorKind::TooLarge, DATA_LIMIT, service, message);
            }
            kind => ErrorKind::Transport(kind),
        };
        let mut out = Error::of_client(kind, service, error.to_string());
        out.0.is_retryable = error.is_passing();
        out.0.may_be_done = error.may_be_sent();
        out
    }

    pub(super) fn with_answer(mut self, status: u16, request_id: Option<&str>) -> Error {
        self.0.status = Some(status);
        self.0.request_id = request_id.map(str::to_owned);
        self
    }

    pub(super) fn with_code(mut self, code: &str) -> Error {
        self.0.code = Some(code.to_owned());
        self
    }

    pub(super) fn with_extended_id(mut self, id: Option<&str>) -> Error {
        self.0.extended_request_id = id.map(str::to_owned);
        self
    }

    pub(super) fn retryable(mut self, is_retryable: bool, may_be_done: bool) -> Error {
        self.0.is_retryable = is_retryable;
        self.0.may_be_done = may_be_done;
        self
    }

    /// Whether the service may have done what was asked for, all the same.
    pub(super) fn may_be_done(&self) -> bool {
        self.0.may_be_done
    }

    pub(super) fn after_attempts(mut self, attempts: u32) -> Error {
        self.0.attempts = attempts;
        self
    }

    /// How often the call was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The name of the error as `ErrorEquals` knows it: `DynamoDb.ConditionalCheckFailedException`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What the service itself calls the error, if it is the service's: `ConditionalCheckFailedException`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// What the service, or the client, says of it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The service as error names begin: `DynamoDb`.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// The status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What the service calls the request, if it has said.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Whether the same call may succeed a moment later. It has been tried again already, as often as it may and as is
    /// safe.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.is_retryable
    }

    /// The cause as a state's failure has it: the message, and for a service's error who says so, in the words of the SDK
    /// that Step Functions calls with.
    #[must_use]
    pub fn cause(&self) -> String {
        let (ErrorKind::Service, Some(status)) = (self.0.kind, self.0.status) else {
            return self.0.message.clone();
        };
        let id = self.0.request_id.as_deref().unwrap_or("null");
        let extended = match &self.0.extended_request_id {
            Some(id) => format!(", Extended Request ID: {id}"),
            None => String::new(),
        };
        format!(
            "{} (Service: {}, Status Code: {status}, Request ID: {id}{extended})",
            self.0.message, self.0.service
        )
    }
}

/// The name of what is too large for a state.
pub(super) const DATA_LIMIT: &str = "States.DataLimitExceeded";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.name, self.cause())
    }
}

impl std::error::Error for Error {}
