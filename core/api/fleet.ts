import type { OpenAPIHono } from "@hono/zod-openapi";
import { LifeboatError } from "../errors.ts";
import { readFleetRun } from "../fleet/job.ts";
import { askOnce } from "../fleet/route.ts";
import { type FleetReading, fleetStanding } from "../fleet/standing.ts";
import { scheduledName } from "../schedule/slots.ts";
import { type ApiDeps, callerOf, type Env } from "./answers.ts";
import { routes } from "./routes.ts";

/** What the API of a whole fleet is made over, beside what every API has. */
export type FleetDeps = Omit<FleetReading, "bucket" | "signal">;

/** Adds what the API can do with a fleet as a whole; each of its clusters has an API of its own. */
export function addFleet(app: OpenAPIHono<Env>, { bucket, jobs }: ApiDeps, fleet: FleetDeps): void {
  app.openapi(routes.getFleet, async (context) => {
    const { signal } = context.req.raw;
    return context.json(await fleetStanding({ ...fleet, bucket, signal }), 200);
  });

  app.openapi(routes.runFleet, async (context) => {
    const { schedule } = context.req.valid("json");
    const { schedules } = fleet.config.fleet;
    if (!Object.hasOwn(schedules, schedule))
      throw new LifeboatError("invalid", `the fleet has no schedule "${schedule}"`, {
        hint: `it has ${Object.keys(schedules).join(", ") || "none at all"}`,
      });
    const name = scheduledName(schedule, new Date());
    if (!(await askOnce(bucket, name, { schedule, name, caller: callerOf(context) }, jobs)))
      throw new LifeboatError("conflict", `the run "${name}" has been asked for already`, {
        hint: "ask in a second again",
      });
    const about = { schemaVersion: 1, kind: "fleet", name, schedule, phase: "New", location: bucket.location } as const;
    return context.json(about, 202, { location: `/v1/fleet/${name}` });
  });

  app.openapi(routes.getFleetRun, async (context) => {
    const { name } = context.req.valid("param");
    return context.json(await readFleetRun({ ...fleet, bucket }, name, context.req.raw.signal), 200);
  });
}
