//! Steps over values.
//!
//! A definite path is followed by [`find`] alone. Any other path keeps the list of its matches and applies one step
//! after the other to each of them; what a step cannot be applied to is dropped. Descent keeps its own stack.

use std::cell::Cell;

use super::filter::{BooleanExpr, Filter, Operand};
use super::item::{self, Item};
use super::{
    FilterPath, Function, FunctionArgument, MATCHES_MAX, NotFound, Origin, Segment, Step, Steps,
    VISITS_MAX, function, java,
};
use crate::value::{Doc, Kind, Name, Val, Values, unescape};

/// How much of a value a message shows.
const SHOWN_BYTES_MAX: usize = 4 * 1024;

/// The value at the end of `segments`.
#[inline]
pub(super) fn find(values: Values<'_>, segments: &[Segment], root: Val) -> Option<Val> {
    let mut at = root;
    for segment in segments {
        at = follow(values, segment, at)?;
    }
    Some(at)
}

#[inline]
fn follow(values: Values<'_>, segment: &Segment, at: Val) -> Option<Val> {
    match segment {
        Segment::Child(name) => values.get(at, name),
        Segment::Index(index) => element(values, *index, at),
    }
}

#[inline]
pub(super) fn element(values: Values<'_>, index: i64, array: Val) -> Option<Val> {
    match usize::try_from(index) {
        Ok(index) => values.element(array, index),
        Err(_) => from_end(values, index, array),
    }
}

/// A negative index counts from the end.
fn from_end(values: Values<'_>, index: i64, array: Val) -> Option<Val> {
    if values.kind(array) != Kind::Array {
        return None;
    }
    let back = usize::try_from(index.unsigned_abs()).ok()?;
    let index = values.len(array).checked_sub(back)?;
    values.element(array, index)
}

/// Jayway's words for a definite path that leads nowhere.
#[cold]
pub(super) fn explain(values: Values<'_>, segments: &[Segment], root: Val) -> NotFound {
    explain_before(values, segments.iter(), "", root)
}

/// The same where more than children and indexes follow: `rest` is that part of the path.
#[cold]
fn explain_before<'s>(
    values: Values<'_>,
    segments: impl Iterator<Item = &'s Segment> + Clone,
    rest: &str,
    root: Val,
) -> NotFound {
    let mut path = String::from("$");
    let mut at = root;
    let mut left = segments.clone();
    while let Some(segment) = left.next() {
        let is_leaf = rest.is_empty() && left.clone().next().is_none();
        let before = path.len();
        push_segment(&mut path, segment);
        let kind = values.kind(at);
        if let Some(next) = follow(values, segment, at) {
            at = next;
            continue;
        }
        let message = match segment {
            Segment::Child(_) if kind != Kind::Object => {
                let (upstream, fragment) = path.split_at(before);
                not_an_object(fragment, upstream, values, at)
            }
            Segment::Child(_) if !is_leaf => format!("Missing property in path {path}"),
            Segment::Index(_) if kind == Kind::Null => {
                format!("The path {} is null", &path[..before])
            }
            Segment::Index(_) if kind != Kind::Array => not_an_array(&path[before..], values, at),
            Segment::Child(_) | Segment::Index(_) => {
                for segment in left {
                    push_segment(&mut path, segment);
                }
                format!("No results for path: {path}{rest}")
            }
        };
        return NotFound { message };
    }
    NotFound {
        message: format!("No results for path: {path}{rest}"),
    }
}

fn push_segment(path: &mut String, segment: &Segment) {
    match segment {
        Segment::Child(name) => path.push_str(&format!("['{}']", name.decoded())),
        Segment::Index(index) => path.push_str(&format!("[{index}]")),
    }
}

fn not_an_object(fragment: &str, upstream: &str, values: Values<'_>, found: Val) -> String {
    format!(
        "Expected to find an object with property {fragment} in path {upstream} but found '{}'. \
         This is not a json object according to the JsonProvider: \
         'com.jayway.jsonpath.spi.json.JacksonJsonProvider'.",
        java::class(values, found)
    )
}

fn not_an_array(fragment: &str, values: Values<'_>, found: Val) -> String {
    let mut context = String::new();
    if values.size(found) <= SHOWN_BYTES_MAX {
        java::write(values, found, &mut context);
    } else {
        context.push_str("(too large to show)");
    }
    format!("Filter: {fragment} can only be applied to arrays. Current context is: {context}")
}

