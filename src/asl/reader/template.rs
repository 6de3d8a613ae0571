//! Payload templates and `Assign`: objects in which `"name.$"` members are computed.

use super::Reader;
use super::place::Place;
use super::values::looks_like_expression;
use crate::asl::diagnostic::Code;
use crate::asl::json::{Member, Value};
use crate::asl::model::Template;
use crate::intrinsic;
use crate::path::Path;
use crate::stdx::FixedSet;

/// Longest name of a variable, in characters.
const VARIABLE_NAME_CHARS_MAX: usize = 80;

impl<'n> Reader<'n> {
    /// A template that has to be an object: `Parameters`, `ResultSelector`, `ItemSelector`.
    pub(super) fn template_field(
        &mut self,
        object: &Place<'_, 'n>,
        name: &str,
    ) -> Option<Template> {
        let place = object.get(name)?;
        self.object(&place).then(|| self.template(&place))
    }

    /// Any value with expressions inside.
    fn template(&mut self, place: &Place<'_, 'n>) -> Template {
        let literal = |template: &Template| matches!(template, Template::Literal(_));
        match &place.node.value {
            Value::Object(members) => {
                self.clashes(place, members);
                let mut parts = Vec::with_capacity(members.len());
                for member in members {
                    let (name, part) = self.template_member(place, member);
                    parts.push((name.to_owned(), part));
                }
                if !parts.iter().all(|(_, part)| literal(part)) {
                    return Template::Object(parts);
                }
            }
            Value::Array(elements) => {
                let mut parts = Vec::with_capacity(elements.len());
                for (i, element) in elements.iter().enumerate() {
                    parts.push(self.template(&place.element(i, element)));
                }
                if !parts.iter().all(literal) {
                    return Template::Array(parts);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number | Value::String(_) => {}
        }
        Template::Literal(self.source(place).to_owned())
    }

    /// The name without its `.$`, and the value.
    fn template_member(
        &mut self,
        object: &Place<'_, 'n>,
        member: &'n Member<'n>,
    ) -> (&'n str, Template) {
        let field = member.name.as_ref();
        let place = object.member(member);
        if let Some(name) = field.strip_suffix(".$") {
            let value = self.expression(object, member);
            return (name, value.unwrap_or(Template::Literal(String::new())));
        }
        if let Value::String(text) = &member.node.value
            && looks_like_expression(text)
        {
            self.warn(
                Code::NoDollar,
                &place,
                format!(
                    "The value looks like a path or a call, but '{field}' does not end with '.$'"
                ),
            );
        }
        (field, self.template(&place))
    }

    /// The value of a `.$` member.
    fn expression(&mut self, object: &Place<'_, 'n>, member: &'n Member<'n>) -> Option<Template> {
        let field = member.name.as_ref();
        let problem = match &member.node.value {
            Value::String(text) if intrinsic::is_call(text) => match intrinsic::parse(text) {
                Ok(call) => {
                    let field = field.to_owned();
                    return Some(Template::Call { call, field });
                }
                Err(error) => error.message,
            },
            Value::String(text) => match Path::parse(text) {
                Ok(path) => {
                    let field = field.to_owned();
                    return Some(Template::Path { path, field });
                }
                Err(error) => error.message,
            },
            _ => "the value of a field that ends with `.$` is a string".to_owned(),
        };
        self.refuse_part(
            object,
            member.node.span,
            format!(
                "The value for the field '{field}' must be a valid JSONPath or a valid intrinsic function call"
            ),
        )
        .suggestion = Some(problem);
        None
    }

    /// Reports `a` beside `a.$`.
    fn clashes(&mut self, object: &Place<'_, 'n>, members: &'n [Member<'n>]) {
        let expressions = || {
            members
                .iter()
                .filter_map(|m| Some((m, m.name.strip_suffix(".$")?)))
        };
        if expressions().next().is_none() {
            return;
        }
        let names: FixedSet<&str> = members.iter().map(|m| m.name.as_ref()).collect();
        for (member, name) in expressions() {
            if names.contains(name) {
                self.refuse_part(
                    object,
                    member.name_span,
                    format!("The fields '{name}' and '{name}.$' give a value to the same name"),
                );
            }
        }
    }

    /// `Assign`: the variables and what they become. The names go to the graph, which knows the scopes.
    pub(super) fn assign(
        &mut self,
        object: &Place<'_, 'n>,
        scope: usize,
    ) -> Vec<(String, Template)> {
        let Some(place) = object.get("Assign") else {
            return Vec::new();
        };
        if !self.object(&place) {
            return Vec::new();
        }
        self.clashes(&place, place.members());
        let mut variables = Vec::new();
        for member in place.members() {
            let (name, value) = self.template_member(&place, member);
            self.variable(&place, member, name, scope);
            variables.push((name.to_owned(), value));
        }
        variables
    }

    /// A variable's name, noted for its scope.
    pub(super) fn variable(
        &mut self,
        assign: &Place<'_, 'n>,
        member: &'n Member<'n>,
        name: &'n str,
        scope: usize,
    ) {
        let problem = if name == "states" {
            "`states` is reserved"
        } else if name.chars().count() > VARIABLE_NAME_CHARS_MAX {
            "it is longer than 80 characters"
        } else if name.starts_with('$') {
            "it stands without its `$`"
        } else if !is_identifier(name) {
            "it has to be a Unicode identifier: a letter, then letters, digits and `_`"
        } else {
            let pointer = assign.at.to_string();
            self.graph.assign(scope, name, member.name_span, pointer);
            return;
        };
        self.refuse_part(
            assign,
            member.name_span,
            format!("'{name}' is not a valid variable name: {problem}"),
        );
    }
}

/// UAX #31, by the classes that the standard library knows; a leading `_` is let through.
fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_' || is_mark(c))
}

/// The combining marks that accompany letters in common use, which `char` has no class for.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{93c}' | '\u{94d}' | '\u{200c}'..='\u{200d}' | '\u{3099}'..='\u{309a}')
}
