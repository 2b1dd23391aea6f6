import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import {
  CreateStateMachineCommand,
  DescribeExecutionCommand,
  type DescribeExecutionOutput,
  paginateListExecutions,
  SFNClient,
  StartExecutionCommand,
} from "@aws-sdk/client-sfn";
import { type Moto, startMoto } from "./moto.ts";
import { npmTool } from "./npmtool.ts";
import { until } from "./process.ts";

const DEFINITION = join(import.meta.dirname, "../../infra/modules/aws/machine.json.tftpl");
const ACCOUNT = "123456789012";
const REGION = "us-east-1";
const FUNCTION = `arn:aws:lambda:${REGION}:${ACCOUNT}:function:lifeboat-backup`;
const MACHINE = `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:lifeboat-backup`;
const ROLE = `arn:aws:iam::${ACCOUNT}:role/lifeboat-backup-machine`;

/** The state machine of `infra/modules/aws` with a function of the test's. */
export interface StateMachine extends AsyncDisposable {
  /** Runs a job to its end: what the machine returned, or the name of the error with which it failed. */
  run(job: object): Promise<{ output?: unknown; error?: string }>;
  /** The dead letters so far. */
  letters: Letter[];
}

interface Letter {
  machine: string;
  job: object;
  error: { Error: string; Cause: string };
}

interface Given {
  retries?: number;
  concurrency?: number;
}

/** What the machine's function is given and answers; what it throws is told to the machine by its name. */
export type Task = (payload: unknown) => Promise<unknown>;

/** The definition as Terraform's templatefile writes it, but that it waits a second where AWS waits a minute. */
export async function definition(given: Given = {}): Promise<string> {
  const { retries = 2, concurrency = 2 } = given;
  const values: Record<string, string | number> = {
    ...{ retries, concurrency, partition: "aws", function: FUNCTION, machine: MACHINE },
    dead_letters: `https://sqs.${REGION}.amazonaws.com/${ACCOUNT}/lifeboat-dead-letters`,
  };
  const text = (await readFile(DEFINITION, "utf8")).replace(/\$\{(\w+)\}/g, (_, name) => String(values[name]));
  return text.replace(/"IntervalSeconds": \d+/g, '"IntervalSeconds": 1');
}

/** A machine on moto that runs nothing, and what it was begun with, oldest first; `at`: when. */
export interface Begun {
  machine: string;
  received(): Promise<{ job: unknown; at: Date }[]>;
}

/** Makes that machine. Executions are begun there, and end at once. */
export async function begunOnMoto({ endpoint, env }: Moto): Promise<Begun> {
  const client = clientOf(endpoint, env);
  const states = { Done: { Type: "Succeed" } };
  const idle = JSON.stringify({ StartAt: "Done", States: states });
  await client.send(new CreateStateMachineCommand({ name: "lifeboat-backup", definition: idle, roleArn: ROLE }));
  const known = new Map<string, Promise<DescribeExecutionOutput>>();
  return {
    machine: MACHINE,
    async received() {
      for await (const { executions = [] } of paginateListExecutions({ client }, { stateMachineArn: MACHINE }))
        for (const { executionArn = "" } of executions)
          if (!known.has(executionArn))
            known.set(executionArn, client.send(new DescribeExecutionCommand({ executionArn })));
      const all = await Promise.all(known.values());
      return all
        .map(({ input = "", startDate = new Date() }) => ({ job: JSON.parse(input), at: startDate }))
        .sort((one, other) => one.at.getTime() - other.at.getTime());
    },
  };
}

function clientOf(endpoint: string, env: Moto["env"]): SFNClient {
  const credentials = { accessKeyId: env.AWS_ACCESS_KEY_ID!, secretAccessKey: env.AWS_SECRET_ACCESS_KEY! };
  return new SFNClient({ endpoint, region: REGION, credentials });
}

/** What of npm's aws-local-stepfunctions is used. */
interface Library {
  StateMachine: new (
    definition: object,
  ) => {
    run(
      input: object,
      options: { overrides: { taskResourceLocalHandlers: Record<string, unknown> }; context: object },
    ): { result: Promise<unknown> };
  };
}

/**
 * The machine in this process, by aws-local-stepfunctions. It has no Distributed Map, which is an inline one here, and no
 * task but a function's: an execution of the machine by itself is another run here.
 */
