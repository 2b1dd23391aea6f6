import { showItem } from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { printResult, say } from "../output.ts";
import { readingOf } from "../reading.ts";
import { openBucket } from "../session.ts";
import { readMade } from "../underway.ts";

interface ShowOptions {
  showSecrets?: boolean;
  showManagedFields?: boolean;
}

/** `lifeboat backup show NAME OBJECT`: what `kubectl get OBJECT -o yaml` would have printed. */
export async function showObject({ args, options, signal }: Invocation<ShowOptions>): Promise<undefined> {
  const [backup, item] = args as [string, string];
  const { showSecrets: secrets, showManagedFields: managedFields } = options;
  const bucket = await openBucket(options);
  const reading = await readingOf(options, signal);
  const { object, hidden } = await readMade({ bucket, kind: "backup", name: backup, signal }, () =>
    showItem(bucket, { backup, item }, { ...reading, secrets, managedFields }),
  );
  await printResult(options.output ?? "yaml", object, () => "");
  if (hidden) say("The values of this Secret are hidden: --show-secrets shows them.");
}
