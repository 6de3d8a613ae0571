#!/usr/bin/env python3
"""Loads a server, has Debian's Prometheus scrape it, and asks Prometheus what was done.

    prometheus_test.py QUICKSTEP QUICKSTEP_LOADTEST

Counts have to be those of the load tester's ledger, to the one; durations have to be in the range of the histogram that the
tester has measured, or the one beside it. The rules and every expression of the dashboard are checked as well.
"""

import bisect
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "loadtest" / "prometheus"
PATIENCE = 90  # seconds; only a failure takes that long

WAITS = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "End": True}}}
FAILS = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Test.Failed", "Cause": "it has to"}}}
QUOTE = "arn:aws:lambda:us-east-1:000000000000:function:quote"
CALLS = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": QUOTE, "End": True}}}


def until(what, attempt):
    """What `attempt` gives, once it gives something."""
    end = time.monotonic() + PATIENCE
    while True:
        found = attempt()
        if found:
            return found
        assert time.monotonic() < end, f"in {PATIENCE} s there was no {what}"
        time.sleep(0.1)


def listening(process, pattern):
    """The address that a process says on its standard error, which is read to its end."""
    found, said = threading.Event(), []

    def read():
        for line in process.stderr:
            said.append(line)
            if re.search(pattern, line):
                found.set()
        found.set()

    threading.Thread(target=read, daemon=True).start()
    assert found.wait(PATIENCE), "".join(said)
    for line in said:
        match = re.search(pattern, line)
        if match:
            return match.group(1)
    raise AssertionError("".join(said))


class Api:
    def __init__(self, url):
        self.url = url

    def call(self, operation, params):
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AWSStepFunctions.{operation}"}
        request = urllib.request.Request(self.url, json.dumps(params).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def create(self, name, definition):
        role = "arn:aws:iam::123456789012:role/any"
        params = {"name": name, "definition": json.dumps(definition), "roleArn": role, "type": "EXPRESS"}
        return self.call("CreateStateMachine", params)["stateMachineArn"]


class Prometheus:
    def __init__(self, url):
        self.url = url

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=PATIENCE) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    def get(self, path, **params):
        query = urllib.parse.urlencode(params)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{params}: {error.read().decode()}") from error

    def value(self, expression):
        result = self.get("/api/v1/query", query=expression)["result"]
        assert len(result) <= 1, (expression, result)
        return float(result[0]["value"][1]) if result else None


def check_files():
    subprocess.run(["promtool", "check", "config", str(HERE / "prometheus.yml")], check=True)
    subprocess.run(["promtool", "test", "rules", str(HERE / "rules.test.yml")], check=True)


