//! The hand-written baselines of the benches answer with the reference's bytes, on their fast road and beside it.

#[path = "../benches/baseline/mod.rs"]
mod baseline;

use baseline::{Contender, Workload, spans, typed};

fn run(contender: &mut dyn Contender, event: &str) -> String {
    let mut out = Vec::new();
    contender.run(event.as_bytes(), &mut out);
    String::from_utf8(out).expect("outputs are UTF-8")
}

#[test]
fn every_contender_matches_the_reference() {
    for workload in Workload::all() {
        // The check itself is inside.
        let contenders = workload.contenders();
        assert!(
            contenders.len() >= 2,
            "{}: {}",
            workload.name,
            workload.definition.display()
        );
        assert_eq!(workload.events().len(), 1_024);
    }
}

fn order_event(total: &str, tier: &str, name: &str, items: &str) -> String {
    format!(
        r#"{{"orderId":"o-1","channel":"web","customer":{{"id":"c-1","name":"{name}","email":"a@b.c","tier":"{tier}","country":"DE"}},"items":{items},"payment":{{"method":"card","currency":"EUR","total":{total}}},"shipping":{{"speed":"express","address":{{"street":"S 1","city":"B","zip":"1","country":"DE"}}}}}}"#
    )
}

#[test]
fn both_baselines_agree_on_every_branch_of_order() {
    let items = r#"[{"sku":"s","name":"n","qty":1,"price":5.5}]"#;
    let cases = [
        order_event("60.5", "gold", "Ana", items),
        order_event("5000.5", "gold", "Ana", items),
        order_event("50.0", "gold", "Ana", items),
        order_event("60.5", "blocked", "Ana", items),
        order_event("60.5", "gold", "Ana", "[]"),
        order_event("60.5", "gold", r#"An\u00e1 \"W\""#, items),
        order_event("60.5", "gold", "Ana", items).replace("\"items\":", "\"items\": "),
        order_event("60.5", "gold", "Ana", items).replace("}}}", "}} }"),
    ];
    let (mut typed, mut spans) = (typed::Order::new(), spans::Order::new());
    for case in cases {
        assert_eq!(run(&mut spans, &case), run(&mut typed, &case), "{case}");
    }
    let rejected = run(&mut spans, &order_event("60.5", "blocked", "Ana", items));
    assert_eq!(rejected, r#"{"error":"Rejected","cause":"order rejected"}"#);
}

#[test]
fn both_baselines_agree_on_odd_fanout_events() {
    let cases = [
        r#"{"orderId":"o","region":"r","items":[{"sku":"a","qty":1,"price":1.5}]}"#,
        r#"{"orderId":"o","region":"r","items":[]}"#,
        r#"{"orderId":"o\n","region":"r","items":[{"sku":"a","qty":12,"price":1.5}]}"#,
        r#"{"orderId":"o","region":"r","items":[{"sku":"a","qty": 3,"price":1.5}]}"#,
    ];
    let (mut typed, mut spans) = (typed::Fanout::new(), spans::Fanout::new());
    for case in cases {
        assert_eq!(run(&mut spans, case), run(&mut typed, case), "{case}");
    }
}
