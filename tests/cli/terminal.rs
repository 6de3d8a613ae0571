//! What definitions, events and answers hold cannot steer the terminal.

use crate::support::{PASS, PICKY, QUOTE, Ran, file, folder, quickstep, run, task};

/// Erases the screen, in the seven-bit and in the eight-bit way; then a line that nobody has written.
const HOSTILE: &str = "\u{1b}[2J\u{9b}2J\rline 1: SUCCEEDED\u{7}";

/// As JSON has it.
const HOSTILE_JSON: &str = r"\u001b[2J\u009b2J\rline 1: SUCCEEDED\u0007";

fn is_control(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

fn assert_plain(text: &str) {
    assert!(!text.contains(is_control), "{text:?}");
    assert!(text.contains(r"\u001b[2J\u009b2J"), "{text}");
}

#[test]
fn failures() {
    let folder = folder("hostile-failures");
    let fails = PICKY
        .replace("Bad.Event", HOSTILE_JSON)
        .replace("it says\\nso", HOSTILE_JSON);
    let definition = file(&folder, "fails.asl.json", &fails);
    let Ran { code, err, .. } = quickstep(&["run", "-q", &definition], "{\"bad\":true}\n");
    assert_eq!(code, 1);
    let text = r"\u001b[2J\u009b2J\rline 1: SUCCEEDED\u0007";
    assert_eq!(err, format!("line 1: FAILED: {text}: {text}\n"));
    // JSON is left as it is.
    let Ran { out, .. } = quickstep(
        &["run", "-q", "--envelope", &definition],
        "{\"bad\":true}\n",
    );
    let envelope: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(envelope["cause"], HOSTILE);
    // Events that are no JSON, and answers of tasks.
    let Ran { err, .. } = run(
        "hostile-event",
        PASS,
        &["--keep-going"],
        format!("[{HOSTILE}\n"),
    );
    assert!(
        !err.contains('\u{1b}') && err.starts_with("line 1: "),
        "{err:?}"
    );
    let answers = format!(r#"{{"tasks":{{"*":{{"error":"{HOSTILE_JSON}"}}}}}}"#);
    let answers = file(&folder, "tasks.json", answers);
    let Ran { err, .. } = run(
        "hostile-answer",
        &task(QUOTE, ""),
        &["--tasks", &answers],
        "1\n",
    );
    assert_plain(&err);
}

#[test]
fn definitions_and_files() {
    let folder = folder("hostile-definitions");
    // The name of a state, in a warning and in a listing.
    let named = task(QUOTE, "").replace("Ask", HOSTILE_JSON);
    let definition = file(&folder, "named.asl.json", &named);
    assert_plain(&quickstep(&["run", "-q", &definition], "").err);
    let listing = quickstep(&["disassemble", &definition], "").out;
    assert!(
        listing.contains("enter") && !listing.contains(is_control),
        "{listing:?}"
    );
    // Problems: what the text says, and the text itself.
    let next = named.replace(r#""End":true"#, &format!(r#""Next":"{HOSTILE_JSON}!""#));
    let raw = PASS.replace("Pass", HOSTILE);
    for (name, text) in [("next.asl.json", next), ("raw.asl.json", raw)] {
        let definition = file(&folder, name, text);
        for (command, code) in [("run", 2), ("validate", 1), ("disassemble", 2)] {
            let ran = quickstep(&[command, &definition], "");
            assert_eq!(ran.code, code, "{command} {name}");
            let shown = if command == "validate" {
                ran.out
            } else {
                ran.err
            };
            assert!(
                shown.contains("error[") && !shown.contains(is_control),
                "{shown:?}"
            );
        }
    }
    // Names of files.
    for arguments in [
        ["validate", HOSTILE],
        ["run", HOSTILE],
        ["disassemble", HOSTILE],
    ] {
        assert_plain(&quickstep(&arguments, "").err);
    }
}

#[test]
fn names_of_machines() {
    let folder = folder("names");
    let definition = file(
        &folder,
        "my order.asl.json",
        PASS.replace(
            r#""Type":"Pass""#,
            r#""Type":"Pass","Parameters":{"name.$":"$$.StateMachine.Name"}"#,
        ),
    );
    let ran = |more: &[&str]| quickstep(&[&["run", "-q", &definition][..], more].concat(), "1\n");
    assert_eq!(ran(&[]).out, "{\"name\":\"my-order\"}\n");
    assert_eq!(
        ran(&["--name", "order-17"]).out,
        "{\"name\":\"order-17\"}\n"
    );
    let long = "x".repeat(81);
    for (name, problem) in [
        ("", "error: --name: a name has at least one character\n"),
        ("a b", "error: --name: the name \"a b\" may not hold ' '\n"),
        ("a/b", "error: --name: the name \"a/b\" may not hold '/'\n"),
        (HOSTILE, r#"may not hold '\u{1b}'"#),
        (
            &long,
            "error: --name: a name has at most 80 characters, and this one has 81: x",
        ),
    ] {
        let Ran { code, out, err } = ran(&["--name", name]);
        assert_eq!((code, out.as_str()), (2, ""), "{name}");
        assert!(err.contains(problem), "{err}");
    }
}
