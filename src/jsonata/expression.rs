//! Text to [`Expression`], with the checks that AWS makes when a definition is created.

use std::fmt;
use std::ops::Range;

use jsonata_core::ast::{AstNode, BinaryOp};
use jsonata_core::functions::string::build_regex;

use super::guard::{self, Guard};
use super::reads::Reads;
use super::scope::Dialect;
use super::syntax::{self, tokens};
use super::walk::{Place, parts};

/// A JSONata expression, parsed and checked.
#[derive(Clone)]
pub struct Expression {
    text: Box<str>,
    dialect: Dialect,
    available: Available,
    ast: AstNode,
    /// The same with the guards of the slow path.
    guarded: AstNode,
    guards: Vec<Guard>,
    reads: Reads,
}

/// Most problems that are reported of one expression.
const PROBLEMS_MAX: usize = 20;

/// Which parts of `$states` there are where an expression stands, besides `input` and `context`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Available {
    /// None.
    Nothing,
    /// `$states.result`
    Result,
    /// `$states.errorOutput`
    ErrorOutput,
}

/// Why a text is no expression that can be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    /// JSONata's code, if it has one; AWS leaves it out.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    /// The bytes of the text that it is about.
    pub(crate) at: Range<usize>,
}

/// AWS's two kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProblemKind {
    /// It does not parse.
    Invalid,
    /// It parses, but names what is not there.
    Unsupported,
}

impl Expression {
    /// Parses and checks the text of an expression, without `{%` and `%}`.
    pub(crate) fn parse(
        text: &str,
        dialect: Dialect,
        available: Available,
    ) -> Result<Expression, Vec<Problem>> {
        let ast = syntax::parse(text).map_err(|error| {
            vec![Problem {
                kind: ProblemKind::Invalid,
                code: error.code,
                message: error.message,
                at: error.at,
            }]
        })?;
        let mut check = Check {
            text,
            dialect,
            available,
            problems: Vec::new(),
        };
        check.node(&ast, Place::Same);
        if !check.problems.is_empty() {
            return Err(check.problems);
        }
        let reads = Reads::of(&ast);
        let (guarded, guards) = guard::guarded(&ast);
        Ok(Expression {
            text: text.into(),
            dialect,
            available,
            ast,
            guarded,
            guards,
            reads,
        })
    }

    /// The text, without `{%` and `%}`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn available(&self) -> Available {
        self.available
    }

    pub(super) fn ast(&self) -> &AstNode {
        &self.ast
    }

    pub(super) fn guarded(&self) -> &AstNode {
        &self.guarded
    }

    pub(super) fn guards(&self) -> &[Guard] {
        &self.guards
    }

    pub(super) fn reads(&self) -> &Reads {
        &self.reads
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
            && self.dialect == other.dialect
            && self.available == other.available
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{% {} %}}", self.text)
    }
}

