//! An expression of JSONata as it is lowered, without the slow path.

use super::table::Table;
use crate::intrinsic::Random;
use crate::jsonata::{Bail, Dialect, Lowered, Reason, Root, Scope, lower};
use crate::stdx::Timestamp;
use crate::value::{Doc, Kind, Val, Values};

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
        let mut table = Table::new(variables.iter().copied());
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
        let value = self.lowered.run(&mut scope);
        // The two have to agree wherever an expression is run for its value: in tests and by the fuzzer.
        if cfg!(debug_assertions)
            && let Some(holds) = input.and_then(|input| self.test(doc, input))
        {
            let values = Values {
                doc,
                constants: &self.constants,
            };
            let kind = value.map(|value| value.map(|value| values.kind(value)));
            assert_eq!(kind, Ok(Some(Kind::of_bool(holds))), "as it is tested");
        }
        value.map_err(|Bail| Bailed)
    }

    /// The value of a condition that a Choice would not evaluate, but test at once.
    #[must_use]
    pub fn test(&self, doc: &Doc, input: Val) -> Option<bool> {
        let values = Values {
            doc,
            constants: &self.constants,
        };
        self.lowered.test(values, input)
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
