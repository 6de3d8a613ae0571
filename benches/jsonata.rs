//! Nanoseconds of one JSONata expression over an order: lowered, and in jsonata-core.
//!
//! `cargo bench --bench jsonata`. The event is in the execution's document before a lowered expression runs, as it is in
//! an execution; jsonata-core has to make values of its own of it first, and both figures are given. Every pair is
//! checked to agree before it is measured.

use criterion::{Criterion, criterion_group, criterion_main};
use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator};
use jsonata_core::value::JValue;
use quickstep::internal::Expression;
use quickstep::value::{Doc, Val, Values};
use std::hint::black_box;

#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 577 bytes.
const ORDER: &str = r#"{"orderId":"A-10057","customer":{"id":"c-881","name":"Mary Moss","email":"mary@example.com","address":{"street":"3 Mill Lane","city":"Ely","zip":"CB7 4QP","country":"GB"}},"items":[{"sku":"book-17","title":"On Tides","price":12.5,"qty":2,"weight":0.4},{"sku":"pen-2","title":"Fine pen","price":3.2,"qty":10,"weight":0.02},{"sku":"lamp-9","title":"Desk lamp","price":49.95,"qty":1,"weight":1.9},{"sku":"ink-1","title":"Black ink","price":7.05,"qty":3,"weight":0.1}],"payment":{"method":"card","currency":"GBP","paid":true},"tags":["gift","priority"],"note":"Ring twice, please"}"#;

/// Name, expression in AWS's dialect.
const EXPRESSIONS: [(&str, &str); 6] = [
    ("path", "$states.input.customer.address.city"),
    (
        "filter",
        "$states.input.items[price > 5].{'sku': sku, 'cost': price * qty}",
    ),
    ("sum", "$sum($states.input.items.(price * qty))"),
    (
        "concat",
        "'Order ' & $states.input.orderId & ' for ' & $states.input.customer.name",
    ),
    (
        "map",
        "$map($states.input.items, function($item) { $item.price * $item.qty })",
    ),
    (
        "merge",
        "$merge([$states.input.customer, {'orderId': $states.input.orderId, 'status': 'ok'}])",
    ),
];

/// Bytes of a document at which the bench starts another one, as an execution that ends does.
const DOCUMENT_MAX: usize = 1 << 20;

/// A document with the order, started again when it has grown.
struct Execution {
    doc: Doc,
    input: Val,
}

impl Execution {
    fn new() -> Execution {
        let mut doc = Doc::new();
        let input = doc.ingest(ORDER.as_bytes()).expect("the order is JSON");
        Execution { doc, input }
    }

    fn run(&mut self, expression: &Expression) -> Option<Val> {
        if self.doc.memory() > DOCUMENT_MAX {
            self.doc.clear();
            self.input = self
                .doc
                .ingest(ORDER.as_bytes())
                .expect("the order is JSON");
        }
        let value = expression.run(&mut self.doc, Some(self.input), &[]);
        value.expect("it is lowered")
    }
}

/// jsonata-core's value, from its own value of the order.
fn evaluate(ast: &AstNode, order: &JValue) -> JValue {
    let states = JValue::object([("input".to_owned(), order.clone())].into_iter().collect());
    let mut context = Context::new();
    context.bind("states".to_owned(), states);
    Evaluator::with_context(context)
        .evaluate(ast, &JValue::Undefined)
        .expect("the expression has a value")
}

fn expressions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("jsonata");
    for (name, text) in EXPRESSIONS {
        let lowered = Expression::aws(text, &[]).expect("it is lowered");
        let ast = jsonata_core::parser::parse(text).expect("it is an expression");
        check(&lowered, &ast);
        let mut execution = Execution::new();
        group.bench_function(format!("{name}/lowered"), |bencher| {
            bencher.iter(|| black_box(execution.run(black_box(&lowered))));
        });
        group.bench_function(format!("{name}/core"), |bencher| {
            bencher.iter(|| {
                let order = JValue::from_json_str(black_box(ORDER)).expect("the order is JSON");
                black_box(evaluate(&ast, &order))
            });
        });
        let order = JValue::from_json_str(ORDER).expect("the order is JSON");
        group.bench_function(format!("{name}/core-converted"), |bencher| {
            bencher.iter(|| black_box(evaluate(&ast, black_box(&order))));
        });
    }
    group.finish();
}

/// Both give the same.
fn check(lowered: &Expression, ast: &AstNode) {
    let mut execution = Execution::new();
    let value = execution.run(lowered).expect("it is defined");
    let values = Values {
        doc: &execution.doc,
        constants: lowered.constants(),
    };
    let order = JValue::from_json_str(ORDER).expect("the order is JSON");
    assert_eq!(values.to_json(value), evaluate(ast, &order).to_string());
}

criterion_group!(benches, expressions);
criterion_main!(benches);
