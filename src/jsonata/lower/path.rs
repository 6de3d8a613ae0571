//! Paths: steps that map over items, filters, orders.

use std::cmp::Ordering;

use super::Bail;
use super::function::Total;
use super::op::{Direction, Filtered, Function, Node, Op, Path, Reach, Sort, Stage, Step};
use super::run::{Eval, ITEMS_MAX, Machine};
use super::sequence::{Item, Marks};
use crate::value::{Cursor, Kind, MemberName, Val, Values};

/// How deep arrays within arrays are searched for a member.
const ARRAYS_MAX: usize = 64;

/// The results of a step, one for each of its items. What is flattened is flattened once a second result comes.
#[derive(Debug)]
struct Results {
    base: usize,
    count: usize,
    first: Item,
}

/// A place in an array while its items are gone over.
#[derive(Debug)]
enum Iterated {
    Elements(Cursor),
    Heap { at: usize, end: usize },
}

impl Reach {
    /// What the names lead to from `val`, through objects. Bails where one of them meets an array.
    #[inline(always)]
    pub(super) fn follow(&self, values: Values<'_>, mut val: Val) -> Eval<Option<Val>> {
        for name in &self.names {
            let object = values.open(val);
            if !object.is_object() {
                return match values.kind(val) {
                    Kind::Array => Err(Bail),
                    _ => Ok(None),
                };
            }
            match values.get_named(object, name) {
                Some(member) => val = member,
                None => return Ok(None),
            }
        }
        Ok(Some(val))
    }
}

