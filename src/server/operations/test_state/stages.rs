//! `inspectionData`: the data after each of the state's fields.

use std::collections::BTreeSet;

use super::super::super::write::Object;
use super::machine::{Ending, Ran, Scene, set};
use super::request::{Mock, StateFields, text};
use crate::history::Failure;

/// The output of a state with some of its fields, as a Pass state or as what it is.
fn stage(scene: &Scene<'_>, kind: &str, fields: &[(&str, &str)]) -> Option<String> {
    let mut state = StateFields::new();
    for (name, of) in fields {
        if let Some(json) = scene.test.state.get(*of) {
            set(&mut state, name, json.get());
        }
    }
    set(&mut state, "Type", &format!("\"{kind}\""));
    set(&mut state, "End", "true");
    if kind == "Task" {
        let resource = scene.test.state.get("Resource").map(|raw| raw.get());
        let function = "\"arn:aws:lambda:us-east-1:123456789012:function:mocked\"";
        set(&mut state, "Resource", resource.unwrap_or(function));
    }
    match scene.run(&state, &BTreeSet::new()).ok()?.ok()?.ending {
        Ending::Left { output, .. } => Some(output),
        Ending::Failed | Ending::Retried { .. } => None,
    }
}

/// Names and values, in the order of the work; those after a failure are not there.
pub(super) fn inspect(scene: &Scene<'_>, kind: &str, ran: &Ran) -> Vec<(&'static str, String)> {
    let state = &scene.test.state;
    let mut found = vec![("input", scene.test.input.to_owned())];
    let mut add = |name: &'static str, value: Option<String>| {
        let there = value.is_some();
        found.extend(value.map(|value| (name, value)));
        there
    };
    if scene.test.is_jsonata() {
        inspect_jsonata(scene, kind, ran, &mut add);
        return found;
    }
    let input_path = ("InputPath", "InputPath");
    if kind == "Pass" && state.contains_key("Result") {
        add(
            "result",
            state.get("Result").map(|raw| raw.get().to_owned()),
        );
        add(
            "afterResultSelector",
            state.get("Result").map(|raw| raw.get().to_owned()),
        );
        let fields = [("Result", "Result"), ("ResultPath", "ResultPath")];
        add("afterResultPath", stage(scene, "Pass", &fields));
        return found;
    }
    // Of a Parallel, AWS shows the result only.
    let shows_input = kind != "Parallel";
    if shows_input && !add("afterInputPath", stage(scene, "Pass", &[input_path])) {
        return found;
    }
    let parameters = [input_path, ("Parameters", "Parameters")];
    match kind {
        "Pass" => {
            let value = stage(scene, "Pass", &parameters);
            add("afterParameters", value.clone());
            add("afterResultSelector", value);
            let fields = [parameters[0], parameters[1], ("ResultPath", "ResultPath")];
            add("afterResultPath", stage(scene, "Pass", &fields));
            return found;
        }
        "Task" if !add("afterParameters", stage(scene, "Pass", &parameters)) => return found,
        "Map" => {
            let items = [("InputPath", "ItemsPath")];
            add("afterItemsPath", items_of(scene, &items));
            for (name, number) in map_numbers(scene) {
                add(name, Some(number));
            }
        }
        _ => {}
    }
    let Some(Mock::Result(result)) = &scene.test.mock else {
        return found;
    };
    if ran.failure.is_some() && ran.ending == Ending::Failed {
        return found;
    }
    if kind == "Task" {
        add("result", Some(result.clone().into_owned()));
    }
    let mut fields = vec![input_path, ("ResultSelector", "ResultSelector")];
    if kind != "Map" {
        fields.push(("Parameters", "Parameters"));
    }
    add("afterResultSelector", stage(scene, "Task", &fields));
    fields.push(("ResultPath", "ResultPath"));
    add("afterResultPath", stage(scene, "Task", &fields));
    found
}

