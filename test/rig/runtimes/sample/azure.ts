import { app } from "@azure/functions";

/** A function app that shows what it is given, and fails as it is told. */
app.timer("clock", {
  schedule: "0 */5 * * * *",
  retry: { strategy: "fixedDelay", maxRetryCount: 2, delayInterval: { seconds: 10 } },
  handler: (timer, context) => {
    if (timer.isPastDue) throw new RangeError("past due");
    context.log(`last ${timer.scheduleStatus.last}`);
  },
});

app.storageQueue("jobs", {
  queueName: "jobs",
  connection: "AzureWebJobsStorage",
  handler: (message, context) => {
    context.log(`job ${JSON.stringify(message)}, delivery ${context.triggerMetadata?.dequeueCount}`);
  },
});

app.http("api", {
  methods: ["GET", "POST"],
  authLevel: "function",
  route: "{*path}",
  handler: async (request) => {
    if (request.query.get("fail")) throw new Error("as told");
    const { method, url, params } = request;
    return {
      status: 201,
      headers: { "X-Sample": "yes" },
      jsonBody: { method, url, params, body: await request.text() },
    };
  },
});

app.http("health", { methods: ["GET"], authLevel: "anonymous", route: "healthz", handler: () => ({ body: "ok" }) });
