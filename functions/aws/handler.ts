import type { Context, LambdaFunctionURLEventWithIAMAuthorizer, LambdaFunctionURLResult } from "aws-lambda";
import { createService, type Outcome } from "../../core/index.ts";
import { requestOf, resultOf } from "./http.ts";
import { aws } from "./platform.ts";

const service = createService(aws);

type RuleEvent = { source: "aws.events"; resources: string[]; time: string };

/**
 * The Lambda function: a request to its URL, a job (EventBridge Scheduler's input, its own asynchronous invocation,
 * `aws lambda invoke`), or the event of an EventBridge rule, which is named as the schedule it is for.
 */
export async function handler(event: unknown, context: Context): Promise<Outcome | LambdaFunctionURLResult> {
  if (isRequest(event)) {
    return resultOf(await service.fetch(requestOf(event), { caller: event.requestContext.authorizer?.iam.userArn }));
  }
  const deadline = new Date(Date.now() + context.getRemainingTimeInMillis());
  return service.run(isRule(event) ? jobOf(event) : event, { deadline });
}

function isRequest(event: unknown): event is LambdaFunctionURLEventWithIAMAuthorizer {
  return typeof event === "object" && event !== null && "requestContext" in event && "rawPath" in event;
}

function isRule(event: unknown): event is RuleEvent {
  return typeof event === "object" && event !== null && "source" in event && event.source === "aws.events";
}

function jobOf({ resources }: RuleEvent): object {
  return { kind: "backup", schedule: resources[0]?.split("/").at(-1) };
}
