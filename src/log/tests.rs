//! Records and back: what is recorded is what is rendered, and nothing that a log holds can do harm.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::decode::Decoder;
use super::format::{DOCUMENT_BYTES_MAX, Header, MAGIC, UNIVERSAL, item, push_number, push_signed};
use super::*;
use crate::asl::{MachineType, Resource};
use crate::history::{
    Details, Failure, HistoryEvent, LOG_DOCUMENT_BYTES_MAX, LogContext, Observer as _,
};
use crate::interp::name_of_seed;
use crate::program::StateType;
use crate::value::{Doc, Val, Values};

/// Memory that a sink writes to.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn identity(machine_type: MachineType) -> Arc<MachineIdentity> {
    Arc::new(MachineIdentity::local("m", machine_type))
}

/// A compact log in memory.
fn compact(config: LogConfig) -> (LogStream, Memory) {
    let memory = Memory::default();
    let sink = LogSink::writer("memory", memory.clone(), SinkFormat::Compact);
    let stream = LogStream::builder()
        .config(config)
        .sink(sink.policy(Policy::Block))
        .build();
    (stream.unwrap(), memory)
}

fn close(stream: LogStream) -> LogCounters {
    stream.close(Duration::from_secs(60))
}

/// Lines and damages of a compact log.
fn read(log: &[u8]) -> (Vec<u8>, Vec<Damage>) {
    let (mut lines, mut damages) = (Vec::new(), Vec::new());
    let write = |part: &[u8]| {
        lines.extend_from_slice(part);
        Ok(())
    };
    LogReader::new(log)
        .render(
            &Filter::default(),
            LineFormat::Json,
            true,
            write,
            |damage| {
                damages.push(damage);
            },
        )
        .unwrap();
    (lines, damages)
}

