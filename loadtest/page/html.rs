//! The page: text, tables and plots, with all of its style.

use std::fmt::Write as _;

use super::model::{Pace, Run, Test};
use super::month::Month;
use super::plot::{Plot, STYLES};
use super::series::{self, Named};
use crate::report::{bytes, grouped, time};

const STYLE: &str = include_str!("style.css");

/// Text for an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Nothing in HTML may stand for these.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The page of tests.
pub(super) fn page(title: &str, tests: &[Test], month: Option<&Month>) -> String {
    let runs = series::runs(tests);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
        title = escape(title)
    );
    verdict(&mut out, tests);
    results(&mut out, &runs);
    for test in tests {
        rates(&mut out, test);
    }
    out.push_str("<h2>Plots</h2>\n<div class=\"plots\">\n");
    for (id, test) in tests.iter().enumerate() {
        if let Some(plot) = series::sweep(test, id) {
            figure(&mut out, &plot);
        }
    }
    for plot in [
        series::percentiles(&runs),
        series::latency(&runs),
        series::throughput(&runs),
        series::processor(&runs),
        series::memory(&runs),
    ] {
        figure(&mut out, &plot);
    }
    out.push_str("</div>\n");
    if let Some(month) = month {
        cost(&mut out, month);
    }
    for (number, test) in tests.iter().enumerate() {
        origin(&mut out, number + 1, test, tests.len());
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Whether all was right, and if not, what was not.
fn verdict(out: &mut String, tests: &[Test]) {
    let problems: Vec<&str> = tests
        .iter()
        .filter_map(|test| test.problem.as_deref())
        .collect();
    if problems.is_empty() {
        let right: u64 = tests
            .iter()
            .flat_map(|test| &test.runs)
            .fold(0, |sum, run| sum.saturating_add(run.counts.right));
        // As in `page`.
        let _ = writeln!(
            out,
            "<p class=\"verdict right\">Passed: {} executions, all of them right.</p>",
            grouped(right as f64)
        );
        return;
    }
    for problem in problems {
        let _ = writeln!(
            out,
            "<p class=\"verdict wrong\">Failed: {}</p>",
            escape(problem)
        );
    }
}

/// A table that can be scrolled where it is too wide; numbers stand to the right.
fn table(out: &mut String, caption: &str, heads: &[String], rows: &[Vec<String>]) {
    // As in `page`.
    let _ = write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table>\n<caption>{caption}</caption>\n<thead><tr>",
        caption = escape(caption)
    );
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(head));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let _ = match i {
                0 => write!(out, "<th scope=\"row\">{}</th>", escape(cell)),
                _ => write!(out, "<td>{}</td>", escape(cell)),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn results(out: &mut String, runs: &[Named<'_>]) {
    out.push_str("<h2>Results</h2>\n");
    let heads = strings(&[
        "run",
        "due a second",
        "right a second",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "CPU each",
        "memory",
    ]);
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|named| speed(&named.name, named.run))
        .collect();
    table(out, "Rates, latency and resources", &heads, &rows);
    out.push_str(
        "<p class=\"note\">In an open loop latency runs from the moment a request was due, which was fixed beforehand; in a closed \
         loop from when it was sent. CPU is that of tester and target; memory is the larger of both.</p>\n",
    );
    let heads = strings(&[
        "run",
        "target",
        "how",
        "seconds",
        "right",
        "wrong",
        "failed",
        "throttled",
        "broken",
        "unanswered",
    ]);
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|named| outcome(&named.name, named.run))
        .collect();
    table(out, "Outcomes", &heads, &rows);
    for named in runs {
        if let Some(check) = &named.run.check {
            let _ = writeln!(
                out,
                "<p class=\"note\">{}: {}</p>",
                escape(&named.name),
                escape(check)
            );
        }
        if let Some(problem) = &named.run.problem {
            let _ = writeln!(
                out,
                "<p class=\"note wrong\">{}: {}</p>",
                escape(&named.name),
                escape(problem)
            );
        }
    }
}

