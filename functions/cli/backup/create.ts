import {
  type BackupDocument,
  type BackupRun,
  type BackupSpec,
  backup,
  backupDocument,
  bytesText,
  checkNewName,
  counting,
  EXIT_CODES,
  type Kube,
  LifeboatError,
} from "../../../core/index.ts";
import {
  type BackupFilterOptions,
  backupFilterSpec,
  booleanOf,
  durationFlag,
  labelsFlag,
  readMappings,
  retainFlag,
  timestampedName,
  withoutUndefined,
} from "../filters.ts";
import type { Invocation, SharedOptions } from "../options.ts";
import { countText, durationText, fields, phaseText, plural, printResult, say } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { inSession, underLock } from "../running.ts";
import { COMMAND, clusterText, elsewhereFlags, locationFlags, recipientsOf, signerOf, volumesOf } from "../session.ts";
import { consistencyText, exceptionsBlock } from "./consistency.ts";
import { volumesField } from "./describe.ts";

const PROBLEMS_SHOWN = 10;

interface CreateOptions extends BackupFilterOptions {
  snapshotVolumes?: "true" | "false";
  defaultVolumesToFsBackup?: "true" | "false";
  snapshotMoveData?: "true" | "false";
  csiSnapshotTimeout?: string;
  itemOperationTimeout?: string;
  volumeGroupSnapshotLabelKey?: string;
  labels?: string[];
  annotations?: string[];
  ttl?: string;
  retainUntil?: string;
  retainMode?: "governance" | "compliance";
  secrets?: "keep" | "omit" | "encrypt";
}

/** `lifeboat backup create [NAME]`: exit code 3 where it is PartiallyFailed. */
export async function createBackup({ args, options, signal }: Invocation<CreateOptions>): Promise<number> {
  const name = (args[0] as string | undefined) ?? timestampedName("backup");
  const spec: BackupSpec = withoutUndefined({
    ...(await backupFilterSpec(options)),
    snapshotVolumes: booleanOf(options.snapshotVolumes),
    defaultVolumesToFsBackup: booleanOf(options.defaultVolumesToFsBackup),
    snapshotMoveData: booleanOf(options.snapshotMoveData),
    csiSnapshotTimeout: durationFlag("--csi-snapshot-timeout", options.csiSnapshotTimeout),
    itemOperationTimeout: durationFlag("--item-operation-timeout", options.itemOperationTimeout),
    volumeGroupSnapshotLabelKey: options.volumeGroupSnapshotLabelKey,
    ttl: durationFlag("--ttl", options.ttl),
    retainFor: retainFlag(options.retainUntil),
    retainMode: options.retainMode,
    secrets: options.secrets,
  });
  if (options.retainMode && !options.retainUntil)
    throw new LifeboatError("invalid", "--retain-mode holds nothing without --retain-until", {
      hint: "give both, or neither",
    });
  const policies = spec.resourcePolicy ?? spec.resourcePolicyRules;
  if (spec.snapshotMoveData && spec.snapshotVolumes === false && !policies)
    throw new LifeboatError(
      "invalid",
      "--snapshot-move-data copies the files of snapshots, of which --snapshot-volumes=false makes none",
      { hint: "leave out one of the two; only volume policies would still make snapshots" },
    );
  const labels = labelsFlag(options.labels);
  const first = ({ server }: Kube) => `connecting to ${server}`;
  return inSession({ options, signal }, ["backing up", first], async (session) => {
    const { kube, progress } = session;
    const { bucket, usage } = counting(session.bucket);
    const signer = await signerOf(options);
    const recipients = await recipientsOf(options);
    const volumes = await volumesOf(options, bucket);
    checkNewName("backup", name);
    const told: BackupRun["progress"] = ({ items, resource, remaining }) =>
      progress.update({ done: items, current: { resource, remaining } });
    const making = { kind: "backup", names: [name], options, signal } as const;
    const described = {
      labels,
      annotations: readMappings("--annotations", "=", options.annotations),
    };
    const { result, durationMs } = await underLock(making, { ...session, bucket }, (running) =>
      backup({
        ...{ kube, bucket, name, spec, volumes, ...described, signer, recipients, ...running, progress: told },
        say: options.verbose ? undefined : progress.line,
      }),
    );
    const { record, outcome, adopted } = result;
    const document = backupDocument(record, bucket.location, { durationMs, usage, ...outcome });
    await printResult(options.output, document, () => backupSummary(document, clusterText(kube, options), adopted));
    if (!options.output || options.output === "table") say(await nextSteps(document, options));
    return document.phase === "Completed" ? EXIT_CODES.ok : EXIT_CODES.partial;
  });
}

/** How the run went, for people. */
export function backupSummary(document: BackupDocument, cluster: string, adopted = false): string {
  const { name, phase, location, consistency, items, bytes = 0, durationMs = 0, warnings, errors } = document;
  const { findingCount = 0 } = document;
  const objects = items === 1 ? "1 object" : `${countText(items)} objects`;
  return [
    `Backup ${name}: ${phaseText(phase)}\n\n`,
    `${fields(
      [
        ["Cluster", cluster],
        ["Location", location],
        ["Items", `${objects}, ${bytesText(bytes)} of JSON`],
        [
          "Duration",
          `${durationText(durationMs)}${durationMs > 1000 && items > durationMs / 1000 ? `, ${countText(Math.round(items / (durationMs / 1000)))} objects/s` : ""}`,
        ],
        ["Consistency", consistencyText(consistency)],
        [
          "Problems",
          errors.length + warnings.length
            ? `${plural(errors.length, "error")}, ${plural(warnings.length, "warning")}`
            : "none",
        ],
        ...volumesField(document),
        ...(findingCount > 0
          ? [
              ["Findings", `${countText(findingCount)} that a restore would miss: backup describe --details`] as [
                string,
                string,
              ],
            ]
          : []),
        ...(adopted
          ? [
              ["Note", `finished an interrupted run: it shows the cluster as of ${document.startTimestamp}`] as [
                string,
                string,
              ],
            ]
          : []),
      ],
      "  ",
    )}\n`,
    exceptionsBlock(consistency),
    problemBlock("Errors", errors, PROBLEMS_SHOWN),
    problemBlock("Warnings", warnings, PROBLEMS_SHOWN),
  ].join("");
}

async function nextSteps({ name, phase, location }: BackupDocument, options: SharedOptions): Promise<string> {
  if (phase !== "Completed") return `\nWhat went wrong:\n  ${COMMAND} backup describe ${name}${locationFlags(options)}`;
  const flags = await elsewhereFlags(options, { location });
  return `\nRestore it into another cluster:\n  ${COMMAND} restore create --from-backup ${name}${flags} --${options.cluster === undefined ? "context" : "cluster"} NAME`;
}
