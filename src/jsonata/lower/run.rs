//! The evaluator's core: ops of values, operators, constructors. Paths and functions have files of their own.
//!
//! Evaluation recurses over the ops, never over the user's data. Whatever is not certain to be exactly as the slow path
//! has it ends in a [`Bail`].

use super::Bail;
use super::number;
use super::op::{Arithmetic, Element, Lambda, MemberOf, Object, ObjectKey, Op, Order, Reach};
use super::sequence::{Item, Marks, Memory, Sequence};
use crate::stdx::narrow;
use crate::value::{Doc, Key, Kind, Name, Val, Values};

pub(super) type Eval<T> = Result<T, Bail>;

/// Steps of one evaluation: items that a path, a filter or a function goes over.
const FUEL: u32 = 4_000_000;

/// Items of all sequences of one evaluation.
pub(super) const ITEMS_MAX: usize = 1 << 19;

/// Bytes of text that one evaluation may make at once.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 22;

/// Bytes that one evaluation may add to the document.
const GROWTH_MAX: usize = 1 << 23;

/// How deep arrays that were made may nest.
const ARRAYS_MAX: usize = 100;

/// One evaluation.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) lambdas: &'a [Lambda],
    /// The names of types, as `$type` gives them; see `Function::Type`.
    pub(super) types: &'a [Val; 6],
    pub(super) doc: &'a mut Doc,
    pub(super) constants: &'a Doc,
    pub(super) memory: &'a mut Memory,
    pub(super) fuel: u32,
    /// Bytes of the document at which the evaluation gives up.
    bytes_max: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(
        lambdas: &'a [Lambda],
        types: &'a [Val; 6],
        (doc, constants): (&'a mut Doc, &'a Doc),
        memory: &'a mut Memory,
    ) -> Machine<'a> {
        let bytes_max = doc.memory() + GROWTH_MAX;
        Machine {
            lambdas,
            types,
            doc,
            constants,
            memory,
            fuel: FUEL,
            bytes_max,
        }
    }

    #[inline(always)]
    pub(super) fn values(&self) -> Values<'_> {
        Values {
            doc: self.doc,
            constants: self.constants,
        }
    }

    /// One more step.
    #[inline]
    pub(super) fn step(&mut self) -> Eval<()> {
        self.fuel = self.fuel.checked_sub(1).ok_or(Bail)?;
        if self.fuel.is_multiple_of(1_024) && self.doc.memory() > self.bytes_max {
            return Err(Bail);
        }
        Ok(())
    }

    /// So many elements or members are gone over.
    #[inline]
    pub(super) fn spend(&mut self, elements: usize) -> Eval<()> {
        let elements = u32::try_from(elements).map_err(|_| Bail)?;
        self.fuel = self.fuel.checked_sub(elements).ok_or(Bail)?;
        Ok(())
    }

    /// So many bytes of text are read or written.
    #[inline]
    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Eval<()> {
        if bytes > 1_024 && self.doc.memory() + bytes > self.bytes_max {
            return Err(Bail);
        }
        self.spend(bytes / 32)
    }

    /// The value of an op.
    #[inline]
    pub(super) fn eval(&mut self, op: &Op, context: Item) -> Eval<Item> {
        let item = self.raw(op, context)?;
        Ok(self.unwrapped(item))
    }

    /// A sequence of nothing is undefined, and one of one item is that item.
    #[inline]
    pub(super) fn unwrapped(&self, item: Item) -> Item {
        match item {
            Item::Array(sequence) if sequence.marks.has(Marks::SEQUENCE) => match sequence.len {
                0 => Item::Undefined,
                1 if !sequence.marks.has(Marks::KEPT) => self.memory.heap[sequence.start as usize],
                _ => item,
            },
            _ => item,
        }
    }

    /// The value of an op before [`Machine::unwrapped`].
    pub(super) fn raw(&mut self, op: &Op, context: Item) -> Eval<Item> {
        match op {
            Op::Undefined => Ok(Item::Undefined),
            Op::Constant(val) => Ok(Item::Val(*val)),
            Op::Number(n) => Ok(Item::Number(*n)),
            Op::Root(root) => {
                Ok(self.memory.roots[*root as usize].map_or(Item::Undefined, Item::Val))
            }
            Op::Slot(slot) => Ok(self.memory.slots[*slot as usize]),
            Op::Context => Ok(context),
            Op::Reach(reach) => self.reach(reach, context),
            Op::Member(of) => self.member_of(of, context),
            Op::Path(path) => self.path(path, context),
            Op::Filtered(filtered) => self.filtered(filtered, context),
            Op::Object(object) => self.object(object, context),
            Op::Array(elements) => self.array(elements, context, Marks::PLAIN),
            Op::Concat(operands) => self.concat(operands, context),
            Op::Call(function, arguments) => self.call(*function, arguments, context),
            Op::Put(put) => self.put(put, context),
            Op::Over(function, path) => self.over(*function, path, context),
            Op::Higher(higher, call) => self.higher(*higher, call, context),
            Op::Apply(lambda, arguments) => self.apply(*lambda, arguments, context),
            Op::Sort(sort) => self.sort(sort, context),
            Op::Group(group) => self.group(group, context),
            Op::Wildcard => self.wildcard(context),
            Op::Block(_) | Op::Bind(..) | Op::Define(_) | Op::Condition(_) => {
                self.control(op, context)
            }
            Op::Negate(_)
            | Op::Arithmetic(..)
            | Op::Order(..)
            | Op::Equal(_)
            | Op::NotEqual(_)
            | Op::In(_)
            | Op::And(_)
            | Op::Or(_)
            | Op::Range(_) => self.operator(op, context),
        }
    }

    /// Names through objects; what meets an array is a path like any other.
    #[inline]
    pub(super) fn reach(&mut self, reach: &Reach, context: Item) -> Eval<Item> {
        let Some(start) = self.memory.roots[reach.root as usize] else {
            return Ok(Item::Undefined);
        };
        match reach.follow(self.values(), start) {
            Ok(found) => Ok(found.map_or(Item::Undefined, Item::Val)),
            Err(Bail) => self.path(&reach.path, context),
        }
    }

    #[inline]
    fn member_of(&mut self, of: &MemberOf, context: Item) -> Eval<Item> {
        if let Item::Val(val) = self.bearer(of, context) {
            match self.values().open(val) {
                other if !other.is_object() => {}
                object => {
                    let found = self.values().get_named(object, &of.member);
                    return Ok(found.map_or(Item::Undefined, Item::Val));
                }
            }
        }
        self.path(&of.path, context)
    }

    #[inline(never)]
    fn control(&mut self, op: &Op, context: Item) -> Eval<Item> {
        match op {
            Op::Block(statements) => {
                let mut last = Item::Undefined;
                for statement in statements {
                    last = self.eval(statement, context)?;
                }
                Ok(last)
            }
            Op::Bind(slot, value) => {
                let value = self.eval(value, context)?;
                self.memory.slots[*slot as usize] = value;
                Ok(value)
            }
            Op::Define(slot) => {
                self.memory.slots[*slot as usize] = context;
                Ok(Item::Undefined)
            }
            Op::Condition(parts) => {
                let [condition, then, otherwise] = &**parts;
                let condition = self.eval(condition, context)?;
                let chosen = if self.truthy(condition)? {
                    then
                } else {
                    otherwise
                };
                self.eval(chosen, context)
            }
            _ => unreachable!("{op:?} is no control"),
        }
    }

    #[inline(never)]
    pub(super) fn operator(&mut self, op: &Op, context: Item) -> Eval<Item> {
        match op {
            Op::Negate(operand) => {
                let operand = self.eval(operand, context)?;
                Ok(self
                    .number(operand)?
                    .map_or(Item::Undefined, |n| Item::Number(-n)))
            }
            Op::Arithmetic(arithmetic, operands) => {
                let number = self.arithmetic(*arithmetic, operands, context)?;
                Ok(number.map_or(Item::Undefined, Item::Number))
            }
            Op::Order(order, operands) => {
                let (left, right) = self.both(operands, context)?;
                self.order(*order, left, right)
            }
            Op::Equal(operands) => {
                let (left, right) = self.both(operands, context)?;
                Ok(Item::bool(self.equal(left, right)?))
            }
            Op::NotEqual(operands) => {
                let (left, right) = self.both(operands, context)?;
                let defined = !left.is_undefined() && !right.is_undefined();
                Ok(Item::bool(defined && !self.equal(left, right)?))
            }
            Op::In(operands) => {
                let (left, right) = self.both(operands, context)?;
                Ok(Item::bool(self.contained(left, right)?))
            }
            Op::And(operands) | Op::Or(operands) => {
                let [left, right] = &**operands;
                let left = self.eval(left, context)?;
                let decided = matches!(op, Op::Or(_));
                if self.truthy(left)? == decided {
                    return Ok(Item::bool(decided));
                }
                let right = self.eval(right, context)?;
                Ok(Item::bool(self.truthy(right)?))
            }
            Op::Range(operands) => {
                let (left, right) = self.both(operands, context)?;
                self.range(left, right)
            }
            _ => unreachable!("{op:?} is no operator"),
        }
    }

    #[inline]
    fn both(&mut self, operands: &[Op; 2], context: Item) -> Eval<(Item, Item)> {
        let left = self.operand(&operands[0], context)?;
        let right = self.operand(&operands[1], context)?;
        Ok((left, right))
    }

    /// The value of an operand, without a detour for those that are most frequent.
    #[inline]
    pub(super) fn operand(&mut self, op: &Op, context: Item) -> Eval<Item> {
        match op {
            Op::Reach(reach) => {
                let item = self.reach(reach, context)?;
                Ok(self.unwrapped(item))
            }
            Op::Member(of) => {
                let item = self.member_of(of, context)?;
                Ok(self.unwrapped(item))
            }
            Op::Number(n) => Ok(Item::Number(*n)),
            Op::Constant(val) => Ok(Item::Val(*val)),
            op => self.eval(op, context),
        }
    }

    /// The double of a number; `None` of undefined. Anything else is an error, which the slow path words.
    #[inline]
    pub(super) fn number(&self, item: Item) -> Eval<Option<f64>> {
        match item {
            Item::Number(n) => Ok(Some(n)),
            Item::Undefined => Ok(None),
            Item::Val(val) => match self.values().as_f64(val) {
                Some(n) if n.is_finite() => Ok(Some(n)),
                _ => Err(Bail),
            },
            Item::Array(_) => Err(Bail),
        }
    }

    /// The double of a number; `None` of anything else.
    #[inline]
    fn only_number(&self, item: Item) -> Option<f64> {
        match item {
            Item::Number(n) => Some(n),
            Item::Val(val) => self.values().as_f64(val).filter(|n| n.is_finite()),
            Item::Undefined | Item::Array(_) => None,
        }
    }

    #[inline(never)]
    fn arithmetic(
        &mut self,
        arithmetic: Arithmetic,
        operands: &[Op; 2],
        context: Item,
    ) -> Eval<Option<f64>> {
        let [left, right] = self.numbers(operands, context)?;
        let (Some(left), Some(right)) = (left, right) else {
            return Ok(None);
        };
        let n = match arithmetic {
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
            Arithmetic::Multiply => left * right,
            Arithmetic::Divide => left / right,
            Arithmetic::Modulo => left % right,
        };
        // An infinity is an error or not, as it is used; the slow path knows.
        if n.is_finite() {
            Ok(Some(n))
        } else {
            Err(Bail)
        }
    }

    /// The numbers that two ops give, which are often two members of one object.
    #[inline(always)]
    fn numbers(&mut self, operands: &[Op; 2], context: Item) -> Eval<[Option<f64>; 2]> {
        if let [Op::Member(left), Op::Member(right)] = operands
            && left.slot == right.slot
            && let Item::Val(val) = self.bearer(left, context)
        {
            let values = self.values();
            let object = values.open(val);
            if object.is_object() {
                let [left, right] = values.get_both(object, &left.member, &right.member);
                return Ok([self.number_at(left)?, self.number_at(right)?]);
            }
        }
        let [left, right] = operands;
        Ok([self.numeric(left, context)?, self.numeric(right, context)?])
    }

    /// The number that an op gives; `None` of undefined. Anything else is an error.
    #[inline(always)]
    pub(super) fn numeric(&mut self, op: &Op, context: Item) -> Eval<Option<f64>> {
        match op {
            Op::Number(n) => Ok(Some(*n)),
            Op::Arithmetic(arithmetic, operands) => self.arithmetic(*arithmetic, operands, context),
            op => self.number_of(op, context),
        }
    }

    /// Whose member it is.
    #[inline(always)]
    fn bearer(&self, of: &MemberOf, context: Item) -> Item {
        match of.slot {
            Some(slot) => self.memory.slots[slot as usize],
            None => context,
        }
    }

    #[inline(always)]
    fn number_at(&self, found: Option<Val>) -> Eval<Option<f64>> {
        match found {
            None => Ok(None),
            Some(val) => self.number(Item::Val(val)),
        }
    }

    #[inline(never)]
    fn number_of(&mut self, op: &Op, context: Item) -> Eval<Option<f64>> {
        let operand = self.operand(op, context)?;
        self.number(operand)
    }

    fn order(&self, order: Order, left: Item, right: Item) -> Eval<Item> {
        let ordering = match (self.only_number(left), self.only_number(right)) {
            (Some(left), Some(right)) => left.partial_cmp(&right).ok_or(Bail)?,
            _ => {
                self.check_comparable(left)?;
                self.check_comparable(right)?;
                if left.is_undefined() || right.is_undefined() {
                    return Ok(Item::Undefined);
                }
                self.compare(left, right)?
            }
        };
        Ok(Item::bool(match order {
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
        }))
    }

    fn range(&mut self, left: Item, right: Item) -> Eval<Item> {
        let (Some(left), Some(right)) = (self.number(left)?, self.number(right)?) else {
            return Ok(Item::NOTHING);
        };
        // Within these bounds integers are exact.
        let is_bound = |n: f64| n.fract() == 0.0 && n.abs() < 1e15;
        if !is_bound(left) || !is_bound(right) {
            return Err(Bail);
        }
        let (first, last) = (left as i64, right as i64);
        let len = usize::try_from(last - first + 1).unwrap_or(0);
        self.check_room(len)?;
        self.spend(len)?;
        let start = self.memory.heap.len();
        let numbers = (first..=last).map(|n| Item::Number(n as f64));
        self.memory.heap.extend(numbers);
        Ok(self.sequence_from(start, Marks::SEQUENCE))
    }

    /// Bails if so many more items would be too many.
    pub(super) fn check_room(&self, items: usize) -> Eval<()> {
        if self.memory.heap.len() + self.memory.work.len() + items > ITEMS_MAX {
            return Err(Bail);
        }
        Ok(())
    }

    /// The items of the heap from `start` on, as an array.
    pub(super) fn sequence_from(&self, start: usize, marks: Marks) -> Item {
        Item::Array(Sequence {
            start: narrow(start),
            len: narrow(self.memory.heap.len() - start),
            marks,
        })
    }

    /// What was put on the work stack since `base`, as an array.
    pub(super) fn finish(&mut self, base: usize, marks: Marks) -> Eval<Item> {
        let len = self.memory.work.len() - base;
        self.check_room(len)?;
        self.spend(len)?;
        let start = self.memory.heap.len();
        self.memory
            .heap
            .extend_from_slice(&self.memory.work[base..]);
        self.memory.work.truncate(base);
        Ok(self.sequence_from(start, marks))
    }

    /// A sequence of one item.
    pub(super) fn sequence_of(&mut self, item: Item, marks: Marks) -> Item {
        let start = self.memory.heap.len();
        self.memory.heap.push(item);
        self.sequence_from(start, marks)
    }

    #[inline]
    pub(super) fn is_array(&self, item: Item) -> bool {
        match item {
            Item::Array(_) => true,
            Item::Val(val) => self.values().kind(val) == Kind::Array,
            Item::Undefined | Item::Number(_) => false,
        }
    }

    /// The items of an array, or the one item, as a range of the heap.
    pub(super) fn items(&mut self, item: Item) -> Eval<(usize, usize)> {
        if let Item::Array(sequence) = item {
            return Ok((sequence.start as usize, sequence.len as usize));
        }
        let start = self.memory.heap.len();
        match item {
            Item::Val(array) if self.is_array(item) => {
                let values = Values {
                    doc: self.doc,
                    constants: self.constants,
                };
                self.memory
                    .heap
                    .extend(values.elements(array).map(Item::Val));
                self.check_room(0)?;
            }
            item => self.memory.heap.push(item),
        }
        let len = self.memory.heap.len() - start;
        self.spend(len)?;
        Ok((start, len))
    }

    /// Appends the items of an array to the work stack; false, and nothing is appended, for anything else.
    pub(super) fn append(&mut self, item: Item) -> Eval<bool> {
        match item {
            Item::Array(sequence) => {
                let start = sequence.start as usize;
                self.check_room(sequence.len as usize)?;
                self.spend(sequence.len as usize)?;
                let items = &self.memory.heap[start..start + sequence.len as usize];
                self.memory.work.extend_from_slice(items);
                Ok(true)
            }
            Item::Val(array) if self.is_array(item) => {
                let values = Values {
                    doc: self.doc,
                    constants: self.constants,
                };
                let base = self.memory.work.len();
                self.memory
                    .work
                    .extend(values.elements(array).map(Item::Val));
                self.check_room(0)?;
                self.spend(self.memory.work.len() - base)?;
                Ok(true)
            }
            Item::Val(_) | Item::Number(_) | Item::Undefined => Ok(false),
        }
    }

    /// An array constructor.
    #[inline(never)]
    pub(super) fn array(
        &mut self,
        elements: &[Element],
        context: Item,
        marks: Marks,
    ) -> Eval<Item> {
        let base = self.memory.work.len();
        for element in elements {
            let item = self.eval(&element.op, context)?;
            if !item.is_undefined() && (element.whole || !self.append(item)?) {
                self.memory.work.push(item);
            }
        }
        self.finish(base, marks)
    }

    /// An object constructor.
    #[inline(never)]
    pub(super) fn object(&mut self, object: &Object, context: Item) -> Eval<Item> {
        let base = self.memory.members.len();
        if object.computes {
            self.check_single(object, context)?;
            for (key, value) in self.computed_keys(object, context)? {
                self.push_member(object.last, key, value, context)?;
            }
        } else {
            self.push_constant_members(object, context)?;
        }
        Ok(self.push_members_since(base))
    }

    /// Pushes the members of an object whose names are all constants.
    #[inline]
    pub(super) fn push_constant_members(&mut self, object: &Object, context: Item) -> Eval<()> {
        self.check_single(object, context)?;
        for (key, value) in &object.members {
            if let ObjectKey::Constant(key) = key {
                self.push_member(object.last, *key, value, context)?;
            }
        }
        Ok(())
    }

    /// Over an array an object constructor groups.
    fn check_single(&self, object: &Object, context: Item) -> Eval<()> {
        if !object.outer && self.is_array(context) {
            return Err(Bail);
        }
        Ok(())
    }

    /// The keys of an object with computed names, all of which are known before its values are. Bails if two are the
    /// same, whether there will be a value or not.
    fn computed_keys<'o>(&mut self, object: &'o Object, context: Item) -> Eval<Vec<(Key, &'o Op)>> {
        let mut keys: Vec<(Key, &Op)> = Vec::with_capacity(object.members.len());
        for (key, value) in &object.members {
            let key = match key {
                ObjectKey::Constant(key) => *key,
                ObjectKey::Computed(name) => {
                    let name = match self.eval(name, context)? {
                        Item::Undefined => continue,
                        Item::Val(val) => self.values().string(val).ok_or(Bail)?,
                        Item::Number(_) | Item::Array(_) => return Err(Bail),
                    };
                    let name = Name::new(&name);
                    self.doc.push_key(&name)
                }
            };
            let values = self.values();
            let text = values.key_text(key);
            if keys
                .iter()
                .any(|(other, _)| values.key_text(*other) == text)
            {
                return Err(Bail);
            }
            keys.push((key, value));
        }
        Ok(keys)
    }

    /// Bails if an array bears a mark that JSONata would still see after it was put into an object.
    pub(super) fn check_unmarked(&mut self, item: Item, depth: usize) -> Eval<()> {
        let Item::Array(sequence) = item else {
            return Ok(());
        };
        let is_short = sequence.marks.has(Marks::SEQUENCE) && sequence.len < 2;
        let is_marked = sequence.marks.has(Marks::KEPT.with(Marks::WHOLE));
        if is_short || is_marked || depth > ARRAYS_MAX {
            return Err(Bail);
        }
        // Arrays that stand in many places are gone over in each of them.
        self.spend(sequence.len as usize)?;
        let start = sequence.start as usize;
        (start..start + sequence.len as usize)
            .try_for_each(|place| self.check_unmarked(self.memory.heap[place], depth + 1))
    }

    /// The value in the document; `None` of undefined.
    pub(super) fn value(&mut self, item: Item) -> Eval<Option<Val>> {
        Ok(match item {
            Item::Undefined => None,
            Item::Val(val) => Some(val),
            Item::Number(n) => Some(self.push_number(n)),
            Item::Array(sequence) => Some(self.push_sequence(sequence, 0)?),
        })
    }

    pub(super) fn push_number(&mut self, n: f64) -> Val {
        number::with_javascript(n, |text| self.doc.push_number_text(text))
    }

    fn push_sequence(&mut self, sequence: Sequence, depth: usize) -> Eval<Val> {
        if depth > ARRAYS_MAX {
            return Err(Bail);
        }
        self.spend_bytes(sequence.len as usize * 32)?;
        let base = self.memory.values.len();
        let start = sequence.start as usize;
        for place in start..start + sequence.len as usize {
            let val = match self.memory.heap[place] {
                Item::Undefined => continue,
                Item::Val(val) => val,
                Item::Number(n) => self.push_number(n),
                Item::Array(inner) => self.push_sequence(inner, depth + 1)?,
            };
            self.memory.values.push(val);
        }
        let array = self
            .doc
            .push_array(self.constants, &self.memory.values[base..]);
        self.memory.values.truncate(base);
        Ok(array)
    }
}

/// A number that was computed. An infinity is an error or not, as it is used; the slow path knows.
#[inline]
pub(super) fn finite(n: f64) -> Eval<Item> {
    if n.is_finite() {
        Ok(Item::Number(n))
    } else {
        Err(Bail)
    }
}
