"""The server through the AWS CLI, with the settings that `quickstep serve` prints.

Usage: aws_cli_test.py PATH_OF_QUICKSTEP PATH_OF_AWS
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from boto3_test import CREDENTIALS, PASS, ROLE, Server


class Cli:
    def __init__(self, program, url, home, key="any", secret="any"):
        self.program = program
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "AWS_ENDPOINT_URL_SFN": url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def run(self, *arguments):
        return subprocess.run(
            [self.program, "stepfunctions", *arguments, "--output", "json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def __call__(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else {}


def main():
    binary, program = (str(Path(argument).absolute()) for argument in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as home, Server(binary) as server:
        aws = Cli(program, server.url, home)
        arns = {
            kind: aws(
                *("create-state-machine", "--name", kind.lower(), "--definition", PASS),
                *("--role-arn", ROLE, "--type", kind),
            )["stateMachineArn"]
            for kind in ("STANDARD", "EXPRESS")
        }
        assert len(aws("list-state-machines")["stateMachines"]) == 2
        done = aws("start-sync-execution", "--state-machine-arn", arns["EXPRESS"], "--input", '{"a": 1}')
        assert done["status"] == "SUCCEEDED" and done["output"] == '{"done":true}', done
        started = aws("start-execution", "--state-machine-arn", arns["STANDARD"], "--name", "first")
        execution = started["executionArn"]
        deadline = time.monotonic() + 20
        while aws("describe-execution", "--execution-arn", execution)["status"] == "RUNNING":
            assert time.monotonic() < deadline
        history = aws("get-execution-history", "--execution-arn", execution, "--max-items", "3", "--page-size", "2")
        assert len(history["events"]) == 3, history
        found = aws("validate-state-machine-definition", "--definition", '{"StartAt": "A", "States": {}}')
        assert found["result"] == "FAIL", found
        tested = aws("test-state", "--definition", '{"Type": "Succeed"}', "--input", '{"a": 1}')
        assert tested["status"] == "SUCCEEDED" and tested["output"] == '{"a":1}', tested
        refused = aws.run("describe-execution", "--execution-arn", execution + "x")
        assert refused.returncode != 0 and "ExecutionDoesNotExist" in refused.stderr, refused
        for arn in arns.values():
            aws("delete-state-machine", "--state-machine-arn", arn)
        assert aws("list-state-machines")["stateMachines"] == []
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "credentials.toml"
        file.write_text(CREDENTIALS)
        with Server(binary, "--credentials", str(file)) as server:
            aws = Cli(program, server.url, home, "AKIALONG", "long/secret+with=signs")
            assert aws("list-state-machines")["stateMachines"] == []
            wrong = Cli(program, server.url, home, "AKIALONG", "wrong").run("list-state-machines")
            assert wrong.returncode != 0 and "InvalidSignatureException" in wrong.stderr, wrong
    print("aws_cli_test: ok")


if __name__ == "__main__":
    main()
