"""What AWS recorded (tests/corpus/aws), done by boto3 with a running server.

Usage: conformance_test.py PATH_OF_QUICKSTEP [FILTER]

Every execution is created, started, described and its history compared event by event; every call, transcript and test of a
state is made and its answer compared; logs are read from the server's files. Tasks answer what AWS's history says that
they answered: activities and callbacks by this program as their worker, the others through child processes of the server
(relay.py). `tests/corpus/known-failures-boto3.txt` lists the cases that are expected to fail; one of them that passes
fails the run, and so does an entry that names no case.
"""

import collections
import concurrent.futures
import datetime
import json
import re
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import botocore.exceptions
from boto3_test import Server
from botocore import xform_name

from recorded import TIME, Bindings, compare_histories, details, load, parsed, same, without
from replay import SUCCEEDED, Replay, Replays

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/conformance"
LOG_GROUP = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:"
THREADS = 12
# A case that has not ended by then hangs.
CASE_SECONDS_MAX = 120
# Cases whose task has a second, in which the relay has to be started, too: a busy machine may be late. They have further
# attempts.
TIGHT = ("test_base_task[TIMEOUT_SECONDS]",)
TIGHT_ATTEMPTS = 4
# What the guide's table of log levels has at FATAL, and besides at ERROR, of the types in the recorded logs.
FATALS = ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")
ERRORS = (*FATALS, "FailStateEntered")
DOCUMENTS = ("input", "inputDetails", "output", "outputDetails")


class Failed(Exception):
    """A case does not agree."""


def await_end(sfn, arn, meanwhile=lambda: None):
    """Waits for the end of an execution and returns its description."""
    deadline, pause = time.monotonic() + CASE_SECONDS_MAX, 0.002
    while True:
        described = sfn.describe_execution(executionArn=arn)
        if described["status"] != "RUNNING":
            return described
        if time.monotonic() > deadline:
            raise Failed(f"has not ended after {CASE_SECONDS_MAX} s")
        meanwhile()
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def whole_history(sfn, arn):
    pages = sfn.get_paginator("get_execution_history").paginate(executionArn=arn, PaginationConfig={"PageSize": 1000})
    return [event for page in pages for event in page["events"]]