/// The rates that a sweep has tried.
fn rates(out: &mut String, test: &Test) {
    let Some(sweep) = &test.sweep else {
        return;
    };
    let heads = strings(&[
        "due a second",
        "right a second",
        "p50",
        "p99",
        "p99.9",
        "sustained",
    ]);
    let rows: Vec<Vec<String>> = sweep
        .points
        .iter()
        .map(|step| {
            vec![
                grouped(step.due_per_second.round()),
                grouped(step.per_second.round()),
                time(step.p50_ns),
                time(step.p99_ns),
                time(step.p999_ns),
                if step.is_sustained { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    table(out, "Rates that were tried", &heads, &rows);
}

/// How fast a run was, and what that took.
fn speed(name: &str, run: &Run) -> Vec<String> {
    let latency = &run.latency;
    let usage = &run.usage;
    let cpu = (usage.tester_cpu_seconds + usage.target_cpu_seconds) * 1e9;
    vec![
        name.to_owned(),
        match &run.pace {
            Pace::Open { per_second, .. } => grouped(per_second.round()),
            Pace::Closed { .. } => "–".to_owned(),
        },
        grouped(run.per_second.round()),
        time(latency.p50_ns),
        time(latency.p90_ns),
        time(latency.p99_ns),
        time(latency.p999_ns),
        time(latency.max_ns),
        match run.counts.right {
            0 => "–".to_owned(),
            right => time((cpu / right as f64) as u64),
        },
        bytes(usage.tester_rss_bytes.max(usage.target_rss_bytes)),
    ]
}

fn outcome(name: &str, run: &Run) -> Vec<String> {
    let counts = &run.counts;
    let mut row = vec![
        name.to_owned(),
        run.target.clone(),
        match &run.pace {
            Pace::Open { spread, .. } => format!("open loop, {spread}"),
            Pace::Closed { in_flight } => format!("closed loop, {in_flight} under way"),
        },
        format!("{:.1}", run.seconds),
    ];
    let numbers = [
        counts.right,
        counts.wrong,
        counts.failed,
        counts.throttled,
        counts.broken,
        run.unanswered,
    ];
    row.extend(numbers.map(|n| grouped(n as f64)));
    row
}

fn figure(out: &mut String, plot: &Plot) {
    // As in `page`.
    let _ = writeln!(
        out,
        "<figure>\n<h3>{}</h3>\n{}",
        escape(&plot.title),
        plot.svg()
    );
    out.push_str("<ul class=\"legend\">");
    for (line, (colour, dashes)) in plot.lines.iter().zip(STYLES) {
        let _ = write!(
            out,
            "<li><svg class=\"key\" viewBox=\"0 0 32 8\" aria-hidden=\"true\"><path class=\"line\" d=\"M0 4H32\" stroke=\"{colour}\" \
             stroke-dasharray=\"{}\"/></svg>{}</li>",
            if dashes.is_empty() { "none" } else { dashes },
            escape(&line.name)
        );
    }
    let _ = writeln!(
        out,
        "</ul>\n<figcaption>{}</figcaption>",
        escape(&plot.description)
    );
    let (heads, rows) = series::table(plot);
    out.push_str("<details>\n<summary>The figures as a table</summary>\n");
    table(out, &plot.title, &heads, &rows);
    out.push_str("</details>\n</figure>\n");
}

fn cost(out: &mut String, month: &Month) {
    out.push_str("<h2>The same load on AWS</h2>\n");
    let heads = strings(&[
        "run",
        "right a second",
        "executions a month",
        "state transitions",
        "STANDARD",
        "EXPRESS",
    ]);
    let rows: Vec<Vec<String>> = month
        .rows
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                grouped(row.per_second.round()),
                grouped(row.executions as f64),
                grouped(row.transitions as f64),
                row.standard.to_string(),
                row.express
                    .map_or_else(|| "not possible".to_owned(), |amount| amount.to_string()),
            ]
        })
        .collect();
    table(out, "What a month would cost", &heads, &rows);
    out.push_str("<ul class=\"notes\">\n");
    for note in &month.notes {
        // As in `page`.
        let _ = writeln!(out, "<li>{}</li>", escape(note));
    }
    out.push_str("</ul>\n");
}

fn origin(out: &mut String, number: usize, test: &Test, count: usize) {
    let title = match count {
        1 => "The test".to_owned(),
        _ => format!("Test {number}"),
    };
    let machine = &test.machine;
    let processor = match (machine.processor.as_str(), machine.cores) {
        ("", cores) => format!("{cores} processors"),
        (name, cores) => format!("{cores} × {name}"),
    };
    // As in `page`.
    let _ = writeln!(out, "<h2>{title}</h2>\n<dl>");
    for (name, value) in [
        ("Kind", test.kind.clone()),
        ("Started", test.started_at.clone()),
        ("Version", test.version.clone()),
        (
            "Commit",
            test.commit
                .clone()
                .unwrap_or_else(|| "not known".to_owned()),
        ),
        ("Processor", processor),
        (
            "Memory",
            format!(
                "{:.1} GiB",
                machine.memory_bytes as f64 / f64::from(1 << 30)
            ),
        ),
        ("System", machine.system.clone()),
    ] {
        let _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    let command: Vec<String> = test.command.iter().map(|word| quoted(word)).collect();
    let _ = writeln!(
        out,
        "</dl>\n<pre tabindex=\"0\">{}</pre>",
        escape(&command.join(" "))
    );
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A result with two runs, a sweep and names that try to get out of where they are.
    fn result(label: &str) -> Test {
        let times = serde_json::json!({
            "p50_ns": 1_000, "p90_ns": 2_000, "p99_ns": 30_000, "p999_ns": 400_000, "max_ns": 5_000_000,
            "curve": [{"quantile": 0.0, "ns": 900}, {"quantile": 0.5, "ns": 1_000}, {"quantile": 0.999, "ns": 400_000},
                {"quantile": 1.0, "ns": 5_000_000}],
        });
        let row = |at: u32| {
            serde_json::json!({
                "at": at, "seconds": 1.0, "per_second": 1_000.0, "p50_ns": 1_000, "p99_ns": 30_000, "p999_ns": 400_000,
                "max_ns": 5_000_000, "counts": {"right": 1_000, "wrong": 1},
                "usage": {"tester_cpu_seconds": 0.5, "target_cpu_seconds": 0.25, "target_rss_bytes": 1_000_000},
            })
        };
        let run = |label: &str, pace: serde_json::Value| {
            serde_json::json!({
                "label": label, "target": "embedded", "loop": pace, "seconds": 3.0, "per_second": 1_000.0,
                "counts": {"right": 3_000, "wrong": 3}, "latency": times, "naive": times,
                "series": [row(1), row(2), row(3)], "check": null, "problem": "3 outputs were <wrong>",
            })
        };
        let result = serde_json::json!({
            "schema": crate::report::SCHEMA, "kind": "sweep", "command": ["quickstep-loadtest", "sweep", label],
            "problem": label, "commit": null, "something": "new",
            "machine": {"processor": "<P>", "cores": 2},
            "runs": [run("at most", serde_json::json!({"kind": "closed", "in_flight": 64})),
                run(label, serde_json::json!({"kind": "open", "per_second": 1_000.0, "spread": "poisson", "seed": 1}))],
            "sweep": {"closed_loop_per_second": 2_000.0, "saturation_per_second": 1_000.0, "p99_max_ns": 1, "points": [
                {"due_per_second": 500.0, "per_second": 500.0, "p50_ns": 1, "p99_ns": 2, "p999_ns": 3, "is_sustained": true},
                {"due_per_second": 1_000.0, "per_second": 990.0, "p50_ns": 1, "p99_ns": 20, "p999_ns": 30, "is_sustained": true}]},
        });
        Test::parse(&result.to_string()).unwrap()
    }

    const HOSTILE: &str = "</title></svg><script>alert(\"1\")</script>";

    #[test]
    fn a_page_has_everything_and_asks_nobody() {
        let page = page(HOSTILE, &[result("10 %"), result(HOSTILE)], None);
        for absent in [
            "<script", "http://", "https://", "<img", "<link", "url(", "@import", "NaN", "<wrong>",
        ] {
            assert!(!page.contains(absent), "{absent}");
        }
        // Two sweeps and five plots of all runs, each with a table behind it.
        assert_eq!(page.matches("<svg class=\"plot\"").count(), 7);
        assert_eq!(page.matches("<details>").count(), 7);
        for present in [
            "1,000 a second",
            "p99.9",
            "Failed: 10 %",
            "2 × &lt;P&gt;",
            "3 outputs were &lt;wrong&gt;",
            "2. embedded, at most",
        ] {
            assert!(page.contains(present), "{present}");
        }
        let mut ids: Vec<&str> = page
            .split(" id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{ids:?}");
        for element in [
            "table", "tr", "th", "td", "figure", "details", "ul", "li", "div", "p", "h2", "svg",
            "text", "dl", "dd", "pre",
        ] {
            let opened = page.matches(&format!("<{element} ")).count()
                + page.matches(&format!("<{element}>")).count();
            assert_eq!(
                opened,
                page.matches(&format!("</{element}>")).count(),
                "{element}"
            );
        }
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for (text, expected) in [
            ("{", "it is no result"),
            ("[]", "it has no schema"),
            (
                r#"{"schema": "quickstep-loadtest/0"}"#,
                "this version reads",
            ),
            (
                r#"{"schema": "quickstep-loadtest/1"}"#,
                "not as its schema wants it",
            ),
            (
                r#"{"schema": "quickstep-loadtest/1", "kind": "run", "runs": []}"#,
                "it has no runs",
            ),
        ] {
            let error = Test::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn texts_cannot_end_what_they_are_in() {
        assert_eq!(
            escape("<a href='x'>\"&\"\u{1b}\n"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;\u{fffd}\n"
        );
        assert_eq!(
            [quoted("--a=b"), quoted("it's"), quoted("")],
            ["--a=b", r"'it'\''s'", "''"]
        );
    }
}
