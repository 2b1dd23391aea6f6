import {
  DescribeSnapshotsCommand,
  DescribeVolumesCommand,
  EC2Client,
  type Filter,
  type Snapshot,
  type Tag,
  type Volume,
} from "@aws-sdk/client-ec2";
import { LifeboatError, regionOfZone, unlessMissing } from "../../core/index.ts";
import { awsError } from "./errors.ts";
import { PATIENCE, regionOf } from "./region.ts";

const MOST_TAGS = 50;
/** How often a request is sent at most. */
export const ATTEMPTS = 3;

/** Sends what the given function sends; `once`: without the SDK's own retries. Throws a LifeboatError, or the signal's reason. */
export type Ask = <T>(
  ask: (client: EC2Client, options: { abortSignal: AbortSignal }) => Promise<T>,
  once?: boolean,
) => Promise<T>;

/** Who asks EC2, in the region of a zone (without one: AWS_REGION), with the credentials that the AWS SDK finds. */
export function ec2(): (zone: string, wanted: string, signal: AbortSignal) => Ask {
  const clients = new Map<string, EC2Client>();
  const clientIn = (region: string, maxAttempts: number): EC2Client => {
    const key = `${region} ${maxAttempts}`;
    const client = clients.get(key) ?? new EC2Client({ region, maxAttempts, requestHandler: PATIENCE });
    clients.set(key, client);
    return client;
  };
  return (zone, wanted, signal) => {
    const region = regionOf(regionOfZone(zone), wanted);
    return async (ask, once = false) => {
      signal.throwIfAborted();
      try {
        return await ask(clientIn(region, once ? 1 : ATTEMPTS), { abortSignal: signal });
      } catch (error) {
        signal.throwIfAborted();
        throw awsError(error, wanted);
      }
    };
  };
}

/** A volume as it is now. Throws `missing` where there is none. */
export async function volumeOf(ask: Ask, id: string): Promise<Volume> {
  const request = new DescribeVolumesCommand({ VolumeIds: [id] });
  const [volume] = (await ask((client, options) => client.send(request, options))).Volumes ?? [];
  if (volume) return volume;
  throw new LifeboatError("missing", `EC2 tells of no volume ${id}`);
}

/** A snapshot as it is now; undefined where there is none. */
export async function snapshotOf(ask: Ask, id: string): Promise<Snapshot | undefined> {
  const request = new DescribeSnapshotsCommand({ SnapshotIds: [id] });
  const answer = await unlessMissing(ask((client, options) => client.send(request, options)));
  return answer?.Snapshots?.[0];
}

/** The account's own snapshots that pass all filters. */
export async function* listed(ask: Ask, Filters: Filter[]): AsyncGenerator<Snapshot> {
  let NextToken: string | undefined;
  do {
    const request = new DescribeSnapshotsCommand({ OwnerIds: ["self"], Filters, NextToken, MaxResults: 1000 });
    const page = await ask((client, options) => client.send(request, options));
    yield* page.Snapshots ?? [];
    NextToken = page.NextToken || undefined;
  } while (NextToken);
}

/** A filter for exactly this value: in it, "*" and "?" would stand for other characters. */
export const filter = (Name: string, value: string): Filter => ({ Name, Values: [value.replace(/[\\*?]/g, "\\$&")] });

/** EC2's tags as a map, and back. */
export const tagMap = (tags: Tag[] = []) => Object.fromEntries(tags.map(({ Key = "", Value = "" }) => [Key, Value]));
export const tagList = (tags: Record<string, string>): Tag[] =>
  Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

/** Whether a resource of EC2 can have these tags. */
export const fits = (tags: Record<string, string>): boolean =>
  Object.keys(tags).length <= MOST_TAGS &&
  Object.entries(tags).every(([name, value]) => name.length <= 128 && value.length <= 256);
