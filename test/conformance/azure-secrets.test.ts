import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { rootCertificates, setDefaultCACertificates } from "node:tls";
import { promisify } from "node:util";
import { keyVaultSecrets } from "../../functions/azure/secrets.ts";
import { type Azure, startAzure } from "../rig/azure.ts";
import { requireOrSkip } from "../rig/require.ts";
import { rejects } from "./bucket.ts";
import { secretsConformance } from "./secrets.ts";
import { assertNotQuoted } from "./troubles.ts";

const run = promisify(execFile);

describe("Azure Key Vault", { skip: requireOrSkip("rig", []) }, () => {
  let azure: Azure;
  before(async () => {
    azure = await startAzure();
    Object.assign(process.env, azure.env);
    setDefaultCACertificates([...rootCertificates, azure.ca]);
  });
  after(() => azure?.stop());
  const referenceOf = (name: string) => `azure-kv://${azure.vault}/${name}`;

  const newest = new Map<string, string>();
  secretsConformance(
    "Key Vault's stand-in",
    async () => ({
      secrets: keyVaultSecrets(),
      set: async (name, value) => {
        if (value !== undefined) newest.set(name, azure.setSecret(name, value));
        return referenceOf(name);
      },
      versionOf: async (name) => `${referenceOf(name)}/${newest.get(name)}`,
      inTrouble: async (trouble, run) => {
        azure.trouble = trouble;
        await run().finally(() => {
          azure.trouble = undefined;
        });
      },
    }),
    {
      malformed: [
        "azure-kv:vault/secret",
        "azure-kv://vault",
        "azure-kv://vault/",
        "azure-kv://vault/a_b",
        "azure-kv://vault/a b",
        "azure-kv://vault/a/1",
        "azure-kv://vault/a?key=k",
        "azure-kv://v/a",
        "azure-kv://evil.example/a",
        "azure-kv://user:password@vault/a",
        "azure-kv://-vault/a",
        `azure-kv://vault/${"a".repeat(128)}`,
        "aws-sm://vault/a",
        "azure-kv://vault/a\n",
      ],
      largest: 25 * 1024,
      missingVersion: (reference) => `${reference}/${"0".repeat(32)}`,
    },
  );

  const value = `the-value-${randomUUID()}`;
  test("an answer that isn't JSON is unreachable, and not quoted", async () => {
    const reference = referenceOf("garbled");
    for (const garbled of [value, `{"value":"${value}`, `{"value":"${value}"}}`]) {
      azure.garbled = garbled;
      const read = keyVaultSecrets().read(reference);
      assertNotQuoted(await rejects("unreachable", read), value);
    }
    azure.garbled = undefined;
  });

  const identities: [trouble: "denied" | "unreachable", hint: RegExp][] = [
    ["denied", /identity/],
    ["unreachable", /^$/],
  ];
  for (const [trouble, hint] of identities) {
    test(`an identity that is ${trouble}`, async (t) => {
      t.after(() => {
        azure.identityTrouble = undefined;
        delete process.env.AZURE_CLIENT_ID;
      });
      process.env.AZURE_CLIENT_ID = randomUUID();
      azure.identityTrouble = trouble;
      const error = await rejects(trouble, keyVaultSecrets().read(referenceOf("any")));
      assert.match(error.hint ?? "", hint);
    });
  }

  test("a signal ends the wait for an identity that is silent", async (t) => {
    t.after(() => {
      azure.identityTrouble = undefined;
      delete process.env.AZURE_CLIENT_ID;
    });
    process.env.AZURE_CLIENT_ID = randomUUID();
    azure.identityTrouble = "silent";
    const reason = new Error("out of time");
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 100);
    const read = keyVaultSecrets().read(referenceOf("any"), { signal: controller.signal });
    await assert.rejects(read, (thrown) => thrown === reason);
  });

  test("the identity of AZURE_CLIENT_ID is asked for", async (t) => {
    t.after(() => delete process.env.AZURE_CLIENT_ID);
    const clientId = randomUUID();
    process.env.AZURE_CLIENT_ID = clientId;
    azure.setSecret("mine", value);
    assert.equal(await keyVaultSecrets().read(referenceOf("mine")), value);
    const { resource } = azure.tokens.find((token) => token.clientId === clientId) ?? {};
    assert.equal(resource, "https://vault.azure.net");
  });

  test("a virtual machine's identity is found too", async () => {
    azure.setSecret("machine", value);
    const module = new URL("../../functions/azure/secrets.ts", import.meta.url);
    const code = `import { keyVaultSecrets } from "${module}";
      process.stdout.write(await keyVaultSecrets().read("${referenceOf("machine")}"));`;
    // The SDK looks once in a process where its identity comes from.
    const env = { PATH: process.env.PATH, ...azure.machineEnv };
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", code], { env });
    assert.equal(stdout, value);
    assert.equal(azure.tokens.at(-1)?.by, "machine");
  });

  test("where vaults are must be https", async (t) => {
    t.after(() => Object.assign(process.env, azure.env));
    for (const url of ["http://127.0.0.1:1", "https://user:secret@vault", "vaults"]) {
      process.env.LIFEBOAT_KEY_VAULT_URL = url;
      assertNotQuoted(await rejects("invalid", keyVaultSecrets().read(referenceOf("a"))), "user:secret");
    }
  });
});
