//! Strings: `&`, `$string`, and the functions of text.

use super::Bail;
use super::number;
use super::op::{Function, Op};
use super::run::{Eval, Machine, TEXT_BYTES_MAX};
use super::sequence::{Item, Marks};
use crate::value::{Kind, StringMark, Val, Values, unescape};

/// Texts up to this length are put together as they are found: even the longest chain of them is not too long.
const PLAIN_BYTES_MAX: usize = 4_096;

/// Containers within containers that `$string` writes.
const NESTING_MAX: usize = 1_000;

impl Machine<'_> {
    /// A chain of `&`.
    #[inline(never)]
    pub(super) fn concat(&mut self, operands: &[Op], context: Item) -> Eval<Item> {
        let mark = self.doc.begin_string();
        match self.extend_plainly(operands, &mark) {
            Some(size) => {
                let string = self.doc.end_string_known(mark, false);
                self.step()?;
                self.spend_bytes(size)?;
                Ok(Item::Val(string))
            }
            None => {
                self.doc.abandon_string(mark);
                self.concat_any(operands, context)
            }
        }
    }

    /// Appends the operands, if all of them are short texts without an escape that need nothing made to be found.
    #[inline(always)]
    fn extend_plainly(&mut self, operands: &[Op], mark: &StringMark) -> Option<usize> {
        for operand in operands {
            let val = match operand {
                Op::Constant(val) => *val,
                Op::Reach(reach) => match self.memory.roots[reach.root as usize] {
                    Some(start) => match reach.follow(self.values(), start).ok()? {
                        Some(val) => val,
                        None => continue,
                    },
                    None => continue,
                },
                _ => return None,
            };
            let opened = self.values().open(val);
            let is_plain = opened.kind() == Kind::String && !opened.is_escaped();
            if !is_plain || opened.size() > PLAIN_BYTES_MAX {
                return None;
            }
            self.doc.extend_string_with(self.constants, val);
        }
        let size = self.doc.string_bytes(mark);
        (size <= TEXT_BYTES_MAX).then_some(size)
    }

    #[inline(never)]
    fn concat_any(&mut self, operands: &[Op], context: Item) -> Eval<Item> {
        let base = self.memory.work.len();
        let (mut size, mut escaped, mut nested) = (0, false, false);
        for operand in operands {
            let mut item = self.operand(operand, context)?;
            if let Item::Array(_) = item {
                // Values are made before the string is begun: nothing may come in between.
                item = self.value(item)?.map_or(Item::Undefined, Item::Val);
            }
            if let Item::Val(val) = item {
                let opened = self.values().open(val);
                size += opened.size();
                match opened.kind() {
                    Kind::String if !opened.is_escaped() => {}
                    // Two halves of a character could meet.
                    Kind::String if self.values().text(val).contains("\\uD") => return Err(Bail),
                    Kind::String => escaped = true,
                    Kind::Array | Kind::Object => nested = true,
                    Kind::Null | Kind::False | Kind::True | Kind::Number => {}
                }
            }
            self.memory.work.push(item);
        }
        if size > TEXT_BYTES_MAX {
            return Err(Bail);
        }
        self.step()?;
        self.spend_bytes(size)?;
        let mark = self.doc.begin_string();
        for place in base..self.memory.work.len() {
            match self.memory.work[place] {
                Item::Undefined | Item::Array(_) => {}
                Item::Number(n) => self.doc.extend_string(number::string(n).as_str()),
                Item::Val(val) => self.extend_string(val)?,
            }
        }
        // What was written of arrays and objects may have quotes in it.
        let string = match nested {
            true => self.doc.end_string(mark),
            false => self.doc.end_string_known(mark, escaped),
        };
        self.memory.work.truncate(base);
        Ok(Item::Val(string))
    }

    /// Appends a value's text to the string that was begun.
    #[inline]
    fn extend_string(&mut self, val: Val) -> Eval<()> {
        match self.values().kind(val) {
            Kind::String => {
                self.doc.extend_string_with(self.constants, val);
                Ok(())
            }
            kind => self.extend_string_known(kind, val),
        }
    }

    #[inline(never)]
    fn extend_string_known(&mut self, kind: Kind, val: Val) -> Eval<()> {
        let values = self.values();
        match kind {
            Kind::Number if !number::is_plain_integer(values.text(val)) => {
                let n = self.number(Item::Val(val))?.ok_or(Bail)?;
                self.doc.extend_string(number::string(n).as_str());
            }
            Kind::Array | Kind::Object => {
                let mut text = std::mem::take(&mut self.memory.text);
                text.clear();
                let written = write(self.values(), val, &mut text);
                self.doc.extend_string(&text);
                self.memory.text = text;
                written?;
            }
            _ => self.doc.extend_string_with(self.constants, val),
        }
        Ok(())
    }

    /// `$string`
    pub(super) fn string(&mut self, item: Item) -> Eval<Item> {
        let val = match item {
            Item::Undefined => return Ok(item),
            Item::Number(n) => {
                return Ok(Item::Val(self.doc.push_string(number::string(n).as_str())));
            }
            Item::Val(val) if self.values().kind(val) == Kind::String => return Ok(item),
            item => self.value(item)?.ok_or(Bail)?,
        };
        let size = self.values().size(val);
        if size > TEXT_BYTES_MAX {
            return Err(Bail);
        }
        self.spend_bytes(size)?;
        let mark = self.doc.begin_string();
        self.extend_string(val)?;
        Ok(Item::Val(self.doc.end_string(mark)))
    }

    /// The string that an argument is, in the working memory's buffer; `None` of undefined.
    fn text_of(&mut self, item: Item) -> Eval<Option<String>> {
        let Item::Val(val) = item else {
            return match item {
                Item::Undefined => Ok(None),
                _ => Err(Bail),
            };
        };
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        let size = values.size(val);
        if values.kind(val) != Kind::String || size > TEXT_BYTES_MAX {
            return Err(Bail);
        }
        self.spend_bytes(size)?;
        let values = Values {
            doc: self.doc,
            constants: self.constants,
        };
        let raw = values.text(val);
        if values.is_escaped(val) && raw.contains("\\uD") {
            return Err(Bail);
        }
        let mut text = std::mem::take(&mut self.memory.text);
        text.clear();
        text.push_str(&unescape(raw));
        Ok(Some(text))
    }

    /// Functions of one or two strings.
    pub(super) fn text_function(&mut self, function: Function, arguments: &[Item]) -> Eval<Item> {
        let Some(text) = self.text_of(arguments[0])? else {
            // Undefined, if the other arguments are what they have to be.
            for argument in &arguments[1..] {
                let is_string =
                    matches!(argument, Item::Val(val) if self.values().kind(*val) == Kind::String);
                if is_string == (function == Function::Substring)
                    || !is_string && self.number(*argument)?.is_none()
                {
                    return Err(Bail);
                }
            }
            return Ok(Item::Undefined);
        };
        let result = match function {
            Function::Length => Ok(Item::Number(text.chars().count() as f64)),
            Function::Uppercase => Ok(self.push_string(&text.to_uppercase())),
            Function::Lowercase => Ok(self.push_string(&text.to_lowercase())),
            Function::Trim => self.trim(&text),
            Function::Substring => self.substring(&text, &arguments[1..]),
            Function::SubstringBefore
            | Function::SubstringAfter
            | Function::Contains
            | Function::Split => self.search(function, &text, arguments[1]),
            _ => unreachable!("{function:?} is no function of text"),
        };
        self.memory.text = text;
        result
    }

    fn push_string(&mut self, text: &str) -> Item {
        Item::Val(self.doc.push_string(text))
    }

    /// White space in between becomes one space, and that at the ends goes. What other characters are white space at
    /// the ends the slow path may know.
    fn trim(&mut self, text: &str) -> Eval<Item> {
        let is_known = |byte: u8| byte.is_ascii() && (byte >= b' ' || b"\t\n\r".contains(&byte));
        if !text.bytes().all(is_known) {
            return Err(Bail);
        }
        let mut words = text
            .split([' ', '\t', '\n', '\r'])
            .filter(|word| !word.is_empty());
        let mark = self.doc.begin_string();
        if let Some(word) = words.next() {
            self.doc.extend_string(word);
        }
        for word in words {
            self.doc.extend_string(" ");
            self.doc.extend_string(word);
        }
        Ok(Item::Val(self.doc.end_string(mark)))
    }

    fn substring(&mut self, text: &str, bounds: &[Item]) -> Eval<Item> {
        let mut integers = [0_i64; 2];
        for (integer, bound) in integers.iter_mut().zip(bounds) {
            let n = self.number(*bound)?.ok_or(Bail)?;
            if n.fract() != 0.0 || n.abs() > 1e15 {
                return Err(Bail);
            }
            *integer = n as i64;
        }
        let len = i64::try_from(text.chars().count()).map_err(|_| Bail)?;
        let [start, count] = integers;
        // A start before the beginning is the beginning; a negative one counts from the end.
        let start = if start < 0 {
            (len + start).max(0)
        } else {
            start
        };
        let end = if bounds.len() == 2 {
            start.saturating_add(count.max(0)).min(len)
        } else {
            len
        };
        let offset = |chars: i64| {
            let chars = usize::try_from(chars).unwrap_or(0);
            text.char_indices()
                .nth(chars)
                .map_or(text.len(), |(at, _)| at)
        };
        if start >= end {
            return Ok(self.push_string(""));
        }
        Ok(self.push_string(&text[offset(start)..offset(end)]))
    }

    fn search(&mut self, function: Function, text: &str, pattern: Item) -> Eval<Item> {
        let Item::Val(val) = pattern else {
            return Err(Bail);
        };
        let values = self.values();
        if values.kind(val) != Kind::String || values.is_escaped(val) {
            return Err(Bail);
        }
        let pattern = values.text(val).to_owned();
        match function {
            Function::Contains => Ok(Item::bool(text.contains(&pattern))),
            Function::SubstringBefore => {
                let before = text.split_once(&pattern).map_or(text, |(before, _)| before);
                Ok(self.push_string(before))
            }
            Function::SubstringAfter => {
                let after = text.split_once(&pattern).map_or(text, |(_, after)| after);
                Ok(self.push_string(after))
            }
            _ => {
                if pattern.is_empty() && !text.is_ascii() {
                    return Err(Bail);
                }
                let start = self.memory.heap.len();
                if pattern.is_empty() {
                    let last = text.len();
                    for at in 0..last {
                        self.push_part(&text[at..=at])?;
                    }
                } else {
                    for part in text.split(&pattern) {
                        self.push_part(part)?;
                    }
                }
                Ok(self.sequence_from(start, Marks::PLAIN))
            }
        }
    }

    fn push_part(&mut self, part: &str) -> Eval<()> {
        self.step()?;
        self.check_room(1)?;
        let part = self.push_string(part);
        self.memory.heap.push(part);
        Ok(())
    }

    /// `$join`
    pub(super) fn join(&mut self, list: Item, separator: Option<Item>) -> Eval<Item> {
        let separator = match separator {
            None => None,
            Some(Item::Val(val)) if self.values().kind(val) == Kind::String => Some(val),
            Some(_) => return Err(Bail),
        };
        if !self.is_array(list) {
            return match list {
                Item::Undefined => Ok(list),
                Item::Val(val) if self.values().kind(val) == Kind::String => Ok(list),
                _ => Err(Bail),
            };
        }
        let (start, len) = self.items(list)?;
        let mut size = separator.map_or(0, |val| self.values().size(val).saturating_mul(len));
        for place in start..start + len {
            match self.memory.heap[place] {
                Item::Val(val) if self.values().kind(val) == Kind::String => {
                    size += self.values().size(val);
                    if self.values().is_escaped(val) && self.values().text(val).contains("\\uD") {
                        return Err(Bail);
                    }
                }
                _ => return Err(Bail),
            }
        }
        if size > TEXT_BYTES_MAX {
            return Err(Bail);
        }
        self.step()?;
        self.spend_bytes(size)?;
        let mark = self.doc.begin_string();
        for index in 0..len {
            if let (Some(separator), 1..) = (separator, index) {
                self.doc.extend_string_with(self.constants, separator);
            }
            if let Item::Val(val) = self.memory.heap[start + index] {
                self.doc.extend_string_with(self.constants, val);
            }
        }
        Ok(Item::Val(self.doc.end_string(mark)))
    }

    /// `$number` of a string, where it is written as JSON writes numbers.
    pub(super) fn parsed(&self, val: Val) -> Eval<Item> {
        let text = self.values().text(val);
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_plain = digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.ends_with(|c: char| c.is_ascii_digit())
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
            && !digits.contains(".e")
            && !digits.contains(".E");
        if !is_plain {
            return Err(Bail);
        }
        match text.parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(Item::Number(n)),
            _ => Err(Bail),
        }
    }
}

