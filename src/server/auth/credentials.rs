//! Who may sign requests: a file of access keys.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;

use crate::stdx::Timestamp;

/// Most bytes of a file of credentials.
const BYTES_MAX: u64 = 1024 * 1024;

/// Most characters of an access key's id, as on AWS.
const ID_CHARS_MAX: usize = 128;

/// Access keys and their secrets. Its debug text does not show the latter.
///
/// ```
/// use quickstep::server::Credentials;
///
/// let text = r#"
///     [[credentials]]
///     access_key_id = "AKIDEXAMPLE"
///     secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
///
///     [[credentials]]
///     access_key_id = "ASIATEMPORARY"
///     secret_access_key = "another"
///     session_token = "optional"
///     expires = 2027-01-01T00:00:00Z
/// "#;
/// assert!(Credentials::parse(text).is_ok());
/// assert!(Credentials::parse("").is_err());
/// ```
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<Box<str>, Credential>);

/// One access key.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) secret: Box<str>,
    session_token: Option<Box<str>>,
    pub(super) expires: Option<Timestamp>,
}

impl Credential {
    /// Whether a request has the token that belongs to the key: none, if the key has none.
    pub(super) fn has_token(&self, given: Option<&[u8]>) -> bool {
        match (&self.session_token, given) {
            (None, None) => true,
            (Some(token), Some(given)) => bool::from(token.as_bytes().ct_eq(given)),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a file of credentials cannot be used. No secret is part of its text.
#[derive(Debug)]
pub struct CredentialsError {
    path: Option<PathBuf>,
    problem: String,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for CredentialsError {}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    credentials: Vec<toml::Spanned<Entry>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expires: Option<toml::value::Datetime>,
}

/// The line that a place in a text is on, from 1.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|b| **b == b'\n').count()
}

impl Entry {
    fn checked(self) -> Result<(Box<str>, Credential), String> {
        let id = self.access_key_id;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(allowed) {
            return Err(format!(
                "access_key_id has to be 1 to {ID_CHARS_MAX} letters, digits, '_', '-' or '.'"
            ));
        }
        if self.secret_access_key.is_empty() {
            return Err("secret_access_key is empty".to_owned());
        }
        if self.session_token.as_deref() == Some("") {
            return Err("session_token is empty; leave it out if there is none".to_owned());
        }
        let expires = match self.expires {
            None => None,
            Some(at) => Some(Timestamp::parse(&at.to_string()).map_err(|_| {
                "expires has to be a date and a time with its zone, as 2027-01-01T00:00:00Z"
                    .to_owned()
            })?),
        };
        let credential = Credential {
            secret: self.secret_access_key.into(),
            session_token: self.session_token.map(Into::into),
            expires,
        };
        Ok((id.into(), credential))
    }
}

impl Credentials {
    /// Reads credentials from TOML: a table `[[credentials]]` for each access key, with `access_key_id` and
    /// `secret_access_key`, and maybe `session_token` and `expires`.
    ///
    /// # Errors
    ///
    /// If the text is not such TOML, has no access key or one twice.
    pub fn parse(text: &str) -> Result<Credentials, CredentialsError> {
        let wrong = |problem: String| CredentialsError {
            path: None,
            problem,
        };
        // The error's own text shows the line, and with it maybe a secret.
        let file: File = toml::from_str(text).map_err(|error| match error.span() {
            Some(span) => wrong(format!(
                "line {}: {}",
                line(text, span.start),
                error.message()
            )),
            None => wrong(error.message().to_owned()),
        })?;
        let mut found = BTreeMap::new();
        for entry in file.credentials {
            let at = line(text, entry.span().start);
            let here = |problem: String| wrong(format!("line {at}: {problem}"));
            let (id, credential) = entry.into_inner().checked().map_err(here)?;
            if found.contains_key(&id) {
                return Err(here(format!("access_key_id {id} is there twice")));
            }
            found.insert(id, credential);
        }
        if found.is_empty() {
            let problem = "there are no [[credentials]]: nobody could sign a request";
            return Err(wrong(problem.to_owned()));
        }
        Ok(Credentials(found))
    }

    /// Reads a file of them.
    ///
    /// # Errors
    ///
    /// As [`Credentials::parse`], or if the file cannot be read.
    pub fn open(path: &Path) -> Result<Credentials, CredentialsError> {
        let here = |problem: String| CredentialsError {
            path: Some(path.to_owned()),
            problem,
        };
        let length = std::fs::metadata(path).map_err(|error| here(error.to_string()))?;
        if length.len() > BYTES_MAX {
            return Err(here(format!("more than {BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| here(error.to_string()))?;
        Credentials::parse(&text).map_err(|error| here(error.problem))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Credential> {
        self.0.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        let text = "[[credentials]]\naccess_key_id = \"A\"\nsecret_access_key = \"s3cret\"\n\n\
                    [[credentials]]\naccess_key_id = \"B\"\nsecret_access_key = \"x\"\n\
                    session_token = \"t\"\nexpires = 1970-01-01T00:00:01Z\n";
        let credentials = Credentials::parse(text).unwrap();
        assert_eq!(format!("{credentials:?}"), r#"{"A", "B"}"#);
        let (a, b) = (credentials.get("A").unwrap(), credentials.get("B").unwrap());
        assert_eq!((&*a.secret, a.expires), ("s3cret", None));
        assert_eq!(b.expires, Some(Timestamp::from_millis(1_000)));
        for (credential, token, expected) in [
            (a, None, true),
            (a, Some(&b"t"[..]), false),
            (b, None, false),
            (b, Some(b"t"), true),
            (b, Some(b"T"), false),
            (b, Some(b"tt"), false),
        ] {
            assert_eq!(credential.has_token(token), expected);
        }
        assert!(credentials.get("C").is_none());
    }

    #[test]
    fn errors_say_where_and_show_no_secret() {
        let one = "[[credentials]]\naccess_key_id = \"A\"\nsecret_access_key = \"s3cret\"\n";
        for (text, expected) in [
            (
                "# nothing\n".to_owned(),
                "there are no [[credentials]]: nobody could sign a request",
            ),
            (
                format!("{one}{one}"),
                "line 4: access_key_id A is there twice",
            ),
            (
                format!("{one}secret = \"s3cret\"\n"),
                "line 4: unknown field `secret`, expected one of",
            ),
            (
                format!("{one}secret_access_key = \"s3cret\"\n"),
                "line 4: duplicate key",
            ),
            (
                "[[credentials]]\naccess_key_id = \"A\"\n".to_owned(),
                "line 1: missing field `secret_access_key`",
            ),
            (
                "[[credentials]]\naccess_key_id = \"A/B\"\nsecret_access_key = \"s3cret\"\n"
                    .to_owned(),
                "line 1: access_key_id has to be",
            ),
            (
                format!("{one}expires = 2027-01-01\n"),
                "line 1: expires has to be",
            ),
            (
                format!("{one}session_token = \"\"\n"),
                "line 1: session_token is empty",
            ),
            (
                "[[credentials]]\naccess_key_id = \"A\"\nsecret_access_key = \"\"\n".to_owned(),
                "line 1: secret_access_key is empty",
            ),
        ] {
            let error = Credentials::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        let error = Credentials::open(Path::new("/nowhere/c.toml")).unwrap_err();
        assert!(
            error.to_string().starts_with("/nowhere/c.toml: "),
            "{error}"
        );
    }
}
