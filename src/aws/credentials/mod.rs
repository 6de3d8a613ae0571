//! In whose name requests are sent: keys, roles, and where keys come from.
//!
//! The chain is the usual one of AWS's SDKs: variables, the profile in the shared files, a web identity, the container's
//! service, the instance's service. It is here, and not `aws-config`: that would, by our estimate, bring a second HTTP client and generated
//! clients of three services, 60 crates and more in all, for what these files do with the client that is there.
//! Single sign-on is not a part of it; a profile with it is refused with the command that helps.

mod chain;
mod remote;

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::stdx::Timestamp;

pub(super) use chain::{Chain, Found, Source, Sts};
pub(super) use remote::Remote;

/// What is refreshed so long before it ends.
const REFRESH_BEFORE: Duration = Duration::from_secs(300);

/// An access key, with what belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expires: Option<SystemTime>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest is nobody's business.
        f.debug_struct("Keys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys that do not end.
    #[must_use]
    pub fn new(access_key_id: &str, secret_access_key: &str, session_token: Option<&str>) -> Keys {
        Keys {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
            session_token: session_token.map(str::to_owned),
            expires: None,
        }
    }

    /// The public half.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// Keys that services made for tests take; they are no secret.
    pub(super) fn placeholder() -> Keys {
        Keys::new("test", "test", None)
    }

    pub(super) fn to_credentials(&self) -> aws_credential_types::Credentials {
        aws_credential_types::Credentials::new(
            self.access_key_id.as_str(),
            self.secret_access_key.as_str(),
            self.session_token.clone(),
            self.expires,
            "quickstep",
        )
    }

    /// Keys as services give them in JSON, whose names differ.
    fn of_json(value: &Value) -> Option<Keys> {
        let text = |names: [&str; 2]| {
            let mut found = names
                .into_iter()
                .filter_map(|name| value.get(name)?.as_str());
            found.next().map(str::to_owned)
        };
        let expires = text(["Expiration", "expiration"]);
        let expires = expires.and_then(|text| Timestamp::parse(&text).ok());
        Some(Keys {
            access_key_id: text(["AccessKeyId", "accessKeyId"])?,
            secret_access_key: text(["SecretAccessKey", "secretAccessKey"])?,
            session_token: text(["SessionToken", "Token"]),
            expires: expires.map(|at| {
                let millis = u64::try_from(at.millis()).unwrap_or_default();
                SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
            }),
        })
    }

    /// Whether they should be replaced.
    fn is_ending(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| now + REFRESH_BEFORE >= end)
    }

    /// Whether they are of no use any more.
    fn has_ended(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|end| now >= end)
    }
}

/// A role that calls are made in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What whoever owns it asks for besides.
    pub external_id: Option<String>,
    /// The name of the session, as logs show it.
    pub session_name: Option<String>,
}

impl Role {
    /// A role that needs nothing but its ARN.
    #[must_use]
    pub fn new(arn: &str) -> Role {
        Role {
            arn: arn.to_owned(),
            external_id: None,
            session_name: None,
        }
    }

    /// The parameters of STS's AssumeRole.
    fn parameters(&self) -> Value {
        let session = self.session_name.as_deref().unwrap_or("quickstep");
        let mut out = serde_json::json!({"RoleArn": self.arn, "RoleSessionName": session});
        if let Some(id) = &self.external_id {
            out["ExternalId"] = Value::from(id.as_str());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_end() {
        let value = json!({
            "AccessKeyId": "a", "SecretAccessKey": "secret", "Token": "t", "Expiration": "2030-01-01T00:00:00Z"
        });
        let keys = Keys::of_json(&value).unwrap();
        let end = keys.expires.unwrap();
        let before = |seconds| end - Duration::from_secs(seconds);
        for (now, ending, ended) in [
            (before(3_600), false, false),
            (before(300), true, false),
            (before(1), true, false),
            (end, true, true),
        ] {
            assert_eq!((keys.is_ending(now), keys.has_ended(now)), (ending, ended));
        }
        assert!(!Keys::placeholder().is_ending(end));
        assert!(!format!("{keys:?}").contains("secret"));
        assert_eq!(Keys::of_json(&json!({"AccessKeyId": "a"})), None);
    }
}
