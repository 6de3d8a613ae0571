//! Lambdas, and the functions that take one.

use super::Bail;
use super::op::{Higher, HigherCall, Op};
use super::run::{Eval, Machine};
use super::sequence::{Item, Marks};
use crate::value::Kind;

impl Machine<'_> {
    /// A call of a lambda that has a name.
    #[inline(never)]
    pub(super) fn apply(&mut self, lambda: u32, arguments: &[Op], context: Item) -> Eval<Item> {
        let base = self.memory.work.len();
        for argument in arguments {
            let argument = self.eval(argument, context)?;
            self.memory.work.push(argument);
        }
        for (place, slot) in self.lambdas[lambda as usize].parameters.iter().enumerate() {
            let value = self.memory.work[base..].get(place).copied();
            self.memory.slots[*slot as usize] = value.unwrap_or(Item::Undefined);
        }
        self.memory.work.truncate(base);
        self.run_lambda(lambda, context)
    }

    fn run_lambda(&mut self, lambda: u32, context: Item) -> Eval<Item> {
        self.step()?;
        let lambdas = self.lambdas;
        let lambda = &lambdas[lambda as usize];
        let context = match lambda.context {
            Some(slot) => self.memory.slots[slot as usize],
            None => context,
        };
        if lambda.passes_on {
            self.tail(&lambda.body, context)
        } else {
            self.eval(&lambda.body, context)
        }
    }

    /// The value of what a lambda ends in: of a call as the function gives it.
    fn tail(&mut self, op: &Op, context: Item) -> Eval<Item> {
        match op {
            Op::Condition(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = self.eval(condition, context)?;
                let is_true = self.truthy(condition)?;
                self.tail(if is_true { then } else { otherwise }, context)
            }
            Op::Block(statements) => {
                let Some((last, others)) = statements.split_last() else {
                    return Ok(Item::Undefined);
                };
                for statement in others {
                    self.eval(statement, context)?;
                }
                self.tail(last, context)
            }
            Op::Call(..) | Op::Higher(..) | Op::Apply(..) => self.raw(op, context),
            op => self.eval(op, context),
        }
    }

    fn set(&mut self, lambda: u32, parameter: usize, value: Item) {
        if let Some(slot) = self.lambdas[lambda as usize].parameters.get(parameter) {
            self.memory.slots[*slot as usize] = value;
        }
    }

    #[inline(never)]
    pub(super) fn higher(
        &mut self,
        higher: Higher,
        call: &HigherCall,
        context: Item,
    ) -> Eval<Item> {
        let subject = self.eval(&call.subject, context)?;
        if subject.is_undefined() {
            return Ok(subject);
        }
        match higher {
            Higher::Map | Higher::Filter | Higher::Single => {
                self.over_items(higher, call, subject, context)
            }
            Higher::Reduce => self.reduce(call, subject, context),
            Higher::Each | Higher::Sift => self.over_members(higher, call, subject, context),
            Higher::Sort => self.sort_by(call, subject, context),
        }
    }

    fn over_items(
        &mut self,
        higher: Higher,
        call: &HigherCall,
        subject: Item,
        context: Item,
    ) -> Eval<Item> {
        let parameters = self.lambdas[call.lambda as usize].parameters.len();
        if self.is_null(subject) || parameters > 2 && !self.is_array(subject) {
            return Err(Bail);
        }
        let (start, len) = self.items(subject)?;
        let base = self.memory.work.len();
        for index in 0..len {
            let item = unmarked(self.memory.heap[start + index])?;
            let mark = self.memory.heap.len();
            self.set(call.lambda, 0, item);
            self.set(call.lambda, 1, Item::Number(index as f64));
            self.set(call.lambda, 2, subject);
            let value = self.run_lambda(call.lambda, context)?;
            if !matches!(value, Item::Array(_)) {
                self.memory.heap.truncate(mark);
            }
            let result = match higher {
                Higher::Map => value,
                _ if self.truthy(value)? => item,
                _ => Item::Undefined,
            };
            if !result.is_undefined() {
                self.memory.work.push(result);
            }
        }
        if higher == Higher::Filter && !self.is_array(subject) {
            let passed = self.memory.work[base..].first().copied();
            self.memory.work.truncate(base);
            return Ok(passed.unwrap_or(Item::Undefined));
        }
        if higher != Higher::Single {
            return self.finish(base, Marks::SEQUENCE);
        }
        // No match or several are errors.
        match self.memory.work[base..] {
            [item] => {
                self.memory.work.truncate(base);
                Ok(item)
            }
            _ => Err(Bail),
        }
    }

    fn reduce(&mut self, call: &HigherCall, subject: Item, context: Item) -> Eval<Item> {
        let parameters = self.lambdas[call.lambda as usize].parameters.len();
        if self.is_null(subject) || parameters > 3 && !self.is_array(subject) {
            return Err(Bail);
        }
        let (start, len) = self.items(subject)?;
        if len == 0 {
            return Err(Bail);
        }
        let (mut value, first) = match &call.initial {
            Some(initial) => (self.eval(initial, context)?, 0),
            None => (self.memory.heap[start], 1),
        };
        if call.initial.is_some() && value.is_undefined() {
            return Err(Bail);
        }
        for index in first..len {
            let mark = self.memory.heap.len();
            self.set(call.lambda, 0, unmarked(value)?);
            self.set(call.lambda, 1, unmarked(self.memory.heap[start + index])?);
            self.set(call.lambda, 2, Item::Number(index as f64));
            self.set(call.lambda, 3, subject);
            value = self.run_lambda(call.lambda, context)?;
            if !matches!(value, Item::Array(_)) {
                self.memory.heap.truncate(mark);
            }
        }
        Ok(value)
    }

    fn over_members(
        &mut self,
        higher: Higher,
        call: &HigherCall,
        subject: Item,
        context: Item,
    ) -> Eval<Item> {
        let Item::Val(object) = subject else {
            return Err(Bail);
        };
        if self.values().kind(object) != Kind::Object {
            return Err(Bail);
        }
        // What is sifted keeps its names, which of a constant may not be the program's own keys.
        if higher == Higher::Sift && object.is_constant() {
            return Err(Bail);
        }
        let wants_names = self.lambdas[call.lambda as usize].parameters.len() > 1;
        let first = self.memory.members.len();
        self.push_members(object)?;
        let last = self.memory.members.len();
        let base = self.memory.work.len();
        let mut kept = first;
        for place in first..last {
            let (key, val) = self.memory.members[place];
            let mark = self.memory.heap.len();
            self.set(call.lambda, 0, Item::Val(val));
            if wants_names {
                let name = self.push_name(key);
                self.set(call.lambda, 1, Item::Val(name));
            }
            self.set(call.lambda, 2, subject);
            let value = self.run_lambda(call.lambda, context)?;
            if !matches!(value, Item::Array(_)) {
                self.memory.heap.truncate(mark);
            }
            if higher == Higher::Each {
                if !value.is_undefined() {
                    self.memory.work.push(value);
                }
            } else if self.truthy(value)? {
                self.memory.members[kept] = (key, val);
                kept += 1;
            }
        }
        if higher == Higher::Each {
            self.memory.members.truncate(first);
            return self.finish(base, Marks::SEQUENCE);
        }
        let sifted = match kept - first {
            0 => Item::Undefined,
            _ => {
                let members = &self.memory.members[first..kept];
                Item::Val(self.doc.push_object(self.constants, members))
            }
        };
        self.memory.members.truncate(first);
        Ok(sifted)
    }
    /// `$sort` with a function, which says whether two items are to change places.
    fn sort_by(&mut self, call: &HigherCall, subject: Item, context: Item) -> Eval<Item> {
        if !self.is_array(subject) {
            return Err(Bail);
        }
        let base = self.memory.work.len();
        self.append(subject)?;
        let mut items = self.memory.work.split_off(base);
        self.merge_sort(call, &mut items, context)?;
        self.memory.work.extend(items);
        self.finish(base, Marks::PLAIN)
    }

    /// jsonata-js's own merge sort, since the order of comparisons shows where they contradict each other.
    fn merge_sort(&mut self, call: &HigherCall, items: &mut [Item], context: Item) -> Eval<()> {
        if items.len() < 2 {
            return Ok(());
        }
        let middle = items.len() / 2;
        self.merge_sort(call, &mut items[..middle], context)?;
        self.merge_sort(call, &mut items[middle..], context)?;
        let mut merged = Vec::with_capacity(items.len());
        let (mut left, mut right) = (0, middle);
        while left < middle && right < items.len() {
            let mark = self.memory.heap.len();
            self.set(call.lambda, 0, items[left]);
            self.set(call.lambda, 1, items[right]);
            let swap = self.run_lambda(call.lambda, context)?;
            self.memory.heap.truncate(mark);
            let swap = match swap {
                Item::Val(val) => match self.values().kind(val) {
                    Kind::True => true,
                    Kind::False => false,
                    _ => return Err(Bail),
                },
                Item::Undefined | Item::Number(_) | Item::Array(_) => return Err(Bail),
            };
            let next = if swap { &mut right } else { &mut left };
            merged.push(items[*next]);
            *next += 1;
        }
        merged.extend_from_slice(&items[left..middle]);
        merged.extend_from_slice(&items[right..]);
        items.copy_from_slice(&merged);
        Ok(())
    }
}

/// Bails if an item is a sequence of one item or none that nothing has unwrapped yet: a variable would unwrap it, but not
/// every function that is given it.
fn unmarked(item: Item) -> Eval<Item> {
    match item {
        Item::Array(sequence) if sequence.marks.has(Marks::SEQUENCE) && sequence.len < 2 => {
            Err(Bail)
        }
        item => Ok(item),
    }
}