class Execution:
    """A recorded execution."""

    def __init__(self, group, case, number):
        self.name, self.figure = f"execution/{group} {case['id']}", f"execution/{group}"
        self.group, self.case = group, case
        self.execution = f"case-{number:04}"

    def run(self, world):
        self.adapt()
        for again in range(TIGHT_ATTEMPTS if any(tight in self.name for tight in TIGHT) else 1, 0, -1):
            try:
                return self.once(world)
            except Failed:
                if again == 1:
                    raise
                self.execution += "-again"

    def once(self, world):
        sfn, case = world.sfn, self.case
        machine = {
            "name": self.execution,
            "definition": case["definition_text"],
            "roleArn": ROLE,
            "type": case["type"],
        }
        if self.group == "logs":
            machine["loggingConfiguration"] = self.logging()
        try:
            arn = sfn.create_state_machine(**machine)["stateMachineArn"]
        except botocore.exceptions.ClientError as error:
            raise Failed(f"AWS accepts the definition; ours: {error}") from error
        worker = Worker(sfn, self)
        start = {"stateMachineArn": arn, "name": self.execution, "input": self.input()}
        replay = Replay(case, lambda: len(whole_history(sfn, worker.arn)) if worker.arn else 0)
        world.replays.known[self.execution] = replay
        bindings = Bindings()
        try:
            if case.get("sync"):
                described = sfn.start_sync_execution(**start)
            else:
                worker.start(sfn.start_execution(**start)["executionArn"])
                described = await_end(sfn, worker.arn, worker.work)
                self.compare_history(bindings, whole_history(sfn, worker.arn))
        finally:
            replay.ended.set()
            worker.end()
        self.compare_end(bindings, described)
        if bindings.differences:
            raise Failed("\n    ".join(bindings.differences))

    def adapt(self):
        """Moves a timestamp that was computed from the moment of sending to the present, and gives the activity a name of
        its own."""
        case = self.case
        if "clock" in case["needs"]:
            # Whole seconds, as they were sent.
            found = TIME.search(case["definition_text"]) or TIME.search(case["input_text"])
            at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
            self.replace(found.group(), at.strftime("%Y-%m-%dT%H:%M:%SZ"))
        if "activity" in case["needs"]:
            self.replace("activity-00000001", self.execution)

    def replace(self, old, new):
        self.case = json.loads(json.dumps(self.case).replace(old, new))

    def input(self):
        """The input with the white space that was sent, where the history shows it: the corpus keeps texts of arrays."""
        case = self.case
        text = case.get("input_text", "{}")
        if case.get("history"):
            sent = details(case["history"][0]).get("input")
            if isinstance(sent, str) and same(parsed(sent), parsed(text)):
                return sent
        return text

    def logged(self):
        """Level and data of the logging configuration, which the name ends with: `…_ERROR_True]#0`."""
        level = next((level for level in ("OFF", "FATAL", "ERROR") if f"_{level}_" in self.case["id"]), "ALL")
        return level, "_False]" not in self.case["id"]

    def logging(self):
        level, data = self.logged()
        group = {"logGroupArn": f"{LOG_GROUP}/aws/vendedlogs/states/{self.execution}:*"}
        return {"level": level, "includeExecutionData": data, "destinations": [{"cloudWatchLogsLogGroup": group}]}

    def compare_history(self, bindings, ours):
        recorded = self.case.get("history")
        if not recorded:
            return
        compare_histories(bindings, [comparable(event) for event in recorded], [comparable(event) for event in ours])

    def compare_end(self, bindings, described):
        ours = {name: described[name] for name in ("status", "output", "error", "cause") if name in described}
        if "output" in ours:
            ours["output"] = json.loads(ours["output"])
        if not isinstance(self.case["expect"].get("status"), str):
            raise Failed("the recording has no status: nothing to compare with")
        bindings.compare(self.case["expect"], ours, "expect")
        for name in ("sync_response", "description"):
            if name in self.case:
                recorded, ours = self.case[name], dict(described)
                # What an execution costs in time is another matter, and its name is ours.
                for member in ("billingDetails", "name"):
                    if member in recorded:
                        ours[member] = recorded[member]
                bindings.compare(recorded, ours, name)

    def check_log(self, folder):
        """Holds the lines of the log group against the recorded history in the form of AWS's logs."""
        level, data = self.logged()
        wanted = {"ALL": lambda _: True, "ERROR": ERRORS.__contains__, "FATAL": FATALS.__contains__}
        is_wanted = wanted.get(level, lambda _: False)
        file = folder / f"logs/aws/vendedlogs/states/{self.execution}.ndjson"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        lines.sort(key=lambda line: int(line["id"]))
        bindings, expected = Bindings(), []
        for event in self.case["history"]:
            if is_wanted(event["type"]):
                documents = () if data else DOCUMENTS
                line = {
                    "id": str(event["id"]),
                    "type": event["type"],
                    "details": without(details(event), *documents),
                    "previous_event_id": str(event["previousEventId"]),
                    "redrive_count": "0",
                }
                expected.append(line)
        ours = [without(line, "event_timestamp", "execution_arn") for line in lines]
        bindings.compare(expected, ours, "log")
        for line in lines:
            if not (line["event_timestamp"].isdigit() and line["execution_arn"].endswith(f":{self.execution}")):
                bindings.differences.append(f"not of this execution and moment: {line}")
        if bindings.differences:
            raise Failed("\n    ".join(bindings.differences))


def comparable(event):
    """An event without what a service answered to a request that a worker ends: here there was no service."""
    name = "taskSubmittedEventDetails"
    return {**event, name: without(event[name], "output")} if name in event else event


class Log:
    """The log of an execution that has run; read once the server has ended."""

    def __init__(self, execution):
        self.execution = execution
        self.name, self.figure = execution.name.replace("execution/", "log/", 1), "log"

    def run(self, world):
        self.execution.check_log(world.folder)


