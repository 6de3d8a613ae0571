//! What benches, fuzz targets and tests of parts need and no program should use: it may change with any release.

use std::sync::Arc;

use crate::intrinsic::Random;
use crate::jsonata::{self, Available, Compiled, Constants, Dialect, Expression, Root, Scope};
use crate::stdx::Timestamp;
use crate::value::{Doc, Key, Name, Val, Values};

/// The write-ahead journal of asynchronous starts.
pub mod journal {
    pub use crate::journal::*;
}

/// What an expression is evaluated against where there is no execution.
#[derive(Debug)]
pub struct Bench {
    doc: Doc,
    constants: Doc,
    /// `$` of plain JSONata, or `$states.input`.
    data: Option<Val>,
    names: Vec<String>,
    variables: Vec<Val>,
    random: Random,
    now: Timestamp,
}

impl Bench {
    /// Data, and variables by their names, as JSON texts.
    ///
    /// # Errors
    ///
    /// If one of the texts is not JSON.
    pub fn new(data: Option<&str>, variables: &[(&str, &str)]) -> Result<Bench, String> {
        let mut doc = Doc::new();
        let mut ingest = |json: &str| {
            doc.ingest(json.as_bytes())
                .map_err(|error| error.to_string())
        };
        let data = data.map(&mut ingest).transpose()?;
        let vals: Result<Vec<Val>, String> =
            variables.iter().map(|(_, json)| ingest(json)).collect();
        Ok(Bench {
            data,
            names: variables
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            variables: vals?,
            doc,
            constants: Doc::new(),
            random: Random::new(0),
            now: Timestamp::from_millis(1_500_000_000_000),
        })
    }

    /// Evaluates an expression as JSONata's own test suite has it, `$` being the data; the result as JSON, if there is
    /// one.
    ///
    /// # Errors
    ///
    /// What is wrong with the expression, or why it failed: the code, and what it says.
    pub fn plain(&mut self, text: &str) -> Result<Option<String>, String> {
        self.run(text, Dialect::Plain)
    }

    /// Evaluates an expression of a state whose input is the data; the result as JSON, if there is one.
    ///
    /// # Errors
    ///
    /// What is wrong with the expression, or why it failed.
    pub fn aws(&mut self, text: &str) -> Result<Option<String>, String> {
        self.run(text, Dialect::Aws)
    }

    fn run(&mut self, text: &str, dialect: Dialect) -> Result<Option<String>, String> {
        let expression =
            Expression::parse(text, dialect, Available::Nothing).map_err(|problems| {
                let texts: Vec<String> = problems
                    .into_iter()
                    .map(|problem| match problem.code {
                        Some(code) => format!("{code}: {}", problem.message),
                        None => problem.message,
                    })
                    .collect();
                texts.join("; ")
            })?;
        let compiled = Compiled::new(&Arc::new(expression), &mut Names(self));
        let val = jsonata::evaluate(&compiled, self).map_err(|error| error.to_string())?;
        let values = Values {
            doc: &self.doc,
            constants: &self.constants,
        };
        Ok(val.map(|val| values.to_json(val)))
    }
}

impl Scope for Bench {
    fn doc(&mut self) -> &mut Doc {
        &mut self.doc
    }

    fn parts(&mut self) -> (&mut Doc, &Doc) {
        (&mut self.doc, &self.constants)
    }

    fn root(&mut self, root: Root) -> Option<Val> {
        match root {
            Root::Data | Root::Input => self.data,
            Root::Variable(number) => self.variables.get(number as usize).copied(),
            Root::Context => Some(Val::EMPTY_OBJECT),
            Root::Result | Root::ErrorOutput => None,
        }
    }

    fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

struct Names<'b>(&'b mut Bench);

impl Constants for Names<'_> {
    fn literal(&mut self, json: &str) -> Val {
        match self.0.constants.ingest(json.as_bytes()) {
            Ok(val) => val.as_constant(),
            Err(error) => panic!("a literal of an expression is JSON: {error}"),
        }
    }

    fn string(&mut self, text: &str) -> Val {
        self.0.constants.push_string(text).as_constant()
    }

    fn key(&mut self, name: &str) -> Key {
        self.0.constants.push_key(&Name::new(name)).as_constant()
    }

    fn variable(&mut self, name: &str) -> Option<u32> {
        let at = self.0.names.iter().position(|known| known == name)?;
        Some(crate::stdx::narrow(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a plain path finds in the document is what the library finds, of `$states`, of a variable and of the context.
    #[test]
    fn paths_find_the_same_on_every_way() {
        let data = r#"{"none":[],"one":[1],"nest":[[1]],"nn":[[]],"o":{"a":[],"b":[[2]],"c":{"d":null}},
            "arr":[{"x":[1]},{"x":[2,[3]]}],"s":"t","oo":[{"x":[]}]}"#;
        for (path, expected) in [
            ("none", Some("[]")),
            ("one", Some("[1]")),
            ("nest", Some("[[1]]")),
            ("nn", Some("[[]]")),
            ("o.a", Some("[]")),
            ("o.b", Some("[[2]]")),
            ("o.c.d", Some("null")),
            ("arr.x", Some("[1,2,[3]]")),
            ("oo.x", Some("[]")),
            ("s.x", None),
            ("missing", None),
            ("o.missing.x", None),
            ("o", Some(r#"{"a":[],"b":[[2]],"c":{"d":null}}"#)),
        ] {
            let mut bench = Bench::new(Some(data), &[("v", data)]).unwrap();
            let expected = expected.map(str::to_owned);
            for text in [
                format!("$states.input.{path}"),
                format!("(1; $states.input.{path})"),
                format!("$v.{path}"),
                format!("(1; $v.{path})"),
            ] {
                assert_eq!(bench.aws(&text).unwrap(), expected, "{text}");
            }
            assert_eq!(bench.plain(path).unwrap(), expected, "{path}");
        }
    }

    proptest::proptest! {
        /// Whatever an expression does, its state goes on or fails; what comes out is JSON.
        #[test]
        fn random_expressions_end(
            pieces in proptest::collection::vec(proptest::sample::select(PIECES), 1..10),
        ) {
            let data = r#"{"a":[{"b":1,"c":"x"},{"b":[2,3],"c":null}],"n":0.10,"s":"é"}"#;
            let mut bench = Bench::new(Some(data), &[("v", "[1,[2],{\"a\":3}]")]).unwrap();
            if let Ok(Some(json)) = bench.aws(&pieces.concat()) {
                let value = serde_json::from_str::<serde_json::Value>(&json);
                proptest::prop_assert!(value.is_ok(), "{}", json);
            }
        }
    }

    #[rustfmt::skip]
    const PIECES: &[&str] = &[
        "$states.input", "$states.input.a", "$v", ".b", ".c", ".*", ".**", "[0]", "[-1]", "[b>1]", "[]", "{c:b}", "^(b)",
        " & ", " + ", " = ", " in ", " ~> ", " ? ", " : ", ", ", "; ", "(", ")", "[", "]", "1", "'x'", "1..3", "$string(",
        "$sum(", "$map(", "$filter(", "$reduce(", "$sort(", "$distinct(", "$join(", "$split(", "$replace(", "$match(",
        "function($x, $i){ $x }", "function($x){ [$x, $x] }", "$f := ", "$f", "/x/", "$zip(", "$merge(", "$each(", "$spread(",
        "$partition(", "$range(", "$hash(", "$parse(", "$now()", "$uuid()", "$string", "$not(", "$exists(", "{'k': ", "}",
    ];
}
