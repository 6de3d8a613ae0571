// The server through the AWS SDK for JavaScript, version 3. The environment says where it is and with which keys: run it by
// sdk_test.py.

const assert = require("node:assert/strict");
const sdk = require("@aws-sdk/client-sfn");

const ROLE = "arn:aws:iam::123456789012:role/any";
const DEFINITION = JSON.stringify({
  StartAt: "A",
  States: { A: { Type: "Pass", Parameters: { "sum.$": "States.MathAdd($.a, 1)" }, End: true } },
});

async function main() {
  // What boto3 and the CLI take from the environment has to be said here.
  const client = new sdk.SFNClient({ disableHostPrefix: true });
  const send = (Command, input) => client.send(new sdk[Command + "Command"](input));
  const create = (name, type) => send("CreateStateMachine", { name, type, definition: DEFINITION, roleArn: ROLE });

  const { stateMachineArn, creationDate } = await create("js", "STANDARD");
  assert.ok(creationDate instanceof Date && Math.abs(Date.now() - creationDate) < 600_000, String(creationDate));
  const { executionArn } = await send("StartExecution", { stateMachineArn, name: "first", input: '{"a": 1, "text": "é 😀"}' });
  let described;
  const deadline = Date.now() + 60_000;
  do {
    described = await send("DescribeExecution", { executionArn });
    assert.ok(Date.now() < deadline, JSON.stringify(described));
  } while (described.status === "RUNNING");
  assert.equal(described.status, "SUCCEEDED");
  assert.equal(described.output, '{"sum":2}');
  assert.equal(described.input, '{"a": 1, "text": "é 😀"}');
  assert.ok(described.stopDate instanceof Date && described.stopDate >= described.startDate);

  const ids = [];
  for await (const page of sdk.paginateGetExecutionHistory({ client, pageSize: 1 }, { executionArn })) {
    assert.ok(page.events.length <= 1);
    ids.push(...page.events.map((event) => event.id));
  }
  assert.deepEqual(ids, [1, 2, 3, 4]);

  const express = (await create("js-express", "EXPRESS")).stateMachineArn;
  const done = await send("StartSyncExecution", { stateMachineArn: express, input: '{"a": 41}' });
  assert.equal(done.output, '{"sum":42}');
  assert.equal(done.billingDetails.billedMemoryUsedInMB, 64);
  const failed = await send("StartSyncExecution", { stateMachineArn: express, input: "[]" });
  assert.equal(failed.status, "FAILED");
  assert.equal(failed.error, "States.Runtime");

  const tested = await send("TestState", { definition: '{"Type": "Succeed"}', roleArn: ROLE, input: "{}" });
  assert.equal(tested.status, "SUCCEEDED");

  // Errors are classes of their own, with the request's id.
  const nowhere = stateMachineArn + "x";
  await assert.rejects(send("DescribeStateMachine", { stateMachineArn: nowhere }), (error) => {
    assert.ok(error instanceof sdk.StateMachineDoesNotExist, String(error));
    assert.equal(error.message, `State Machine Does Not Exist: '${nowhere}'`);
    assert.equal(error.$metadata.httpStatusCode, 400);
    assert.ok(error.$metadata.requestId);
    return true;
  });
  // A refusal with a status of its own is not retried, and is known for what it is.
  await assert.rejects(
    send("PublishStateMachineVersion", { stateMachineArn, revisionId: "other" }),
    (error) => error instanceof sdk.ConflictException && error.$metadata.httpStatusCode === 409 && error.$metadata.attempts === 1,
  );
  // Told nothing of prefixes, the client looks for a host sync-127.0.0.1, and so hears no answer.
  const prefixed = new sdk.SFNClient({ maxAttempts: 1 });
  await assert.rejects(
    prefixed.send(new sdk.StartSyncExecutionCommand({ stateMachineArn: express })),
    (error) => !(error instanceof sdk.SFNServiceException),
  );

  const activity = (await send("CreateActivity", { name: "js-activity" })).activityArn;
  const task = { StartAt: "A", States: { A: { Type: "Task", Resource: activity, End: true } } };
  const worked = await send("CreateStateMachine", { name: "js-worked", definition: JSON.stringify(task), roleArn: ROLE });
  const execution = await send("StartExecution", { stateMachineArn: worked.stateMachineArn, input: '{"n": 1}' });
  const taken = await send("GetActivityTask", { activityArn: activity, workerName: "node" });
  assert.deepEqual(JSON.parse(taken.input), { n: 1 });
  await send("SendTaskSuccess", { taskToken: taken.taskToken, output: '"done"' });
  const output = await send("DescribeExecution", { executionArn: execution.executionArn });
  assert.equal(output.output, '"done"');

  for (const arn of [stateMachineArn, express, worked.stateMachineArn]) {
    await send("DeleteStateMachine", { stateMachineArn: arn });
  }
  assert.deepEqual((await send("ListStateMachines", {})).stateMachines, []);
  console.log("sdk_test: ok");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