impl Machine<'_> {
    #[inline(never)]
    pub(super) fn path(&mut self, path: &Path, context: Item) -> Eval<Item> {
        let value = self.steps(&path.steps, 0, path.whole, context)?;
        Ok(if path.keep { self.kept(value) } else { value })
    }

    /// What some of the first steps of a path give; `after` steps follow on them.
    #[inline(always)]
    fn steps(&mut self, steps: &[Step], after: usize, whole: bool, context: Item) -> Eval<Item> {
        let mut current = context;
        // The first step may take an array as one item.
        let mut is_one = whole;
        let mut steps = steps.iter();
        while let Some(step) = steps.next() {
            let is_last = steps.len() + after == 0;
            // The common steps: they are here so that a path of names costs no more than its lookups.
            match (&step.node, &*step.stages, current) {
                (Node::Name(member), [], Item::Val(val)) => match self.values().open(val) {
                    other if !other.is_object() => {}
                    object => match self.values().get_named(object, member) {
                        Some(val) => {
                            current = Item::Val(val);
                            is_one = false;
                            continue;
                        }
                        None => return Ok(Item::Undefined),
                    },
                },
                (Node::Op(op @ (Op::Root(_) | Op::Slot(_))), [], _) if is_one => {
                    match self.eval(op, current)? {
                        Item::Undefined => return Ok(Item::Undefined),
                        value @ Item::Val(_) => {
                            current = value;
                            is_one = false;
                            continue;
                        }
                        Item::Number(_) | Item::Array(_) => {}
                    }
                }
                _ => {}
            }
            current = if is_one || !self.is_array(current) {
                let value = self.step_value(step, current)?;
                self.collected(value, is_last)
            } else {
                self.map(step, current, is_last)?
            };
            is_one = false;
            if self.is_empty(current) {
                if !is_last {
                    current = Item::NOTHING;
                }
                break;
            }
        }
        Ok(current)
    }

    /// An aggregate of a path whose last step gives a number for each item, as far as there is an array of them.
    #[inline(never)]
    pub(super) fn over(&mut self, function: Function, path: &Path, context: Item) -> Eval<Item> {
        let (last, steps) = path.steps.split_last().ok_or(Bail)?;
        let items = self.steps(steps, 1, path.whole, context)?;
        if self.is_empty(items) {
            return Ok(Item::Undefined);
        }
        let value = if self.is_array(items) {
            let mut total = Total::default();
            if self.add_up(&mut total, &last.node, items)? {
                // No number at all is nothing, of which there is no sum either.
                return match total.is_empty() {
                    true => Ok(Item::Undefined),
                    false => total.result(function),
                };
            }
            self.map(last, items, true)?
        } else {
            let value = self.step_value(last, items)?;
            self.collected(value, true)
        };
        let value = self.unwrapped(value);
        self.aggregate(function, value)
    }

    /// Adds up what a step gives for each item of an array; false if one of them is no number.
    fn add_up(&mut self, total: &mut Total, node: &Node, array: Item) -> Eval<bool> {
        let mut items = self.iterate(array)?;
        while let Some(item) = self.next_of(&mut items) {
            self.step()?;
            let n = match (node, item) {
                (Node::Name(member), Item::Val(val)) => {
                    let values = self.values();
                    match values.get_named(values.open(val), member) {
                        Some(val) => match values.as_f64(val) {
                            Some(n) if n.is_finite() => n,
                            _ => return Ok(false),
                        },
                        None if values.kind(val) == Kind::Array => return Ok(false),
                        None => continue,
                    }
                }
                (Node::Op(op), item) => match self.numeric(op, item)? {
                    Some(n) => n,
                    None => continue,
                },
                _ => return Ok(false),
            };
            total.add(n);
        }
        Ok(true)
    }

    /// Before the first item of an array.
    fn iterate(&self, array: Item) -> Eval<Iterated> {
        match array {
            Item::Val(array) => Ok(Iterated::Elements(self.values().cursor(array))),
            Item::Array(sequence) => Ok(Iterated::Heap {
                at: sequence.start as usize,
                end: sequence.start as usize + sequence.len as usize,
            }),
            Item::Undefined | Item::Number(_) => Err(Bail),
        }
    }

    #[inline]
    fn next_of(&self, items: &mut Iterated) -> Option<Item> {
        match items {
            Iterated::Elements(cursor) => cursor.next(self.values()).map(Item::Val),
            Iterated::Heap { at, end } => {
                let item = (*at < *end).then(|| self.memory.heap[*at]);
                *at += 1;
                item
            }
        }
    }

    fn is_empty(&self, item: Item) -> bool {
        match item {
            Item::Undefined => true,
            Item::Array(sequence) => sequence.len == 0,
            Item::Val(val) => {
                self.values().kind(val) == Kind::Array && self.values().size(val) == 2
            }
            Item::Number(_) => false,
        }
    }

    /// The one result of a step, as the step's result. What is no array stands for the sequence of it.
    fn collected(&mut self, value: Item, is_last: bool) -> Item {
        match value {
            Item::Array(sequence) if is_last && !sequence.marks.has(Marks::SEQUENCE) => value,
            Item::Array(sequence) if sequence.marks.has(Marks::WHOLE) => {
                self.sequence_of(value, Marks::SEQUENCE)
            }
            Item::Array(mut sequence) => {
                sequence.marks = Marks::SEQUENCE;
                Item::Array(sequence)
            }
            value => value,
        }
    }

    /// `[]` on a path.
    fn kept(&mut self, value: Item) -> Item {
        let kept = Marks::SEQUENCE.with(Marks::KEPT);
        match value {
            Item::Undefined => value,
            Item::Array(sequence)
                if sequence.marks.has(Marks::WHOLE) && !sequence.marks.has(Marks::SEQUENCE) =>
            {
                self.sequence_of(value, kept)
            }
            Item::Array(mut sequence) => {
                sequence.marks = sequence.marks.with(Marks::KEPT);
                Item::Array(sequence)
            }
            value if self.is_array(value) => value,
            value => self.sequence_of(value, kept),
        }
    }

    /// A step over the items of an array.
    fn map(&mut self, step: &Step, array: Item, is_last: bool) -> Eval<Item> {
        if let (Node::Name(member), [], Item::Val(array)) = (&step.node, &*step.stages, array) {
            return self.map_member(member, array);
        }
        let mut items = self.iterate(array)?;
        let mut results = self.results();
        while let Some(item) = self.next_of(&mut items) {
            self.step()?;
            let mark = self.memory.heap.len();
            let value = self.step_value(step, item)?;
            if !matches!(value, Item::Array(_)) {
                self.memory.heap.truncate(mark);
            }
            self.add(&mut results, value)?;
        }
        self.end(results, is_last)
    }

    fn results(&self) -> Results {
        Results {
            base: self.memory.work.len(),
            count: 0,
            first: Item::Undefined,
        }
    }

    fn add(&mut self, results: &mut Results, value: Item) -> Eval<()> {
        if value.is_undefined() {
            return Ok(());
        }
        results.count += 1;
        match results.count {
            1 => results.first = value,
            2 => {
                self.flatten(results.first)?;
                self.flatten(value)?;
            }
            _ => self.flatten(value)?,
        }
        Ok(())
    }

    fn flatten(&mut self, value: Item) -> Eval<()> {
        let is_whole = matches!(value, Item::Array(sequence) if sequence.marks.has(Marks::WHOLE));
        if is_whole || !self.append(value)? {
            self.memory.work.push(value);
        }
        Ok(())
    }

    fn end(&mut self, results: Results, is_last: bool) -> Eval<Item> {
        match results.count {
            0 => Ok(Item::NOTHING),
            1 => Ok(self.collected(results.first, is_last)),
            _ => self.finish(results.base, Marks::SEQUENCE),
        }
    }

    /// The member of each element: the step that is most frequent, without a detour through items.
    fn map_member(&mut self, member: &MemberName, array: Val) -> Eval<Item> {
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        let work = &mut self.memory.work;
        let base = work.len();
        let (mut count, mut seen) = (0_usize, 0_usize);
        let mut first = None;
        for element in values.elements(array) {
            seen += 1;
            let before = work.len();
            if before > ITEMS_MAX {
                return Err(Bail);
            }
            match values.open(element) {
                other if !other.is_object() => {
                    if values.kind(element) != Kind::Array {
                        continue;
                    }
                    if let Some(first) = first {
                        work.extend(values.elements(first).map(Item::Val));
                    }
                    let nested = work.len();
                    members_within(values, member, element, work, &mut self.fuel, 0)?;
                    if work.len() > nested {
                        count += 1;
                        first = None;
                    } else {
                        work.truncate(before);
                    }
                }
                object => {
                    let Some(val) = values.get_named(object, member) else {
                        continue;
                    };
                    count += 1;
                    if values.kind(val) != Kind::Array {
                        if let Some(first) = first.take() {
                            work.extend(values.elements(first).map(Item::Val));
                        }
                        work.push(Item::Val(val));
                    } else if count == 1 && before == base {
                        first = Some(val);
                    } else {
                        if let Some(first) = first.take() {
                            work.extend(values.elements(first).map(Item::Val));
                        }
                        work.extend(values.elements(val).map(Item::Val));
                    }
                }
            }
        }
        self.spend(seen)?;
        match first {
            // A single array is the result as it is.
            Some(val) if count == 1 => Ok(Item::Val(val)),
            _ => self.finish(base, Marks::SEQUENCE),
        }
    }

    /// The value of a step for one item, filtered.
    fn step_value(&mut self, step: &Step, item: Item) -> Eval<Item> {
        let value = match &step.node {
            Node::Name(member) => self.member(member, item)?,
            Node::Op(op @ Op::Arithmetic(..)) => self.operator(op, item)?,
            Node::Op(op) => self.eval(op, item)?,
            Node::Raw(op) => self.raw(op, item)?,
            Node::Group(elements) => self.array(elements, item, Marks::WHOLE)?,
        };
        if step.stages.is_empty() {
            return Ok(value);
        }
        self.stages(&step.stages, value)
    }

    /// A member of one item.
    fn member(&mut self, member: &MemberName, item: Item) -> Eval<Item> {
        let base = self.memory.work.len();
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        match item {
            Item::Val(val) if values.kind(val) == Kind::Array => {
                members_within(
                    values,
                    member,
                    val,
                    &mut self.memory.work,
                    &mut self.fuel,
                    0,
                )?;
            }
            Item::Val(val) => {
                let found = values.get_named(values.open(val), member);
                return Ok(found.map_or(Item::Undefined, Item::Val));
            }
            Item::Array(sequence) => {
                let start = sequence.start as usize;
                for item in &self.memory.heap[start..start + sequence.len as usize] {
                    let Item::Val(val) = *item else {
                        // An array that was made, within another: rare enough for the slow path.
                        if matches!(item, Item::Array(_)) {
                            return Err(Bail);
                        }
                        continue;
                    };
                    member_of(
                        values,
                        member,
                        val,
                        &mut self.memory.work,
                        &mut self.fuel,
                        0,
                    )?;
                }
            }
            Item::Undefined | Item::Number(_) => return Ok(Item::Undefined),
        }
        if self.memory.work.len() == base {
            return Ok(Item::Undefined);
        }
        self.finish(base, Marks::SEQUENCE)
    }

    /// A value that is no path, filtered.
    #[inline(never)]
    pub(super) fn filtered(&mut self, filtered: &Filtered, context: Item) -> Eval<Item> {
        let value = self.raw(&filtered.op, context)?;
        let value = self.stages(&filtered.stages, value)?;
        Ok(match value {
            Item::Array(mut sequence) if filtered.keep => {
                if sequence.marks.has(Marks::SEQUENCE) {
                    sequence.marks = sequence.marks.with(Marks::KEPT);
                }
                Item::Array(sequence)
            }
            // What a filter lets through is a sequence, for which a single item stands.
            value
                if filtered.keep
                    && !filtered.stages.is_empty()
                    && !value.is_undefined()
                    && !self.is_array(value) =>
            {
                self.sequence_of(value, Marks::SEQUENCE.with(Marks::KEPT))
            }
            value => value,
        })
    }

    fn stages(&mut self, stages: &[Stage], mut value: Item) -> Eval<Item> {
        if value.is_undefined() {
            let calls = |stage: &Stage| matches!(stage, Stage::Filter { calls: true, .. });
            // What a filter calls may fail even where there is nothing to filter.
            return if stages.iter().any(calls) {
                Err(Bail)
            } else {
                Ok(value)
            };
        }
        for stage in stages {
            value = match stage {
                Stage::Index(position) => self.item_at(value, *position)?,
                Stage::Filter { predicate, .. } => self.filter(predicate, value)?,
            };
        }
        Ok(value)
    }

    /// `[0]`: the item at a position, from the end if it is negative.
    fn item_at(&mut self, value: Item, position: f64) -> Eval<Item> {
        let position = position.floor();
        let len = match value {
            Item::Array(sequence) => sequence.len as usize,
            Item::Val(val) if self.is_array(value) => self.values().len(val),
            _ => 1,
        };
        self.spend(len)?;
        let index = if position < 0.0 {
            position + len as f64
        } else {
            position
        };
        if !(0.0..len as f64).contains(&index) {
            return Ok(Item::NOTHING);
        }
        let index = index as usize;
        Ok(match value {
            Item::Array(sequence) => self.memory.heap[sequence.start as usize + index],
            Item::Val(val) if self.is_array(value) => {
                let element = self.values().element(val, index);
                Item::Val(element.ok_or(Bail)?)
            }
            value => value,
        })
    }

    /// `[predicate]`
    fn filter(&mut self, predicate: &Op, value: Item) -> Eval<Item> {
        let (start, len) = self.items(value)?;
        let base = self.memory.work.len();
        for index in 0..len {
            self.step()?;
            let item = self.memory.heap[start + index];
            let mark = self.memory.heap.len();
            let selector = self.eval(predicate, item)?;
            let times = self.selections(selector, index, len)?;
            self.memory.heap.truncate(mark);
            self.check_room(times)?;
            for _ in 0..times {
                self.memory.work.push(item);
            }
        }
        match self.memory.work[base..] {
            // An item that is no array stands for the sequence of it.
            [item] if !self.is_array(item) => {
                self.memory.work.truncate(base);
                Ok(item)
            }
            _ => self.finish(base, Marks::SEQUENCE),
        }
    }

    /// How many times a predicate's value selects the item at an index: numbers are positions.
    fn selections(&mut self, selector: Item, index: usize, len: usize) -> Eval<usize> {
        let hits = |n: f64| {
            let position = n.floor();
            let position = if position < 0.0 {
                position + len as f64
            } else {
                position
            };
            usize::from(position == index as f64)
        };
        match selector {
            Item::Number(n) => return Ok(hits(n)),
            Item::Val(val) if self.values().kind(val) == Kind::Number => {
                return Ok(self.number(selector)?.map_or(0, hits));
            }
            selector if self.is_array(selector) => {
                let (start, count) = self.items(selector)?;
                let (mut all, mut times) = (true, 0);
                for place in start..start + count {
                    let item = self.memory.heap[place];
                    let is_number = match item {
                        Item::Number(_) => true,
                        Item::Val(val) => self.values().kind(val) == Kind::Number,
                        Item::Array(_) | Item::Undefined => false,
                    };
                    if !is_number {
                        all = false;
                        break;
                    }
                    times += self.number(item)?.map_or(0, hits);
                }
                if all {
                    return Ok(times);
                }
            }
            _ => {}
        }
        Ok(usize::from(self.truthy(selector)?))
    }

    /// `*`: the values of an object's members or an array's elements, arrays among them flattened.
    #[inline(never)]
    pub(super) fn wildcard(&mut self, context: Item) -> Eval<Item> {
        let Item::Val(val) = context else {
            return match context {
                Item::Array(_) => Err(Bail),
                _ => Ok(Item::Undefined),
            };
        };
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        let base = self.memory.work.len();
        let mut marks = Marks::SEQUENCE;
        let pending = &mut self.memory.pending;
        pending.clear();
        match values.kind(val) {
            Kind::Object => pending.extend(values.members(val).map(|(_, val)| val)),
            Kind::Array => pending.extend(values.elements(val)),
            _ => return Ok(Item::Undefined),
        }
        pending.reverse();
        while let Some(val) = pending.pop() {
            if values.kind(val) == Kind::Array {
                marks = Marks::PLAIN;
                let first = pending.len();
                pending.extend(values.elements(val));
                pending[first..].reverse();
            } else {
                self.memory.work.push(Item::Val(val));
            }
            if self.memory.work.len().max(pending.len()) > ITEMS_MAX {
                return Err(Bail);
            }
        }
        self.finish(base, marks)
    }

    /// `^(…)`
    #[inline(never)]
    pub(super) fn sort(&mut self, sort: &Sort, context: Item) -> Eval<Item> {
        let value = self.raw(&sort.input, context)?;
        let value = self.collected(value, false);
        if !self.is_array(value) {
            return Ok(value);
        }
        let (start, len) = self.items(value)?;
        if len < 2 {
            return Ok(self.sequence_range(start, len));
        }
        let terms = sort.terms.len();
        let base = self.memory.work.len();
        for place in start..start + len {
            for term in &sort.terms {
                self.step()?;
                let key = self.eval(&term.op, self.memory.heap[place])?;
                self.check_comparable(key)?;
                self.memory.work.push(key);
            }
        }
        let mut order: Vec<usize> = (0..len).collect();
        let mut failed = self.check_terms(base, terms).is_err();
        order.sort_by(|a, b| {
            for (index, term) in sort.terms.iter().enumerate() {
                let key = |item: usize| self.memory.work[base + item * terms + index];
                let ordering = match (key(*a), key(*b)) {
                    (Item::Undefined, Item::Undefined) => Ordering::Equal,
                    // What is undefined is last in either direction.
                    (Item::Undefined, _) => return Ordering::Greater,
                    (_, Item::Undefined) => return Ordering::Less,
                    (x, y) => match self.compare(x, y) {
                        Ok(ordering) => ordering,
                        Err(Bail) => {
                            failed = true;
                            Ordering::Equal
                        }
                    },
                };
                if ordering != Ordering::Equal {
                    return match term.direction {
                        Direction::Ascending => ordering,
                        Direction::Descending => ordering.reverse(),
                    };
                }
            }
            Ordering::Equal
        });
        self.memory.work.truncate(base);
        if failed {
            return Err(Bail);
        }
        for index in order {
            self.memory.work.push(self.memory.heap[start + index]);
        }
        self.finish(base, Marks::PLAIN)
    }

    /// Bails unless each term's keys are of one kind, so that no comparison fails.
    fn check_terms(&self, base: usize, terms: usize) -> Eval<()> {
        let keys = &self.memory.work[base..];
        for term in 0..terms {
            let of_term = || {
                let keys = keys.iter().skip(term).step_by(terms);
                keys.filter(|key| !key.is_undefined())
            };
            let Some(first) = of_term().next() else {
                continue;
            };
            for key in of_term() {
                self.compare(*first, *key)?;
            }
        }
        Ok(())
    }

    fn sequence_range(&self, start: usize, len: usize) -> Item {
        Item::Array(super::sequence::Sequence {
            start: crate::stdx::narrow(start),
            len: crate::stdx::narrow(len),
            marks: Marks::SEQUENCE,
        })
    }
}

/// Appends the member of an element: an array's elements one by one.
fn member_of(
    values: Values<'_>,
    member: &MemberName,
    element: Val,
    work: &mut Vec<Item>,
    fuel: &mut u32,
    depth: usize,
) -> Eval<()> {
    match values.open(element) {
        other if !other.is_object() => {
            if values.kind(element) == Kind::Array {
                members_within(values, member, element, work, fuel, depth + 1)?;
            }
        }
        object => match values.get_named(object, member) {
            Some(val) if values.kind(val) == Kind::Array => {
                work.extend(values.elements(val).map(Item::Val));
            }
            Some(val) => work.push(Item::Val(val)),
            None => {}
        },
    }
    Ok(())
}

/// Appends the members of an array's elements, of those of arrays within it too.
fn members_within(
    values: Values<'_>,
    member: &MemberName,
    array: Val,
    work: &mut Vec<Item>,
    fuel: &mut u32,
    depth: usize,
) -> Eval<()> {
    if depth > ARRAYS_MAX || work.len() > ITEMS_MAX {
        return Err(Bail);
    }
    for element in values.elements(array) {
        *fuel = fuel.checked_sub(1).ok_or(Bail)?;
        member_of(values, member, element, work, fuel, depth)?;
    }
    Ok(())
}
