import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { openBucket } from "../../core/deployment.ts";
import { readLocation } from "../../core/location.ts";
import { terminal } from "../../functions/cli/platform.ts";
import { read, rejects } from "../conformance/bucket.ts";

const openLocation = (location: string) => openBucket(terminal, location);

describe("locations", () => {
  let folder = "";
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "lifeboat location-"));
    delete process.env.AWS_REGION;
    delete process.env.AWS_DEFAULT_REGION;
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test("a directory by its URL and by its path is the same bucket", async () => {
    const byPath = await openLocation(folder);
    const byUrl = await openLocation(`${pathToFileURL(folder)}/`);
    await byPath.put("a", Buffer.from("1"));
    assert.equal(String(await read(byUrl, "a")), "1");
    assert.equal(byPath.location, pathToFileURL(folder).href);
    assert.equal(byUrl.location, byPath.location);
  });

  for (const path of ["./backups", "../backups", ".", "/backups", "./with space"]) {
    test(`${path} is a directory's path`, async () => {
      assert.equal((await openLocation(path)).location, pathToFileURL(resolve(path)).href);
    });
  }

  for (const location of [
    "s3://acme-backups/velero?region=eu-west-1",
    "s3://acme-backups?region=eu-west-1",
    "s3://acme.backups/?endpoint=https%3A%2F%2Fminio.example%3A9000&forcePathStyle=true",
    "s3://acme/with%20space/?endpoint=http://127.0.0.1:9000",
  ]) {
    test(`${location} is taken and given back`, async () => {
      assert.equal((await openLocation(location)).location, location);
    });
  }

  const refused: [location: string, message: RegExp, hint?: RegExp][] = [
    ["", /neither a URL nor a path/, /s3:\/\/bucket\/prefix/],
    ["backups", /neither a URL nor a path/, /begins with \/ or \.\//],
    ["s3://AKIA:hunter2@bad host/x", /neither a URL nor a path/],
    ["http://bucket/prefix", /scheme http:/, /file:\/\/ or s3:\/\//],
    ["minio://bucket", /scheme minio:/, /file:\/\/ or s3:\/\//],
    ["file://backups/here", /names the host backups/, /three slashes/],
    ["file:///backups?mode=1", /unknown parameters: mode/],
    ["s3:///prefix?region=r", /no bucket/],
    ["s3://bucket/prefix", /no region/, /AWS_REGION/],
    ["s3://bucket?region=r&profile=hunter2&key=hunter2", /unknown parameters: profile, key/, /region, endpoint/],
    ["s3://bucket?region=r&region=s", /a parameter twice/],
    ["s3://AKIA:hunter2@bucket?region=r", /holds a credential/, /environment/],
    ["s3://hunter2@bucket?region=r", /holds a credential/],
    ["s3://bucket:9000/prefix?region=r", /has a port/, /endpoint=/],
    ["s3://bucket/a#b?region=r", /has a "#"/],
    ["s3://bucket/100%?region=r", /"%"/],
    ["s3://bucket/a%00b?region=r", /control character/],
    ["s3://bucket?endpoint=minio.example", /endpoint is not a http\(s\) URL/],
    ["s3://bucket?endpoint=ftp%3A%2F%2Fminio.example", /endpoint is not a http\(s\) URL/],
    [
      "s3://bucket?endpoint=https%3A%2F%2FAKIA%3Ahunter2%40minio.example",
      /endpoint is not a http\(s\) URL without cred/,
    ],
    ["s3://bucket?region=r&forcePathStyle=yes", /forcePathStyle is yes/],
  ];
  for (const [location, message, hint = /^/] of refused) {
    test(`${location || "nothing"} is invalid`, async () => {
      const error = await rejects("invalid", openLocation(location));
      assert.match(error.message, message);
      assert.match(error.hint ?? "", hint);
      assert.doesNotMatch(`${error.message} ${error.hint} ${error.stack}`, /hunter2/);
    });
  }

  test("the prefix is trimmed of slashes and decoded", () => {
    for (const [path, prefix] of [
      ["", ""],
      ["/", ""],
      ["//a//", "a/"],
      ["/a/b", "a/b/"],
      ["/a%20b/", "a b/"],
      ["/ü", "ü/"],
    ]) {
      assert.equal(readLocation(new URL(`s3://bucket${path}`), []).prefix, prefix);
    }
  });

  test("the environment names the region where the location doesn't", async (t) => {
    t.after(() => delete process.env.AWS_DEFAULT_REGION);
    process.env.AWS_DEFAULT_REGION = "eu-west-1";
    assert.equal((await openLocation("s3://bucket")).location, "s3://bucket");
  });
});
