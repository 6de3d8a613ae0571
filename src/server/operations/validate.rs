//! Definitions: what is wrong with them.

use super::super::error::ApiError;
use super::super::request::{DEFINITION, Fields};
use super::super::write::object;
use super::references::{References, of_scope};
use crate::asl::{self, Diagnostic, MachineType, Severity};
use crate::integration::unknown_actions;
use crate::store::MachineKind;

/// Everything that there is to say of a definition, what cannot be run yet among it.
fn diagnostics(definition: &str, kind: MachineType) -> Vec<Diagnostic> {
    let reading = asl::read(definition, kind);
    let mut diagnostics = reading.diagnostics;
    if let Some(model) = &reading.definition {
        diagnostics.extend(asl::unsupported(model));
        diagnostics.extend(unknown_actions(definition, model));
    }
    diagnostics
}

/// A machine's definition has to be one that can be run.
pub(super) fn check(definition: &str, kind: MachineKind) -> Result<(), ApiError> {
    let found = diagnostics(definition, kind.into());
    if found.iter().any(|d| d.severity == Severity::Error) {
        let message = asl::aws_message(&found);
        return Err(ApiError::new("InvalidDefinition", message));
    }
    Ok(())
}

/// `maxResults` of this operation.
const RESULTS_MAX: i64 = 100;

pub(super) fn validate(fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let definition = fields.required_text("definition", DEFINITION)?;
    let express = fields.one_of("type", &["STANDARD", "EXPRESS"])? == Some(1);
    let warnings = fields.one_of("severity", &["ERROR", "WARNING"])? == Some(1);
    let size = fields.integer("maxResults", 0..=RESULTS_MAX)?;
    fields.finish()?;
    let size = match size.map(usize::try_from) {
        None | Some(Ok(0) | Err(_)) => RESULTS_MAX as usize,
        Some(Ok(size)) => size,
    };
    let kind = match express {
        true => MachineType::Express,
        false => MachineType::Standard,
    };
    let mut found = diagnostics(definition, kind);
    let failed = found.iter().any(|d| d.severity == Severity::Error);
    found.retain(|d| warnings || d.severity == Severity::Error);
    let truncated = found.len() > size;
    found.truncate(size);
    Ok(object(|o| {
        o.objects("diagnostics", &found, |o, diagnostic| {
            o.string("code", diagnostic.code.as_str());
            if !diagnostic.pointer.is_empty() {
                o.string("location", &diagnostic.pointer);
            }
            o.string("message", &diagnostic.message);
            o.string("severity", &diagnostic.severity.as_str().to_uppercase());
        });
        o.string("result", if failed { "FAIL" } else { "OK" });
        o.boolean("truncated", truncated);
    }))
}

/// `variableReferences`: the variables that each state reads, by the state's name.
pub(super) fn variable_references(definition: &str) -> References {
    // Most definitions have none, and only those with one are read again.
    if !definition.contains("\"Assign\"") {
        return References::new();
    }
    let reading = asl::read(definition, MachineType::Standard);
    let mut found = References::new();
    if let Some(model) = reading.definition {
        of_scope(&model.scope, &mut found);
    }
    found
}
