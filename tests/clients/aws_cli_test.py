"""The server through the AWS CLI, with the settings that `quickstep serve` prints: each of the 37 operations once.

Usage: aws_cli_test.py PATH_OF_QUICKSTEP PATH_OF_AWS
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from boto3_test import CREDENTIALS, PASS, ROLE, Server

TASK = {"Type": "Task", "Resource": "ACTIVITY", "End": True}
LOGGING = {
    "level": "ERROR",
    "destinations": [
        {"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vendedlogs/cli:*"}}
    ],
}


class Cli:
    """The CLI with what the server has printed, and nothing else in its environment."""

    def __init__(self, program, server, home, **more):
        self.program = program
        self.environment = {"PATH": os.environ["PATH"], "HOME": home, **server.environment(), **more}
        self.used = set()

    def run(self, operation, **arguments):
        self.used.add(operation)
        words = []
        for name, value in arguments.items():
            words.append("--" + name.replace("_", "-"))
            if isinstance(value, list):
                words.extend(value)
            elif value is not None:
                words.append(value if isinstance(value, str) else json.dumps(value))
        command = [self.program, "stepfunctions", operation, *words, "--output", "json"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)

    def __call__(self, operation, **arguments):
        done = self.run(operation, **arguments)
        assert done.returncode == 0, (operation, arguments, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def refused(self, code, operation, **arguments):
        done = self.run(operation, **arguments)
        assert done.returncode != 0 and f"({code})" in done.stderr, (operation, arguments, done)

    def operations(self):
        """All that it knows, from its own help."""
        environment = {**self.environment, "PAGER": "cat", "AWS_PAGER": ""}
        done = subprocess.run([self.program, "stepfunctions", "help"], env=environment, **TEXT)
        found = set(re.findall(r"^\s+[*o+] ([a-z]+(?:-[a-z]+)+)\s*$", re.sub(r".\x08", "", done.stdout), re.MULTILINE))
        # A command of the CLI's own, if it has waiters.
        return found - {"wait"}


TEXT = {"capture_output": True, "text": True, "timeout": 120}


def await_end(aws, execution):
    deadline = time.monotonic() + 60
    while (described := aws("describe-execution", execution_arn=execution))["status"] == "RUNNING":
        assert time.monotonic() < deadline, described
    return described


def machines(aws):
    """State machines, their versions, aliases and tags."""
    express = aws("create-state-machine", name="express", definition=PASS, role_arn=ROLE, type="EXPRESS")["stateMachineArn"]
    made = aws(
        "create-state-machine",
        **{"name": "standard", "definition": PASS, "role_arn": ROLE, "publish": None, "version_description": "first"},
        **{"tags": ["key=a,value=1"], "logging_configuration": LOGGING, "tracing_configuration": "enabled=true"},
    )
    arn, first = made["stateMachineArn"], made["stateMachineVersionArn"]
    assert [m["name"] for m in aws("list-state-machines")["stateMachines"]] == ["express", "standard"]
    described = aws("describe-state-machine", state_machine_arn=arn)
    assert described["loggingConfiguration"]["level"] == "ERROR" and described["tracingConfiguration"]["enabled"], described
    updated = aws("update-state-machine", state_machine_arn=arn, role_arn=ROLE + "2")
    assert updated["revisionId"], updated
    published = aws("publish-state-machine-version", state_machine_arn=arn, revision_id=updated["revisionId"])
    second = published["stateMachineVersionArn"]
    versions = aws("list-state-machine-versions", state_machine_arn=arn)["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in versions] == [second, first], versions
    route = [f"stateMachineVersionArn={first},weight=90", f"stateMachineVersionArn={second},weight=10"]
    alias = aws("create-state-machine-alias", name="live", routing_configuration=route)["stateMachineAliasArn"]
    aws("update-state-machine-alias", state_machine_alias_arn=alias, description="both")
    shown = aws("describe-state-machine-alias", state_machine_alias_arn=alias)
    assert shown["description"] == "both" and [r["weight"] for r in shown["routingConfiguration"]] == [90, 10], shown
    listed = aws("list-state-machine-aliases", state_machine_arn=arn)["stateMachineAliases"]
    assert [known["stateMachineAliasArn"] for known in listed] == [alias], listed
    aws.refused("ConflictException", "delete-state-machine-version", state_machine_version_arn=first)
    aws("delete-state-machine-alias", state_machine_alias_arn=alias)
    aws("delete-state-machine-version", state_machine_version_arn=first)
    aws("tag-resource", resource_arn=arn, tags=["key=b,value=2"])
    aws("untag-resource", resource_arn=arn, tag_keys=["a"])
    assert aws("list-tags-for-resource", resource_arn=arn)["tags"] == [{"key": "b", "value": "2"}]
    found = aws("validate-state-machine-definition", definition='{"StartAt": "A", "States": {}}')
    assert found["result"] == "FAIL", found
    return arn, express


def executions(aws, arn, express):
    done = aws("start-sync-execution", state_machine_arn=express, input='{"a": 1}')
    assert done["status"] == "SUCCEEDED" and done["output"] == '{"done":true}', done
    execution = aws("start-execution", state_machine_arn=arn, name="first")["executionArn"]
    await_end(aws, execution)
    history = aws("get-execution-history", execution_arn=execution, max_items="3", page_size="2")
    assert len(history["events"]) == 3 and history["NextToken"], history
    listed = aws("list-executions", state_machine_arn=arn, status_filter="SUCCEEDED")["executions"]
    assert [known["name"] for known in listed] == ["first"], listed
    ran = aws("describe-state-machine-for-execution", execution_arn=execution)
    assert ran["stateMachineArn"] == arn and ran["roleArn"] == ROLE + "2", ran
    aws.refused("ExecutionNotRedrivable", "redrive-execution", execution_arn=execution)
    aws.refused("ExecutionDoesNotExist", "describe-execution", execution_arn=execution + "x")
    assert aws("list-map-runs", execution_arn=execution)["mapRuns"] == []
    run = "arn:aws:states:us-east-1:123456789012:mapRun:standard/map:00000000-0000-4000-8000-000000000000"
    aws.refused("ResourceNotFound", "describe-map-run", map_run_arn=run)
    aws.refused("ResourceNotFound", "update-map-run", map_run_arn=run, max_concurrency="2")
    tested = aws("test-state", definition='{"Type": "Succeed"}', input='{"a": 1}')
    assert tested["status"] == "SUCCEEDED" and tested["output"] == '{"a":1}', tested


def tasks(aws):
    """Activities, and what workers and others say of a task."""
    activity = aws("create-activity", name="by-hand")["activityArn"]
    assert aws("describe-activity", activity_arn=activity)["name"] == "by-hand"
    assert [known["name"] for known in aws("list-activities")["activities"]] == ["by-hand"]
    definition = {"StartAt": "A", "States": {"A": {**TASK, "Resource": activity}}}
    arn = aws("create-state-machine", name="worked", definition=definition, role_arn=ROLE)["stateMachineArn"]
    start = lambda: aws("start-execution", state_machine_arn=arn)["executionArn"]
    take = lambda: aws("get-activity-task", activity_arn=activity, worker_name="cli")["taskToken"]
    good, token = start(), take()
    aws("send-task-heartbeat", task_token=token)
    aws("send-task-success", task_token=token, task_output='{"said": "yes"}')
    assert await_end(aws, good)["output"] == '{"said":"yes"}'
    bad, token = start(), take()
    aws("send-task-failure", task_token=token, error="No", cause="I will not")
    assert await_end(aws, bad)["error"] == "No"
    stopped = start()
    aws("stop-execution", execution_arn=stopped, error="Enough", cause="for today")
    assert await_end(aws, stopped)["status"] == "ABORTED"
    aws("delete-activity", activity_arn=activity)
    aws.refused("ActivityDoesNotExist", "describe-activity", activity_arn=activity)
    aws("delete-state-machine", state_machine_arn=arn)


def check_operations(binary, program):
    with tempfile.TemporaryDirectory() as home, Server(binary) as server:
        aws = Cli(program, server, home)
        # The two know nothing of each other; each call of the CLI takes most of a second.
        failures = []

        def attempt():
            try:
                tasks(aws)
            except BaseException as failure:
                failures.append(failure)

        other = threading.Thread(target=attempt)
        arn, express = machines(aws)
        other.start()
        executions(aws, arn, express)
        other.join()
        for failure in failures:
            raise failure
        for each in (arn, express):
            aws("delete-state-machine", state_machine_arn=each)
        assert aws("list-state-machines")["stateMachines"] == []
        known = aws.operations()
        assert len(known) == 37 and aws.used == known, (len(known), known ^ aws.used)


def check_signatures(binary, program):
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "credentials.toml"
        file.write_text(CREDENTIALS)
        with Server(binary, "--credentials", str(file)) as server:
            right = {"AWS_ACCESS_KEY_ID": "AKIALONG", "AWS_SECRET_ACCESS_KEY": "long/secret+with=signs"}
            aws = Cli(program, server, home, **right)
            assert aws("list-state-machines")["stateMachines"] == []
            wrong = {**right, "AWS_SECRET_ACCESS_KEY": "wrong", "AWS_MAX_ATTEMPTS": "1"}
            Cli(program, server, home, **wrong).refused("InvalidSignatureException", "list-state-machines")


def check_readme(binary, program):
    """What the README tells a newcomer to type, in a checkout."""
    root = Path(__file__).resolve().parents[2]
    lines = (root / "README.md").read_text().splitlines()
    serve = next(line for line in lines if line.startswith("quickstep serve --tasks examples/"))
    commands = [line for line in lines if line.startswith("aws stepfunctions ")]
    assert len(commands) == 2, commands
    with tempfile.TemporaryDirectory() as home:
        arguments = shlex.split(serve.replace("./state", home))[2:]
        with Server(binary, *arguments, folder=root) as server:
            folder = str(Path(program).parent)
            environment = {"HOME": home, **server.environment(), "PATH": f"{folder}:{os.environ['PATH']}"}
            said = [
                subprocess.run(["bash", "-c", command], cwd=root, env=environment, check=True, **TEXT).stdout
                for command in commands
            ]
    assert json.loads(json.loads(said[1])) == {"text": "Good day"}, said


def main():
    binary, program = (str(Path(argument).absolute()) for argument in sys.argv[1:3])
    for check in (check_operations, check_signatures, check_readme):
        check(binary, program)
        print(f"aws_cli_test: {check.__name__}: ok", flush=True)


if __name__ == "__main__":
    main()
