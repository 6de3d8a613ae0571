// Serves three calls of the Step Functions API with the library aws-local-stepfunctions, so that the load tester can load it:
// CreateStateMachine, DeleteStateMachine and StartSyncExecution.
//
//   npm install aws-local-stepfunctions && node aws-local-stepfunctions.mjs PORT
//
// The library is all that runs an execution; what is here parses a request and writes an answer.
import { createServer } from 'node:http';
import { StateMachine } from 'aws-local-stepfunctions';

const machines = new Map();

const operations = {
  CreateStateMachine({ name, definition }) {
    const stateMachineArn = `arn:aws:states:us-east-1:123456789012:stateMachine:${name}`;
    machines.set(stateMachineArn, new StateMachine(JSON.parse(definition), { validationOptions: { checkArn: false } }));
    return { stateMachineArn, creationDate: Date.now() / 1000 };
  },
  DeleteStateMachine({ stateMachineArn }) {
    machines.delete(stateMachineArn);
    return {};
  },
  async StartSyncExecution({ stateMachineArn, input }) {
    const output = await machines.get(stateMachineArn).run(JSON.parse(input)).result;
    return { status: 'SUCCEEDED', output: JSON.stringify(output) };
  },
};

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const operation = (request.headers['x-amz-target'] ?? '').replace('AWSStepFunctions.', '');
  let status = 200;
  let answer;
  try {
    answer = await operations[operation](JSON.parse(Buffer.concat(pieces).toString()));
  } catch (error) {
    status = 400;
    answer = { __type: 'Refused', message: String(error) };
  }
  const body = JSON.stringify(answer);
  response.writeHead(status, { 'Content-Type': 'application/x-amz-json-1.0', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), '127.0.0.1');
