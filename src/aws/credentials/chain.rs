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
    own: Mutex<Option<Kept>>,
    roles: std::sync::Mutex<BTreeMap<Role, Arc<Mutex<Option<Keys>>>>>,
}

#[derive(Debug)]
struct Kept {
    found: Found,
    since: SystemTime,
}

impl Chain {
    /// The keys of this process. Without `is_remote` nobody is asked over the network who is not named.
    ///
    /// # Errors
    ///
    /// If what should give keys does not.
    pub(in crate::aws) async fn own(
        &self,
        source: &Source<'_, impl Sts>,
        now: SystemTime,
    ) -> Result<Found, String> {
        let mut kept = self.own.lock().await;
        match kept.as_ref() {
            Some(Kept {
                found: Found::Keys(keys),
                ..
            }) if !keys.is_ending(now) => {
                return Ok(Found::Keys(keys.clone()));
            }
            Some(Kept {
                found: Found::Nothing,
                since,
            }) => {
                let age = now.duration_since(*since).unwrap_or_default();
                if age < NOTHING_TIME {
                    return Ok(Found::Nothing);
                }
            }
            _ => {}
        }
        match source.find().await {
            Ok(found) => {
                *kept = Some(Kept {
                    found: found.clone(),
                    since: now,
                });
                Ok(found)
            }
            // Those that are there last a little longer.
            Err(why) => match kept.as_ref() {
                Some(Kept {
                    found: Found::Keys(keys),
                    ..
                }) if !keys.has_ended(now) => Ok(Found::Keys(keys.clone())),
                _ => Err(why),
            },
        }
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
        now: SystemTime,
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
        if let Some(keys) = kept.as_ref().filter(|keys| !keys.is_ending(now)) {
            return Ok(keys.clone());
        }
        match assume(sts, role, own).await {
            Ok(keys) => {
                *kept = Some(keys.clone());
                Ok(keys)
            }
            Err(why) => match kept.as_ref().filter(|keys| !keys.has_ended(now)) {
                Some(keys) => Ok(keys.clone()),
                None => Err(why),
            },
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
            return remote::of_process(command).await.map(Some);
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
