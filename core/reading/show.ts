import type { KubernetesObject } from "../archive/item.ts";
import { parseExact } from "../kube/json.ts";
import { withoutValues } from "../objects/diff.ts";
import { drop } from "../objects/fields.ts";
import type { Bucket } from "../ports.ts";
import { findItem, readItem } from "./find.ts";
import { openNamed, type Reading } from "./open.ts";

/** An object as a backup holds it. */
export interface ShownObject {
  object: KubernetesObject;
  /** It is a Secret, and its values are left out. */
  hidden: boolean;
}

/**
 * One object of a backup, named as `findItem` reads it. As kubectl shows it, without managed fields; a Secret's values
 * only with `secrets`. Throws `missing`, `invalid` for a name that could be several, `corrupt`.
 */
export async function showItem(
  bucket: Bucket,
  { backup, item }: { backup: string; item: string },
  { secrets = false, managedFields = false, ...reading }: Reading & { secrets?: boolean; managedFields?: boolean } = {},
): Promise<ShownObject> {
  const opened = await openNamed(bucket, backup, reading);
  try {
    const entry = await findItem(opened, item);
    const object = parseExact(await readItem(opened.archive, entry)) as KubernetesObject;
    if (!managedFields) drop(object, ["metadata"], ["managedFields"]);
    const hidden = entry.resource === "secrets" && !secrets;
    return { object: hidden ? (withoutValues(object) as KubernetesObject) : object, hidden };
  } finally {
    await opened.archive.close();
  }
}
