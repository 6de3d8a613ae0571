"""What tutorials show, as it stands there: `boto3.client("stepfunctions")` and no word of another endpoint. Where the server
is, the environment says.

Usage: tutorials_test.py PATH_OF_QUICKSTEP
"""

import concurrent.futures
import json
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import boto3
import botocore.exceptions
from boto3_test import ROLE, Server
from botocore.config import Config

HELLO = {
    "Comment": "A Hello World example",
    "StartAt": "Hello",
    "States": {
        "Hello": {"Type": "Pass", "Result": {"greeting": "Hello"}, "ResultPath": "$.said", "Next": "World"},
        "World": {"Type": "Pass", "Parameters": {"text.$": "States.Format('{}, {}!', $.said.greeting, $.name)"}, "End": True},
    },
}
LOGGING = {
    "level": "ALL",
    "includeExecutionData": True,
    "destinations": [
        {
            "cloudWatchLogsLogGroup": {
                "logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vendedlogs/states/HelloWorld-Logs:*"
            }
        }
    ],
}


def await_end(sfn, arn):
    """The loop that every tutorial has: there are no waiters for executions."""
    deadline = time.monotonic() + 60
    while True:
        response = sfn.describe_execution(executionArn=arn)
        if response["status"] in ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"):
            return response
        assert time.monotonic() < deadline, response
        time.sleep(0.02)


def check_standard_machine(folder):
    sfn = boto3.client("stepfunctions")
    assert sfn.waiter_names == []
    machine = sfn.create_state_machine(
        name="HelloWorld",
        definition=json.dumps(HELLO),
        roleArn=ROLE,
        type="STANDARD",
        loggingConfiguration=LOGGING,
        tracingConfiguration={"enabled": True},
        tags=[{"key": "project", "value": "tutorial"}],
    )
    assert machine["ResponseMetadata"]["HTTPStatusCode"] == 200, machine
    arn = machine["stateMachineArn"]
    names = [listed["name"] for listed in sfn.list_state_machines()["stateMachines"]]
    assert names == ["HelloWorld"], names
    described = sfn.describe_state_machine(stateMachineArn=arn)
    assert described["loggingConfiguration"] == LOGGING and described["tracingConfiguration"]["enabled"], described
    execution = sfn.start_execution(stateMachineArn=arn, input=json.dumps({"name": "World"}))
    response = await_end(sfn, execution["executionArn"])
    assert json.loads(response["output"]) == {"text": "Hello, World!"}, response
    assert response["stopDate"] >= response["startDate"] == execution["startDate"], response
    ran = sfn.describe_state_machine_for_execution(executionArn=execution["executionArn"])
    assert json.loads(ran["definition"]) == HELLO and ran["name"] == "HelloWorld", ran
    # As AWS's own wrapper classes find a machine: by its name, over all pages.
    pages = sfn.get_paginator("list_state_machines").paginate()
    found = [listed for page in pages for listed in page["stateMachines"] if listed["name"] == "HelloWorld"]
    assert found[0]["stateMachineArn"] == arn
    # Made again with the same definition it is the same one; with another it exists already.
    again = {"name": "HelloWorld", "roleArn": ROLE, "loggingConfiguration": LOGGING, "tracingConfiguration": {"enabled": True}}
    assert sfn.create_state_machine(definition=json.dumps(HELLO), **again)["stateMachineArn"] == arn
    other = json.dumps({**HELLO, "Comment": "another"})
    try:
        sfn.create_state_machine(definition=other, **again)
        raise AssertionError("two machines have one name")
    except sfn.exceptions.StateMachineAlreadyExists as error:
        assert arn in error.response["Error"]["Message"], error
    sfn.update_state_machine(stateMachineArn=arn, definition=other)
    assert sfn.describe_state_machine(stateMachineArn=arn)["definition"] == other
    sfn.delete_state_machine(stateMachineArn=arn)
    assert sfn.list_state_machines()["stateMachines"] == []


