//! Actions that AWS's SDK does not have: a definition may name them, but no task can ever do them.

use crate::asl::{Code, Definition, Diagnostic, Places, Resource, Scope, Severity, StateKind};
use crate::aws;

/// A warning for each resource `aws-sdk:SERVICE:ACTION` of a definition that there is not. `text` is the definition's.
pub(crate) fn unknown_actions(text: &str, definition: &Definition) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // Scopes nest no deeper than the text's brackets, of which there are 200 levels.
    scope(&definition.scope, &mut found);
    // Most definitions have none, and are not parsed again.
    let places = match found.is_empty() {
        true => None,
        false => Places::read(text),
    };
    if let Some(places) = places {
        for diagnostic in &mut found {
            if let Some(place) = places.text(&diagnostic.pointer) {
                diagnostic.line = place.line;
                diagnostic.column = place.column;
                diagnostic.span = place.span;
            }
        }
    }
    found
}

fn scope(scope_: &Scope, found: &mut Vec<Diagnostic>) {
    for state in &scope_.states {
        match &state.kind {
            StateKind::Task(task) => {
                if let Some(problem) = problem(&task.resource) {
                    let pointer = format!("{}/Resource", state.pointer);
                    found.push(warning(&task.resource, pointer, &problem));
                }
            }
            StateKind::Parallel(parallel) => {
                for branch in &parallel.branches {
                    scope(branch, found);
                }
            }
            StateKind::Map(map) => scope(&map.processor, found),
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

/// The warning, which has no place yet.
fn warning(resource: &str, pointer: String, problem: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        code: Code::UnknownAction,
        message: format!("The resource provided {resource} is not recognized: {problem}"),
        pointer,
        line: 1,
        column: 1,
        span: 0..0,
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
            shown[0].contains("/States/M/ItemProcessor/States/B/Resource (4:50)"),
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

    #[test]
    fn places_of_what_is_written_otherwise_or_twice() {
        let text = "{\"Comment\": \"é\", \"StartAt\": \"é/A\", \"States\": {\n\
            \"é/A\": {\"Type\": \"Task\", \"Resource\": \"arn:aws:states:::aws-sdk:s3:ge\\u0074object\", \"Next\": \"B\"},\n\
            \"é\": {\"Type\": \"Task\", \"Resource\": \"arn:aws:states:::aws-sdk:nosuch:getObject\", \"End\": true},\n\
            \"B\": {\"Type\": \"Task\", \"Resource\": \"arn:aws:states:::aws-sdk:s3:getobject\", \"Next\": \"é\"}}}";
        let reading = read(text, MachineType::Standard);
        let definition = reading.definition.unwrap();
        let found = unknown_actions(text, &definition);
        let shown: Vec<(u32, u32, &str)> = found
            .iter()
            .map(|found| (found.line, found.column, &text[found.span.clone()]))
            .collect();
        assert_eq!(
            shown,
            [
                (2, 38, "arn:aws:states:::aws-sdk:s3:ge\\u0074object"),
                (3, 36, "arn:aws:states:::aws-sdk:nosuch:getObject"),
                (4, 36, "arn:aws:states:::aws-sdk:s3:getobject"),
            ]
        );
    }
}
