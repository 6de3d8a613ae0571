"""The corpus recorded from AWS (tests/corpus/aws), and how an answer is held against a recorded one.

The rules are those of tests/conformance/pattern.rs and tests/api/recorded.rs: placeholders are patterns, a placeholder
stands for the same text all through a case, texts that were recorded parsed are parsed, everything else is compared as it
stands.
"""

import datetime
import json
import re
from json.decoder import scanstring

SPACE = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()

# Texts that the recording put in place of others without angle brackets; each stands for a whole string.
BARE = {
    *("activity_arn", "activity_name", "bucket-name", "date", "datetime", "detail-type", "entered-time", "file-key"),
    *("function_name_branch1", "function_name_branch2", "lambda_function_name", "sfn_role_arn", "snf_role_arn"),
    *("sqs_queue_url", "start-date", "start-time", "state_machine_alias_name", "stop-date", "table-name", "timestamp"),
    "topic-arn",
}
# What the recording put in place of random numbers.
BARE_NUMBER = "RandomNumberGenerated"
# Texts that one recording put in place of the output of two tasks whose order was not defined.
BARE_VALUES = {"executionSucceededEventDetails.output", "stateExitedEventDetails.output"}
TIME_MEMBERS = {"creationDate", "updateDate", "startDate", "stopDate", "timestamp"}
TIME_WORDS = {"creation-date", "datetime", "timestamp"}
# Placeholders of times: they differ from place to place under one name.
TIMES = {"<date>", "<datetime>", "<entered-time>", "<start-time>", "<start-date>", "<stop-date>"}
# Members that recordings of other times lack, or that the publisher took out.
LACKING = {
    *("RedriveCount", "redriveCount", "redriveStatus", "redriveStatusReason", "encryptionConfiguration"),
    "ResponseMetadata",
}
HOLE = re.compile(r"<[A-Za-z0-9_:-]+>")
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
# More of a text says no more.
SHOWN_CHARS_MAX = 600


def elements(text):
    """Start and end of each element of an array, in its text."""
    at = SPACE.match(text, text.index("[") + 1).end()
    while text[at] != "]":
        end = DECODER.raw_decode(text, at)[1]
        yield at, end
        at = SPACE.match(text, end).end()
        if text[at] == ",":
            at = SPACE.match(text, at + 1).end()


def members(text, at):
    """Name and text of each member of the object that begins there: numbers keep their form, names their order."""
    at = SPACE.match(text, at + 1).end()
    while text[at] != "}":
        name, at = scanstring(text, at + 1)
        at = SPACE.match(text, SPACE.match(text, at).end() + 1).end()
        end = DECODER.raw_decode(text, at)[1]
        yield name, text[at:end]
        at = SPACE.match(text, end).end()
        if text[at] == ",":
            at = SPACE.match(text, at + 1).end()


