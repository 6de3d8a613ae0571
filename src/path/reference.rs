//! [`ReferencePath`]: names exactly one place, whether or not anything is there yet.

use super::{Path, Root, Segment, SyntaxError};

/// A path that names exactly one place (`ResultPath`): children and non-negative indexes only, no variables, no `$$`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReferencePath {
    segments: Box<[Segment]>,
    text: Box<str>,
}

impl ReferencePath {
    /// Compiles a whole text.
    ///
    /// # Errors
    ///
    /// If the text is not a path, or may name more or less than one place.
    pub fn parse(text: &str) -> Result<ReferencePath, SyntaxError> {
        let error = |offset, message: &str| SyntaxError {
            offset,
            message: message.to_owned(),
        };
        if let Some(offset) = unquoted_operator(text) {
            return Err(error(
                offset,
                "a reference path has no '@', ',', ':', '?', '*' or '..'",
            ));
        }
        let path = Path::parse(text)?;
        match path.root() {
            Root::Input => {}
            Root::Context => return Err(error(0, "a reference path does not name the context")),
            Root::Variable(_) => return Err(error(0, "a reference path does not name a variable")),
        }
        let Some(segments) = path.segments() else {
            return Err(error(0, "a reference path has children and indexes only"));
        };
        let negative = |segment: &Segment| match segment {
            Segment::Index(index) => *index < 0,
            Segment::Child(_) => false,
        };
        if segments.iter().any(negative) {
            let offset = text.find("[-").unwrap_or(0);
            return Err(error(offset, "a reference path has no negative index"));
        }
        Ok(ReferencePath {
            segments: segments.into(),
            text: text.into(),
        })
    }

    /// The steps from the root.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The path as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Where an operator that a reference path may not have stands outside quotes.
fn unquoted_operator(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match quote {
            Some(_) if c == '\\' => {
                characters.next();
            }
            Some(open) => {
                if c == open {
                    quote = None;
                }
            }
            None => match c {
                '\'' | '"' => quote = Some(c),
                '@' | ',' | ':' | '?' | '*' => return Some(at),
                '.' if text[at..].starts_with("..") => return Some(at),
                _ => {}
            },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_and_indexes() {
        for (text, steps) in [
            ("$", 0),
            ("$.a", 1),
            ("$.a.b[0]['c d']", 4),
            ("$['a:b,c']", 1),
            ("$.größe", 1),
        ] {
            let path = ReferencePath::parse(text).unwrap();
            assert_eq!((path.segments().len(), path.text()), (steps, text));
        }
    }

    #[test]
    fn what_names_no_single_place() {
        for (text, offset) in [
            ("", 0),
            ("a", 0),
            ("$$", 0),
            ("$$.a", 0),
            ("$v.a", 0),
            ("$.a[*]", 4),
            ("$..a", 1),
            ("$.a[-1]", 3),
            ("$.a[0,1]", 5),
            ("$.a[0:1]", 5),
            ("$['a','b']", 5),
            ("$.a[?(@.b)]", 4),
            ("$.a.length()", 0),
            ("$.a@b", 3),
        ] {
            let error = ReferencePath::parse(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
    }
}
