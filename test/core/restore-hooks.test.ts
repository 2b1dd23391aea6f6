import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { type FixContext, fix, fixesNothing } from "../../core/restore/fixes.ts";
import { comparable, digest } from "../../core/restore/plan/comparable.ts";
import {
  addHookContainers,
  type ExecHook,
  execHooks,
  hookContainers,
  readHooks,
  readiness,
} from "../../core/restore/write/hooks.ts";
import { type RestoreSpec, restoreSpecSchema } from "../../core/specs.ts";

const INIT = "init.hook.restore.velero.io";
const POST = "post.hook.restore.velero.io";

function pod(annotations: Record<string, string> = {}, labels: Record<string, string> = { a: "b" }): KubernetesObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "db-0", namespace: "shop", annotations, labels } as KubernetesObject["metadata"],
    spec: { containers: [{ name: "db" }, { name: "sidecar" }], initContainers: [{ name: "own" }] },
  };
}

/** The rules of a spec, which passes its schema. */
function rules(...resources: object[]) {
  const { hooks } = restoreSpecSchema.parse({ backupName: "b", hooks: { resources } });
  return readHooks(hooks as RestoreSpec["hooks"]);
}

const initHook = (...names: string[]) => ({
  init: { initContainers: names.map((name) => ({ name, image: "x", command: ["true"] })) },
});
const execHook = (word: string, more: object = {}) => ({ exec: { command: [word], ...more } });
const names = (containers: { name?: unknown }[]) => containers.map(({ name }) => name);
const words = ({ hooks }: { hooks: ExecHook[] }) => hooks.map(({ command }) => command.join(" "));

describe("init hooks", () => {
  const selecting = [
    { spec: {}, applies: true },
    { spec: { includedNamespaces: ["shop"] }, applies: true },
    { spec: { includedNamespaces: ["sh*"] }, applies: true },
    { spec: { includedNamespaces: ["other"] }, applies: false },
    { spec: { excludedNamespaces: ["shop"] }, applies: false },
    { spec: { labelSelector: { matchLabels: { app: "db" } } }, applies: true },
    { spec: { labelSelector: { matchLabels: { app: "web" } } }, applies: false },
    { spec: { includedResources: ["deployments"], excludedResources: ["pods"] }, applies: true },
  ];
  for (const { spec, applies } of selecting) {
    it(`of ${JSON.stringify(spec)} are ${applies ? "" : "not "}for a Pod of app=db in shop`, () => {
      const rule = rules({ name: "a", ...spec, postHooks: [initHook("i"), execHook("x")] });
      const db = pod({}, { app: "db" });
      assert.deepEqual(names(hookContainers(db, "shop", rule)), applies ? ["i"] : []);
      assert.deepEqual(words(execHooks(db, rule)), applies ? ["x"] : []);
    });
  }

  it("come in the order of the spec, before the Pod's own", () => {
    const db = pod();
    addHookContainers(
      db,
      "shop",
      rules({ name: "a", postHooks: [initHook("1", "2")] }, { name: "b", postHooks: [initHook("3")] }),
    );
    assert.deepEqual(names((db.spec as { initContainers: object[] }).initContainers), ["1", "2", "3", "own"]);
  });

  it("of the Pod's annotations stand in place of all others", () => {
    const rule = rules({ name: "a", postHooks: [initHook("i"), execHook("x")] });
    assert.deepEqual(names(hookContainers(pod({ [`${INIT}/container-image`]: "y" }), "shop", rule)).length, 1);
    assert.deepEqual(names(hookContainers(pod({ [`${INIT}/command`]: "y" }), "shop", rule)), ["i"]);
    assert.deepEqual(words(execHooks(pod({ [`${POST}/command`]: "y" }), rule)), ["y"]);
    assert.deepEqual(words(execHooks(pod({ [`${POST}/container`]: "y" }), rule)), ["x"]);
  });

  it("without a name get one that stays the same, of Velero's form", () => {
    const name = (command: string) =>
      hookContainers(pod({ [`${INIT}/container-image`]: "y", [`${INIT}/command`]: command }), "any", [])[0]
        ?.name as string;
    assert.match(name("a"), /^velero-restore-init-[0-9a-f]{8}$/);
    assert.equal(name("a"), name("a"));
    assert.notEqual(name("a"), name("b"));
  });

  it("are matched in the namespace of the target, and make no other Pod when compared", () => {
    const hooks = rules({ name: "a", includedNamespaces: ["blue"], postHooks: [initHook("i")] });
    const context: FixContext = {
      backupName: "b",
      restoreName: "r",
      namespaceMapping: { shop: "blue" },
      preserveNodePorts: false,
      hooks,
      keepsVolume: () => false,
    };
    const annotated = { [`${INIT}/container-image`]: "y" };
    for (const [annotations, added] of [
      [{}, "i"],
      [annotated, /^velero-restore-init-/],
    ] as const) {
      const restored = pod(annotations);
      fix(restored, "pods", context);
      const [first] = (restored.spec as { initContainers: { name: string }[] }).initContainers;
      typeof added === "string" ? assert.equal(first?.name, added) : assert.match(first!.name, added);
      const plain = pod(annotations);
      plain.metadata.namespace = "blue";
      // What the API server made of the hook's container.
      Object.assign(first!, {
        imagePullPolicy: "Always",
        terminationMessagePath: "/dev/termination-log",
        resources: {},
      });
      const facts = { scaled: new Set<string>(), hooks };
      assert.equal(digest(comparable(restored, "pods", facts)), digest(comparable(plain, "pods", facts)));
    }
    const body = (annotations: Record<string, string>) => Buffer.from(JSON.stringify(pod(annotations)));
    const unmapped = { ...context, namespaceMapping: {}, preserveNodePorts: true };
    assert.equal(fixesNothing(body({}), "pods", { ...unmapped, hooks: [] }), true);
    assert.equal(fixesNothing(body({}), "pods", unmapped), false);
    assert.equal(fixesNothing(body(annotated), "pods", { ...unmapped, hooks: [] }), false);
  });
});

