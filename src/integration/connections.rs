//! Connections of HTTP tasks: what EventBridge keeps of them on AWS, from a file here. Who may be called, and how a request
//! says who calls.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use tokio::time::Instant;

use super::encode;
use crate::history::Failure;
use crate::net::{AddressFilter, is_link_local, is_private};
use crate::task::matches;

/// Most bytes of a file of connections.
const BYTES_MAX: u64 = 1024 * 1024;

/// Connections of HTTP tasks, and the addresses that these may call. Its debug text shows no secret.
///
/// ```
/// use quickstep::integration::HttpConnections;
///
/// let text = r#"
///     allow = ["https://api.example.com/v1/*"]
///
///     [[connection]]
///     arn = "arn:aws:events:us-east-1:123456789012:connection/example/*"
///     basic = { username = "me", password = "secret" }
///
///     [[connection]]
///     arn = "*connection/with-key/*"
///     api_key = { name = "X-Api-Key", value = "secret" }
///
///     [[connection]]
///     arn = "*connection/with-oauth/*"
///     oauth = { token_url = "https://auth.example.com/token", client_id = "me", client_secret = "secret" }
/// "#;
/// assert!(HttpConnections::parse(text).is_ok());
/// assert!(HttpConnections::parse("allow = 1").is_err());
/// ```
#[derive(Default)]
pub struct HttpConnections {
    allowed: Vec<Allowed>,
    allow_private: bool,
    allow_link_local: bool,
    connections: Vec<Connection>,
}

impl fmt::Debug for HttpConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.connections.iter().map(|connection| &connection.arn);
        f.debug_set().entries(names).finish()
    }
}

/// Why a file of connections cannot be used. No secret is part of its text.
#[derive(Debug)]
pub struct ConnectionsError(String);

impl fmt::Display for ConnectionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectionsError {}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    allow: Vec<String>,
    #[serde(default)]
    allow_private_addresses: bool,
    #[serde(default)]
    allow_link_local_addresses: bool,
    #[serde(default)]
    connection: Vec<toml::Spanned<Entry>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    arn: String,
    basic: Option<Basic>,
    api_key: Option<ApiKey>,
    oauth: Option<OAuth>,
    #[serde(default)]
    headers: toml::Table,
    #[serde(default)]
    query: toml::Table,
    #[serde(default)]
    body: toml::Table,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Basic {
    username: String,
    password: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiKey {
    name: String,
    value: String,
}

/// OAuth with client credentials.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OAuth {
    pub(super) token_url: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    #[serde(default)]
    pub(super) scope: Option<String>,
}

/// How a request says who calls.
enum Authorization {
    /// A header, always the same.
    Header(String, String),
    /// A token that is asked for.
    OAuth(OAuth, tokio::sync::Mutex<Known>),
}

/// What is known of a token.
#[derive(Default)]
struct Known {
    token: Option<Token>,
    /// Why there was none when it was asked for last.
    failed: Option<(Failure, Instant)>,
}

/// How long such a failure counts.
const FAILURE_TIME: Duration = Duration::from_secs(1);

/// A token of OAuth.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) good_until: Instant,
}

impl Token {
    pub(super) fn new(text: String, seconds: u64) -> Token {
        // It is not to end on its way.
        let seconds = seconds.saturating_sub(30).min(30 * 86_400);
        Token {
            text,
            good_until: Instant::now() + Duration::from_secs(seconds),
        }
    }
}

/// One connection.
pub(super) struct Connection {
    arn: String,
    authorization: Authorization,
    /// Added to every request.
    pub(super) headers: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Vec<(String, Value)>,
}

impl Connection {
    /// The header that says who calls: fixed, or with the token that `fetch` gets. A token that was refused is not used
    /// again.
    pub(super) async fn header(
        &self,
        refused: Option<&str>,
        fetch: impl AsyncFnOnce(&OAuth) -> Result<Token, Failure>,
    ) -> Result<(String, String), Failure> {
        let (oauth, known) = match &self.authorization {
            Authorization::Header(name, value) => return Ok((name.clone(), value.clone())),
            Authorization::OAuth(oauth, known) => (oauth, known),
        };
        // Who comes while a token is asked for waits for it.
        let mut known = known.lock().await;
        let usable = known.token.as_ref().filter(|token| {
            token.good_until > Instant::now()
                && refused.is_none_or(|refused| !refused.ends_with(&token.text))
        });
        let text = match usable {
            Some(token) => token.text.clone(),
            None => {
                // Those who waited for the same failure do not all ask once more.
                let failed = known.failed.as_ref();
                if let Some((failure, _)) = failed.filter(|(_, at)| at.elapsed() < FAILURE_TIME) {
                    return Err(failure.clone());
                }
                match fetch(oauth).await {
                    Ok(token) => {
                        known.failed = None;
                        known.token.insert(token).text.clone()
                    }
                    Err(failure) => {
                        known.failed = Some((failure.clone(), Instant::now()));
                        return Err(failure);
                    }
                }
            }
        };
        Ok(("authorization".to_owned(), format!("Bearer {text}")))
    }

