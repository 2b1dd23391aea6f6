import { type Command, Option } from "commander";
import {
  addAction,
  addBackupFilterFlags,
  addFilterFlags,
  addHiddenShared,
  addShared,
  commaList,
  optionalBoolean,
} from "./options.ts";

/** `lifeboat backup …`: verbs and flags as Velero's. */
export function addBackup(program: Command, signal: AbortSignal): void {
  const backup = addHiddenShared(
    program
      .command("backup")
      .description("Makes, lists, reads, verifies, copies, pins and deletes backups.")
      .summary("make, list, read, verify, copy, pin and delete backups")
      .helpCommand(false),
  );

  const create = addBackupFilterFlags(
    addFilterFlags(
      backup
        .command("create")
        .summary("back up a cluster")
        .description("Backs up a cluster: everything in it, unless flags say otherwise.")
        .argument("[name]", "the backup's name (default: backup-YYYYMMDDhhmmss)"),
    ),
  )
    .addOption(optionalBoolean("--snapshot-volumes", "snapshot volumes, or not (default: where it can be done)"))
    .addOption(
      optionalBoolean(
        "--default-volumes-to-fs-backup",
        "copy the files of all claims that Pods don't exclude (default: of those that Pods name)",
      ),
    )
    .addOption(
      optionalBoolean(
        "--snapshot-move-data",
        "copy the files of CSI snapshots into the location, and keep no such snapshot (default: the snapshots)",
      ),
    )
    .option("--csi-snapshot-timeout <duration>", "how long a CSI snapshot may take (default: 10m)")
    .option("--item-operation-timeout <duration>", "how long a copy of files may take (default: 4h)")
    .option(
      "--volume-group-snapshot-label-key <key>",
      "snapshot claims that share a value of this label at one moment (default: velero.io/volume-group)",
    )
    .option("--labels <pairs>", "labels of the backup, e.g. team=web,tier=front", commaList)
    .option("--annotations <pairs>", "annotations of the backup", commaList)
    .option("--ttl <duration>", "when the backup expires, e.g. 720h (default: never)")
    .addOption(
      new Option("--secrets <how>", "store Secrets as all else, leave them out, or encrypt only them").choices([
        "keep",
        "omit",
        "encrypt",
      ]),
    )
    .option("--retain-until <when>", "hold it in the bucket (object lock) until a day, a time, or for a duration")
    .addOption(
      new Option(
        "--retain-mode <mode>",
        "who may lift that before: who has the right to, or nobody (default: governance)",
      ).choices(["governance", "compliance"]),
    )
    .addHelpText(
      "after",
      `
Examples:
  lifeboat backup create --location ./backups
  lifeboat backup create full \\
    --location 's3://acme-backups/prod?region=eu-west-1'
  lifeboat backup create shop --include-namespaces shop,shop-db --ttl 720h
  lifeboat backup create config --include-resources configmaps,secrets -o json
  lifeboat backup create --config lifeboat.yaml --cluster prod
`,
    );
  addShared(create, [
    "kubeconfig",
    "context",
    "cluster",
    "location",
    "config",
    "signingKey",
    "recipient",
    "output",
    "verbose",
  ]);
  addAction(create, signal, async () => (await import("./backup/create.ts")).createBackup);

  const get = backup
    .command("get")
    .summary("list backups, or show one")
    .description("Lists the backups of a location, newest first. Velero's are listed too.")
    .argument("[name]", "only this backup")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat backup get --location ./backups\n  lifeboat backup get full -o yaml\n",
    );
  addShared(get, ["cluster", "location", "output"]);
  addAction(get, signal, async () => (await import("./backup/get.ts")).getBackups);

  const describe = backup
    .command("describe")
    .summary("tell all about a backup")
    .description("Tells what is in a backup and how it came to be.")
    .argument("<name>", "the backup's name")
    .option("--details", "with every object in it")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat backup describe full\n  lifeboat backup describe full --details -o json\n",
    );
  addShared(describe, ["cluster", "location", "identity", "output"]);
  addAction(describe, signal, async () => (await import("./backup/describe.ts")).describeBackup);

  const show = backup
    .command("show")
    .summary("print an object of a backup")
    .description(
      "Prints an object as a backup holds it. An object is named like shop/deployments.apps/web, by the plural, kind or short name of its resource; without a namespace where only one has that name.",
    )
    .argument("<name>", "the backup's name")
    .argument("<object>", "the object: namespace/kind/name or kind/name")
    .addOption(new Option("-o, --output <format>", "how to print it: yaml or json").choices(["yaml", "json"]))
    .option("--show-secrets", "show a Secret's values")
    .option("--show-managed-fields", "with metadata.managedFields")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat backup show full shop/deploy/web
  lifeboat backup show full clusterroles/admin -o json
  lifeboat backup show full shop/secrets/db --show-secrets | kubectl apply -f -
