//! Functions of values.

use super::Bail;
use super::number;
use super::op::{Function, Op, Put};
use super::run::{Eval, Machine, finite};
use super::sequence::{Item, Marks};
use crate::value::{Kind, Name, Val, Values, unescape};

/// Arguments of a function of values.
const ARGUMENTS_MAX: usize = 3;

/// Items among which `$distinct` looks for equal ones.
const DISTINCT_MAX: usize = 512;

/// Members of all objects that `$merge` takes in.
const MERGED_MAX: usize = 512;

/// What aggregates need to know of the numbers of a list.
#[derive(Debug)]
pub(super) struct Total {
    count: usize,
    sum: f64,
    max: f64,
    min: f64,
}

impl Default for Total {
    fn default() -> Total {
        Total {
            count: 0,
            sum: 0.0,
            max: f64::NEG_INFINITY,
            min: f64::INFINITY,
        }
    }
}

impl Total {
    #[inline]
    pub(super) fn add(&mut self, n: f64) {
        self.count += 1;
        self.sum += n;
        self.max = if n > self.max { n } else { self.max };
        self.min = if n < self.min { n } else { self.min };
    }

    /// True if there was no number.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn result(&self, function: Function) -> Eval<Item> {
        match function {
            Function::Sum => finite(self.sum),
            _ if self.count == 0 => Ok(Item::Undefined),
            Function::Max => finite(self.max),
            Function::Min => finite(self.min),
            _ => finite(self.sum / self.count as f64),
        }
    }
}

