//! `Doc::ingest` against two other JSON parsers and a plain tree: the same texts accepted, the same values held.
//!
//! serde_json decides what is JSON, reading into a `RawValue`: that checks the grammar and the UTF-8 and interprets nothing.
//! Deliberate differences from it:
//! - a text nested deeper than `DEPTH_MAX` is refused.
//!
//! simd-json interprets, so it refuses some texts that quickstep keeps:
//! - integers beyond 64 bits and numbers beyond a double's range: quickstep keeps a number's text;
//! - lone surrogates: quickstep keeps the escape;
//! - a text nested deeper than its own limit.
//!
//! Whatever it accepts, quickstep accepts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quickstep::value::{DEPTH_MAX, Doc, Kind, Name, Prepared, Val, Values};
use serde_json::value::RawValue;

/// A value, read by the simplest code that could.
#[derive(Debug, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    /// The text as written.
    Number(String),
    /// UTF-16 units: the only form in which a lone surrogate exists.
    String(Vec<u16>),
    Array(Vec<Tree>),
    /// A duplicate name's last value in its first place.
    Object(Vec<(Vec<u16>, Tree)>),
}

/// Reads text that is known to be JSON.
struct Reader<'t> {
    rest: &'t str,
    /// Whether simd-json may refuse it; values that a duplicate name replaces count too.
    is_beyond_simd_json: bool,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn value(&mut self) -> Tree {
        if self.eat("null") {
            Tree::Null
        } else if self.eat("true") {
            Tree::Bool(true)
        } else if self.eat("false") {
            Tree::Bool(false)
        } else if self.eat("[") {
            self.array()
        } else if self.eat("{") {
            self.object()
        } else if self.eat("\"") {
            Tree::String(self.string())
        } else {
            let end = self
                .rest
                .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
            let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = rest;
            self.is_beyond_simd_json |= is_beyond_simd_json(number);
            Tree::Number(number.to_owned())
        }
    }

    fn array(&mut self) -> Tree {
        let mut items = Vec::new();
        if self.eat("]") {
            return Tree::Array(items);
        }
        loop {
            items.push(self.value());
            if !self.eat(",") {
                assert!(self.eat("]"));
                return Tree::Array(items);
            }
        }
    }

    fn object(&mut self) -> Tree {
        let mut members: Vec<(Vec<u16>, Tree)> = Vec::new();
        if self.eat("}") {
            return Tree::Object(members);
        }
        loop {
            assert!(self.eat("\""));
            let name = self.string();
            assert!(self.eat(":"));
            let value = self.value();
            match members.iter_mut().find(|(other, _)| *other == name) {
                Some(member) => member.1 = value,
                None => members.push((name, value)),
            }
            if !self.eat(",") {
                assert!(self.eat("}"));
                return Tree::Object(members);
            }
        }
    }

    /// From behind the opening quote to behind the closing one.
    fn string(&mut self) -> Vec<u16> {
        let mut units = Vec::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().expect("a closing quote") {
                '"' => break,
                '\\' => match chars.next().expect("an escape") {
                    'b' => units.push(0x08),
                    'f' => units.push(0x0c),
                    'n' => units.push(0x0a),
                    'r' => units.push(0x0d),
                    't' => units.push(0x09),
                    'u' => {
                        let hex: String = chars.by_ref().take(4).collect();
                        units.push(u16::from_str_radix(&hex, 16).expect("four hexadecimal digits"));
                    }
                    other => units.push(other as u16),
                },
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
        self.rest = chars.as_str();
        self.is_beyond_simd_json |= String::from_utf16(&units).is_err();
        units
    }
}

/// The value, and whether simd-json may refuse it.
fn tree(json: &str) -> (Tree, bool) {
    let mut reader = Reader {
        rest: json,
        is_beyond_simd_json: false,
    };
    let tree = reader.value();
    reader.skip_space();
    assert!(reader.rest.is_empty(), "text behind the value");
    (tree, reader.is_beyond_simd_json)
}

