import {
  type ApiServer,
  type Bucket,
  backup,
  backupDocument,
  connect,
  type Kube,
  LifeboatError,
  listFolder,
  readKubeconfig,
  readResourceList,
  restoreDocument,
  restoreKeys,
  runRestore,
  startApiServer,
  startRunLog,
} from "../../../core/index.ts";
import { backupSummary } from "../backup/create.ts";
import { getBackups } from "../backup/get.ts";
import { directoryBucket } from "../bucket.ts";
import type { Invocation } from "../options.ts";
import { columns, countText, print } from "../output.ts";
import { restoreSummary } from "../restore/carry.ts";
import { COMMAND } from "../session.ts";
import { compare, listEverything } from "./compare.ts";
import { shopObjects } from "./shop.ts";
import { judge } from "./verdict.ts";

const FOLDER = "./demo";
const BACKUP = "shop";
const RESTORE = "shop-restored";

const EPILOGUE = `
What the two small clusters are: API servers in this process that keep objects
in memory. They do no admission, no defaulting, no watches, and run no
controllers: no Pod is started. Lifeboat itself is all real: the same code
reads, stores and restores the objects of a cluster of yours.

Look at what was made:
  ${COMMAND} backup describe ${BACKUP} --details --location ${FOLDER}
  ${COMMAND} restore describe ${RESTORE} --details --location ${FOLDER}
  tar -tzf demo/backups/${BACKUP}/${BACKUP}.tar.gz | head

With a cluster of yours:
  ${COMMAND} backup create --location ./backups --context A
  ${COMMAND} restore create --from-backup NAME --location ./backups --context B
`;

/**
 * `lifeboat demo`: a backup of one embedded cluster restored into another one, in ./demo. Exit code 1 where the second
 * then is not as the first, beside what restores leave out by rule. Throws `conflict` where something else lies in ./demo.
 */
export async function runDemo({ signal }: Invocation): Promise<number> {
  const bucket = directoryBucket(FOLDER);
  await emptyFolder(bucket, signal);
  const [shop, empty] = await Promise.all([startApiServer({ objects: shopObjects() }), startApiServer()]);
  const [source, target] = [connect(readKubeconfig(shop.kubeconfig)), connect(readKubeconfig(empty.kubeconfig))];
  try {
    heading("1. Two small clusters run in this process");
    introduce(shop, empty);
    heading(`2. Back up the first one into ${FOLDER}`);
    await backUp(source, bucket, signal);
    heading(`3. What lies there now: ${COMMAND} backup get --location ${FOLDER}`);
    await getBackups({ args: [], options: { location: FOLDER }, signal });
    heading("4. Restore it into the second one");
    const complete = await restoreInto(target, bucket, signal);
    heading("5. List everything in both again, and compare object by object");
    const alike = await compareClusters(source, target, bucket, signal);
    print(EPILOGUE);
    return complete && alike ? 0 : 1;
  } finally {
    await Promise.all([source.close(), target.close()]);
    await Promise.all([shop.stop(), empty.stop()]);
  }
}

/** Makes ./demo a fresh location, unless something else than an earlier demo lies in it. */
async function emptyFolder(bucket: Bucket, signal: AbortSignal): Promise<void> {
  const keys = [...(await listFolder(bucket, "", signal)).keys()];
  const ours = [`backups/${BACKUP}/`, `restores/${RESTORE}/`, "metadata/lifeboat/"];
  const foreign = keys.find((key) => !ours.some((prefix) => key.startsWith(prefix)));
  if (foreign !== undefined) {
    throw new LifeboatError("conflict", `${FOLDER} holds ${foreign}, which is not of an earlier demo`, {
      hint: "run the demo in another directory, or move that folder away",
    });
  }
  for (const key of keys) await bucket.delete(key, { signal });
}

function introduce(shop: ApiServer, empty: ApiServer): void {
  const rows = [
    [shop.url, `a shop: ${countText(shop.count())} objects`],
    [empty.url, `empty: ${countText(empty.count())} objects, which every cluster has`],
  ];
  print(indent(columns(rows)));
}

async function backUp(kube: Kube, bucket: Bucket, signal: AbortSignal): Promise<void> {
  const log = startRunLog({ backup: `velero/${BACKUP}` });
  const startedAt = performance.now();
  const { record, outcome } = await backup({ kube, bucket, name: BACKUP, spec: {}, log, signal });
  const durationMs = performance.now() - startedAt;
  print(indent(backupSummary(backupDocument(record, bucket.location, { ...outcome, durationMs }), kube.server)));
}

async function restoreInto(kube: Kube, bucket: Bucket, signal: AbortSignal): Promise<boolean> {
  const log = startRunLog({ restore: `velero/${RESTORE}` });
  const spec = { backupName: BACKUP };
  const startedAt = performance.now();
  const { record, result } = await runRestore({ kube, bucket, name: RESTORE, spec, log, signal });
  const durationMs = performance.now() - startedAt;
  print(
    indent(restoreSummary(restoreDocument(record, bucket.location, { ...result.problems, durationMs }), kube.server)),
  );
  return result.phase === "Completed";
}

async function compareClusters(source: Kube, target: Kube, bucket: Bucket, signal: AbortSignal): Promise<boolean> {
  const [first, second] = [await listEverything(source, signal), await listEverything(target, signal)];
  const resources = (await readResourceList(bucket, restoreKeys(RESTORE).resourceList, signal)) ?? {};
  const verdict = judge(compare(first, second), first, resources);
  print(indent(verdict.text));
  return verdict.alike;
}

function heading(text: string): void {
  print(`\n${text}\n`);
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, "  ");
}
