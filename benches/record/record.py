#!/usr/bin/env python3
"""Records what quickstep does on a machine, and tells of it.

  record.py run       runs the list of load tests below and writes benches/record/DATE.json
  record.py compare   two records, row by row
  record.py readme    writes the newest record as the README's table; with --check, says whether it is there

Nothing is typed into the README by hand: its table stands between two marks, and scripts/test compares it with the newest
record. A run that is interrupted goes on with the rows that are missing when it is started again.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = "quickstep-record/1"
RESULT_SCHEMA = "quickstep-loadtest/1"
BEGIN = "<!-- record: begin; written by benches/record/record.py readme -->"
END = "<!-- record: end -->"
# The table while there is no record.
NONE = "No record of this version has been made yet: `python3 benches/record/record.py run` makes one."

# Name of a workflow: its definition, its events, its tasks.
DATA = "benches/data"
WORKFLOWS = {
    "hello": ("hello.asl.json", "hello.ndjson", None),
    "order": ("order.asl.json", "order.ndjson", "tasks.json"),
    "fanout": ("fanout.asl.json", "fanout.ndjson", None),
}

# Requests under way in closed loops.
EMBEDDED_UNDER_WAY = 256
DURABLE_UNDER_WAY = 8192
HTTP_UNDER_WAY = 64
INGEST_UNDER_WAY = 4096


class Trouble(Exception):
    """The record cannot be made, or not be read; says why."""


class Row:
    """A load test: what it is called, and the arguments of the tester."""

    def __init__(self, name, workflow, target, under_way=None, threads=1, half_of=None):
        self.name = name
        self.workflow = workflow
        self.target = target
        self.under_way = under_way
        self.threads = threads
        # The row whose rate an open loop takes half of.
        self.half_of = half_of


def rows():
    """The list."""
    found = []
    for workflow in WORKFLOWS:
        for threads in (1, 2):
            name = f"{workflow}, embedded, in memory, {threads} core{'s' * (threads > 1)}"
            found.append(Row(name, workflow, "embedded", EMBEDDED_UNDER_WAY, threads))
    for level in ("ERROR", "ALL"):
        found.append(
            Row(f"order, embedded, log {level}, 1 core", "order", f"embedded,log={level}", EMBEDDED_UNDER_WAY)
        )
    for workers in (1, 2):
        name = f"order, embedded, durable, {workers} worker{'s' * (workers > 1)}"
        target = f"embedded,mode=async,workers={workers},durable=DIR"
        found.append(Row(name, "order", target, DURABLE_UNDER_WAY))
    for workflow in WORKFLOWS:
        found.append(Row(f"{workflow}, HTTP, sync", workflow, "serve:BINARY,mode=sync,connections=16", HTTP_UNDER_WAY))
    found.append(
        Row("order, HTTP, sync, at half that rate", "order", "serve:BINARY,mode=sync,connections=16",
            half_of="order, HTTP, sync")
    )
    for workflow in ("hello", "order"):
        found.append(Row(f"{workflow}, HTTP, async", workflow, "serve:BINARY,mode=async,connections=16", HTTP_UNDER_WAY))
    for workflow in ("hello", "order"):
        found.append(Row(f"{workflow}, HTTP, lines", workflow, "serve:BINARY,mode=ingest,connections=2", INGEST_UNDER_WAY))
    return found


def arguments(row, seconds, binary, directory, rate=None):
    """The tester's arguments for a row; `directory` is a place for its journal."""
    definition, events, tasks = WORKFLOWS[row.workflow]
    target = row.target.replace("BINARY", binary).replace("DIR", directory)
    found = ["run", "--target", target, "--definition", f"{DATA}/{definition}", "--events", f"{DATA}/{events}"]
    if tasks is not None:
        found += ["--tasks", f"{DATA}/{tasks}"]
    if row.half_of is None:
        found += ["--in-flight", str(row.under_way)]
    else:
        found += ["--rate", str(rate), "--arrivals", "poisson"]
    found += ["--threads", str(row.threads), "--duration", f"{seconds}s", "--warm-up", "1s", "--quiet"]
    return found


