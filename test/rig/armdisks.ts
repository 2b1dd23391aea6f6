import { randomUUID } from "node:crypto";

/** A disk or snapshot as Azure Resource Manager shows it. */
export interface ArmResource {
  id: string;
  name: string;
  location: string;
  zones?: string[];
  sku?: { name: string };
  tags?: Record<string, string>;
  properties: Record<string, unknown>;
}

/** A stand-in for Microsoft.Compute's disks and snapshots. */
export interface ArmDisks {
  /** By their ids in small letters: to Azure, those are the same. */
  resources: Map<string, ArmResource>;
  /** While true, nothing that is begun gets on. */
  held: boolean;
  /** Whether a path is one of Microsoft.Compute's. */
  serves(path: string): boolean;
  answer(method: string, url: URL, body: string): ArmAnswer;
}

interface ArmAnswer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

/** The version of the API whose documents this follows. */
const VERSION = "2024-03-02";
const ID =
  /^(\/subscriptions\/([^/]+))\/resourceGroups\/[^/]+\/providers\/Microsoft\.Compute\/(disks|snapshots)\/([^/]+)$/i;
const LIST = /^\/subscriptions\/[^/]+\/providers\/Microsoft\.Compute\/snapshots$/i;
const OPERATION = /^\/subscriptions\/[^/]+\/providers\/Microsoft\.Compute\/locations\/[^/]+\/DiskOperations\/([^/]+)$/;
const SKUS = ["Standard_LRS", "StandardSSD_LRS", "Premium_LRS", "Premium_ZRS", "StandardSSD_ZRS", "PremiumV2_LRS"];
const PAGE = 2;

const FIELDS = {
  disks: {
    top: ["location", "tags", "zones", "sku", "properties"],
    properties: ["creationData", "diskIOPSReadWrite", "diskMBpsReadWrite", "encryption"],
  },
  snapshots: { top: ["location", "tags", "properties"], properties: ["creationData", "incremental", "encryption"] },
};

class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const invalid = (message: string) => new Refusal(400, "InvalidParameter", message);