/// What happens next in a random execution.
#[derive(Clone, Debug)]
struct Step {
    kind: u8,
    json: String,
    text: String,
    makes: u8,
    millis: i64,
    follows: u8,
    after: u8,
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("[]".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!(" [{}]", items.join(", "))),
            prop::collection::btree_map("[a-e\"\\\\é]{0,9}", inner, 0..4).prop_map(|members| {
                let member = |(name, value): (String, String)| {
                    format!("{}:{value}", serde_json::to_string(&name).unwrap())
                };
                let members: Vec<String> = members.into_iter().map(member).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn step() -> impl Strategy<Value = Step> {
    (
        any::<u8>(),
        json(),
        ".{0,12}",
        any::<u8>(),
        -5_i64..1_000_000,
        any::<u8>(),
        any::<u8>(),
    )
        .prop_map(|(kind, json, text, makes, millis, follows, after)| Step {
            kind,
            json,
            text,
            makes,
            millis,
            follows,
            after,
        })
}

/// Values of a random execution.
struct World {
    doc: Doc,
    constants: Doc,
    vals: Vec<Val>,
    original: Option<(Val, String)>,
}

impl World {
    fn new() -> World {
        let mut constants = Doc::new();
        let vals = vec![
            constants
                .ingest(br#"{"key":{"longer key":["constant"]},"b":2}"#)
                .unwrap()
                .as_constant(),
        ];
        World {
            doc: Doc::new(),
            constants,
            vals,
            original: None,
        }
    }

    fn values(&self) -> Values<'_> {
        Values {
            doc: &self.doc,
            constants: &self.constants,
        }
    }

    /// One more value: sent, made of others, a part of another.
    fn make(&mut self, step: &Step) -> Val {
        let last = self.vals[self.vals.len() - 1];
        let other = self.vals[step.follows as usize % self.vals.len()];
        let val = match step.makes % 6 {
            0 => self.doc.push_array(&self.constants, &[last, other, last]),
            1 => {
                let keys: Vec<_> = self.values().members(self.vals[0]).collect();
                let members = [(keys[0].0, last), (keys[1].0, other)];
                self.doc.push_object(&self.constants, &members)
            }
            2 => {
                let part = self.values().members(other).last().map(|(_, val)| val);
                let part = part.or_else(|| self.values().element(other, 0));
                part.unwrap_or(Val::EMPTY_OBJECT)
            }
            3 => self.doc.push_string(&step.text),
            _ => {
                let val = self.doc.ingest(step.json.as_bytes()).unwrap();
                if self.original.is_none() {
                    self.original = Some((val, step.json.clone()));
                }
                val
            }
        };
        self.vals.push(val);
        val
    }
}

/// Shows the event of a step.
fn show(step: &Step, id: u64, world: &mut World, sink: &mut impl FnMut(&HistoryEvent<'_>)) {
    let val = world.make(step);
    let text = step.text.as_str();
    let failure = Failure {
        error: (step.kind & 1 == 0).then(|| text.into()),
        cause: (step.kind & 2 == 0).then(|| step.json.as_str().into()),
    };
    let resources = [
        "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "arn:aws:lambda:eu-west-1:1:function:f",
        "arn:aws:states:::aws-sdk:s3:getObject",
    ];
    let resource = Resource::parse(resources[step.after as usize % 3]).unwrap();
    let assigned = [(text, val), ("v", world.vals[0])];
    let name = ["A", "The state", text][step.follows as usize % 3];
    let state_type = [StateType::Pass, StateType::Task, StateType::Fail][step.after as usize % 3];
    let number = u64::from(step.follows) << (step.after % 56);
    let seconds = (step.after & 4 == 0).then_some(number);
    let details = match step.kind % 13 {
        0 => Details::ExecutionStarted {
            input: val,
            role_arn: text,
        },
        1 => Details::ExecutionSucceeded { output: val },
        2 => Details::ExecutionFailed { failure: &failure },
        3 | 4 => Details::StateEntered {
            state_type,
            name,
            input: val,
        },
        5 | 6 => Details::StateExited {
            state_type,
            name,
            output: val,
            assigned: &assigned[..step.after as usize % 3],
        },
        7 => Details::TaskScheduled {
            resource: &resource,
            parameters: val,
            region: "eu-west-1",
            timeout_seconds: seconds,
            heartbeat_seconds: seconds,
            credentials: (step.after & 8 == 0).then_some(val),
        },
        8 => Details::TaskFailed {
            resource: &resource,
            failure: &failure,
        },
        9 => Details::MapIterationStarted {
            name,
            index: number,
        },
        10 => Details::MapStateStarted { length: number },
        11 => Details::ActivityStarted {
            worker_name: seconds.map(|_| text),
        },
        _ => Details::LambdaFunctionScheduled {
            resource: text,
            input: val,
            timeout_seconds: seconds,
        },
    };
    let original = world.original.as_ref();
    sink(&HistoryEvent {
        id,
        previous_id: id.saturating_sub(1 + u64::from(step.follows % 4)),
        timestamp: Timestamp::from_millis(step.millis),
        values: world.values(),
        details,
        original: original.map(|(val, text)| (*val, text.as_str())),
    });
}

/// Records a random execution, and renders the same events directly. `flush_often` makes many blocks of it.
fn record(steps: &[Step], flush_often: bool) -> (Vec<u8>, Vec<u8>) {
    let (stream, memory) = compact(LogConfig::new(LogLevel::All));
    let mut recorder = stream.recorder();
    let mut direct = Vec::new();
    let mut world = World::new();
    let machines = [
        identity(MachineType::Express),
        identity(MachineType::Standard),
    ];
    let (mut seed, mut is_named) = (0, false);
    let mut arn = String::new();
    for (at, step) in steps.iter().enumerate() {
        if at == 0 || step.after % 5 == 0 {
            // Another execution, or the same one with its values elsewhere.
            if step.after % 2 == 0 {
                seed = u64::from(step.makes);
                is_named = step.makes % 3 == 0;
            }
            let machine = &machines[seed as usize % 2];
            let own = format!("name \"{seed}");
            let name = is_named.then_some(own.as_str());
            arn = machine.execution_arn(name.unwrap_or(&name_of_seed(seed)), seed);
            recorder.turn_to(&ExecutionIdentity {
                machine,
                name,
                seed,
            });
            world = World::new();
        }
        if step.after % 7 == 1 {
            let vals = &mut world.vals;
            let original = world.original.as_mut().map(|(val, _)| val);
            let roots = vals.iter_mut().chain(original);
            world.doc.compact(&world.constants, roots);
        }
        show(step, at as u64 + 1, &mut world, &mut |event| {
            recorder.observe(event);
            let context = LogContext {
                execution_arn: &arn,
                include_execution_data: true,
            };
            event.write_log(&context, &mut direct);
            direct.push(b'\n');
        });
        if flush_often && step.after % 3 == 0 {
            recorder.flush();
        }
    }
    drop(recorder);
    let counters = close(stream);
    assert_eq!(counters.dropped(), 0);
    assert_eq!(counters.events, steps.len() as u64);
    (memory.bytes(), direct)
}

/// Where the blocks of a log begin, and where it ends.
fn blocks(log: &[u8]) -> Vec<usize> {
    let mut places = vec![0];
    let mut at = 0;
    while at < log.len() {
        let header = log[at..].first_chunk().and_then(Header::parse).unwrap();
        at += Header::BYTES + header.bytes as usize;
        places.push(at);
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_is_recorded_is_rendered(
        steps in prop::collection::vec(step(), 0..40),
        flush_often in any::<bool>(),
    ) {
        let (log, direct) = record(&steps, flush_often);
        let (lines, damages) = read(&log);
        prop_assert_eq!(damages, []);
        prop_assert_eq!(String::from_utf8(lines).unwrap(), String::from_utf8(direct).unwrap());
    }

    #[test]
    fn arbitrary_items_do_no_harm(items in prop::collection::vec(any::<u8>(), 0..300)) {
        harmless(&items);
        // The same after a sound beginning.
        let mut whole = Vec::new();
        push_turn(&mut whole);
        whole.extend_from_slice(&items);
        harmless(&whole);
    }

    #[test]
    fn arbitrary_bytes_are_no_log(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
        let (lines, damages) = read(&bytes);
        prop_assert_eq!(lines, b"");
        prop_assert_eq!(damages.len(), 1);
        prop_assert_eq!(damages[0].offset, 0);
    }
}

/// Steps for tests that look at every byte of what comes of them: several small blocks.
fn few_steps() -> Vec<Step> {
    let jsons = [r#"{"a":[1,"x\n"],"b":{}}"#, r#" "é😀" "#, "[[null]]"];
    (0..15_u8)
        .map(|number| Step {
            kind: number,
            json: jsons[number as usize % 3].to_owned(),
            text: format!("text {number}"),
            makes: number.wrapping_mul(7),
            millis: i64::from(number),
            follows: number / 2,
            after: number.wrapping_mul(5),
        })
        .collect()
}

#[test]
fn a_log_that_is_cut_is_read_up_to_the_torn_block() {
    let (log, direct) = record(&few_steps(), true);
    let places = blocks(&log);
    assert!(places.len() > 5, "{places:?}");
    let mut shown = 0;
    for cut in 0..=log.len() {
        let (lines, damages) = read(&log[..cut]);
        assert!(direct.starts_with(&lines), "cut at {cut}");
        assert!(lines.len() >= shown);
        shown = lines.len();
        let torn = places.iter().rev().find(|place| **place <= cut).unwrap();
        let expected: &[u64] = if *torn == cut { &[] } else { &[*torn as u64] };
        let offsets: Vec<u64> = damages.iter().map(|damage| damage.offset).collect();
        assert_eq!(offsets, expected, "cut at {cut}");
    }
    assert_eq!(shown, direct.len());
}

#[test]
fn a_flipped_bit_costs_one_block() {
    let (log, direct) = record(&few_steps(), true);
    let places = blocks(&log);
    let parts: Vec<Vec<u8>> = places
        .windows(2)
        .map(|ends| read(&log[ends[0]..ends[1]]).0)
        .collect();
    assert_eq!(parts.concat(), direct);
    let mut broken = log.clone();
    for bit in 0..log.len() * 8 {
        broken[bit / 8] ^= 1 << (bit % 8);
        let (lines, damages) = read(&broken);
        broken[bit / 8] ^= 1 << (bit % 8);
        let block = places.partition_point(|place| *place <= bit / 8) - 1;
        let rest = [&parts[..block], &parts[block + 1..]].concat().concat();
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            String::from_utf8(rest).unwrap(),
            "bit {bit}"
        );
        assert_eq!(damages.len(), 1, "bit {bit}: {damages:?}");
        assert_eq!(damages[0].offset, places[block] as u64, "bit {bit}");
    }
}

#[test]
fn a_torn_block_hides_none_behind_it() {
    // A process died while it wrote; the next one has appended.
    let (log, direct) = record(&few_steps(), true);
    let places = blocks(&log);
    let torn = places[1] + (places[2] - places[1]) / 2;
    let joined = [&log[..torn], &log].concat();
    let (lines, damages) = read(&joined);
    let expected = [&read(&log[..places[1]]).0[..], &direct].concat();
    assert_eq!(lines, expected);
    assert_eq!(damages.len(), 1);
    assert_eq!(damages[0].offset, places[1] as u64);
}

/// A block with this checksum's blessing.
fn block(items: &[u8]) -> Vec<u8> {
    [&Header::of(items, 1).to_bytes()[..], items].concat()
}

/// Whatever these items are, what is shown of them is JSON, and what follows is read.
fn harmless(items: &[u8]) {
    let mut sound = Vec::new();
    push_turn(&mut sound);
    push_event(&mut sound);
    let (lines, _) = read(&[block(items), block(&sound)].concat());
    let lines = String::from_utf8(lines).unwrap();
    for line in lines.lines() {
        serde_json::from_str::<&serde_json::value::RawValue>(line).unwrap();
    }
    assert!(lines.ends_with(&String::from_utf8(read(&block(&sound)).0).unwrap()));
}

fn push_text(items: &mut Vec<u8>, text: &str) {
    push_number(items, (text.len() as u64) << 1 | 1);
    items.extend_from_slice(text.as_bytes());
}

fn push_turn(items: &mut Vec<u8>) {
    items.push(item::TURN);
    push_text(items, "m");
    push_text(items, "arn:");
    items.push(item::NAME_IS_TEXT);
    push_text(items, "e");
    push_signed(items, 0);
}

fn push_event(items: &mut Vec<u8>) {
    items.extend_from_slice(&[item::EVENT + 2, 1, 1, 0, 2, 0, 0]);
}

#[test]
fn flipped_bits_of_items_do_no_harm() {
    let (log, _) = record(&few_steps(), false);
    let items = &log[Header::BYTES..];
    let mut broken = items.to_vec();
    for bit in 0..items.len() * 8 {
        broken[bit / 8] ^= 1 << (bit % 8);
        harmless(&broken);
        broken[bit / 8] ^= 1 << (bit % 8);
    }
    for cut in 0..items.len() {
        harmless(&items[..cut]);
    }
}

#[test]
fn hostile_blocks_are_refused() {
    let refused = |build: &dyn Fn(&mut Vec<u8>), what: &str| {
        let mut items = Vec::new();
        push_turn(&mut items);
        build(&mut items);
        push_event(&mut items);
        let (lines, damages) = read(&block(&items));
        assert!(lines.is_empty(), "{what}");
        assert_eq!(damages.len(), 1, "{what}: {damages:?}");
        assert!(damages[0].message.contains(what), "{what}: {damages:?}");
    };
    refused(
        &|items| {
            // Each document is the one before a hundred times.
            items.extend_from_slice(&[item::TEXT, 3]);
            items.extend_from_slice(b"100");
            for id in UNIVERSAL.len()..UNIVERSAL.len() + 20 {
                items.extend_from_slice(&[item::ARRAY, 100]);
                (0..100).for_each(|_| push_number(items, (id as u64) << 1));
            }
        },
        "a document is too large",
    );
    for tag in [item::OBJECT, item::ARRAY] {
        refused(
            &|items| {
                items.push(tag);
                push_number(items, u64::from(u32::MAX));
            },
            "more is announced than there is",
        );
    }
    refused(
        &|items| {
            items.push(item::TEXT);
            push_number(items, u64::MAX);
        },
        "the block ends too early",
    );
    refused(
        &|items| items.extend_from_slice(&[item::ARRAY, 1, 10 << 1]),
        "there is no such document",
    );
    refused(
        &|items| {
            items.extend_from_slice(&[item::TEXT, 4]);
            items.extend_from_slice("\"é\"".as_bytes());
            // Half of a character.
            items.extend_from_slice(&[item::ARRAY, 1, 5 << 1 | 1, 1, 1]);
        },
        "a part lies outside of its document",
    );
    refused(&|items| items.push(200), "there is no such item");
    let (_, damages) = read(&block(&[item::TEXT, 1, b'1']));
    assert_eq!(damages[0].message, "no turn has begun");
}

#[test]
fn blocks_that_announce_too_much_are_passed_over() {
    let mut sound = Vec::new();
    push_turn(&mut sound);
    push_event(&mut sound);
    let sound = block(&sound);
    let (lines, _) = read(&sound);
    let mut header = Header::of(b"", 0);
    header.bytes = u32::MAX;
    let (found, damages) = read(&[&header.to_bytes()[..], &sound].concat());
    assert_eq!(found, lines);
    assert!(damages[0].message.contains("more than there may be"));
    header = Header::of(b"future", 0);
    header.version = 2;
    let (found, damages) = read(&[&header.to_bytes()[..], b"future", &sound].concat());
    assert_eq!(found, lines);
    assert_eq!(
        damages[0].message,
        "version 2 of the format, which is not known here"
    );
    // Nothing but beginnings, of blocks and of whole headers.
    let (found, damages) = read(&MAGIC.repeat(50_000));
    assert_eq!((found.len(), damages.len()), (0, 1));
    header = Header::of(b"x", 1);
    header.bytes = 1_000_000;
    let (found, _) = read(&[header.to_bytes().repeat(5_000), sound].concat());
    assert!(found.is_empty() || found == lines);
}

#[test]
fn a_log_that_grows_is_read_on() {
    /// Gives out one more part each time that it was read to its end.
    struct Growing<'a> {
        parts: std::vec::IntoIter<&'a [u8]>,
        given: bool,
    }
    impl io::Read for Growing<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.given = !self.given;
            match self.parts.next() {
                Some(part) if self.given => {
                    out[..part.len()].copy_from_slice(part);
                    Ok(part.len())
                }
                _ => Ok(0),
            }
        }
    }
    let (log, direct) = record(&few_steps(), true);
    let parts: Vec<&[u8]> = log.chunks(7).flat_map(|part| [part, &b""[..]]).collect();
    let rounds = parts.len();
    let mut reader = LogReader::new(Growing {
        parts: parts.into_iter(),
        given: false,
    });
    let mut lines = Vec::new();
    for _ in 0..rounds {
        let write = |part: &[u8]| {
            lines.extend_from_slice(part);
            Ok(())
        };
        let filter = Filter::default();
        reader
            .render(&filter, LineFormat::Json, false, write, |damage| {
                panic!("{damage}");
            })
            .unwrap();
    }
    assert_eq!(lines, direct);
    assert_eq!(reader.bytes_read(), log.len() as u64);
}

/// Records one event with this input, and renders it directly.
fn one_event(json: &str, config: LogConfig) -> (Vec<u8>, Vec<u8>, LogCounters) {
    let (stream, memory) = compact(config);
    let mut recorder = stream.recorder();
    let machine = identity(MachineType::Express);
    recorder.turn_to(&ExecutionIdentity {
        machine: &machine,
        name: None,
        seed: 1,
    });
    let (mut doc, constants) = (Doc::new(), Doc::new());
    let input = doc.ingest(json.as_bytes()).unwrap();
    let event = HistoryEvent {
        id: 1,
        previous_id: 0,
        timestamp: Timestamp::from_millis(5),
        values: Values {
            doc: &doc,
            constants: &constants,
        },
        details: Details::ExecutionStarted {
            input,
            role_arn: "r",
        },
        original: None,
    };
    recorder.observe(&event);
    recorder.flush();
    let mut direct = Vec::new();
    let arn = machine.execution_arn(&name_of_seed(1), 1);
    let context = LogContext {
        execution_arn: &arn,
        include_execution_data: true,
    };
    event.write_log(&context, &mut direct);
    direct.push(b'\n');
    drop(recorder);
    let counters = close(stream);
    (memory.bytes(), direct, counters)
}

/// `"input":"…","inputDetails":{"truncated":…}` of a line: bytes of the escaped text, and whether it was cut.
fn input_of(line: &[u8]) -> (usize, bool) {
    let line = std::str::from_utf8(line).unwrap();
    let start = line.find("\"input\":\"").unwrap() + 9;
    let end = line.find("\",\"inputDetails\"").unwrap();
    (
        end - start,
        line.contains(r#""inputDetails":{"truncated":true}"#),
    )
}

#[test]
fn large_documents_are_cut_as_aws_cuts_them() {
    let all = LogConfig::new(LogLevel::All);
    // The quotes of a string are four bytes when escaped.
    for (json, expected) in [
        (
            format!("\"{}\"", "x".repeat(LOG_DOCUMENT_BYTES_MAX - 4)),
            (LOG_DOCUMENT_BYTES_MAX, false),
        ),
        (
            format!("\"{}\"", "x".repeat(LOG_DOCUMENT_BYTES_MAX - 3)),
            // The last quote's escape is not cut in halves.
            (LOG_DOCUMENT_BYTES_MAX - 1, true),
        ),
        (
            format!("\"{}\"", "é".repeat(LOG_DOCUMENT_BYTES_MAX)),
            (LOG_DOCUMENT_BYTES_MAX, true),
        ),
        (
            format!("\"{}\"", "x".repeat(DOCUMENT_BYTES_MAX * 3)),
            (LOG_DOCUMENT_BYTES_MAX, true),
        ),
    ] {
        let (log, direct, counters) = one_event(&json, all);
        let (lines, damages) = read(&log);
        assert_eq!((counters.dropped(), damages), (0, vec![]));
        assert_eq!(input_of(&lines), expected);
        assert!(lines == direct, "direct: {:?}", input_of(&direct));
        assert!(log.len() <= DOCUMENT_BYTES_MAX + 200, "{}", log.len());
    }
}

#[test]
fn what_is_too_large_is_counted() {
    let (stream, memory) = compact(LogConfig::new(LogLevel::All));
    let mut recorder = stream.recorder();
    let machine = identity(MachineType::Express);
    recorder.turn_to(&ExecutionIdentity {
        machine: &machine,
        name: None,
        seed: 1,
    });
    let (doc, constants) = (Doc::new(), Doc::new());
    let values = Values {
        doc: &doc,
        constants: &constants,
    };
    let causes = [
        "first".to_owned(),
        "x".repeat(BLOCK_BYTES_MAX),
        "last".to_owned(),
    ];
    for (at, cause) in causes.iter().enumerate() {
        recorder.observe(&HistoryEvent {
            id: at as u64 + 1,
            previous_id: 0,
            timestamp: Timestamp::from_millis(5),
            values,
            details: Details::ExecutionFailed {
                failure: &Failure::new("E", cause.as_str()),
            },
            original: None,
        });
    }
    drop(recorder);
    let counters = close(stream);
    assert_eq!((counters.events, counters.dropped_too_large), (2, 1));
    assert_eq!(counters.dropped(), 1);
    let lines = String::from_utf8(read(&memory.bytes()).0).unwrap();
    let causes: Vec<bool> = lines.lines().map(|line| line.contains("first")).collect();
    assert_eq!(causes, [true, false]);
    assert!(lines.contains("last"));
}

#[test]
fn every_document_stands_once() {
    let (stream, memory) = compact(LogConfig::new(LogLevel::All));
    let mut recorder = stream.recorder();
    let machine = identity(MachineType::Express);
    recorder.turn_to(&ExecutionIdentity {
        machine: &machine,
        name: None,
        seed: 1,
    });
    let mut world = World::new();
    let pad = "p".repeat(10_000);
    let input = format!(r#"{{"pad":"{pad}","n":1}}"#);
    let input = world.doc.ingest(input.as_bytes()).unwrap();
    let mut val = input;
    for id in 1..=100 {
        // Now the same, now a part of it, now something new with it.
        val = match id % 4 {
            0 => world.doc.push_array(&world.constants, &[input, val]),
            3 => world.values().members(input).next().unwrap().1,
            _ => val,
        };
        recorder.observe(&HistoryEvent {
            id,
            previous_id: id - 1,
            timestamp: Timestamp::from_millis(5),
            values: world.values(),
            details: Details::StateEntered {
                state_type: StateType::Pass,
                name: "State",
                input: val,
            },
            original: None,
        });
    }
    drop(recorder);
    close(stream);
    let log = memory.bytes();
    let (lines, damages) = read(&log);
    assert_eq!(damages, []);
    assert!(lines.len() > 100 * pad.len(), "{}", lines.len());
    assert!(log.len() < pad.len() + 2_500, "{}", log.len());
}

/// Which of many executions a recorder logs.
fn sampled(config: LogConfig, name: impl Fn(u64) -> Option<String>) -> Vec<bool> {
    let (stream, _) = compact(config);
    let mut recorder = stream.recorder();
    let machine = identity(MachineType::Express);
    let wants = (0..8_192).map(|seed| {
        let name = name(seed);
        let execution = ExecutionIdentity {
            machine: &machine,
            name: name.as_deref(),
            seed,
        };
        recorder.turn_to(&execution);
        let wants = recorder.wants(LogLevel::All);
        // However often it is turned to, and whatever was before.
        recorder.turn_to(&execution);
        assert_eq!(recorder.wants(LogLevel::All), wants);
        assert_eq!(recorder.wants(LogLevel::Fatal), wants);
        wants
    });
    wants.collect()
}

#[test]
fn samples_hold_whole_executions() {
    let count = |wants: &[bool]| wants.iter().filter(|wanted| **wanted).count();
    let config = LogConfig::new(LogLevel::All);
    let by_seed = sampled(config.sample(0.25), |_| None);
    assert!(
        (1_900..2_200).contains(&count(&by_seed)),
        "{}",
        count(&by_seed)
    );
    let by_name = sampled(config.sample(0.25), |seed| Some(format!("order-{seed}")));
    assert!(
        (1_900..2_200).contains(&count(&by_name)),
        "{}",
        count(&by_name)
    );
    assert_ne!(by_seed, by_name);
    let one_name = sampled(config.sample(0.5), |_| Some("same".to_owned()));
    assert!(one_name.iter().all(|wanted| *wanted == one_name[0]));
    assert_eq!(count(&sampled(config.sample(0.0), |_| None)), 0);
    assert_eq!(count(&sampled(config.sample(1.0), |_| None)), 8_192);
    assert_eq!(count(&sampled(config.sample(f64::NAN), |_| None)), 0);
    // A larger sample holds the smaller one.
    let more = sampled(config.sample(0.5), |_| None);
    assert!(by_seed.iter().zip(&more).all(|(less, more)| !less || *more));
}

#[test]
fn the_bytes_of_version_1() {
    // Bytes that an earlier build wrote must be read for ever; this is what they are.
    let mut items = Vec::new();
    items.push(1);
    items.extend_from_slice(b"\x00\x05order\x00\x04arn:");
    items.push(0);
    items.extend_from_slice(b"\x05e1");
    items.extend_from_slice(&[20]); // 10 ms
    items.extend_from_slice(b"\x02\x0a{\"k\":[12]}"); // document 5
    items.extend_from_slice(b"\x03\x02\x03a\x0b\x05\x04\x03b\x02"); // 6: {"a": [12] of 5, "b": true}
    items.extend_from_slice(b"\x04\x02\x0c\x00"); // 7: [6, null]
    items.extend_from_slice(&[16 + 6, 2, 2, 1, 1, 14, 4, 2, 0]); // id 2, -1 ms, input 7, name "order"
    let expected = concat!(
        r#"{"id":"2","type":"PassStateEntered","details":{"input":"[{\"a\":[12],\"b\":true},null]","#,
        r#""inputDetails":{"truncated":false},"name":"order"},"previous_event_id":"0","event_timestamp":"9","#,
        r#""execution_arn":"arn:e1","redrive_count":"0"}"#,
        "\n"
    );
    let (lines, damages) = read(&block(&items));
    assert_eq!(damages, []);
    assert_eq!(String::from_utf8(lines).unwrap(), expected);
    let mut decoder = Decoder::default();
    decoder.begin();
    let entry = decoder.next(&items).unwrap().unwrap();
    assert_eq!(entry.machine(), b"order");
    assert_eq!(entry.execution_name(), b"e1");
    assert_eq!(entry.state(), Some(&b"order"[..]));
}