struct Check<'t> {
    text: &'t str,
    dialect: Dialect,
    available: Available,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn node(&mut self, node: &AstNode, place: Place) {
        self.newer(node);
        self.regex(node);
        if self.dialect == Dialect::Aws {
            self.reference(node, place);
        }
        parts(node, &mut |part, inner| {
            let place = if place == Place::Inner {
                Place::Inner
            } else {
                inner
            };
            self.node(part, place);
        });
    }

    /// What the language has had only after 2.0.6.
    fn newer(&mut self, node: &AstNode) {
        let AstNode::Binary { op, .. } = node else {
            return;
        };
        let (operator, symbol) = match op {
            BinaryOp::Coalesce => ("??", "?"),
            BinaryOp::Default => ("?:", ":"),
            _ => return,
        };
        let message = format!("The symbol \"{symbol}\" cannot be used as a unary operator");
        self.report(ProblemKind::Invalid, message, operator);
        if let Some(problem) = self.problems.last_mut() {
            problem.code = Some("S0211".to_owned());
        }
    }

    /// Expressions that cannot backtrack have no look-ahead and no back-references.
    fn regex(&mut self, node: &AstNode) {
        let AstNode::Regex { pattern, flags } = node else {
            return;
        };
        if let Err(error) = build_regex(pattern, flags) {
            let error = error.to_string();
            let line = error.lines().last().unwrap_or_default();
            let line = line.trim().trim_start_matches("error: ");
            let message = format!("The regular expression /{pattern}/ is not supported: {line}");
            self.report(ProblemKind::Unsupported, message, pattern);
        }
    }

    /// What an expression may not name: there is no context at the top, and `$states` has known members.
    fn reference(&mut self, node: &AstNode, place: Place) {
        match node {
            AstNode::ParentVariable(name) => {
                let name = if name.is_empty() {
                    "$$".to_owned()
                } else {
                    format!("$${name}")
                };
                let message = format!("Reference to '{name}' is not supported.");
                self.report(ProblemKind::Unsupported, message, &name);
            }
            AstNode::Variable(name) if name == "$" => {
                let message = "Reference to '$$' is not supported.".to_owned();
                self.report(ProblemKind::Unsupported, message, "$$");
            }
            AstNode::Path { steps } => {
                if let [first, second, ..] = &**steps
                    && let (AstNode::Variable(states), AstNode::Name(member)) =
                        (&first.node, &second.node)
                    && states == "states"
                {
                    self.states(member);
                }
            }
            _ => {}
        }
        if place == Place::Same {
            self.top_level(node);
        }
    }

    fn top_level(&mut self, node: &AstNode) {
        let name = match node {
            AstNode::Name(name) => name,
            AstNode::Variable(name) if name.is_empty() => "$",
            AstNode::Undefined => "undefined",
            AstNode::Wildcard => "*",
            AstNode::Descendant => "**",
            AstNode::Function {
                name,
                is_builtin: false,
                ..
            } => name,
            _ => return,
        };
        let message = format!("Reference to '{name}' at the top level is not supported.");
        self.report(ProblemKind::Unsupported, message, name);
    }

    fn states(&mut self, member: &str) {
        let exists = match member {
            "input" | "context" => true,
            "result" => self.available == Available::Result,
            "errorOutput" => self.available == Available::ErrorOutput,
            _ => false,
        };
        if !exists {
            let message = format!("Field '$states.{member}' does not exist.");
            self.report(ProblemKind::Unsupported, message, member);
        }
    }

    /// One problem for each message, at the first token that is about it.
    fn report(&mut self, kind: ProblemKind, message: String, token: &str) {
        let known = self
            .problems
            .iter()
            .any(|problem| problem.message == message);
        if known || self.problems.len() == PROBLEMS_MAX {
            return;
        }
        let found = tokens(self.text);
        let is_it = |at: &&Range<usize>| {
            let text = &self.text[(*at).clone()];
            text == token || text.trim_matches(['`', '"', '\'', '/']) == token
        };
        let at = found.iter().find(is_it).cloned();
        self.problems.push(Problem {
            kind,
            code: None,
            message,
            at: at.unwrap_or(0..self.text.len()),
        });
    }
}

