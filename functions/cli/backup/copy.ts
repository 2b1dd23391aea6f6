import { bytesText, copyBackup, thisProcess } from "../../../core/index.ts";
import type { Invocation } from "../options.ts";
import { plural, printResult } from "../output.ts";
import { startProgress } from "../progress.ts";
import { openBucket, trustedKeysOf } from "../session.ts";
import { readMade } from "../underway.ts";

/** `lifeboat backup copy NAME --to LOCATION` */
export async function copyToLocation({ args, options, signal }: Invocation<{ to: string }>): Promise<undefined> {
  const name = args[0] as string;
  const from = await openBucket(options);
  const to = await openBucket({ ...options, location: options.to });
  const trustedKeys = await trustedKeysOf(options, signal);
  const line = startProgress("copying", "the copy is read again once it is there");
  const progress = (done: number, total: number) => line.update({ done, total });
  try {
    const document = await readMade({ bucket: from, kind: "backup", name, signal }, () =>
      copyBackup(name, { from, to, trustedKeys, by: thisProcess(), progress, signal }),
    );
    line.end();
    await printResult(options.output, document, () => {
      const { files, bytes } = document;
      return `Copied backup ${name} to ${document.to}: ${plural(files, "file")}, ${bytesText(bytes)}, all read again there`;
    });
  } finally {
    line.end();
  }
}