/// A path that is not definite.
pub(super) fn general(
    steps: &[Step],
    doc: &mut Doc,
    constants: &Doc,
    root: Val,
) -> Result<Val, NotFound> {
    let walk = Walk::new(Values { doc, constants }, root);
    match steps.split_last() {
        Some((Step::Function(function, arguments), body)) => {
            let result = walk.apply(body, *function, arguments, root)?;
            Ok(result.push(doc, constants))
        }
        Some((Step::Names(names), body)) => merge(body, names, doc, constants, root),
        Some(_) | None => {
            let matches = walk.run(steps, root)?;
            Ok(doc.push_array(constants, &matches))
        }
    }
}

/// `['a','b']` at the end of a path: an object of those members that are there.
fn merge(
    body: &[Step],
    names: &[Name],
    doc: &mut Doc,
    constants: &Doc,
    root: Val,
) -> Result<Val, NotFound> {
    let walk = Walk::new(Values { doc, constants }, root);
    let mut parents = walk.run(body, root)?;
    let values = walk.values;
    parents.retain(|parent| values.kind(*parent) == Kind::Object);
    if let Some(segments) = definite(body) {
        let Some(parent) = parents.first() else {
            return Err(explain_merge(values, segments, names, root));
        };
        return Ok(merge_members(*parent, names, doc, constants));
    }
    if let Some(Step::Descend) = body.last() {
        // Below `..` only objects that have all the names count.
        parents.retain(|parent| names.iter().all(|name| values.get(*parent, name).is_some()));
    }
    let merged: Vec<Val> = parents
        .into_iter()
        .map(|parent| merge_members(parent, names, doc, constants))
        .collect();
    Ok(doc.push_array(constants, &merged))
}

fn merge_members(parent: Val, names: &[Name], doc: &mut Doc, constants: &Doc) -> Val {
    let mut members = Vec::with_capacity(names.len());
    for name in names {
        let values = Values { doc, constants };
        if let Some(found) = values.get(parent, name) {
            members.push((doc.push_key(name), found));
        }
    }
    doc.push_object(constants, &members)
}

#[cold]
fn explain_merge<'s>(
    values: Values<'_>,
    segments: impl Iterator<Item = &'s Segment> + Clone,
    names: &[Name],
    root: Val,
) -> NotFound {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("'{}'", name.decoded()))
        .collect();
    let fragment = format!("[{}]", quoted.join(","));
    let mut path = String::from("$");
    let mut at = root;
    for segment in segments.clone() {
        match follow(values, segment, at) {
            Some(next) => at = next,
            None => return explain_before(values, segments, &fragment, root),
        }
        push_segment(&mut path, segment);
    }
    NotFound {
        message: not_an_object(&fragment, &path, values, at),
    }
}

/// The steps as segments, if all of them are.
fn definite(steps: &[Step]) -> Option<impl Iterator<Item = &Segment> + Clone> {
    fn segment(step: &Step) -> Option<&Segment> {
        match step {
            Step::Segment(segment) => Some(segment),
            _ => None,
        }
    }
    steps
        .iter()
        .all(|step| segment(step).is_some())
        .then(|| steps.iter().filter_map(segment))
}

/// One evaluation: what it reads, and how much it has looked at.
pub(super) struct Walk<'a> {
    pub(super) values: Values<'a>,
    root: Val,
    visits: Cell<usize>,
}

