//! The index of a large object that was ingested: its members are found by hash.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use super::Doc;
use crate::stdx::narrow;

/// The hash table of one object: open addressing over the indexes of its members' nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberIndex {
    first_slot: u32,
    mask: u32,
}

/// The slot of no member.
const EMPTY_SLOT: u32 = u32::MAX;

impl Doc {
    /// The node of the member `raw` of a large object that was ingested.
    pub(super) fn indexed_member(&self, object: u32, raw: &[u8]) -> Option<u32> {
        let index = self.indexes.get(&object)?;
        let mut slot = hash(raw) & index.mask;
        loop {
            let at = self.slots[(index.first_slot + slot) as usize];
            if at == EMPTY_SLOT {
                return None;
            }
            if self.key_bytes(&self.nodes[at as usize]) == raw {
                return Some(at);
            }
            slot = (slot + 1) & index.mask;
        }
    }

    /// Builds the hash table of a large object; true if it has two members of one name.
    #[cold]
    pub(super) fn index_members(&mut self, object: u32, count: usize) -> bool {
        let size = narrow((count * 2).next_power_of_two());
        let index = MemberIndex {
            first_slot: narrow(self.slots.len()),
            mask: size - 1,
        };
        self.slots
            .resize(self.slots.len() + size as usize, EMPTY_SLOT);
        let end = narrow(self.nodes.len());
        let mut child = object + 1;
        let mut duplicates = false;
        'members: while child < end {
            let name = self.key_bytes(&self.nodes[child as usize]);
            let mut slot = hash(name) & index.mask;
            let empty = loop {
                let place = (index.first_slot + slot) as usize;
                let at = self.slots[place];
                if at == EMPTY_SLOT {
                    break place;
                }
                if self.key_bytes(&self.nodes[at as usize]) == name {
                    duplicates = true;
                    child = self.nodes[child as usize].next;
                    continue 'members;
                }
                slot = (slot + 1) & index.mask;
            };
            self.slots[empty] = child;
            child = self.nodes[child as usize].next;
        }
        let tag = self.nodes[object as usize].tag;
        self.nodes[object as usize].tag = tag.with_indexed();
        self.indexes.insert(object, index);
        duplicates
    }
}

/// Keyed anew in every process, so that nobody can prepare names that all fall together. The order of the slots shows
/// nowhere.
fn hash(name: &[u8]) -> u32 {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    let hash = KEYS.get_or_init(RandomState::new).hash_one(name);
    (hash >> 32) as u32 ^ hash as u32
}
