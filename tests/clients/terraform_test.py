"""The calls that Terraform's AWS provider makes, in its order and with its parameters, for `aws_sfn_state_machine`,
`aws_sfn_alias` and `aws_sfn_activity`: plan, apply, refresh, change, import, destroy.

Usage: terraform_test.py PATH_OF_QUICKSTEP

The provider itself can be had from HashiCorp's registry only. What it sends was read off its source; where it is particular,
the comments say so.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import botocore.exceptions
from boto3_test import ROLE, Server, refused

LOG_GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/vendedlogs/states/tf:*"
DEFINITION = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}, indent=2)
CHANGED = json.dumps({"StartAt": "B", "States": {"B": {"Type": "Succeed"}}}, indent=2) + "\n"


def found(call, code):
    """What a description says; nothing if the resource is gone: the provider knows that by this error's code alone."""
    try:
        return call()
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return None


def reconcile_tags(sfn, arn, old, new):
    """Tags that go are taken off before others are put on."""
    gone = sorted(old.keys() - new.keys())
    set_anew = {key: value for key, value in new.items() if old.get(key) != value}
    if gone:
        sfn.untag_resource(resourceArn=arn, tagKeys=gone)
    if set_anew:
        sfn.tag_resource(resourceArn=arn, tags=[{"key": key, "value": value} for key, value in set_anew.items()])


def tags_of(sfn, arn):
    return {tag["key"]: tag["value"] for tag in sfn.list_tags_for_resource(resourceArn=arn)["tags"]}


class StateMachine:
    """`aws_sfn_state_machine`: `wanted` is the configuration, `state` what was read last."""

    def __init__(self, sfn, **wanted):
        self.sfn, self.arn, self.state = sfn, None, None
        self.wanted = {"type": "STANDARD", "publish": False, "tags": {}, **wanted}

    def plan(self):
        """A definition that changes is validated before anything is done."""
        if self.state is None or self.state["definition"] != self.wanted["definition"]:
            wanted = {name: self.wanted[name] for name in ("definition", "type")}
            answer = self.sfn.validate_state_machine_definition(**wanted)
            return answer["result"] == "OK", answer["diagnostics"]
        return True, []

    def blocks(self, is_set=lambda name: True):
        names = ("encryptionConfiguration", "loggingConfiguration", "tracingConfiguration")
        return {name: self.wanted[name] for name in names if name in self.wanted and is_set(name)}

    def create(self):
        wanted = self.wanted
        created = self.sfn.create_state_machine(
            name=wanted["name"],
            definition=wanted["definition"],
            roleArn=wanted["roleArn"],
            type=wanted["type"],
            publish=wanted["publish"],
            tags=[{"key": key, "value": value} for key, value in wanted["tags"].items()],
            **self.blocks(),
        )
        self.arn = created["stateMachineArn"]
        self.read()

    def read(self):
        """Refreshes the state; false if the machine is gone."""
        describe = lambda: self.sfn.describe_state_machine(stateMachineArn=self.arn)
        self.state = found(describe, "StateMachineDoesNotExist")
        if self.state is None:
            return False
        versions = self.sfn.list_state_machine_versions(stateMachineArn=self.arn)["stateMachineVersions"]
        # The newest comes first.
        self.state["version"] = versions[0]["stateMachineVersionArn"] if versions else None
        self.state["tags"] = tags_of(self.sfn, self.arn)
        return True

    def difference(self):
        """Attributes whose value is another than that in the configuration: a second plan has to be empty."""
        names = ("definition", "roleArn", "type", "tags", "name")
        pairs = [(name, self.wanted[name], self.state[name]) for name in names]
        pairs += [(name, block, self.state.get(name)) for name, block in self.blocks().items()]
        return [pair for pair in pairs if pair[1] != pair[2]]

    def update(self, **wanted):
        before = self.wanted
        self.wanted = {**before, **wanted}
        if wanted.keys() - {"tags"}:
            # Always with both, since AWS wants one of them; and with an empty description, if it publishes.
            version = {"versionDescription": ""} if self.wanted["publish"] else {}
            self.sfn.update_state_machine(
                stateMachineArn=self.arn,
                definition=self.wanted["definition"],
                roleArn=self.wanted["roleArn"],
                publish=self.wanted["publish"],
                **version,
                **self.blocks(lambda name: name in wanted),
            )
            self.await_update(wanted)
        if "tags" in wanted:
            reconcile_tags(self.sfn, self.arn, before["tags"], wanted["tags"])
        self.read()

    def await_update(self, changed):
        """Descriptions are asked for until they show the change: definitions by their JSON."""
        deadline = time.monotonic() + 60
        while True:
            shown = self.sfn.describe_state_machine(stateMachineArn=self.arn)
            same = "definition" not in changed or json.loads(shown["definition"]) == json.loads(changed["definition"])
            same &= "roleArn" not in changed or shown["roleArn"] == changed["roleArn"]
            for name in ("tracingConfiguration", "loggingConfiguration", "encryptionConfiguration"):
                same &= name not in changed or shown[name] == changed[name]
            if same:
                return
            assert time.monotonic() < deadline, shown

    def delete(self):
        self.sfn.delete_state_machine(stateMachineArn=self.arn)
        deadline = time.monotonic() + 300
        while self.read():
            # ACTIVE and DELETING are waited for; another status would end the waiter.
            assert self.state["status"] in ("ACTIVE", "DELETING") and time.monotonic() < deadline, self.state


