//! What a definition may say and this engine cannot run yet.

use super::diagnostic::{Code, Diagnostic, Severity};
use super::model::{Definition, MapMode, Scope, StateKind};

/// One diagnostic for each part of a valid definition that cannot be compiled.
#[must_use]
pub fn unsupported(definition: &Definition) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // Scopes nest no deeper than the text's brackets, of which there are 200 levels.
    scope(&definition.scope, &mut found);
    found
}

fn scope(scope_: &Scope, found: &mut Vec<Diagnostic>) {
    for state in &scope_.states {
        match &state.kind {
            StateKind::Parallel(parallel) => {
                for branch in &parallel.branches {
                    scope(branch, found);
                }
            }
            StateKind::Map(map) => {
                if map.mode == MapMode::Distributed {
                    found.push(Diagnostic {
                        severity: Severity::Error,
                        code: Code::DistributedMapNotSupported,
                        message: "A Map state with Mode 'DISTRIBUTED' is not supported yet"
                            .to_owned(),
                        pointer: state.pointer.clone(),
                        line: map.location.line,
                        column: map.location.column,
                        span: map.location.start as usize..map.location.end as usize,
                        suggestion: None,
                    });
                }
                scope(&map.processor, found);
            }
            StateKind::Pass(_)
            | StateKind::Task(_)
            | StateKind::Choice(_)
            | StateKind::Wait(_)
            | StateKind::Succeed
            | StateKind::Fail(_) => {}
        }
    }
}
