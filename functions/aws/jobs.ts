import { randomUUID } from "node:crypto";
import { ExecutionAlreadyExists, SFNClient, StartExecutionCommand } from "@aws-sdk/client-sfn";
import { type Job, type Jobs, LifeboatError } from "../../core/index.ts";
import { awsError } from "./errors.ts";
import { PATIENCE, regionOf } from "./region.ts";

/** Step Functions' limit of an input is 256 KiB; what is left is for what the machine puts around the job. */
const MAX_BYTES = 250_000;

/**
 * Jobs as executions of a state machine, by its ARN: that of infra/modules/aws, which does what is left of a job, too.
 * `after` becomes the job's `notBefore`, where that is not later already: the machine waits for it. Throws `invalid` for
 * a job of more than 250,000 bytes.
 */
export function stateMachineJobs({ stateMachine }: { stateMachine: string }): Jobs {
  const wanted = `enqueue a job at the state machine ${stateMachine}`;
  const [, region] = /^arn:[^:]+:states:([^:]+):\d+:stateMachine:/.exec(stateMachine) ?? [];
  if (!region) {
    throw new LifeboatError("invalid", "no state machine is named for jobs, by its ARN", {
      hint: "in Lambda, LIFEBOAT_STATE_MACHINE names it",
    });
  }
  const client = new SFNClient({ region: regionOf(region, wanted), requestHandler: PATIENCE });

  return {
    async enqueue(job, { after = 0, signal } = {}) {
      signal?.throwIfAborted();
      const input = JSON.stringify(delayed(job, after));
      const bytes = Buffer.byteLength(input);
      if (bytes > MAX_BYTES) {
        throw new LifeboatError("invalid", `a job of ${bytes} bytes is too large: ${MAX_BYTES} bytes fit`, {
          hint: "select by labels or patterns instead of long lists of names",
        });
      }
      // Named, it isn't begun twice when the call has to be repeated.
      const request = new StartExecutionCommand({ stateMachineArn: stateMachine, name: randomUUID(), input });
      await client.send(request, { abortSignal: signal }).catch((error: unknown) => {
        if (signal?.aborted) throw signal.reason;
        if (!(error instanceof ExecutionAlreadyExists)) throw awsError(error, wanted);
      });
    },
  };
}

function delayed(job: Job, after: number): Job {
  const begin = Date.now() + after * 1000;
  if (after <= 0 || (job.notBefore && Date.parse(job.notBefore) >= begin)) return job;
  return { ...job, notBefore: new Date(begin).toISOString() };
}
