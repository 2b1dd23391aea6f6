import { randomUUID } from "node:crypto";

/** A disk or snapshot as Compute Engine's REST API shows it. */
export type ComputeResource = Record<string, unknown> & { name: string; status: string };

/** A stand-in for what of Compute Engine has to do with disks. Resources are known by their paths, "projects/P/…". */
export interface Compute {
  disks: Map<string, ComputeResource>;
  snapshots: Map<string, ComputeResource>;
  /** While true, nothing that is begun gets on. */
  held: boolean;
  /** Answers a call below "/compute/v1/". */
  answer(method: string, url: URL, body: string): ComputeAnswer;
}

interface ComputeAnswer {
  status: number;
  body: unknown;
}

const BASE = "https://www.googleapis.com/compute/v1/";
const ZONES = ["europe-west1-b", "europe-west1-c", "europe-west1-d"];
const TYPES = ["pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced"];
const NAME = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const PAGE = 2;
/** What a snapshot comes to be, each time it is looked at. */
const NEXT: Record<string, string> = { CREATING: "UPLOADING", UPLOADING: "READY" };

const SNAPSHOT_FIELDS = ["name", "description", "labels"];
const DISK_FIELDS = [
  "name",
  "description",
  "sourceSnapshot",
  "type",
  "replicaZones",
  "provisionedIops",
  "provisionedThroughput",
  "diskEncryptionKey",
];

/** An error that is answered, with one of Google's reasons. */
class Refusal extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

const invalid = (message: string) => new Refusal(400, "invalid", message);
const missing = (path: string) => new Refusal(404, "notFound", `The resource '${path}' was not found`);

/**
 * Knows three zones of one region and four types. As Google's, it refuses fields, parameters and names that it doesn't
 * know; operations and snapshots need to be looked at several times before they are done.
 */
