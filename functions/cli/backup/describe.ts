import {
  type BackupDocument,
  backupKeysOf,
  bytesText,
  type Finding,
  isLifeboatError,
  pinText,
  type RestoredVolumes,
  readBackup,
  readBackupDocument,
  readFindings,
  readResourceList,
  readStoredVolumes,
  type StoredVolume,
  type Verified,
  type VolumeCounts,
  volumesText,
} from "../../../core/index.ts";
import { detailsBlock, filtersText } from "../describe.ts";
import type { Invocation } from "../options.ts";
import { countText, fields, phaseText, printable, printResult, timeText } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { openBucket } from "../session.ts";
import { readMade } from "../underway.ts";
import { consistencyText, exceptionsBlock } from "./consistency.ts";

/** `lifeboat backup describe NAME`: of details that can't be read without an identity, it tells after all else. */
export async function describeBackup({ args, options, signal }: Invocation<{ details?: boolean }>): Promise<undefined> {
  const bucket = await openBucket(options);
  const name = args[0] as string;
  const record = await readMade({ bucket, kind: "backup", name, signal }, () => readBackup(bucket, name, signal));
  const document = await readBackupDocument(bucket, record, signal);
  if (!options.details) {
    await printResult(options.output, document, () => describe(document));
    return;
  }
  let details: { resources?: Record<string, string[]>; findings?: Finding[]; volumes?: StoredVolume[] } | undefined;
  let unreadable: unknown;
  try {
    const resources = await readResourceList(bucket, backupKeysOf(record).resourceList, signal);
    const volumes = await readStoredVolumes(bucket, record, signal);
    details = { resources, findings: await readFindings(bucket, record, signal), volumes };
  } catch (error) {
    if (!isLifeboatError(error, "denied")) throw error;
    unreadable = error;
  }
  await printResult(options.output, { ...document, ...details }, () =>
    details
      ? describe(document, details.findings) + volumesBlock(details.volumes) + detailsBlock(details.resources)
      : describe(document),
  );
  if (unreadable) throw unreadable;
}

function describe(document: BackupDocument, findings?: Finding[]): string {
  const { name, phase, location, consistency, spec, items, bytes, hooks, warnings, errors } = document;
  const { expiration, retainedUntil, verified, pinned, cluster, server, encryption, signedBy } = document;
  return [
    fields([
      ["Name", printable(name)],
      ["Phase", phaseText(phase)],
      ["Storage Location", location],
      ["Cluster", printable([cluster, server && cluster ? `(${server})` : server].filter(Boolean).join(" ") || "n/a")],
      ["Encrypted", encryption === undefined ? "no" : { all: "all of it", secrets: "Secrets only" }[encryption]],
      ["Signed", signedBy ? `by ${signedBy}` : "no"],
      ["Consistency", consistencyText(consistency)],
      ["Kubernetes Version", printable(document.kubernetesVersion ?? "n/a")],
      ["Backup Format Version", printable(document.formatVersion ?? "n/a")],
    ]),
    `\n\n${filtersText(spec, "*")}`,
    `\n\n${fields([["TTL", spec.ttl && spec.ttl !== "0s" ? printable(String(spec.ttl)) : "<none>"]])}`,
    `\n\n${fields([
      ["Started", timeText(document.startTimestamp)],
      ["Completed", timeText(document.completionTimestamp)],
      ["Expiration", expiration ? timeText(expiration) : document.schedule ? "none of its own" : "never"],
      ...(retainedUntil ? [["Retained", `until ${timeText(retainedUntil)}`] as [string, string]] : []),
      ...(verified ? [["Verified", verifiedText(verified)] satisfies [string, string]] : []),
      ...(pinned ? [["Pinned", printable(pinText(pinned))] satisfies [string, string]] : []),
    ])}`,
    `\n\n${fields([
      ["Items backed up", `${countText(items)}${bytes === undefined ? "" : ` (${bytesText(bytes)} of JSON)`}`],
      ...volumesField(document),
      ...(hooks
        ? [["Hooks", `${countText(hooks.attempted)} attempted, ${countText(hooks.failed)} failed`] as [string, string]]
        : []),
    ])}\n`,
    exceptionsBlock(consistency),
    problemBlock("Errors", errors) || "\nErrors:    <none>\n",
    problemBlock("Warnings", warnings) || "Warnings:  <none>\n",
    problemBlock("Findings", findings ?? []) || findingsText(document),
  ].join("");
}

/** The data of each volume: where they are, or why they are nowhere. */
function volumesBlock(volumes: StoredVolume[] = []): string {
  if (volumes.length === 0) return "";
  const lines = volumes.map(({ volume, claim, csi, native, files, reason }): [string, string] => [
    claim ? `${claim.namespace}/${claim.name}` : volume,
    csi
      ? `snapshot ${csi.snapshotHandle} of ${csi.driver}`
      : native
        ? `snapshot ${native.snapshotHandle} of a disk (${native.volumeType}, ${native.volumeAZ})`
        : files
          ? `restic snapshot ${files.snapshotId.slice(0, 8)} (${bytesText(files.size)})${files.cut ? `, of a CSI snapshot cut ${timeText(files.cut)}` : ""}`
          : `not copied: ${reason}`,
  ]);
  return `\nVolumes:\n${fields(
    lines.map(([name, text]) => [printable(name), printable(text)]),
    "  ",
  )}\n`;
}

function verifiedText({ at, damage }: Verified): string {
  if (!damage) return `intact, ${timeText(at)}`;
  const since = damage.at === at ? "" : `, and damaged since ${timeText(damage.at)}`;
  return printable(`${since ? `${timeText(at)}${since}` : `damaged, ${timeText(at)}`}: ${damage.reason}`);
}

/** What became of the claims' data, in a line: of those of a backup, or of a restore. */
export function volumesField({ volumes }: { volumes?: VolumeCounts & Partial<RestoredVolumes> }): [string, string][] {
  if (!volumes) return [];
  const { podVolumes = 0 } = volumes;
  const claims = volumesText(volumes);
  return [
    ...(claims ? [["Volumes", claims] satisfies [string, string]] : []),
    ...(podVolumes > 0
      ? [["Pod Volumes", `${countText(podVolumes)} not copied, which are no claims`] satisfies [string, string]]
      : []),
  ];
}

/** What a restore would miss, in a line; "" where nobody has looked. */
function findingsText({ findingCount }: BackupDocument): string {
  if (findingCount === undefined) return "";
  return `Findings:  ${findingCount ? `${countText(findingCount)}, which --details tells` : "<none>"}\n`;
}
