//! `quickstep validate`: checks definitions and shows what is wrong, for people or for programs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::plain::Plain;
use super::stdout;
use crate::asl::{self, DEFINITION_BYTES_MAX, Diagnostic, MachineType, Severity};
use crate::integration::unknown_actions;

/// Every definition was valid.
pub const EXIT_VALID: u8 = 0;
/// A definition has an error, or could not be read.
pub const EXIT_INVALID: u8 = 1;

/// Longer lines are cut around the problem: definitions are often one line of a megabyte.
const LINE_BYTES_MAX: usize = 4096;
/// What a cut line keeps on either side.
const CONTEXT_BYTES: usize = 60;

/// Checks state machine definitions and reports every problem at once.
#[derive(clap::Args, Clone, Debug)]
pub struct ValidateArgs {
    /// Definitions in Amazon States Language; `-` is the standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// The type of state machine. EXPRESS, which `quickstep run` assumes unless told otherwise, refuses `.sync`,
    /// `.waitForTaskToken` and activities.
    #[arg(long = "type", value_enum, ignore_case = true, default_value_t = TypeArg::Standard)]
    pub machine_type: TypeArg,
    /// How problems are shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `--type`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeArg {
    /// Short executions.
    Express,
    /// Long executions with a history.
    Standard,
}

impl From<TypeArg> for MachineType {
    fn from(arg: TypeArg) -> MachineType {
        match arg {
            TypeArg::Express => MachineType::Express,
            TypeArg::Standard => MachineType::Standard,
        }
    }
}

/// `--format`
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Source lines with the problem underlined.
    Text,
    /// One JSON object per problem and line.
    Json,
}

/// Checks the files in order; the exit code is [`EXIT_VALID`] or [`EXIT_INVALID`], or another if the results cannot be
/// written.
pub fn run(args: &ValidateArgs, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    validate(args, out, err).unwrap_or_else(|error| stdout::not_written(&error, err))
}

fn validate(args: &ValidateArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let mut code = EXIT_VALID;
    for file in &args.files {
        let (name, text) = if file == "-" {
            ("<stdin>", load(io::stdin()))
        } else {
            (file.as_str(), File::open(file).and_then(load))
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                // If nobody reads the standard error, the exit code has to do.
                let _ = writeln!(err, "error: failed to read {name}: {error}");
                code = EXIT_INVALID;
                continue;
            }
        };
        let reading = asl::read(&text, args.machine_type.into());
        let mut diagnostics = reading.diagnostics;
        if let Some(model) = &reading.definition {
            diagnostics.extend(unknown_actions(&text, model));
        }
        match args.format {
            Format::Text => show(name, &text, &diagnostics, &mut Plain(&mut *out))?,
            Format::Json => {
                for diagnostic in &diagnostics {
                    writeln!(out, "{}", to_json(name, diagnostic))?;
                }
            }
        }
        if count(&diagnostics, Severity::Error) > 0 {
            code = EXIT_INVALID;
        }
    }
    out.flush()?;
    Ok(code)
}