export function standInCompute(): Compute {
  const operations = new Map<string, { looks: number; finish: () => void }>();
  const seen = new Map<string, unknown>();

  const begin = (place: string, finish: () => void) => {
    const path = `${place}/operations/operation-${randomUUID()}`;
    operations.set(path, { looks: 0, finish });
    return shownOperation(path, "RUNNING");
  };
  const look = (path: string) => {
    const operation = operations.get(path);
    if (!operation) throw missing(path);
    if (!compute.held) operation.looks += 1;
    if (operation.looks === 2) operation.finish();
    return shownOperation(path, operation.looks >= 2 ? "DONE" : "RUNNING");
  };

  const lookAtSnapshot = (path: string) => {
    const snapshot = compute.snapshots.get(path);
    if (!snapshot) throw missing(path);
    const shown = { ...snapshot };
    if (!compute.held) snapshot.status = NEXT[snapshot.status] ?? snapshot.status;
    return shown;
  };

  const createSnapshot = (diskPath: string, body: Record<string, unknown>) => {
    const disk = compute.disks.get(diskPath);
    if (!disk) throw missing(diskPath);
    checkResource(body, SNAPSHOT_FIELDS);
    const path = `${projectOf(diskPath)}/global/snapshots/${body.name}`;
    if (compute.snapshots.has(path)) throw new Refusal(409, "alreadyExists", `The resource '${path}' already exists`);
    compute.snapshots.set(path, {
      ...(body as { name: string }),
      kind: "compute#snapshot",
      status: "CREATING",
      selfLink: BASE + path,
      sourceDisk: BASE + diskPath,
      diskSizeGb: disk.sizeGb,
      creationTimestamp: new Date().toISOString(),
      ...(disk.diskEncryptionKey ? { snapshotEncryptionKey: disk.diskEncryptionKey } : {}),
    });
    return begin(placeOf(diskPath), () => {});
  };

  const insertDisk = (place: string, body: Record<string, unknown>) => {
    checkResource(body, DISK_FIELDS);
    const regional = place.includes("/regions/");
    const replicas = (body.replicaZones ?? []) as string[];
    if (replicas.length !== (regional ? 2 : 0)) throw invalid("Invalid value for field 'resource.replicaZones'");
    for (const zone of regional ? replicas : [BASE + place]) {
      if (!zone.startsWith(BASE) || !ZONES.some((name) => zone.endsWith(`/zones/${name}`)))
        throw invalid(`Unknown zone '${zone}'`);
    }
    const type = String(body.type);
    if (!TYPES.some((name) => type === `${place}/diskTypes/${name}`)) throw invalid(`Unknown type '${type}'`);
    if ((body.provisionedIops || body.provisionedThroughput) && !type.includes("hyperdisk")) {
      throw invalid("Provisioned IOPS and throughput are not supported by the type");
    }
    const source = compute.snapshots.get(String(body.sourceSnapshot));
    if (!source) throw missing(String(body.sourceSnapshot));
    if (source.status !== "READY") throw new Refusal(400, "resourceNotReady", "The snapshot is not ready");
    const path = `${place}/disks/${body.name}`;
    if (compute.disks.has(path)) throw new Refusal(409, "alreadyExists", `The resource '${path}' already exists`);
    const disk = {
      ...(body as { name: string }),
      kind: "compute#disk",
      status: "CREATING",
      selfLink: BASE + path,
      type: BASE + type,
      sizeGb: source.diskSizeGb,
      sourceSnapshot: BASE + String(body.sourceSnapshot),
      ...(regional ? { replicaZones: replicas } : {}),
    };
    compute.disks.set(path, disk);
    return begin(place, () => {
      disk.status = "READY";
    });
  };

  const remove = (from: Map<string, ComputeResource>, path: string) => {
    if (!from.delete(path)) throw missing(path);
    return begin(placeOf(path), () => {});
  };

  const list = (project: string, parameters: URLSearchParams) => {
    const filters = [...(parameters.get("filter") ?? "").matchAll(/\(labels\.([a-z][a-z0-9_-]*)(?::\*|="([^"]*)")\)/g)];
    if (filters.map(([text]) => text).join(" ") !== parameters.get("filter")) throw invalid("Invalid list filter");
    const found = [...compute.snapshots].filter(([path, { labels = {} }]) => {
      const own = labels as Record<string, string>;
      const fits = ([, name = "", value]: RegExpExecArray) => name in own && (value ?? own[name]) === own[name];
      return path.startsWith(`${project}/`) && filters.every(fits);
    });
    const start = Number(parameters.get("pageToken") ?? 0);
    const items = found.slice(start, start + PAGE).map(([, snapshot]) => snapshot);
    return {
      kind: "compute#snapshotList",
      ...(items.length ? { items } : {}),
      ...(start + PAGE < found.length ? { nextPageToken: String(start + PAGE) } : {}),
    };
  };

  type Body = Record<string, unknown>;
  type Route = [
    method: string,
    path: RegExp,
    parameters: string[],
    (path: string, body: Body, query: URLSearchParams) => unknown,
  ];
  const routes: Route[] = [
    ["GET", /^projects\/[^/]+\/(zones|regions)\/[^/]+\/disks\/[^/]+$/, [], (path) => lookAt(compute.disks, path)],
    [
      "DELETE",
      /^projects\/[^/]+\/(zones|regions)\/[^/]+\/disks\/[^/]+$/,
      ["requestId"],
      (path) => remove(compute.disks, path),
    ],
    [
      "POST",
      /^projects\/[^/]+\/(zones|regions)\/[^/]+\/disks$/,
      ["requestId"],
      (path, body) => insertDisk(path.replace(/\/disks$/, ""), body),
    ],
    [
      "POST",
      /^projects\/[^/]+\/(zones|regions)\/[^/]+\/disks\/[^/]+\/createSnapshot$/,
      ["requestId"],
      (path, body) => createSnapshot(path.replace(/\/createSnapshot$/, ""), body),
    ],
    ["GET", /^projects\/[^/]+\/global\/snapshots\/[^/]+$/, [], lookAtSnapshot],
    ["DELETE", /^projects\/[^/]+\/global\/snapshots\/[^/]+$/, ["requestId"], (path) => remove(compute.snapshots, path)],
    [
      "GET",
      /^projects\/[^/]+\/global\/snapshots$/,
      ["filter", "pageToken"],
      (path, _body, query) => list(projectOf(path), query),
    ],
    ["GET", /^projects\/[^/]+\/((zones|regions)\/[^/]+|global)\/operations\/[^/]+$/, [], look],
  ];

  const compute: Compute = {
    disks: new Map(),
    snapshots: new Map(),
    held: false,
    answer(method, { pathname, searchParams }, text) {
      try {
        const path = decodeURIComponent(pathname.replace(/^\/compute\/v1\//, ""));
        const route = routes.find(([verb, form]) => verb === method && form.test(path));
        if (!route) throw missing(`${method} ${path}`);
        const [, , parameters, carryOut] = route;
        for (const name of searchParams.keys()) if (!parameters.includes(name)) throw invalid(`Unknown name "${name}"`);
        if ((method === "POST") !== (text !== "")) throw invalid("Unexpected body");
        const requestId = searchParams.get("requestId");
        if (parameters.includes("requestId") && !UUID.test(requestId ?? "")) throw invalid("Invalid requestId");
        const again = requestId && seen.get(requestId);
        const body = again || carryOut(path, text ? JSON.parse(text) : {}, searchParams);
        if (requestId) seen.set(requestId, body);
        return { status: 200, body };
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        const { status: code, message, reason } = error;
        return { status: code, body: { error: { code, message, errors: [{ message, domain: "global", reason }] } } };
      }
    },
  };
  return compute;
}

/** Google's answer to a project that asks too much. */
export const RATE_LIMIT: ComputeAnswer = {
  status: 403,
  body: {
    error: {
      code: 403,
      message: "Rate Limit Exceeded",
      errors: [{ message: "Rate Limit Exceeded", domain: "usageLimits", reason: "rateLimitExceeded" }],
    },
  },
};

function lookAt(from: Map<string, ComputeResource>, path: string): ComputeResource {
  const found = from.get(path);
  if (!found) throw missing(path);
  return found;
}

const shownOperation = (path: string, status: string) => ({
  kind: "compute#operation",
  name: path.split("/").at(-1),
  selfLink: BASE + path,
  status,
});

const projectOf = (path: string) => path.split("/").slice(0, 2).join("/");
const placeOf = (path: string) => path.replace(/\/(disks|snapshots)\/[^/]+$/, "");

function checkResource(body: Record<string, unknown>, known: string[]): void {
  for (const name of Object.keys(body)) {
    if (!known.includes(name)) throw invalid(`Invalid JSON payload received. Unknown name "${name}"`);
  }
  if (!NAME.test(String(body.name))) throw invalid("Invalid value for field 'resource.name'");
  if (typeof body.description !== "string" || body.description.length > 2048) throw invalid("Invalid description");
  const labels = Object.entries((body.labels ?? {}) as Record<string, string>);
  for (const [name, value] of labels) {
    if (!/^[a-z][a-z0-9_-]{0,62}$/.test(name) || !/^[a-z0-9_-]{0,63}$/.test(value)) throw invalid("Invalid label");
  }
  if (labels.length > 64) throw invalid("Too many labels");
}
