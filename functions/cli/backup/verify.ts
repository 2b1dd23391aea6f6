import {
  type Bucket,
  type Drill,
  damageLines,
  drillBackup,
  EXIT_CODES,
  LifeboatError,
  readRestorable,
  readShare,
  startRunLog,
  type VerifyDocument,
  type VerifyListDocument,
  type VerifyOptions,
  verifyBackup,
  verifyLocation,
} from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { columns, countText, fields, phaseText, plural, printable, printResult, say } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { startProgress } from "../progress.ts";
import { openCluster, openExisting, trustedKeysOf } from "../session.ts";
import { readMade } from "../underway.ts";

interface Flags {
  all?: boolean;
  readData?: boolean;
  sample?: string;
  drill?: boolean;
}

const DAMAGES_SHOWN = 20;

/**
 * `lifeboat backup verify NAME | --all`: exit code 6 where something is damaged, 5 where there is no such backup or, of all,
 * a folder has no record, 3 where a drill finds what would be refused.
 */
export async function verifyBackups(invocation: Invocation<Flags>): Promise<number> {
  const { args, options, signal } = invocation;
  const name = args[0] as string | undefined;
  if ((name === undefined) === !options.all) {
    throw new LifeboatError("invalid", "either one backup is verified, or all are", { hint: "give a NAME, or --all" });
  }
  if (options.drill && name === undefined)
    throw new LifeboatError("invalid", "a drill is of one backup", { hint: "give its NAME in place of --all" });
  const read = shareOf(options);
  const bucket = await openExisting(options);
  const trustedKeys = await trustedKeysOf(options, signal);
  const progress = startProgress("verifying", "reading the files beside the archive");
  const verifying = {
    ...{ read, trustedKeys, signal },
    progress: (done: number, total: number) => progress.update({ done, total }),
  };
  try {
    if (name === undefined) return await verifyAll(bucket, verifying, options);
    const verify = () => verifyBackup(bucket, name, verifying);
    const verified = await readMade({ bucket, kind: "backup", name, signal }, verify);
    const drill =
      options.drill && verified.ok ? await rehearse(bucket, name, { trustedKeys, progress }, invocation) : undefined;
    const document = { ...verified, ...(drill && { drill }) };
    progress.end();
    await printResult(options.output, document, () => summary(verified) + (drill ? drillText(drill) : ""));
    if (!document.ok) return EXIT_CODES.corrupt;
    return drill?.refused.length ? EXIT_CODES.partial : EXIT_CODES.ok;
  } finally {
    progress.end();
  }
}

/** The drill of a backup that is intact, against the cluster that is named, if one is. */
async function rehearse(
  bucket: Bucket,
  name: string,
  { trustedKeys, progress }: { trustedKeys: string[]; progress: ReturnType<typeof startProgress> },
  { options, signal }: Invocation<Flags>,
): Promise<Drill> {
  const named = options.kubeconfig ?? options.context ?? options.cluster;
  const kube = named === undefined ? undefined : await openCluster(options, signal);
  const { log } = startRunLog({ drill: name }, options.verbose ? progress.line : undefined);
  try {
    const record = await readRestorable(bucket, name, signal);
    return await drillBackup(bucket, record, {
      ...{ kube, trustedKeys, log, signal },
      progress: (done, total) => progress.update({ done, total }),
    });
  } finally {
    await kube?.close();
  }
}

function drillText({ target, restorable, skipped, refused, warnings }: Drill): string {
  const against = target
    ? `against ${target}, as a dry run`
    : "in memory: structure alone, without validation and admission";
  return [
    `\nDrill: ${phaseText(refused.length ? "PartiallyFailed" : "Completed")}, ${against}\n\n`,
    `${fields(
      [
        ["Would be restored", plural(restorable, "object")],
        ["Left as they are", plural(skipped, "object")],
        ["Refused", plural(refused.length, "object")],
      ],
      "  ",
    )}\n`,
    problemBlock("Refused", refused, DAMAGES_SHOWN),
    problemBlock("Warnings", warnings, DAMAGES_SHOWN),
  ].join("");
}

async function verifyAll(bucket: Bucket, verifying: VerifyOptions, { output }: Invocation["options"]): Promise<number> {
  const document = await verifyLocation(bucket, verifying);
  if (document.backups.length + document.orphans.length === 0) say(`No backups in ${document.location}`);
  await printResult(output, document, () => table(document));
  if (document.backups.some(({ ok }) => !ok)) return EXIT_CODES.corrupt;
  return document.ok ? EXIT_CODES.ok : EXIT_CODES.missing;
}

function shareOf({ readData, sample }: Flags): number {
  if (readData && sample !== undefined) throw new LifeboatError("invalid", "give one of --read-data and --sample");
  if (sample === undefined) return readData ? 1 : 0;
  const share = readShare(sample);
  if (share !== undefined) return share;
  throw new LifeboatError("invalid", `--sample: "${sample}" is not a share`, { hint: "write it like --sample 5%" });
}

const verdict = ({ ok }: VerifyDocument) => phaseText(ok ? "Intact" : "Damaged");

function summary(document: VerifyDocument): string {
  const { name, location, ok, files, items, unchecked, signedBy } = document;
  return [
    `Backup ${printable(name)}: ${verdict(document)}${ok && unchecked.length > 0 ? ", as far as it was read" : ""}\n\n`,
    `${fields(
      [
        ["Location", location],
        ["Holds", `${plural(files, "file")}, ${plural(items, "object")}`],
        ["Signed", signedBy ? `by ${signedBy}` : "no"],
        ...unchecked.map((what): [string, string] => ["Not checked", printable(what)]),
      ],
      "  ",
    )}\n`,
    damageBlock([document]),
  ].join("");
}

function table({ backups, orphans }: VerifyListDocument): string {
  const rows = backups.map((backup) => [
    ...[printable(backup.name), verdict(backup), countText(backup.files), countText(backup.items)],
    ...[backup.signedBy ?? "no", printable(backup.unchecked.join("; ")) || "-"],
  ]);
  const heading = ["NAME", "STATUS", "FILES", "ITEMS", "SIGNED BY", "NOT CHECKED"];
  return [
    backups.length > 0 ? columns([heading, ...rows]) : "",
    damageBlock(backups),
    problemBlock(
      "No backups",
      orphans.map(({ folder, reason }) => ({ message: `${folder}: ${reason}` })),
    ),
  ].join("");
}

function damageBlock(documents: VerifyDocument[]): string {
  const lines = documents.flatMap(({ damaged }) => damageLines(damaged).map((message) => ({ message })));
  return problemBlock("Damaged", lines, DAMAGES_SHOWN);
}