const fn assert_shared<T: Send + Sync>() {}
const _: () = assert_shared::<Expression>();

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str, available: Available) -> Vec<(String, &str)> {
        match Expression::parse(text, Dialect::Aws, available) {
            Ok(_) => Vec::new(),
            Err(problems) => problems
                .into_iter()
                .map(|problem| (problem.message, &text[problem.at]))
                .collect(),
        }
    }

    #[test]
    fn what_may_be_named() {
        for text in [
            "$states.input.a[b = 1].c",
            "$states.input.a.(b & $.c)",
            "$map($states.input, function($v) { $v.name })",
            "$states.input.a{b: $sum(c)}",
            "$states.input.a^(>b, c)",
            "$states.input.a ~> | $ | {'b': c} |",
            "$states.input.*.**.a",
            "$a[$ > 1]",
            "$uuid()",
            "{'a': $states.context.Execution.Id}",
        ] {
            assert_eq!(problems(text, Available::Nothing), [], "{text}");
        }
    }

    #[test]
    fn what_may_not_be_named() {
        let top = |name: &str| format!("Reference to '{name}' at the top level is not supported.");
        for (text, message, place) in [
            ("phone", top("phone"), "phone"),
            ("1 + phone.number", top("phone"), "phone"),
            ("$", top("$"), "$"),
            ("{'a': `b c`.d}", top("b c"), "`b c`"),
            ("$map([1], function($v) { x + $v })", top("x"), "x"),
            ("*", top("*"), "*"),
            ("uppercase('a')", top("uppercase"), "uppercase"),
            ("$$", "Reference to '$$' is not supported.".to_owned(), "$$"),
            (
                "$states.input.a[$$.b]",
                "Reference to '$$' is not supported.".to_owned(),
                "$$",
            ),
            (
                "$states.errorOutput",
                "Field '$states.errorOutput' does not exist.".to_owned(),
                "errorOutput",
            ),
            (
                "$states.output",
                "Field '$states.output' does not exist.".to_owned(),
                "output",
            ),
            (
                "$states.input.a ?? 1",
                "The symbol \"?\" cannot be used as a unary operator".to_owned(),
                "??",
            ),
            (
                "$states.input.a ?: 1",
                "The symbol \":\" cannot be used as a unary operator".to_owned(),
                "?:",
            ),
        ] {
            assert_eq!(
                problems(text, Available::Result),
                [(message, place)],
                "{text}"
            );
        }
        assert_eq!(problems("$states.result", Available::Result), []);
        assert_eq!(problems("$states.result", Available::ErrorOutput).len(), 1);
        assert_eq!(problems("$states.errorOutput", Available::ErrorOutput), []);
        assert_eq!(problems("a + b + a", Available::Nothing).len(), 2);
        let look_ahead = problems("$contains('a', /a(?=b)/)", Available::Nothing);
        assert_eq!(look_ahead.len(), 1, "{look_ahead:?}");
    }

    /// As deep as the parser goes, on a test's small stack.
    #[test]
    fn deep_expressions_are_read() {
        for text in [
            format!("{}1{}", "(".repeat(900), ")".repeat(900)),
            format!("1{}", "+1".repeat(400)),
            format!("$a{}", ".b".repeat(900)),
            format!("{}1{}", "[".repeat(300), "]".repeat(300)),
            format!("{}1{}", "{'a':".repeat(300), "}".repeat(300)),
        ] {
            let expression = Expression::parse(&text, Dialect::Aws, Available::Nothing);
            assert!(expression.is_ok(), "{text:.20}: {expression:?}");
        }
        let deeper = format!("{}1{}", "(".repeat(20_000), ")".repeat(20_000));
        assert_eq!(problems(&deeper, Available::Nothing).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(
            pieces in proptest::collection::vec(
                proptest::sample::select(PIECES), 0..24,
            ),
        ) {
            let text = pieces.concat();
            for dialect in [Dialect::Aws, Dialect::Plain] {
                if let Err(problems) = Expression::parse(&text, dialect, Available::Nothing) {
                    for problem in problems {
                        // The place is within the text, at whole characters.
                        let _ = &text[problem.at];
                    }
                }
            }
        }
    }

    #[rustfmt::skip]
    const PIECES: &[&str] = &[
        "$states.input", "$a", "$", "$$", "a", "`b c`", "'x'", "\"é", "1", "0.5e3", " ", "+", "-", "*", "**", "/", "%",
        "&", "=", "!=", "<", ">=", "~>", ":=", "..", ".", ",", ";", ":", "?", "??", "?:", "@", "#", "^", "|", "(", ")",
        "[", "]", "{", "}", "$sum(", "$map(", "function($x){", "λ", "/a+/i", "and ", "in ", "/*", "*/", "\\u12", "\n",
        "true", "null", "%.", "@$v", "#$i", "[]", "<n:n>", "😀",
    ];
}
