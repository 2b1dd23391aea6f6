import type { Context, LambdaFunctionURLEventWithIAMAuthorizer, LambdaFunctionURLResult } from "aws-lambda";
import { createService, type JobStatus } from "../../core/index.ts";
import { keepHeapSmall } from "../memory.ts";
import { answer } from "./http.ts";
import { aws } from "./platform.ts";

keepHeapSmall();
const service = createService(aws);

type RuleEvent = { source: "aws.events"; resources: string[]; time: string };
/** From the state machine of infra/modules/aws, which does what is left of the job; `delivery` is its execution. */
type Driven = { loops: true; delivery: string; job: unknown };

/**
 * The Lambda function: a request to its URL, a job (of the state machine, of `aws lambda invoke`), or the event of an
 * EventBridge rule, which is named as the schedule it is for.
 */
export async function handler(event: unknown, context: Context): Promise<JobStatus | LambdaFunctionURLResult> {
  if (isRequest(event)) return answer(service, event);
  const deadline = new Date(Date.now() + context.getRemainingTimeInMillis());
  if (isDriven(event)) return service.run(event.job, { deadline, delivery: event.delivery, loops: true });
  // Lambda's own retries of an asynchronous invocation keep its request's id.
  return service.run(isRule(event) ? jobOf(event) : event, { deadline, delivery: context.awsRequestId });
}

function isRequest(event: unknown): event is LambdaFunctionURLEventWithIAMAuthorizer {
  return typeof event === "object" && event !== null && "requestContext" in event && "rawPath" in event;
}

function isDriven(event: unknown): event is Driven {
  return typeof event === "object" && event !== null && "loops" in event && event.loops === true && "job" in event;
}

function isRule(event: unknown): event is RuleEvent {
  return typeof event === "object" && event !== null && "source" in event && event.source === "aws.events";
}

function jobOf({ resources, time }: RuleEvent): object {
  return { kind: "backup", schedule: resources[0]?.split("/").at(-1), slot: time };
}
