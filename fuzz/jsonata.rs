//! JSONata expressions, lowered, against jsonata-core.
//!
//! Input that starts with `=` is an expression as it stands, a newline and a document: it must end without a panic.
//! Any other bytes choose an expression and a document from a grammar, on which both must agree.
#![no_main]

#[path = "../tests/lowering/grammar.rs"]
mod grammar;
#[path = "../tests/lowering/oracle.rs"]
mod oracle;

use grammar::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(raw) = input.strip_prefix(b"=") {
        let Ok(raw) = std::str::from_utf8(raw) else {
            return;
        };
        let (text, json) = raw.split_once('\n').unwrap_or((raw, "{}"));
        if quickstep::value::Doc::new().ingest(json.as_bytes()).is_ok() {
            let _ = oracle::lowered(text, Some(json), &[]);
        }
        return;
    }
    let mut source = Source::new(input);
    let data = source.value(4);
    let text = source.expression(3);
    if let Some(difference) = oracle::difference(&text, &data) {
        panic!("{difference}");
    }
});
