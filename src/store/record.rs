//! What is kept of state machines and activities, in the form that storages write.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::asl::MachineType;

/// EXPRESS or STANDARD.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum MachineKind {
    #[serde(rename = "EXPRESS")]
    Express,
    #[serde(rename = "STANDARD")]
    Standard,
}

impl MachineKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            MachineKind::Express => "EXPRESS",
            MachineKind::Standard => "STANDARD",
        }
    }
}

impl From<MachineKind> for MachineType {
    fn from(kind: MachineKind) -> MachineType {
        match kind {
            MachineKind::Express => MachineType::Express,
            MachineKind::Standard => MachineType::Standard,
        }
    }
}

/// `loggingConfiguration`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Logging {
    pub(crate) level: Box<str>,
    pub(crate) include_execution_data: bool,
    /// ARN of the log group, if there is one.
    pub(crate) log_group: Option<Box<str>>,
}

impl Logging {
    pub(crate) fn off() -> Logging {
        Logging {
            level: "OFF".into(),
            include_execution_data: false,
            log_group: None,
        }
    }
}

/// What of a state machine can be changed and published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RevisionRecord {
    /// Absent until the first update.
    pub(crate) id: Option<Box<str>>,
    pub(crate) definition: Arc<str>,
    pub(crate) role_arn: Box<str>,
    pub(crate) logging: Logging,
    pub(crate) tracing: bool,
    pub(crate) updated_ms: i64,
}

/// `key` and `value`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Tag {
    pub(crate) key: Box<str>,
    pub(crate) value: Box<str>,
}

/// A state machine, without its versions and aliases.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct MachineRecord {
    pub(crate) name: Box<str>,
    pub(crate) kind: MachineKind,
    pub(crate) created_ms: i64,
    pub(crate) revision: RevisionRecord,
    pub(crate) tags: Vec<Tag>,
    /// Numbers of versions are not used again.
    pub(crate) last_version: u64,
    /// What it was published as at its creation, with which an equal request is the same one.
    pub(crate) created_with: Option<Box<str>>,
}

/// A version: a revision that no longer changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    pub(crate) number: u64,
    pub(crate) created_ms: i64,
    pub(crate) description: Option<Box<str>>,
    pub(crate) revision: RevisionRecord,
}

/// One element of `routingConfiguration`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) version: u64,
    pub(crate) weight: u8,
}

/// An alias: one version or two, by weight.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    pub(crate) name: Box<str>,
    pub(crate) description: Option<Box<str>>,
    pub(crate) routes: Vec<Route>,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
}

/// An activity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ActivityRecord {
    pub(crate) name: Box<str>,
    pub(crate) created_ms: i64,
    pub(crate) tags: Vec<Tag>,
}
