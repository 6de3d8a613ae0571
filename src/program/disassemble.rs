//! Programs as text, one op a line, for people and for tests.

use std::fmt;

use super::{
    Base, ExpressionId, LoadId, MapItems, NumberOperand, Op, Pc, Program, Source, StateId,
    TestOperand, TextOperand, WaitInfo,
};
use crate::value::{Key, Val, Values};

/// One op a line, with its place and what it refers to; a heading before each state.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(seconds) = self.timeout_seconds {
            writeln!(f, "; times out after {seconds} s")?;
        }
        for (at, op) in self.ops.iter().enumerate() {
            if let Op::Enter(state) = op {
                let info = &self.states[state.index()];
                writeln!(f, "{} {:?}:", info.state_type.as_str(), info.name)?;
            }
            write!(f, "{at:5}  ")?;
            self.write_op(f, *op)?;
            writeln!(f)?;
            if let Op::Enter(state) = op {
                self.write_handlers(f, *state)?;
            }
        }
        Ok(())
    }
}

impl Program {
    #[expect(
        clippy::too_many_lines,
        reason = "the match over `Op`: each arm is a call or a line"
    )]
    fn write_op(&self, f: &mut fmt::Formatter<'_>, op: Op) -> fmt::Result {
        match op {
            Op::Enter(state) => write!(f, "enter        {:?}", self.states[state.index()].name),
            Op::Exit(state, to) => {
                write!(
                    f,
                    "exit         {:?} -> {}",
                    self.states[state.index()].name,
                    to.0
                )
            }
            Op::ExitEnd(state) => write!(f, "exit-end     {:?}", self.states[state.index()].name),
            Op::Select(load) => write!(f, "select       {}", self.load_text(load)),
            Op::SetValue => f.write_str("set-value"),
            Op::Load(load) => write!(f, "load         {}", self.load_text(load)),
            Op::LoadContext(load) => write!(f, "load-context {}", self.load_text(load)),
            Op::Const(val) => write!(f, "const        {}", self.constant(val)),
            Op::EvalObject(object) => self.write_object(f, "eval-object", object),
            Op::MakeObject(object) => self.write_object(f, "make-object", object),
            Op::SetObject(object) => self.write_object(f, "set-object", object),
            Op::MakeArray(count) => write!(f, "make-array   {count}"),
            Op::Call(function, call) => {
                write!(
                    f,
                    "call         {} of {}",
                    function.name(),
                    self.calls[call.index()].arguments
                )
            }
            Op::Merge(merge) => {
                f.write_str("merge        $")?;
                for step in &self.merges[merge.index()].steps {
                    match step {
                        super::Step::Child(member) => write!(f, "['{}']", member.name.raw())?,
                        super::Step::Index(index) => write!(f, "[{index}]")?,
                    }
                }
                Ok(())
            }
            Op::Eval(expression) => {
                write!(f, "eval         {}", self.expression_text(expression))
            }
            Op::ConditionElse(expression, to) => {
                let text = self.expression_text(expression);
                write!(f, "if-else      {text} -> {}", to.0)
            }
            Op::KeepInput => f.write_str("keep-input"),
            Op::Assign(assign) => {
                let names: Vec<String> = self.assigns[assign.index()]
                    .iter()
                    .map(|variable| format!("${}", self.variables[variable.index()]))
                    .collect();
                write!(f, "assign       {}", names.join(", "))
            }
            Op::TestElse(test, to) => {
                write!(f, "test-else    {} -> {}", self.test_text(test), to.0)
            }
            Op::TestThen(test, to) => {
                write!(f, "test-then    {} -> {}", self.test_text(test), to.0)
            }
            Op::NoChoice => f.write_str("no-choice"),
            Op::Task(task) => write!(f, "task         {}", self.tasks[task.index()].resource_text),
            Op::Wait(wait) => write!(
                f,
                "wait         {}",
                self.wait_text(&self.waits[wait.index()])
            ),
            Op::Fork(fork) => write!(f, "fork         -> {}", places(&self.forks[fork.index()])),
            Op::Map(map) => {
                let map = &self.maps[map.index()];
                let items = match map.items {
                    MapItems::Value | MapItems::Load(_) | MapItems::Input => {
                        map.items_text.to_string()
                    }
                    MapItems::Popped => "popped".to_owned(),
                    MapItems::Expression(expression) => self.expression_text(expression),
                };
                write!(f, "map          {items} -> {}", map.iteration.0)?;
                match &map.max_concurrency {
                    Some(operand) => write!(f, ", {} at a time", self.number_text(operand)),
                    None => Ok(()),
                }
            }
            Op::Begin(to) => write!(f, "begin        -> {}", to.0),
            Op::Fail(fail) => {
                let fail = &self.fails[fail.index()];
                write!(
                    f,
                    "fail         {}, {}",
                    self.text_operand(&fail.error),
                    self.text_operand(&fail.cause)
                )
            }
        }
    }

    fn write_object(
        &self,
        f: &mut fmt::Formatter<'_>,
        op: &str,
        object: super::ObjectId,
    ) -> fmt::Result {
        write!(f, "{op:12} ")?;
        for (i, member) in self.objects[object.index()].members.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let source = match &member.source {
                Source::Const(val) => self.constant(*val),
                Source::Member(_, load)
                | Source::Nested(_, _, load)
                | Source::Item(load)
                | Source::ItemIndex(load)
                | Source::Path { load, .. } => self.loads[load.index()].path.text().to_owned(),
                Source::Expression(expression) | Source::InputMember(_, expression) => {
                    self.expression_text(*expression)
                }
                Source::Popped => "popped".to_owned(),
            };
            write!(f, "{separator}{}: {source}", self.key(member.key))?;
        }
        Ok(())
    }

    fn write_handlers(&self, f: &mut fmt::Formatter<'_>, state: StateId) -> fmt::Result {
        let info = &self.states[state.index()];
        for retrier in &info.retriers {
            let names = retrier.errors.names.join(", ");
            writeln!(f, "       ; retry {names}: {} times", retrier.max_attempts)?;
        }
        for catcher in &info.catchers {
            writeln!(
                f,
                "       ; catch {} -> {}",
                catcher.errors.names.join(", "),
                catcher.start.0
            )?;
        }
        Ok(())
    }

    fn load_text(&self, load: LoadId) -> String {
        let load = &self.loads[load.index()];
        let how = match (load.base, load.path.segments()) {
            (Base::Context(_), Some(_))
                if load.base != Base::Context(super::ContextBase::Whole) =>
            {
                "direct"
            }
            (_, Some(_)) => "definite",
            (_, None) => "search",
        };
        format!("{} ({how})", load.path.text())
    }

    fn constant(&self, val: Val) -> String {
        Values {
            doc: &self.constants,
            constants: &self.constants,
        }
        .to_json(val)
    }

    fn key(&self, key: Key) -> &str {
        Values {
            doc: &self.constants,
            constants: &self.constants,
        }
        .key_text(key)
    }

    fn test_text(&self, test: super::TestId) -> String {
        let test = &self.tests[test.index()];
        let operand = match &test.operand {
            TestOperand::Constant(val) | TestOperand::Number(val, _) => self.constant(*val),
            TestOperand::Bool(value) => value.to_string(),
            TestOperand::Timestamp(nanos) => format!("{nanos} ns"),
            TestOperand::Pattern(parts) => format!("{parts:?}"),
            TestOperand::Load(load) => self.loads[load.index()].path.text().to_owned(),
        };
        format!(
            "{} {:?} {operand}",
            self.loads[test.variable.index()].path.text(),
            test.operator
        )
    }

    /// The expression, and how it is evaluated.
    fn expression_text(&self, expression: ExpressionId) -> String {
        let compiled = &self.expressions[expression.index()].compiled;
        match compiled.slow_path() {
            None => format!("{{% {} %}} (lowered)", compiled.text()),
            Some(reason) => format!("{{% {} %}} (slow path: {reason})", compiled.text()),
        }
    }

    fn wait_text(&self, wait: &WaitInfo) -> String {
        match wait {
            WaitInfo::Seconds(seconds) => format!("{seconds} s"),
            WaitInfo::Until(millis) => {
                format!("until {}", crate::stdx::Timestamp::from_millis(*millis))
            }
            WaitInfo::SecondsPath(load) => format!("{} s", self.loads[load.index()].path.text()),
            WaitInfo::TimestampPath(load) => {
                format!("until {}", self.loads[load.index()].path.text())
            }
            WaitInfo::SecondsExpression(expression) => {
                format!("{} s", self.expression_text(*expression))
            }
            WaitInfo::TimestampExpression(expression) => {
                format!("until {}", self.expression_text(*expression))
            }
        }
    }

    fn number_text(&self, operand: &NumberOperand) -> String {
        match operand {
            NumberOperand::Literal(n) => n.to_string(),
            NumberOperand::Load(load) => self.loads[load.index()].path.text().to_owned(),
            NumberOperand::Expression(expression) => self.expression_text(*expression),
        }
    }

    fn text_operand(&self, operand: &TextOperand) -> String {
        match operand {
            TextOperand::Absent => "-".to_owned(),
            TextOperand::Literal(text) => format!("{text:?}"),
            TextOperand::Load(load) => self.loads[load.index()].path.text().to_owned(),
            TextOperand::Popped => "popped".to_owned(),
            TextOperand::Expression(expression) => self.expression_text(*expression),
        }
    }
}

fn places(places: &[Pc]) -> String {
    let places: Vec<String> = places.iter().map(|pc| pc.0.to_string()).collect();
    places.join(", ")
}