def load(path):
    """The cases of a file, each with the texts of its `definition` and `input`."""
    text = path.read_text(encoding="utf-8")
    cases = []
    for start, end in elements(text):
        case = json.loads(text[start:end])
        texts = dict(members(text, start))
        for name in ("definition", "input"):
            if name + "_text" not in case and case.get(name) is not None:
                case[name + "_text"] = texts[name]
        cases.append(case)
    return cases


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def same(a, b):
    """Equality in which 1, 1.0 and true are three values."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(member, b[name]) for name, member in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def shown(value):
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"


def readable(recorded, ours):
    """Our value in the form of the recorded one: texts that hold JSON parsed where it has them parsed."""
    if isinstance(ours, dict):
        of = recorded if isinstance(recorded, dict) else {}
        return {name: readable(of.get(name), member) for name, member in ours.items()}
    if isinstance(ours, list):
        of = recorded if isinstance(recorded, list) else []
        return [readable(of[i] if i < len(of) else None, item) for i, item in enumerate(ours)]
    if isinstance(ours, str):
        value = parsed(ours)
        if isinstance(recorded, dict) and isinstance(value, dict) or isinstance(recorded, list) and isinstance(value, list):
            return readable(recorded, value)
        # Texts of arrays were recorded as texts, with the white space of the client.
        if isinstance(recorded, str) and value is not None and same(parsed(recorded), value):
            return recorded
    return ours


class Bindings:
    """What placeholders stand for in one case, and what was found to be different."""

    def __init__(self, known=None):
        self.known = dict(known or {"<partition>": "aws", "<region>": "us-east-1"})
        self.differences = []

    def compare(self, recorded, ours, path):
        """Notes where ours differs from what AWS answered; texts of ours are brought into the form of the recording."""
        self._compare(recorded, readable(recorded, ours), path)

    def fits(self, recorded, ours):
        """True if there is no difference; what placeholders stand for is kept only then."""
        tried = Bindings(self.known)
        tried.compare(recorded, ours, "")
        if not tried.differences:
            self.known = tried.known
        return not tried.differences

    def _compare(self, recorded, ours, path):
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for name, value in recorded.items():
                at = f"{path}.{name}"
                if name not in ours:
                    self.differences.append(f"{at}: missing; AWS: {shown(value)}")
                elif not (name in TIME_MEMBERS and isinstance(ours[name], datetime.datetime) and value in TIME_WORDS):
                    self._compare(value, ours[name], at)
            for name, value in ours.items():
                if name not in recorded and name not in LACKING:
                    self.differences.append(f"{path}.{name}: AWS has none; ours: {shown(value)}")
        elif isinstance(recorded, list) and isinstance(ours, list) and len(recorded) == len(ours):
            for i, (value, item) in enumerate(zip(recorded, ours)):
                self._compare(value, item, f"{path}[{i}]")
        elif isinstance(recorded, str) and recorded in BARE_VALUES:
            pass
        elif recorded == BARE_NUMBER and isinstance(ours, (int, float)):
            pass
        elif isinstance(recorded, str) and isinstance(ours, str) and self._matches(recorded, ours):
            pass
        elif not same(recorded, ours):
            self.differences.append(f"{path}: AWS: {shown(recorded)}; ours: {shown(ours)}")

    def _matches(self, recorded, ours):
        if recorded == ours:
            return True
        if recorded in BARE or recorded.startswith("snf_role_arn"):
            recorded = f"<{recorded}>"
        # The placeholders without brackets inside other text.
        recorded = re.sub(r":function:(lambda_function(?:_1)?_name)", r":function:<\1>", recorded)
        recorded = re.sub(r":(state_machine_alias_(?:base_name-.*|name))$", r":<\1>", recorded)
        recorded = re.sub(r"^(state_machine_alias_base_name-.*)$", r"<\1>", recorded)
        pieces = HOLE.split(recorded)
        holes = HOLE.findall(recorded)
        known = self._fit(pieces, holes, ours, 0, dict(self.known)) if holes else None
        if known is not None:
            self.known = known
        return known is not None

    def _fit(self, pieces, holes, text, at, known):
        """What the holes stand for if the text from `at` on has these pieces and between them what the holes allow."""
        if not text.startswith(pieces[0], at):
            return None
        at += len(pieces[0])
        if not holes:
            return known if at == len(text) else None
        hole, rest = holes[0], (pieces[1:], holes[1:])
        if text.startswith(hole, at):
            # The replayed answers of services hold the placeholders themselves.
            return self._fit(*rest, text, at + len(hole), known)
        if hole in known:
            value = known[hole]
            return self._fit(*rest, text, at + len(value), known) if text.startswith(value, at) else None
        for end in range(at + 1, len(text) + 1):
            value = text[at:end]
            if hole in TIMES and not TIME.fullmatch(value) or hole.startswith("<uuid:") and not UUID.fullmatch(value):
                continue
            more = known if hole in TIMES else {**known, hole: value}
            found = self._fit(*rest, text, end, more)
            if found is not None:
                return found
        return None


def details(event):
    """The details of an event, of whatever type it is."""
    return next((value for name, value in event.items() if name.endswith("EventDetails")), {})


def without(event, *names):
    return {name: value for name, value in event.items() if name not in names}


def compare_histories(bindings, recorded, ours):
    """Event by event. Between branches the order is not defined: there the recordings hold events without ids, sorted by
    their text, and these are compared as a set."""
    at, unordered = 0, []
    for event in recorded:
        if isinstance(event["id"], list):
            unordered.append(event)
            continue
        if unordered:
            end = max(at, min(event["id"] - 1, len(ours)))
            # A retry begins where the state has not ended.
            swallowed = () if event["type"] == "ParallelStateStarted" else ("ParallelStateSucceeded", "ParallelStateFailed")
            compare_sets(bindings, unordered, ours[at:end], swallowed)
            at, unordered = end, []
        if at < len(ours):
            bindings.compare(event, ours[at], f"event {event['id']} {event['type']}")
        else:
            bindings.differences.append(f"event {at + 1}: missing; AWS: {shown(event)}")
        at += 1
    bindings.differences.extend(f"AWS has ended before; ours: {shown(event)}" for event in ours[at:])


def compare_sets(bindings, recorded, ours, swallowed):
    places = ("id", "previousEventId", "timestamp")
    left = [without(event, *places) for event in ours]
    for event in recorded:
        event = without(event, *places)
        found = next((i for i, candidate in enumerate(left) if bindings.fits(event, candidate)), None)
        if found is None:
            bindings.differences.append(f"in the branches: missing; AWS: {shown(event)}")
        else:
            left.pop(found)
    # Sorting the events swallowed the one that ends the state in the recordings, and only this one.
    if [event["type"] for event in left] not in ([], *([name] for name in swallowed)):
        bindings.differences.append(f"in the branches: AWS has others; ours: {shown(left)}")
