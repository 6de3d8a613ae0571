//! What quickstep is held against: the benchmark workflows written by hand, twice.
//!
//! - [`typed`] (H1) is what most services do: serde structs, a SIMD parser, plain Rust, serde again.
//! - [`spans`] (H2) is an expert's best: a SIMD tape to find the fields, raw ranges of the event copied to the output.
//!
//! Both parse the whole event with full validation, take every branch of the definition, parse the answer of the Task
//! `quote` like any other JSON, and keep their buffers between events. A contender's output must equal the reference
//! byte for byte: [`Workload::check`] runs before anything is measured.

mod parser;
pub(crate) mod quickstep;
pub(crate) mod spans;
pub(crate) mod typed;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// Runs one workflow: takes the bytes of an event, appends the bytes of the output.
///
/// An execution that fails appends `{"error":…,"cause":…}`.
pub(crate) trait Contender {
    /// One execution, from the event's bytes to the output's.
    fn run(&mut self, event: &[u8], out: &mut Vec<u8>);
}

/// The Task `quote`, the same for every contender: a plain function that answers JSON text.
///
/// Never inlined and opaque to the optimizer, so that nobody can precompute what follows from the answer.
#[inline(never)]
pub(crate) fn quote() -> &'static [u8] {
    black_box(br#"{"carrier":"DHL","cost":9.9,"days":2}"#)
}

/// Name, constructor.
pub(crate) type Entry = (&'static str, fn(&Path) -> Option<Box<dyn Contender>>);

/// A definition, its events and the right outputs.
pub(crate) struct Workload {
    /// `order` or `fanout`.
    pub(crate) name: &'static str,
    /// Where the definition stands.
    pub(crate) definition: PathBuf,
    /// Who competes.
    pub(crate) entries: Vec<Entry>,
    events: Vec<u8>,
    references: Vec<u8>,
}

impl Workload {
    /// Both workloads, read from `benches/data`.
    pub(crate) fn all() -> [Workload; 2] {
        [Workload::order(), Workload::fanout()]
    }

    fn order() -> Workload {
        Workload::load(
            "order",
            vec![
                ("H1", |_| Some(Box::new(typed::Order::new()))),
                ("H2", |_| Some(Box::new(spans::Order::new()))),
                ("quickstep", quickstep::contender),
                // The same workflow in the other language.
                ("JSONata", |order| {
                    quickstep::contender(&order.with_file_name("order_jsonata.asl.json"))
                }),
            ],
        )
    }

    fn fanout() -> Workload {
        Workload::load(
            "fanout",
            vec![
                ("H1", |_| Some(Box::new(typed::Fanout::new()))),
                ("H2", |_| Some(Box::new(spans::Fanout::new()))),
                ("quickstep", quickstep::contender),
            ],
        )
    }

    fn load(name: &'static str, entries: Vec<Entry>) -> Workload {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/data");
        let read = |file: String| {
            let path = data.join(file);
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        Workload {
            name,
            definition: data.join(format!("{name}.asl.json")),
            entries,
            events: read(format!("{name}.ndjson")),
            references: read(format!("{name}.ref.ndjson")),
        }
    }

    /// The events, one per line.
    pub(crate) fn events(&self) -> Vec<&[u8]> {
        lines(&self.events)
    }

    /// The right outputs, one per line.
    pub(crate) fn references(&self) -> Vec<&[u8]> {
        lines(&self.references)
    }

    /// The contenders that exist, by name, each checked against the reference.
    pub(crate) fn contenders(&self) -> Vec<(&'static str, Box<dyn Contender>)> {
        let mut contenders = Vec::new();
        for &(name, make) in &self.entries {
            if let Some(mut contender) = make(&self.definition) {
                self.check(name, contender.as_mut());
                contenders.push((name, contender));
            }
        }
        contenders
    }

    /// Panics unless `contender` answers every event with the reference's bytes.
    fn check(&self, who: &str, contender: &mut dyn Contender) {
        let events = self.events();
        let references = self.references();
        assert_eq!(
            events.len(),
            references.len(),
            "{}: events and references",
            self.name
        );
        assert_eq!(events.len(), 1_024, "{}: events", self.name);
        let mut out = Vec::new();
        for (index, (event, reference)) in events.iter().zip(&references).enumerate() {
            out.clear();
            contender.run(event, &mut out);
            assert!(
                out == *reference,
                "{}/{who}: event {index} differs\n got: {}\nwant: {}",
                self.name,
                String::from_utf8_lossy(&out),
                String::from_utf8_lossy(reference),
            );
        }
    }
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect()
}
