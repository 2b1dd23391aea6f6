import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { LifeboatError } from "../../core/errors.ts";
import type { PodExec } from "../../core/kube/podexec.ts";
import { type ItemOutcome, startReport } from "../../core/restore/report.ts";
import type { Item } from "../../core/restore/survey.ts";
import type { ExecHook } from "../../core/restore/write/hooks.ts";
import { type PostHooksInput, postHooks, turnOf } from "../../core/restore/write/posthooks.ts";
import { said, sample } from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

/** A Pod's status in which these containers run; those with a "!" are ready, too. */
const running = (...containers: string[]) => ({
  phase: "Running",
  containerStatuses: containers.map((name) => ({
    ...{ name: name.replace("!", ""), state: { running: {} }, ready: name.endsWith("!") },
  })),
});

describe("whose turn it is of a Pod's hooks", () => {
  const hook = (container: string, waitForReady = false): ExecHook => ({
    ...{ name: "h", container, command: ["c"], onError: "Continue", waitForReady },
    ...{ timeoutMs: undefined, waitTimeoutMs: undefined },
  });
  const [IN_TIME, LATE] = [9_000, 11_000];
  const cases: [what: string, hooks: ExecHook[], status: object | undefined, now: number, turn: string[] | RegExp][] = [
    ["a container runs", [hook("a")], running("a"), IN_TIME, ["a"]],
    ["one runs, another does not yet", [hook("a"), hook("b")], running("b"), IN_TIME, ["b"]],
    ["one runs, another does not in time", [hook("a"), hook("b")], running("b"), LATE, ["b"]],
    ["none runs yet", [hook("a")], { phase: "Pending" }, IN_TIME, []],
    ["none runs in time", [hook("a")], { phase: "Pending" }, LATE, /^the container was not up within 10 s$/],
    ["it runs, and is to be ready", [hook("a", true)], running("a"), IN_TIME, []],
    ["it is ready", [hook("a", true)], running("a!"), IN_TIME, ["a"]],
    ["a later hook of the container waits for ready", [hook("a"), hook("a", true)], running("a"), IN_TIME, []],
    ["the Pod has ended", [hook("a")], { phase: "Failed" }, IN_TIME, /^the Pod is Failed$/],
    ["the Pod is gone", [hook("a")], undefined, IN_TIME, /^the Pod was deleted$/],
  ];
  for (const [what, hooks, status, now, expected] of cases)
    it(`when ${what}`, () => {
      const live = status && sample("v1", "Pod", "shop/db", { status, metadata: { name: "db", uid: "u" } });
      const turn = turnOf({ uid: "u", hooks, since: 0, deadline: 10_000 }, live, now);
      if (expected instanceof RegExp) assert.match("never" in turn ? turn.never : "", expected);
      else assert.deepEqual(turn, { containers: new Set(expected) });
    });

  it("never, when another Pod has its name", () => {
    const live = sample("v1", "Pod", "shop/db", { status: running("a"), metadata: { name: "db", uid: "other" } });
    const turn = turnOf({ uid: "u", hooks: [hook("a")], since: 0, deadline: 10_000 }, live, IN_TIME);
    assert.deepEqual(turn, { never: "the Pod was deleted" });
  });
});