/// A container or a scalar as `$string` writes it: as JSON, with numbers as JavaScript rounds them.
fn write(values: Values<'_>, val: Val, out: &mut String) -> Eval<()> {
    enum Open<'a> {
        Array(crate::value::Elements<'a>),
        Object(crate::value::Members<'a>),
    }
    let mut opens: Vec<(Open<'_>, bool)> = Vec::new();
    let mut next = Some(val);
    loop {
        if let Some(val) = next.take() {
            match values.kind(val) {
                Kind::Array => {
                    out.push('[');
                    opens.push((Open::Array(values.elements(val)), true));
                }
                Kind::Object => {
                    out.push('{');
                    opens.push((Open::Object(values.members(val)), true));
                }
                Kind::Number => match values.as_f64(val) {
                    Some(n) if n.is_finite() => out.push_str(number::string(n).as_str()),
                    _ => return Err(Bail),
                },
                Kind::String => write_string(values.text(val), out)?,
                Kind::Null | Kind::True | Kind::False => out.push_str(values.text(val)),
            }
        }
        let Some((open, is_first)) = opens.last_mut() else {
            return Ok(());
        };
        let (child, close) = match open {
            Open::Array(elements) => (elements.next().map(|val| (None, val)), ']'),
            Open::Object(members) => (members.next().map(|(key, val)| (Some(key), val)), '}'),
        };
        match child {
            None => {
                out.push(close);
                opens.pop();
            }
            Some((key, val)) => {
                if !std::mem::replace(is_first, false) {
                    out.push(',');
                }
                if let Some(key) = key {
                    write_string(values.key_text(key), out)?;
                    out.push(':');
                }
                next = Some(val);
            }
        }
        if opens.len() > NESTING_MAX || out.len() > 2 * TEXT_BYTES_MAX {
            return Err(Bail);
        }
    }
}

/// A string in quotes. Its canonical escapes are JavaScript's, but for the letters of `\u001f`.
fn write_string(raw: &str, out: &mut String) -> Eval<()> {
    if raw.contains("\\u") {
        return Err(Bail);
    }
    out.push('"');
    out.push_str(raw);
    out.push('"');
    Ok(())
}
