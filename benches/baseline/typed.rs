//! H1: serde structs that borrow from the event, filled from simd-json's tape, written with serde_json (measured: simd-json's
//! own writer takes 15 % more instructions).

use super::parser::Parser;
use super::{Contender, quote};
use serde::{Deserialize, Serialize};
use simd_json::{Deserializer, Tape};
use std::mem;

/// Reads a `T` from a filled tape and leaves the tape's allocation in place.
fn read<'de, T: Deserialize<'de>>(tape: &mut Tape<'de>) -> T {
    let mut deserializer = Deserializer::from_tape(mem::replace(tape, Tape(Vec::new())));
    let value = T::deserialize(&mut deserializer).expect("an event of the expected shape");
    *tape = deserializer.into_tape();
    value
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("a value that JSON can hold");
}

#[derive(Serialize)]
struct Failure {
    error: &'static str,
    cause: &'static str,
}

const REJECTED: Failure = Failure {
    error: "Rejected",
    cause: "order rejected",
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderEvent<'a> {
    order_id: &'a str,
    #[serde(borrow)]
    customer: Customer<'a>,
    #[serde(borrow)]
    items: Vec<Item<'a>>,
    #[serde(borrow)]
    payment: Payment<'a>,
    #[serde(borrow)]
    shipping: Shipping<'a>,
}

#[derive(Deserialize, Serialize)]
struct Customer<'a> {
    id: &'a str,
    name: &'a str,
    email: &'a str,
    tier: &'a str,
    country: &'a str,
}

#[derive(Deserialize, Serialize)]
struct Item<'a> {
    sku: &'a str,
    name: &'a str,
    qty: i64,
    price: f64,
}

#[derive(Deserialize)]
struct Payment<'a> {
    currency: &'a str,
    total: f64,
}

#[derive(Deserialize)]
struct Shipping<'a> {
    speed: &'a str,
    #[serde(borrow)]
    address: Address<'a>,
}

#[derive(Deserialize, Serialize)]
struct Address<'a> {
    street: &'a str,
    city: &'a str,
    zip: &'a str,
    country: &'a str,
}

#[derive(Deserialize, Serialize)]
struct Quote<'a> {
    carrier: &'a str,
    cost: f64,
    days: i64,
}

/// Output of the main path.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Decorated<'a> {
    order_id: &'a str,
    label: &'a str,
    lines: usize,
    days: i64,
    total: f64,
    currency: &'a str,
    items: &'a [Item<'a>],
    address: &'a Address<'a>,
    quote: &'a Quote<'a>,
    source: &'static str,
}

/// Output of the path for manual review.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    order_id: &'a str,
    customer: &'a Customer<'a>,
    total: f64,
    currency: &'a str,
    items: &'a [Item<'a>],
    address: &'a Address<'a>,
    speed: &'a str,
    source: &'static str,
    review: &'static str,
}

/// `order` with typed structs.
pub(crate) struct Order {
    events: Parser,
    answers: Parser,
    label: String,
}

impl Order {
    pub(crate) fn new() -> Order {
        Order {
            events: Parser::new(),
            answers: Parser::new(),
            label: String::new(),
        }
    }
}

impl Contender for Order {
    fn run(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let Order {
            events,
            answers,
            label,
        } = self;
        events.parse(event, |tape, _| {
            let event: OrderEvent<'_> = read(tape);
            route(&event, answers, label, out);
        });
    }
}

fn route(event: &OrderEvent<'_>, answers: &mut Parser, label: &mut String, out: &mut Vec<u8>) {
    let OrderEvent {
        order_id,
        customer,
        items,
        payment,
        shipping,
    } = event;
    let &Payment { currency, total } = payment;
    let Shipping { speed, address } = shipping;
    let source = "orders-v1";
    let review = |out: &mut Vec<u8>| {
        write(
            out,
            &Review {
                order_id,
                customer,
                total,
                currency,
                items,
                address,
                speed,
                source,
                review: "manual",
            },
        );
    };
    if total > 5000.0 {
        return review(out);
    }
    if customer.tier == "blocked" {
        return write(out, &REJECTED);
    }
    if !(*speed == "express" && customer.country == "DE" && total > 50.0) {
        return review(out);
    }
    answers.parse(quote(), |tape, _| {
        let quote: Quote<'_> = read(tape);
        label.clear();
        for part in [order_id, ":", customer.id, ":", quote.carrier] {
            label.push_str(part);
        }
        let lines = items.len();
        if lines == 0 {
            return write(out, &REJECTED);
        }
        let days = quote.days + 1;
        let quote = &quote;
        write(
            out,
            &Decorated {
                order_id,
                label,
                lines,
                days,
                total,
                currency,
                items,
                address,
                quote,
                source,
            },
        );
    });
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FanoutEvent<'a> {
    order_id: &'a str,
    region: &'a str,
    #[serde(borrow)]
    items: Vec<FanoutItem<'a>>,
}

#[derive(Deserialize, Serialize)]
struct FanoutItem<'a> {
    sku: &'a str,
    qty: i64,
    price: f64,
}

/// One entry per branch of the Parallel state.
#[derive(Serialize)]
struct Branches<'a>(BranchA<'a>, BranchB<'a>, BranchC<'a>);

#[derive(Serialize)]
struct BranchA<'a> {
    id: &'a str,
    region: &'a str,
}

#[derive(Serialize)]
struct BranchB<'a> {
    first: &'a str,
    kind: &'static str,
}

#[derive(Serialize)]
struct BranchC<'a> {
    tag: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    sku: &'a str,
    idx: usize,
    qty: i64,
    order: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FanoutOutput<'a> {
    order_id: &'a str,
    region: &'a str,
    items: &'a [FanoutItem<'a>],
    par: Branches<'a>,
    lines: Lines<'a>,
}

/// The Map's result, written straight from the items: no list in between.
struct Lines<'a> {
    order: &'a str,
    items: &'a [FanoutItem<'a>],
}

impl Serialize for Lines<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let order = self.order;
        serializer.collect_seq(self.items.iter().enumerate().map(|(idx, item)| Line {
            sku: item.sku,
            idx,
            qty: item.qty,
            order,
        }))
    }
}

/// `fanout` with typed structs.
pub(crate) struct Fanout {
    events: Parser,
    tag: String,
}

impl Fanout {
    pub(crate) fn new() -> Fanout {
        Fanout {
            events: Parser::new(),
            tag: String::new(),
        }
    }
}

impl Contender for Fanout {
    fn run(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let Fanout { events, tag } = self;
        events.parse(event, |tape, _| {
            let FanoutEvent {
                order_id,
                region,
                items,
            } = read(tape);
            tag.clear();
            for part in [region, "/", order_id] {
                tag.push_str(part);
            }
            let Some(first) = items.first() else {
                return write(
                    out,
                    &Failure {
                        error: "States.Runtime",
                        cause: "no $.items[0].sku",
                    },
                );
            };
            let par = Branches(
                BranchA {
                    id: order_id,
                    region,
                },
                BranchB {
                    first: first.sku,
                    kind: "b",
                },
                BranchC { tag },
            );
            let lines = Lines {
                order: order_id,
                items: &items,
            };
            write(
                out,
                &FanoutOutput {
                    order_id,
                    region,
                    items: &items,
                    par,
                    lines,
                },
            );
        });
    }
}
