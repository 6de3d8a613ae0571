//! JSONata expressions that are to see another context object.

/// JSON text in whose expressions `$states.context` is the variable of that name, and so is the `context` of `$states`.
pub(super) fn with_context(json: &str, variable: &str) -> String {
    let mut out = String::with_capacity(json.len() + 64);
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let (before, string) = rest.split_at(start);
        let (string, after) = string.split_at(end_of(string));
        out.push_str(before);
        if string.starts_with("\"{%") && string.ends_with("%}\"") {
            expression(string, variable, &mut out);
        } else {
            out.push_str(string);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Length of the JSON string that the text begins with.
fn end_of(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

const STATES: &str = "$states";

fn expression(text: &str, variable: &str, out: &mut String) {
    let continues = |text: &str| text.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let mut rest = text;
    while let Some(at) = rest.find(STATES) {
        out.push_str(&rest[..at]);
        rest = &rest[at + STATES.len()..];
        let member = rest.trim_start().strip_prefix('.').map(str::trim_start);
        let after_context = member.and_then(|member| member.strip_prefix("context"));
        if let Some(after) = after_context.filter(|after| !continues(after)) {
            out.push('$');
            out.push_str(variable);
            rest = after;
        } else if member.is_some() || continues(rest) {
            out.push_str(STATES);
        } else {
            out.push_str("$merge([$states,{'context':$");
            out.push_str(variable);
            out.push_str("}])");
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::with_context;

    #[test]
    fn only_expressions_are_changed() {
        for (json, expected) in [
            (r#"{"a":"$states.context"}"#, r#"{"a":"$states.context"}"#),
            (
                r#"{"a":"{% $states.context.x %}"}"#,
                r#"{"a":"{% $c.x %}"}"#,
            ),
            (
                r#"["{% $states . context & $states.input %}","{%","%}"]"#,
                r#"["{% $c & $states.input %}","{%","%}"]"#,
            ),
            (
                r#""{% $states.contextual & $statesman & $states %}""#,
                r#""{% $states.contextual & $statesman & $merge([$states,{'context':$c}]) %}""#,
            ),
            (
                r#"{"\"{%":"{% $states.context & \"\\\" %}\" %}"}"#,
                r#"{"\"{%":"{% $c & \"\\\" %}\" %}"}"#,
            ),
            (r#""{% $states.context"#, r#""{% $states.context"#),
        ] {
            assert_eq!(with_context(json, "c"), expected, "{json}");
        }
    }
}
