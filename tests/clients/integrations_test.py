"""Machines of AWS's guide whose tasks call services: moto stands for AWS, and functions are Python's, behind the Invoke API.

Usage: integrations_test.py PATH_OF_QUICKSTEP

Runs in an environment with moto[server] and boto3. Starts moto, an endpoint for functions and the server, each on a free port,
and runs every function whose name begins with `check_`. What a machine has done is asked of moto by boto3.
"""

import http.server
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
import uuid
from pathlib import Path

import boto3
import botocore.config

ROLE = "arn:aws:iam::123456789012:role/any"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:"
SECONDS_MAX = 60


class Declined(Exception):
    pass


class Busy(Exception):
    pass


class Functions:
    """What the functions of the tests do, and what they were asked."""

    def __init__(self):
        self.calls = []
        self.lock = threading.Lock()

    def call(self, name, event):
        with self.lock:
            before = [call for call in self.calls if call == (name, event)]
            self.calls.append((name, event))
        return getattr(self, name)(event, len(before))

    def charge(self, order, attempt):
        if order["card"] == "stolen":
            raise Declined("the card was reported stolen")
        if attempt == 0:
            raise Busy("try again")
        return {"charged": order["total"], "attempt": attempt}

    def evaluate(self, event, _):
        return {"accuracy": 0.7 + 0.1 * event["round"], "round": event["round"]}

    def step(self, event, _):
        if event["fail"] == event["name"]:
            raise Declined(event["name"])
        return {"done": event["name"]}


def serve_functions(functions):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            name = urllib.parse.unquote(self.path.split("/")[3]).rsplit(":", 1)[-1]
            event = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
            headers = {}
            try:
                answer = functions.call(name, event)
            except Exception as error:
                headers["X-Amz-Function-Error"] = "Unhandled"
                lines = traceback.format_tb(error.__traceback__)
                answer = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": lines}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Amz-Executed-Version", "$LATEST")
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            for header, value in headers.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(look, what):
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {what}")


class World:
    """The endpoints, and clients of them."""

    def __init__(self, moto_url, server_url, functions):
        self.moto_url, self.functions = moto_url, functions
        self.sfn = self.client("stepfunctions", server_url)

    def client(self, service, url=None):
        return boto3.client(
            service,
            endpoint_url=url or self.moto_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=botocore.config.Config(inject_host_prefix=False),
        )

    def machine(self, definition, kind="STANDARD"):
        name = f"m-{uuid.uuid4().hex[:8]}"
        created = self.sfn.create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=ROLE, type=kind
        )
        return created["stateMachineArn"]

    def start(self, machine, value):
        started = self.sfn.start_execution(stateMachineArn=machine, input=json.dumps(value))
        return started["executionArn"]

    def ended(self, execution):
        def look():
            described = self.sfn.describe_execution(executionArn=execution)
            return described if described["status"] != "RUNNING" else None

        return until(look, execution)

    def run(self, machine, value):
        return self.ended(self.start(machine, value))

    def output(self, machine, value):
        described = self.run(machine, value)
        assert described["status"] == "SUCCEEDED", described
        return json.loads(described["output"])

    def types(self, execution):
        events = self.sfn.get_execution_history(executionArn=execution)["events"]
        return [event["type"] for event in events]


