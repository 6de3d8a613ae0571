"""The server through real boto3: what people write for AWS, with another endpoint.

Usage: boto3_test.py PATH_OF_QUICKSTEP

Starts the server on a free port, runs every function whose name begins with `check_`, and fails if one of them does.
"""

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions

ROLE = "arn:aws:iam::123456789012:role/any"
LAMBDA = "arn:aws:lambda:us-east-1:123456789012:function:"
PASS = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": {"done": True}, "End": True}}})

TASKS = {
    "tasks": {
        LAMBDA + "double": {"result": {"doubled": 4}},
        LAMBDA + "broken": {"error": "Broken", "cause": "as ever"},
    }
}


class Server:
    """A server of its own, ended with the block."""

    def __init__(self, binary, *arguments, addr=None, folder=None):
        if addr is None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                addr = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"{'https' if '--tls-cert' in arguments else 'http'}://{addr}"
        command = [binary, "serve", "--addr", addr, *arguments]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        assert self.url in line, line
        # What follows must not fill the pipe.
        self.log = [line]
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def client(self, key=("any", "any"), region="us-east-1", verify=None, **config):
        return boto3.client(
            "stepfunctions",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            aws_session_token=key[2] if len(key) > 2 else None,
            verify=verify,
            config=botocore.config.Config(inject_host_prefix=False, retries={"max_attempts": 0}, **config),
        )

    def environment(self):
        """The variables that the server has printed for clients."""
        deadline = time.monotonic() + 20
        # The last line of the greeting comes after them.
        while not any(line.endswith("TestState.\n") for line in self.log):
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)
        exports = [line.split()[1:] for line in self.log if line.lstrip().startswith("export ")]
        return dict(word.split("=", 1) for words in exports for word in words)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=20)
        self.reader.join(timeout=5)
        assert code == 0, (code, self.log)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.end()
        else:
            self.process.kill()
            print("".join(self.log), file=sys.stderr)