def logging(level, **more):
    group = {"cloudWatchLogsLogGroup": {"logGroupArn": LOG_GROUP}}
    return {"level": level, "includeExecutionData": True, "destinations": [group], **more}


def check_state_machine(sfn):
    bad = StateMachine(sfn, name="tf-bad", definition='{"StartAt": "A", "States": {}}', roleArn=ROLE)
    good, diagnostics = bad.plan()
    assert not good and all(d["severity"] and d["code"] and d["message"] for d in diagnostics), diagnostics

    machine = StateMachine(
        sfn,
        name="tf-machine",
        definition=DEFINITION,
        roleArn=ROLE,
        publish=True,
        tags={"Name": "tf", "Empty": ""},
        loggingConfiguration=logging("ERROR"),
        tracingConfiguration={"enabled": True},
        encryptionConfiguration={"type": "AWS_OWNED_KEY"},
    )
    assert machine.plan() == (True, []), machine.plan()
    machine.create()
    assert machine.difference() == [], machine.difference()
    assert machine.state["version"] == machine.arn + ":1" and machine.state["status"] == "ACTIVE", machine.state
    assert "revisionId" not in machine.state and machine.state["creationDate"], machine.state
    # Refreshed, it is the same: byte by byte the definition that was sent.
    assert machine.read() and machine.difference() == []

    assert machine.plan()[0]
    machine.update(definition=CHANGED, roleArn=ROLE + "2")
    revision = machine.state["revisionId"]
    assert machine.difference() == [] and revision and machine.state["version"] == machine.arn + ":2", machine.state
    machine.update(loggingConfiguration=logging("ALL", includeExecutionData=False), tracingConfiguration={"enabled": False})
    assert machine.difference() == [] and machine.state["revisionId"] != revision, machine.state
    assert machine.state["version"] == machine.arn + ":3", machine.state
    # A block that goes is not sent; one whose destination goes has none.
    machine.update(loggingConfiguration={"level": "OFF", "includeExecutionData": False})
    assert machine.difference() == [], machine.difference()
    revision = machine.state["revisionId"]
    machine.update(tags={"Name": "other", "New": "1"})
    assert machine.difference() == [] and machine.state["revisionId"] == revision, machine.state
    # Only the published flag changes: there is nothing to publish that has no version.
    versions = machine.state["version"]
    machine.update(publish=False)
    assert machine.state["version"] == versions, machine.state

    imported = StateMachine(sfn, **{**machine.wanted, "publish": False})
    imported.arn = machine.arn
    assert imported.read() and imported.difference() == [], imported.difference()

    machine.delete()
    # What was deleted by somebody else is gone from the state, and may be deleted again.
    assert not machine.read()
    sfn.delete_state_machine(stateMachineArn=machine.arn)
    # The name is free again, for another type: that is how a resource is replaced.
    machine = StateMachine(sfn, **{**machine.wanted, "type": "EXPRESS", "publish": True})
    machine.create()
    assert machine.difference() == [] and machine.state["version"] == machine.arn + ":1", machine.state
    machine.delete()


