import { type Command, Option } from "commander";
import {
  addAction,
  addFilterFlags,
  addHiddenShared,
  addShared,
  commaList,
  OR_SELECTOR,
  optionalBoolean,
} from "./options.ts";

const CLUSTER = ["kubeconfig", "context", "cluster", "location", "config"] as const;
const RUNNING = [...CLUSTER, "trustedKey", "signingKey", "identity", "recipient", "output", "verbose"] as const;

/** `lifeboat restore …`: verbs and flags as Velero's. */
export function addRestore(program: Command, signal: AbortSignal): void {
  const restore = addHiddenShared(
    program
      .command("restore")
      .description("Restores backups, lists and reads restores.")
      .summary("restore backups, list and read restores")
      .helpCommand(false),
  );

  const create = addFilterFlags(
    restore
      .command("create")
      .summary("restore a backup into a cluster")
      .description(
        "Restores a backup into a cluster. What is there already stays as it is, unless flags say otherwise.",
      )
      .argument("[name]", "the restore's name (default: BACKUP-YYYYMMDDhhmmss)")
      .option("--from-backup <name>", "the backup to restore")
      .option("--from-schedule <name>", "in its place: the newest Completed backup of this schedule")
      .addOption(
        optionalBoolean(
          "--allow-partially-failed",
          "with --from-schedule, take a PartiallyFailed backup too, where it is the newest",
        ),
      ),
  )
    .option("--namespace-mappings <from:to>", "restore namespaces under other names, e.g. shop:shop-copy", commaList)
    .addOption(
      new Option(
        "--existing-resource-policy <policy>",
        "what to do with objects that exist and differ: none (default), update, or recreate where that takes it",
      ).choices(["none", "update", "recreate"]),
    )
    .option("--or-selector <labels>", OR_SELECTOR)
    .option("--include <item>", "only this object, e.g. shop/deployments.apps/web, clusterroles/admin", commaList)
    .option("--status-include-resources <names>", "restore the status of these resources too; * for all", commaList)
    .option("--status-exclude-resources <names>", "restore no status of these", commaList)
    .addOption(optionalBoolean("--preserve-nodeports", "keep the node ports of Services"))
    .addOption(optionalBoolean("--restore-volumes", "restore the data of volumes, or not (default: they are)"))
    .addOption(optionalBoolean("--write-sparse-files", "leave holes in restored files where they had zeros"))
    .option("--zone-mapping <from=to>", "make disks in other zones, e.g. eu-west-1a=eu-west-1b", commaList)
    .option("--prune", "delete what the filters select and the backup doesn't hold; asks for --yes")
    .option("--yes", "with --prune: yes, delete that")
    .option("--resource-modifier-file <file>", "change objects by the rules of a file, in Velero's syntax")
    .option("--resource-modifier-configmap <name>", "change objects by the rules of a ConfigMap in namespace velero")
    .option("--dry-run", "write nothing to the cluster: tell what would be done, and keep that as a plan")
    .option("--details", "with --dry-run, tell of every object")
    .option("--plan <id>", "apply this plan, made with --dry-run, if the cluster is still as it was then")
    .option("--map-domain <from=to>", "give the clone another domain, e.g. shop.example=green.example", commaList)
    .option("--map-registry <from=to>", "take images from elsewhere, e.g. docker.io=hub.example", commaList)
    .option("--map-storage-class <from=to>", "use another storage class, e.g. gp2=premium", commaList)
    .option("--map-ingress-class <from=to>", "use another ingress class, e.g. nginx=traefik", commaList)
    .option("--scale-to <replicas>", "bring workloads up with so many replicas at most, until `restore activate`")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat restore create --from-backup full --context other
  lifeboat restore create --from-backup full --include-namespaces shop \\
    --namespace-mappings shop:shop-copy
  lifeboat restore create --from-schedule hourly --cluster green
  lifeboat restore create again --from-backup full \\
    --existing-resource-policy update -o json
  lifeboat restore create --from-backup full --dry-run
  lifeboat restore create --plan full-20260821010000
  lifeboat restore create green --from-backup full --context green \\
    --map-domain shop.example=green.example --scale-to 0
  lifeboat restore create --from-backup full --prune --dry-run
`,
    );
  addShared(create, RUNNING);
  addAction(create, signal, async () => (await import("./restore/create.ts")).createRestore);

  const activate = restore
    .command("activate")
    .summary("scale a restore's workloads as in the backup")
    .description("Sets going what `restore create --scale-to` brought up: as many replicas as in the backup.")
    .argument("<name>", "the restore's name")
    .addHelpText("after", "\nExamples:\n  lifeboat restore activate green --context green\n");
  addShared(activate, [...CLUSTER, "output"]);
  addAction(activate, signal, async () => (await import("./restore/activate.ts")).activateRestored);

  const undo = restore
    .command("undo")
    .summary("bring back what was there before a restore")
    .description(
      "Brings a cluster back to what it was before a restore: deletes what that created, and gives back what it changed, recreated or pruned. This is a restore itself, named NAME-undo.",
    )
    .argument("<name>", "the restore that is undone; one that was interrupted may be undone too")
    .option("--yes", "yes, do that")
    .option("--dry-run", "write nothing: tell what would be done")
    .option("--details", "with --dry-run, tell of every object")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat restore undo full-20260821010000 --dry-run\n  lifeboat restore undo full-20260821010000 --yes\n",
    );
  addShared(undo, RUNNING);
  addAction(undo, signal, async () => (await import("./restore/undo.ts")).undoRestore);

  const get = restore
    .command("get")
    .summary("list restores, or show one")
    .description("Lists the restores recorded in a location, newest first.")
    .argument("[name]", "only this restore")
    .addHelpText(
      "after",
      "\nExamples:\n  lifeboat restore get --location ./backups\n  lifeboat restore get full-20260821010000 -o yaml\n",
    );
  addShared(get, ["cluster", "location", "output"]);
  addAction(get, signal, async () => (await import("./restore/get.ts")).getRestores);

  const describe = restore
    .command("describe")
    .summary("tell all about a restore")
    .description("Tells what a restore did.")
    .argument("<name>", "the restore's name")
    .option("--details", "with what became of the objects, and why")
    .option("--html", "all of it as one HTML page")
    .addHelpText(
      "after",
      `
Examples:
  lifeboat restore describe full-20260821010000 --details
  lifeboat restore describe full-20260821010000 --html > report.html
`,
    );
  addShared(describe, ["cluster", "location", "output"]);
  addAction(describe, signal, async () => (await import("./restore/describe.ts")).describeRestore);

  const logs = restore
    .command("logs")
    .summary("print a restore's log")
    .description("Prints the log of a restore, or of the last run under that name that failed.")
    .argument("<name>", "the restore's name")
    .addHelpText("after", "\nExamples:\n  lifeboat restore logs full-20260821010000 | grep level=warning\n");
  addShared(logs, ["cluster", "location"]);
  addAction(logs, signal, async () => (await import("./logs.ts")).restoreLogs);
}
