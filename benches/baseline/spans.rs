//! H2: simd-json's tape finds the fields, the output is put together from raw ranges of the event.
//!
//! Offsets come for free: the tape's strings point into the parser's copy of the event, so a member's value begins two
//! bytes behind its name, and ends before the next member's name. That holds for compact JSON without escapes, which is
//! what services send each other; any other event takes the typed road of H1.

use super::parser::{Parser, after};
use super::{Contender, quote, typed};
use simd_json::{Node, StaticNode, Tape};

/// Whether ranges may be copied as they stand: no escape, no whitespace outside strings that offsets would trip over.
///
/// A single pass that the compiler vectorizes. Whitespace is looked for where offsets are taken, by [`Source`].
fn is_plain(event: &[u8]) -> bool {
    !event
        .iter()
        .fold(false, |found, &byte| found | (byte == b'\\'))
}

/// The event and the address at which the tape's strings think that it begins.
#[derive(Clone, Copy)]
struct Source<'e> {
    event: &'e [u8],
    base: usize,
}

impl<'e> Source<'e> {
    /// Where a string's text begins, behind its quote.
    fn start(self, text: &str) -> usize {
        text.as_ptr() as usize - self.base
    }

    /// Where the value of the member `name` begins; `None` if there is whitespace around the colon.
    fn value(self, name: &str) -> Option<usize> {
        let colon = self.start(name) + name.len() + 1;
        let value = colon + 1;
        (self.event[colon] == b':' && self.event[value] > b' ').then_some(value)
    }

    /// The bytes from `start` to the last byte before the member `next`.
    fn until_member(self, start: usize, next: &str) -> Option<&'e [u8]> {
        let comma = self.start(next) - 2;
        let end = comma;
        (self.event[comma] == b',' && self.event[end - 1] > b' ').then(|| &self.event[start..end])
    }

    /// The number that begins at `start`.
    fn number(self, start: usize) -> &'e [u8] {
        let rest = &self.event[start..];
        let len = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | ..=b' '))
            .unwrap_or(rest.len());
        &rest[..len]
    }

    /// The value that begins at `start` and is the last one within `depth` closing brackets at the event's end.
    fn until_end(self, start: usize, depth: usize) -> Option<&'e [u8]> {
        let end = self.event.len().checked_sub(depth)?;
        let closing = &self.event[end..];
        (closing.iter().all(|&byte| byte == b'}') && self.event[end - 1] > b' ')
            .then(|| &self.event[start..end])
    }
}

fn number(node: Node<'_>) -> Option<f64> {
    match node {
        Node::Static(StaticNode::F64(n)) => Some(n),
        Node::Static(StaticNode::I64(n)) => Some(n as f64),
        Node::Static(StaticNode::U64(n)) => Some(n as f64),
        Node::Static(_) | Node::String(_) | Node::Object { .. } | Node::Array { .. } => None,
    }
}

fn string<'t>(node: Node<'t>) -> Option<&'t str> {
    match node {
        Node::String(text) => Some(text),
        Node::Static(_) | Node::Object { .. } | Node::Array { .. } => None,
    }
}

