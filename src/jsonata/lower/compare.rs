//! Truth, equality and order of items.

use std::cmp::Ordering;

use super::Bail;
use super::run::{Eval, Machine};
use super::sequence::Item;
use crate::value::{Kind, Val, Values};

/// How deep arrays that were made are looked into.
const ARRAYS_MAX: usize = 100;

/// Pairs of values that one comparison looks at.
const PAIRS_MAX: usize = 1 << 20;

/// Objects with more members than this are left to the slow path, which has tables of their names.
const MEMBERS_MAX: usize = 64;

impl Machine<'_> {
    /// Truth as `$boolean` has it: of an array if any of its elements is true.
    pub(super) fn truthy(&mut self, item: Item) -> Eval<bool> {
        match item {
            Item::Undefined => Ok(false),
            Item::Val(Val::TRUE) => Ok(true),
            Item::Val(Val::FALSE) => Ok(false),
            Item::Val(val) => self.truthy_value(val),
            Item::Number(n) => Ok(n != 0.0),
            Item::Array(_) => self.truthy_array(item, 0),
        }
    }

    fn truthy_array(&mut self, item: Item, depth: usize) -> Eval<bool> {
        let Item::Array(sequence) = item else {
            return self.truthy(item);
        };
        if depth > ARRAYS_MAX {
            return Err(Bail);
        }
        // Arrays that stand in many places are gone over in each of them.
        self.spend(sequence.len as usize)?;
        let start = sequence.start as usize;
        for place in start..start + sequence.len as usize {
            if self.truthy_array(self.memory.heap[place], depth + 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn truthy_value(&mut self, val: Val) -> Eval<bool> {
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        if values.kind(val) != Kind::Array {
            return truthy_scalar(values, val);
        }
        let pending = &mut self.memory.pending;
        pending.clear();
        pending.push(val);
        let mut seen = 0_usize;
        while let Some(val) = pending.pop() {
            seen += 1;
            if seen > PAIRS_MAX || pending.len() > PAIRS_MAX {
                return Err(Bail);
            }
            if values.kind(val) == Kind::Array {
                pending.extend(values.elements(val));
            } else if truthy_scalar(values, val)? {
                self.spend(seen)?;
                return Ok(true);
            }
        }
        self.spend(seen)?;
        Ok(false)
    }

    /// Deep equality; of what is undefined to nothing.
    pub(super) fn equal(&mut self, left: Item, right: Item) -> Eval<bool> {
        match (left, right) {
            (Item::Undefined, _) | (_, Item::Undefined) => Ok(false),
            (Item::Number(a), Item::Number(b)) => Ok(a == b),
            (Item::Val(a), Item::Val(b)) => self.equal_values(a, b),
            (Item::Number(n), Item::Val(val)) | (Item::Val(val), Item::Number(n)) => {
                let is_number = self.values().kind(val) == Kind::Number;
                Ok(is_number && self.number(Item::Val(val))? == Some(n))
            }
            (Item::Array(_), other) | (other, Item::Array(_)) if !self.is_array(other) => Ok(false),
            (left, right) => match (self.value(left)?, self.value(right)?) {
                (Some(a), Some(b)) => self.equal_values(a, b),
                _ => Err(Bail),
            },
        }
    }

    fn equal_values(&mut self, a: Val, b: Val) -> Eval<bool> {
        let values = self.values();
        if values.kind(a) == Kind::String && values.size(a) != values.size(b) {
            return Ok(false);
        }
        // A comparison goes over no more than the text of the smaller one.
        let bytes = self.values().size(a).min(self.values().size(b));
        self.spend_bytes(bytes.min(PAIRS_MAX))?;
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        match (values.kind(a), values.kind(b)) {
            (x, y) if x != y => return Ok(false),
            (Kind::String, _) => return Ok(values.text(a) == values.text(b)),
            (Kind::Array | Kind::Object, _) => {}
            _ => return equal_scalars(values, a, b),
        }
        let pairs = &mut self.memory.pairs;
        pairs.clear();
        pairs.push((a, b));
        let mut seen = 0_usize;
        while let Some((a, b)) = pairs.pop() {
            seen += 1;
            if seen > PAIRS_MAX || pairs.len() > PAIRS_MAX {
                return Err(Bail);
            }
            let kind = values.kind(a);
            if kind != values.kind(b) {
                return Ok(false);
            }
            let same = match kind {
                Kind::Array => {
                    let same = values.len(a) == values.len(b);
                    if same {
                        pairs.extend(values.elements(a).zip(values.elements(b)));
                    }
                    same
                }
                Kind::Object => pair_members(values, a, b, pairs)?,
                _ => equal_scalars(values, a, b)?,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `in`: scalars by value. Objects and arrays would be compared by identity, which they do not have here.
    pub(super) fn contained(&mut self, left: Item, right: Item) -> Eval<bool> {
        if left.is_undefined() || right.is_undefined() {
            return Ok(false);
        }
        if !self.is_scalar(left) {
            return Err(Bail);
        }
        if !self.is_array(right) {
            return Ok(self.is_scalar(right) && self.equal(left, right)?);
        }
        let (start, len) = self.items(right)?;
        for place in start..start + len {
            self.step()?;
            let item = self.memory.heap[place];
            if self.is_scalar(item) && self.equal(left, item)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_scalar(&self, item: Item) -> bool {
        match item {
            Item::Undefined | Item::Array(_) => false,
            Item::Number(_) => true,
            Item::Val(val) => !matches!(self.values().kind(val), Kind::Array | Kind::Object),
        }
    }

    /// Bails unless it is a number, a string or undefined.
    pub(super) fn check_comparable(&self, item: Item) -> Eval<()> {
        match item {
            Item::Undefined | Item::Number(_) => Ok(()),
            Item::Val(val) => match self.values().kind(val) {
                Kind::Number | Kind::String => Ok(()),
                _ => Err(Bail),
            },
            Item::Array(_) => Err(Bail),
        }
    }

    /// The order of two numbers or of two strings.
    pub(super) fn compare(&self, left: Item, right: Item) -> Eval<Ordering> {
        let values = self.values();
        if let (Item::Val(a), Item::Val(b)) = (left, right)
            && values.kind(a) == Kind::String
        {
            // JavaScript orders by UTF-16 units and the slow path by characters, which differ from U+E000 on.
            let is_low = |val: Val| values.text(val).bytes().all(|byte| byte < 0xEE);
            if !is_low(a) || !is_low(b) {
                return Err(Bail);
            }
            return values.compare_strings(a, b).ok_or(Bail);
        }
        match (self.number(left)?, self.number(right)?) {
            (Some(a), Some(b)) => a.partial_cmp(&b).ok_or(Bail),
            _ => Err(Bail),
        }
    }
}

fn truthy_scalar(values: Values<'_>, val: Val) -> Eval<bool> {
    Ok(match values.kind(val) {
        Kind::Null | Kind::False => false,
        Kind::True => true,
        Kind::Number => match values.as_f64(val) {
            Some(n) if n.is_finite() => n != 0.0,
            _ => return Err(Bail),
        },
        Kind::String => !values.text(val).is_empty(),
        Kind::Object => values.size(val) > 2,
        Kind::Array => return Err(Bail),
    })
}

/// Equality of two values of one kind that are no containers.
fn equal_scalars(values: Values<'_>, a: Val, b: Val) -> Eval<bool> {
    match values.kind(a) {
        Kind::Number => match (values.as_f64(a), values.as_f64(b)) {
            (Some(a), Some(b)) if a.is_finite() && b.is_finite() => Ok(a == b),
            _ => Err(Bail),
        },
        // Canonical escapes: equal strings are equal bytes.
        Kind::String => Ok(values.text(a) == values.text(b)),
        Kind::Null | Kind::False | Kind::True => Ok(true),
        Kind::Array | Kind::Object => Err(Bail),
    }
}

/// Pairs the members of two objects by name; false if their names differ.
fn pair_members(values: Values<'_>, a: Val, b: Val, pairs: &mut Vec<(Val, Val)>) -> Eval<bool> {
    let count = values.len(a);
    if count != values.len(b) {
        return Ok(false);
    }
    if count > MEMBERS_MAX {
        return Err(Bail);
    }
    for (key, val) in values.members(a) {
        let name = values.key_text(key);
        let mut others = values.members(b);
        match others.find(|(other, _)| values.key_text(*other) == name) {
            Some((_, other)) => pairs.push((val, other)),
            None => return Ok(false),
        }
    }
    Ok(true)
}