/// The text, but no more of it than shows that it is too long.
pub(super) fn load(source: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    let bound = DEFINITION_BYTES_MAX as u64 + 1;
    source.take(bound).read_to_end(&mut bytes)?;
    if bytes.len() > DEFINITION_BYTES_MAX {
        // The cut may have gone through a character.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("it is not UTF-8: byte {at} begins no character");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

fn count(diagnostics: &[Diagnostic], severity: Severity) -> usize {
    diagnostics
        .iter()
        .filter(|d| d.severity == severity)
        .count()
}

fn to_json(file: &str, diagnostic: &Diagnostic) -> String {
    let text = |s: &str| serde_json::Value::from(s).to_string();
    format!(
        r#"{{"file":{},"severity":"{}","code":"{}","message":{},"pointer":{},"line":{},"column":{},"suggestion":{}}}"#,
        text(file),
        diagnostic.severity.as_str(),
        diagnostic.code,
        text(&diagnostic.message),
        text(&diagnostic.pointer),
        diagnostic.line,
        diagnostic.column,
        diagnostic
            .suggestion
            .as_deref()
            .map_or_else(|| "null".to_owned(), text),
    )
}

pub(super) fn show(
    file: &str,
    text: &str,
    diagnostics: &[Diagnostic],
    out: &mut dyn Write,
) -> io::Result<()> {
    let renderer = Renderer::plain();
    for diagnostic in diagnostics {
        writeln!(out, "{}\n", render(&renderer, file, text, diagnostic))?;
    }
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let errors = count(diagnostics, Severity::Error);
    let warnings = count(diagnostics, Severity::Warning);
    let summary = match (errors, warnings) {
        (0, 0) => "valid".to_owned(),
        (0, n) => format!("valid, {}", plural(n, "warning")),
        (n, 0) => plural(n, "error"),
        (e, w) => format!("{}, {}", plural(e, "error"), plural(w, "warning")),
    };
    writeln!(out, "{file}: {summary}")
}

fn render(renderer: &Renderer, file: &str, text: &str, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let line = diagnostic.line as usize;
    let title = level
        .primary_title(diagnostic.message.trim_end())
        .id(diagnostic.code.as_str());
    let window = Window::around(text, &diagnostic.span);
    let annotation = AnnotationKind::Primary
        .span(window.span)
        .label(diagnostic.pointer.as_str());
    let snippet = Snippet::source(window.text)
        .line_start(line)
        .annotation(annotation);
    let mut group = if window.cut {
        let origin = Origin::path(file)
            .line(line)
            .char_column(diagnostic.column as usize);
        title.element(origin).element(snippet)
    } else {
        title.element(snippet.path(file))
    };
    if let Some(suggestion) = &diagnostic.suggestion {
        group = group.element(Level::HELP.message(suggestion.as_str()));
    }
    renderer.render(&[group])
}

/// What is shown of the line on which a span begins.
struct Window<'t> {
    text: &'t str,
    /// The part of the span that is in `text`: a problem that covers a whole object is shown by its beginning.
    span: Range<usize>,
    /// True if `text` does not begin where the line does.
    cut: bool,
}

impl<'t> Window<'t> {
    fn around(text: &'t str, span: &Range<usize>) -> Window<'t> {
        let line_start = text[..span.start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[span.start..]
            .find(['\n', '\r'])
            .map_or(text.len(), |i| span.start + i);
        let end = span.end.min(line_end);
        if line_end - line_start <= LINE_BYTES_MAX {
            return Window {
                text: &text[line_start..line_end],
                span: span.start - line_start..end - line_start,
                cut: false,
            };
        }
        let start = line_start.max(span.start.saturating_sub(CONTEXT_BYTES));
        let start = floor(text, start);
        let end = floor(text, end.min(span.start + CONTEXT_BYTES));
        let shown_end = floor(text, line_end.min(end + CONTEXT_BYTES));
        Window {
            text: &text[start..shown_end],
            span: span.start - start..end - start,
            cut: true,
        }
    }
}

/// The nearest beginning of a character at or before `byte`.
fn floor(text: &str, byte: usize) -> usize {
    (0..=byte)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: ValidateArgs,
    }

    /// Runs the command on files of the corpus: exit code, standard output, standard error.
    fn validate(arguments: &[&str]) -> (u8, String, String) {
        let cli = Cli::parse_from(["validate"].iter().chain(arguments));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&cli.args, &mut out, &mut err);
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    fn write(name: &str, text: &str) -> String {
        let directory =
            std::env::temp_dir().join(format!("quickstep-validate-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_problem_is_underlined() {
        let file = write(
            "problem.json",
            "{\n  \"StartAt\": \"A\",\n  \"States\": {\n    \"A\": {\"Type\": \"Pass\", \"nxt\": \"B\", \"End\": true}\n  }\n}\n",
        );
        let (code, out, err) = validate(&[&file]);
        let expected = format!(
            "error[SCHEMA_VALIDATION_FAILED]: Field 'nxt' is not supported
 --> {file}:4:27
  |
4 |     \"A\": {{\"Type\": \"Pass\", \"nxt\": \"B\", \"End\": true}}
  |                           ^^^^^ /States/A
  |
  = help: did you mean `Next`?

{file}: 1 error
"
        );
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (1, expected.as_str(), "")
        );
        let (code, out, _) = validate(&["--format", "json", &file]);
        let quoted = serde_json::Value::from(file).to_string();
        assert_eq!(code, 1);
        assert_eq!(
            out,
            format!(
                "{{\"file\":{quoted},\"severity\":\"error\",\"code\":\"SCHEMA_VALIDATION_FAILED\",\"message\":\"Field 'nxt' is not supported\",\"pointer\":\"/States/A\",\"line\":4,\"column\":27,\"suggestion\":\"did you mean `Next`?\"}}\n"
            )
        );
    }

    #[test]
    fn the_type_decides_and_every_file_is_read() {
        let valid = write(
            "standard.json",
            r#"{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::ecs:runTask.sync","End":true}}}"#,
        );
        assert_eq!(
            validate(&[&valid]),
            (0, format!("{valid}: valid\n"), String::new())
        );
        let (code, out, err) = validate(&["--type", "EXPRESS", "no/such/file", &valid]);
        assert_eq!(code, 1);
        assert!(
            err.starts_with("error: failed to read no/such/file: "),
            "{err}"
        );
        assert!(
            out.contains("does not support '.sync' service integration\n"),
            "{out}"
        );
    }

    #[test]
    fn long_lines_and_odd_places() {
        let filler = "é".repeat(3_000);
        for (name, text) in [
            (
                "long.json",
                format!("{{\"Comment\":\"{filler}\",\"StartAt\":1,\"x\":\"{filler}\"}}"),
            ),
            ("cut.json", "{\"a\":".to_owned()),
            ("empty.json", String::new()),
            ("lines.json", "[\r\n\r\n]".to_owned()),
            ("large.json", "[\n".repeat(DEFINITION_BYTES_MAX)),
        ] {
            let file = write(name, &text);
            let (code, out, err) = validate(&[&file]);
            assert_eq!((code, err.as_str()), (1, ""), "{name}");
            assert!(out.lines().all(|line| line.len() < 400), "{out}");
            if name == "long.json" {
                let column = filler.chars().count() + 25;
                assert!(out.contains(&format!("{file}:1:{column}\n")), "{out}");
            }
        }
        let path = write("latin.json", "");
        std::fs::write(&path, b"{\"a\": \"\xe9\"}").unwrap();
        let (code, _, err) = validate(&[&path]);
        assert_eq!(code, 1);
        assert!(err.contains("not UTF-8: byte 7"), "{err}");
    }
}