impl Machine<'_> {
    #[inline(never)]
    pub(super) fn call(
        &mut self,
        function: Function,
        arguments: &[Op],
        context: Item,
    ) -> Eval<Item> {
        let mut items = [Item::Undefined; ARGUMENTS_MAX];
        for (item, argument) in items.iter_mut().zip(arguments) {
            *item = self.eval(argument, context)?;
        }
        let items = &items[..arguments.len()];
        let first = items[0];
        match function {
            Function::Sum | Function::Max | Function::Min | Function::Average => {
                self.aggregate(function, first)
            }
            Function::Count => self.count(first),
            Function::Exists => Ok(Item::bool(!first.is_undefined())),
            Function::Boolean | Function::Not => {
                if first.is_undefined() {
                    return Ok(first);
                }
                let truth = self.truthy(first)?;
                Ok(Item::bool(truth == (function == Function::Boolean)))
            }
            Function::String => self.string(first),
            Function::Join => self.join(first, items.get(1).copied()),
            Function::Number => self.to_number(first),
            Function::Abs
            | Function::Ceil
            | Function::Floor
            | Function::Sqrt
            | Function::Round
            | Function::Power => self.arithmetic_function(function, items),
            Function::Length
            | Function::Uppercase
            | Function::Lowercase
            | Function::Trim
            | Function::Substring
            | Function::SubstringBefore
            | Function::SubstringAfter
            | Function::Contains
            | Function::Split => self.text_function(function, items),
            Function::Type => Ok(self.type_of(first)),
            Function::Append
            | Function::Reverse
            | Function::Distinct
            | Function::Sort
            | Function::Keys
            | Function::Lookup
            | Function::Merge
            | Function::Spread => self.container_function(function, items),
        }
    }

    fn container_function(&mut self, function: Function, items: &[Item]) -> Eval<Item> {
        let first = items[0];
        match function {
            Function::Append => self.appended(first, items[1]),
            Function::Reverse => {
                if first.is_undefined() {
                    return Ok(first);
                }
                let base = self.memory.work.len();
                if !self.append(first)? {
                    return Err(Bail);
                }
                self.memory.work[base..].reverse();
                self.finish(base, Marks::PLAIN)
            }
            Function::Distinct => self.distinct(first),
            Function::Sort => self.sorted(first),
            Function::Keys => self.keys(first),
            Function::Lookup => self.lookup(first, items[1]),
            Function::Merge => self.merge(first),
            Function::Spread => self.spread(first),
            _ => unreachable!("{function:?} is no function of containers"),
        }
    }

    pub(super) fn aggregate(&mut self, function: Function, list: Item) -> Eval<Item> {
        if !self.is_array(list) {
            return Ok(self.number(list)?.map_or(Item::Undefined, Item::Number));
        }
        let mut total = Total::default();
        match list {
            Item::Array(sequence) => {
                let start = sequence.start as usize;
                for item in &self.memory.heap[start..start + sequence.len as usize] {
                    total.add(self.number(*item)?.ok_or(Bail)?);
                }
            }
            Item::Val(array) => {
                for element in self.values().elements(array) {
                    total.add(self.number(Item::Val(element))?.ok_or(Bail)?);
                }
            }
            Item::Undefined | Item::Number(_) => return Err(Bail),
        }
        self.spend(total.count)?;
        total.result(function)
    }

    fn count(&mut self, list: Item) -> Eval<Item> {
        Ok(Item::Number(match list {
            Item::Undefined => 0.0,
            Item::Array(sequence) => f64::from(sequence.len),
            Item::Val(val) if self.is_array(list) => {
                let len = self.values().len(val);
                self.spend(len)?;
                len as f64
            }
            item if self.is_null(item) => return Err(Bail),
            Item::Val(_) | Item::Number(_) => 1.0,
        }))
    }

    pub(super) fn is_null(&self, item: Item) -> bool {
        matches!(item, Item::Val(val) if self.values().kind(val) == Kind::Null)
    }

    fn to_number(&self, item: Item) -> Eval<Item> {
        let Item::Val(val) = item else {
            return match item {
                Item::Array(_) => Err(Bail),
                item => Ok(item),
            };
        };
        match self.values().kind(val) {
            Kind::Number => Ok(item),
            Kind::String => self.parsed(val),
            Kind::True => Ok(Item::Number(1.0)),
            Kind::False => Ok(Item::Number(0.0)),
            Kind::Null | Kind::Array | Kind::Object => Err(Bail),
        }
    }

    fn arithmetic_function(&self, function: Function, items: &[Item]) -> Eval<Item> {
        let second = match items.get(1) {
            Some(second) => Some(self.number(*second)?.ok_or(Bail)?),
            None => None,
        };
        let Some(n) = self.number(items[0])? else {
            return Ok(Item::Undefined);
        };
        match (function, second) {
            (Function::Abs, _) => Ok(Item::Number(n.abs())),
            (Function::Ceil, _) => Ok(Item::Number(n.ceil())),
            (Function::Floor, _) => Ok(Item::Number(n.floor())),
            (Function::Sqrt, _) if n >= 0.0 => Ok(Item::Number(n.sqrt())),
            (Function::Power, Some(exponent)) => finite(n.powf(exponent)),
            (Function::Round, decimals) => {
                let decimals = decimals.unwrap_or(0.0);
                if decimals.fract() != 0.0 || decimals.abs() > 15.0 {
                    return Err(Bail);
                }
                let rounded = number::round(n, decimals as i32).ok_or(Bail)?;
                Ok(Item::Number(rounded))
            }
            _ => Err(Bail),
        }
    }

    fn type_of(&self, item: Item) -> Item {
        let place = match item {
            Item::Undefined => return item,
            Item::Number(_) => 2,
            Item::Array(_) => 4,
            Item::Val(val) => match self.values().kind(val) {
                Kind::Null => 0,
                Kind::True | Kind::False => 1,
                Kind::Number => 2,
                Kind::String => 3,
                Kind::Array => 4,
                Kind::Object => 5,
            },
        };
        Item::Val(self.types[place])
    }

    fn appended(&mut self, first: Item, second: Item) -> Eval<Item> {
        if second.is_undefined() {
            return Ok(first);
        }
        if first.is_undefined() {
            return Ok(second);
        }
        let base = self.memory.work.len();
        for item in [first, second] {
            if !self.append(item)? {
                self.memory.work.push(item);
            }
        }
        self.finish(base, Marks::PLAIN)
    }

    fn distinct(&mut self, list: Item) -> Eval<Item> {
        if !self.is_array(list) {
            return Ok(list);
        }
        let (start, len) = self.items(list)?;
        if len <= 1 {
            return Ok(list);
        }
        if len > DISTINCT_MAX {
            return Err(Bail);
        }
        let base = self.memory.work.len();
        for place in start..start + len {
            let item = self.memory.heap[place];
            let mut is_new = true;
            for seen in base..self.memory.work.len() {
                self.step()?;
                if self.equal(item, self.memory.work[seen])? {
                    is_new = false;
                    break;
                }
            }
            if is_new {
                self.memory.work.push(item);
            }
        }
        let marks = match list {
            Item::Array(sequence) if sequence.marks.has(Marks::SEQUENCE) => Marks::SEQUENCE,
            _ => Marks::PLAIN,
        };
        self.finish(base, marks)
    }

    /// `$sort` without a function.
    fn sorted(&mut self, list: Item) -> Eval<Item> {
        if list.is_undefined() {
            return Ok(list);
        }
        let base = self.memory.work.len();
        if !self.append(list)? {
            return Err(Bail);
        }
        for place in base..self.memory.work.len() {
            let item = self.memory.work[place];
            if item.is_undefined() {
                return Err(Bail);
            }
            // Of one kind with the first.
            self.check_comparable(item)?;
            self.compare(self.memory.work[base], item)?;
        }
        let mut items = self.memory.work.split_off(base);
        let mut failed = false;
        items.sort_by(|a, b| {
            self.compare(*a, *b).unwrap_or_else(|Bail| {
                failed = true;
                std::cmp::Ordering::Equal
            })
        });
        if failed {
            return Err(Bail);
        }
        self.memory.work.extend(items);
        self.finish(base, Marks::PLAIN)
    }

    fn keys(&mut self, item: Item) -> Eval<Item> {
        let Item::Val(val) = item else {
            return match item {
                Item::Array(_) => Err(Bail),
                _ => Ok(Item::NOTHING),
            };
        };
        match self.values().kind(val) {
            Kind::Object => {}
            Kind::Array => return Err(Bail),
            _ => return Ok(Item::NOTHING),
        }
        let base = self.memory.members.len();
        self.push_members(val)?;
        let start = self.memory.heap.len();
        for place in base..self.memory.members.len() {
            self.step()?;
            let (key, _) = self.memory.members[place];
            let name = self.push_name(key);
            self.memory.heap.push(Item::Val(name));
        }
        self.memory.members.truncate(base);
        Ok(self.sequence_from(start, Marks::SEQUENCE))
    }

    /// Puts an object's members on the stack of members.
    pub(super) fn push_members(&mut self, object: Val) -> Eval<()> {
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        let base = self.memory.members.len();
        self.memory.members.extend(values.members(object));
        self.spend_bytes((self.memory.members.len() - base) * 32)?;
        if self.memory.members.len() > super::run::ITEMS_MAX {
            return Err(Bail);
        }
        Ok(())
    }

    /// The string of a member's name.
    pub(super) fn push_name(&mut self, key: crate::value::Key) -> Val {
        let mut text = std::mem::take(&mut self.memory.text);
        text.clear();
        text.push_str(&unescape(self.values().key_text(key)));
        let name = self.doc.push_string(&text);
        self.memory.text = text;
        name
    }

    fn lookup(&mut self, subject: Item, name: Item) -> Eval<Item> {
        let Item::Val(name) = name else {
            return Err(Bail);
        };
        let values = self.values();
        if values.kind(name) != Kind::String {
            return Err(Bail);
        }
        let Item::Val(subject) = subject else {
            return match subject {
                Item::Array(_) => Err(Bail),
                _ => Ok(Item::Undefined),
            };
        };
        if values.kind(subject) == Kind::Array {
            return Err(Bail);
        }
        // Canonical escapes: equal names are equal bytes.
        let wanted = values.text(name);
        let mut members = values.members(subject);
        let found = members.find(|(key, _)| values.key_text(*key) == wanted);
        Ok(found.map_or(Item::Undefined, |(_, val)| Item::Val(val)))
    }

    fn merge(&mut self, list: Item) -> Eval<Item> {
        match list {
            Item::Undefined => return Ok(list),
            Item::Val(val) if self.values().kind(val) == Kind::Object => return Ok(list),
            list if self.is_array(list) => {}
            _ => return Err(Bail),
        }
        let (start, len) = self.items(list)?;
        let base = self.memory.members.len();
        for place in start..start + len {
            match self.memory.heap[place] {
                Item::Val(object) if self.values().kind(object) == Kind::Object => {
                    self.merge_members(object, base)?;
                }
                _ => return Err(Bail),
            }
        }
        let merged = self
            .doc
            .push_object(self.constants, &self.memory.members[base..]);
        self.memory.members.truncate(base);
        Ok(Item::Val(merged))
    }

    /// `$merge` of something and an object of constant names.
    #[inline(never)]
    pub(super) fn put(&mut self, put: &Put, context: Item) -> Eval<Item> {
        let base = self.eval(&put.base.op, context)?;
        let object = match base {
            Item::Val(val) if !val.is_constant() && self.values().kind(val) == Kind::Object => val,
            base => return self.put_otherwise(put, base, context),
        };
        let mark = self.memory.members.len();
        self.push_constant_members(&put.members, context)?;
        let len = self.values().len(object) + self.memory.members.len() - mark;
        if len > MERGED_MAX {
            return Err(Bail);
        }
        self.step()?;
        self.spend_bytes(len * 32)?;
        let merged = self
            .doc
            .replace_members(self.constants, object, &self.memory.members[mark..]);
        self.memory.members.truncate(mark);
        Ok(Item::Val(merged))
    }

    /// The same, as the array constructor and `$merge` have it.
    fn put_otherwise(&mut self, put: &Put, base: Item, context: Item) -> Eval<Item> {
        let object = self.object(&put.members, context)?;
        let mark = self.memory.work.len();
        if !base.is_undefined() && (put.base.whole || !self.append(base)?) {
            self.memory.work.push(base);
        }
        self.memory.work.push(object);
        let list = self.finish(mark, Marks::PLAIN)?;
        self.merge(list)
    }

    /// Takes an object's members in: a name that is there already keeps its place.
    fn merge_members(&mut self, object: Val, base: usize) -> Eval<()> {
        let old = self.memory.members.len();
        self.push_members(object)?;
        if self.memory.members.len() - base > MERGED_MAX {
            return Err(Bail);
        }
        if object.is_constant() {
            // Constant names in an object that was made are one key per name: these may not be.
            for place in old..self.memory.members.len() {
                let name = unescape(self.values().key_text(self.memory.members[place].0));
                let name = Name::new(&name);
                self.memory.members[place].0 = self.doc.push_key(&name);
            }
        }
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        let members = &mut self.memory.members;
        let mut kept = old;
        for place in old..members.len() {
            let (key, val) = members[place];
            let name = values.key_text(key);
            let known = members[base..old]
                .iter()
                .position(|(other, _)| *other == key || values.key_text(*other) == name);
            match known {
                Some(known) => members[base + known].1 = val,
                None => {
                    members[kept] = (key, val);
                    kept += 1;
                }
            }
        }
        members.truncate(kept);
        Ok(())
    }

    fn spread(&mut self, item: Item) -> Eval<Item> {
        let Item::Val(object) = item else {
            return match item {
                Item::Array(_) => Err(Bail),
                item => Ok(item),
            };
        };
        match self.values().kind(object) {
            Kind::Object => {}
            Kind::Array | Kind::Null => return Err(Bail),
            _ => return Ok(item),
        }
        if object.is_constant() {
            return Err(Bail);
        }
        let base = self.memory.members.len();
        self.push_members(object)?;
        let start = self.memory.heap.len();
        for place in base..self.memory.members.len() {
            self.step()?;
            let member = self.memory.members[place];
            let single = self.doc.push_object(self.constants, &[member]);
            self.memory.heap.push(Item::Val(single));
        }
        self.memory.members.truncate(base);
        Ok(self.sequence_from(start, Marks::SEQUENCE))
    }
}