describe("exec hooks", () => {
  const plain: ExecHook = {
    name: "<from-annotation>",
    container: "db",
    command: ["c"],
    onError: "Continue",
    timeoutMs: undefined,
    waitTimeoutMs: undefined,
    waitForReady: false,
  };
  const annotated: { annotations: Record<string, string>; hook: Partial<ExecHook>; warning?: RegExp }[] = [
    { annotations: {}, hook: {} },
    { annotations: { container: "sidecar" }, hook: { container: "sidecar" } },
    { annotations: { "on-error": "Fail" }, hook: { onError: "Fail" } },
    { annotations: { "on-error": "fail" }, hook: {} },
    {
      annotations: { "exec-timeout": "1m30s", "wait-timeout": "2h" },
      hook: { timeoutMs: 90_000, waitTimeoutMs: 7_200_000 },
    },
    { annotations: { "exec-timeout": "0s" }, hook: {} },
    {
      annotations: { "wait-timeout": "soon" },
      hook: {},
      warning: /post\.hook\.restore\.velero\.io\/wait-timeout is not understood/,
    },
    { annotations: { "wait-for-ready": "T" }, hook: { waitForReady: true } },
    { annotations: { "wait-for-ready": "0" }, hook: {} },
    { annotations: { "wait-for-ready": "yes" }, hook: {}, warning: /wait-for-ready is not understood/ },
  ];
  for (const { annotations, hook, warning } of annotated) {
    it(`of the annotations ${JSON.stringify(annotations)}`, () => {
      const all = { command: "c", ...annotations };
      const found = execHooks(
        pod(Object.fromEntries(Object.entries(all).map(([key, value]) => [`${POST}/${key}`, value]))),
        [],
      );
      assert.deepEqual(found.hooks, [{ ...plain, ...hook }]);
      assert.equal(found.warnings.length, warning ? 1 : 0);
      if (warning) assert.match(found.warnings[0]!, warning);
    });
  }

  it("of the spec, with Velero's defaults; those for a container that isn't there are left out", () => {
    const more = { container: "sidecar", onError: "Fail", execTimeout: "1s", waitTimeout: "2s", waitForReady: true };
    const { hooks, warnings } = execHooks(
      pod(),
      rules(
        { name: "first", postHooks: [execHook("c"), execHook("gone", { container: "none" })] },
        { name: "second", postHooks: [execHook("d", more), execHook("gone", { container: "none" })] },
      ),
    );
    assert.deepEqual(hooks, [
      { ...plain, name: "first" },
      {
        name: "second",
        container: "sidecar",
        command: ["d"],
        onError: "Fail",
        timeoutMs: 1000,
        waitTimeoutMs: 2000,
        waitForReady: true,
      },
    ]);
    assert.deepEqual(warnings, ['it has no container "none": the hooks for it are not run']);
  });

  it("are not for a Pod that stands still", () => {
    assert.deepEqual(execHooks(pod({ [`${POST}/command`]: "c", "lifeboat/parked": "scheduling-gate" }), []), {
      hooks: [],
      warnings: ["its hooks are not run: it stands still until restore activate"],
    });
  });

  const running = { name: "db", state: { running: {} }, ready: false };
  const states: { status: object; ready?: boolean; expected: ReturnType<typeof readiness> }[] = [
    { status: {}, expected: "waiting" },
    { status: { phase: "Pending", containerStatuses: [{ name: "db", state: { waiting: {} } }] }, expected: "waiting" },
    {
      status: { phase: "Running", containerStatuses: [{ name: "sidecar", state: { running: {} } }] },
      expected: "waiting",
    },
    { status: { phase: "Running", containerStatuses: [running] }, expected: "up" },
    { status: { phase: "Running", containerStatuses: [running] }, ready: true, expected: "waiting" },
    { status: { phase: "Running", containerStatuses: [{ ...running, ready: true }] }, ready: true, expected: "up" },
    { status: { phase: "Succeeded", containerStatuses: [running] }, expected: { ended: "the Pod is Succeeded" } },
    { status: { phase: "Failed" }, expected: { ended: "the Pod is Failed" } },
  ];
  for (const { status, ready = false, expected } of states)
    it(`${ready ? "that wait for ready " : ""}find ${JSON.stringify(status)} ${JSON.stringify(expected)}`, () =>
      assert.deepEqual(readiness({ ...pod(), status }, "db", ready), expected));
});
