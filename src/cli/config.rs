//! Where the server's settings come from: flags, variables, a file, defaults, in this order.
//!
//! There is one list of settings, the flags of `serve`: a key of the file is the name of a flag without its dashes, and the
//! variable is the same name in capitals. So the file is read as flags that nobody has given:
//!
//! 1. The arguments are parsed, variables and defaults included.
//! 2. Keys of the file whose settings come from neither a flag nor a variable are added as flags.
//! 3. All of it is parsed again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::de::{DeTable, DeValue};

use crate::asl::suggest::Suggester;
use crate::value::escape;

/// The flag that names the file, and the one that prints the settings.
const CONFIG: &str = "config";
const PRINT: &str = "print_config";

/// Most bytes of a file of settings.
const BYTES_MAX: u64 = 1024 * 1024;

/// What a file says of a setting, as a flag would.
struct Setting {
    line: usize,
    text: String,
}

/// What came of the settings.
pub(super) enum Completed {
    /// The arguments, with what a file adds to them.
    Matches(ArgMatches),
    /// They were to be shown: this text.
    Shown(String),
}

/// Completes the arguments of `command`, which were parsed once, with those of a file. The settings are those of the
/// command that `name` is the name of.
pub(super) fn complete(
    command: &Command,
    arguments: &[OsString],
    matches: ArgMatches,
    name: &str,
) -> Result<Completed, String> {
    let (Some(inner), Some(settings)) = (
        matches.subcommand_matches(name),
        command.find_subcommand(name),
    ) else {
        return Ok(Completed::Matches(matches));
    };
    let mut from_file = BTreeSet::new();
    let path = inner.get_one::<PathBuf>(CONFIG).cloned();
    let matches = match &path {
        None => matches,
        Some(path) => {
            let added = added(path, settings, inner)?;
            let mut all = arguments.to_vec();
            for (key, setting) in &added {
                all.extend(flag(settings, key, setting));
            }
            let parsed = command.clone().try_get_matches_from(all);
            from_file.extend(added.keys().cloned());
            // The flags that were given have been parsed before, so it is the file's.
            parsed.map_err(|error| blame(path, &added, &error))?
        }
    };
    let shown = matches.subcommand_matches(name);
    if let Some(inner) = shown.filter(|inner| inner.get_flag(PRINT)) {
        return Ok(Completed::Shown(show(
            settings,
            inner,
            &from_file,
            path.as_deref(),
        )));
    }
    Ok(Completed::Matches(matches))
}

/// The arguments that a file may give.
fn keys(settings: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let all = settings.get_arguments();
    all.filter_map(|arg| Some((arg.get_long()?, arg)))
        .filter(|(_, arg)| arg.get_env().is_some() && arg.get_id() != CONFIG)
}

/// The settings of a file that neither a flag nor a variable gives.
fn added(
    path: &Path,
    settings: &Command,
    matches: &ArgMatches,
) -> Result<BTreeMap<String, Setting>, String> {
    let shown = path.display();
    let unread = |error: std::io::Error| format!("{shown}: {error}");
    if std::fs::metadata(path).map_err(unread)?.len() > BYTES_MAX {
        return Err(format!("{shown}: more than {BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(unread)?;
    let mut found = BTreeMap::new();
    for (key, setting) in read(&text).map_err(|problem| format!("{shown}: {problem}"))? {
        let Some((_, arg)) = keys(settings).find(|(known, _)| *known == key) else {
            let names = keys(settings).map(|(name, _)| name);
            // An underscore for a dash is the commonest mistake, and each is a step away.
            let nearest = Suggester::new().question(&key.replace('_', "-"), names);
            let same = keys(settings).find(|(name, _)| *name == key.replace('_', "-"));
            let question = same
                .map(|(name, _)| format!("did you mean `{name}`?"))
                .or(nearest)
                .map_or_else(String::new, |question| format!("; {question}"));
            return Err(format!(
                "{shown}: line {}: unknown key `{key}`{question}",
                setting.line
            ));
        };
        let source = matches.value_source(arg.get_id().as_str());
        if !matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            found.insert(key, setting);
        }
    }
    Ok(found)
}

/// Keys and values, as they would stand behind a flag.
fn read(text: &str) -> Result<BTreeMap<String, Setting>, String> {
    let line = |at: usize| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        1 + before.iter().filter(|b| **b == b'\n').count()
    };
    let table = DeTable::parse(text).map_err(|error| match error.span() {
        Some(span) => format!("line {}: {}", line(span.start), error.message()),
        None => error.message().to_owned(),
    })?;
    let mut found = BTreeMap::new();
    for (key, value) in table.get_ref() {
        let line = line(key.span().start);
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(is) => is.to_string(),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                return Err(format!(
                    "line {line}: `{}` has to be a text, a whole number, true or false",
                    key.get_ref()
                ));
            }
        };
        found.insert(key.get_ref().to_string(), Setting { line, text });
    }
    Ok(found)
}

/// A setting as a flag. One that says yes or no is there or is not, unless it says neither, which the parser is to tell.
fn flag(settings: &Command, key: &str, setting: &Setting) -> Option<OsString> {
    let arg = keys(settings).find(|(known, _)| *known == key);
    let is_switch = arg.is_some_and(|(_, arg)| matches!(arg.get_action(), ArgAction::SetTrue));
    match (is_switch, setting.text.as_str()) {
        (true, "true") => Some(format!("--{key}").into()),
        (true, "false") => None,
        _ => Some(format!("--{key}={}", setting.text).into()),
    }
}

/// What the parser says of a flag that a file gave.
fn blame(path: &Path, added: &BTreeMap<String, Setting>, error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let problem = first.trim_start_matches("error: ");
    let named = added.iter().find(|(key, _)| {
        let flag = format!("--{key}");
        let mut after = problem.split(&flag).skip(1);
        after.any(|after| !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'))
    });
    match named {
        Some((_, setting)) => format!("{}: line {}: {problem}", path.display(), setting.line),
        None => format!("{}: {problem}", path.display()),
    }
}

/// The settings as a file that gives them, with where each comes from.
fn show(
    settings: &Command,
    matches: &ArgMatches,
    from_file: &BTreeSet<String>,
    path: Option<&Path>,
) -> String {
    let mut out = String::new();
    for (key, arg) in keys(settings) {
        let id = arg.get_id().as_str();
        let value = matches.get_raw(id).map(|values| {
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            values.join(",")
        });
        let switched = matches!(arg.get_action(), ArgAction::SetTrue).then(|| matches.get_flag(id));
        let text = match (switched, value) {
            (Some(is), _) => is.to_string(),
            (None, Some(value)) => quoted(&value),
            (None, None) => {
                // Writing to a string cannot fail.
                let _ = writeln!(out, "# {key} is not set");
                continue;
            }
        };
        let source = match matches.value_source(id) {
            _ if from_file.contains(key) => {
                path.map_or_else(String::new, |path| path.display().to_string())
            }
            Some(ValueSource::CommandLine) => format!("--{key}"),
            Some(ValueSource::EnvVariable) => arg
                .get_env()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            _ => "default".to_owned(),
        };
        let _ = writeln!(out, "{key} = {text} # {source}");
    }
    out
}

/// A value of TOML: a number as it is, any other text in quotes.
fn quoted(text: &str) -> String {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => text.to_owned(),
        // JSON's escapes are TOML's, too.
        _ => format!("\"{}\"", escape(text)),
    }
}
