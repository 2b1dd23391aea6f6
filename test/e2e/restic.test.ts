import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Bucket } from "../../core/ports.ts";
import { copyFiles } from "../../core/volumes/restic/copy.ts";
import { fillClaim } from "../../core/volumes/restic/fill.ts";
import { bucketRepositories } from "../../core/volumes/restic/repositories.ts";
import { forgetBackups, forgetFiles, storedFiles } from "../../core/volumes/restic/stored.ts";
import type { FileCopy } from "../../core/volumes/volume.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { azureBlobBucket } from "../../functions/azure/bucket.ts";
import { gcsBucket } from "../../functions/gcp/bucket.ts";
import { startAzureHost } from "../rig/azurehost.ts";
import { startAzurite } from "../rig/azurite.ts";
import { startGcs } from "../rig/gcs.ts";
import { startS3 } from "../rig/s3.ts";
import { bytesOnDisk, makeTree, readTree } from "../rig/tree.ts";
import { type FolderCluster, folderCluster, resticSkip, SHOP, settingsFor } from "./restic.ts";

const PASSWORD = "correct-horse-battery";
const MIB = 1 << 20;
/** What `makeTree` makes beside the small files: other files, and all its entries. */
const FILES = 13;
const ENTRIES = 122;

/** A location that Pods of both clusters reach. */
interface Cloud {
  location: string;
  credentials: string;
  bucket: Bucket;
  /** Values that must be nowhere. */
  secrets: string[];
}

/** How many small files are copied there, and MiB of a large one. */
const CLOUDS = { s3: [10_000, 16], gs: [200, 4], azblob: [200, 4] } as const;

