import assert from "node:assert/strict";
import { cp, readFile, rename, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import type { Backup } from "../../core/catalog.ts";
import { sealOf, sealRecord } from "../../core/integrity/seal.ts";
import { lifeboat } from "../e2e/lifeboat.ts";
import { makeScratch, type Scratch, shop, startCluster } from "./cli-sample.ts";

const CASES: { what: string; flags: string; code: number; says: RegExp }[] = [
  {
    what: "a plan beside other flags",
    flags: "--plan p --include-namespaces shop",
    code: 2,
    says: /^error: a plan says itself what to restore, and how\nhint: .*--dry-run\n$/,
  },
  {
    what: "an unknown plan",
    flags: "--plan none",
    code: 5,
    says: /^error: there is no plan "none" in file:.*\nhint: make one/,
  },
  {
    what: "a namespace mapped onto itself",
    flags: "--from-backup full --namespace-mappings shop:shop",
    code: 2,
    says: /^error: namespaceMapping maps "shop" to itself\n/,
  },
  {
    what: "a namespace that the backup doesn't hold, mapped",
    flags: "--from-backup full --namespace-mappings shpo:other",
    code: 2,
    says: /^error: .* doesn't hold a namespace "shpo"\nhint: it holds shop/,
  },
  {
    what: "both kinds of selectors",
    flags: "--from-backup full -l a=b --or-selector=c=d",
    code: 2,
    says: /^error: labelSelector and orLabelSelectors can't be given together\n/,
  },
  {
    what: "what is no object",
    flags: "--from-backup full --include shop",
    code: 2,
    says: /^error: "shop" names no object\nhint: write it like shop\/deployments\.apps\/web/,
  },
  {
    what: "an object that the backup doesn't hold",
    flags: "--from-backup full --include shop/cm/setings-0",
    code: 5,
    says: /^error: the backup doesn't hold "shop\/cm\/setings-0"\nhint: it holds shop\/cm\/settings-0/,
  },
  {
    what: "an object in a namespace that the backup doesn't hold",
    flags: "--from-backup full --include shpo/cm/settings-0",
    code: 5,
    says: /^error: the backup doesn't hold "shpo\/cm\/settings-0"\nhint: it holds shop\/cm\/settings-0\n/,
  },
  {
    what: "an object without its namespace",
    flags: "--from-backup full --include cm/settings-0",
    code: 5,
    says: /^error: the backup doesn't hold "cm\/settings-0"\nhint: it holds shop\/cm\/settings-0\n/,
  },
  {
    what: "a backup in the format of another major version",
    flags: "--from-backup later",
    code: 2,
    says: /^error: backup "later" is in format 2\.0, and only format 1 is known here\nhint: /,
  },
  {
    what: "an index that belongs to another archive",
    flags: "--from-backup swapped",
    code: 6,
    says: /^error: the index backups\/swapped\/swapped-index\.json\.gz is damaged: it is another one than/,
  },
  {
    what: "a record that was changed",
    flags: "--from-backup changed",
    code: 6,
    says: /^error: backups\/changed\/velero-backup\.json was changed after it was written: .*\nhint: /,
  },
];

describe("a restore that can't be", () => {
  let scratch: Scratch;
  let source: Awaited<ReturnType<typeof startCluster>>;
  let target: Awaited<ReturnType<typeof startCluster>>;
  const run = (...args: string[]) =>
    lifeboat([...args, "--location", scratch.path("bucket")], { NODE_COMPILE_CACHE: scratch.path("cache") });

  before(async () => {
    scratch = await makeScratch();
    source = await startCluster(scratch, "source", shop());
    target = await startCluster(scratch, "target");
    await run("backup", "create", "full", "--kubeconfig", source.file);
    await run("backup", "create", "part", "--include-namespaces", "shop", "--kubeconfig", source.file);
    await copyBackup("full", "later", ({ status }) => Object.assign(status!, { formatVersion: "2.0" }));
    await copyBackup("full", "swapped");
    await copyBackup("full", "changed");
    const record = await readFile(file("changed", "velero-backup.json"), "utf8");
    await writeFile(file("changed", "velero-backup.json"), record.replace('"Completed"', '"Compleded"'));
    await cp(file("part", "part-index.json.gz"), file("swapped", "swapped-index.json.gz"));
  });
  after(async () => {
    await Promise.all([source?.stop(), target?.stop()]);
    await scratch?.remove();
  });

  const file = (backup: string, name: string) => scratch.path(`bucket/backups/${backup}/${name}`);
  async function copyBackup(from: string, to: string, change: (record: Backup) => void = () => {}): Promise<void> {
    await cp(file(from, ""), file(to, ""), { recursive: true });
    for (const end of [".tar.gz", "-index.json.gz"]) await rename(file(to, from + end), file(to, to + end));
    const record = JSON.parse(await readFile(file(to, "velero-backup.json"), "utf8")) as Backup;
    record.metadata.name = to;
    change(record);
    await writeFile(file(to, "velero-backup.json"), (await sealRecord(record, sealOf(record)!)).body);
  }

  for (const { what, flags, code, says } of CASES) {
    it(`${what}: exit code ${code}, nothing is written`, async () => {
      const objects = target.count();
      const ended = await run("restore", "create", "r", ...flags.split(" "), "--kubeconfig", target.file);
      assert.match(ended.stderr, says);
      assert.deepEqual([ended.code, ended.stdout, target.count()], [code, "", objects]);
    });
  }
});