/// Of a state in JSONata, AWS shows the arguments of a Task, its result, and how a Map is bounded.
fn inspect_jsonata(
    scene: &Scene<'_>,
    kind: &str,
    ran: &Ran,
    add: &mut impl FnMut(&'static str, Option<String>) -> bool,
) {
    if kind == "Map" {
        for (name, number) in map_numbers(scene) {
            add(name, Some(number));
        }
    }
    if kind != "Task" {
        return;
    }
    let arguments = scene.test.state.contains_key("Arguments");
    if arguments
        && !add(
            "afterArguments",
            stage(scene, "Pass", &[("Output", "Arguments")]),
        )
    {
        return;
    }
    if let (Some(Mock::Result(result)), None) = (&scene.test.mock, &ran.failure) {
        add("result", Some(result.clone().into_owned()));
    }
}

/// How a Map is bounded.
fn map_numbers(scene: &Scene<'_>) -> impl Iterator<Item = (&'static str, String)> {
    let fields = [
        ("MaxConcurrency", "maxConcurrency", Some("0")),
        ("ToleratedFailureCount", "toleratedFailureCount", None),
        (
            "ToleratedFailurePercentage",
            "toleratedFailurePercentage",
            None,
        ),
    ];
    fields
        .into_iter()
        .filter_map(move |(field, name, default)| {
            let given = number(scene, field).or_else(|| default.map(str::to_owned))?;
            // It is a float of the API's model.
            let is_float = name == "toleratedFailurePercentage" && given.parse::<u64>().is_ok();
            Some((name, if is_float { given + ".0" } else { given }))
        })
}

/// What a field of a Map, its expression or its path gives, if that is a number.
fn number(scene: &Scene<'_>, field: &str) -> Option<String> {
    let state = &scene.test.state;
    let found = match state.get(field) {
        Some(raw) if scene.test.is_jsonata() && raw.get().starts_with('"') => {
            stage(scene, "Pass", &[("Output", field)])
        }
        Some(raw) => Some(raw.get().to_owned()),
        None => at_path(scene, state.get(&format!("{field}Path"))?.get()),
    };
    // A number's text, for it is written as it is.
    found.filter(|text| matches!(serde_json::from_str(text), Ok(serde_json::Value::Number(_))))
}

/// True if more iterations are said to have failed than the Map tolerates.
pub(super) fn exceeds_tolerance(scene: &Scene<'_>) -> bool {
    let failed = scene.test.failed_iterations;
    if failed == 0 || !matches!(scene.test.mock, Some(Mock::Result(_))) {
        return false;
    }
    let failed = f64::from(failed);
    let tolerated = |field: &str| number(scene, field)?.parse::<f64>().ok();
    let beyond_count = tolerated("ToleratedFailureCount").is_some_and(|count| failed > count);
    let beyond_percentage = tolerated("ToleratedFailurePercentage").is_some_and(|percentage| {
        let items = item_count(scene).filter(|count| *count > 0);
        items.is_some_and(|items| failed * 100.0 / items as f64 > percentage)
    });
    beyond_count || beyond_percentage
}

/// How many items a Map has.
fn item_count(scene: &Scene<'_>) -> Option<usize> {
    let items = match (scene.test.reader_data, scene.test.is_jsonata()) {
        (Some(data), _) => Some(data.to_owned()),
        (None, true) => stage(scene, "Pass", &[("Output", "Items")]),
        (None, false) => items_of(scene, &[("InputPath", "ItemsPath")]),
    };
    match serde_json::from_str(&items?).ok()? {
        serde_json::Value::Array(items) => Some(items.len()),
        serde_json::Value::Object(members) => Some(members.len()),
        _ => None,
    }
}

/// What `ItemsPath` finds in what `InputPath` has left.
fn items_of(scene: &Scene<'_>, items: &[(&str, &str)]) -> Option<String> {
    let items_path = scene.test.state.get("ItemsPath");
    match items_path.and_then(|raw| text(raw)).as_deref() {
        None | Some("$") => stage(scene, "Pass", &[("InputPath", "InputPath")]),
        // One that does not start from the effective input can stand alone; one that does is put behind InputPath.
        Some(path) if path.starts_with("$.") || path.starts_with("$[") => {
            at_path(scene, items_path?.get())
        }
        Some(_) => stage(scene, "Pass", items),
    }
}

/// What a path, a JSON string, finds in the effective input.
fn at_path(scene: &Scene<'_>, path: &str) -> Option<String> {
    let mut selector = StateFields::new();
    if let Some(input_path) = scene.test.state.get("InputPath") {
        set(&mut selector, "InputPath", input_path.get());
    }
    set(&mut selector, "Type", "\"Pass\"");
    set(&mut selector, "End", "true");
    set(
        &mut selector,
        "Parameters",
        &format!("{{\"found.$\":{path}}}"),
    );
    set(&mut selector, "OutputPath", "\"$.found\"");
    let ran = scene.run(&selector, &BTreeSet::new()).ok()?.ok()?;
    match ran.ending {
        Ending::Left { output, .. } => Some(output),
        Ending::Failed | Ending::Retried { .. } => None,
    }
}

/// `errorDetails`: which retrier or catcher took the failure.
pub(super) fn error_details(o: &mut Object<'_>, state: &StateFields, ran: &Ran) {
    let Some(failure) = &ran.failure else {
        return;
    };
    match ran.ending {
        Ending::Retried { after_ms } => {
            let index = taker(state, "Retry", failure);
            o.object("errorDetails", |o| {
                if let Some(index) = index {
                    o.number("retryIndex", index);
                }
                o.number("retryBackoffIntervalSeconds", after_ms / 1_000);
            });
        }
        Ending::Left { .. } => {
            if let Some(index) = taker(state, "Catch", failure) {
                o.object("errorDetails", |o| o.number("catchIndex", index));
            }
        }
        Ending::Failed => {}
    }
}

/// Index of the first element that names the failure's error.
fn taker(state: &StateFields, field: &str, failure: &Failure) -> Option<usize> {
    let elements: Vec<StateFields> = serde_json::from_str(state.get(field)?.get()).ok()?;
    elements.iter().position(|element| {
        let names = element.get("ErrorEquals").map(|raw| raw.get());
        let names: Vec<String> = names
            .and_then(|names| serde_json::from_str(names).ok())
            .unwrap_or_default();
        names.iter().any(|name| match name.as_str() {
            "States.ALL" => true,
            "States.TaskFailed" => failure.error_name() != "States.Timeout",
            name => name == failure.error_name(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takers() {
        let state: StateFields = serde_json::from_str(
            r#"{"Catch":[{"ErrorEquals":["A","B"]},{"ErrorEquals":["States.TaskFailed"]},{"ErrorEquals":["States.ALL"]}]}"#,
        )
        .unwrap();
        for (error, expected) in [("B", 0), ("C", 1), ("States.Timeout", 2)] {
            let failure = Failure::new(error, "");
            assert_eq!(taker(&state, "Catch", &failure), Some(expected));
        }
        assert_eq!(taker(&state, "Retry", &Failure::new("A", "")), None);
    }
}