def check_alias(sfn):
    machine = StateMachine(sfn, name="tf-aliased", definition=DEFINITION, roleArn=ROLE, publish=True)
    machine.create()
    first = machine.state["version"]
    route = lambda arn, weight: {"stateMachineVersionArn": arn, "weight": weight}
    # A description that is not given is sent as an empty text.
    alias = sfn.create_state_machine_alias(name="live", description="", routingConfiguration=[route(first, 100)])
    alias = alias["stateMachineAliasArn"]
    describe = lambda: sfn.describe_state_machine_alias(stateMachineAliasArn=alias)
    read = lambda: found(describe, "ResourceNotFound")
    assert read()["name"] == "live" and read()["routingConfiguration"] == [route(first, 100)], read()
    assert read().get("description", "") == "" and read()["creationDate"], read()
    machine.update(definition=CHANGED)
    second = machine.state["version"]
    both = [route(first, 90), route(second, 10)]
    sfn.update_state_machine_alias(stateMachineAliasArn=alias, routingConfiguration=both)
    assert read()["routingConfiguration"] == both, read()
    sfn.update_state_machine_alias(stateMachineAliasArn=alias, description="both", routingConfiguration=both[::-1])
    assert read()["description"] == "both" and read()["routingConfiguration"] == both[::-1], read()
    # The data sources.
    listed = sfn.list_state_machine_aliases(stateMachineArn=machine.arn)["stateMachineAliases"]
    assert [known["stateMachineAliasArn"] for known in listed] == [alias], listed
    pages = sfn.list_state_machine_versions(stateMachineArn=machine.arn)["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in pages] == [second, first], pages
    listed = sfn.get_paginator("list_state_machines").paginate().build_full_result()["stateMachines"]
    assert machine.arn in [known["stateMachineArn"] for known in listed], listed
    refused(lambda: sfn.delete_state_machine_version(stateMachineVersionArn=first), "ConflictException", "[live]")
    sfn.delete_state_machine_alias(stateMachineAliasArn=alias)
    assert read() is None
    sfn.delete_state_machine_version(stateMachineVersionArn=first)
    machine.delete()


def check_activity(sfn):
    create = lambda: sfn.create_activity(
        name="tf-activity", tags=[{"key": "a", "value": "1"}], encryptionConfiguration={"type": "AWS_OWNED_KEY"}
    )
    arn = create()["activityArn"]
    read = lambda: found(lambda: sfn.describe_activity(activityArn=arn), "ActivityDoesNotExist")
    state = read()
    assert state["name"] == "tf-activity" and state["creationDate"] == create()["creationDate"], state
    assert state["encryptionConfiguration"] == {"type": "AWS_OWNED_KEY"}, state
    reconcile_tags(sfn, arn, {"a": "1"}, {"b": "2"})
    assert tags_of(sfn, arn) == {"b": "2"}
    sfn.delete_activity(activityArn=arn)
    assert read() is None
    refused(lambda: sfn.list_tags_for_resource(resourceArn=arn), "ResourceNotFound")
    own = {"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "alias/mine", "kmsDataKeyReusePeriodSeconds": 300}
    make = lambda **more: sfn.create_activity(name="tf-secret", encryptionConfiguration=own)
    refused(make, "InvalidEncryptionConfiguration", "does not encrypt")


def main():
    binary = str(Path(sys.argv[1]).resolve())
    checks = [check for name, check in globals().items() if name.startswith("check_")]
    with tempfile.TemporaryDirectory() as folder:
        for arguments in ([], ["--data-dir", folder]):
            with Server(binary, *arguments) as server:
                for check in checks:
                    check(server.client())
                    print(f"terraform_test: {check.__name__}: ok {' '.join(arguments[:1])}", flush=True)


if __name__ == "__main__":
    main()
