import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { KubernetesObject } from "../../core/archive/item.ts";
import { type BackupHook, hooksOf, readHooks } from "../../core/backup/hooks.ts";
import { parseCommand } from "../../core/hooks.ts";
import type { Resource } from "../../core/kube/resource.ts";
import { backupSpecSchema } from "../../core/specs.ts";

const PRE = "pre.hook.backup.velero.io";
const POST = "post.hook.backup.velero.io";
const LEGACY = "hook.backup.velero.io";

describe("the command of a hook's annotation", () => {
  const commands: [string, string[]][] = [
    ["/bin/true", ["/bin/true"]],
    ["echo a b", ["echo a b"]],
    ['["sh", "-c", "a && b"]', ["sh", "-c", "a && b"]],
    ['["sh", "-c"', ['["sh", "-c"']],
    ['["sh", 1]', ['["sh", 1]']],
    [' ["sh"]', [' ["sh"]']],
    ["[]", []],
  ];
  for (const [text, command] of commands)
    it(`${text} is ${JSON.stringify(command)}`, () => assert.deepEqual(parseCommand(text), command));
});

const RESOURCES: Resource[] = [
  ["pods", "Pod", "po"],
  ["services", "Service", "svc"],
].map(([name = "", kind = "", short = ""]) => ({
  ...{ group: "", version: "v1", name, kind, singular: kind.toLowerCase(), shortNames: [short] },
  ...{ namespaced: true, verbs: [], preferred: true },
}));

/** The rules of a spec, which passes its schema. */
const rules = (...resources: object[]) => readHooks(backupSpecSchema.parse({ hooks: { resources } }).hooks, RESOURCES);
const exec = (word: string, more: object = {}) => ({ exec: { command: [word], ...more } });
const words = (hooks: BackupHook[]) => hooks.map(({ command }) => command.join(" "));

function metadata(annotations: Record<string, string> = {}): KubernetesObject["metadata"] {
  return { name: "db-0", namespace: "shop", labels: { app: "db" }, annotations };
}

describe("hooks of a backup", () => {
  const plain: BackupHook = {
    name: "<from-annotation>",
    container: undefined,
    command: ["c"],
    onError: "Fail",
    timeoutMs: undefined,
  };
  const annotated: { annotations: Record<string, string>; hook: Partial<BackupHook>; warning?: string }[] = [
    { annotations: {}, hook: {} },
    { annotations: { container: "sidecar" }, hook: { container: "sidecar" } },
    { annotations: { "on-error": "Continue" }, hook: { onError: "Continue" } },
    { annotations: { "on-error": "Fail" }, hook: {} },
    { annotations: { "on-error": "" }, hook: {} },
    { annotations: { "on-error": "continue" }, hook: {}, warning: "on-error" },
    { annotations: { timeout: "1m30s" }, hook: { timeoutMs: 90_000 } },
    { annotations: { timeout: "0s" }, hook: {} },
    { annotations: { timeout: "30" }, hook: {}, warning: "timeout" },
    { annotations: { timeout: "5h" }, hook: { timeoutMs: 4 * 3_600_000 } },
  ];
  for (const [phase, prefix] of [
    ["pre", PRE],
    ["pre", LEGACY],
    ["post", POST],
  ] as const) {
    for (const { annotations, hook, warning } of annotated) {
      it(`of the annotations ${prefix}/{command and ${JSON.stringify(annotations)}}`, () => {
        const all = Object.entries({ command: "c", ...annotations }).map(([key, value]) => [`${prefix}/${key}`, value]);
        const found = hooksOf(metadata(Object.fromEntries(all)), phase, []);
        assert.deepEqual(found.hooks, [{ ...plain, ...hook }]);
        const told = warning ? [`its annotation ${prefix}/${warning} is not understood, and disregarded`] : [];
        assert.deepEqual(found.warnings, told);
        assert.deepEqual(hooksOf(metadata(Object.fromEntries(all)), phase === "pre" ? "post" : "pre", []).hooks, []);
      });
    }
  }

  it("of the older annotations count where the newer command isn't given, and then whole", () => {
    const legacy = { [`${LEGACY}/command`]: "old", [`${LEGACY}/container`]: "a", [`${PRE}/timeout`]: "1s" };
    assert.deepEqual(hooksOf(metadata(legacy), "pre", []).hooks, [{ ...plain, command: ["old"], container: "a" }]);
    const both = { ...legacy, [`${PRE}/command`]: "new" };
    assert.deepEqual(hooksOf(metadata(both), "pre", []).hooks, [{ ...plain, command: ["new"], timeoutMs: 1000 }]);
  });

  it("of the spec have Velero's defaults, and run in its order", () => {
    const more = { container: "sidecar", onError: "Continue", timeout: "5h" };
    const spec = rules(
      { name: "first", pre: [exec("a"), exec("b", more)], post: [exec("z")] },
      { name: "second", pre: [exec("c")] },
    );
    assert.deepEqual(hooksOf(metadata(), "pre", spec).hooks, [
      { ...plain, name: "first", command: ["a"] },
      {
        ...{ name: "first", command: ["b"], container: "sidecar" },
        ...{ onError: "Continue", timeoutMs: 4 * 3_600_000 },
      },
      { ...plain, name: "second", command: ["c"] },
    ]);
    assert.deepEqual(words(hooksOf(metadata(), "post", spec).hooks), ["z"]);
  });

  it("of an annotation stand in place of those of the spec, in their phase only", () => {
    const spec = rules({ name: "all", pre: [exec("a")], post: [exec("z")] });
    const pod = metadata({ [`${PRE}/command`]: "own", [`${POST}/container`]: "x" });
    assert.deepEqual(words(hooksOf(pod, "pre", spec).hooks), ["own"]);
    assert.deepEqual(words(hooksOf(pod, "post", spec).hooks), ["z"]);
  });

  const selecting: { spec: object; applies: boolean }[] = [
    { spec: {}, applies: true },
    { spec: { includedNamespaces: ["sh*"] }, applies: true },
    { spec: { includedNamespaces: ["other"] }, applies: false },
    { spec: { excludedNamespaces: ["shop"] }, applies: false },
    { spec: { labelSelector: { matchLabels: { app: "db" } } }, applies: true },
    { spec: { labelSelector: { matchLabels: { app: "web" } } }, applies: false },
    { spec: { includedResources: ["*"] }, applies: true },
    { spec: { includedResources: ["po"] }, applies: true },
    { spec: { includedResources: ["services"] }, applies: false },
    { spec: { excludedResources: ["Pod"] }, applies: false },
  ];
  for (const { spec, applies } of selecting) {
    it(`of ${JSON.stringify(spec)} are ${applies ? "" : "not "}for a Pod of app=db in shop`, () =>
      assert.deepEqual(
        words(hooksOf(metadata(), "pre", rules({ name: "a", ...spec, pre: [exec("x")] })).hooks),
        applies ? ["x"] : [],
      ));
  }
});