`,
    );
  addShared(show, ["cluster", "location", "identity", "trustedKey"]);
  addAction(show, signal, async () => (await import("./backup/show.ts")).showObject);

  const diff = addFilterFlags(
    backup
      .command("diff")
      .summary("compare a backup with another one, or with a cluster")
      .description(
        "Tells which objects were added, removed and changed from one backup to another, or to a cluster as it is now. What servers and controllers write (status, bookkeeping) doesn't count; of Secrets no value is shown.",
      )
      .argument("<from>", "a backup's name")
      .argument("[to]", "another backup's name; not with --live")
      .argument("[object]", "only this object"),
  )
    .option("--live", "compare with the cluster of the kubeconfig, or of --cluster")
    .option("--details", "with each field that was changed")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat backup diff hourly-20261124010000 hourly-20261124020000
  lifeboat backup diff full --live --include-namespaces shop --details
  lifeboat backup diff full --live shop/deploy/web
`,
    );
  addShared(diff, ["kubeconfig", "context", "cluster", "location", "config", "identity", "trustedKey", "output"]);
  addAction(diff, signal, async () => (await import("./backup/diff.ts")).diffBackups);

  const search = addChoice(
    backup
      .command("search")
      .summary("find objects in all backups")
      .description(
        "Tells which objects are in which backups, those of the newest backups first. TEXT is looked for in names, namespaces, labels (as key=value) and images, in upper or lower case; not in bodies: only indexes are read. Backups without one (Velero's) are named and left out.",
      )
      .argument("[text]", "part of a name, a namespace, a label or an image"),
  )
    .option("--kind <kind>", "only objects of this kind, plural or short name, e.g. deploy")
    .option("--name <name>", "only objects of this name; globs match")
    .option("--namespace <name>", "only objects in this namespace; globs match")
    .option("--image <text>", "only what runs an image with this in its name")
    .option("--label <labels>", "only objects with these labels, e.g. app=web,tier!=db")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat backup search checkout
  lifeboat backup search --kind secrets --namespace 'shop*'
  lifeboat backup search --image log4j --schedule hourly -o json
`,
    );
  addShared(search, ["cluster", "location", "identity", "trustedKey", "output"]);
  addAction(search, signal, async () => (await import("./backup/search.ts")).searchBackups);

  const history = addChoice(
    backup
      .command("history")
      .summary("tell what became of an object from backup to backup")
      .description(
        "Tells when an object appeared, was changed, recreated and disappeared, as the backups have it. What servers and controllers write (status, bookkeeping) is no change. The object is named as for `backup show`.",
      )
      .argument("<object>", "the object: namespace/kind/name or kind/name"),
  )
    .option("--diff", "with each field that was changed; of Secrets no values")
    .option("--all", "what only servers and controllers wrote is a change too")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat backup history shop/deploy/web
  lifeboat backup history shop/deploy/web --diff --schedule hourly
`,
    );
  addShared(history, ["cluster", "location", "identity", "trustedKey", "output"]);
  addAction(history, signal, async () => (await import("./backup/history.ts")).objectHistory);

  const logs = backup
    .command("logs")
    .summary("print a backup's log")
    .description("Prints the log of the run that made a backup, or of the last run under that name that failed.")
    .argument("<name>", "the backup's name")
    .addHelpText("after", "\nExamples:\n  lifeboat backup logs full | grep level=error\n");
  addShared(logs, ["cluster", "location", "identity"]);
  addAction(logs, signal, async () => (await import("./logs.ts")).backupLogs);

  const download = backup
    .command("download")
    .summary("save a backup's archive as a file")
    .description("Saves the archive with all objects of a backup as a .tar.gz file.")
    .argument("<name>", "the backup's name")
    .option("-o, --output <file>", "the file (default: NAME-data.tar.gz)")
    .option("--force", "overwrite the file")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat backup download full -o /tmp/full.tar.gz && tar -tf /tmp/full.tar.gz\n",
    );
  addShared(download, ["cluster", "location", "identity"]);
  addAction(download, signal, async () => (await import("./backup/download.ts")).downloadBackup);

  const verify = backup
    .command("verify")
    .summary("look for damage in backups")
    .description(
      "Checks that a backup is what was made: all its files, by their digests, its signature, and that they agree. Of the archive the size; its data with --read-data or --sample.",
    )
    .argument("[name]", "the backup's name")
    .option("--all", "every backup of the location, and what lies there that is none")
    .option("--read-data", "read the whole archive too, and check every object")
    .option("--sample <share>", "read that much of it, chosen at random: 5%")
    .option("--drill", "rehearse its restore: against the cluster that is named, or, of structure alone, in memory")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat backup verify full --read-data
  lifeboat backup verify --all --sample 5% -o json
  lifeboat backup verify full --trusted-key file:trusted.pem
  lifeboat backup verify full --drill --cluster staging
