import type { Source } from "./archive/source.ts";
import type { Job } from "./job.ts";

/** One object of a listing, or, with a delimiter, one common prefix (which has no size). */
export type Listed =
  | { key: string; size: number; modified: Date; prefix?: undefined }
  | { prefix: string; key?: undefined };

/**
 * How long an object is held against deletion and overwriting, by the bucket itself: S3's object lock, Cloud Storage's
 * object retention, Azure's immutability policies. "governance" can be lifted by who has a right of its own for that,
 * "compliance" by nobody.
 */
export interface ObjectRetention {
  until: Date;
  mode: "governance" | "compliance";
}

/**
 * A bucket below a location's prefix: keys are relative to it, "/"-separated, without a leading slash.
 *
 * Adapters only translate: they neither retry beyond what their SDK does, nor log, nor name keys. Every method throws
 * a LifeboatError: `missing` (no such object, no such bucket), `denied`, `conflict` (the key exists and `ifAbsent` was
 * asked for), `corrupt` (what came is not what was stored), `unreachable`, `timeout`. All obey `signal` by rejecting
 * with its reason.
 */
export interface Bucket {
  /** The location as the user gave it, for messages. It never holds a credential. */
  readonly location: string;

  /**
   * Stores `body`, of any length, under `key`. The object is visible only once it is complete; a put that fails or is
   * aborted leaves nothing that `list` or `get` can see. With `ifAbsent`, of any number of racing writers exactly one
   * wins, the others get `conflict`. A body that throws fails the put with that same error. With `retain` the object is
   * held from its first moment, or the put fails: `invalid` where the bucket can't hold objects.
   */
  put(
    key: string,
    body: Buffer | AsyncIterable<Buffer>,
    options?: { ifAbsent?: boolean; retain?: ObjectRetention; signal?: AbortSignal },
  ): Promise<void>;

  /**
   * The object's bytes, or those from `start` up to but not including `end` (cut at the object's end). `asStored` says
   * something to a bucket that decrypts what it reads: not to.
   */
  get(
    key: string,
    options?: { range?: { start: number; end: number }; asStored?: boolean; signal?: AbortSignal },
  ): Promise<AsyncIterable<Buffer>>;

  /**
   * The object, to be read by ranges; undefined where it isn't there. Adapters have no such method: only a bucket that
   * decrypts what it reads, since no listing tells how much is in an encrypted object. See `bucketSource`.
   */
  source?(key: string, signal?: AbortSignal): Promise<Source | undefined>;

  /**
   * Every object whose key begins with `prefix`, with its size as it is stored, in the order of the keys' UTF-8 bytes. With `delimiter`, keys that
   * hold a "/" after the prefix are folded into one `prefix` each (ending in "/"). A missing prefix lists nothing.
   */
  list(prefix: string, options?: { delimiter?: "/"; signal?: AbortSignal }): AsyncIterable<Listed>;

  /** Removes the object; removing what is not there succeeds. `conflict` for one that the bucket holds, by `retain` or a policy. */
  delete(key: string, options?: { signal?: AbortSignal }): Promise<void>;
}

/**
 * A store of secrets. Adapters only translate: they neither cache nor log. Throws a LifeboatError: `invalid` (a
 * reference that can't be one), `missing`, `denied`, `unreachable`, `timeout`. No error ever quotes a value.
 */
export interface Secrets {
  /**
   * The secret's text as it is now. `reference`: `aws-sm://name?region=R&key=jsonField`,
   * `gcp-sm://projects/P/secrets/S/versions/V`, `azure-kv://vault/secret/version`, `env:NAME` or `file:path`; the newest
   * version where it names none.
   */
  read(reference: string, options?: { signal?: AbortSignal }): Promise<string>;
}

/**
 * An Ed25519 key (RFC 8032) that signs backups; its private part may never leave where it is kept. Throws a
 * LifeboatError: `denied`, `missing`, `unreachable`, `timeout`.
 */
export interface Signer {
  /** As a JWK's "x" (RFC 8037): 32 bytes in base64url. */
  readonly publicKey: string;
  /** The signature of a message of some hundred bytes: 64 bytes. */
  sign(message: Buffer, options?: { signal?: AbortSignal }): Promise<Buffer>;
}

/**
 * Where work goes that outlives a request. A job is delivered at least once, to a handler of the same deployment.
 * Throws `denied`, `missing` (no such function or queue), `unreachable`, `timeout`, `invalid` (too large).
 */
export interface Jobs {
  /** Hands over a job; resolves once the platform has taken it. `after`: not before so many seconds. */
  enqueue(job: Job, options?: { after?: number; signal?: AbortSignal }): Promise<void>;
}

/**
 * The managed clusters of one cloud: how to reach them and who we are there, from the platform's own identity, with no
 * kubeconfig and no credential program. Throws `denied`, `missing`, `unreachable`, `timeout`, `invalid`, `busy` (too many requests).
 */