class Worker:
    """Does for an execution what others did on AWS: works on its activity, and answers tasks by their tokens."""

    def __init__(self, sfn, execution):
        self.sfn, self.case, self.arn = sfn, execution.case, None
        self.history = execution.case.get("history") or []
        self.answered = 0
        self.thread, self.failure, self.activity = None, None, None
        if "activity" in self.case["needs"]:
            self.activity = sfn.create_activity(name=execution.execution)["activityArn"]

    def start(self, arn):
        self.arn = arn
        if self.activity:
            self.thread = threading.Thread(target=self.act, daemon=True)
            self.thread.start()

    def end(self):
        if self.thread:
            self.thread.join(timeout=CASE_SECONDS_MAX)
        if self.failure:
            raise self.failure

    def act(self):
        """Takes the task of the activity and ends it as the recorded worker did."""
        try:
            started = next(event for event in self.history if event["type"] == "ActivityStarted")
            named = details(started)
            task = self.sfn.get_activity_task(activityArn=self.activity, **named)
            given = next(event for event in self.history if event["type"] == "ActivityScheduled")
            if not same(json.loads(task["input"]), details(given)["input"]):
                raise Failed(f"the worker is given {task['input']}")
            if "heartbeatInSeconds" in details(given):
                self.sfn.send_task_heartbeat(taskToken=task["taskToken"])
            self.tell(task["taskToken"], ("ActivitySucceeded", "ActivityFailed"), 0)
        except Exception as failure:
            self.failure = failure

    def work(self):
        """Answers a task that waits for its token."""
        events = whole_history(self.sfn, self.arn) if "callback" in self.case["needs"] else []
        scheduled = [event for event in events if event["type"] == "TaskScheduled"]
        if events and events[-1]["type"] == "TaskSubmitted" and len(scheduled) > self.answered:
            parameters = details(scheduled[-1])["parameters"]
            token = re.search(r'"TaskToken":"([^"]+)"', parameters)
            if token:
                self.tell(token.group(1), ("TaskSucceeded", "TaskFailed"), self.answered)
            self.answered += 1

    def tell(self, token, types, number):
        """Ends a task as the recorded one with that number ended; not at all if it ran into its timeout."""
        ends = [event for event in self.history if event["type"] in types]
        if number >= len(ends):
            return
        told = details(ends[number])
        text = lambda value: value if isinstance(value, str) else json.dumps(value)
        if ends[number]["type"] in SUCCEEDED:
            self.sfn.send_task_success(taskToken=token, output=text(told["output"]))
        else:
            more = {name: text(told[name]) for name in ("error", "cause") if name in told}
            self.sfn.send_task_failure(taskToken=token, **more)


class Calls:
    """A recorded call or sequence of calls, on a server of its own."""

    def __init__(self, kind, case, steps, leading):
        self.name, self.figure = f"{kind}/{case['id']}", kind
        self.case, self.steps = case, steps
        # Steps whose answers are not compared: those of the transcript that leads to the call.
        self.leading = leading

    def run(self, world):
        calls_function = self.case["needs"] == ["lambda"]
        if self.case["kind"] == "test_state" and not calls_function:
            self.run_on(world.sfn)
            return
        with tempfile.TemporaryDirectory() as folder:
            arguments = self.function(Path(folder)) if calls_function else []
            with Server(world.binary, "--account", ACCOUNT, *arguments) as server:
                failure = attempt(lambda: self.run_on(world.client(server)))
        # Outside, as a server that is left by an exception shows its log.
        if failure:
            raise Failed(failure)

    def function(self, folder):
        """Stands in for the function that AWS called: its answer is all of the state's output."""
        tasks = folder / "tasks.json"
        tasks.write_text(json.dumps({"tasks": {"*": {"result": self.case["expect"]["output"]}}}))
        return ["--tasks", str(tasks)]

    def run_on(self, sfn):
        answers, bindings = [], Bindings()
        for i, (operation, params, expect) in enumerate(self.steps):
            params = filled(params, answers)
            restore(params, answers)
            if operation == "CreateStateMachine":
                params.setdefault("roleArn", ROLE)
            if "executionArn" in params:
                await_known(sfn, params["executionArn"])
            at = f"{i} {operation}"
            try:
                answer = getattr(sfn, xform_name(operation))(**params)
            except botocore.exceptions.ParamValidationError as error:
                answer = {}
                if not isinstance(expect, str):
                    bindings.differences.append(f"{at}: botocore refuses {error}")
            except botocore.exceptions.ClientError as error:
                answer = {}
                if i >= self.leading and expect is not None:
                    compare_refusal(bindings, expect, error.response["Error"], at)
            else:
                if isinstance(expect, str):
                    bindings.differences.append(f"{at}: botocore refused on AWS; ours: {answer}")
                elif i >= self.leading and expect is not None:
                    if operation == "TestState" and isinstance(parsed(answer.get("output", "")), str):
                        # A text that is a text in JSON was recorded without its quotes, in this member alone.
                        answer["output"] = json.loads(answer["output"])
                    bindings.compare(expect, answer, at)
            answers.append(answer)
        if bindings.differences:
            raise Failed("\n    ".join(bindings.differences))