`,
    );
  addShared(verify, [
    "kubeconfig",
    "context",
    "cluster",
    "location",
    "config",
    "trustedKey",
    "identity",
    "output",
    "verbose",
  ]);
  addAction(verify, signal, async () => (await import("./backup/verify.ts")).verifyBackups);

  const pin = backup
    .command("pin")
    .summary("protect backups from deletion")
    .description("Pins backups: neither retention nor `backup delete` deletes them until they are unpinned.")
    .argument("<names...>", "the backups' names")
    .option("--reason <text>", "why, for those who come across it")
    .addHelpText("after", '\nExamples:\n  lifeboat backup pin full --reason "before the upgrade to 1.37"\n');
  addShared(pin, ["cluster", "location"]);
  addAction(pin, signal, async () => (await import("./backup/pin.ts")).pinBackups);

  const unpin = backup
    .command("unpin")
    .summary("let pinned backups be deleted again")
    .description("Takes the pin off backups.")
    .argument("<names...>", "the backups' names")
    .addHelpText("after", "\nExamples:\n  lifeboat backup unpin full\n");
  addShared(unpin, ["cluster", "location"]);
  addAction(unpin, signal, async () => (await import("./backup/pin.ts")).unpinBackups);

  const copy = backup
    .command("copy")
    .summary("copy a backup to another location")
    .description(
      "Copies a backup, byte for byte, to another location, of any kind, and checks what arrives before it is listed there. Interrupted, it goes on when it is run again.",
    )
    .argument("<name>", "the backup's name")
    .requiredOption("--to <url>", "the location to copy to: s3://…, gs://…, azblob://…, file:///… or ./directory")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat backup copy full --to 's3://acme-vault/blue?region=us-east-1'\n  lifeboat backup copy full --location ./backups --to gs://acme-backups/blue\n",
    );
  addShared(copy, ["cluster", "location", "config", "trustedKey", "output"]);
  addAction(copy, signal, async () => (await import("./backup/copy.ts")).copyToLocation);

  const remove = backup
    .command("delete")
    .summary("delete backups")
    .description(
      "Deletes backups with all that belongs to them: the copies of their volumes, too, in the storage, the cloud and restic's repositories. This can't be undone. Pinned ones are refused; a restore that is reading one ends half-way, and is told of before. Where there are such copies, the cluster is asked that the backup is of.",
    )
    .argument("<names...>", "the backups' names")
    .option("--confirm", "do not ask")
    .option("--keep-volume-data", "leave the copies of volumes in their storage: for clusters that are gone")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat backup delete full\n  lifeboat backup delete full-1 full-2 --confirm\n  lifeboat backup delete of-a-lost-cluster --keep-volume-data\n",
    );
  addShared(remove, ["kubeconfig", "context", "cluster", "location", "config", "identity"]);
  addAction(remove, signal, async () => (await import("./backup/delete.ts")).deleteBackups);
}

/** Adds the flags that say which backups are looked into. */
function addChoice(command: Command): Command {
  return command
    .option("--backup <names>", "only in these backups (default: all of the location)", commaList)
    .option("--schedule <name>", "only in the backups of this schedule");
}