def check_dashboard(prometheus):
    """Every expression is one that Prometheus understands."""
    dashboard = json.loads((HERE / "dashboard.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 15
    for expression in expressions:
        for variable, value in {"$__rate_interval": "1m", "$job": "quickstep", "$state_machine": ".*"}.items():
            expression = expression.replace(variable, value)
        assert "$" not in expression, expression
        prometheus.get("/api/v1/query", query=expression)
    names = {name for expression in expressions for name in re.findall(r"quickstep_[a-z_]+", expression)}
    return {re.sub(r"_bucket$", "", name) for name in names}


def load(binary, directory, url, machine, name, expected_exit, *arguments):
    events = directory / "events.ndjson"
    events.write_text("".join(f'{{"n":{i}}}\n' for i in range(64)), encoding="utf-8")
    report = directory / f"{name}.json"
    command = [binary, "run", "--target", f"{url},connections=150", "--machine", machine, "--events", str(events)]
    command += ["--warm-up", "500ms", "--duration", "3s", "--drain", "60s", "--json", str(report), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE)
    assert done.returncode == expected_exit, done.stdout + done.stderr
    run = json.loads(report.read_text(encoding="utf-8"))["runs"][0]
    assert run["unanswered"] == run["unsent"] == 0, run
    counts = {key: run["counts"][key] + run["warm_up_counts"][key] for key in run["counts"]}
    return counts, run


def test(quickstep, loadtest, directory):
    serve = [quickstep, "serve", "--addr", "127.0.0.1:0", "--tasks", str(ROOT / "benches/data/tasks.json")]
    server = subprocess.Popen(serve, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    scraper = None
    try:
        url = listening(server, r"API on (http://\S+)")
        config = (HERE / "prometheus.yml").read_text(encoding="utf-8")
        config = config.replace("127.0.0.1:8083", url.removeprefix("http://")).replace("15s", "1s")
        (directory / "prometheus.yml").write_text(config, encoding="utf-8")
        shutil.copy(HERE / "rules.yml", directory)
        rules = (HERE / "rules.yml").read_text(encoding="utf-8")
        scraper = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data"]
            + ["--web.listen-address=127.0.0.1:0", "--log.level=info"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )
        # It says the port that the system has chosen.
        prometheus = Prometheus("http://" + listening(scraper, r"Listening on\" address=(\S+)"))
        until("readiness", prometheus.is_ready)
        until("scrape", lambda: prometheus.value('up{job="quickstep"}') == 1)
        check_counts(Api(url), prometheus, loadtest, directory, url)
        # Tasks have figures once there are tasks.
        calls = {"stateMachineArn": Api(url).create("calls", CALLS)}
        assert Api(url).call("StartSyncExecution", calls)["status"] == "SUCCEEDED"
        known = set(re.findall(r"^# TYPE (\S+)", urllib.request.urlopen(url + "/metrics").read().decode(), re.M))
        # Those of the journal are there once there is one; the rules' own names have colons.
        used = check_dashboard(prometheus) | set(re.findall(r"(?<![:\w])quickstep_[a-z_]+?(?=_bucket|[^a-z_:]|$)", rules))
        of_the_log_and_journal = re.compile(r"quickstep_(log|journal)_")
        unknown = {name for name in used - known if not of_the_log_and_journal.match(name)}
        assert not unknown, unknown
    finally:
        for process in (scraper, server):
            if process:
                process.terminate()
                process.wait(PATIENCE)


def check_counts(api, prometheus, loadtest, directory, url):
    waits, fails = api.create("waits", WAITS), api.create("fails", FAILS)
    rate = ["--rate", "60", "--arrivals", "poisson", "--expect"]
    good, run = load(loadtest, directory, url, waits, "waits", 0, *rate, str(directory / "events.ndjson"))
    assert good["right"] == good["sent"] > 100, good
    bad, _ = load(loadtest, directory, url, fails, "fails", 1, *rate, "none")
    assert bad["failed"] == bad["sent"] > 100, bad

    def settled(expression, wanted):
        """Prometheus has it after a scrape; that it never has more is seen by asking once more after another one."""
        until(f"{wanted} of {expression}", lambda: prometheus.value(expression) == wanted)

    settled('sum(quickstep_executions_finished_total{state_machine="waits",status="SUCCEEDED"})', good["sent"])
    settled('sum(quickstep_executions_finished_total{state_machine="fails",status="FAILED"})', bad["sent"])
    both = good["sent"] + bad["sent"]
    settled('sum(quickstep_api_requests_total{api="StartSyncExecution",status="200"})', both)
    scrapes = prometheus.value('count_over_time(up{job="quickstep"}[1h])')
    until("two scrapes", lambda: prometheus.value('count_over_time(up{job="quickstep"}[1h])') >= scrapes + 2)
    for expression, wanted in {
        'sum(quickstep_executions_started_total{state_machine="waits"})': good["sent"],
        'sum(quickstep_executions_finished_total{state_machine="waits"})': good["sent"],
        'sum(quickstep_execution_duration_seconds_count{state_machine="waits"})': good["sent"],
        'sum(quickstep_executions_finished_total{state_machine="fails"})': bad["sent"],
        'sum(quickstep_api_requests_total{api="StartSyncExecution"})': both,
        'sum(quickstep_state_transitions_total{state_machine="waits",state_type="Wait"})': good["sent"],
        "sum(quickstep_executions_running)": 0,
    }.items():
        assert prometheus.value(expression) == wanted, (expression, prometheus.value(expression), wanted)

    # The median, by the server's ranges and by the tester's clock.
    buckets = prometheus.get(
        "/api/v1/query", query='sum by (le) (quickstep_execution_duration_seconds_bucket{state_machine="waits"})'
    )["result"]
    ranges = sorted((float(bucket["metric"]["le"]), float(bucket["value"][1])) for bucket in buckets)
    bounds = [bound for bound, _ in ranges]
    own = next(i for i, (_, count) in enumerate(ranges) if count >= good["sent"] / 2)
    measured = bisect.bisect_left(bounds, run["naive"]["p50_ns"] / 1e9)
    assert abs(own - measured) <= 1, (ranges, run["naive"]["p50_ns"])
    assert ranges[bisect.bisect_left(bounds, 1.0) - 1][1] == 0, f"none took less than a second: {ranges}"

    def fires():
        alerts = prometheus.get("/api/v1/alerts")["alerts"]
        return any(
            alert["labels"]["alertname"] == "QuickstepExecutionsFailed"
            and alert["labels"]["state_machine"] == "fails"
            and alert["state"] == "firing"
            for alert in alerts
        )

    until("alert", fires)
    print(f"{good['sent']} that succeeded and {bad['sent']} that failed: Prometheus has counted the same")


def main():
    quickstep, loadtest = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
    check_files()
    with tempfile.TemporaryDirectory() as directory:
        test(quickstep, loadtest, pathlib.Path(directory))


if __name__ == "__main__":
    main()
