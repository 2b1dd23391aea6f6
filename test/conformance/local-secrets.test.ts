import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { environmentSecrets, fileSecrets } from "../../core/localsecrets.ts";
import { rejects } from "./bucket.ts";
import { secretsConformance } from "./secrets.ts";
import { assertNotQuoted } from "./troubles.ts";

const LOCAL = "it is on this machine";

secretsConformance(
  "environment",
  async () => {
    const env: Record<string, string | undefined> = {};
    return {
      secrets: environmentSecrets(env),
      set: async (name, value) => {
        const variable = name.toUpperCase().replaceAll("-", "_");
        env[variable] = value;
        return `env:${variable}`;
      },
    };
  },
  {
    malformed: ["env:", "env:1A", "env:A B", "env:A=B", "env:A-B", "env://A", "environment:A", "env:A\n", ""],
    versionless: "a variable has one value",
    without: { denied: LOCAL, unreachable: LOCAL, silent: LOCAL },
  },
);

describe("files", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "lifeboat-secrets-"));
  });
  after(() => rm(folder, { recursive: true }));

  secretsConformance(
    "file",
    async () => ({
      secrets: fileSecrets(),
      set: async (name, value) => {
        const path = join(folder, name);
        if (value !== undefined) await writeFile(path, value);
        return `file:${path}`;
      },
    }),
    {
      malformed: ["file:", "file:a\0b", "files:a", "", "/etc/hostname"],
      versionless: "a file has one content",
      without: { denied: LOCAL, unreachable: LOCAL, silent: LOCAL },
    },
  );

  const bad: [what: string, content: Buffer][] = [
    ["bytes that are no UTF-8", Buffer.from([0x61, 0x2d, 0x73, 0x65, 0x63, 0x72, 0x65, 0x74, 0xff])],
    ["more than a secret can have", Buffer.alloc(1024 * 1024 + 1, "a-secret ")],
  ];
  for (const [what, content] of bad) {
    test(`${what}: invalid, and not quoted`, async () => {
      const path = join(folder, "bad");
      await writeFile(path, content);
      assertNotQuoted(await rejects("invalid", fileSecrets().read(`file:${path}`)), "a-secret");
    });
  }

  test("a folder is invalid, a path through a file missing, what never ends invalid", async () => {
    await writeFile(join(folder, "file"), "a");
    await rejects("invalid", fileSecrets().read(`file:${folder}`));
    await rejects("missing", fileSecrets().read(`file:${folder}/file/a`));
    if (process.platform === "linux") await rejects("invalid", fileSecrets().read("file:/dev/zero"));
  });

  test("a file: URL of an absolute path is one too", async () => {
    await writeFile(join(folder, "file"), "a");
    assert.equal(await fileSecrets().read(`file://${join(folder, "file")}`), "a");
  });
});