def compare_refusal(bindings, expect, error, at):
    recorded = expect.get("exception") if isinstance(expect, dict) else None
    if recorded is None:
        bindings.differences.append(f"{at}: AWS: {expect}; ours: {error}")
        return
    message = recorded.get("message") or ""
    # Texts that stand for the ARN that was asked for, without brackets.
    for name in ("invalid_execution_arn", "ssm_nonexistent_arn", "sm_nonexistent_arn", "activity_arn"):
        message = re.sub(rf"\b{name}\b", f"<{name}>", message)
    message = message.replace("[state_machine_alias_name]", "[<state_machine_alias_name>]")
    ours = {"code": error["Code"], "message": error["Message"]}
    bindings.compare({"code": recorded["code"], "message": message}, ours, at)


def await_known(sfn, arn):
    """Waits for an execution that is about to end; one that is not known or waits for somebody is left alone."""
    for _ in range(500):
        try:
            if sfn.describe_execution(executionArn=arn)["status"] != "RUNNING":
                return
            last = sfn.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=1)["events"]
        except botocore.exceptions.ClientError:
            return
        if last[0]["type"] == "TaskSubmitted":
            return
        time.sleep(0.002)


def filled(value, answers):
    """Fills in `{{3.stateMachineArn}}`: that member of the answer of step 3, or of the last one before that has it."""
    if isinstance(value, dict):
        return {name: filled(member, answers) for name, member in value.items()}
    if isinstance(value, list):
        return [filled(item, answers) for item in value]
    reference = re.fullmatch(r"\{\{(\d+)\.(\w+)\}\}", value) if isinstance(value, str) else None
    if not reference:
        return value
    step, member = int(reference.group(1)), reference.group(2)
    return next((answer[member] for answer in reversed(answers[: step + 1]) if member in answer), None)


def restore(params, answers):
    """Puts back what the publisher took out of the parameters: the token of the page before, the ARN of a log group."""
    if "nextToken" in params and params["nextToken"] is None:
        params["nextToken"] = answers[-1].get("nextToken")
    for destination in (params.get("loggingConfiguration") or {}).get("destinations") or []:
        destination["cloudWatchLogsLogGroup"]["logGroupArn"] = f"{LOG_GROUP}log_group_name:*"


def params_of(case):
    """The parameters of a call, with what the corpus keeps beside them."""
    params = json.loads(json.dumps(case["params"]))
    for name in ("definition", "input"):
        if case.get(name + "_text") is not None:
            params[name] = case[name + "_text"]
    return params


def steps_of(transcript):
    return [(step["op"], step["params"], step.get("expect")) for step in transcript["steps"]]


def calls(case, transcripts):
    """A case of calls. A single one is led to by the steps before the same refusal in the transcript of the same test."""
    kind = case["kind"]
    if kind == "transcript":
        return Calls(kind, case, steps_of(case), 0)
    operation = case["op"]
    expect, leading = case["expect"], []
    transcript = transcripts.get(case["id"].split("#")[0] + "#api") if kind == "call" else None
    if transcript:
        code = lambda answer: ((answer if isinstance(answer, dict) else {}).get("exception") or {}).get("code")
        steps = steps_of(transcript)
        alike = (i for i, (op, _, said) in enumerate(steps) if op == operation and code(said) == code(expect))
        leading = steps[: next(alike, 0)]
    return Calls(kind, case, [*leading, (operation, params_of(case), expect)], len(leading))