def check_express_machine(folder):
    sfn = boto3.client("stepfunctions")
    express = {"name": "HelloExpress", "definition": json.dumps(HELLO), "roleArn": ROLE, "type": "EXPRESS"}
    arn = sfn.create_state_machine(**express, loggingConfiguration=LOGGING)["stateMachineArn"]
    # The environment keeps boto3 from calling sync-127.0.0.1.
    response = sfn.start_sync_execution(stateMachineArn=arn, name="first", input='{"name": "Express"}')
    assert response["status"] == "SUCCEEDED" and json.loads(response["output"]) == {"text": "Hello, Express!"}, response
    assert response["billingDetails"]["billedDurationInMilliseconds"] == 100, response
    failed = sfn.start_sync_execution(stateMachineArn=arn, input="{}")
    assert failed["status"] == "FAILED" and failed["error"] == "States.Runtime", failed
    started = sfn.start_execution(stateMachineArn=arn, input='{"name": "Later"}')
    assert ":express:HelloExpress:" in started["executionArn"], started
    file = folder / "logs/aws/vendedlogs/states/HelloWorld-Logs.ndjson"
    deadline = time.monotonic() + 60
    ended = lambda: [line for line in file.read_text().splitlines() if '"ExecutionSucceeded"' in line]
    while not file.exists() or not any(started["executionArn"] in line for line in ended()):
        assert time.monotonic() < deadline, "the log has no end of the execution"
        time.sleep(0.05)
    sfn.delete_state_machine(stateMachineArn=arn)


def check_history(folder):
    """Why did it fail? The last events, backwards; then all of them, page by page."""
    sfn = boto3.client("stepfunctions")
    states = {
        "Check": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.amount", "NumericGreaterThan": 100, "Next": "TooMuch"}],
            "Default": "Fine",
        },
        "TooMuch": {"Type": "Fail", "Error": "AmountTooHigh", "Cause": "more than 100"},
        "Fine": {"Type": "Succeed"},
    }
    definition = json.dumps({"StartAt": "Check", "States": states})
    arn = sfn.create_state_machine(name="Amounts", definition=definition, roleArn=ROLE)["stateMachineArn"]
    executions = {}
    for amount in (50, 500):
        given = {"stateMachineArn": arn, "name": f"amount-{amount}", "input": json.dumps({"amount": amount})}
        executions[amount] = sfn.start_execution(**given)["executionArn"]
        await_end(sfn, executions[amount])
    last = sfn.get_execution_history(executionArn=executions[500], reverseOrder=True, maxResults=1)["events"][0]
    assert last["executionFailedEventDetails"] == {"error": "AmountTooHigh", "cause": "more than 100"}, last
    back = sfn.get_execution_history(executionArn=executions[500], reverseOrder=True)["events"]
    failing = next(event for event in back if event["id"] == last["previousEventId"])
    assert failing["stateEnteredEventDetails"]["name"] == "TooMuch", failing
    events, token = [], None
    while True:
        more = {"nextToken": token} if token else {}
        response = sfn.get_execution_history(executionArn=executions[500], maxResults=2, **more)
        events.extend(response["events"])
        token = response.get("nextToken")
        if not token:
            break
    assert [event["id"] for event in events] == list(range(1, len(back) + 1)) and events[::-1] == back, events
    failed = sfn.list_executions(stateMachineArn=arn, statusFilter="FAILED")["executions"]
    assert [execution["name"] for execution in failed] == ["amount-500"], failed
    # With JMESPath, and stopped and resumed by the paginator's own token.
    pages = sfn.get_paginator("list_executions").paginate(stateMachineArn=arn)
    assert list(pages.search("executions[?status=='SUCCEEDED'].name")) == ["amount-50"]
    paginate = lambda **more: sfn.get_paginator("get_execution_history").paginate(
        executionArn=executions[500], PaginationConfig={"PageSize": 2, "MaxItems": 3, **more}
    )
    begun = paginate().build_full_result()
    rest = paginate(StartingToken=begun["NextToken"]).build_full_result()
    assert [event["id"] for event in begun["events"] + rest["events"]] == [1, 2, 3, 4, 5][: len(back)], (begun, rest)
    try:
        sfn.start_execution(stateMachineArn=arn, name="amount-50", input="{}")
        raise AssertionError("a name is taken twice")
    except sfn.exceptions.ExecutionAlreadyExists:
        pass


