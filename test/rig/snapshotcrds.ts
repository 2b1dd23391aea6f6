import { type Api, ApiError } from "./api.ts";
import { until } from "./process.ts";

const TEXT = { type: "string" };
const TIME = { type: "string", format: "date-time" };
const FLAG = { type: "boolean" };
const BYTES = { type: "integer", format: "int64", minimum: 0 };
const POLICY = { type: "string", enum: ["Delete", "Retain"] };
const texts = { type: "array", items: TEXT };
const map = { type: "object", additionalProperties: TEXT };
const object = (properties: object, required: string[] = [], rules: [rule: string, message: string][] = []) => ({
  type: "object",
  properties,
  ...(required.length > 0 && { required }),
  ...(rules.length > 0 && { "x-kubernetes-validations": rules.map(([rule, message]) => ({ rule, message })) }),
});
const fixed = (schema: object) => ({
  ...schema,
  "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "is immutable" }],
});
const either = (one: string, other: string): [string, string][] => [
  [`has(self.${one}) != has(self.${other})`, `exactly one of ${one} and ${other} must be set`],
  [`!has(oldSelf.${one}) || has(self.${one})`, `${one} is required once set`],
  [`!has(oldSelf.${other}) || has(self.${other})`, `${other} is required once set`],
];
const REFERENCE = object(
  Object.fromEntries(
    ["apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"].map((field) => [field, TEXT]),
  ),
  [],
  [["has(self.name) && has(self.__namespace__)", "name and namespace must be set"]],
);
const ERROR = object({ message: TEXT, time: TIME });
const SELECTOR = object({
  matchLabels: map,
  matchExpressions: { type: "array", items: object({ key: TEXT, operator: TEXT, values: texts }) },
});

interface Definition {
  kind: string;
  scope: "Cluster" | "Namespaced";
  /** What it has beside apiVersion, kind and metadata. */
  properties: object;
  required: string[];
}

const SNAPSHOTS: Definition[] = [
  {
    kind: "VolumeSnapshotClass",
    scope: "Cluster",
    properties: { driver: TEXT, deletionPolicy: POLICY, parameters: map },
    required: ["driver", "deletionPolicy"],
  },
  {
    kind: "VolumeSnapshotContent",
    scope: "Cluster",
    properties: {
      spec: object(
        {
          deletionPolicy: POLICY,
          driver: TEXT,
          source: object(
            { snapshotHandle: fixed(TEXT), volumeHandle: fixed(TEXT) },
            [],
            either("volumeHandle", "snapshotHandle"),
          ),
          sourceVolumeMode: fixed(TEXT),
          volumeSnapshotClassName: TEXT,
          volumeSnapshotRef: REFERENCE,
        },
        ["deletionPolicy", "driver", "source", "volumeSnapshotRef"],
      ),
      status: object({
        creationTime: { type: "integer", format: "int64" },
        error: ERROR,
        readyToUse: FLAG,
        restoreSize: BYTES,
        snapshotHandle: TEXT,
        volumeGroupSnapshotHandle: TEXT,
      }),
    },
    required: ["spec"],
  },
  {
    kind: "VolumeSnapshot",
    scope: "Namespaced",
    properties: {
      spec: object(
        {
          source: object(
            { persistentVolumeClaimName: fixed(TEXT), volumeSnapshotContentName: fixed(TEXT) },
            [],
            either("volumeSnapshotContentName", "persistentVolumeClaimName"),
          ),
          volumeSnapshotClassName: { type: "string", minLength: 1 },
        },
        ["source"],
      ),
      status: object({
        boundVolumeSnapshotContentName: TEXT,
        creationTime: TIME,
        error: ERROR,
        readyToUse: FLAG,
        restoreSize: { "x-kubernetes-int-or-string": true, anyOf: [{ type: "integer" }, { type: "string" }] },
        volumeGroupSnapshotName: TEXT,
      }),
    },
    required: ["spec"],
  },
];

const GROUPS: Definition[] = [
  {
    kind: "VolumeGroupSnapshotClass",
    scope: "Cluster",
    properties: { driver: TEXT, deletionPolicy: POLICY, parameters: map },
    required: ["driver", "deletionPolicy"],
  },
  {
    kind: "VolumeGroupSnapshotContent",
    scope: "Cluster",
    properties: {
      spec: object(
        {
          deletionPolicy: POLICY,
          driver: fixed(TEXT),
          source: object(
            {
              groupSnapshotHandles: fixed(
                object({ volumeGroupSnapshotHandle: TEXT, volumeSnapshotHandles: texts }, [
                  "volumeGroupSnapshotHandle",
                  "volumeSnapshotHandles",
                ]),
              ),
              volumeHandles: fixed(texts),
            },
            [],
            either("volumeHandles", "groupSnapshotHandles"),
          ),
          volumeGroupSnapshotClassName: fixed(TEXT),
          volumeGroupSnapshotRef: REFERENCE,
        },
        ["deletionPolicy", "driver", "source", "volumeGroupSnapshotRef"],
      ),
      status: object({
        creationTime: TIME,
        error: ERROR,
        readyToUse: FLAG,
        volumeGroupSnapshotHandle: TEXT,
        volumeSnapshotInfoList: {
          type: "array",
          items: object({
            creationTime: BYTES,
            readyToUse: FLAG,
            restoreSize: BYTES,
            snapshotHandle: TEXT,
            volumeHandle: TEXT,
          }),
        },
      }),
    },
    required: ["spec"],
  },
  {
    kind: "VolumeGroupSnapshot",
    scope: "Namespaced",
    properties: {
      spec: object(
        {
          source: object(
            { selector: fixed(SELECTOR), volumeGroupSnapshotContentName: fixed(TEXT) },
            [],
            either("selector", "volumeGroupSnapshotContentName"),
          ),
          volumeGroupSnapshotClassName: { type: "string", minLength: 1 },
        },
        ["source"],
      ),
      status: object({
        boundVolumeGroupSnapshotContentName: TEXT,
        creationTime: TIME,
        error: ERROR,
        readyToUse: FLAG,
      }),
    },
    required: ["spec"],
  },
];

/**
 * Installs the resources of external-snapshotter, with the rules of its CRDs that matter to who writes their objects, and
 * waits until they are served; those of groups too where a version is given ("v1beta1", "v1beta2").
 */
export async function installSnapshots(api: Api, options: { groups?: string } = {}): Promise<void> {
  const { groups } = options;
  await install(api, "snapshot.storage.k8s.io", "v1", SNAPSHOTS);
  if (groups) await install(api, "groupsnapshot.storage.k8s.io", groups, GROUPS);
}

async function install(api: Api, group: string, version: string, definitions: Definition[]): Promise<void> {
  for (const { kind, scope, properties, required } of definitions) {
    const singular = kind.toLowerCase();
    const plural = singular.endsWith("s") ? `${singular}es` : `${singular}s`;
    const schema = { openAPIV3Schema: object(properties, required) };
    await api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: {
        name: `${plural}.${group}`,
        annotations: { "api-approved.kubernetes.io": "unapproved, a test's copy" },
      },
      spec: {
        group,
        scope,
        names: { kind, plural, singular, listKind: `${kind}List` },
        versions: [{ name: version, served: true, storage: true, schema, subresources: { status: {} } }],
      },
    });
    await until(`${plural}.${group}`, async () => {
      try {
        return await api.request("GET", `/apis/${group}/${version}/${plural}`);
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return undefined;
        throw error;
      }
    });
  }
}
