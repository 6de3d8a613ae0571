//! Where keys come from, in order, and how long they are kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::remote::{self, Remote};
use super::{Keys, Role};
use crate::aws::profile::{Environment, Section};

/// Most roles whose keys are kept.
const ROLES_MAX: usize = 1_000;

/// How many profiles may lead to each other.
const PROFILES_MAX: usize = 10;

/// How long it counts that there are no keys.
const NOTHING_TIME: Duration = Duration::from_secs(30);

/// How long a failure counts, so that those who wait for each other do not all wait for the same one.
const FAILURE_TIME: Duration = Duration::from_secs(1);

/// Says what time of day it is.
pub(in crate::aws) type Clock = dyn Fn() -> SystemTime + Send + Sync;

/// What looking for keys has come to.
#[derive(Clone, Debug)]
pub(in crate::aws) enum Found {
    Keys(Keys),
    Nothing,
}

/// Calls STS: the operation, its parameters, and the keys to sign with, if it is signed.
pub(in crate::aws) trait Sts: Sync {
    fn call(
        &self,
        operation: &'static str,
        parameters: Value,
        keys: Option<&Keys>,
    ) -> impl Future<Output = Result<Value, String>> + Send;
}

/// Finds keys, and keeps them while they last.
#[derive(Debug, Default)]
pub(in crate::aws) struct Chain {
    own: Mutex<Kept>,
    roles: std::sync::Mutex<BTreeMap<Role, Arc<Mutex<Kept>>>>,
}

/// What is known of keys.
#[derive(Debug, Default)]
struct Kept {
    keys: Option<Keys>,
    /// The last time that they were looked for and not found.
    miss: Option<Miss>,
}

#[derive(Debug)]
struct Miss {
    at: SystemTime,
    /// Whether the instance's service was asked, too.
    is_wide: bool,
    /// Why there are none, if that is an error.
    why: Option<String>,
}

impl Kept {
    /// What can be said without looking; `is_wide` says how one would look.
    fn known(&self, now: SystemTime, is_wide: bool) -> Option<Result<Found, String>> {
        if let Some(keys) = self.keys.as_ref().filter(|keys| !keys.is_ending(now)) {
            return Some(Ok(Found::Keys(keys.clone())));
        }
        let miss = self.miss.as_ref()?;
        let has_keys = self.keys.as_ref().is_some_and(|keys| !keys.has_ended(now));
        let lasts = match miss.why {
            None if !has_keys => NOTHING_TIME,
            _ => FAILURE_TIME,
        };
        // A clock that was set back says nothing.
        let age = now.duration_since(miss.at).unwrap_or(Duration::MAX);
        (age < lasts && (miss.is_wide || !is_wide)).then(|| self.missed(now))
    }

    /// What is left when nothing was found: keys that are there are good to their end.
    fn missed(&self, now: SystemTime) -> Result<Found, String> {
        if let Some(keys) = self.keys.as_ref().filter(|keys| !keys.has_ended(now)) {
            return Ok(Found::Keys(keys.clone()));
        }
        match self.miss.as_ref().and_then(|miss| miss.why.clone()) {
            Some(why) => Err(why),
            None => Ok(Found::Nothing),
        }
    }

    /// Takes in what looking for keys has come to.
    fn settle(
        &mut self,
        looked: Result<Found, String>,
        at: SystemTime,
        is_wide: bool,
    ) -> Result<Found, String> {
        let why = match looked {
            Ok(Found::Keys(keys)) => {
                self.keys = Some(keys.clone());
                self.miss = None;
                return Ok(Found::Keys(keys));
            }
            Ok(Found::Nothing) => None,
            Err(why) => Some(why),
        };
        self.miss = Some(Miss { at, is_wide, why });
        self.missed(at)
    }
}

impl Chain {
    /// The keys of this process.
    ///
    /// # Errors
    ///
    /// If what should give keys does not.
    pub(in crate::aws) async fn own(
        &self,
        source: &Source<'_, impl Sts>,
        now: &Clock,
    ) -> Result<Found, String> {
        let mut kept = self.own.lock().await;
        // Whoever has waited learns what those before have found, and does not look once more.
        if let Some(known) = kept.known(now(), source.asks_instance) {
            return known;
        }
        let looked = source.find().await;
        kept.settle(looked, now(), source.asks_instance)
    }

