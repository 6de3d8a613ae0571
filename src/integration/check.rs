//! Actions that AWS's SDK does not have: a definition may name them, but no task can ever do them.

use crate::asl::{Code, Definition, Diagnostic, Resource, Scope, Severity, StateKind};
use crate::aws;

/// A warning for each resource `aws-sdk:SERVICE:ACTION` of a definition that there is not. `text` is the definition's.
pub(crate) fn unknown_actions(text: &str, definition: &Definition) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // Scopes nest no deeper than the text's brackets, of which there are 200 levels.
    scope(text, &definition.scope, &mut found);
    found
}

fn scope(text: &str, scope_: &Scope, found: &mut Vec<Diagnostic>) {
    for state in &scope_.states {
        match &state.kind {
            StateKind::Task(task) => {
                if let Some(problem) = problem(&task.resource) {
                    let pointer = format!("{}/Resource", state.pointer);
                    found.push(warning(text, &task.resource, pointer, problem));
                }
            }
            StateKind::Parallel(parallel) => {
                for branch in &parallel.branches {
                    scope(text, branch, found);
                }
            }
            StateKind::Map(map) => scope(text, &map.processor, found),
            StateKind::Pass(_)
            | StateKind::Choice(_)
            | StateKind::Wait(_)
            | StateKind::Succeed
            | StateKind::Fail(_) => {}
        }
    }
}

fn problem(resource: &str) -> Option<String> {
    match Resource::parse(resource) {
        Ok(Resource::Service(integration)) if integration.sdk => {
            let known = aws::Client::check(&integration.service, &integration.action);
            known.err().map(|error| error.message().to_owned())
        }
        _ => None,
    }
}

fn warning(text: &str, resource: &str, pointer: String, problem: String) -> Diagnostic {
    let start = text.find(resource).unwrap_or_default();
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Diagnostic {
        severity: Severity::Warning,
        code: Code::UnknownAction,
        message: format!("The resource provided {resource} is not recognized: {problem}"),
        pointer,
        line: count(1 + before.matches('\n').count()),
        column: count(1 + before[line_start..].chars().count()),
        span: start..start + resource.len().min(text.len() - start),
        suggestion: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asl::{MachineType, read};

    #[test]
    fn actions_that_there_are_not() {
        let text = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor": {
            "StartAt": "A", "States": {
              "A": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObject", "Next": "B"},
              "B": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getobject", "Next": "C"},
              "C": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:nosuch:getObject", "End": true}}}}}}"#;
        let definition = read(text, MachineType::Standard).definition.unwrap();
        let found = unknown_actions(text, &definition);
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(
            shown[0].contains("/States/M/ItemProcessor/States/B/Resource (4:46)"),
            "{}",
            shown[0]
        );
        assert!(
            shown[0].starts_with("warning[UNKNOWN_ACTION]"),
            "{}",
            shown[0]
        );
        assert!(
            shown[0].ends_with("it is spelled 'getObject'"),
            "{}",
            shown[0]
        );
        assert!(
            shown[1].contains("there is no service 'nosuch'"),
            "{}",
            shown[1]
        );
        assert_eq!(
            &text[found[0].span.clone()],
            "arn:aws:states:::aws-sdk:s3:getobject"
        );
    }
}