export async function localMachine(task: Task, given?: Given): Promise<StateMachine> {
  const folder = join(await npmTool("aws-local-stepfunctions"), "node_modules/aws-local-stepfunctions");
  const library: Library = await import(pathToFileURL(join(folder, "build/main.node.esm.js")).href);
  const machine = new library.StateMachine(JSON.parse(await definition(given)));
  const letters: Letter[] = [];
  let executions = 0;
  const execute = (job: object): Promise<unknown> => {
    const taskResourceLocalHandlers = {
      Run: task,
      Part: ({ Input }: { Input: object }) => execute(Input),
      GiveUp: async ({ MessageBody }: { MessageBody: Letter }) => letters.push(MessageBody),
    };
    const context = { Execution: { Id: `execution-${++executions}`, Input: job } };
    return machine.run(job, { overrides: { taskResourceLocalHandlers }, context }).result;
  };
  return {
    letters,
    async run(job) {
      try {
        return { output: await execute(job) };
      } catch (error) {
        const { cause, name } = error as Error;
        return { error: cause instanceof Error ? cause.name : name };
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}

/**
 * The machine on moto, which interprets all of it, the Distributed Map and messages to a queue, too. Two tasks it can't do,
 * functions without containers and executions by executions (it spells that call as no client takes it): what moto asks
 * of Lambda for the first, `task` answers, and the second is such a function here, which begins the execution on moto.
 */
export async function motoMachine(task: Task, given?: Given): Promise<StateMachine> {
  const letters: Letter[] = [];
  const gateway = createServer((request, response) => {
    const [, name] = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(request.url ?? "") ?? [];
    const answered = name
      ? invoke(name.endsWith(BEGINNER) ? begin : task, request, response)
      : forward(request, response);
    answered.catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => gateway.listen(0, "127.0.0.1", resolve));
  const { port } = gateway.address() as AddressInfo;
  const moto = await startMoto({ itself: port });
  const { endpoint, env } = moto;
  const client = clientOf(endpoint, env);

  /** To moto, but for functions; messages to the queue are dead letters. */
  async function forward(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(incoming);
    const { method, url = "/" } = incoming;
    const headers = { ...incoming.headers, host: new URL(endpoint).host };
    const answer = await new Promise<IncomingMessage>((resolve, reject) =>
      request(new URL(url, endpoint), { method, headers }, resolve).on("error", reject).end(body),
    );
    if (incoming.headers["x-amz-target"] === "AmazonSQS.SendMessage" && answer.statusCode === 200)
      letters.push(JSON.parse(JSON.parse(body.toString()).MessageBody));
    response.writeHead(answer.statusCode ?? 502, answer.headers).end(await buffer(answer));
  }

  async function execute(job: object, name: string): Promise<{ output?: string; error?: string }> {
    const start = new StartExecutionCommand({ stateMachineArn: MACHINE, name, input: JSON.stringify(job) });
    const { executionArn } = await client.send(start);
    const ended = async () => {
      const execution = await client.send(new DescribeExecutionCommand({ executionArn }));
      return execution.status !== "RUNNING" && execution;
    };
    return until("the execution", ended, { seconds: 120 });
  }

  const begin: Task = async (given) => {
    const { StateMachineArn, Name, Input } = given as { StateMachineArn: string; Name: string; Input: object };
    if (StateMachineArn !== MACHINE) throw new Error(`begins ${StateMachineArn}`);
    const { error, output } = await execute(Input, Name);
    if (error) throw Object.assign(new Error(error), { name: "States.TaskFailed" });
    return output;
  };

  const stop = async () => {
    client.destroy();
    await moto.stop();
    gateway.closeAllConnections();
    await new Promise((closed) => gateway.close(closed));
  };
  try {
    const config = { stepfunctions: { execute_state_machine: true } };
    await fetch(`${endpoint}/moto-api/config`, { method: "POST", body: JSON.stringify(config) });
    const scope = `Credential=RIG/20260101/${REGION}/sqs/aws4_request`;
    await fetch(endpoint, {
      method: "POST",
      headers: {
        "x-amz-target": "AmazonSQS.CreateQueue",
        authorization: `AWS4-HMAC-SHA256 ${scope}, SignedHeaders=host, Signature=0`,
      },
      body: JSON.stringify({ QueueName: "lifeboat-dead-letters" }),
    });
    const text = (await definition(given))
      .replace(/"arn:aws:states:::states:startExecution[^"]*"/, `"${FUNCTION}-${BEGINNER}"`)
      // Its grammar wants a decimal point there.
      .replace(/("ToleratedFailurePercentage": \d+),/, "$1.0,");
    await client.send(new CreateStateMachineCommand({ name: "lifeboat-backup", definition: text, roleArn: ROLE }));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    letters,
    async run(job) {
      const { output, error } = await execute(job, randomUUID());
      return { ...(output && { output: JSON.parse(output) }), ...(error && { error }) };
    },
    [Symbol.asyncDispose]: stop,
  };
}

const BEGINNER = "begins-executions";

/** Answers as Lambda's Invoke does to who waits. */
async function invoke(task: Task, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const payload = JSON.parse((await buffer(request)).toString());
  const headers = { "content-type": "application/json" };
  try {
    const answer = await task(payload);
    response.writeHead(200, headers).end(JSON.stringify(answer ?? null));
  } catch (error) {
    const { name: errorType, message: errorMessage } = error as Error;
    response.writeHead(200, { ...headers, "x-amz-function-error": "Unhandled" });
    response.end(JSON.stringify({ errorType, errorMessage }));
  }
}