    /// The keys of a role, by those of this process.
    ///
    /// # Errors
    ///
    /// If STS does not give them.
    pub(in crate::aws) async fn of_role(
        &self,
        role: &Role,
        own: &Keys,
        sts: &impl Sts,
        now: &Clock,
    ) -> Result<Keys, String> {
        let place = {
            let mut roles = crate::task::lock(&self.roles);
            if roles.len() >= ROLES_MAX && !roles.contains_key(role) {
                // Nobody waits for those that only the table holds.
                roles.retain(|_, place| Arc::strong_count(place) > 1);
            }
            Arc::clone(roles.entry(role.clone()).or_default())
        };
        let mut kept = place.lock().await;
        let found = match kept.known(now(), true) {
            Some(known) => known?,
            None => {
                let looked = assume(sts, role, own).await.map(Found::Keys);
                kept.settle(looked, now(), true)?
            }
        };
        match found {
            Found::Keys(keys) => Ok(keys),
            Found::Nothing => Err(format!("the role {} has no keys", role.arn)),
        }
    }
}

async fn assume(sts: &impl Sts, role: &Role, own: &Keys) -> Result<Keys, String> {
    let answer = sts.call("assumeRole", role.parameters(), Some(own)).await;
    let answer = answer.map_err(|why| format!("failed to assume the role {}: {why}", role.arn))?;
    keys_of_sts(&answer)
}

fn keys_of_sts(answer: &Value) -> Result<Keys, String> {
    let keys = answer.get("Credentials").and_then(Keys::of_json);
    keys.ok_or_else(|| "STS answered without credentials".to_owned())
}

/// What keys are looked for with.
#[derive(Debug)]
pub(in crate::aws) struct Source<'a, S> {
    pub(in crate::aws) environment: &'a Environment,
    pub(in crate::aws) remote: &'a Remote,
    pub(in crate::aws) sts: &'a S,
    /// Whether the instance's service may be asked, which nobody has named.
    pub(in crate::aws) asks_instance: bool,
}

