import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { type Job, type Jobs, LifeboatError } from "../../core/index.ts";
import { awsError } from "./errors.ts";
import { PATIENCE, regionOf } from "./region.ts";

/** Lambda's limit of an asynchronous invocation's payload. */
const MAX_BYTES = 1024 * 1024;

/**
 * Jobs as asynchronous invocations of a Lambda function, its name or ARN (its own: AWS_LAMBDA_FUNCTION_NAME). Lambda
 * can't delay them: `after` becomes the job's `notBefore`, where that is not later already. Throws `invalid` for a job
 * of more than 1 MiB.
 */
export function lambdaJobs({ functionName }: { functionName: string }): Jobs {
  if (!functionName) {
    throw new LifeboatError("invalid", "no Lambda function is named for jobs", {
      hint: "in Lambda, AWS_LAMBDA_FUNCTION_NAME names it",
    });
  }
  const wanted = `enqueue a job at the Lambda function ${functionName}`;
  const region = regionOf(/^arn:[^:]*:lambda:([^:]+):/.exec(functionName)?.[1], wanted);
  const client = new LambdaClient({ region, requestHandler: PATIENCE });

  return {
    async enqueue(job, { after = 0, signal } = {}) {
      signal?.throwIfAborted();
      const Payload = Buffer.from(JSON.stringify(delayed(job, after)));
      if (Payload.length > MAX_BYTES) {
        throw new LifeboatError(
          "invalid",
          `a job of ${Payload.length} bytes is too large: Lambda takes ${MAX_BYTES} bytes`,
          {
            hint: "select by labels or patterns instead of long lists of names",
          },
        );
      }
      const request = new InvokeCommand({ FunctionName: functionName, InvocationType: "Event", Payload });
      await client.send(request, { abortSignal: signal }).catch((error: unknown) => {
        throw signal?.aborted ? signal.reason : awsError(error, wanted);
      });
    },
  };
}

function delayed(job: Job, after: number): Job {
  const begin = Date.now() + after * 1000;
  if (after <= 0 || (job.notBefore && Date.parse(job.notBefore) >= begin)) return job;
  return { ...job, notBefore: new Date(begin).toISOString() };
}
