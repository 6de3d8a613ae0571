//! What benches, fuzz targets and crash tests see of the crate's inside. It may change at any time.

use crate::intrinsic::Random;
use crate::jsonata::{Bail, Constants, Dialect, Lowered, Reason, Root, Scope, lower};
use crate::stdx::{Timestamp, narrow};
use crate::value::{Doc, Key, Name, Val};

/// A lowered JSONata expression with constants of its own.
#[derive(Debug)]
pub struct Expression {
    lowered: Lowered,
    constants: Doc,
}

/// The expression has to be evaluated on the slow path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bailed;

impl Expression {
    /// Lowers an expression of JSONata as such: the context is the input, and variables may be bound from outside.
    ///
    /// # Errors
    ///
    /// Why it is not lowered: what the parser says, or what the lowering does not cover.
    pub fn plain(text: &str, variables: &[&str]) -> Result<Expression, String> {
        Expression::new(text, Dialect::Plain, variables)
    }

    /// Lowers an expression of AWS's dialect: `$states.input` is the input, and there are the machine's variables.
    ///
    /// # Errors
    ///
    /// Why it is not lowered: what the parser says, or what the lowering does not cover.
    pub fn aws(text: &str, variables: &[&str]) -> Result<Expression, String> {
        Expression::new(text, Dialect::Aws, variables)
    }

    fn new(text: &str, dialect: Dialect, variables: &[&str]) -> Result<Expression, String> {
        let ast = jsonata_core::parser::parse(text).map_err(|error| error.to_string())?;
        let mut table = Table {
            variables: variables.iter().map(|name| (*name).to_owned()).collect(),
            ..Table::default()
        };
        let lowered =
            lower(&ast, dialect, &mut table).map_err(|reason: Reason| reason.to_string())?;
        Ok(Expression {
            lowered,
            constants: table.constants,
        })
    }

    /// The document of the expression's constants.
    #[must_use]
    pub fn constants(&self) -> &Doc {
        &self.constants
    }

    /// The value of the expression over an input and its variables, by the order of their names; `None` if it is
    /// undefined.
    ///
    /// # Errors
    ///
    /// If only the slow path can tell.
    #[inline]
    pub fn run(
        &self,
        doc: &mut Doc,
        input: Option<Val>,
        variables: &[Val],
    ) -> Result<Option<Val>, Bailed> {
        let mut scope = Over {
            doc,
            constants: &self.constants,
            input,
            variables,
            random: Random::new(0),
        };
        self.lowered.run(&mut scope).map_err(|Bail| Bailed)
    }
}

/// Constants of one expression, in which every name is one key.
#[derive(Debug, Default)]
struct Table {
    constants: Doc,
    keys: Vec<(String, Key)>,
    variables: Vec<String>,
}

impl Constants for Table {
    fn literal(&mut self, json: &str) -> Val {
        match self.constants.ingest(json.as_bytes()) {
            Ok(val) => val.as_constant(),
            Err(error) => unreachable!("a literal is JSON: {error}"),
        }
    }

    fn string(&mut self, text: &str) -> Val {
        self.constants.push_string(text).as_constant()
    }

    fn key(&mut self, name: &str) -> Key {
        if let Some((_, key)) = self.keys.iter().find(|(known, _)| known == name) {
            return *key;
        }
        let key = self.constants.push_key(&Name::new(name)).as_constant();
        self.keys.push((name.to_owned(), key));
        key
    }

    fn variable(&mut self, name: &str) -> Option<u32> {
        let number = self.variables.iter().position(|known| known == name);
        number.map(narrow)
    }
}

/// What an expression sees when it runs over one input.
#[derive(Debug)]
struct Over<'a> {
    doc: &'a mut Doc,
    constants: &'a Doc,
    input: Option<Val>,
    variables: &'a [Val],
    random: Random,
}

impl Scope for Over<'_> {
    fn doc(&mut self) -> &mut Doc {
        self.doc
    }

    fn parts(&mut self) -> (&mut Doc, &Doc) {
        (self.doc, self.constants)
    }

    fn root(&mut self, root: Root) -> Option<Val> {
        match root {
            Root::Data | Root::Input => self.input,
            Root::Variable(number) => self.variables.get(number as usize).copied(),
            Root::Result | Root::ErrorOutput | Root::Context => None,
        }
    }

    fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
}