def check_orders(world):
    """Parallel, Retry and Catch: an order is stored, charged and announced; a card that is declined is noted."""
    table, dynamodb = "orders", world.client("dynamodb")
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    sqs, sns = world.client("sqs"), world.client("sns")
    queue = sqs.create_queue(QueueName="shipping")["QueueUrl"]
    announced = sqs.create_queue(QueueName="announced")["QueueUrl"]
    topic = sns.create_topic(Name="orders")["TopicArn"]
    attributes = sqs.get_queue_attributes(QueueUrl=announced, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
    key = {"id": {"S.$": "$.id"}}

    def note(status, **more):
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:updateItem",
            "Parameters": {
                "TableName": table,
                "Key": key,
                "UpdateExpression": "SET #s = :s",
                "ExpressionAttributeNames": {"#s": "status"},
                "ExpressionAttributeValues": {":s": {"S": status}},
            },
            "ResultPath": None,
            **more,
        }

    machine = world.machine(
        {
            "StartAt": "Store",
            "States": {
                "Store": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::dynamodb:putItem",
                    "Parameters": {"TableName": table, "Item": {**key, "status": {"S": "NEW"}}},
                    "ResultPath": None,
                    "Next": "Process",
                },
                "Process": {
                    "Type": "Parallel",
                    "Branches": [
                        {
                            "StartAt": "Charge",
                            "States": {
                                "Charge": {
                                    "Type": "Task",
                                    "Resource": FUNCTION + "charge",
                                    "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 2}],
                                    "End": True,
                                }
                            },
                        },
                        {
                            "StartAt": "Announce",
                            "States": {
                                "Announce": {
                                    "Type": "Task",
                                    "Resource": "arn:aws:states:::sns:publish",
                                    "Parameters": {"TopicArn": topic, "Message": {"order.$": "$.id"}},
                                    "End": True,
                                }
                            },
                        },
                    ],
                    "ResultPath": "$.results",
                    "Catch": [{"ErrorEquals": ["Declined"], "ResultPath": "$.error", "Next": "Refused"}],
                    "Next": "Ship",
                },
                "Ship": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::sqs:sendMessage",
                    "Parameters": {"QueueUrl": queue, "MessageBody": {"ship.$": "$.id"}},
                    "ResultPath": "$.shipped",
                    "Next": "Paid",
                },
                "Paid": note("PAID", Next="Read"),
                "Read": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::dynamodb:getItem",
                    "Parameters": {"TableName": table, "Key": key},
                    "ResultPath": "$.read",
                    "End": True,
                },
                "Refused": note("REFUSED", End=True),
            },
        }
    )
    output = world.output(machine, {"id": "1", "card": "good", "total": 12.5})
    charged, published = output["results"]
    assert charged == {"charged": 12.5, "attempt": 1}, output
    assert published["MessageId"] and published["SdkHttpMetadata"]["HttpStatusCode"] == 200, published
    assert output["read"]["Item"] == {"id": {"S": "1"}, "status": {"S": "PAID"}}, output
    messages = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert json.loads(messages[0]["Body"]) == {"ship": "1"}, messages
    assert output["shipped"]["MessageId"] == messages[0]["MessageId"], output
    told = json.loads(sqs.receive_message(QueueUrl=announced)["Messages"][0]["Body"])
    assert json.loads(told["Message"]) == {"order": "1"}, told
    output = world.output(machine, {"id": "2", "card": "stolen", "total": 1})
    assert output["error"]["Error"] == "Declined", output
    assert json.loads(output["error"]["Cause"])["errorMessage"] == "the card was reported stolen", output
    item = dynamodb.get_item(TableName=table, Key={"id": {"S": "2"}})["Item"]
    assert item["status"] == {"S": "REFUSED"}, item
    assert "Messages" not in sqs.receive_message(QueueUrl=queue), "nothing is shipped unpaid"


def check_errors_of_services(world):
    """A table that is not there, caught by the name that AWS gives the error."""
    for resource, error in [
        ("dynamodb:putItem", "DynamoDB.ResourceNotFoundException"),
        ("aws-sdk:dynamodb:putItem", "DynamoDb.ResourceNotFoundException"),
    ]:
        machine = world.machine(
            {
                "StartAt": "Put",
                "States": {
                    "Put": {
                        "Type": "Task",
                        "Resource": f"arn:aws:states:::{resource}",
                        "Parameters": {"TableName": "none", "Item": {"id": {"S": "1"}}},
                        "Catch": [{"ErrorEquals": [error], "Next": "Caught"}],
                        "End": True,
                    },
                    "Caught": {"Type": "Pass", "End": True},
                },
            }
        )
        assert world.output(machine, {})["Error"] == error


def check_files(world):
    """Any action of the SDK: what one state writes to S3, another reads."""
    s3 = world.client("s3")
    s3.create_bucket(Bucket="files")
    machine = world.machine(
        {
            "StartAt": "Write",
            "States": {
                "Write": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::aws-sdk:s3:putObject",
                    "Parameters": {"Bucket": "files", "Key": "a/b c.json", "Body": {"n.$": "$.n"}},
                    "ResultPath": None,
                    "Next": "Read",
                },
                "Read": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
                    "Parameters": {"Bucket": "files", "Key": "a/b c.json"},
                    "End": True,
                },
            },
        }
    )
    output = world.output(machine, {"n": 1.5})
    assert json.loads(output["Body"]) == {"n": 1.5}, output
    assert json.loads(s3.get_object(Bucket="files", Key="a/b c.json")["Body"].read()) == {"n": 1.5}


