//! A value of a file with its JSON pointer, so that every complaint says where.

use super::Problem;
use crate::asl::suggest::Suggester;
use crate::value::{Kind, Val, Values, unescape};

#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    values: Values<'a>,
    val: Val,
    pointer: String,
}

impl<'a> Place<'a> {
    pub(super) fn root(values: Values<'a>, val: Val) -> Place<'a> {
        Place {
            values,
            val,
            pointer: String::new(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.values.kind(self.val)
    }

    pub(super) fn problem(&self, message: String) -> Problem {
        Problem::At {
            pointer: self.pointer.clone(),
            message,
        }
    }

    /// The value as compact JSON.
    pub(super) fn json(&self) -> Box<[u8]> {
        self.values.to_json(self.val).into_bytes().into()
    }

    fn expect(&self, kind: Kind) -> Result<(), Problem> {
        if self.kind() == kind {
            return Ok(());
        }
        Err(self.problem(format!(
            "{} is wanted, this is {}",
            with_article(kind),
            with_article(self.kind())
        )))
    }

    pub(super) fn string(&self) -> Result<String, Problem> {
        self.expect(Kind::String)?;
        Ok(self
            .values
            .string(self.val)
            .unwrap_or_default()
            .into_owned())
    }

    pub(super) fn integer(&self) -> Option<i64> {
        self.values.as_i64(self.val)
    }

    pub(super) fn elements(&self) -> Result<Vec<Place<'a>>, Problem> {
        self.expect(Kind::Array)?;
        let elements = self.values.elements(self.val).enumerate();
        Ok(elements
            .map(|(i, val)| self.child(val, &i.to_string()))
            .collect())
    }

    /// The members of an object, by their names.
    pub(super) fn members(&self) -> Result<Vec<(String, Place<'a>)>, Problem> {
        self.expect(Kind::Object)?;
        let members = self.values.members(self.val).map(|(key, val)| {
            let name = unescape(self.values.key_text(key)).into_owned();
            let place = self.child(val, &name);
            (name, place)
        });
        Ok(members.collect())
    }

    /// The member of an object; none also for anything else.
    pub(super) fn member(&self, name: &str) -> Option<Place<'a>> {
        let val = self.values.get(self.val, &crate::value::Name::new(name))?;
        Some(self.child(val, name))
    }

    /// Complains of members that are none of `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        for (name, place) in self.members()? {
            if !known.contains(&name.as_str()) {
                let hint = match near(&name, known.iter().copied()) {
                    Some(near) => format!("unknown; did you mean `{near}`?"),
                    None => format!("unknown; there are: {}", known.join(", ")),
                };
                return Err(place.problem(hint));
            }
        }
        Ok(())
    }

    fn child(&self, val: Val, name: &str) -> Place<'a> {
        let step = name.replace('~', "~0").replace('/', "~1");
        Place {
            values: self.values,
            val,
            pointer: format!("{}/{step}", self.pointer),
        }
    }
}

/// The candidate that `name` may be a misspelling of.
pub(super) fn near<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    Suggester::new().nearest(name, candidates)
}

const fn with_article(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::False | Kind::True => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}
