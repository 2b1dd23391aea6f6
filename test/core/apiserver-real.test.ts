import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent, request } from "undici";
import { startApiServer } from "../../core/apiserver/server.ts";
import { CONTROL_PLANE, startCluster } from "../rig/cluster.ts";
import { requireOrSkip } from "../rig/require.ts";

type Fields = Record<string, unknown>;
type Server = { url: string; dispatcher: Agent; stop: () => Promise<void> };

const skip = requireOrSkip("rig", CONTROL_PLANE);
let servers: { ours: Server; real: Server };

before(async () => {
  if (skip) return;
  const [ours, real] = await Promise.all([startApiServer(), startCluster()]);
  servers = {
    ours: { url: ours.url, dispatcher: new Agent(), stop: ours.stop },
    real: { url: real.url, dispatcher: new Agent({ connect: real.credentials }), stop: real.stop },
  };
});
after(async () => {
  for (const { dispatcher, stop } of Object.values(servers ?? {})) await Promise.all([dispatcher.destroy(), stop()]);
});

const maps = "/api/v1/namespaces/alike/configmaps";
const deployments = "/apis/apps/v1/namespaces/alike/deployments";
const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const boats = "/apis/example.com/v1/namespaces/alike/boats";
const configMap = (name: string, metadata: Fields = {}, data: Fields = { a: "b" }) => ({
  ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...metadata }, data },
});
const namespace = (name: string) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
const boat = (name: string, metadata: Fields = {}) => ({
  ...{
    apiVersion: "example.com/v1",
    kind: "Boat",
    metadata: { name, ...metadata },
    spec: { oars: 2 },
    status: { afloat: true },
  },
});
const definition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "boats.example.com" },
  spec: {
    ...{ group: "example.com", scope: "Namespaced" },
    names: { plural: "boats", singular: "boat", kind: "Boat", listKind: "BoatList" },
    conversion: { strategy: "None" },
    versions: [
      {
        ...{ name: "v1", served: true, storage: true, subresources: { status: {} } },
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
};
const template = { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "web", image: "nginx" }] } };
const deployment = {
  ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" } },
  spec: { replicas: 0, selector: { matchLabels: { app: "web" } }, template },
  status: { replicas: 9 },
};

/** One request; where the answers may differ in more than uids, times and revisions, why. */
type Row = [line: string, body?: unknown, differs?: string];

const WORDING = "our wording";
const DEFAULTS = "we fill in no defaults";
const ROWS: Row[] = [
  ["POST /api/v1/namespaces", namespace("alike")],
  ["POST /api/v1/namespaces", namespace("alike")],
  [`POST ${maps}`, configMap("a", { uid: "mine", labels: { x: "y" }, finalizers: ["example.com/wait"] })],
  [`POST ${maps}`, configMap("a")],
  [`POST ${maps}?dryRun=All`, configMap("dry")],
  [`POST ${maps}`, configMap("")],
  [`POST ${maps}`, configMap("a/b"), WORDING],
  [`POST ${maps}`, configMap("a", { namespace: "other" })],
  [`POST ${maps}`, configMap("a", { labels: { a: 1 } }), WORDING],
  [`POST ${maps}`, deployment, WORDING],
  [`POST ${maps}`, "{", WORDING],
  ["POST /api/v1/namespaces/nope/configmaps", configMap("a")],
  ["POST /api/v1/configmaps", configMap("a", { namespace: "alike" })],
  [`GET ${maps}/a`],
  [`GET ${maps}/nope`],
  ["GET /api/v1/widgets"],
  [`PUT ${maps}/nope`, configMap("nope")],
  [`PUT ${maps}/a`, configMap("b")],
  [`PUT ${maps}/a`, configMap("a", { resourceVersion: "1" })],
  [`PUT ${maps}/a`, configMap("a", { uid: "other" }), WORDING],
  [`PUT ${maps}/a`, configMap("a", { finalizers: ["example.com/wait"] }, { c: "d" })],
  [`PATCH ${maps}/a`, { metadata: { labels: { z: "1" } }, data: { c: null, e: "f" } }],
  [`PATCH ${maps}/a`, { metadata: { resourceVersion: "1" } }],
  [`PATCH ${maps}/nope`, {}],
  [`PATCH ${maps}/a?dryRun=All`, { data: { g: "h" } }],
  [`DELETE ${maps}/a`, { preconditions: { uid: "other" } }, WORDING],
  [`DELETE ${maps}/a`],
  [`PATCH ${maps}/a`, { metadata: { finalizers: null } }],
  [`GET ${maps}/a`],
  [`DELETE ${maps}/a`],
  [`POST ${maps}`, configMap("b")],
  [`DELETE ${maps}/b?dryRun=All`],
  [`DELETE ${maps}/b`],
  ["DELETE /api/v1/namespaces/kube-system"],
  [`POST ${deployments}`, deployment, DEFAULTS],
  [`PATCH ${deployments}/web`, { metadata: { labels: { a: "b" } }, status: { replicas: 9 } }, DEFAULTS],
  [`PATCH ${deployments}/web`, { spec: { paused: true } }, DEFAULTS],
  [`PATCH ${deployments}/web/status`, { spec: { paused: false }, status: { replicas: 2 } }, DEFAULTS],
  [`GET ${deployments}/nope`],
  [`POST ${definitions}`, { ...definition, metadata: { name: "ships.example.com" } }],
  [`POST ${definitions}`, definition, "the real server sets the conditions a moment later"],
  [`POST ${boats}`, boat("a")],
  [`PUT ${boats}/a`, boat("a")],
  [`PATCH ${boats}/a`, { spec: { oars: 3 }, status: { afloat: false } }],
  [`PATCH ${boats}/a/status`, { status: { afloat: false } }],
  [`GET ${boats}`],
  [`GET ${maps}?labelSelector=nobody`],
  [`GET ${maps}?labelSelector=a%20b%20c`, undefined, WORDING],
  [`GET ${maps}?fieldSelector=data.x%3Dy`, undefined, WORDING],
  [`GET ${maps}?resourceVersionMatch=Exact`],
  [`GET ${maps}?resourceVersion=0&resourceVersionMatch=Exact`],
  [`GET ${maps}?resourceVersion=999999999&resourceVersionMatch=Exact`, undefined, WORDING],
  [`GET ${maps}?continue=nonsense`, undefined, WORDING],
];