class World:
    """What all cases share: a server with its tasks, its client, and a folder."""

    def __init__(self, binary, folder, resources):
        self.binary, self.folder, self.lock = binary, folder, threading.Lock()
        self.replays = Replays()
        relay = [sys.executable, "-B", "-S", "-E", str(Path(__file__).with_name("relay.py")), str(self.replays.port)]
        tasks = folder / "tasks.json"
        answers = {resource: {"exec": relay, "processes": 8} for resource in resources}
        tasks.write_text(json.dumps({"tasks": answers}))
        self.arguments = ["--account", ACCOUNT, "--tasks", str(tasks), "--data-dir", str(folder), "--express-history", "1000"]
        self.server = Server(binary, *self.arguments)
        self.sfn = self.client(self.server)

    def client(self, server):
        # boto3's default session makes clients one at a time.
        with self.lock:
            return server.client(max_pool_connections=THREADS * 2)


def resources(cases):
    """What the Tasks of executions call, without what their clients do themselves."""
    found = set()
    for case in cases:
        if case["kind"] == "execution":
            found.update(re.findall(r'"Resource":\s*"([^"]+)"', case["definition_text"]))
    return sorted(name for name in found if ":activity:" not in name and not name.endswith(".waitForTaskToken"))


def attempt(run):
    """Why it fails; nothing if it passes."""
    try:
        run()
    except Failed as failure:
        return str(failure)
    except Exception:
        return traceback.format_exc(limit=4)
    return None


def known_failures(file):
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    known = dict(line.split("\t", 1) for line in lines)
    assert len(known) == len(lines), "an entry is there twice"
    return known


def judge(results, known):
    """Prints figures, and what fails; true if all is as it should be."""
    groups = collections.defaultdict(lambda: [0, 0, 0])
    problems = []
    for name, (figure, failure) in results.items():
        group = groups[figure]
        group[0] += failure is None
        group[1] += 1
        if failure is not None and name in known:
            group[2] += 1
        elif failure is not None:
            problems.append(f"{name}\n    {failure}")
        elif name in known:
            problems.append(f"{name}\n    passes, though {KNOWN.name} lists it")
    for name, (passed, applying, expected) in sorted(groups.items()):
        print(f"{name}: {passed} of {applying} agree, {expected} known failures")
    for name, reason in known.items():
        if name in results and results[name][1] is not None:
            print(f"known failure: {name}: {reason}")
    for problem in problems:
        print(f"FAILED: {problem}")
    return not problems


KNOWN = CORPUS / "known-failures-boto3.txt"


def main():
    binary = str(Path(sys.argv[1]).resolve())
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    files = {file.stem: load(file) for file in sorted((CORPUS / "aws").glob("*.json"))}
    every = [(group, case) for group, cases in files.items() for case in cases]
    transcripts = {case["id"]: case for _, case in every if case["kind"] == "transcript"}
    cases = []
    for number, (group, case) in enumerate(every):
        made = Execution(group, case, number) if case["kind"] == "execution" else calls(case, transcripts)
        cases.append(made)
    logs = [Log(case) for case in cases if isinstance(case, Execution) and case.group == "logs"]
    known = known_failures(KNOWN)
    unknown = known.keys() - {case.name for case in [*cases, *logs]}
    assert not unknown, f"{KNOWN.name} names no case: {unknown}"
    cases = [case for case in cases if wanted in case.name]
    logs = [log for log in logs if log.execution in cases]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        world = World(binary, Path(folder), resources([case for _, case in every]))
        with world.server, concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
            # Those that wait come first.
            cases.sort(key=lambda case: "time" not in case.case["needs"])
            failures = list(pool.map(lambda case: attempt(lambda: case.run(world)), cases))
        results = {case.name: (case.figure, failure) for case, failure in zip(cases, failures)}
        # The server has written all lines by its end.
        results.update({log.name: (log.figure, attempt(lambda: log.run(world))) for log in logs})
        assert len(results) == len(cases) + len(logs), "two cases have the same name"
    good = judge(results, known)
    print(f"{len(results)} cases in {time.monotonic() - began:.0f} s")
    sys.exit(not good)


if __name__ == "__main__":
    main()