export interface ManagedClusters<Reference> {
  /** The API server's URL and the PEM of its authority; without one, the authorities that Node trusts. */
  endpoint(reference: Reference, signal: AbortSignal): Promise<{ server: string; ca?: string }>;
  /** A bearer token and when it ends. */
  token(reference: Partial<Reference>, signal: AbortSignal): Promise<{ token: string; expires: Date }>;
  /**
   * The clusters that fit what is known of a reference: all of a place, or the one that it tells whole, with the tags that
   * the cloud has for them. Those that are being made or deleted are left out, and so is one that isn't there. Where a part
   * of a place can't be asked, it throws after it has given the others.
   */
  list(
    known: Partial<Reference>,
    signal: AbortSignal,
  ): AsyncIterable<{ reference: Reference; tags: Record<string, string> }>;
}

/** An EKS cluster. `roleArn`: a role to assume first. */
export interface EksReference {
  name: string;
  region: string;
  roleArn?: string;
}

/** A GKE cluster; its token needs none of this. */
export interface GkeReference {
  project: string;
  location: string;
  name: string;
}

/** An AKS cluster; its token needs at most `clientId`, of the managed identity to be. */
export interface AksReference {
  subscription: string;
  resourceGroup: string;
  name: string;
  clientId?: string;
}

/**
 * A disk or a snapshot: its cloud's name of it, and the zone of the disk, several joined with "__", "" for none. AWS's
 * names don't tell their region, which is that of the zone.
 */
export interface InZone {
  id: string;
  zone: string;
}

/** A snapshot of a disk, as its cloud tells of it. */
export interface DiskSnapshot {
  /** The cloud's name of it, which no project or resource group has to be known for. */
  id: string;
  state: "pending" | "completed" | "failed";
  /** Bytes of the disk. */
  size: number;
  /** As they were given, and what it has of its disk and of its cloud. */
  tags: Record<string, string>;
  startedAt: Date;
  /** Why it failed, or how far it is. */
  message?: string;
}

/**
 * The disks of one cloud. Names of disks are those that the cloud's CSI driver has as volume handles, or that in-tree
 * volumes have. Adapters only translate, and wait for the cloud's operations. What `snapshot` or `create` began is
 * removed again where they reject, as far as the cloud can be asked to. All obey `signal` by rejecting with its reason.
 * Throws a LifeboatError: `missing`, `denied`, `unreachable`, `timeout`, `invalid` (a name that can't be one), `busy` (too
 * many requests or snapshots at once), `conflict` (it is in use, or the name is another's).
 *
 * Tags are texts by a name, in the form of Kubernetes' labels. What a cloud has no room for is left out, the last first, and those of Velero's
 * and Lifeboat's own names last of all.
 */
export interface Disks {
  /**
   * Begins a snapshot, and resolves once its point in time is fixed; the rest goes on by itself. `name` tells one request
   * from another: asked twice with the same, there is one snapshot. It has the disk's encryption, and the disk's tags
   * beside those given, but for what binds a disk to one cluster. What comes is told of the disk; `type` as Velero
   * records it.
   */
  snapshot(
    disk: InZone,
    options: { name: string; tags: Record<string, string>; signal: AbortSignal },
  ): Promise<{ id: string; type: string; zone: string; iops?: number }>;
  /** The snapshot as it is now; undefined where there is none. */
  read(snapshot: InZone, signal: AbortSignal): Promise<DiskSnapshot | undefined>;
  /**
   * Makes a disk of a completed snapshot in a zone of its region, and resolves once it can be attached, with its name.
   * `name` as above; encryption and tags come from the snapshot. `node`: the providerID of any node that it is for; its
   * project or resource group gets the disk, else the snapshot's.
   */
  create(
    snapshotId: string,
    disk: {
      name: string;
      zone: string;
      type: string;
      iops?: number;
      node?: string;
      tags: Record<string, string>;
      signal: AbortSignal;
    },
  ): Promise<string>;
  /** Removes a disk that `create` made; removing what is not there succeeds. */
  remove(disk: InZone, signal: AbortSignal): Promise<void>;
  /** Removes a snapshot; removing what is not there succeeds. */
  removeSnapshot(snapshot: InZone, signal: AbortSignal): Promise<void>;
  /**
   * The snapshots made by `snapshot` that carry this tag, of whatever value where none is named, in the place where
   * those of `disk` are: its account's region, project or subscription. The disk itself may be gone.
   */
  snapshots(tag: { name: string; value?: string }, disk: InZone, signal: AbortSignal): AsyncIterable<DiskSnapshot>;
}

/** What a cloud, or the terminal, offers. Adapters are loaded when they are first asked for. */
export interface Platform {
  /** By a location's scheme ("s3:"). */
  buckets: Record<string, (location: URL) => Promise<Bucket>>;
  /** By a reference's scheme ("aws-sm:"); `env:` and `file:` are everywhere. */
  secrets: Record<string, () => Promise<Secrets>>;
  clusters: {
    eks?: () => Promise<ManagedClusters<EksReference>>;
    gke?: () => Promise<ManagedClusters<GkeReference>>;
    aks?: () => Promise<ManagedClusters<AksReference>>;
  };
  /** By the cloud that has them. */
  disks?: { aws?: () => Promise<Disks>; gcp?: () => Promise<Disks>; azure?: () => Promise<Disks> };
  jobs: () => Promise<Jobs>;
  /** Bytes of memory that a function has, where the platform tells; absent where nothing is a function. */
  memory?: () => number | undefined;
}