def read(path):
    """A record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Trouble(f"{path}: {error}") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise Trouble(f"{path} is no record: its schema is not {SCHEMA}")
    return record


def write(path, record):
    """All of a record or nothing: it may be interrupted."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def measured(result):
    """What is kept of a result of the tester."""
    if result.get("schema") != RESULT_SCHEMA:
        raise Trouble(f"the tester's schema is {result.get('schema')}, not {RESULT_SCHEMA}")
    run = result["runs"][-1]
    usage, latency, right = run["usage"], run["latency"], run["counts"]["right"]
    cpu = usage["tester_cpu_seconds"] + usage["target_cpu_seconds"]
    kept = {
        "per_second": round(run["per_second"], 1),
        "right": right,
        "cpu_ns_each": round(cpu * 1e9 / right) if right else None,
        "rss_bytes": usage["target_rss_bytes"] or usage["tester_rss_bytes"],
        "steal_seconds": round(usage["steal_seconds"], 2),
        "problem": result["problem"],
    }
    for name in ("p50", "p90", "p99", "p999", "max"):
        kept[f"{name}_ns"] = latency[f"{name}_ns"]
    return kept


def is_changed(status):
    """Whether `git status --porcelain` tells of a change to something else than records and the README's table."""
    names = [line[3:] for line in status.splitlines()]
    return any(not name.startswith("benches/record/") and name != "README.md" for name in names)


