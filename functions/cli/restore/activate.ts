import { type ActivationDocument, activateRestore, EXIT_CODES } from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { columns, fields, plural, printable, printResult } from "../output.ts";
import { problemBlock } from "../problems.ts";
import { clusterText, openBucket, openCluster } from "../session.ts";

/** `lifeboat restore activate NAME`: exit code 3 where an object could not be set going. */
export async function activateRestored({ args, options, signal }: Invocation): Promise<number> {
  const kube = await openCluster(options, signal);
  try {
    const bucket = await openBucket(options);
    const document = await activateRestore({ kube, bucket, name: args[0] as string, signal });
    await printResult(options.output, document, () => summary(document, clusterText(kube, options)));
    return document.errors.length ? EXIT_CODES.partial : EXIT_CODES.ok;
  } finally {
    await kube.close();
  }
}

function summary({ restore, backup, activated, errors }: ActivationDocument, cluster: string): string {
  const rows = activated.map(({ resource, namespace, name, change }) =>
    [resource, namespace ? `${namespace}/${name}` : name, change].map(printable),
  );
  const nothing = errors.length ? "" : "\nNothing of this restore stands still in this cluster.\n";
  return [
    `Restore ${restore}: ${plural(activated.length, "object")} activated\n\n`,
    `${fields(
      [
        ["Backup", backup],
        ["Cluster", cluster],
      ],
      "  ",
    )}\n`,
    activated.length ? `\n${columns([["RESOURCE", "NAME", "CHANGE"], ...rows])}` : nothing,
    problemBlock("Errors", errors),
  ].join("");
}