/// The members of the object at `index`: name and index of the value, in order.
fn members<'t>(nodes: &'t [Node<'t>], index: usize) -> impl Iterator<Item = (&'t str, usize)> {
    let len = match nodes[index] {
        Node::Object { len, .. } => len,
        Node::Array { .. } | Node::String(_) | Node::Static(_) => 0,
    };
    let mut at = index + 1;
    (0..len).map_while(move |_| {
        let name = string(nodes[at])?;
        let value = at + 1;
        at = after(nodes, value);
        Some((name, value))
    })
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// What `order` needs of an event.
#[derive(Default)]
struct OrderFields<'t, 'e> {
    order_id: &'t str,
    customer: &'e [u8],
    customer_id: &'t str,
    tier: &'t str,
    country: &'t str,
    items: &'e [u8],
    lines: usize,
    currency: &'t str,
    total: f64,
    total_text: &'e [u8],
    speed: &'t str,
    address: &'e [u8],
}

impl<'t, 'e> OrderFields<'t, 'e> {
    /// Reads the tape once; `None` if the event has another shape than the usual one.
    fn read(nodes: &'t [Node<'t>], source: Source<'e>) -> Option<OrderFields<'t, 'e>> {
        let mut fields = OrderFields::default();
        let mut found = 0;
        for (name, value) in members(nodes, 0) {
            // The value's end is where the next member begins.
            let span = || {
                source.until_member(
                    source.value(name)?,
                    string(*nodes.get(after(nodes, value))?)?,
                )
            };
            match name {
                "orderId" => fields.order_id = string(nodes[value])?,
                "customer" => {
                    fields.customer = span()?;
                    fields.customer(nodes, value)?;
                }
                "items" => {
                    let Node::Array { len, .. } = nodes[value] else {
                        return None;
                    };
                    fields.items = span()?;
                    fields.lines = len;
                }
                "payment" => fields.payment(nodes, value, source)?,
                "shipping" if after(nodes, value) == nodes.len() => {
                    fields.shipping(nodes, value, source)?
                }
                _ => continue,
            }
            found += 1;
        }
        (found == 5).then_some(fields)
    }

    fn customer(&mut self, nodes: &'t [Node<'t>], customer: usize) -> Option<()> {
        for (name, value) in members(nodes, customer) {
            match name {
                "id" => self.customer_id = string(nodes[value])?,
                "tier" => self.tier = string(nodes[value])?,
                "country" => self.country = string(nodes[value])?,
                _ => {}
            }
        }
        Some(())
    }

    fn payment(&mut self, nodes: &'t [Node<'t>], payment: usize, source: Source<'e>) -> Option<()> {
        for (name, value) in members(nodes, payment) {
            match name {
                "currency" => self.currency = string(nodes[value])?,
                "total" => {
                    self.total = number(nodes[value])?;
                    self.total_text = source.number(source.value(name)?);
                }
                _ => {}
            }
        }
        Some(())
    }

    fn shipping(
        &mut self,
        nodes: &'t [Node<'t>],
        shipping: usize,
        source: Source<'e>,
    ) -> Option<()> {
        for (name, value) in members(nodes, shipping) {
            match name {
                "speed" => self.speed = string(nodes[value])?,
                // Last member of the last member: two brackets close behind it.
                "address" if after(nodes, value) == nodes.len() => {
                    self.address = source.until_end(source.value(name)?, 2)?;
                }
                _ => {}
            }
        }
        (!self.address.is_empty()).then_some(())
    }

    fn write_review(&self, out: &mut Vec<u8>) {
        push(
            out,
            &[
                br#"{"orderId":""#,
                self.order_id.as_bytes(),
                br#"","customer":"#,
                self.customer,
                br#","total":"#,
                self.total_text,
                br#","currency":""#,
                self.currency.as_bytes(),
                br#"","items":"#,
                self.items,
                br#","address":"#,
                self.address,
                br#","speed":""#,
                self.speed.as_bytes(),
                br#"","source":"orders-v1","review":"manual"}"#,
            ],
        );
    }

    fn write_decorated(&self, quote: &[u8], carrier: &str, days: i64, out: &mut Vec<u8>) {
        let order_id = self.order_id.as_bytes();
        push(
            out,
            &[
                br#"{"orderId":""#,
                order_id,
                br#"","label":""#,
                order_id,
                b":",
                self.customer_id.as_bytes(),
                b":",
                carrier.as_bytes(),
                br#"","lines":"#,
                itoa::Buffer::new().format(self.lines).as_bytes(),
                br#","days":"#,
                itoa::Buffer::new().format(days).as_bytes(),
                br#","total":"#,
                self.total_text,
                br#","currency":""#,
                self.currency.as_bytes(),
                br#"","items":"#,
                self.items,
                br#","address":"#,
                self.address,
                br#","quote":"#,
                quote,
                br#","source":"orders-v1"}"#,
            ],
        );
    }
}

const REJECTED: &[u8] = br#"{"error":"Rejected","cause":"order rejected"}"#;

/// `order` with raw ranges.
pub(crate) struct Order {
    events: Parser,
    answers: Parser,
    otherwise: typed::Order,
}

impl Order {
    pub(crate) fn new() -> Order {
        Order {
            events: Parser::new(),
            answers: Parser::new(),
            otherwise: typed::Order::new(),
        }
    }