impl<S: Sts> Source<'_, S> {
    async fn find(&self) -> Result<Found, String> {
        if let Some(keys) = self.of_variables() {
            return Ok(Found::Keys(keys));
        }
        if let Some(keys) = self.of_profile().await? {
            return Ok(Found::Keys(keys));
        }
        if let Some(keys) = self.of_web_identity().await? {
            return Ok(Found::Keys(keys));
        }
        if let Some(keys) = remote::of_container(self.environment, self.remote).await? {
            return Ok(Found::Keys(keys));
        }
        if self.asks_instance
            && let Some(keys) = remote::of_instance(self.environment, self.remote).await?
        {
            return Ok(Found::Keys(keys));
        }
        Ok(Found::Nothing)
    }

    fn of_variables(&self) -> Option<Keys> {
        let id = self.environment.get("AWS_ACCESS_KEY_ID")?;
        let secret = self.environment.get("AWS_SECRET_ACCESS_KEY")?;
        Some(Keys::new(
            id,
            secret,
            self.environment.get("AWS_SESSION_TOKEN"),
        ))
    }

    /// The profile's keys; those of roles, by the profiles that they lead to.
    async fn of_profile(&self) -> Result<Option<Keys>, String> {
        let profiles = self.environment.profiles()?;
        let (mut name, is_named) = self.environment.profile_name();
        if profiles.profile(name).is_none() && is_named {
            return Err(format!(
                "there is no profile '{name}' in the files of AWS's settings"
            ));
        }
        let mut roles: Vec<Role> = Vec::new();
        let base = loop {
            let Some(profile) = profiles.profile(name) else {
                match roles.is_empty() {
                    true => return Ok(None),
                    false => {
                        return Err(format!(
                            "there is no profile '{name}', which another one names as its source"
                        ));
                    }
                }
            };
            if roles.len() >= PROFILES_MAX {
                return Err(format!(
                    "more than {PROFILES_MAX} profiles lead to each other"
                ));
            }
            let role = profile.get("role_arn").map(|arn| Role {
                arn: arn.to_owned(),
                external_id: profile.get("external_id").map(str::to_owned),
                session_name: profile.get("role_session_name").map(str::to_owned),
            });
            // A profile that names itself as its source has the keys for its role.
            let is_again = !roles.is_empty() && profile.get("aws_access_key_id").is_some();
            let Some(role) = role.filter(|_| !is_again) else {
                break self.of_section(name, profile).await?;
            };
            if let Some(file) = profile.get("web_identity_token_file") {
                break Some(self.by_token(file, &role).await?);
            }
            roles.push(role);
            if let Some(kind) = profile.get("credential_source") {
                break self.of_named_source(kind).await?;
            }
            name = profile.get("source_profile").ok_or_else(|| {
                format!("the profile '{name}' has a role_arn, but neither source_profile nor credential_source")
            })?;
        };
        let Some(mut keys) = base else {
            return match roles.first() {
                None => Ok(None),
                Some(role) => Err(format!(
                    "there are no credentials to assume the role {} with",
                    role.arn
                )),
            };
        };
        for role in roles.iter().rev() {
            keys = assume(self.sts, role, &keys).await?;
        }
        Ok(Some(keys))
    }

    /// The keys that stand in a profile, or that its process gives.
    async fn of_section(&self, name: &str, profile: &Section) -> Result<Option<Keys>, String> {
        if let (Some(id), Some(secret)) = (
            profile.get("aws_access_key_id"),
            profile.get("aws_secret_access_key"),
        ) {
            let token = profile.get("aws_session_token");
            return Ok(Some(Keys::new(id, secret, token)));
        }
        if let Some(command) = profile.get("credential_process") {
            return remote::of_process(name, command).await.map(Some);
        }
        if profile
            .get("sso_session")
            .or(profile.get("sso_start_url"))
            .is_some()
        {
            return Err(format!(
                "the profile '{name}' signs in with SSO, which is not supported; run: aws configure \
                 export-credentials --profile {name} --format env"
            ));
        }
        Ok(None)
    }

    async fn of_named_source(&self, kind: &str) -> Result<Option<Keys>, String> {
        match kind {
            "Environment" => Ok(self.of_variables()),
            "EcsContainer" => remote::of_container(self.environment, self.remote).await,
            "Ec2InstanceMetadata" => remote::of_instance(self.environment, self.remote).await,
            other => Err(format!(
                "credential_source is Environment, EcsContainer or Ec2InstanceMetadata, not '{other}'"
            )),
        }
    }

    async fn of_web_identity(&self) -> Result<Option<Keys>, String> {
        let Some(file) = self.environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") else {
            return Ok(None);
        };
        let arn = self.environment.get("AWS_ROLE_ARN").ok_or(
            "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN, which belongs to it, is not",
        )?;
        let role = Role {
            arn: arn.to_owned(),
            external_id: None,
            session_name: self
                .environment
                .get("AWS_ROLE_SESSION_NAME")
                .map(str::to_owned),
        };
        self.by_token(file, &role).await.map(Some)
    }

    async fn by_token(&self, file: &str, role: &Role) -> Result<Keys, String> {
        let token = remote::read_token(file)?;
        let session = role.session_name.as_deref().unwrap_or("quickstep");
        let parameters = json!({
            "RoleArn": role.arn, "RoleSessionName": session, "WebIdentityToken": token
        });
        let answer = self
            .sts
            .call("assumeRoleWithWebIdentity", parameters, None)
            .await;
        let answer = answer.map_err(|why| {
            format!(
                "failed to assume the role {} with the token in {file}: {why}",
                role.arn
            )
        })?;
        keys_of_sts(&answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_keys() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |seconds| start + Duration::from_secs(seconds);
        let keys = Keys {
            expires: Some(at(1_000)),
            ..Keys::new("k", "s", None)
        };
        let shown = |found: Result<Found, String>| match found {
            Ok(Found::Keys(keys)) => keys.access_key_id().to_owned(),
            Ok(Found::Nothing) => "nothing".to_owned(),
            Err(why) => why,
        };
        let known = |kept: &Kept, seconds, is_wide| kept.known(at(seconds), is_wide).map(shown);
        let some = |text: &str| Some(text.to_owned());

        // Nothing lasts for half a minute, for those who would not have looked further.
        let mut kept = Kept::default();
        assert_eq!(known(&kept, 0, false), None);
        assert_eq!(
            shown(kept.settle(Ok(Found::Nothing), at(0), false)),
            "nothing"
        );
        assert_eq!(known(&kept, 29, false), some("nothing"));
        assert_eq!(known(&kept, 0, true), None);
        assert_eq!(known(&kept, 30, false), None);
        assert_eq!(
            kept.known(start - Duration::from_secs(9), false).map(shown),
            None
        );

        // Failures last for a second.
        assert_eq!(shown(kept.settle(Err("no".to_owned()), at(40), true)), "no");
        assert_eq!(known(&kept, 40, true), some("no"));
        assert_eq!(known(&kept, 41, true), None);

        // Neither takes away keys that are good still.
        assert_eq!(shown(kept.settle(Ok(Found::Keys(keys)), at(50), true)), "k");
        assert_eq!(known(&kept, 600, true), some("k"));
        assert_eq!(known(&kept, 800, true), None);
        for miss in [Ok(Found::Nothing), Err("no".to_owned())] {
            assert_eq!(shown(kept.settle(miss, at(800), false)), "k");
            assert_eq!(known(&kept, 800, false), some("k"));
            assert_eq!(known(&kept, 801, false), None);
        }
        assert_eq!(
            shown(kept.settle(Err("no".to_owned()), at(1_000), true)),
            "no"
        );
    }
}