describe("the hooks of a restore's Pods", () => {
  const { kube, create, change, intercept } = restoreTarget();
  const PODS = "/api/v1/namespaces/shop/pods";
  beforeEach(() => create("/api/v1/namespaces", sample("v1", "Namespace", "shop")));

  const itemOf = ({ metadata: { name } }: KubernetesObject) =>
    ({ entry: { resource: "pods" }, namespace: "shop", name }) as Item;

  /** Creates a Pod, whose hooks, one container each, are told as "container: onError". */
  async function created(name: string, ...hooks: string[]) {
    const containers = hooks.map((hook) => ({ name: hook.split(":")[0]!, image: "x" }));
    const metadata = { name, labels: { "velero.io/restore-name": "r" } as Record<string, string> };
    const spec = { containers };
    const pod = await create(
      PODS,
      sample("v1", "Pod", `shop/${name}`, { metadata: { ...metadata, namespace: "shop" }, spec }),
    );
    return { pod, rules: hooks.map(ruleOf) };
  }
  const ruleOf = (hook: string): PostHooksInput["rules"][number] => {
    const [container = "", onError = "Continue"] = hook.split(": ");
    const exec = { container, command: [container], onError: onError as "Continue" | "Fail" };
    return { name: `of ${container}`, applies: () => true, initContainers: [], exec: [exec] };
  };

  /** The hooks with a container that runs commands; `ran` has those that were run, "pod/container". */
  function hooking(more: Partial<PostHooksInput>, exec: (asked: PodExec) => Promise<number> = async () => 0) {
    const ran: string[] = [];
    const outcomes: ItemOutcome[] = [];
    const report = startReport({ outcome: (outcome) => outcomes.push(outcome), progress: () => {} });
    const running = {
      ...kube,
      async exec(asked: PodExec) {
        ran.push(`${asked.pod}/${asked.container}`);
        return { exitCode: await exec(asked), stdout: "", stderr: "" };
      },
    };
    const input = { kube: running, rules: [], restoreLabel: "r", existing: new Map(), waitMs: 60_000, log: () => {} };
    const errors = () => said(report.result().problems.errors);
    return { ran, errors, hooks: postHooks({ ...input, ...more, report }) };
  }

  it("run one after the other once their containers are up, and it ends with the last", async () => {
    const { pod, rules } = await created("db", "a", "b", "c");
    const { hooks, ran, errors } = hooking({ rules });
    hooks.created(itemOf(pod), pod);
    hooks.close();
    const ended = hooks.run(new AbortController().signal);
    await change("PATCH", `${PODS}/db/status`, { status: running("b") });
    while (ran.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await change("PATCH", `${PODS}/db/status`, { status: running("a", "b", "c") });
    await ended;
    assert.deepEqual([ran, errors()], [["db/b", "db/a", "db/c"], ""]);
  });

  for (const [onError, ran, told] of [
    ["Fail", ["db/a"], /exit code 1.*\n.*of b.*not run: hook of a failed, whose on-error is Fail/],
    ["Continue", ["db/a", "db/b"], /exit code 1[^\n]*$/],
  ] as const)
    it(`after one that failed are ${onError === "Fail" ? "not " : ""}run, as its on-error ${onError} says`, async () => {
      const { pod, rules } = await created("db", `a: ${onError}`, "b");
      await change("PATCH", `${PODS}/db/status`, { status: running("a", "b") });
      const found = hooking({ rules }, async ({ container }) => (container === "a" ? 1 : 0));
      found.hooks.created(itemOf(pod), pod);
      found.hooks.close();
      await found.hooks.run(new AbortController().signal);
      assert.deepEqual(found.ran, ran);
      assert.match(found.errors(), told);
    });

  it("fail where their Pod is deleted, or takes no command", async () => {
    const gone = await created("gone", "a");
    const broken = await created("broken", "a");
    await change("DELETE", `${PODS}/gone`);
    await change("PATCH", `${PODS}/broken/status`, { status: running("a") });
    const found = hooking({ rules: gone.rules }, async () => {
      throw new LifeboatError("denied", "pods/exec is forbidden");
    });
    for (const { pod } of [gone, broken]) found.hooks.created(itemOf(pod), pod);
    found.hooks.close();
    await found.hooks.run(new AbortController().signal);
    assert.match(found.errors(), /pods shop\/gone: hook of a in container a: not run: the Pod was deleted/);
    assert.match(found.errors(), /pods shop\/broken: hook of a in container a: pods\/exec is forbidden/);
  });

  it("are those of an earlier run's Pods, too, where that created them", async () => {
    const [mine, patched] = [await created("mine", "a"), await created("patched", "a")];
    for (const name of ["mine", "patched"]) await change("PATCH", `${PODS}/${name}/status`, { status: running("a") });
    const fieldsV1 = { "f:spec": { "f:restartPolicy": {} } };
    intercept(async (request, next) => {
      const response = await next();
      if (!request.path.endsWith("/pods") || request.method) return response;
      const list = JSON.parse(response.body.toString());
      for (const { metadata } of list.items)
        metadata.managedFields = [{ manager: metadata.name === "mine" ? "lifeboat" : "kubectl", fieldsV1 }];
      return { ...response, body: Buffer.from(JSON.stringify(list)) };
    });
    const existing = new Map([mine, patched].map(({ pod }) => [`shop/${pod.metadata.name}`, itemOf(pod)]));
    const { hooks, ran } = hooking({ rules: mine.rules, existing });
    hooks.close();
    await hooks.run(new AbortController().signal);
    assert.deepEqual(ran, ["mine/a"]);
  });

  it("are logged with what they wrote, or, where that is withheld, with how much it was", async () => {
    for (const withhold of [false, true]) {
      const { pod, rules } = await created(`db-${withhold}`, "a");
      await change("PATCH", `${PODS}/db-${withhold}/status`, { status: running("a") });
      const lines: string[] = [];
      const exec = async () => ({ exitCode: 1, stdout: "hunter2", stderr: "" });
      const log = (...line: unknown[]) => void lines.push(JSON.stringify(line));
      const { hooks, errors } = hooking({ kube: { ...kube, exec }, rules, log, withhold });
      hooks.created(itemOf(pod), pod);
      hooks.close();
      await hooks.run(new AbortController().signal);
      const told = [...lines, errors()].join("\n");
      assert.equal(told.includes("hunter2"), !withhold);
      assert.equal(told.includes("7 bytes, left out"), withhold);
      assert.equal(told.includes("the log has its output"), !withhold);
    }
  });

  it("end with the restore's signal, whatever they wait for", async () => {
    const { pod, rules } = await created("db", "a");
    const { hooks } = hooking({ rules });
    hooks.created(itemOf(pod), pod);
    const controller = new AbortController();
    const ended = hooks.run(controller.signal);
    controller.abort(new Error("enough"));
    await assert.rejects(ended, /enough/);
  });
});
