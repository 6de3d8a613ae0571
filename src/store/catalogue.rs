//! [`Catalogue`]: what there is, in memory, and written through to a [`Storage`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{StoreError, StoreErrorKind};
use super::persist::Storage;
use super::record::{ActivityRecord, AliasRecord, MachineRecord, RevisionRecord, VersionRecord};
use crate::task::lock;

/// A revision, with a number that no other revision of this process has.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) serial: u64,
    pub(crate) record: RevisionRecord,
}

impl Revision {
    pub(crate) fn new(record: RevisionRecord) -> Arc<Revision> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Arc::new(Revision {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            record,
        })
    }
}

/// A state machine with all that belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) record: MachineRecord,
    pub(crate) revision: Arc<Revision>,
    /// In the order of their numbers.
    pub(crate) versions: Vec<(VersionRecord, Arc<Revision>)>,
    /// In the order of their making.
    pub(crate) aliases: Vec<AliasRecord>,
}

impl Machine {
    pub(crate) fn version(&self, number: u64) -> Option<&(VersionRecord, Arc<Revision>)> {
        self.versions.iter().find(|(v, _)| v.number == number)
    }

    pub(crate) fn alias(&self, name: &str) -> Option<&AliasRecord> {
        self.aliases.iter().find(|alias| *alias.name == *name)
    }
}

/// All there is, by name.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) machines: BTreeMap<Box<str>, Machine>,
    pub(crate) activities: BTreeMap<Box<str>, ActivityRecord>,
}

/// The catalogue.
#[derive(Debug)]
pub(crate) struct Catalogue {
    tables: Mutex<Tables>,
    /// Grows with every change of a machine.
    generation: AtomicU64,
    storage: Box<dyn Storage>,
}

/// Changes of the catalogue that are made together, or not at all.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<(String, Option<Vec<u8>>)>);

impl Changes {
    fn put(&mut self, key: String, record: &impl Serialize) -> Result<(), StoreError> {
        let text = serde_json::to_vec(record)
            .map_err(|error| StoreError::new(StoreErrorKind::Io, error.to_string()))?;
        self.0.push((key, Some(text)));
        Ok(())
    }

    fn remove(&mut self, key: String) {
        self.0.push((key, None));
    }
}

fn machine_key(name: &str) -> String {
    format!("machine/{name}")
}

fn version_key(name: &str, number: u64) -> String {
    format!("version/{name}/{number}")
}

fn alias_key(name: &str, alias: &str) -> String {
    format!("alias/{name}/{alias}")
}

fn activity_key(name: &str) -> String {
    format!("activity/{name}")
}

fn read<T: DeserializeOwned>(key: &str, text: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(text).map_err(|error| damaged(key, &error.to_string()))
}

fn damaged(key: &str, why: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Damaged,
        format!("the record {key} cannot be read: {why}"),
    )
}

impl Tables {
    /// Takes in a record; machines come before what belongs to them.
    fn load(&mut self, key: &str, text: &[u8]) -> Result<(), StoreError> {
        let mut parts = key.split('/');
        let (kind, name) = (parts.next(), parts.next().unwrap_or_default());
        match kind {
            Some("activity") => {
                self.activities.insert(name.into(), read(key, text)?);
            }
            Some("machine") => {
                let record: MachineRecord = read(key, text)?;
                let machine = Machine {
                    revision: Revision::new(record.revision.clone()),
                    record,
                    versions: Vec::new(),
                    aliases: Vec::new(),
                };
                self.machines.insert(name.into(), machine);
            }
            Some("version" | "alias") => {
                let Some(machine) = self.machines.get_mut(name) else {
                    return Err(damaged(key, "its state machine is missing"));
                };
                if kind == Some("alias") {
                    machine.aliases.push(read(key, text)?);
                } else {
                    let record: VersionRecord = read(key, text)?;
                    let revision = Revision::new(record.revision.clone());
                    machine.versions.push((record, revision));
                }
            }
            _ => return Err(damaged(key, "this version knows no records of that kind")),
        }
        Ok(())
    }
}

