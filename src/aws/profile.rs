//! What the environment says: variables, and AWS's files of profiles.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::stdx::FixedMap;

/// Most bytes of a file of profiles.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The variables of a process, and the files that they lead to. Files are read when they are first needed.
#[derive(Default)]
pub struct Environment {
    variables: FixedMap<String, String>,
    profiles: OnceLock<Result<Profiles, String>>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // There are secrets in it.
        f.write_str("Environment")
    }
}

impl Environment {
    /// An environment of these variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Environment {
        Environment {
            variables: variables.into_iter().collect(),
            profiles: OnceLock::new(),
        }
    }

    /// A variable that has a value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The profile that is asked for, and whether somebody has named it.
    pub(super) fn profile_name(&self) -> (&str, bool) {
        match self
            .get("AWS_PROFILE")
            .or_else(|| self.get("AWS_DEFAULT_PROFILE"))
        {
            Some(name) => (name, true),
            None => ("default", false),
        }
    }

    /// The profiles in the files.
    pub(super) fn profiles(&self) -> Result<&Profiles, String> {
        let profiles = self.profiles.get_or_init(|| self.read_profiles());
        profiles.as_ref().map_err(Clone::clone)
    }

    /// A property of the profile that is asked for; nothing if the files cannot be read, which is told where they are
    /// needed.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        let profiles = self.profiles().ok()?;
        profiles.profile(self.profile_name().0)?.get(name)
    }

    fn read_profiles(&self) -> Result<Profiles, String> {
        let mut out = Profiles::default();
        for (variable, name, kind) in [
            ("AWS_CONFIG_FILE", "config", FileKind::Config),
            (
                "AWS_SHARED_CREDENTIALS_FILE",
                "credentials",
                FileKind::Credentials,
            ),
        ] {
            let home = || self.get("HOME").or_else(|| self.get("USERPROFILE"));
            let path = match self.get(variable) {
                Some(path) => PathBuf::from(path),
                None => match home() {
                    Some(home) => PathBuf::from(home).join(".aws").join(name),
                    None => continue,
                },
            };
            let text = match std::fs::metadata(&path) {
                Ok(found) if found.len() > FILE_BYTES_MAX => {
                    return Err(format!("{} exceeds {FILE_BYTES_MAX} bytes", path.display()));
                }
                Ok(_) => std::fs::read_to_string(&path)
                    .map_err(|error| format!("failed to read {}: {error}", path.display()))?,
                // There need not be one.
                Err(_) => continue,
            };
            out.add(&text, kind);
        }
        Ok(out)
    }

    /// The region that is asked for.
    pub(super) fn region(&self) -> Option<&str> {
        let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let variable = variables.into_iter().find_map(|name| self.get(name));
        variable.or_else(|| self.property("region"))
    }

    /// Where a service is said to be, by variables and profiles: its own address, or one for all.
    pub(super) fn endpoint(&self, service_id: &str) -> Option<&str> {
        if self.is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
            return None;
        }
        let id = service_id.replace([' ', '-'], "_");
        let own = format!("AWS_ENDPOINT_URL_{}", id.to_ascii_uppercase());
        if let Some(url) = self.get(&own).or_else(|| self.get("AWS_ENDPOINT_URL")) {
            return Some(url);
        }
        let profiles = self.profiles().ok()?;
        let profile = profiles.profile(self.profile_name().0)?;
        let services = profile
            .get("services")
            .and_then(|name| profiles.services.get(name));
        let own =
            services.and_then(|section| section.nested(&id.to_ascii_lowercase(), "endpoint_url"));
        own.or_else(|| profile.get("endpoint_url"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FileKind {
    /// Sections are `[profile NAME]`, `[default]` and `[services NAME]`.
    Config,
    /// Sections are `[NAME]`.
    Credentials,
}

/// Profiles by their names.
#[derive(Default)]
pub(super) struct Profiles {
    profiles: BTreeMap<String, Section>,
    services: BTreeMap<String, Section>,
}

/// The properties of a section; those that are indented belong to the one before them.
#[derive(Default)]
pub(super) struct Section {
    properties: BTreeMap<String, String>,
    nested: BTreeMap<(String, String), String>,
}

impl Section {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.properties.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    fn nested(&self, name: &str, inner: &str) -> Option<&str> {
        let key = (name.to_owned(), inner.to_owned());
        self.nested.get(&key).map(String::as_str)
    }
}

impl Profiles {
    pub(super) fn profile(&self, name: &str) -> Option<&Section> {
        self.profiles.get(name)
    }

    /// Adds a file's sections. What a later file says of a profile counts.
    fn add(&mut self, text: &str, kind: FileKind) {
        let mut ignored = Section::default();
        let mut section = &mut ignored;
        let mut property = String::new();
        for line in text.lines() {
            let is_indented = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(header) = line.strip_prefix('[') {
                let header = header.split(']').next().unwrap_or_default().trim();
                property.clear();
                section = match (kind, header.split_once(char::is_whitespace)) {
                    (FileKind::Config, Some(("profile", name))) => {
                        self.profiles.entry(name.trim().to_owned()).or_default()
                    }
                    (FileKind::Config, Some(("services", name))) => {
                        self.services.entry(name.trim().to_owned()).or_default()
                    }
                    (FileKind::Config, None) if header == "default" => {
                        self.profiles.entry(header.to_owned()).or_default()
                    }
                    (FileKind::Credentials, _) => {
                        self.profiles.entry(header.to_owned()).or_default()
                    }
                    (FileKind::Config, _) => {
                        ignored = Section::default();
                        &mut ignored
                    }
                };
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let name = name.trim().to_ascii_lowercase();
            let value = without_comment(value).to_owned();
            if is_indented && !property.is_empty() {
                section.nested.insert((property.clone(), name), value);
            } else {
                property.clone_from(&name);
                section.properties.insert(name, value);
            }
        }
    }
}

/// A value without the comment that may follow it: ` #…` or ` ;…`.
fn without_comment(value: &str) -> &str {
    let ends = [" #", "\t#", " ;", "\t;"];
    let end = ends.into_iter().filter_map(|mark| value.find(mark)).min();
    value[..end.unwrap_or(value.len())].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(config: &str, credentials: &str, variables: &[(&str, &str)]) -> Environment {
        let mut profiles = Profiles::default();
        profiles.add(config, FileKind::Config);
        profiles.add(credentials, FileKind::Credentials);
        let pairs = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::new(pairs);
        assert!(environment.profiles.set(Ok(profiles)).is_ok());
        environment
    }

    const CONFIG: &str = "
# A comment.
[default]
region = eu-west-1 # here
services = local
endpoint_url = http://default:1

[profile other]
region=us-west-2
s3 =
    addressing_style = path
output = json
[services local]
dynamodb =
  endpoint_url = http://dynamodb:2
cloudwatch_logs =
  endpoint_url = http://logs:3
[sso-session x]
region = nowhere
[plain]
region = nowhere
";

    #[test]
    fn profiles_are_read() {
        let credentials =
            "[default]\naws_access_key_id = a\naws_secret_access_key = b=c\n[other]\nregion = x\n";
        let environment = environment(CONFIG, credentials, &[]);
        assert_eq!(environment.region(), Some("eu-west-1"));
        assert_eq!(environment.property("aws_secret_access_key"), Some("b=c"));
        let profiles = environment.profiles().unwrap();
        let other = profiles.profile("other").unwrap();
        assert_eq!(other.get("region"), Some("x"));
        assert_eq!(other.get("output"), Some("json"));
        assert_eq!(other.get("addressing_style"), None);
        assert_eq!(other.nested("s3", "addressing_style"), Some("path"));
        assert!(profiles.profile("plain").is_none());
    }

    #[test]
    fn endpoints_have_an_order() {
        for (variables, id, url) in [
            (&[][..], "DynamoDB", Some("http://dynamodb:2")),
            (&[], "CloudWatch Logs", Some("http://logs:3")),
            (&[], "SQS", Some("http://default:1")),
            (
                &[("AWS_ENDPOINT_URL", "http://all:4")],
                "DynamoDB",
                Some("http://all:4"),
            ),
            (
                &[
                    ("AWS_ENDPOINT_URL", "http://all:4"),
                    ("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "http://own:5"),
                ],
                "CloudWatch Logs",
                Some("http://own:5"),
            ),
            (
                &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")],
                "SQS",
                None,
            ),
            (&[("AWS_PROFILE", "other")], "SQS", None),
        ] {
            let environment = environment(CONFIG, "", variables);
            assert_eq!(environment.endpoint(id), url, "{variables:?} {id}");
        }
    }

    #[test]
    fn files_are_found_by_variables() {
        let directory =
            std::env::temp_dir().join(format!("quickstep-profile-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("c");
        std::fs::write(&path, "[profile p]\nregion = here\n").unwrap();
        let variables = [
            ("AWS_CONFIG_FILE".to_owned(), path.display().to_string()),
            ("AWS_PROFILE".to_owned(), "p".to_owned()),
            ("EMPTY".to_owned(), " ".to_owned()),
        ];
        let environment = Environment::new(variables);
        assert_eq!(environment.region(), Some("here"));
        assert_eq!(environment.get("EMPTY"), None);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