async function play(server: Server, line: string, body?: unknown): Promise<{ status: number; body: Fields }> {
  const [method = "", path] = line.split(" ");
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  const reply = await request(`${server.url}${path}`, {
    ...{ method: method as "GET", dispatcher: server.dispatcher },
    ...(body === undefined ? {} : { headers: { "content-type": type } }),
    body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await reply.body.text();
  return { status: reply.statusCode, body: text.startsWith("{") ? JSON.parse(text) : { text } };
}

/** Fields that hold what no two servers have in common. */
const OWN = ["managedFields", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "continue"];

const comparable = (body: Fields): unknown =>
  JSON.parse(JSON.stringify(body, (field, value) => (OWN.includes(field) ? undefined : value)));

/** Of an object that differs: its generation and status; of a failure its reason. */
const outline = ({ metadata, status, reason, kind }: Fields): unknown =>
  kind === "CustomResourceDefinition" ? kind : { generation: (metadata as Fields).generation, status, reason };

test("the same requests get the same answers as from a real API server", { skip }, async () => {
  for (const [line, body, differs] of ROWS) {
    const [ours, real] = [await play(servers.ours, line, body), await play(servers.real, line, body)];
    const what = `${line} ${JSON.stringify(body)}`;
    const seen = differs ? outline : comparable;
    assert.deepEqual([ours.status, seen(ours.body)], [real.status, seen(real.body)], what);
    if (body !== definition || ours.status !== 201) continue;
    while ((await play(servers.real, `GET ${boats}`)).status !== 200)
      await new Promise((wait) => setTimeout(wait, 200));
  }
});

interface Entry {
  name: string;
  verbs: string[];
}

test("it serves the resources that a real API server serves by default", { skip }, async () => {
  /** What can be listed, made, read and deleted; by its own names, scope and categories, whatever else it can do. */
  const offered = async (server: Server) => {
    const { groups } = (await play(server, "GET /apis")).body as { groups: { preferredVersion: Fields }[] };
    const found: Record<string, unknown> = {};
    for (const path of ["api/v1", ...groups.map(({ preferredVersion }) => `apis/${preferredVersion.groupVersion}`)]) {
      const { resources } = (await play(server, `GET /${path}`)).body as { resources: Entry[] };
      const kept = resources.filter(({ verbs }) =>
        ["list", "create", "get", "delete"].every((verb) => verbs.includes(verb)),
      );
      for (const { verbs, ...entry } of kept) {
        const status = resources.some(({ name }) => name === `${entry.name}/status`);
        found[`${path}/${entry.name}`] = { ...entry, storageVersionHash: undefined, status };
      }
    }
    return found;
  };
  assert.deepEqual(await offered(servers.ours), await offered(servers.real));
});