def check_etl(world):
    """A job of Glue that is waited for."""
    glue = world.client("glue")
    glue.create_job(Name="etl", Role=ROLE, Command={"Name": "glueetl", "ScriptLocation": "s3://files/etl.py"})
    machine = world.machine(
        {
            "StartAt": "Transform",
            "States": {
                "Transform": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::glue:startJobRun.sync",
                    "Parameters": {"JobName": "etl", "Arguments": {"--date.$": "$.date"}},
                    "End": True,
                }
            },
        }
    )
    execution = world.start(machine, {"date": "2030-01-01"})
    described = world.ended(execution)
    assert described["status"] == "SUCCEEDED", described
    run = json.loads(described["output"])
    assert run["JobRunState"] == "SUCCEEDED" and run["JobName"] == "etl", run
    assert glue.get_job_run(JobName="etl", RunId=run["Id"])["JobRun"]["Arguments"] == {"--date": "2030-01-01"}
    types = ["TaskScheduled", "TaskStarted", "TaskSubmitted", "TaskSucceeded"]
    assert world.types(execution)[2:6] == types, world.types(execution)


def check_training(world):
    """Models are trained until one is good enough."""
    machine = world.machine(
        {
            "StartAt": "First",
            "States": {
                "First": {"Type": "Pass", "Result": {"round": 1}, "Next": "Train"},
                "Train": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
                    "Parameters": {
                        "TrainingJobName.$": "States.Format('{}-{}', $$.Execution.Name, $.round)",
                        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
                        "OutputDataConfig": {"S3OutputPath": "s3://files/models"},
                        "ResourceConfig": {
                            "InstanceCount": 1,
                            "InstanceType": "ml.m4.xlarge",
                            "VolumeSizeInGB": 1,
                        },
                        "RoleArn": ROLE,
                        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
                    },
                    "ResultSelector": {"status.$": "$.TrainingJobStatus", "name.$": "$.TrainingJobName"},
                    "ResultPath": "$.job",
                    "Next": "Evaluate",
                },
                "Evaluate": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::lambda:invoke",
                    "Parameters": {"FunctionName": "evaluate", "Payload.$": "$"},
                    "ResultSelector": {"accuracy.$": "$.Payload.accuracy"},
                    "ResultPath": "$.evaluation",
                    "Next": "Good?",
                },
                "Good?": {
                    "Type": "Choice",
                    "Choices": [
                        {"Variable": "$.evaluation.accuracy", "NumericGreaterThan": 0.95, "Next": "Done"}
                    ],
                    "Default": "Again",
                },
                "Again": {
                    "Type": "Pass",
                    "Parameters": {"round.$": "States.MathAdd($.round, 1)"},
                    "Next": "Train",
                },
                "Done": {"Type": "Succeed"},
            },
        }
    )
    output = world.output(machine, {})
    assert output["round"] == 3 and output["job"]["status"] == "Completed", output
    jobs = world.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    assert len(jobs) == 3, jobs


def check_approval(world):
    """Somebody is asked by a message with a token; who does not answer in time is passed over."""
    sqs = world.client("sqs")
    queue = sqs.create_queue(QueueName="approvals")["QueueUrl"]
    machine = world.machine(
        {
            "StartAt": "Ask",
            "States": {
                "Ask": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                    "Parameters": {
                        "QueueUrl": queue,
                        "MessageBody": {"what.$": "$.what", "token.$": "$$.Task.Token"},
                    },
                    "TimeoutSecondsPath": "$.seconds",
                    "Catch": [
                        {"ErrorEquals": ["States.Timeout"], "ResultPath": "$.error", "Next": "Late"},
                        {"ErrorEquals": ["Rejected"], "ResultPath": "$.error", "Next": "No"},
                    ],
                    "Next": "Yes",
                },
                "Yes": {"Type": "Succeed"},
                "No": {"Type": "Pass", "Result": "no", "End": True},
                "Late": {"Type": "Pass", "Result": "late", "End": True},
            },
        }
    )

    def asked():
        messages = until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "a question")
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=messages[0]["ReceiptHandle"])
        return json.loads(messages[0]["Body"])

    execution = world.start(machine, {"what": "raise", "seconds": 600})
    question = asked()
    assert question["what"] == "raise", question
    world.sfn.send_task_heartbeat(taskToken=question["token"])
    world.sfn.send_task_success(taskToken=question["token"], output='{"by":"me"}')
    assert json.loads(world.ended(execution)["output"]) == {"by": "me"}
    execution = world.start(machine, {"what": "leave", "seconds": 600})
    world.sfn.send_task_failure(taskToken=asked()["token"], error="Rejected", cause="too long")
    assert json.loads(world.ended(execution)["output"]) == "no"
    execution = world.start(machine, {"what": "lunch", "seconds": 1})
    late = asked()
    assert json.loads(world.ended(execution)["output"]) == "late"
    try:
        world.sfn.send_task_success(taskToken=late["token"], output="{}")
        raise AssertionError("a late answer is taken")
    except world.sfn.exceptions.TaskTimedOut:
        pass


