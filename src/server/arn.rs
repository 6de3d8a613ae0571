//! ARNs of state machines, executions, activities and map runs.

use super::error::ApiError;

/// What an ARN of the service `states` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arn<'a> {
    /// `…:stateMachine:NAME`, also `NAME:VERSION`, `NAME:ALIAS`.
    StateMachine {
        name: &'a str,
        qualifier: Option<Qualifier<'a>>,
    },
    /// `…:execution:MACHINE:NAME`.
    Execution { machine: &'a str, name: &'a str },
    /// `…:express:MACHINE:NAME:ID`.
    Express { machine: &'a str },
    /// `…:activity:NAME`.
    Activity { name: &'a str },
    /// `…:mapRun:MACHINE/LABEL:ID`.
    MapRun,
}

/// What follows the name of a state machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Qualifier<'a> {
    Version(u64),
    Alias(&'a str),
}

impl<'a> Arn<'a> {
    /// Takes an ARN apart.
    pub(crate) fn parse(text: &'a str) -> Result<Arn<'a>, ApiError> {
        let prefix = || ApiError::invalid_arn(&format!("Invalid ARN prefix: {text}"));
        let mut parts = text.splitn(7, ':');
        let [arn, partition, service, region, account, kind] =
            [(); 6].map(|()| parts.next().unwrap_or_default());
        if arn != "arn" || !partition.starts_with("aws") || service != "states" {
            return Err(prefix());
        }
        let rest = parts.next().unwrap_or_default();
        if region.is_empty() || account.is_empty() || rest.is_empty() {
            return Err(ApiError::invalid_arn(&format!("Invalid ARN: {text}")));
        }
        let invalid = || ApiError::invalid_arn(&format!("Invalid ARN: {text}"));
        match kind {
            "stateMachine" => {
                let (name, qualifier) = match rest.split_once(':') {
                    None => (rest, None),
                    Some((name, qualifier)) => (name, Some(qualifier)),
                };
                let qualifier = match qualifier {
                    None => None,
                    Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                        Some(Qualifier::Version(text.parse().map_err(|_| invalid())?))
                    }
                    Some(text) if is_alias_name(text) => Some(Qualifier::Alias(text)),
                    Some(_) => return Err(invalid()),
                };
                Ok(Arn::StateMachine { name, qualifier })
            }
            "execution" => {
                let (machine, name) = rest.split_once(':').ok_or_else(invalid)?;
                Ok(Arn::Execution { machine, name })
            }
            "express" => {
                let (machine, _) = rest.split_once(':').ok_or_else(invalid)?;
                Ok(Arn::Express { machine })
            }
            "activity" => Ok(Arn::Activity { name: rest }),
            "mapRun" => Ok(Arn::MapRun),
            _ => Err(invalid()),
        }
    }

    /// The word for it in an ARN.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Arn::StateMachine { .. } => "stateMachine",
            Arn::Execution { .. } => "execution",
            Arn::Express { .. } => "express",
            Arn::Activity { .. } => "activity",
            Arn::MapRun => "mapRun",
        }
    }

    /// It names what the operation is not about.
    pub(crate) fn out_of_place(&self) -> ApiError {
        ApiError::invalid_arn(&format!(
            "Resource type not valid in this context: {}",
            self.kind()
        ))
    }
}

/// The characters that names of state machines, executions and activities may not have, besides white space and
/// control characters.
const FORBIDDEN: &str = "<>{}[]?*\"#%\\^|~`$&,;:/";

/// True if `name` may name a state machine, an execution or an activity; its length is another matter.
pub(crate) fn is_name(name: &str) -> bool {
    let forbidden = |c: char| {
        c.is_whitespace() || c.is_control() || FORBIDDEN.contains(c) || (c as u32 >= 0xFFFE)
    };
    !name.is_empty() && !name.contains(forbidden)
}

/// `^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$`
pub(crate) fn is_alias_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    name.bytes().all(allowed) && name.bytes().any(|b| !b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns() {
        let machine = |name, qualifier| Ok(Arn::StateMachine { name, qualifier });
        for (text, expected) in [
            ("arn:aws:states:r:1:stateMachine:a", machine("a", None)),
            (
                "arn:aws-cn:states:r:1:stateMachine:a:2",
                machine("a", Some(Qualifier::Version(2))),
            ),
            (
                "arn:aws:states:r:1:stateMachine:a:b",
                machine("a", Some(Qualifier::Alias("b"))),
            ),
            (
                "arn:aws:states:r:1:execution:a:b",
                Ok(Arn::Execution {
                    machine: "a",
                    name: "b",
                }),
            ),
            (
                "arn:aws:states:r:1:express:a:b:c",
                Ok(Arn::Express { machine: "a" }),
            ),
            (
                "arn:aws:states:r:1:activity:a",
                Ok(Arn::Activity { name: "a" }),
            ),
            ("arn:aws:states:r:1:mapRun:a/b:c", Ok(Arn::MapRun)),
        ] {
            assert_eq!(Arn::parse(text), expected, "{text}");
        }
        for (text, message) in [
            ("", "Invalid Arn: 'Invalid ARN prefix: '"),
            ("x", "Invalid Arn: 'Invalid ARN prefix: x'"),
            (
                "arn:aws:sqs:r:1:q",
                "Invalid Arn: 'Invalid ARN prefix: arn:aws:sqs:r:1:q'",
            ),
            (
                "arn:aws:states:r:1:stateMachine:",
                "Invalid Arn: 'Invalid ARN: arn:aws:states:r:1:stateMachine:'",
            ),
            (
                "arn:aws:states:r:1:stateMachine:a:b c",
                "Invalid Arn: 'Invalid ARN: arn:aws:states:r:1:stateMachine:a:b c'",
            ),
            (
                "arn:aws:states:r:1:stateMachine:a:99999999999999999999",
                "Invalid Arn: 'Invalid ARN: arn:aws:states:r:1:stateMachine:a:99999999999999999999'",
            ),
        ] {
            assert_eq!(Arn::parse(text).unwrap_err().message, message);
        }
    }

    #[test]
    fn names() {
        for name in ["a", "a.b", "A-b_1", "é", "a(b)", "a=b@c!"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a\u{7f}", "a/b", "a:b", "a$", "a\u{a0}b"] {
            assert!(!is_name(name), "{name}");
        }
        for (name, ok) in [
            ("a", true),
            ("1", false),
            ("1a", true),
            ("a b", false),
            ("1.", true),
        ] {
            assert_eq!(is_alias_name(name), ok, "{name}");
        }
    }
}