    fn fast(&mut self, event: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let Order {
            events, answers, ..
        } = self;
        events.parse(event, |tape, base| {
            let fields = OrderFields::read(&tape.0, Source { event, base })?;
            if fields.total > 5000.0 {
                fields.write_review(out);
                return Some(());
            }
            if fields.tier == "blocked" {
                out.extend_from_slice(REJECTED);
                return Some(());
            }
            if !(fields.speed == "express" && fields.country == "DE" && fields.total > 50.0) {
                fields.write_review(out);
                return Some(());
            }
            let answer = quote();
            answers.parse(answer, |tape, _| {
                let (carrier, days) = quoted(tape)?;
                if fields.lines == 0 {
                    out.extend_from_slice(REJECTED);
                } else {
                    fields.write_decorated(answer, carrier, days + 1, out);
                }
                Some(())
            })
        })
    }
}

/// `carrier` and `days` of the Task's answer.
fn quoted<'t>(tape: &'t Tape<'_>) -> Option<(&'t str, i64)> {
    let (mut carrier, mut days) = (None, None);
    for (name, value) in members(&tape.0, 0) {
        match (name, tape.0[value]) {
            ("carrier", Node::String(text)) => carrier = Some(text),
            ("days", Node::Static(StaticNode::U64(n))) => days = i64::try_from(n).ok(),
            ("days", Node::Static(StaticNode::I64(n))) => days = Some(n),
            _ => {}
        }
    }
    Some((carrier?, days?))
}

impl Contender for Order {
    fn run(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if !is_plain(event) || self.fast(event, out).is_none() {
            self.otherwise.run(event, out);
        }
    }
}

/// `fanout` with raw ranges.
pub(crate) struct Fanout {
    events: Parser,
    otherwise: typed::Fanout,
}

impl Fanout {
    pub(crate) fn new() -> Fanout {
        Fanout {
            events: Parser::new(),
            otherwise: typed::Fanout::new(),
        }
    }

    fn fast(&mut self, event: &[u8], out: &mut Vec<u8>) -> Option<()> {
        self.events.parse(event, |tape, base| {
            let nodes = &tape.0;
            let source = Source { event, base };
            let (mut order_id, mut region, mut items) = (None, None, None);
            for (name, value) in members(nodes, 0) {
                match name {
                    "orderId" => order_id = string(nodes[value]),
                    "region" => region = string(nodes[value]),
                    "items" => items = Some(value),
                    _ => {}
                }
            }
            let (order_id, region, items) = (order_id?.as_bytes(), region?.as_bytes(), items?);
            let head = source.until_end(0, 1)?;
            let from = out.len();
            out.extend_from_slice(head);
            let written = write_fanout(nodes, source, (order_id, region, items), out);
            if written.is_none() {
                out.truncate(from);
            }
            written
        })
    }
}

fn write_fanout(
    nodes: &[Node<'_>],
    source: Source<'_>,
    (order_id, region, items): (&[u8], &[u8], usize),
    out: &mut Vec<u8>,
) -> Option<()> {
    let Node::Array { len: len @ 1.., .. } = nodes[items] else {
        return None;
    };
    let mut item = items + 1;
    let (first, _) = line(nodes, item, source)?;
    push(
        out,
        &[
            br#","par":[{"id":""#,
            order_id,
            br#"","region":""#,
            region,
            br#""},{"first":""#,
            first,
            br#"","kind":"b"},{"tag":""#,
            region,
            b"/",
            order_id,
            br#""}],"lines":["#,
        ],
    );
    for idx in 0..len {
        let (sku, qty) = line(nodes, item, source)?;
        let separator: &[u8] = if idx == 0 {
            br#"{"sku":""#
        } else {
            br#",{"sku":""#
        };
        push(
            out,
            &[
                separator,
                sku,
                br#"","idx":"#,
                itoa::Buffer::new().format(idx).as_bytes(),
                br#","qty":"#,
                qty,
                br#","order":""#,
                order_id,
                br#""}"#,
            ],
        );
        item = after(nodes, item);
    }
    out.extend_from_slice(b"]}");
    Some(())
}

/// `sku` (without quotes) and the text of `qty` of one item.
fn line<'t>(
    nodes: &'t [Node<'t>],
    item: usize,
    source: Source<'t>,
) -> Option<(&'t [u8], &'t [u8])> {
    let (mut sku, mut qty) = (None, None);
    for (name, value) in members(nodes, item) {
        match name {
            "sku" => sku = Some(string(nodes[value])?.as_bytes()),
            "qty" => {
                number(nodes[value])?;
                qty = Some(source.number(source.value(name)?));
            }
            _ => {}
        }
    }
    Some((sku?, qty?))
}

impl Contender for Fanout {
    fn run(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if !is_plain(event) || self.fast(event, out).is_none() {
            self.otherwise.run(event, out);
        }
    }
}