def check_activity_worker(folder):
    """A worker that polls for its activity, as in the guide: with a longer timeout of reading than the poll takes."""
    sfn = boto3.client("stepfunctions", config=Config(connect_timeout=5, read_timeout=65))
    activity = sfn.create_activity(name="approve")["activityArn"]
    state = {"Type": "Task", "Resource": activity, "TimeoutSeconds": 300, "HeartbeatSeconds": 60, "End": True}
    definition = json.dumps({"StartAt": "Approve", "States": {"Approve": state}})
    arn = sfn.create_state_machine(name="Approval", definition=definition, roleArn=ROLE)["stateMachineArn"]
    approve, deny = (
        sfn.start_execution(stateMachineArn=arn, input=json.dumps({"who": who}))["executionArn"] for who in ("Ann", "Bob")
    )
    for _ in range(2):
        task = sfn.get_activity_task(activityArn=activity, workerName="worker-1")
        token, who = task["taskToken"], json.loads(task["input"])["who"]
        sfn.send_task_heartbeat(taskToken=token)
        if who == "Ann":
            sfn.send_task_success(taskToken=token, output=json.dumps({"approved": who}))
        else:
            sfn.send_task_failure(taskToken=token, error="Denied", cause=f"{who} may not")
        try:
            sfn.send_task_success(taskToken=token, output="{}")
            raise AssertionError("a token is good twice")
        except (sfn.exceptions.TaskTimedOut, sfn.exceptions.TaskDoesNotExist):
            pass
    assert json.loads(await_end(sfn, approve)["output"]) == {"approved": "Ann"}
    denied = await_end(sfn, deny)
    assert (denied["status"], denied["error"], denied["cause"]) == ("FAILED", "Denied", "Bob may not"), denied
    try:
        sfn.send_task_success(taskToken="AAAAKgAAAAIAAAAA", output="{}")
        raise AssertionError("any token is good")
    except sfn.exceptions.InvalidToken:
        pass


def check_many_threads_and_one_client(folder):
    sfn = boto3.client("stepfunctions", config=Config(max_pool_connections=32))
    definition = json.dumps({"StartAt": "S", "States": {"S": {"Type": "Succeed"}}})
    arn = sfn.create_state_machine(name="Batch", definition=definition, roleArn=ROLE)["stateMachineArn"]
    start = lambda n: sfn.start_execution(stateMachineArn=arn, name=f"item-{n}", input=json.dumps({"n": n}))["executionArn"]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        started = list(pool.map(start, range(100)))
        outputs = list(pool.map(lambda execution: json.loads(await_end(sfn, execution)["output"])["n"], started))
    assert outputs == list(range(100)), outputs
    pages = sfn.get_paginator("list_executions").paginate(stateMachineArn=arn, statusFilter="SUCCEEDED")
    assert len([execution for page in pages for execution in page["executions"]]) == 100


def check_errors(folder):
    sfn = boto3.client("stepfunctions")
    nowhere = "arn:aws:states:us-east-1:123456789012:stateMachine:Nowhere"
    wanted = [
        (sfn.exceptions.StateMachineDoesNotExist, lambda: sfn.start_execution(stateMachineArn=nowhere)),
        (sfn.exceptions.InvalidArn, lambda: sfn.describe_state_machine(stateMachineArn="Nowhere")),
        (
            sfn.exceptions.ExecutionDoesNotExist,
            lambda: sfn.describe_execution(executionArn=nowhere.replace("stateMachine", "execution") + ":none"),
        ),
        (sfn.exceptions.InvalidDefinition, lambda: sfn.create_state_machine(name="x", definition="{", roleArn=ROLE)),
        (
            sfn.exceptions.InvalidName,
            lambda: sfn.create_state_machine(name="no spaces", definition=json.dumps(HELLO), roleArn=ROLE),
        ),
    ]
    for exception, call in wanted:
        try:
            call()
            raise AssertionError(f"not refused with {exception}")
        except exception as error:
            assert isinstance(error, botocore.exceptions.ClientError) and str(error), error


def check_retries(binary):
    """A client that retries comes through while the server is not there yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    servers = []
    listed = []
    for mode in ("legacy", "standard", "adaptive"):
        config = Config(retries={"max_attempts": 12, "mode": mode})
        sfn = boto3.client("stepfunctions", endpoint_url=f"http://127.0.0.1:{port}", config=config)
        refused = threading.Event()
        sfn.meta.events.register("needs-retry.stepfunctions", lambda response, **_: refused.set() if response is None else None)
        caller = threading.Thread(target=lambda: listed.append(sfn.list_state_machines()["stateMachines"]))
        caller.start()
        # The first attempt finds nobody.
        assert refused.wait(timeout=60), mode
        servers.append(Server(binary, addr=f"127.0.0.1:{port}"))
        caller.join(timeout=120)
        servers.pop().end()
    assert listed == [[], [], []], listed


def main():
    binary = str(Path(sys.argv[1]).resolve())
    checks = [check for name, check in globals().items() if name.startswith("check_") and name != "check_retries"]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder, Server(binary, "--data-dir", folder) as server:
        # What the server prints for the AWS CLI is good for boto3 as well.
        os.environ.update(server.environment())
        for check in checks:
            check(Path(folder))
            print(f"tutorials_test: {check.__name__}: ok", flush=True)
    check_retries(binary)
    print("tutorials_test: check_retries: ok")


if __name__ == "__main__":
    main()