/// Nesting of a text that is JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// Whether simd-json may refuse the number.
fn is_beyond_simd_json(number: &str) -> bool {
    let is_integer = !number.contains(['.', 'e', 'E']);
    let fits = number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    (is_integer && !fits) || number.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// Reads the value back through the public accessors.
fn compare(values: Values<'_>, val: Val, tree: &Tree) {
    match tree {
        Tree::Null => assert_eq!(values.kind(val), Kind::Null),
        Tree::Bool(true) => assert_eq!(values.kind(val), Kind::True),
        Tree::Bool(false) => assert_eq!(values.kind(val), Kind::False),
        Tree::Number(text) => {
            assert_eq!(values.kind(val), Kind::Number);
            assert_eq!(values.text(val), text);
            assert_eq!(
                values.as_f64(val).filter(|n| n.is_finite()),
                text.parse().ok().filter(|n: &f64| n.is_finite())
            );
        }
        Tree::String(units) => {
            assert_eq!(values.kind(val), Kind::String);
            assert_eq!(
                values.string(val).expect("a string"),
                String::from_utf16_lossy(units)
            );
        }
        Tree::Array(items) => {
            assert_eq!(values.kind(val), Kind::Array);
            assert_eq!(values.len(val), items.len());
            for (index, (element, item)) in values.elements(val).zip(items).enumerate() {
                assert_eq!(values.element(val, index), Some(element));
                compare(values, element, item);
            }
        }
        Tree::Object(members) => {
            assert_eq!(values.kind(val), Kind::Object);
            assert_eq!(values.len(val), members.len());
            for ((key, member), (name, value)) in values.members(val).zip(members) {
                // A lone surrogate has no decoded text to look a name up by.
                if let Ok(name) = String::from_utf16(name) {
                    let name = Name::new(&name);
                    assert_eq!(values.key_text(key), name.raw());
                    assert_eq!(values.get(val, &name), Some(member));
                }
                compare(values, member, value);
            }
        }
    }
}

fuzz_target!(|json: &[u8]| {
    let mut doc = Doc::new();
    let ingested = doc.ingest(json);
    let judged: Result<&RawValue, _> = serde_json::from_slice(json);
    let simd = simd_json::to_borrowed_value(&mut json.to_vec()).is_ok();
    let text = match (&ingested, judged) {
        (Ok(_), Ok(_)) => std::str::from_utf8(json).expect("JSON is UTF-8"),
        (Err(_), Err(_)) => {
            assert!(!simd, "simd-json accepts it");
            return;
        }
        (Ok(_), Err(error)) => panic!("accepted, but serde_json says: {error}"),
        (Err(error), Ok(raw)) => {
            assert!(depth(raw.get()) > DEPTH_MAX, "refused: {error}");
            return;
        }
    };
    assert!(depth(text) <= DEPTH_MAX, "accepted although too deep");

    let val = ingested.expect("accepted");
    let constants = Doc::new();
    let values = Values {
        doc: &doc,
        constants: &constants,
    };
    let (expected, is_beyond_simd_json) = tree(text);
    compare(values, val, &expected);
    assert!(values.equal(val, val));

    let written = values.to_json(val);
    assert_eq!(
        values.size(val),
        written.len(),
        "size is the length of the output"
    );
    assert!(
        serde_json::from_str::<&RawValue>(&written).is_ok(),
        "output is not JSON: {written}"
    );
    assert_eq!(tree(&written).0, expected, "output differs in value");
    assert!(
        simd || is_beyond_simd_json || depth(text) > 1_000,
        "only simd-json refuses it"
    );

    // The output is canonical: taking it in again changes nothing, and a used document behaves like a new one.
    let again = doc
        .ingest(written.as_bytes())
        .expect("own output is accepted");
    assert_eq!(
        Values {
            doc: &doc,
            constants: &constants
        }
        .to_json(again),
        written
    );

    // Prepared, it is the same value, whatever was there before; and containers made of it are written as what they hold.
    let put = doc.put(&Prepared::new(json)).expect("it was accepted");
    let values = Values {
        doc: &doc,
        constants: &constants,
    };
    compare(values, put, &expected);
    assert!(values.equal(put, again));
    let key = doc.push_key(&Name::new("name"));
    let inner = doc.push_object(&constants, &[(key, put)]);
    let list = doc.push_array(&constants, &[val, inner, again]);
    let values = Values {
        doc: &doc,
        constants: &constants,
    };
    let expected = format!(r#"[{written},{{"name":{written}}},{written}]"#);
    assert_eq!(values.to_json(list), expected);
});