def commit():
    """The commit of the tree, with -dirty if something of it has changed."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    try:
        status = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD").strip() + "-dirty" * is_changed(status)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Trouble(f"git does not tell which commit this is: {error}") from error


def run_row(row, options, done):
    """Runs one load test."""
    rate = None
    if row.half_of is not None:
        whole = next((other for other in done if other["name"] == row.half_of), None)
        if whole is None or not whole["per_second"]:
            raise Trouble(f"`{row.name}` wants the rate of `{row.half_of}`, which is not in the record")
        rate = round(whole["per_second"] / 2)
    options.scratch.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        result = scratch / "result.json"
        shown = arguments(row, options.seconds, options.binary, "DIR", rate)
        words = arguments(row, options.seconds, options.binary, str(scratch / "journal"), rate)
        words = [options.loadtest, *words, "--json", str(result)]
        # Rows are short; whatever takes so long has gone wrong.
        ran = subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                             timeout=options.seconds + 120, check=False)
        # With 1 it has a result, but something was wrong.
        if ran.returncode not in (0, 1) or not result.exists():
            raise Trouble(f"`{row.name}` cannot be done: {ran.stderr.strip()}")
        result = json.loads(result.read_text(encoding="utf-8"))
        return result, {"name": row.name, "arguments": shown, **measured(result)}
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"`{row.name}` does not end") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def run(options):
    """Makes a record, or what is missing of it."""
    here = commit()
    path = options.output or ROOT / "benches" / "record" / f"{datetime.date.today()}.json"
    flags = {"seconds": options.seconds, "cargo": options.flags}
    fresh = {"schema": SCHEMA, "date": str(datetime.date.today()), "commit": here, "flags": flags, "machine": None, "rows": []}
    record = read(path) if path.exists() and not options.fresh else fresh
    if (record["commit"], record["flags"]) != (here, flags):
        raise Trouble(f"{path} is of commit {record['commit']} and {record['flags']}; --fresh begins anew, --output takes "
                      "another file")
    wanted = [row for row in rows() if all(word in row.name for word in options.only)]
    if not wanted:
        raise Trouble(f"no row has {' and '.join(options.only)} in its name")
    order = {row.name: place for place, row in enumerate(rows())}
    for row in wanted:
        if not options.again and any(done["name"] == row.name for done in record["rows"]):
            continue
        result, found = run_row(row, options, record["rows"])
        record["machine"] = result["machine"]
        kept = [done for done in record["rows"] if done["name"] != row.name]
        record["rows"] = sorted([*kept, found], key=lambda done: order.get(done["name"], len(order)))
        write(path, record)
        problem = f"  PROBLEM: {found['problem']}" if found["problem"] else ""
        print(f"{row.name:<44}{found['per_second']:>14,.0f}/s  p99 {time(found['p99_ns']):>8}{problem}", flush=True)
    problems = [done["name"] for done in record["rows"] if done["problem"]]
    if problems:
        raise Trouble(f"something was wrong in: {'; '.join(problems)}")
    print(path)


def time(nanos):
    """A time of three digits."""
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        value = nanos / size
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "ns" or value >= 99.95 else f"{value:.{1 if value >= 9.995 else 2}f} {unit}"
    return f"{nanos / 1e9:.2f} s"


def ratio(new, old):
    """How many times as much."""
    return new / old if new is not None and old else None


def compare(options):
    """Two records, row by row."""
    old, new = read(options.old), read(options.new)
    for record in (old, new):
        print(f"{record['date']}  {record['commit']}  {machine(record)}")
    if old["machine"] != new["machine"]:
        print("They are of different machines: rates say little.")
    print(f"\n{'':<44}{'a second':>12}{'':>12}{'ratio':>8}{'p99':>8}{'CPU':>8}")
    before = {row["name"]: row for row in old["rows"]}
    slower = []
    for row in new["rows"]:
        other = before.pop(row["name"], None)
        if other is None:
            print(f"{row['name']:<44}{'–':>12}{row['per_second']:>12,.0f}   new")
            continue
        ratios = [ratio(row[name], other[name]) for name in ("per_second", "p99_ns", "cpu_ns_each")]
        shown = "".join(f"{'–' if value is None else format(value, '.2f'):>8}" for value in ratios)
        print(f"{row['name']:<44}{other['per_second']:>12,.0f}{row['per_second']:>12,.0f}{shown}")
        if ratios[0] is not None and ratios[0] < 1 - options.within / 100:
            slower.append(row["name"])
    for name, row in before.items():
        print(f"{name:<44}{row['per_second']:>12,.0f}{'–':>12}   gone")
    if slower:
        raise Trouble(f"slower by more than {options.within} %: {'; '.join(slower)}")


def machine(record):
    """The machine in words."""
    found = record["machine"] or {}
    return f"{found.get('cores', '?')} × {found.get('processor') or 'an unknown processor'}, {found.get('system', '')}"


def table(record):
    """The README's table."""
    lines = [
        "| | executions a second | p50 | p99 | CPU time each |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        if row["problem"]:
            raise Trouble(f"`{row['name']}` had a problem: {row['problem']}")
        cpu = "–" if row["cpu_ns_each"] is None else time(row["cpu_ns_each"])
        lines.append(
            f"| {row['name']} | {row['per_second']:,.0f} | {time(row['p50_ns'])} | {time(row['p99_ns'])} | {cpu} |"
        )
    lines += [
        "",
        f"Recorded on {record['date']} at commit {record['commit']} on {machine(record)}; "
        f"{record['flags']['seconds']} s each, {record['flags']['cargo']}. Every output was compared with the expected one. CPU "
        "time is that of tester and server together.",
    ]
    return "\n".join(lines)


def newest():
    """The newest record, if there is any."""
    found = sorted(path for path in (ROOT / "benches" / "record").glob("[0-9]*.json"))
    return read(found[-1]) if found else None


def readme(options):
    """Writes the table between its marks, or checks that it is there."""
    path = ROOT / "README.md" if options.file is None else options.file
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise Trouble(f"{path} has not the two marks, once each and in order:\n{BEGIN}\n{END}")
    record = newest() if options.record is None else read(options.record)
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    wanted = f"{before}{BEGIN}\n{NONE if record is None else table(record)}\n{END}{after}"
    if options.check and wanted != text:
        raise Trouble(f"the table of {path.name} is not that of the newest record: benches/record/record.py readme writes it")
    if not options.check:
        path.write_text(wanted, encoding="utf-8")


def parse(words):
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="make a record, or the rows of it that are missing")
    command.add_argument("--binary", default="target/release/quickstep", help="the server (%(default)s)")
    command.add_argument("--loadtest", default="target/release/quickstep-loadtest", help="the tester (%(default)s)")
    command.add_argument("--seconds", type=int, default=4, help="how long a row is measured (%(default)s)")
    command.add_argument("--only", action="append", default=[], metavar="WORD", help="only rows with this in their name; all of them")
    command.add_argument("--again", action="store_true", help="also rows that are there already")
    command.add_argument("--fresh", action="store_true", help="forget what the file has")
    command.add_argument("--output", type=pathlib.Path, metavar="FILE", help="the record (benches/record/DATE.json)")
    command.add_argument("--scratch", type=pathlib.Path, default=ROOT / "target" / "record",
                         help="where journals are: on the disk that is to be measured (target/record)")
    command.add_argument("--flags", default="cargo build --release", help="how the programs were built (%(default)s)")
    command.set_defaults(do=run)
    command = commands.add_parser("compare", help="two records, row by row")
    command.add_argument("old", type=pathlib.Path)
    command.add_argument("new", type=pathlib.Path)
    command.add_argument("--within", type=float, default=10, help="exit with 1 if a row is slower by more per cent (%(default)s)")
    command.set_defaults(do=compare)
    command = commands.add_parser("readme", help="write the newest record as the README's table")
    command.add_argument("--check", action="store_true", help="write nothing; exit with 1 if it is not there")
    command.add_argument("--record", type=pathlib.Path, help="another record than the newest")
    command.add_argument("--file", type=pathlib.Path, help="another file than README.md")
    command.set_defaults(do=readme)
    return parser.parse_args(words)


def main(words):
    """Returns the exit code."""
    options = parse(words)
    try:
        options.do(options)
        return 0
    except Trouble as trouble:
        print(f"record.py: {trouble}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
