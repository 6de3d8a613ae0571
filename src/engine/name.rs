//! Names of state machines and of executions: AWS's rule for both (API reference, `CreateStateMachine` and
//! `StartExecution`).

use super::error::{Error, ErrorKind};

/// Most characters of a name.
const NAME_CHARS_MAX: usize = 80;

/// What a name may not hold, besides white space and control characters.
const FORBIDDEN: &str = "<>{}[]?*\"#%\\^|~`$&,;:/";

/// Checks that a text can name a state machine or an execution: 1 to 80 characters, no white space, no control
/// characters and none of ``<>{}[]?*"#%\^|~`$&,;:/``.
///
/// # Errors
///
/// If it cannot; the kind is [`ErrorKind::InvalidName`].
///
/// ```
/// use quickstep::engine::check_name;
///
/// assert!(check_name("order-17_retried").is_ok());
/// let error = check_name("order 17").unwrap_err();
/// assert_eq!(error.to_string(), "the name \"order 17\" may not hold ' '");
/// ```
pub fn check_name(name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "a name has at least one character".to_owned()
    } else if let Some(c) = name.chars().find(|c| is_forbidden(*c)) {
        format!("the name {name:?} may not hold {c:?}")
    } else {
        match name.chars().count() {
            ..=NAME_CHARS_MAX => return Ok(()),
            chars => format!(
                "a name has at most {NAME_CHARS_MAX} characters, and this one has {chars}: {}…",
                name.chars().take(NAME_CHARS_MAX).collect::<String>()
            ),
        }
    };
    Err(Error::new(ErrorKind::InvalidName, problem))
}

fn is_forbidden(c: char) -> bool {
    c.is_whitespace() || c.is_control() || FORBIDDEN.contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "é".repeat(80);
        for name in ["a", "order-17", "Über_Größe.2", "(x)+='!@", &*longest] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let too_long = "é".repeat(81);
        for (name, problem) in [
            ("", "at least one character"),
            (" ", "\" \" may not hold ' '"),
            ("a\tb", r"may not hold '\t'"),
            ("a\u{a0}b", r"may not hold '\u{a0}'"),
            ("\u{1b}[2J", r#""\u{1b}[2J" may not hold '\u{1b}'"#),
            ("a\u{85}", r"may not hold '\u{85}'"),
            (&too_long, "at most 80 characters, and this one has 81"),
        ] {
            let error = check_name(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            assert!(error.to_string().contains(problem), "{error}");
        }
        for c in FORBIDDEN.chars() {
            assert!(check_name(&format!("a{c}")).is_err(), "{c}");
        }
    }
}
