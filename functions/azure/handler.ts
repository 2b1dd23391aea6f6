import { app } from "@azure/functions";
import { createService, type Listen, readClockKinds } from "../../core/index.ts";
import { keepHeapSmall } from "../memory.ts";
import { answerOf, callerOf, requestOf } from "./http.ts";
import { azure, QUEUE } from "./platform.ts";

keepHeapSmall();
const service = createService(azure);
/** The functionTimeout of host.json, in milliseconds, or what an app setting of the host says in its place (hh:mm:ss). */
const TIMEOUT = timeoutOf(process.env.AzureFunctionsJobHost__functionTimeout ?? "02:00:00");
/** When the schedules are looked at, in the host's own notation, with seconds; several between ";". */
const CLOCK = process.env.LIFEBOAT_CLOCK ?? "0 */5 * * * *";
/** What the clock hands over: of several functions with an identity each, only one may make backups, one delete. */
const KINDS = readClockKinds(process.env.LIFEBOAT_CLOCK_JOBS);

/** For all schedules, since the host's clock knows neither time zones nor all of our cron: what is due goes to the queue. */
const timers = KINDS.length === 0 ? [] : CLOCK.split(/\s*;\s*/).filter(Boolean);
for (const [at, schedule] of timers.entries()) {
  app.timer(at === 0 ? "clock" : `clock${at + 1}`, {
    schedule,
    retry: { strategy: "fixedDelay", maxRetryCount: 2, delayInterval: { seconds: 30 } },
    handler: ({ scheduleStatus }) =>
      service.tick(scheduleStatus?.last ? new Date(scheduleStatus.last) : undefined, KINDS),
  });
}

/**
 * The host delivers a job that fails again, and puts it into the poison queue in the end. A queue answers nobody: what a
 * check found goes to the log, as one line.
 */
app.storageQueue("jobs", {
  queueName: QUEUE,
  connection: "AzureWebJobsStorage",
  handler: async (message, context) => {
    const deadline = TIMEOUT === undefined ? undefined : new Date(Date.now() + TIMEOUT);
    const delivery = String(context.triggerMetadata?.id ?? context.invocationId);
    const listen: Listen = (line, level) => (level === "error" ? context.error(line) : context.log(line));
    const ended = await service.run(message, { deadline, delivery, listen });
    if (ended.checks) context.log(JSON.stringify(ended));
  },
});

app.http("api", {
  methods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
  authLevel: "function",
  route: "{*path}",
  handler: async (request) => answerOf(await service.fetch(await requestOf(request), { caller: callerOf(request) })),
});

/** In milliseconds; undefined where there is no limit, which the host writes as -1. */
function timeoutOf(text: string): number | undefined {
  const [, days = 0, ...time] = /^(?:(\d+)\.)?(\d+):(\d\d):(\d\d)$/.exec(text) ?? [];
  const [hours, minutes, seconds] = time.map(Number);
  if (hours === undefined || minutes === undefined || seconds === undefined) return undefined;
  return (((Number(days) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000;
}