impl Catalogue {
    /// Reads what the storage holds.
    pub(crate) fn open(storage: Box<dyn Storage>) -> Result<Catalogue, StoreError> {
        let mut records = storage.load()?;
        let rank = |key: &str| !(key.starts_with("machine/") || key.starts_with("activity/"));
        records.sort_by_key(|(key, _)| rank(key));
        let mut tables = Tables::default();
        for (key, text) in &records {
            tables.load(key, text)?;
        }
        for machine in tables.machines.values_mut() {
            machine.versions.sort_by_key(|(version, _)| version.number);
            machine.aliases.sort_by_key(|alias| alias.created_ms);
        }
        Ok(Catalogue {
            tables: Mutex::new(tables),
            generation: AtomicU64::new(0),
            storage,
        })
    }

    /// Looks at all there is. Held for short.
    pub(crate) fn read(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }

    /// What was looked up is as it was for as long as this is.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// True if changes outlive the process.
    pub(crate) fn is_durable(&self) -> bool {
        self.storage.is_durable()
    }

    /// Changes the catalogue: what `change` does to a copy is taken over once the storage has it.
    ///
    /// The lock is held while the storage writes, so that changes come one after the other in both.
    pub(crate) fn change_machine<T, E: From<StoreError>>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Option<Machine>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tables = lock(&self.tables);
        let before = tables.machines.get(name);
        let mut after = before.cloned();
        let answer = change(&mut after)?;
        if let Some(machine) = &mut after
            && machine.record.revision != machine.revision.record
        {
            machine.revision = Revision::new(machine.record.revision.clone());
        }
        let changes = differences(name, before, after.as_ref())?;
        if !changes.0.is_empty() {
            self.storage.write(&changes.0)?;
        }
        match after {
            Some(machine) => drop(tables.machines.insert(name.into(), machine)),
            None => drop(tables.machines.remove(name)),
        }
        self.generation.fetch_add(1, Ordering::Release);
        Ok(answer)
    }

    /// The same for an activity.
    pub(crate) fn change_activity<T, E: From<StoreError>>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Option<ActivityRecord>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tables = lock(&self.tables);
        let before = tables.activities.get(name);
        let mut after = before.cloned();
        let answer = change(&mut after)?;
        if before != after.as_ref() {
            let mut changes = Changes::default();
            match &after {
                Some(record) => changes.put(activity_key(name), record)?,
                None => changes.remove(activity_key(name)),
            }
            self.storage.write(&changes.0)?;
        }
        match after {
            Some(record) => drop(tables.activities.insert(name.into(), record)),
            None => drop(tables.activities.remove(name)),
        }
        Ok(answer)
    }
}

/// A new version of a machine.
pub(crate) fn published(record: VersionRecord) -> (VersionRecord, Arc<Revision>) {
    let revision = Revision::new(record.revision.clone());
    (record, revision)
}

fn differences(
    name: &str,
    before: Option<&Machine>,
    after: Option<&Machine>,
) -> Result<Changes, StoreError> {
    let mut changes = Changes::default();
    let versions = |m: Option<&Machine>| m.map_or(Vec::new(), |m| m.versions.clone());
    let aliases = |m: Option<&Machine>| m.map_or(Vec::new(), |m| m.aliases.clone());
    match (before, after) {
        (_, Some(machine)) if before.is_none_or(|b| b.record != machine.record) => {
            changes.put(machine_key(name), &machine.record)?;
        }
        (Some(_), None) => changes.remove(machine_key(name)),
        _ => {}
    }
    let (old, new) = (versions(before), versions(after));
    for (version, _) in &new {
        if !old.iter().any(|(known, _)| known == version) {
            changes.put(version_key(name, version.number), version)?;
        }
    }
    for (version, _) in &old {
        if !new.iter().any(|(kept, _)| kept.number == version.number) {
            changes.remove(version_key(name, version.number));
        }
    }
    let (old, new) = (aliases(before), aliases(after));
    for alias in &new {
        if !old.contains(alias) {
            changes.put(alias_key(name, &alias.name), alias)?;
        }
    }
    for alias in &old {
        if !new.iter().any(|kept| kept.name == alias.name) {
            changes.remove(alias_key(name, &alias.name));
        }
    }
    Ok(changes)
}

impl Machine {
    /// A machine that is new.
    pub(crate) fn new(record: MachineRecord) -> Machine {
        Machine {
            revision: Revision::new(record.revision.clone()),
            record,
            versions: Vec::new(),
            aliases: Vec::new(),
        }
    }

    /// Adds a version.
    pub(crate) fn publish(&mut self, record: VersionRecord) {
        self.versions.push(published(record));
    }
}
