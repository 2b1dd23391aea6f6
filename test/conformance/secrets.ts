import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type { Secrets } from "../../core/ports.ts";
import { rejects } from "./bucket.ts";
import { assertNotQuoted, type InTrouble, troubleTests, type WithoutTrouble } from "./troubles.ts";

/** A store of secrets that a test can write to, and the adapter that reads from it. */
export interface SecretStore {
  secrets: Secrets;
  /**
   * Makes a secret of this name ("[a-z][a-z0-9-]*") with this value, or gives it a new version; its reference, which
   * names no version. With `undefined` nothing is made: the reference of a secret that isn't there.
   */
  set(name: string, value: string | undefined): Promise<string>;
  /** The reference of the version that the last `set` of this name made. */
  versionOf?(name: string): Promise<string>;
  inTrouble?: InTrouble;
  stop?(): Promise<void>;
}

/** How stores of secrets may differ, each with the reason why. */
export interface SecretsDifferences {
  /** References that this store can't have, each refused as `invalid` before anything is sent. */
  malformed: readonly string[];
  /** The largest value, in bytes, where that is less than 64 KiB. */
  largest?: number;
  /** Why a reference can't name a version. */
  versionless?: string;
  /** A reference of a version that isn't there, made from that of the secret. */
  missingVersion?: (reference: string) => string;
  without?: WithoutTrouble;
}

const KiB = 1024;

const VALUES: [what: string, value: string][] = [
  ["one word", "a-token"],
  ["a kubeconfig", "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n  cluster: {server: https://a}\n"],
  ["JSON", '{"a": "1", "b": {"c": [null, "\\u00e9\\n"]}}'],
  ["Unicode", "ü 日本 🚣 \u2028 é e\u0301"],
  ["white space at both ends", " \t a\r\n\n"],
  ["what looks like base64", "aGVsbG8="],
];

/**
 * The contract of the port `Secrets` as tests: every adapter passes them against its service, an emulator or a
 * stand-in. `start` is called once; each test takes secrets of its own.
 */
export function secretsConformance(
  name: string,
  start: () => Promise<SecretStore>,
  { malformed, largest = 64 * KiB, versionless, missingVersion, without = {} }: SecretsDifferences,
): void {
  describe(`secrets: ${name}`, () => {
    let store: SecretStore;
    before(async () => {
      store = await start();
    });
    after(() => store?.stop?.());
    const read = (reference: string) => store.secrets.read(reference);
    const newName = () => `s-${randomUUID()}`;

    for (const [what, value] of VALUES) {
      test(`${what} comes back as it is`, async () => {
        assert.equal(await read(await store.set(newName(), value)), value);
      });
    }

    test(`${largest} bytes come back`, async () => {
      const value = "é234567890abcde\n".repeat(largest / 17 + 1).slice(0, (largest * 16) / 17 - 1);
      assert(Buffer.byteLength(value) > largest - 34 && Buffer.byteLength(value) <= largest);
      assert.equal(await read(await store.set(newName(), value)), value);
    });

    test("what is read is the newest version, at once", async () => {
      const name = newName();
      const reference = await store.set(name, "first");
      assert.equal(await read(reference), "first");
      for (const value of ["second", "third"]) {
        assert.equal(await store.set(name, value), reference);
        assert.equal(await read(reference), value);
      }
    });

    test("a reference may name a version", { skip: versionless }, async () => {
      const name = newName();
      await store.set(name, "first");
      const first = await store.versionOf?.(name);
      assert(first);
      const newest = await store.set(name, "second");
      assert.equal(await read(first), "first");
      assert.equal(await read(newest), "second");
    });

    test("a version that isn't there is missing", { skip: versionless }, async () => {
      const reference = await store.set(newName(), "a-value-that-is-there");
      assert(missingVersion);
      const error = await rejects("missing", read(missingVersion(reference)));
      assertNotQuoted(error, "a-value-that-is-there");
    });

    test("a secret that isn't there is missing; the error names its reference", async () => {
      const reference = await store.set(newName(), undefined);
      const error = await rejects("missing", read(reference));
      assert(error.message.includes(reference), error.message);
    });

    for (const reference of malformed) {
      test(`${JSON.stringify(reference)} is no reference`, async () => {
        await rejects("invalid", read(reference));
      });
    }

    test("reads may run side by side", async () => {
      const references = await Promise.all(Array.from({ length: 8 }, (_, i) => store.set(newName(), `value ${i}`)));
      const values = await Promise.all(references.map((reference) => read(reference)));
      assert.deepEqual(
        values,
        references.map((_, index) => `value ${index}`),
      );
    });

    describe("in trouble", () => {
      const value = `the-value-${randomUUID()}`;
      let reference: string;
      before(async () => {
        reference = await store.set(newName(), value);
        assert.equal(await read(reference), value);
      });
      troubleTests(
        (signal) => store.secrets.read(reference, { signal }),
        async (trouble, run) => {
          assert(store.inTrouble, `the store has no ${trouble}: name the reason in "without"`);
          await store.inTrouble(trouble, run);
        },
        without,
        (error) => {
          assert(error.message.includes(reference), error.message);
          assertNotQuoted(error, value);
        },
      );
    });
  });
}
