//! Evaluation of JSONata where there is no execution.

use std::sync::Arc;

use super::table::Table;
use crate::intrinsic::Random;
use crate::jsonata::{self, Available, Compiled, Dialect, Expression, Root, Scope};
use crate::stdx::Timestamp;
use crate::value::{Doc, Val, Values};

/// Whether expressions are lowered where they can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lowering {
    Used,
    Unused,
}

/// What an expression is evaluated against where there is no execution.
#[derive(Debug)]
pub struct Bench {
    doc: Doc,
    table: Table,
    /// `$` of plain JSONata, or `$states.input`.
    data: Option<Val>,
    variables: Vec<Val>,
    random: Random,
    now: Timestamp,
    lowering: Lowering,
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
            variables: vals?,
            doc,
            table: Table::new(variables.iter().map(|(name, _)| *name)),
            lowering: Lowering::Used,
            random: Random::new(0),
            now: Timestamp::from_millis(1_500_000_000_000),
        })
    }

    /// Evaluates nothing but by the slow path.
    #[must_use]
    pub fn without_lowering(mut self) -> Bench {
        self.lowering = Lowering::Unused;
        self
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
        let expression = Arc::new(expression);
        let compiled = match self.lowering {
            Lowering::Used => Compiled::new(&expression, &mut self.table),
            Lowering::Unused => Compiled::slow(&expression, &mut self.table),
        };
        let val = jsonata::evaluate(&compiled, self).map_err(|error| error.to_string())?;
        let values = Values {
            doc: &self.doc,
            constants: &self.table.constants,
        };
        Ok(val.map(|val| values.to_json(val)))
    }
}

impl Scope for Bench {
    fn doc(&mut self) -> &mut Doc {
        &mut self.doc
    }

    fn parts(&mut self) -> (&mut Doc, &Doc) {
        (&mut self.doc, &self.table.constants)
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
