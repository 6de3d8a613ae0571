//! Grouping: `items{key: value}`.

use super::Bail;
use super::op::{Group, Op};
use super::run::{Eval, Machine};
use super::sequence::{Item, Marks};
use crate::stdx::FixedMap;
use crate::value::{Key, Name};

/// The items of one name.
#[derive(Debug)]
struct Named<'o> {
    name: Name,
    value: &'o Op,
    items: Vec<Item>,
}

impl Machine<'_> {
    #[inline(never)]
    pub(super) fn group(&mut self, group: &Group, context: Item) -> Eval<Item> {
        let input = self.raw(&group.input, context)?;
        let (start, len) = match input {
            Item::Undefined => (self.memory.heap.len(), 0),
            input => self.items(input)?,
        };
        let mut groups: Vec<Named<'_>> = Vec::new();
        let mut places: FixedMap<Box<str>, (usize, usize)> = FixedMap::default();
        // Of nothing an object is made too: the names and values of what is undefined.
        for index in 0..len.max(1) {
            self.step()?;
            let item = match len {
                0 => Item::Undefined,
                _ => self.memory.heap[start + index],
            };
            for (pair, (key, value)) in group.pairs.iter().enumerate() {
                let name = match self.eval(key, item)? {
                    Item::Undefined => continue,
                    Item::Val(val) => Name::new(&self.values().string(val).ok_or(Bail)?),
                    Item::Number(_) | Item::Array(_) => return Err(Bail),
                };
                match places.get(name.raw()) {
                    Some((place, other)) if *other == pair => groups[*place].items.push(item),
                    Some(_) => return Err(Bail),
                    None => {
                        places.insert(name.raw().into(), (groups.len(), pair));
                        groups.push(Named {
                            name,
                            value,
                            items: vec![item],
                        });
                    }
                }
            }
        }
        let base = self.memory.members.len();
        for named in &groups {
            let context = self.group_context(&named.items)?;
            let key = self.doc.push_key(&named.name);
            self.push_member(false, key, named.value, context)?;
        }
        Ok(self.push_members_since(base))
    }

    /// What a group's value is evaluated over: its one item, or an array of all.
    fn group_context(&mut self, items: &[Item]) -> Eval<Item> {
        if let [item] = items {
            return Ok(*item);
        }
        let base = self.memory.work.len();
        for item in items {
            if !item.is_undefined() && !self.append(*item)? {
                self.memory.work.push(*item);
            }
        }
        self.finish(base, Marks::PLAIN)
    }

    /// The object of the members that were pushed since `base`.
    pub(super) fn push_members_since(&mut self, base: usize) -> Item {
        let members = &self.memory.members[base..];
        let object = self.doc.push_object(self.constants, members);
        self.memory.members.truncate(base);
        Item::Val(object)
    }

    /// Evaluates a member's value, and pushes the member unless it is undefined.
    #[inline]
    pub(super) fn push_member(
        &mut self,
        is_last: bool,
        key: Key,
        value: &Op,
        context: Item,
    ) -> Eval<()> {
        let value = self.eval(value, context)?;
        if !is_last {
            self.check_unmarked(value, 0)?;
        }
        if let Some(value) = self.value(value)? {
            self.memory.members.push((key, value));
        }
        Ok(())
    }
}