def named(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def create(sfn, definition, kind="STANDARD", **more):
    if not isinstance(definition, str):
        definition = json.dumps(definition)
    return sfn.create_state_machine(name=named("m"), definition=definition, roleArn=ROLE, type=kind, **more)


def machine(sfn, definition, kind="STANDARD", **more):
    return create(sfn, definition, kind, **more)["stateMachineArn"]


def ended(sfn, arn):
    """The description of an execution, once it has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        described = sfn.describe_execution(executionArn=arn)
        if described["status"] != "RUNNING":
            return described
        time.sleep(0.02)
    raise AssertionError(f"{arn} does not end")


def refused(call, code, message=None):
    try:
        answer = call()
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert message is None or message in error.response["Error"]["Message"], error
        assert error.response["ResponseMetadata"]["RequestId"], error
        return error
    raise AssertionError(f"not refused: {answer}")


def task(name, **fields):
    return {"Type": "Task", "Resource": LAMBDA + name, "End": True, **fields}


def one(state):
    return {"StartAt": "A", "States": {"A": state}}


def check_standard(sfn):
    arn = machine(sfn, PASS, loggingConfiguration={"level": "OFF"}, tracingConfiguration={"enabled": True})
    described = sfn.describe_state_machine(stateMachineArn=arn)
    assert described["definition"] == PASS and described["status"] == "ACTIVE", described
    assert described["tracingConfiguration"] == {"enabled": True}, described
    assert described["loggingConfiguration"] == {"level": "OFF", "includeExecutionData": False}, described
    started = sfn.start_execution(stateMachineArn=arn, name="first", input='{"a":  1}')
    assert started["startDate"].year >= 2020, started
    done = ended(sfn, started["executionArn"])
    assert done["status"] == "SUCCEEDED" and json.loads(done["output"]) == {"done": True}, done
    assert done["input"] == '{"a":  1}' and done["name"] == "first", done
    events = sfn.get_execution_history(executionArn=started["executionArn"])["events"]
    types = ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    assert [event["type"] for event in events] == types, events
    assert [event["id"] for event in events] == [1, 2, 3, 4]
    again = lambda given: sfn.start_execution(stateMachineArn=arn, name="first", input=given)
    refused(lambda: again('{"a":  1}'), "ExecutionAlreadyExists", "Execution Already Exists: 'arn:")
    refused(lambda: again("{"), "InvalidExecutionInput", "Invalid State Machine Execution Input: '")
    listed = sfn.list_executions(stateMachineArn=arn)["executions"]
    assert [e["name"] for e in listed] == ["first"] and listed[0]["status"] == "SUCCEEDED", listed
    sfn.delete_state_machine(stateMachineArn=arn)
    refused(lambda: sfn.describe_state_machine(stateMachineArn=arn), "StateMachineDoesNotExist", arn)


def check_history_pages(sfn):
    states = {f"S{i}": {"Type": "Pass", "Next": f"S{i + 1}"} for i in range(60)}
    states["S60"] = {"Type": "Succeed"}
    arn = machine(sfn, {"StartAt": "S0", "States": states})
    execution = sfn.start_execution(stateMachineArn=arn)["executionArn"]
    ended(sfn, execution)
    count = 2 + 61 * 2
    for reverse in (False, True):
        pages = sfn.get_paginator("get_execution_history").paginate(
            executionArn=execution, reverseOrder=reverse, PaginationConfig={"PageSize": 7}
        )
        ids = [event["id"] for page in pages for event in page["events"]]
        assert ids == sorted(range(1, count + 1), reverse=reverse), ids
    bare = sfn.get_execution_history(executionArn=execution, includeExecutionData=False)["events"]
    assert bare[1]["stateEnteredEventDetails"] == {"name": "S0"}, bare[1]
    token = sfn.get_execution_history(executionArn=execution, maxResults=1)["nextToken"]
    get = lambda **more: sfn.get_execution_history(executionArn=execution, **more)
    refused(lambda: get(nextToken=token, reverseOrder=True), "InvalidToken")
    refused(lambda: get(nextToken="x"), "InvalidToken", "Invalid Token: 'Invalid token'")


def check_sync(sfn):
    arn = machine(sfn, one(task("double")), "EXPRESS")
    done = sfn.start_sync_execution(stateMachineArn=arn, input="{}", name="n", traceHeader="Root=1-2-3")
    assert done["status"] == "SUCCEEDED" and json.loads(done["output"]) == {"doubled": 4}, done
    assert done["billingDetails"] == {"billedMemoryUsedInMB": 64, "billedDurationInMilliseconds": 100}, done
    assert re.fullmatch(r"arn:aws:states:us-east-1:\d{12}:express:m-\w+:n:[0-9a-f-]{36}", done["executionArn"]), done
    assert done["traceHeader"] == "Root=1-2-3" and done["inputDetails"] == {"included": True}, done
    arn = machine(sfn, one(task("broken")), "EXPRESS")
    failed = sfn.start_sync_execution(stateMachineArn=arn)
    assert (failed["status"], failed["error"], failed["cause"]) == ("FAILED", "Broken", "as ever"), failed
    assert "output" not in failed and failed["outputDetails"] == {"included": True}, failed
    arn = machine(sfn, one({"Type": "Wait", "Seconds": 1, "End": True}), "EXPRESS")
    waited = sfn.start_sync_execution(stateMachineArn=arn)
    assert waited["status"] == "SUCCEEDED", waited
    assert waited["billingDetails"]["billedDurationInMilliseconds"] >= 1000, waited
    arn = machine(sfn, {"TimeoutSeconds": 1, **one({"Type": "Wait", "Seconds": 60, "End": True})}, "EXPRESS")
    late = sfn.start_sync_execution(stateMachineArn=arn)
    assert (late["status"], late["error"]) == ("TIMED_OUT", "States.Timeout"), late
    standard = machine(sfn, PASS)
    refused(lambda: sfn.start_sync_execution(stateMachineArn=standard), "StateMachineTypeNotSupported")


def check_express(sfn):
    arn = machine(sfn, PASS, "EXPRESS")
    first = sfn.start_execution(stateMachineArn=arn, name="same")["executionArn"]
    second = sfn.start_execution(stateMachineArn=arn, name="same")["executionArn"]
    assert first != second, first
    wrong = "Invalid Arn: 'Resource type not valid in this context: express'"
    refused(lambda: sfn.describe_execution(executionArn=first), "InvalidArn", wrong)
    refused(lambda: sfn.stop_execution(executionArn=first), "InvalidArn", wrong)
    refused(lambda: sfn.get_execution_history(executionArn=first), "InvalidArn", wrong)
    refused(lambda: sfn.list_executions(stateMachineArn=arn), "StateMachineTypeNotSupported")


def check_stop_and_timeout(sfn):
    arn = machine(sfn, one({"Type": "Wait", "Seconds": 3600, "End": True}))
    execution = sfn.start_execution(stateMachineArn=arn, name="long", input="{}")
    again = sfn.start_execution(stateMachineArn=arn, name="long", input="{}")
    assert again["executionArn"] == execution["executionArn"] and again["startDate"] == execution["startDate"]
    running = sfn.describe_execution(executionArn=execution["executionArn"])
    assert running["status"] == "RUNNING" and "stopDate" not in running, running
    sfn.stop_execution(executionArn=execution["executionArn"], error="E", cause="C")
    stopped = ended(sfn, execution["executionArn"])
    assert (stopped["status"], stopped["error"], stopped["cause"]) == ("ABORTED", "E", "C"), stopped
    assert stopped["redriveStatus"] == "REDRIVABLE", stopped
    arn = machine(sfn, {"TimeoutSeconds": 1, **one({"Type": "Wait", "Seconds": 60, "End": True})})
    late = ended(sfn, sfn.start_execution(stateMachineArn=arn)["executionArn"])
    assert late["status"] == "TIMED_OUT" and "error" not in late, late


def check_callback(sfn):
    resource = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
    body = {"QueueUrl": "https://queue", "MessageBody": {"token.$": "$$.Task.Token"}}
    state = {"Type": "Task", "Resource": resource, "Parameters": body, "End": True}
    state["Catch"] = [{"ErrorEquals": ["Mine"], "Next": "B"}]
    arn = machine(sfn, {"StartAt": "A", "States": {"A": state, "B": {"Type": "Pass", "End": True}}})

    def token_of(execution):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for event in sfn.get_execution_history(executionArn=execution)["events"]:
                if event["type"] == "TaskScheduled":
                    return json.loads(event["taskScheduledEventDetails"]["parameters"])["MessageBody"]["token"]
            time.sleep(0.02)
        raise AssertionError("no task was scheduled")

    execution = sfn.start_execution(stateMachineArn=arn)["executionArn"]
    token = token_of(execution)
    sfn.send_task_heartbeat(taskToken=token)
    refused(lambda: sfn.send_task_success(taskToken=token, output="{"), "InvalidOutput")
    sfn.send_task_success(taskToken=token, output='{"approved": true}')
    done = ended(sfn, execution)
    assert json.loads(done["output"]) == {"approved": True}, done
    send = lambda: sfn.send_task_success(taskToken=token, output="{}")
    refused(send, "TaskTimedOut", "Provided task does not exist anymore")
    refused(lambda: sfn.send_task_success(taskToken="x", output="{}"), "InvalidToken")
    execution = sfn.start_execution(stateMachineArn=arn)["executionArn"]
    sfn.send_task_failure(taskToken=token_of(execution), error="Mine", cause="why")
    done = ended(sfn, execution)
    assert json.loads(done["output"]) == {"Error": "Mine", "Cause": "why"}, done


def check_activity(sfn):
    activity = sfn.create_activity(name=named("a"))["activityArn"]
    state = {"Type": "Task", "Resource": activity, "HeartbeatSeconds": 10, "TimeoutSeconds": 20, "End": True}
    arn = machine(sfn, one(state))
    found = []

    def work():
        found.append(sfn.get_activity_task(activityArn=activity, workerName="worker"))

    # The worker is there before the task is.
    worker = threading.Thread(target=work)
    worker.start()
    execution = sfn.start_execution(stateMachineArn=arn, input='{"n": 1}')["executionArn"]
    worker.join(timeout=20)
    assert found and json.loads(found[0]["input"]) == {"n": 1}, found
    sfn.send_task_heartbeat(taskToken=found[0]["taskToken"])
    sfn.send_task_success(taskToken=found[0]["taskToken"], output='"done"')
    done = ended(sfn, execution)
    assert done["output"] == '"done"', done
    events = sfn.get_execution_history(executionArn=execution)["events"]
    started = [event["activityStartedEventDetails"] for event in events if event["type"] == "ActivityStarted"]
    assert started == [{"workerName": "worker"}], events
    listed = sfn.list_activities()["activities"]
    assert activity in [a["activityArn"] for a in listed], listed
    sfn.delete_activity(activityArn=activity)
    refused(lambda: sfn.get_activity_task(activityArn=activity), "ActivityDoesNotExist")


def check_versions_and_aliases(sfn):
    created = create(sfn, one({"Type": "Pass", "Result": 1, "End": True}), "EXPRESS", publish=True)
    arn, first = created["stateMachineArn"], created["stateMachineVersionArn"]
    two = json.dumps(one({"Type": "Pass", "Result": 2, "End": True}))
    second = sfn.update_state_machine(stateMachineArn=arn, definition=two, publish=True)["stateMachineVersionArn"]
    routes = [{"stateMachineVersionArn": first, "weight": 50}, {"stateMachineVersionArn": second, "weight": 50}]
    alias = sfn.create_state_machine_alias(name="live", routingConfiguration=routes)["stateMachineAliasArn"]
    outputs = {sfn.start_sync_execution(stateMachineArn=alias)["output"] for _ in range(64)}
    # That one of two even routes is never taken in 64 starts has a chance of 2^-63.
    assert outputs == {"1", "2"}, outputs
    assert sfn.start_sync_execution(stateMachineArn=first)["output"] == "1"
    refused(lambda: sfn.delete_state_machine_version(stateMachineVersionArn=first), "ConflictException", "[live]")
    sfn.update_state_machine_alias(stateMachineAliasArn=alias, routingConfiguration=[{**routes[1], "weight": 100}])
    assert {sfn.start_sync_execution(stateMachineArn=alias)["output"] for _ in range(8)} == {"2"}
    sfn.delete_state_machine_version(stateMachineVersionArn=first)
    versions = sfn.list_state_machine_versions(stateMachineArn=arn)["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in versions] == [second], versions
    half = [{**routes[1], "weight": 99}]
    refused(lambda: sfn.create_state_machine_alias(name="x", routingConfiguration=half), "ValidationException")


def check_validate(sfn):
    assert sfn.validate_state_machine_definition(definition=PASS) | {"ResponseMetadata": 0} == {
        "result": "OK",
        "diagnostics": [],
        "truncated": False,
        "ResponseMetadata": 0,
    }
    bad = json.dumps(one({"Type": "Pass", "Next": "Nowhere"}))
    found = sfn.validate_state_machine_definition(definition=bad)
    assert found["result"] == "FAIL", found
    assert found["diagnostics"][0]["code"] == "MISSING_TRANSITION_TARGET", found
    refused(lambda: machine(sfn, bad), "InvalidDefinition", "Invalid State Machine Definition: 'MISSING_TRANSITION")
    wait = one({"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": True})
    refused(lambda: machine(sfn, wait, "EXPRESS"), "InvalidDefinition", "does not support '.waitForTaskToken'")


def check_test_state(sfn):
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "f", "Payload.$": "$.order"},
        "ResultSelector": {"price.$": "$.Payload.price"},
        "ResultPath": "$.quote",
        "Next": "Ship",
    }
    tested = sfn.test_state(
        definition=json.dumps(state),
        roleArn=ROLE,
        input='{"order": 7}',
        inspectionLevel="DEBUG",
        mock={"result": '{"Payload": {"price": 9.90}}'},
    )
    assert tested["status"] == "SUCCEEDED" and tested["nextState"] == "Ship", tested
    assert tested["output"] == '{"order":7,"quote":{"price":9.90}}', tested
    inspected = tested["inspectionData"]
    assert inspected["afterParameters"] == '{"FunctionName":"f","Payload":7}', inspected
    assert inspected["afterResultSelector"] == '{"price":9.90}', inspected
    refused(lambda: sfn.test_state(definition=json.dumps({"Type": "Nonsense"})), "InvalidDefinition")


def check_mocked_test_case(sfn):
    """A test case that the ARN names needs a server with a file of them."""
    arn = machine(sfn, PASS, "EXPRESS")
    refused(lambda: sfn.start_sync_execution(stateMachineArn=arn + "#Happy"), "ValidationException", "Happy")


def check_tags_and_lists(sfn):
    arn = machine(sfn, PASS, tags=[{"key": "a", "value": "1"}])
    sfn.tag_resource(resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    sfn.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert sfn.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]
    arns = {machine(sfn, PASS) for _ in range(5)} | {arn}
    pages = list(sfn.get_paginator("list_state_machines").paginate(PaginationConfig={"PageSize": 2}))
    assert all(len(page["stateMachines"]) <= 2 for page in pages), pages
    listed = [m["stateMachineArn"] for page in pages for m in page["stateMachines"]]
    assert len(listed) == len(set(listed)) and arns <= set(listed), listed
    for i in range(7):
        sfn.start_execution(stateMachineArn=arn, name=f"e{i}")
    pages = sfn.get_paginator("list_executions").paginate(stateMachineArn=arn, PaginationConfig={"PageSize": 3})
    names = [e["name"] for page in pages for e in page["executions"]]
    assert names == [f"e{i}" for i in reversed(range(7))], names
    run = f"arn:aws:states:us-east-1:123456789012:mapRun:m/l:{uuid.uuid4()}"
    refused(lambda: sfn.describe_map_run(mapRunArn=run), "ResourceNotFound")


def check_log_groups(sfn):
    """A log group is named with all its streams; people forget the `:*`."""
    group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vendedlogs/states/x"
    logging = lambda arn: {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]}
    code = "InvalidLoggingConfiguration"
    message = "Invalid Logging Configuration: Log Group ARN must be provided with '*' qualifier."
    refused(lambda: create(sfn, PASS, loggingConfiguration=logging(group)), code, message)
    refused(lambda: create(sfn, PASS, loggingConfiguration=logging("x")), code, "'x' is no ARN of a log group")
    arn = machine(sfn, PASS, loggingConfiguration=logging(group + ":*"))
    refused(lambda: sfn.update_state_machine(stateMachineArn=arn, loggingConfiguration=logging(group)), code, message)


def check_names_and_bounds(sfn):
    make = lambda name: sfn.create_state_machine(name=name, definition=PASS, roleArn=ROLE)
    refused(lambda: make("a b"), "InvalidName", "Invalid Name: 'a b'")
    text = "1 validation error detected: Value '" + "a" * 81 + "' at 'name' failed to satisfy constraint: Member must "
    refused(lambda: make("a" * 81), "ValidationException", text + "have length less than or equal to 80")
    refused(lambda: sfn.describe_state_machine(stateMachineArn="x"), "InvalidArn", "Invalid ARN prefix: x")
    large = json.dumps("x" * 262_145)
    arn = machine(sfn, PASS, "EXPRESS")
    refused(lambda: sfn.start_sync_execution(stateMachineArn=arn, input=large), "ValidationException", "'input'")
    exact = json.dumps("x" * (262_144 - 2))
    assert sfn.start_sync_execution(stateMachineArn=arn, input=exact)["status"] == "SUCCEEDED"


def check_host_prefix(sfn):
    """The `sync-` host reaches the server through a proxy that is the server itself: absolute-form targets."""
    url = sfn.meta.endpoint_url
    port = url.rsplit(":", 1)[1]
    prefixed = boto3.client(
        "stepfunctions",
        endpoint_url=f"http://localhost:{port}",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=botocore.config.Config(proxies={"http": url}),
    )
    arn = machine(sfn, PASS, "EXPRESS")
    assert prefixed.start_sync_execution(stateMachineArn=arn)["status"] == "SUCCEEDED"


def check_restart(binary, folder):
    """The catalogue outlives the process."""
    data = str(folder / "data")
    with Server(binary, "--data-dir", data) as server:
        sfn = server.client()
        created = create(sfn, PASS, "EXPRESS", publish=True, versionDescription="d", tags=[{"key": "k", "value": "v"}])
        arn, version = created["stateMachineArn"], created["stateMachineVersionArn"]
        route = [{"stateMachineVersionArn": version, "weight": 100}]
        alias = sfn.create_state_machine_alias(name="live", routingConfiguration=route)["stateMachineAliasArn"]
        activity = sfn.create_activity(name="kept")["activityArn"]
        sfn.update_state_machine(stateMachineArn=arn, definition=json.dumps(one({"Type": "Succeed"})))
        gone = machine(sfn, PASS)
        sfn.delete_state_machine(stateMachineArn=gone)
        before = [sfn.describe_state_machine(stateMachineArn=a) for a in (arn, version)]
        before.append(sfn.describe_state_machine_alias(stateMachineAliasArn=alias))
    with Server(binary, "--data-dir", data) as server:
        sfn = server.client()
        after = [sfn.describe_state_machine(stateMachineArn=a) for a in (arn, version)]
        after.append(sfn.describe_state_machine_alias(stateMachineAliasArn=alias))
        for answer in before + after:
            answer.pop("ResponseMetadata")
        assert before == after, (before, after)
        assert sfn.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "k", "value": "v"}]
        assert sfn.describe_activity(activityArn=activity)["name"] == "kept"
        assert sfn.start_sync_execution(stateMachineArn=alias)["output"] == '{"done":true}'
        refused(lambda: sfn.describe_state_machine(stateMachineArn=gone), "StateMachineDoesNotExist")
        third = sfn.publish_state_machine_version(stateMachineArn=arn)["stateMachineVersionArn"]
        assert third.endswith(":2"), third


def check_logs_and_express_history(binary, folder):
    """Events of a log group go to its file; histories of EXPRESS executions are there if the server is asked for them."""
    data = folder / "logged"
    group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vendedlogs/states/orders:*"
    logging = {
        "level": "ALL",
        "includeExecutionData": True,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}],
    }
    with Server(binary, "--data-dir", str(data), "--express-history", "1") as server:
        sfn = server.client()
        arn = machine(sfn, PASS, "EXPRESS", loggingConfiguration=logging)
        first = sfn.start_sync_execution(stateMachineArn=arn, input='{"n": 1}')["executionArn"]
        second = sfn.start_sync_execution(stateMachineArn=arn, name="second")["executionArn"]
        refused(lambda: sfn.describe_execution(executionArn=first), "ExecutionDoesNotExist")
        described = sfn.describe_execution(executionArn=second)
        assert (described["status"], described["output"]) == ("SUCCEEDED", '{"done":true}'), described
        events = sfn.get_execution_history(executionArn=second)["events"]
    lines = (data / "logs/aws/vendedlogs/states/orders.ndjson").read_text().splitlines()
    lines = [json.loads(line) for line in lines]
    assert [line["execution_arn"] for line in lines] == [first] * 4 + [second] * 4, lines
    assert lines[0]["details"]["input"] == '{"n": 1}', lines[0]
    assert [line["type"] for line in lines[4:]] == [event["type"] for event in events], lines


def check_test_cases(binary, folder):
    """`stateMachineArn#TestCase`, as Step Functions Local has it."""
    config = folder / "MockConfigFile.json"
    answers = {
        "StateMachines": {"mocked": {"TestCases": {"Happy": {"A": "Fine"}, "Sad": {"A": "Bad"}}}},
        "MockedResponses": {
            "Fine": {"0": {"Return": {"fine": True}}},
            "Bad": {"0-1": {"Throw": {"Error": "Busy", "Cause": "b"}}, "2": {"Return": {"fine": "at last"}}},
        },
    }
    config.write_text(json.dumps(answers))
    with Server(binary, "--tasks", str(config)) as server:
        sfn = server.client()
        retry = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1}]
        definition = json.dumps(one(task("any", Retry=retry)))
        arn = sfn.create_state_machine(name="mocked", definition=definition, roleArn=ROLE, type="EXPRESS")
        arn = arn["stateMachineArn"]
        run = lambda case: sfn.start_sync_execution(stateMachineArn=f"{arn}{case}")
        assert run("#Happy")["output"] == '{"fine":true}'
        assert run("#Sad")["output"] == '{"fine":"at last"}'
        refused(lambda: run("#Other"), "ValidationException", "there is no test case Other")
        refused(lambda: run(""), "ValidationException", "name one of the test cases")
        other = machine(sfn, PASS, "EXPRESS")
        assert sfn.start_sync_execution(stateMachineArn=other)["status"] == "SUCCEEDED"


CREDENTIALS = """
[[credentials]]
access_key_id = "AKIALONG"
secret_access_key = "long/secret+with=signs"
[[credentials]]
access_key_id = "ASIASHORT"
secret_access_key = "short"
session_token = "to//ken+="
[[credentials]]
access_key_id = "ASIAOLD"
secret_access_key = "old"
session_token = "old"
expires = 2020-01-01T00:00:00+01:00
"""


def check_signatures(binary, folder):
    """Only those who are named may ask, and AWS's errors tell the others why."""
    file = folder / "credentials.toml"
    file.write_text(CREDENTIALS)
    with Server(binary, "--credentials", str(file)) as server:
        long, short = ("AKIALONG", "long/secret+with=signs"), ("ASIASHORT", "short", "to//ken+=")
        for key in (long, short):
            sfn = server.client(key)
            arn = machine(sfn, one({"Type": "Pass", "Comment": "é \u2028", "End": True}), "EXPRESS")
            done = sfn.start_sync_execution(stateMachineArn=arn, input='{"é": "\\u00e9 \U0001F600"}')
            assert done["status"] == "SUCCEEDED", done
        listed = lambda *key, **more: server.client(key, **more).list_state_machines
        unknown, invalid = "UnrecognizedClientException", "InvalidSignatureException"
        error = refused(listed(long[0], "wrong"), invalid, "The request signature we calculated does not match")
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400, error.response
        refused(listed("any", "any"), unknown, "The security token included in the request is invalid.")
        refused(listed(*short[:2]), unknown)
        refused(listed(*short[:2], "other"), unknown)
        refused(listed(*long, "token"), unknown)
        refused(listed("ASIAOLD", "old", "old"), "ExpiredTokenException", "is expired")
        refused(listed("ASIAOLD", "bad", "old"), invalid)
        refused(listed(*long, region="eu-west-1"), invalid, "a valid region, not 'eu-west-1'")
        unsigned = server.client(long, signature_version=botocore.UNSIGNED)
        refused(unsigned.list_state_machines, "MissingAuthenticationTokenException", "Missing Authentication Token")


def check_tls(binary, folder):
    """Over TLS, signed, with a certificate that the client is told to trust."""
    certificate, key, file = folder / "tls.pem", folder / "tls.key", folder / "tls.toml"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *names], check=True, capture_output=True)
    file.write_text(CREDENTIALS)
    secured = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    with Server(binary, "--credentials", str(file), *secured) as server:
        signer = ("AKIALONG", "long/secret+with=signs")
        assert server.client(signer, verify=str(certificate)).list_activities()["activities"] == []
        try:
            server.client(signer).list_activities()
            raise AssertionError("a certificate of nobody is trusted")
        except botocore.exceptions.SSLError:
            pass


WITH_OWN_SERVERS = ["check_restart", "check_logs_and_express_history", "check_signatures", "check_test_cases", "check_tls"]


def main():
    binary = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        tasks = folder / "tasks.json"
        tasks.write_text(json.dumps(TASKS))
        with Server(binary, "--tasks", str(tasks)) as server:
            sfn = server.client()
            checks = [(name, check) for name, check in globals().items() if name.startswith("check_")]
            for name, check in checks:
                if name in WITH_OWN_SERVERS:
                    continue
                check(sfn)
                print(f"{name}: ok", flush=True)
        for name in WITH_OWN_SERVERS:
            globals()[name](binary, folder)
            print(f"{name}: ok", flush=True)


if __name__ == "__main__":
    main()