/** Refuses what the documents don't know; an operation needs to be looked at several times before it is done. */
export function standInArmDisks(): ArmDisks {
  const operations = new Map<string, { looks: number; finish: () => void }>();

  const begin = (
    url: URL,
    subscription: string,
    location: string,
    status: number,
    body: unknown,
    finish: () => void,
  ) => {
    const id = randomUUID();
    operations.set(id, { looks: 0, finish });
    const path = `${subscription}/providers/Microsoft.Compute/locations/${location}/DiskOperations/${id}`;
    return { status, body, headers: { "azure-asyncoperation": `${url.origin}${path}?api-version=${VERSION}` } };
  };

  const look = (id: string): ArmAnswer => {
    const operation = operations.get(id);
    if (!operation) throw new Refusal(404, "NotFound", "no such operation");
    if (!disks.held) operation.looks += 1;
    if (operation.looks === 2) operation.finish();
    return { status: 200, body: { name: id, status: operation.looks >= 2 ? "Succeeded" : "InProgress" } };
  };

  const put = (url: URL, id: string, body: ArmResource): ArmAnswer => {
    const [, subscription = "", , kind = "", name = ""] = ID.exec(id) ?? [];
    const fields = FIELDS[kind.toLowerCase() as keyof typeof FIELDS];
    checkFields(body, fields.top);
    checkFields(body.properties, fields.properties);
    if (!/^[\w-]{1,80}$/.test(name)) throw invalid("the name");
    checkTags(body.tags ?? {});
    const { createOption, sourceResourceId } = (body.properties.creationData ?? {}) as Record<string, string>;
    const source = disks.resources.get(sourceResourceId?.toLowerCase() ?? "");
    if (createOption !== "Copy") throw invalid("creationData.createOption");
    if (!source) throw new Refusal(404, "NotFound", `The entity ${sourceResourceId} was not found.`);
    if (source.location !== body.location) throw invalid("location: another than the source's");
    if (kind === "snapshots" && body.properties.incremental !== true) throw invalid("incremental");
    if (kind === "disks") checkDisk(body);
    const there = disks.resources.get(id.toLowerCase());
    const resource: ArmResource = {
      ...body,
      id,
      name,
      properties: {
        ...body.properties,
        provisioningState: "Creating",
        timeCreated: new Date().toISOString(),
        diskSizeGB: source.properties.diskSizeGB,
        diskSizeBytes: source.properties.diskSizeBytes,
      },
    };
    if (there) {
      const had = there.properties.creationData as Record<string, string>;
      if (had.sourceResourceId === sourceResourceId) return { status: 200, body: there };
      throw new Refusal(409, "PropertyChangeNotAllowed", "Changing property 'creationData' is not allowed.");
    }
    disks.resources.set(id.toLowerCase(), resource);
    return begin(url, subscription, body.location, 202, resource, () => {
      resource.properties.provisioningState = "Succeeded";
    });
  };

  const remove = (url: URL, id: string): ArmAnswer => {
    const there = disks.resources.get(id.toLowerCase());
    if (!there) return { status: 204, body: "" };
    disks.resources.delete(id.toLowerCase());
    return begin(url, ID.exec(id)?.[1] ?? "", there.location, 202, "", () => {});
  };

  const list = (url: URL): ArmAnswer => {
    const subscription = url.pathname.split("/").slice(0, 3).join("/").toLowerCase();
    const all = [...disks.resources].filter(([id]) => id.startsWith(`${subscription}/`) && id.includes("/snapshots/"));
    const start = Number(url.searchParams.get("$skiptoken") ?? 0);
    const next = new URL(url);
    next.searchParams.set("$skiptoken", String(start + PAGE));
    const value = all.slice(start, start + PAGE).map(([, snapshot]) => snapshot);
    return { status: 200, body: { value, ...(start + PAGE < all.length ? { nextLink: next.href } : {}) } };
  };

  const get = (id: string): ArmAnswer => {
    const there = disks.resources.get(id.toLowerCase());
    if (there) return { status: 200, body: there };
    throw new Refusal(404, "ResourceNotFound", `The Resource '${id}' was not found.`);
  };

  const carryOut = (method: string, url: URL, text: string): ArmAnswer => {
    const path = decodeURIComponent(url.pathname);
    if (url.searchParams.get("api-version") !== VERSION) {
      throw new Refusal(400, "InvalidApiVersionParameter", "The api-version is invalid.");
    }
    if ((method === "PUT") !== (text !== "")) throw invalid("the body");
    const operation = OPERATION.exec(path)?.[1];
    if (method === "GET" && operation) return look(operation);
    if (method === "GET" && LIST.test(path)) return list(url);
    if (method === "GET" && ID.test(path)) return get(path);
    if (method === "PUT" && ID.test(path)) return put(url, path, JSON.parse(text));
    if (method === "DELETE" && ID.test(path)) return remove(url, path);
    throw new Refusal(405, "MethodNotAllowed", `${method} ${path}`);
  };

  const disks: ArmDisks = {
    resources: new Map(),
    held: false,
    serves: (path) => ID.test(path) || LIST.test(path) || OPERATION.test(path),
    answer(method, url, text) {
      try {
        return carryOut(method, url, text);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        return { status: error.status, body: { error: { code: error.code, message: error.message } } };
      }
    },
  };
  return disks;
}

/** Azure's answer to who asks too much. */
export const TOO_MANY: ArmAnswer = {
  status: 429,
  headers: { "retry-after": "0" },
  body: { error: { code: "OperationNotAllowed", message: "The server rejected the request: too many requests." } },
};

function checkFields(value: object, known: string[]): void {
  for (const name of Object.keys(value)) if (!known.includes(name)) throw invalid(`Could not find member '${name}'`);
}

function checkTags(tags: Record<string, string>): void {
  for (const [name, value] of Object.entries(tags)) {
    if (/[<>%&\\?/]/.test(name) || name.length > 512 || value.length > 256) {
      throw new Refusal(400, "InvalidTagNameCharacters", `The tag name '${name}' is invalid.`);
    }
  }
  if (Object.keys(tags).length > 50) throw new Refusal(400, "InvalidTagCount", "too many tags");
}

function checkDisk({ sku, zones, properties }: ArmResource): void {
  if (!sku || !SKUS.includes(sku.name)) throw invalid(`sku.name '${sku?.name}'`);
  if (zones && (zones.length !== 1 || !/^[123]$/.test(zones[0] ?? "") || sku.name.endsWith("_ZRS")))
    throw invalid("zones");
  if ((properties.diskIOPSReadWrite || properties.diskMBpsReadWrite) && sku.name !== "PremiumV2_LRS") {
    throw invalid("diskIOPSReadWrite");
  }
}
