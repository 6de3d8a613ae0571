#!/usr/bin/env python3
"""Holds the server against bare hyper: the same requests, the same connections, in turn.

    benches/http/compare [ROUNDS [SECONDS]]

Builds both in release mode; needs wrk (Debian: wrk) and two cores: the server has one, its client the other. First every
event of benches/data/order.ndjson is sent once, and its output held against order.ref.ndjson. Then StartSyncExecution,
StartExecution and the bare server, which reads the same bodies and answers as many bytes, have their rounds in turn;
then lines are ingested, with both cores for all. After each round the server's own counters have to tell of as many
executions as there were answers. The medians of the rounds' ratios are what counts: of answers a second, and of the
processor's time for each answer, which tells the same where other programs want the cores as well.
"""

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
HERE = os.path.join(ROOT, "benches", "http")
DATA = os.path.join(ROOT, "benches", "data")
EVENTS = os.path.join(DATA, "order.ndjson")
BINARIES = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")
CONNECTIONS = 64
LINE_CONNECTIONS = 4


def start(command, core):
    """Starts a server on a core, or on all; waits until it says where it listens."""
    pinned = ["taskset", "-c", core] if core else []
    process = subprocess.Popen(
        pinned + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    for line in process.stdout:
        found = re.search(r"(127\.0\.0\.1:\d+)", line)
        if found and "listening" in line:
            return process, found.group(1)
    raise SystemExit(f"{command[0]} did not start")


def serve(core):
    tasks = os.path.join(DATA, "tasks.json")
    command = [os.path.join(BINARIES, "quickstep"), "serve", "--quiet", "--addr", "127.0.0.1:0", "--tasks", tasks]
    return start(command, core)


class Client:
    def __init__(self, addr):
        self.connection = http.client.HTTPConnection(addr)

    def call(self, operation, params):
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "AWSStepFunctions." + operation,
        }
        self.connection.request("POST", "/", json.dumps(params), headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{operation}: {answer.status} {body}")
        return json.loads(body), len(body)

    def create(self):
        with open(os.path.join(DATA, "order.asl.json"), encoding="utf-8") as file:
            definition = file.read()
        role = "arn:aws:iam::123456789012:role/any"
        params = {"name": "order", "type": "EXPRESS", "roleArn": role, "definition": definition}
        return self.call("CreateStateMachine", params)[0]["stateMachineArn"]

    def ended(self):
        """Executions that have succeeded, and those that have not."""
        self.connection.request("GET", "/metrics")
        text = self.connection.getresponse().read().decode()
        counts = {"SUCCEEDED": 0, "other": 0}
        for labels, count in re.findall(r"^quickstep_executions_finished_total\{(.*?)\} (\d+)", text, re.M):
            status = re.search(r'status="(\w+)"', labels).group(1)
            counts[status if status in counts else "other"] += int(count)
        return counts["SUCCEEDED"], counts["other"]


def check(client, machine):
    """Sends every event once; returns the mean size of the answers to StartSyncExecution and StartExecution."""
    sizes = [0, 0]
    with open(EVENTS, encoding="utf-8") as events, open(
        os.path.join(DATA, "order.ref.ndjson"), encoding="utf-8"
    ) as references:
        count = 0
        for event, reference in zip(events, references):
            params = {"stateMachineArn": machine, "input": event.rstrip("\n")}
            answer, size = client.call("StartSyncExecution", params)
            if answer["output"] != reference.rstrip("\n"):
                raise SystemExit(f"wrong output for {event}: {answer['output']}")
            sizes[0] += size
            sizes[1] += client.call("StartExecution", params)[1]
            count += 1
    return [round(size / count) for size in sizes]


def wrk(addr, script, arguments, seconds, core, connections):
    """Answers a second, and latencies in microseconds."""
    pinned = ["taskset", "-c", core] if core else []
    command = pinned + [
        "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
        "-s", os.path.join(HERE, script), f"http://{addr}/", "--", *arguments,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", ran.stdout, re.M)
    requests, micros, failed, median, late = map(int, found.groups())
    if failed or requests == 0:
        raise SystemExit(f"{failed} of {requests} requests failed: {ran.stdout}")
    return requests, requests / micros * 1e6, median, late


def processor_seconds(process):
    """What a server has had of the cores, in user mode and in the kernel."""
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(process, *arguments):
    """What wrk says, and microseconds of the processor for each answer."""
    before = processor_seconds(process)
    answered, rate, median, late = wrk(*arguments)
    return answered, rate, median, late, (processor_seconds(process) - before) / answered * 1e6


def settled(client):
    """The counts of ended executions once nothing is under way any more."""
    before = None
    while (counts := client.ended()) != before:
        before = counts
        time.sleep(0.2)
    return counts


def counted(client, answered, connections, before):
    """Every answer stands for an execution that has succeeded; at the end, wrk leaves some requests without their answers."""
    (succeeded, other), (then, _) = settled(client), before
    if other or not answered <= succeeded - then <= answered + connections:
        raise SystemExit(f"{answered} answers, but {succeeded - then} executions succeeded and {other} did not")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    if not os.environ.get("COMPARE_PREBUILT"):
        subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "quickstep", "--example", "bare"], cwd=ROOT, check=True)
    server, addr = serve("0")
    client = Client(addr)
    machine = client.create()
    sizes = check(client, machine)
    bares = [start([os.path.join(BINARIES, "examples", "bare"), "127.0.0.1:0", str(size)], "0") for size in sizes]
    operations = ["StartSyncExecution", "StartExecution"]
    ratios = {operation: [] for operation in operations}
    for number in range(1, rounds + 1):
        for operation, (bare, bare_addr) in zip(operations, bares):
            how = ["requests.lua", [operation, machine, EVENTS], seconds, "1", CONNECTIONS]
            before = settled(client)
            answered, rate, median, late, cost = measured(server, addr, *how)
            counted(client, answered, CONNECTIONS, before)
            _, most, _, _, least = measured(bare, bare_addr, *how)
            ratios[operation].append((rate / most, least / cost))
            print(f"{number}: {operation:18} {rate:9,.0f}/s  bare {most:9,.0f}/s  {rate / most:.2f};  processor "
                  f"{cost:.2f} us, bare {least:.2f} us, {least / cost:.2f};  p50 {median} us, p99 {late} us", flush=True)
    for process, _ in [(server, addr), *bares]:
        process.terminate()
        process.wait()
    for operation in operations:
        rates, costs = map(statistics.median, zip(*ratios[operation]))
        print(f"{operation}: {rates:.2f} of bare hyper, by the processor's time {costs:.2f}")
    lines(rounds, seconds)


def lines(rounds, seconds):
    """Ingestion, with both cores for server and client."""
    server, addr = serve(None)
    client = Client(addr)
    client.create()
    with open(EVENTS, "rb") as file:
        count = sum(1 for _ in file)
    rates = {"mode=async": [], "mode=sync": []}
    for number in range(1, rounds + 1):
        for query, found in rates.items():
            before = settled(client)
            answered, rate, _, _ = wrk(addr, "lines.lua", ["order", query, EVENTS], seconds, None, LINE_CONNECTIONS)
            counted(client, answered * count, LINE_CONNECTIONS * count, before)
            found.append(rate * count)
            print(f"{number}: ingest {query:10} {rate * count:9,.0f} executions/s", flush=True)
    server.terminate()
    server.wait()
    for query, found in rates.items():
        print(f"ingest, {query}: {statistics.median(found):,.0f} executions/s")


if __name__ == "__main__":
    main()