describe("copies of files by restic", { skip: resticSkip(["versitygw", "fake-gcs-server", "npm:azurite"]) }, () => {
  const stack = new AsyncDisposableStack();
  const said: string[] = [];
  let clouds: Record<keyof typeof CLOUDS, Cloud>;
  let source: FolderCluster;
  let target: FolderCluster;

  before(async () => {
    const [s3, gcs, azurite] = await Promise.all([startS3(), startGcs(), startAzurite()]);
    for (const server of [s3, gcs, azurite]) stack.use(server);
    const azure = stack.use(await startAzureHost(azurite));
    const pods = { env: { SSL_CERT_FILE: azure.ca }, folders: [azure.dir] };
    [source, target] = await Promise.all([folderCluster(pods), folderCluster(pods)]);
    for (const cluster of [source, target]) stack.use(cluster);
    Object.assign(process.env, s3.env, azurite.env);
    const azblob = new URLSearchParams({ account: azurite.account, endpoint: azure.endpoint });
    clouds = {
      s3: {
        location: s3.location("here"),
        credentials: `AWS_ACCESS_KEY_ID=${s3.accessKeyId}\nAWS_SECRET_ACCESS_KEY=${s3.secretAccessKey}`,
        bucket: s3Bucket(new URL(s3.location("here"))),
        secrets: [s3.accessKeyId, s3.secretAccessKey],
      },
      gs: {
        location: gcs.location("here"),
        credentials: "GOOGLE_ACCESS_TOKEN=rig-google-token",
        bucket: gcsBucket(new URL(gcs.location("here"))),
        secrets: ["rig-google-token"],
      },
      azblob: {
        location: `azblob://${azurite.container}/here?${azblob}`,
        credentials: `AZURE_ACCOUNT_SAS=${azure.sas}\nHTTPS_PROXY=${azure.proxy}`,
        bucket: azureBlobBucket(new URL(azurite.location("here"))),
        secrets: [azure.sas, new URLSearchParams(azure.sas).get("sig")!],
      },
    };
  });
  after(() => stack.disposeAsync());

  const settingsOf = ({ location, credentials }: Cloud) => settingsFor(location, PASSWORD, credentials);

  /** Copies a claim of the source twice. */
  async function copyTwice(cloud: Cloud, name: string, folderOf: (folder: string) => void) {
    const { claim, volume, folder } = await source.claim(name);
    folderOf(folder);
    const pod = { namespace: SHOP, name: "db-0", uid: "u-1", labels: {} };
    const mount = { pod, running: true, nodeName: source.kubelet.node, volumeName: "data" };
    const signal = AbortSignal.timeout(60_000);
    const repositories = bucketRepositories(cloud.bucket);
    const input = { claim, volume, mount, backupName: "nightly", repositories, signal };
    const copies: { copy: FileCopy; stored: number }[] = [];
    for (let time = 0; time < 2; time++) {
      const { done, fixed } = copyFiles(source.kube, settingsOf(cloud), input);
      const { files, warnings } = await done;
      await fixed;
      assert.deepEqual(warnings, []);
      said.push(JSON.stringify(files));
      copies.push({ copy: files!, stored: await sizeOf(cloud.bucket) });
    }
    return { folder, first: copies[0]!, second: copies[1]! };
  }

  /** Brings a copy back into a new claim of the target, and gives its folder. */
  async function bringBack(cloud: Cloud, from: FileCopy, name: string): Promise<string> {
    const { folder } = await target.claim(name);
    const filled = await fillClaim(target.kube, settingsOf(cloud), {
      claim: { namespace: SHOP, name },
      from,
      restoreName: "back",
      sparse: true,
      signal: AbortSignal.timeout(60_000),
    });
    said.push(JSON.stringify(filled));
    assert.deepEqual(filled.warnings, []);
    // Of two names of one file, its bytes come back once.
    assert.equal(filled.size, from.size - "twins".length);
    return folder;
  }

  describe("come back byte for byte in another cloud's cluster, and cost nothing a second time", {
    concurrency: 3,
  }, () => {
    for (const [name, [files, largeMiB]] of Object.entries(CLOUDS)) {
      it(name, async () => {
        const cloud = clouds[name as keyof typeof CLOUDS];
        const { folder, first, second } = await copyTwice(cloud, name, (folder) =>
          makeTree(folder, { files, largeMiB }),
        );
        assert(first.copy.added > largeMiB * MIB && first.copy.added < first.stored);
        assert(second.copy.added < first.copy.added / 100, `${second.copy.added} bytes were stored again`);
        const grown = second.stored - first.stored;
        assert(grown < first.stored / 100, `the bucket grew by ${grown} of ${first.stored} bytes`);
        const { snapshotId, added, ...copy } = second.copy;
        assert.match(snapshotId, /^[0-9a-f]{64}$/);
        assert.deepEqual(copy, {
          namespace: SHOP,
          size: first.copy.size,
          files: files + FILES,
          podName: "db-0",
          podUid: "u-1",
          nodeName: source.kubelet.node,
          volumeName: "data",
        });

        const back = await bringBack(cloud, second.copy, `${name}-back`);
        const tree = readTree(back);
        assert.equal(tree.size, files + ENTRIES);
        assert.deepEqual(tree, readTree(folder));
        assert(bytesOnDisk(join(back, "sparse")) < 32 * MIB, "its holes came back as holes");
      });
    }
  });

  it("that are forgotten give their room back, and leave the others whole", async () => {
    const cloud = clouds.s3;
    const before = await sizeOf(cloud.bucket);
    const { folder, first, second } = await copyTwice(cloud, "short-lived", (folder) =>
      makeTree(folder, { files: 10, largeMiB: 4 }),
    );
    const of = { namespace: "default", repository: SHOP, signal: AbortSignal.timeout(60_000) };
    const stored = async () => {
      const copies = await storedFiles(target.kube, settingsOf(cloud), of);
      return copies
        .filter(({ claim }) => claim === "short-lived")
        .map(({ snapshotId, backup }) => [snapshotId, backup]);
    };
    assert.deepEqual(
      await stored(),
      [first, second].map(({ copy }) => [copy.snapshotId, "nightly"]),
    );
    await forgetFiles(source.kube, settingsOf(cloud), { ...of, snapshotIds: [first.copy.snapshotId] });
    assert.deepEqual(await stored(), [[second.copy.snapshotId, "nightly"]]);
    assert.deepEqual(readTree(await bringBack(cloud, second.copy, "once-more")), readTree(folder));
    await forgetBackups(target.kube, settingsOf(cloud), { ...of, backups: ["gone", "nightly"] });
    assert.deepEqual(await stored(), []);
    const after = await sizeOf(cloud.bucket);
    assert(first.stored > before + 4 * MIB && after < before + MIB, `${before}, ${first.stored}, ${after} bytes`);
  });

  it("leave nothing in the clusters", async () => {
    for (const cluster of [source, target]) assert.deepEqual(await cluster.left(), []);
  });

  it("name no secret in Pods, in logs, or in what is told of them", async () => {
    const pods = [source, target].flatMap(({ kubelet }) => kubelet.pods);
    const logs = await Promise.all([source, target].map(({ kubelet }) => kubelet.logs()));
    const texts = [JSON.stringify(pods), ...logs, ...said];
    assert(pods.length > 10 && logs.every((log) => log.includes("summary")));
    for (const secret of [PASSWORD, ...Object.values(clouds).flatMap(({ secrets }) => secrets)])
      for (const form of [secret, Buffer.from(secret).toString("base64"), encodeURIComponent(secret)])
        assert(texts.every((text) => !text.includes(form)));
  });
});

async function sizeOf(bucket: Bucket): Promise<number> {
  let size = 0;
  for await (const listed of bucket.list("restic/")) size += listed.key === undefined ? 0 : listed.size;
  return size;
}