def check_saga(world):
    """What was done is undone, whichever step fails."""
    steps = ["flight", "hotel", "car"]

    def step(name, fail="$.fail"):
        return {
            "Type": "Task",
            "Resource": FUNCTION + "step",
            "Parameters": {"name": name, "fail.$": fail, "id.$": "$.id"},
            "ResultPath": None,
        }

    states = {}
    for i, name in enumerate(steps):
        undo = f"Undo {steps[i - 1]}" if i > 0 else "Failed"
        after = f"Book {steps[i + 1]}" if i + 1 < len(steps) else "Booked"
        caught = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": undo}]
        states[f"Book {name}"] = {**step(name), "Catch": caught, "Next": after}
        if i + 1 < len(steps):
            states[f"Undo {name}"] = {**step(f"undo-{name}"), "Next": undo}
    states["Booked"] = {"Type": "Succeed"}
    states["Failed"] = {"Type": "Fail", "Error": "NotBooked"}
    machine = world.machine({"StartAt": "Book flight", "States": states})
    for fail in [*steps, None]:
        run_id = uuid.uuid4().hex
        described = world.run(machine, {"fail": fail, "id": run_id})
        at = steps.index(fail) if fail else len(steps)
        expected = steps[: at + 1] + ([f"undo-{name}" for name in reversed(steps[:at])] if fail else [])
        done = [call["name"] for name, call in world.functions.calls if name == "step" and call["id"] == run_id]
        assert done == expected, (fail, done)
        assert described["status"] == ("FAILED" if fail else "SUCCEEDED"), described


def check_nested(world):
    """A machine that starts another one and waits for it, whose task is done by a service."""
    child = world.machine(
        {
            "StartAt": "A",
            "States": {"A": {"Type": "Task", "Resource": FUNCTION + "evaluate", "End": True}},
        }
    )
    machine = world.machine(
        {
            "StartAt": "Child",
            "States": {
                "Child": {
                    "Type": "Task",
                    "Resource": "arn:aws:states:::states:startExecution.sync:2",
                    "Parameters": {"StateMachineArn": child, "Input": {"round": 2}},
                    "End": True,
                }
            },
        }
    )
    assert world.output(machine, {})["Output"]["round"] == 2


def check_express(world):
    """An EXPRESS machine whose function is called for real, beside one that is answered from a file."""
    machine = world.machine(
        {
            "StartAt": "Real",
            "States": {
                "Real": {"Type": "Task", "Resource": FUNCTION + "evaluate", "Next": "Mocked"},
                "Mocked": {"Type": "Task", "Resource": FUNCTION + "mocked", "ResultPath": "$.mocked", "End": True},
            },
        },
        "EXPRESS",
    )
    result = world.sfn.start_sync_execution(stateMachineArn=machine, input='{"round":1}')
    assert result["status"] == "SUCCEEDED", result
    output = json.loads(result["output"])
    assert output["mocked"] == "from a file" and output["round"] == 1, output
    assert not [name for name, _ in world.functions.calls if name == "mocked"]


def main():
    binary = str(Path(sys.argv[1]).resolve())
    functions = Functions()
    functions_url = serve_functions(functions)
    moto_port, port = free_port(), free_port()
    moto_url = f"http://127.0.0.1:{moto_port}"
    moto = subprocess.Popen(
        [str(Path(sys.executable).parent / "moto_server"), "-p", str(moto_port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    mocks = json.dumps({"tasks": {FUNCTION + "mocked": {"result": "from a file"}}})
    server = None
    try:
        until(lambda: listens(moto_port), "moto")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as tasks:
            tasks.write(mocks)
            tasks.flush()
            server = subprocess.Popen(
                [binary, "serve", "--quiet", "--addr", f"127.0.0.1:{port}", "--tasks", tasks.name]
                + ["--endpoint", moto_url, "--endpoint", f"lambda={functions_url}"]
            )
            until(lambda: listens(port), "the server")
            world = World(moto_url, f"http://127.0.0.1:{port}", functions)
            checks = [(name, check) for name, check in globals().items() if name.startswith("check_")]
            for name, check in checks:
                check(world)
                print(f"{name}: ok", flush=True)
            server.terminate()
            code = server.wait(timeout=20)
            assert code == 0, code
    finally:
        moto.kill()
        if server is not None:
            server.kill()


if __name__ == "__main__":
    main()
