"""Answers tasks with what a recorded history says that they answered, when it says so."""

import json
import socketserver
import threading
import time

from recorded import Bindings, details, parsed, same

FOLLOWERS = {
    "LambdaFunctionScheduled": ("LambdaFunctionStarted",),
    "LambdaFunctionStarted": ("LambdaFunctionSucceeded", "LambdaFunctionFailed", "LambdaFunctionTimedOut"),
    "ActivityScheduled": ("ActivityStarted", "ActivityTimedOut"),
    "ActivityStarted": ("ActivitySucceeded", "ActivityFailed", "ActivityTimedOut"),
    "TaskScheduled": ("TaskStarted",),
    "TaskStarted": ("TaskSubmitted", "TaskSucceeded", "TaskFailed", "TaskTimedOut"),
    "TaskSubmitted": ("TaskSucceeded", "TaskFailed", "TaskTimedOut"),
}
SUCCEEDED = ("LambdaFunctionSucceeded", "ActivitySucceeded", "TaskSucceeded")
FAILED = ("LambdaFunctionFailed", "ActivityFailed", "TaskFailed")

# How long an answer is held back for the events that came before it on AWS.
TURN_SECONDS_MAX = 20


class Replay:
    """The recorded tasks of one case. `seen` tells how many events our execution has."""

    def __init__(self, case, seen):
        self.history = case.get("history") or []
        # What tasks answer where no history was recorded.
        final = case["expect"].get("output")
        self.only_answer = final.get("final") if not self.history and isinstance(final, dict) else None
        self.is_concurrent = '"Parallel"' in case["definition_text"] or '"Map"' in case["definition_text"]
        self.seen = seen
        self.taken = set()
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def take(self, given):
        """The recorded events of the task with that input: of those that are left, the first that had it."""
        with self.lock:
            left = [
                at
                for at, event in enumerate(self.history)
                if event["type"].endswith("Scheduled") and at not in self.taken
            ]
            if not left:
                return []
            alike = (at for at in left if Bindings().fits(self._given(at), given))
            task = [next(alike, left[0])]
            self.taken.add(task[0])
            while (at := self._follower(task[-1])) is not None:
                self.taken.add(at)
                task.append(at)
            return task

    def _given(self, at):
        of = details(self.history[at])
        return of.get("parameters", of.get("input"))

    def _follower(self, at):
        event = self.history[at]
        types = FOLLOWERS.get(event["type"], ())
        for place, follower in enumerate(self.history):
            unordered = isinstance(event["id"], list)
            if place in self.taken or follower["type"] not in types:
                continue
            if unordered or follower["previousEventId"] == event["id"]:
                return place
        return None

    def answer(self, given):
        """Waits for the moment of the answer and returns it; nothing for a task that ran into its timeout."""
        if self.only_answer is not None:
            return {"result": self.only_answer}
        task = self.take(given)
        if not task or self.history[task[-1]]["type"] not in SUCCEEDED + FAILED:
            return None
        end = self.history[task[-1]]
        # Of events whose order is not defined the recording has none.
        if self.is_concurrent and not isinstance(end["id"], list):
            self.await_turn(task[-1])
        return self.said(end)

    def await_turn(self, at):
        deadline = time.monotonic() + TURN_SECONDS_MAX
        while self.seen() < at and time.monotonic() < deadline and not self.ended.is_set():
            time.sleep(0.005)

    def said(self, event):
        """An event as an answer."""
        of = details(event)
        if event["type"] in SUCCEEDED:
            output = of["output"]
            return {"result": parsed(output) if isinstance(output, str) else output}
        if of.get("error") == "States.DataLimitExceeded":
            # The function answered; AWS refused its answer for its size, which the history does not hold.
            return {"result": "é" * 131_072}
        answer = {"error": of.get("error"), "cause": of.get("cause")}
        if isinstance(answer["cause"], dict):
            answer["cause"] = self._cause_text(answer["cause"])
        return {name: text for name, text in answer.items() if text is not None}

    def _cause_text(self, cause):
        """The text of a cause that was recorded parsed: as a catcher put it into its output, if one did."""

        def find(value):
            if isinstance(value, str):
                return value if same(parsed(value), cause) else None
            inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            return next((text for text in map(find, inner) if text is not None), None)

        return find(self.history) or json.dumps(cause, separators=(",", ":"), ensure_ascii=False)


class Replays:
    """What the server's relays ask: the replays of all cases, by the names of their executions."""

    def __init__(self):
        self.known = {}
        replays = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    for line in self.rfile:
                        self.wfile.write(replays.reply(json.loads(line)))
                except OSError:
                    # The server has killed the relay: the task has run into its timeout.
                    pass

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.port = self.listener.server_address[1]
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def reply(self, request):
        replay = self.known.get(request["execution"])
        if replay is None:
            answer = {"error": "NoReplay", "cause": f"no case has an execution {request['execution']}"}
        else:
            answer = replay.answer(request["input"])
        if answer is None:
            # Its timeout has to end the task.
            replay.ended.wait()
            answer = {"error": "NotRecorded", "cause": "AWS has recorded no answer"}
        return json.dumps(answer).encode() + b"\n"