    /// Whether another token may help where one was refused.
    pub(super) fn has_token(&self) -> bool {
        matches!(self.authorization, Authorization::OAuth(..))
    }
}

/// Addresses that may be called: `https://HOST[:PORT]/PATH`; a host may begin with `*.`, a path may end with `*`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Allowed {
    scheme: String,
    host: String,
    port: Option<u16>,
    path: String,
}

impl Allowed {
    fn parse(text: &str) -> Option<Allowed> {
        let (scheme, rest) = text.split_once("://")?;
        if !["http", "https"].contains(&scheme) {
            return None;
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/*"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let bare = host.strip_prefix("*.").unwrap_or(host);
        let is_host = !bare.is_empty() && !bare.contains(['*', '@', '?', '#']);
        let is_path = !path.trim_end_matches('*').contains(['*', '?', '#']);
        (is_host && is_path).then(|| Allowed {
            scheme: scheme.to_owned(),
            host: host.to_ascii_lowercase(),
            port,
            path: path.to_owned(),
        })
    }

    fn matches(&self, uri: &hyper::Uri) -> bool {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let is_host = match self.host.strip_prefix('*') {
            Some(ending) => host.ends_with(ending),
            None => host == self.host,
        };
        let usual = if self.scheme == "https" { 443 } else { 80 };
        let path = uri.path();
        let is_path = match self.path.strip_suffix('*') {
            Some("/") => true,
            // What climbs out of a folder is not in it.
            Some(beginning) => path.starts_with(beginning) && !climbs(path),
            None => path == self.path,
        };
        uri.scheme_str() == Some(&*self.scheme)
            // Who is called is told by the host alone; what stands before an `@` would only make it look otherwise.
            && !has_user(uri)
            && is_host
            && uri.port_u16().unwrap_or(usual) == self.port.unwrap_or(usual)
            && is_path
    }
}

/// Whether something stands before the host and an `@`.
fn has_user(uri: &hyper::Uri) -> bool {
    let authority = uri.authority();
    authority.is_some_and(|authority| authority.as_str().contains('@'))
}

/// Whether a path has a segment `..`, however it is written.
fn climbs(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".");
    let path = path.replace("%2f", "/").replace("%5c", "/");
    path.split(['/', '\\', ';']).any(|segment| segment == "..")
}

impl HttpConnections {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or does not say what it has to.
    pub fn open(path: &Path) -> Result<HttpConnections, ConnectionsError> {
        let named = |problem: String| ConnectionsError(format!("{}: {problem}", path.display()));
        let length = std::fs::metadata(path).map_err(|error| named(error.to_string()))?;
        if length.len() > BYTES_MAX {
            return Err(named(format!("it has more than {BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        HttpConnections::parse(&text).map_err(|error| named(error.0))
    }

    /// Reads what a file holds.
    ///
    /// # Errors
    ///
    /// If it does not say what it has to.
    pub fn parse(text: &str) -> Result<HttpConnections, ConnectionsError> {
        let line = |at: usize| {
            1 + text.as_bytes()[..at]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
        };
        let file: File = toml::from_str(text).map_err(|error| {
            // Its own text would show the line, and with it secrets.
            let at = error.span().map_or(1, |span| line(span.start));
            ConnectionsError(format!("line {at}: {}", error.message()))
        })?;
        let mut allowed = Vec::new();
        for address in &file.allow {
            allowed.push(Allowed::parse(address).ok_or_else(|| {
                ConnectionsError(format!(
                    "allow: {address} is no address such as https://api.example.com/v1/*"
                ))
            })?);
        }
        let mut connections = Vec::new();
        for entry in file.connection {
            let at = line(entry.span().start);
            let connection = checked(entry.into_inner());
            connections.push(
                connection.map_err(|problem| ConnectionsError(format!("line {at}: {problem}")))?,
            );
        }
        Ok(HttpConnections {
            allowed,
            allow_private: file.allow_private_addresses,
            allow_link_local: file.allow_link_local_addresses,
            connections,
        })
    }

    /// The connection that an ARN names.
    pub(super) fn find(&self, arn: &str) -> Option<&Connection> {
        let found = self.connections.iter();
        let mut found = found.filter(|connection| matches(&connection.arn, arn));
        found.next()
    }

    /// Whether an address may be called.
    pub(super) fn allows(&self, uri: &hyper::Uri) -> bool {
        self.allowed.iter().any(|allowed| allowed.matches(uri))
    }

    /// Which addresses of a host may be called.
    pub(super) fn filter(&self) -> AddressFilter {
        let (private, link_local) = (self.allow_private, self.allow_link_local);
        AddressFilter::new(move |address: IpAddr| {
            if is_link_local(address) {
                return link_local;
            }
            private || !is_private(address)
        })
    }
}

fn checked(entry: Entry) -> Result<Connection, String> {
    let authorization = match (entry.basic, entry.api_key, entry.oauth) {
        (Some(basic), None, None) => {
            let text = format!("{}:{}", basic.username, basic.password);
            let text = base64::engine::general_purpose::STANDARD.encode(text);
            Authorization::Header("authorization".to_owned(), format!("Basic {text}"))
        }
        (None, Some(key), None) => {
            let name = hyper::header::HeaderName::try_from(&*key.name);
            name.map_err(|_| "api_key: its name is no name of a header".to_owned())?;
            Authorization::Header(key.name, key.value)
        }
        (None, None, Some(oauth)) => {
            let url = oauth.token_url.parse::<hyper::Uri>().unwrap_or_default();
            if !matches!(url.scheme_str(), Some("http" | "https")) {
                return Err("oauth: token_url is no address".to_owned());
            }
            if has_user(&url) {
                return Err("oauth: token_url has a name or a password before its host".to_owned());
            }
            Authorization::OAuth(oauth, tokio::sync::Mutex::default())
        }
        _ => return Err("a connection has one of basic, api_key and oauth".to_owned()),
    };
    Ok(Connection {
        arn: entry.arn,
        authorization,
        headers: texts(entry.headers)?,
        query: texts(entry.query)?,
        body: values(entry.body)?,
    })
}

fn values(table: toml::Table) -> Result<Vec<(String, Value)>, String> {
    let values = table.into_iter().map(|(name, value)| {
        let value = serde_json::to_value(value).map_err(|_| format!("{name} is no JSON"))?;
        Ok((name, value))
    });
    values.collect()
}

fn texts(table: toml::Table) -> Result<Vec<(String, String)>, String> {
    let values = values(table)?.into_iter();
    Ok(values
        .map(|(name, value)| (name, encode::plain(&value)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_may_be_called() {
        let text = r#"allow = ["https://api.example.com/v1/*", "https://*.example.org", "http://127.0.0.1:8080/x"]"#;
        let connections = HttpConnections::parse(text).unwrap();
        for (address, allowed) in [
            ("https://api.example.com/v1/a", true),
            ("https://API.example.com:443/v1/a?b=c", true),
            ("https://api.example.com/v2/a", false),
            ("https://api.example.com/v1/../v2/a", false),
            ("https://api.example.com/v1/%2E%2e/v2", false),
            ("https://api.example.com/v1/%2e%2e%2fv2", false),
            ("https://api.example.com.evil.com/v1/a", false),
            ("https://api.example.com@evil.com/v1/a", false),
            ("https://x@api.example.com/v1/a", false),
            ("https://x:y@api.example.com/v1/a", false),
            ("http://api.example.com/v1/a", false),
            ("https://api.example.com:8443/v1/a", false),
            ("https://a.example.org/anything/../else", true),
            ("https://example.org/", false),
            ("https://evilexample.org/", false),
            ("http://127.0.0.1:8080/x", true),
            ("http://127.0.0.1:8080/x/y", false),
            ("http://127.0.0.1/x", false),
        ] {
            let uri: hyper::Uri = address.parse().unwrap();
            assert_eq!(connections.allows(&uri), allowed, "{address}");
        }
        for text in [
            "*",
            "ftp://a/",
            "https://a*b/",
            "https:///x",
            "https://a/*/b",
        ] {
            assert_eq!(Allowed::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (text, problem) in [
            ("", "line 1: missing field `allow`"),
            (
                "allow = []\n[[connection]]\narn = \"a\"\nbasic = { username = \"u\", password = \"SECRET\" }\napi_key = { name = \"n\", value = \"SECRET\" }",
                "line 2: a connection has one of basic, api_key and oauth",
            ),
            (
                "allow = []\n[[connection]]\narn = \"a\"\nbasic = { username = \"u\", password = \"SECRET\", more = 1 }",
                "line 4: unknown field `more`, expected `username` or `password`",
            ),
            (
                "allow = []\n[[connection]]\narn = \"a\"\noauth = { token_url = \"https://me:SECRET@a/\", client_id = \"c\", client_secret = \"SECRET\" }",
                "line 2: oauth: token_url has a name or a password before its host",
            ),
            (
                "allow = [\"example.com\"]",
                "allow: example.com is no address such as https://api.example.com/v1/*",
            ),
        ] {
            let error = HttpConnections::parse(text).unwrap_err();
            assert_eq!(error.to_string(), problem);
            assert!(!format!("{error:?}").contains("SECRET"));
        }
    }
}
