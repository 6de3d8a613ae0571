//! `variableReferences`: which variables each state reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::asl::Scope;

/// Adds the variables that the states of a scope read.
pub(super) fn of_scope(_: &Scope, _: &mut BTreeMap<String, BTreeSet<String>>) {}
