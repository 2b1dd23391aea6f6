import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { bytesText } from "../../core/report.ts";
import { differingFields } from "../../functions/cli/demo/compare.ts";
import { filterSpec, timestampedName } from "../../functions/cli/filters.ts";
import { loadKubeconfig } from "../../functions/cli/kubeconfig.ts";
import { columns, durationText, fields, printable, untilText } from "../../functions/cli/output.ts";
import { standingText, startProgress } from "../../functions/cli/progress.ts";
import { makeScratch } from "./cli-sample.ts";

describe("text for people", () => {
  it("numbers", () => {
    assert.deepEqual([0, 1023, 1024, 5_500_000, 3 * 2 ** 40].map(bytesText), [
      "0 B",
      "1023 B",
      "1.0 KiB",
      "5.2 MiB",
      "3.0 TiB",
    ]);
    assert.deepEqual([0, 1940, 59_949, 133_000, 7_260_000].map(durationText), [
      "0.0 s",
      "1.9 s",
      "59.9 s",
      "2m13s",
      "2h1m",
    ]);
    const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000 + 1000).toISOString();
    assert.deepEqual([undefined, inHours(-1), inHours(1), inHours(5), inHours(720)].map(untilText), [
      "never",
      "expired",
      "60m",
      "5h",
      "30d",
    ]);
  });

  it("columns line up, colours and all, without trailing blanks", () => {
    assert.equal(
      columns([
        ["NAME", "STATUS"],
        ["a", "\u001b[32mCompleted\u001b[39m"],
        ["longer", ""],
      ]),
      "NAME     STATUS\na        \u001b[32mCompleted\u001b[39m\nlonger\n",
    );
    assert.equal(
      fields(
        [
          ["A", "1"],
          ["Longer", "2"],
        ],
        "  ",
      ),
      "  A:       1\n  Longer:  2",
    );
  });

  it("what comes from a bucket can't steer the terminal", () => {
    assert.equal(printable("a\u001b[2Jb\r\nc\u009bd"), "a [2Jb c d");
  });
});

describe("progress", () => {
  it("says how many, how fast, what is left and how long that takes", () => {
    const cases: [Parameters<typeof standingText>, string][] = [
      [[{ done: 0 }, 0], "0 objects"],
      [[{ done: 1234, current: { resource: "pods", remaining: undefined } }, 617], "1,234 objects, 617/s, pods"],
      [
        [{ done: 1234, current: { resource: "pods", remaining: 6170 } }, 617],
        "1,234 objects, 617/s, pods: 6,170 left, ETA 10.0 s",
      ],
      [[{ done: 250, total: 1000 }, 250], "250 of 1,000 objects, 250/s, ETA 3.0 s"],
      [[{ done: 1000, total: 1000 }, 250], "1,000 of 1,000 objects, 250/s"],
    ];
    for (const [args, text] of cases) assert.equal(standingText(...args), text);
  });

  const written = (stream: object) => {
    const chunks: string[] = [];
    const line = startProgress("backing up", "connecting", {
      ...stream,
      write: (chunk: string) => chunks.push(chunk),
    } as never);
    for (let done = 0; done < 1000; done++) line.update({ done });
    line.line("a log line");
    line.end();
    return chunks;
  };

  it("is one line on a terminal, redrawn at most ten times a second and gone at the end", () => {
    const chunks = written({ isTTY: true, columns: 20 });
    assert.deepEqual(
      chunks.slice(0, 2),
      ["\r\u001b[Kbacking up: connecti", "\r\u001b[Kbacking up: 0 objec"].map((text) => text.slice(0, 4 + 19)),
    );
    assert.ok(chunks.length < 8, `${chunks.length} writes`);
    const redrawn = "\r\u001b[Kbacking up: 0 objec".slice(0, 4 + 19);
    assert.deepEqual(chunks.slice(-4), ["\r\u001b[K", "a log line\n", redrawn, "\r\u001b[K"]);
  });

  it("is silent elsewhere for the first seconds", () => {
    assert.deepEqual(written({ isTTY: false }), ["a log line\n"]);
  });
});

describe("flags", () => {
  it("become Velero's spec, which says only what was asked for", () => {
    assert.deepEqual(filterSpec({}), {});
    assert.deepEqual(
      filterSpec({ includeNamespaces: ["a", "b*"], includeClusterResources: "false", selector: "app=web" }),
      {
        includedNamespaces: ["a", "b*"],
        includeClusterResources: false,
        labelSelector: { matchLabels: { app: "web" } },
      },
    );
  });

  it("names default to a time in UTC", () => {
    assert.equal(timestampedName("backup", new Date("2026-08-21T01:02:03.456Z")), "backup-20260821010203");
  });
});

describe("kubeconfigs of KUBECONFIG", () => {
  it("are merged as kubectl does: the first to name something wins, paths start from their own file", async () => {
    const scratch = await makeScratch();
    try {
      const user = (file: string) => ({ name: "me", user: { "client-key": file } });
      const first = await scratch.write(
        "first",
        JSON.stringify({ contexts: [{ name: "a", context: { user: "me" } }], users: [user("key.pem")] }),
      );
      const second = await scratch.write(
        "second",
        JSON.stringify({
          "current-context": "b",
          contexts: [
            { name: "a", context: { user: "x" } },
            { name: "b", context: {} },
          ],
          users: [user("/abs.pem")],
        }),
      );
      const { yaml } = await loadKubeconfig(undefined, { KUBECONFIG: `${first}:${scratch.path("none")}:${second}` });
      assert.deepEqual(parse(yaml), {
        "current-context": "b",
        clusters: [],
        contexts: [
          { name: "a", context: { user: "me" } },
          { name: "b", context: {} },
        ],
        users: [user(scratch.path("key.pem"))],
      });
    } finally {
      await scratch.remove();
    }
  });
});

describe("the demo's comparison", () => {
  it("names every field that differs", () => {
    const cases: [unknown, unknown, string[]][] = [
      [{ a: 1, b: { c: [1, { d: 2 }] } }, { a: 1, b: { c: [1, { d: 2 }] } }, []],
      [{ b: { c: [1, { d: 2 }] } }, { b: { c: [1, { d: 3 }] } }, ["b.c.1.d"]],
      [{ a: 1 }, {}, ["a"]],
      [{ labels: { x: "1" } }, {}, ["labels.x"]],
      [{ list: [1] }, {}, ["list"]],
      [{ a: null }, { a: 0 }, ["a"]],
    ];
    for (const [first, second, paths] of cases) assert.deepEqual(differingFields(first, second), paths);
  });
});
