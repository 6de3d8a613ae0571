//! Paths: `Path` reads, `ReferencePath` names one place to write. Jayway semantics.
// SKELETON: signatures are fixed, bodies follow.
#![allow(missing_docs, dead_code, unused_variables, clippy::all)]
use crate::value::{Doc, Name, Val, Values};

/// What a path starts from.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Root {
    /** `$` */
    Input,
    /** `$$` */
    Context,
    /** `$name` */
    Variable(Box<str>),
}

/// A compiled read path.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {/* private: root, segments, text */}

/// One step of a simple path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Segment {
    Child(Name),
    Index(i64),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /** byte offset in the path's text */
    pub offset: usize,
    pub message: String,
}

/// Why a path found nothing; `Display` is Jayway's own text ("No results for path: $['x']", "Missing property in path $['no']", …).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotFound {
    pub message: String,
}

impl Path {
    pub fn parse(text: &str) -> Result<Path, SyntaxError> {
        todo!()
    }
    pub fn root(&self) -> &Root {
        todo!()
    }
    pub fn text(&self) -> &str {
        todo!()
    }
    /// True when it names at most one value: only children and indexes.
    pub fn is_definite(&self) -> bool {
        todo!()
    }
    /// The steps of a definite path, None for others.
    pub fn segments(&self) -> Option<&[Segment]> {
        todo!()
    }
    /// Definite path: the value, no message built when it is missing.
    pub fn find(&self, values: Values<'_>, root: Val) -> Option<Val> {
        todo!()
    }
    /// Any path; an indefinite one yields an array (pushed to `doc`), empty if nothing matches.
    pub fn eval(&self, doc: &mut Doc, constants: &Doc, root: Val) -> Result<Val, NotFound> {
        todo!()
    }
}

/// A path that names exactly one place (ResultPath): children and non-negative indexes only, no variables, no `$$`.
#[derive(Clone, PartialEq, Debug)]
pub struct ReferencePath {}
impl ReferencePath {
    pub fn parse(text: &str) -> Result<ReferencePath, SyntaxError> {
        todo!()
    }
    pub fn segments(&self) -> &[Segment] {
        todo!()
    }
    pub fn text(&self) -> &str {
        todo!()
    }
}
