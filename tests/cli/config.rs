//! Where the settings of `quickstep serve` come from.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::{file, folder, quickstep};

/// The settings that `--print-config` shows: values with what stands behind them.
fn settings(arguments: &[&str], variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let ran = Command::new(env!("CARGO_BIN_EXE_quickstep"))
        .args(["serve", "--print-config"])
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert_eq!(
        ran.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let text = String::from_utf8(ran.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(" = "));
    lines
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let folder = folder("config-precedence");
    let text = "addr = \"127.0.0.1:1\"\nregion = 'eu-west-1' # said once\nmax-connections = 7\n\
                log-level = \"warn\"\nallow-anonymous = true\nopen-metrics = false\naccount = \"000000000012\"\n";
    let path = file(&folder, "quickstep.toml", text);
    let flags = ["--config", &path, "--region", "us-east-2"];
    let variables = [
        ("QUICKSTEP_REGION", "us-west-2"),
        ("QUICKSTEP_LOG_LEVEL", "debug"),
        ("QUICKSTEP_MAX_REQUEST_BYTES", "2048"),
    ];
    let found = settings(&flags, &variables);
    for (key, expected) in [
        ("region", "\"us-east-2\" # --region".to_owned()),
        ("log-level", "\"debug\" # QUICKSTEP_LOG_LEVEL".to_owned()),
        (
            "max-request-bytes",
            "2048 # QUICKSTEP_MAX_REQUEST_BYTES".to_owned(),
        ),
        ("addr", format!("\"127.0.0.1:1\" # {path}")),
        ("max-connections", format!("7 # {path}")),
        ("account", format!("\"000000000012\" # {path}")),
        ("allow-anonymous", format!("true # {path}")),
        ("open-metrics", format!("false # {path}")),
        ("body-seconds", "30 # default".to_owned()),
    ] {
        let found = found.get(key).unwrap_or_else(|| panic!("{key} is missing"));
        assert_eq!(*found, expected, "{key}");
    }
    assert!(!found.contains_key("tls-cert") && !found.contains_key("config"));
    // A variable says no where the file says yes, and the file may be named by a variable.
    let variables = [
        ("QUICKSTEP_ALLOW_ANONYMOUS", "0"),
        ("QUICKSTEP_CONFIG", path.as_str()),
    ];
    let found = settings(&[], &variables);
    assert_eq!(
        found["allow-anonymous"],
        "false # QUICKSTEP_ALLOW_ANONYMOUS"
    );
    assert_eq!(found["region"], format!("\"eu-west-1\" # {path}"));
}

/// What is printed is a file that gives the same settings.
#[test]
fn printed_settings_are_a_file() {
    let folder = folder("config-printed");
    let flags = [
        "--region",
        "eu-west-1",
        "--tasks",
        "a \"b\\\u{e9}.json",
        "--allow-anonymous",
    ];
    let first = settings(&flags, &[]);
    let text: String = first
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let path = file(&folder, "printed.toml", &text);
    let value = |line: &String| line.rsplit_once(" # ").unwrap().0.to_owned();
    let values =
        |all: &BTreeMap<String, String>| -> Vec<String> { all.values().map(value).collect() };
    let second = settings(&["--config", &path], &[]);
    assert_eq!(values(&first), values(&second));
    assert_eq!(value(&second["tasks"]), r#""a \"b\\é.json""#);
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let folder = folder("config-wrong");
    for (text, expected) in [
        (
            "regoin = \"x\"",
            "line 1: unknown key `regoin`; did you mean `region`?",
        ),
        (
            "\n\nmax_connections = 1",
            "line 3: unknown key `max_connections`; did you mean `max-connections`?",
        ),
        (
            "tls_cert = \"x\"",
            "line 1: unknown key `tls_cert`; did you mean `tls-cert`?",
        ),
        ("config = \"other.toml\"", "line 1: unknown key `config`"),
        (
            "something-else-entirely = 1",
            "line 1: unknown key `something-else-entirely`\n",
        ),
        (
            "# one\naddr = \"localhost\"",
            "line 2: invalid value 'localhost' for '--addr <IP:PORT>'",
        ),
        (
            "max-connections = 0",
            "line 1: invalid value '0' for '--max-connections <N>': 0 is not in 1..=1000000",
        ),
        (
            "log-level = \"loud\"",
            "line 1: invalid value 'loud' for '--log-level <LEVEL>'",
        ),
        (
            "allow-anonymous = \"perhaps\"",
            "line 1: unexpected value 'perhaps' for '--allow-anonymous'",
        ),
        (
            "max-connections = 1.5",
            "line 1: `max-connections` has to be a text, a whole number, true or false",
        ),
        (
            "[limits]\nmax-connections = 1",
            "line 1: `limits` has to be",
        ),
        ("addr = ", "line 1: "),
        (
            "addr = \"127.0.0.1:0\"\naddr = \"127.0.0.1:0\"",
            "line 2: duplicate key",
        ),
    ] {
        let path = file(&folder, "wrong.toml", text);
        let ran = quickstep(&["serve", "--config", &path], "");
        assert_eq!(ran.code, 2, "{text}: {}", ran.err);
        let expected = format!("error: {path}: {expected}");
        assert!(ran.err.starts_with(&expected), "{expected}\n{}", ran.err);
        assert_eq!(ran.out, "");
    }
    let ran = quickstep(&["serve", "--config", "no-such-file.toml"], "");
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.starts_with("error: no-such-file.toml: "),
        "{}",
        ran.err
    );
}

/// Whatever each of them comes from.
#[test]
fn settings_that_contradict_each_other_are_refused() {
    let folder = folder("config-contradictions");
    let credentials = "[[credentials]]\naccess_key_id = \"A\"\nsecret_access_key = \"s\"\n";
    let credentials = file(&folder, "credentials.toml", credentials);
    let path = file(
        &folder,
        "quickstep.toml",
        "allow-anonymous = true\ntls-key = \"k\"\n",
    );
    for (arguments, expected) in [
        (
            vec!["--config", &path, "--credentials", &credentials],
            "--credentials and --allow-anonymous contradict each other",
        ),
        (
            vec!["--config", &path],
            "--tls-cert and --tls-key belong together",
        ),
    ] {
        let ran = quickstep(&[&["serve"], &arguments[..]].concat(), "");
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}
