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
