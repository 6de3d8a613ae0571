//! [`ApiError`]: what a client is told when its request cannot be done, in AWS's shapes and words.

use super::write::Object;
use crate::store::StoreError;

/// An error of the API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ApiError {
    /// The shape's name, `__type`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// HTTP status.
    pub(crate) status: u16,
    /// `reason` of a ValidationException.
    pub(crate) reason: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            message: message.into(),
            status: 400,
            reason: None,
        }
    }

    pub(crate) fn with_status(mut self, status: u16) -> ApiError {
        self.status = status;
        self
    }

    /// A request that breaks a rule which its model does not state.
    pub(crate) fn validation(message: impl Into<String>) -> ApiError {
        ApiError::new("ValidationException", message)
    }

    /// The same, with its `reason`.
    pub(crate) fn validation_for(reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            reason: Some(reason),
            ..ApiError::validation(message)
        }
    }

    pub(crate) fn invalid_arn(what: &str) -> ApiError {
        ApiError::new("InvalidArn", format!("Invalid Arn: '{what}'"))
    }

    pub(crate) fn invalid_name(name: &str) -> ApiError {
        ApiError::new("InvalidName", format!("Invalid Name: '{name}'"))
    }

    pub(crate) fn invalid_token() -> ApiError {
        ApiError::new("InvalidToken", "Invalid Token: 'Invalid token'")
    }

    pub(crate) fn no_machine(arn: &str) -> ApiError {
        ApiError::new(
            "StateMachineDoesNotExist",
            format!("State Machine Does Not Exist: '{arn}'"),
        )
    }

    pub(crate) fn no_execution(arn: &str) -> ApiError {
        ApiError::new(
            "ExecutionDoesNotExist",
            format!("Execution Does Not Exist: '{arn}'"),
        )
    }

    pub(crate) fn execution_exists(arn: &str) -> ApiError {
        ApiError::new(
            "ExecutionAlreadyExists",
            format!("Execution Already Exists: '{arn}'"),
        )
    }

    pub(crate) fn no_activity(arn: &str) -> ApiError {
        ApiError::new(
            "ActivityDoesNotExist",
            format!("Activity Does Not Exist: '{arn}'"),
        )
    }

    pub(crate) fn no_resource(arn: &str) -> ApiError {
        ApiError::new("ResourceNotFound", format!("Resource not found: '{arn}'"))
    }

    pub(crate) fn type_not_supported() -> ApiError {
        ApiError::new(
            "StateMachineTypeNotSupported",
            "This operation is not supported by this type of state machine",
        )
    }

    /// A defect, or a disk that refused.
    pub(crate) fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new("InternalFailure", message).with_status(500)
    }

    /// The body that says so.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.message.len());
        let mut object = Object::new(&mut out);
        object.string("__type", self.code);
        object.string("message", &self.message);
        if let Some(reason) = self.reason {
            object.string("reason", reason);
        }
        object.end();
        out
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        ApiError::internal(error.to_string())
    }
}
