import assert from "node:assert/strict";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { checkov, type Fault, type Suppression, suppressionsIn, tflint, told } from "../rig/lint.ts";
import { makeDir, removeDir } from "../rig/process.ts";
import { requireOrSkip } from "../rig/require.ts";

const INFRA = join(import.meta.dirname, "../../infra");
const RULES = join(INFRA, ".tflint.hcl");

/** A module as it must not be: anybody reads the bucket, and a variable may be anything. */
const BAD = `variable "name" {
  description = "Name of the bucket."
}
resource "aws_s3_bucket" "this" {
  bucket = var.name
  acl    = "public-read"
}
`;

describe("the linters of what deploys Lifeboat", { skip: requireOrSkip("rig", ["tflint", "checkov"]) }, () => {
  let bare: string;
  const suppressions: Suppression[] = [];

  /** Beside the bad module, all of infra without its suppressions, each line where it was. */
  before(async () => {
    bare = makeDir("lint");
    await cp(INFRA, bare, { recursive: true });
    for (const name of await readdir(bare, { recursive: true })) {
      if (!/\.(tf|ya?ml|hcl)$/.test(name)) continue;
      const text = await readFile(join(bare, name), "utf8");
      assert(!text.includes("tflint-ignore"), `${name}: mend what tflint finds`);
      suppressions.push(...suppressionsIn(name, text));
      await writeFile(join(bare, name), text.replaceAll(/checkov(:skip=|\.io\/skip)/g, "unchecked$1"));
    }
    await mkdir(join(bare, "bad"));
    await writeFile(join(bare, "bad/main.tf"), BAD);
  });
  after(() => removeDir(bare));

  test("tflint finds no fault", async () => {
    const faults = await tflint(INFRA, RULES);
    assert.equal(faults.length, 0, told(faults));
  });

  test("tflint finds the faults of a bad module", async () => {
    const rules = (await tflint(bare, RULES)).filter(({ file }) => file.startsWith("bad/")).map(({ rule }) => rule);
    assert(rules.includes("terraform_typed_variables"), `${rules}`);
  });

  test("checkov finds no fault, and skips what has a reason", async () => {
    const { passed, failed } = await checkov(INFRA);
    assert.equal(failed.length, 0, told(failed));
    assert(passed > 100, `only ${passed} checks`);
    for (const { rule, file, line, reason } of suppressions) {
      assert.match(reason, /\w+ \w+ .*\w+.*\.$/, `${file}:${line}: why is ${rule} skipped?`);
    }
  });

  test("checkov finds the faults of a bad module, and nothing is skipped that it would not find", async () => {
    const { failed, skipped } = await checkov(bare);
    assert.equal(skipped.length, 0, told(skipped));
    const bad = failed.filter(({ file }) => file.startsWith("bad/"));
    assert(
      bad.some(({ rule }) => rule === "CKV_AWS_20"),
      told(bad),
    );
    const isFor = ({ rule, file, lines: [first, last] }: Fault, suppression: Suppression) =>
      rule === suppression.rule && file === suppression.file && first <= suppression.line && suppression.line <= last;
    for (const suppression of suppressions) {
      const { rule, file, line } = suppression;
      assert(
        failed.some((fault) => isFor(fault, suppression)),
        `${file}:${line}: ${rule} need not be skipped`,
      );
    }
    const others = failed.filter((fault) => !bad.includes(fault) && !suppressions.some((one) => isFor(fault, one)));
    assert.equal(others.length, 0, told(others));
  });
});
