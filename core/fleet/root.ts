import { folderNames } from "../contents.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { FLEET } from "../layout.ts";
import type { Bucket } from "../ports.ts";
import { someOf } from "../report.ts";
import { memberLocation } from "./narrowed.ts";
import { RESERVED } from "./settings.ts";

const MOST_NAMED = 10;

/** Why nobody reads or writes backups at the location of a fleet itself: those of its clusters lie in folders of their own. */
function rootRefusal(location: string, clusters: string[]): LifeboatError {
  const [first = "CLUSTER"] = clusters;
  const there = clusters.length > 0 ? `its clusters are ${someOf(clusters, MOST_NAMED)}: ` : "";
  return new LifeboatError(
    "invalid",
    `${location} is a fleet's location, and backups lie in that of one of its clusters`,
    { hint: `${there}take ${memberLocation(location, first)}` },
  );
}

/**
 * `bucket` for who takes it for the location of one cluster. Before the first put, and when first something is not there, it is
 * asked once whether a fleet's runs lie in it, and no backups: then all ends with `invalid`, which names the clusters that have a folder.
 */
export function ofOneCluster(bucket: Bucket): Bucket {
  let asked: Promise<void> | undefined;
  const ask = () => {
    asked ??= refuseRoot(bucket).catch((error) => {
      if (!isLifeboatError(error, "invalid")) asked = undefined;
      throw error;
    });
    return asked;
  };
  return {
    ...bucket,
    async put(...given) {
      await ask();
      return bucket.put(...given);
    },
    async get(...given) {
      try {
        return await bucket.get(...given);
      } catch (error) {
        if (isLifeboatError(error, "missing")) await ask();
        throw error;
      }
    },
    async *list(...given) {
      let isEmpty = true;
      for await (const listed of bucket.list(...given)) {
        isEmpty = false;
        yield listed;
      }
      if (isEmpty) await ask();
    },
  };
}

/** A location with backups of its own is one cluster's, whatever else lies there. Who may not list can't be told. */
async function refuseRoot(bucket: Bucket): Promise<void> {
  try {
    const folders = await folderNames(bucket, "");
    if (folders.some((folder) => OF_ONE_CLUSTER.includes(folder)) || (await folderNames(bucket, FLEET)).length === 0)
      return;
    throw rootRefusal(
      bucket.location,
      folders.filter((folder) => !RESERVED.includes(folder)),
    );
  } catch (error) {
    if (!isLifeboatError(error, "denied")) throw error;
  }
}

const OF_ONE_CLUSTER = ["backups", "restores"];