impl<'a> Walk<'a> {
    fn new(values: Values<'a>, root: Val) -> Walk<'a> {
        Walk {
            values,
            root,
            visits: Cell::new(0),
        }
    }

    /// Counts `more` values looked at.
    pub(super) fn visit(&self, more: usize) -> Result<(), NotFound> {
        let visits = self.visits.get().saturating_add(more);
        self.visits.set(visits);
        if visits > VISITS_MAX {
            return Err(NotFound {
                message: format!("The path looks at more than {VISITS_MAX} values"),
            });
        }
        Ok(())
    }

    /// All matches of `steps` from `start` on, none of them a function or merged names.
    fn run(&self, steps: &[Step], start: Val) -> Result<Vec<Val>, NotFound> {
        let mut start = start;
        let mut steps = steps;
        while let [Step::Segment(segment), rest @ ..] = steps {
            match follow(self.values, segment, start) {
                Some(next) => start = next,
                None => return Ok(Vec::new()),
            }
            steps = rest;
        }
        let mut matches = vec![start];
        let mut below = Below::OneValue;
        for step in steps {
            let mut next = Vec::new();
            for at in matches {
                self.step(step, at, below, &mut next)?;
                if next.len() > MATCHES_MAX {
                    return Err(NotFound {
                        message: format!("The path matches more than {MATCHES_MAX} values"),
                    });
                }
            }
            matches = next;
            below = match step {
                Step::Descend => Below::Descent,
                _ => Below::OneValue,
            };
        }
        Ok(matches)
    }

    fn step(&self, step: &Step, at: Val, below: Below, out: &mut Vec<Val>) -> Result<(), NotFound> {
        self.visit(1)?;
        let values = self.values;
        match step {
            Step::Segment(segment) => out.extend(follow(values, segment, at)),
            Step::Names(names) => {
                out.extend(names.iter().filter_map(|name| values.get(at, name)));
            }
            Step::Indexes(indexes) => {
                for index in indexes {
                    let segment = Segment::Index(*index);
                    self.visit(self.cost(&segment, at))?;
                    out.extend(follow(values, &segment, at));
                }
            }
            Step::Slice { from, to } => self.slice(*from, *to, at, out)?,
            Step::Wildcard => {
                let before = out.len();
                out.extend(self.children(at));
                self.visit(out.len() - before)?;
            }
            Step::Descend => self.descend(at, out)?,
            Step::Filter(filter) => self.filter(filter, at, below, out)?,
            // The parser puts functions at the end of a path only.
            Step::Function(..) => {}
        }
        Ok(())
    }

    fn children(&self, at: Val) -> impl Iterator<Item = Val> {
        // One of the two is empty.
        let members = self.values.members(at).map(|(_, child)| child);
        self.values.elements(at).chain(members)
    }

    fn slice(
        &self,
        from: Option<i64>,
        to: Option<i64>,
        at: Val,
        out: &mut Vec<Val>,
    ) -> Result<(), NotFound> {
        let values = self.values;
        let len = i64::try_from(values.len(at)).unwrap_or(i64::MAX);
        let mut range = |from: i64, to: i64| {
            let (from, to) = (from.clamp(0, len), to.clamp(0, len));
            let index = |n: i64| usize::try_from(n).unwrap_or(0);
            if from < to {
                let elements = values.elements(at);
                out.extend(elements.skip(index(from)).take(index(to - from)));
            }
        };
        match (from, to) {
            (Some(from), None) if from < 0 => range(len + from, len),
            (Some(from), None) => range(from, len),
            (None, Some(to)) if to < 0 => range(0, len + to),
            (None, Some(to)) => range(0, to),
            // With both ends given Jayway counts from the one up to the other and takes each negative number on the way
            // as an index from the end: [-2:1] is the last two and the first.
            (Some(from), Some(to)) if from < 0 => {
                range(len + from, len + to.min(0));
                range(0, to);
            }
            (Some(from), Some(to)) => range(from, to),
            (None, None) => range(0, len),
        }
        self.visit(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// The value and all containers below it, outermost first.
    fn descend(&self, at: Val, out: &mut Vec<Val>) -> Result<(), NotFound> {
        let mut pending = vec![at];
        while let Some(at) = pending.pop() {
            if !self.is_container(at) {
                continue;
            }
            out.push(at);
            let mark = pending.len();
            let mut children = 0;
            for child in self.children(at) {
                children += 1;
                if self.is_container(child) {
                    pending.push(child);
                }
            }
            pending[mark..].reverse();
            self.visit(children)?;
        }
        Ok(())
    }

    fn is_container(&self, at: Val) -> bool {
        matches!(self.values.kind(at), Kind::Array | Kind::Object)
    }

    /// An object is tested itself, an array element by element.
    fn filter(
        &self,
        filter: &Filter,
        at: Val,
        below: Below,
        out: &mut Vec<Val>,
    ) -> Result<(), NotFound> {
        match self.values.kind(at) {
            Kind::Object => {
                if self.test(&filter.expression, at)? {
                    out.push(at);
                }
            }
            Kind::Array => {
                // Descent comes to every object by itself; through its array it would be found twice.
                if below == Below::Descent && !self.test(&filter.expression, at)? {
                    return Ok(());
                }
                for element in self.values.elements(at) {
                    if self.test(&filter.expression, element)? {
                        out.push(element);
                    }
                }
            }
            Kind::Null | Kind::False | Kind::True | Kind::Number | Kind::String => {}
        }
        Ok(())
    }

    /// Recursion ends where the parser's limit of nesting does.
    fn test(&self, expression: &BooleanExpr, current: Val) -> Result<bool, NotFound> {
        self.visit(1)?;
        match expression {
            BooleanExpr::Or(terms) => {
                for term in terms {
                    if self.test(term, current)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            BooleanExpr::And(terms) => {
                for term in terms {
                    if !self.test(term, current)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            BooleanExpr::Not(term) => Ok(!self.test(term, current)?),
            BooleanExpr::Exists(path) => match self.filter_path(path, current)? {
                Item::Missing => Ok(false),
                Item::List(matches) => Ok(!matches.is_empty()),
                Item::Val(_)
                | Item::Literal(_)
                | Item::Items(_)
                | Item::Number(_)
                | Item::Text(_) => Ok(true),
            },
            BooleanExpr::Relation {
                left,
                operator,
                right,
            } => match (left, right) {
                (Operand::Regex(regex), other) | (other, Operand::Regex(regex)) => {
                    let other = self.operand(other, current)?;
                    item::matches(self, &other, regex)
                }
                (left, right) => {
                    let left = self.operand(left, current)?;
                    let right = self.operand(right, current)?;
                    item::compare(self, &left, *operator, &right)
                }
            },
        }
    }

    fn operand<'p>(&self, operand: &'p Operand, current: Val) -> Result<Item<'p>, NotFound> {
        match operand {
            Operand::Path(path) => self.filter_path(path, current),
            Operand::Literal(literal) => Ok(Item::Literal(literal)),
            Operand::Regex(_) => Ok(Item::Missing),
        }
    }

    /// A path inside a filter; a definite one that leads nowhere is [`Item::Missing`].
    pub(super) fn filter_path<'p>(
        &self,
        path: &'p FilterPath,
        current: Val,
    ) -> Result<Item<'p>, NotFound> {
        let start = match path.origin {
            Origin::Current => current,
            Origin::Root => self.root,
        };
        match &path.steps {
            Steps::Definite(segments) => {
                let mut at = start;
                for segment in segments {
                    self.visit(self.cost(segment, at))?;
                    match follow(self.values, segment, at) {
                        Some(next) => at = next,
                        None => return Ok(Item::Missing),
                    }
                }
                Ok(Item::Val(at))
            }
            Steps::General(steps) => match steps.split_last() {
                Some((Step::Function(function, arguments), body)) => {
                    match self.apply(body, *function, arguments, start) {
                        Ok(result) => Ok(result),
                        // What a function cannot be applied to is missing; what exceeds a limit is an error.
                        Err(_) => self.visit(0).map(|()| Item::Missing),
                    }
                }
                Some(_) | None => Ok(Item::List(self.run(steps, start)?)),
            },
        }
    }

    /// Values that are passed on the way to an element: arrays are lists. Filters do it for every element of another.
    fn cost(&self, segment: &Segment, array: Val) -> usize {
        match segment {
            Segment::Child(_) => 0,
            // An element takes two bytes, with what separates it.
            Segment::Index(index) => match usize::try_from(*index) {
                Ok(index) => index.min(self.values.size(array) / 2),
                Err(_) => 2 * self.values.len(array),
            },
        }
    }

    /// A function at the end of a path: of the one value of a definite path, of all matches together below `..`, else of
    /// each match in turn.
    fn apply<'p>(
        &self,
        body: &'p [Step],
        function: Function,
        arguments: &'p [FunctionArgument],
        start: Val,
    ) -> Result<Item<'p>, NotFound> {
        let matches = self.run(body, start)?;
        if let Some(segments) = definite(body) {
            let Some(only) = matches.first() else {
                let rest = format!(".{}()", function::name(function));
                return Err(explain_before(self.values, segments, &rest, start));
            };
            return function::call(self, function, arguments, &Item::Val(*only), start);
        }
        if body.iter().any(|step| matches!(step, Step::Descend)) {
            return function::call(self, function, arguments, &Item::List(matches), start);
        }
        let mut results = Vec::with_capacity(matches.len());
        for at in matches {
            results.push(function::call(
                self,
                function,
                arguments,
                &Item::Val(at),
                start,
            )?);
        }
        Ok(Item::Items(results))
    }

    /// The names of an object's members.
    pub(super) fn names(&self, object: Val) -> Vec<String> {
        let name = |(key, _)| unescape(self.values.key_text(key)).into_owned();
        self.values.members(object).map(name).collect()
    }
}

/// Where the value stands to which a step is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    OneValue,
    Descent,
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_failures, eval};
    use crate::path::Path;
    use crate::value::Doc;
    use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};
    use serde_json::{Map, Value, json};

    #[test]
    fn elements_that_are_passed_count_as_looked_at() {
        let numbers: Vec<u32> = (0..10_000).collect();
        let json = json!({ "a": numbers }).to_string();
        for path in ["$.a[?(@ == $.a[-1])]", "$.a[?(@ == $.a[9999])]"] {
            let error = eval(path, &json).unwrap_err();
            assert!(error.contains("looks at more than"), "{path}: {error}");
        }
        let json = json!({ "a": numbers[..1_000] }).to_string();
        let found = eval("$.a[?(@ == $.a[-1])]", &json);
        assert_eq!(found.unwrap(), "[999]");
    }

    #[test]
    fn recorded() {
        let items = r#"{"items":[{"k":0},{"k":1},{"k":2}]}"#;
        check(&[
            ("$.items[0]", items, r#"{"k":0}"#),
            ("$.items[2]", items, r#"{"k":2}"#),
            ("$.item.items[*]", "{}", "[]"),
            ("$.item.items[1:5]", "{}", "[]"),
            ("$.item.items[:1]", "{}", "[]"),
            ("$.items[:1].itemValue", "{}", "[]"),
            ("$.items[:1]", "{}", "[]"),
            (
                "$.users[?(@.status == 0)]",
                r#"{"users":[{"year":1997,"status":0},{"year":1998,"status":1}]}"#,
                r#"[{"year":1997,"status":0}]"#,
            ),
            ("$[1]", "[9,44,6]", "44"),
            (
                "$$.Execution.Input.input-value",
                r#"{"Execution":{"Input":{"input-value":1}}}"#,
                "1",
            ),
        ]);
        check_failures(&[
            (
                "$.NoSuchInputPath",
                "{}",
                "No results for path: $['NoSuchInputPath']",
            ),
            ("$.no.such.path", "{}", "Missing property in path $['no']"),
        ]);
    }

    #[test]
    fn every_step() {
        let numbers = "[0,1,2,3,4]";
        let tree = r#"{"a":{"n":1,"l":[{"n":2},{"m":3,"n":[4]}]},"n":5}"#;
        check(&[
            ("$", "1", "1"),
            ("$[-1]", numbers, "4"),
            ("$[-5]", numbers, "0"),
            ("$[0,2,9,-1]", numbers, "[0,2,4]"),
            ("$[1:3]", numbers, "[1,2]"),
            ("$[:2]", numbers, "[0,1]"),
            ("$[:-2]", numbers, "[0,1,2]"),
            ("$[:-9]", numbers, "[]"),
            ("$[3:]", numbers, "[3,4]"),
            ("$[9:]", numbers, "[]"),
            ("$[-2:]", numbers, "[3,4]"),
            ("$[-9:]", numbers, "[0,1,2,3,4]"),
            ("$[-3:-1]", numbers, "[2,3]"),
            ("$[-2:1]", numbers, "[3,4,0]"),
            ("$[1:-1]", numbers, "[]"),
            (
                "$[-2000000000:2000000000]",
                numbers,
                "[0,1,2,3,4,0,1,2,3,4]",
            ),
            ("$[*]", numbers, numbers),
            ("$.*", r#"{"b":1,"a":[2]}"#, "[1,[2]]"),
            ("$.*.n", tree, "[1]"),
            ("$[*]", "1", "[]"),
            ("$..n", tree, "[5,1,2,[4]]"),
            ("$..['n']", tree, "[5,1,2,[4]]"),
            ("$..[0]", tree, r#"[{"n":2},4]"#),
            ("$..l[*].n", tree, "[2,[4]]"),
            (
                "$..*",
                r#"{"a":[1,{"b":2}],"c":3}"#,
                r#"[[1,{"b":2}],3,1,{"b":2},2]"#,
            ),
            ("$..[?(@.n)].n", tree, "[5,1,2,[4]]"),
            ("$.a.l[?(@.m)]", tree, r#"[{"m":3,"n":[4]}]"#),
            ("$.a[?(@.n == 1)].n", tree, "[1]"),
            ("$['a','n']", r#"{"n":1,"x":2,"a":3}"#, r#"{"a":3,"n":1}"#),
            ("$['a','z']", r#"{"a":3}"#, r#"{"a":3}"#),
            ("$['a','b'].c", r#"{"a":{"c":1},"b":{"c":2}}"#, "[1,2]"),
            (
                "$[*]['a','b']",
                r#"[{"a":1,"c":3},{"b":2},4]"#,
                r#"[{"a":1},{"b":2}]"#,
            ),
            (
                "$..['a','b']",
                r#"[{"a":1,"b":3},{"b":2}]"#,
                r#"[{"a":1,"b":3}]"#,
            ),
            ("$['q\"\\\\']", r#"{"q\"\\":1}"#, "1"),
        ]);
    }

    #[test]
    fn missing() {
        let input = r#"{"a":{"l":[1,{"x":"y"}],"s":"t","z":null,"n":7000000000,"f":1.5}}"#;
        let provider = "This is not a json object according to the JsonProvider: \
                        'com.jayway.jsonpath.spi.json.JacksonJsonProvider'.";
        let object =
            |what: &str| format!("Expected to find an object with property {what}. {provider}");
        check_failures(&[
            ("$.a.b", input, "No results for path: $['a']['b']"),
            ("$$.a['b c']", input, "No results for path: $['a']['b c']"),
            ("$.b.c.d", input, "Missing property in path $['b']"),
            ("$.a.l[2]", input, "No results for path: $['a']['l'][2]"),
            (
                "$.a.l[-3].x",
                input,
                "No results for path: $['a']['l'][-3]['x']",
            ),
            (
                "$.a.s.x",
                input,
                &object("['x'] in path $['a']['s'] but found 'java.lang.String'"),
            ),
            (
                "$.a.l.x",
                input,
                &object("['x'] in path $['a']['l'] but found 'java.util.ArrayList'"),
            ),
            (
                "$.a.z.x",
                input,
                &object("['x'] in path $['a']['z'] but found 'null'"),
            ),
            (
                "$.a.n.x",
                input,
                &object("['x'] in path $['a']['n'] but found 'java.lang.Long'"),
            ),
            (
                "$.a.f.x",
                input,
                &object("['x'] in path $['a']['f'] but found 'java.lang.Double'"),
            ),
            ("$.a.z[0]", input, "The path $['a']['z'] is null"),
            (
                "$.a.s[0]",
                input,
                "Filter: [0] can only be applied to arrays. Current context is: t",
            ),
            (
                "$.a.l[1][0]",
                input,
                "Filter: [0] can only be applied to arrays. Current context is: {x=y}",
            ),
            ("$.b['x','y']", input, "Missing property in path $['b']"),
            (
                "$.a.s['x','y']",
                input,
                &object("['x','y'] in path $['a']['s'] but found 'java.lang.String'"),
            ),
            ("$.b.length()", input, "Missing property in path $['b']"),
        ]);
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = format!("{}1{}", r#"[{"a":"#.repeat(500), "}]".repeat(500));
        assert_eq!(eval("$..b", &deep).unwrap(), "[]");
        assert_eq!(
            eval(&format!("$..a{}", "[0].a".repeat(499)), &deep).unwrap(),
            "[1]"
        );
        let wide = format!("[{}]", vec!["[[0],[[1]]]"; 3_000].join(","));
        for (path, input) in [("$..*..*..*..*", &deep), ("$[?(@..[?(@ in $)])]", &wide)] {
            let message = eval(path, input).unwrap_err();
            assert!(message.contains("more than"), "{path}: {message}");
        }
    }

    /// Any value with few names, so that paths meet members.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            Just(json!("s")),
            (0..4).prop_map(|n| json!(n)),
        ];
        leaf.prop_recursive(5, 60, 4, |inner| {
            let name = prop_oneof![Just("a"), Just("b"), Just("c \"d")];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::vec((name, inner), 0..4).prop_map(|members| {
                    let members = members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value));
                    Value::Object(members.collect::<Map<_, _>>())
                }),
            ]
        })
    }

    #[derive(Clone, Debug)]
    enum Naive {
        Child(&'static str),
        Index(i64),
        Slice(i64, i64),
        Wildcard,
        Descend,
    }

    /// The step's text, and what it does to one value.
    impl Naive {
        fn text(&self) -> String {
            match self {
                Naive::Child(name) => format!("[{name:?}]"),
                Naive::Index(index) => format!("[{index}]"),
                Naive::Slice(from, to) => format!("[{from}:{to}]"),
                Naive::Wildcard => "[*]".to_owned(),
                Naive::Descend => "..".to_owned(),
            }
        }

        fn apply<'v>(&self, value: &'v Value, out: &mut Vec<&'v Value>) {
            match self {
                Naive::Child(name) => out.extend(value.get(name)),
                Naive::Index(index) => {
                    let Some(items) = value.as_array() else {
                        return;
                    };
                    let index = if *index < 0 {
                        items.len() as i64 + index
                    } else {
                        *index
                    };
                    out.extend(
                        usize::try_from(index)
                            .ok()
                            .and_then(|index| items.get(index)),
                    );
                }
                Naive::Slice(from, to) => {
                    let Some(items) = value.as_array() else {
                        return;
                    };
                    let to = (*to).min(items.len() as i64);
                    (*from..to).for_each(|index| Naive::Index(index).apply(value, out));
                }
                Naive::Wildcard => match value {
                    Value::Array(items) => out.extend(items),
                    Value::Object(members) => out.extend(members.values()),
                    _ => {}
                },
                Naive::Descend => {
                    if value.is_array() || value.is_object() {
                        out.push(value);
                        let mut children = Vec::new();
                        Naive::Wildcard.apply(value, &mut children);
                        children
                            .into_iter()
                            .for_each(|child| self.apply(child, out));
                    }
                }
            }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Naive>> {
        let plain = prop_oneof![
            4 => prop_oneof![Just("a"), Just("b"), Just("c \"d")].prop_map(Naive::Child),
            3 => (-3_i64..4).prop_map(Naive::Index),
            1 => (-3_i64..4, -3_i64..5).prop_map(|(from, to)| Naive::Slice(from, to)),
            1 => Just(Naive::Wildcard),
        ];
        let one_or_two = (proptest::bool::weighted(0.15), plain).prop_map(|(descend, step)| {
            let mut steps = vec![step];
            if descend {
                steps.insert(0, Naive::Descend);
            }
            steps
        });
        proptest::collection::vec(one_or_two, 0..5).prop_map(|steps| steps.concat())
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_walk(value in values(), steps in steps()) {
            let text: String = steps.iter().map(Naive::text).collect();
            let path = format!("${text}");
            let mut matches = vec![&value];
            for step in &steps {
                let mut next = Vec::new();
                matches.into_iter().for_each(|at| step.apply(at, &mut next));
                matches = next;
            }
            let found = eval(&path, &value.to_string()).ok();
            let found = found.map(|json| serde_json::from_str::<Value>(&json).unwrap());
            let wanted = if Path::parse(&path).unwrap().is_definite() {
                matches.first().copied().cloned()
            } else {
                Some(matches.into_iter().cloned().collect())
            };
            prop_assert_eq!(found, wanted, "{} of {}", path, value);
        }
    }

    #[test]
    fn reads_constants() {
        let mut constants = Doc::new();
        let root = constants
            .ingest(br#"{"a":[{"b":1},{"b":2}]}"#)
            .unwrap()
            .as_constant();
        let mut doc = Doc::new();
        let path = Path::parse("$x.a[*].b").unwrap();
        let found = path.eval(&mut doc, &constants, root).unwrap();
        let values = crate::value::Values {
            doc: &doc,
            constants: &constants,
        };
        assert_eq!(values.to_json(found), "[1,2]");
    }
}
