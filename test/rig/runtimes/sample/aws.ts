import type { Context } from "aws-lambda";

/** A Lambda function that shows what it is given, and fails as it is told. */
export async function handler(event: Record<string, unknown>, context: Context): Promise<unknown> {
  console.log(`event ${JSON.stringify(event)}`);
  if (event.fail) throw new RangeError(String(event.fail));
  if (event.exit) process.exit(Number(event.exit));
  if (event.ms) await new Promise((resolve) => setTimeout(resolve, Number(event.ms)));
  if (event.large) return "x".repeat(Number(event.large));
  if (event.requestContext) return { statusCode: 201, headers: { "X-Sample": "yes" }, body: JSON.stringify(event) };
  return {
    event,
    remaining: context.getRemainingTimeInMillis(),
    pid: process.pid,
    inherited: process.env.LIFEBOAT_TEST_SECRET ?? null,
    setting: process.env.SETTING,
  };
}
