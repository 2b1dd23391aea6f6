import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryJobs } from "../../core/memoryjobs.ts";
import { jobsConformance } from "./jobs.ts";

const HERE = "the jobs stay in this process";

jobsConformance(
  "in-process",
  async () => {
    const received: { job: unknown; at: Date }[] = [];
    const jobs = memoryJobs(async (job) => {
      received.push({ job, at: new Date() });
    });
    return { jobs, received: async () => received };
  },
  { largest: HERE, alwaysThere: HERE, without: { denied: HERE, unreachable: HERE, silent: HERE } },
);

test("what a job throws goes to the callback, and what that throws nowhere", async () => {
  const errors: unknown[] = [];
  const failure = new Error("the run failed");
  const jobs = memoryJobs(
    () => {
      throw failure;
    },
    (error, job) => {
      errors.push(error, "name" in job && job.name);
      throw new Error("the callback failed");
    },
  );
  await jobs.enqueue({ kind: "backup", name: "a" });
  await jobs.idle();
  assert.deepEqual(errors, [failure, "a"]);
});

test("enqueue doesn't wait for the job; idle does, also for those that jobs enqueue, not for what isn't due", async () => {
  const ran: unknown[] = [];
  const jobs = memoryJobs(async (job) => {
    const name = "name" in job && job.name;
    ran.push(name);
    if (name === "a") await jobs.enqueue({ kind: "backup", name: "b" });
  });
  await jobs.enqueue({ kind: "backup", name: "later" }, { after: 3600 * 24 * 365 });
  await jobs.enqueue({ kind: "backup", name: "a" });
  assert.deepEqual(ran, []);
  await jobs.idle();
  assert.deepEqual(ran, ["a", "b"]);
});

test("a job is run as it was when it was handed over", async () => {
  const ran: unknown[] = [];
  const jobs = memoryJobs(async (job) => {
    ran.push(job);
  });
  const job = { kind: "backup" as const, name: "a", spec: { includedNamespaces: ["a"] } };
  await jobs.enqueue(job);
  job.spec.includedNamespaces.push("b");
  await jobs.idle();
  assert.deepEqual(ran, [{ kind: "backup", name: "a", spec: { includedNamespaces: ["a"] } }]);
});
