import type { KubernetesObject } from "../archive/item.ts";
import { resourceKey } from "../kube/resource.ts";
import { isFields } from "../objects/fields.ts";
import { parseJsonPath } from "../objects/jsonpath.ts";
import { age } from "./age.ts";
import { AGE, type Column, createdAt, NAME } from "./columns/column.ts";
import { NETWORK } from "./columns/network.ts";
import { OTHERS } from "./columns/others.ts";
import { STORAGE } from "./columns/storage.ts";
import { WORKLOADS } from "./columns/workloads.ts";
import type { PrinterColumn, ServedResource } from "./resources.ts";

/** A resource's Table: its columns, as `columnDefinitions` has them, and the cells of an object. */
export interface Table {
  columns: { name: string; type: string; format: string; description: string; priority: number }[];
  cells(object: KubernetesObject): unknown[];
}

const COLUMNS: Record<string, Column[]> = { ...WORKLOADS, ...NETWORK, ...STORAGE, ...OTHERS };

/**
 * The Table of a resource: of Kubernetes' own with the columns of its API server (1.36), of a custom one with those of
 * its definition. Ages are told as of `now`.
 */
export function tableOf(resource: ServedResource, now: () => Date): Table {
  const columns = columnsOf(resource);
  return {
    columns: columns.map(({ name, type = "string", format = "", description = "", wide = 0 }) => ({
      ...{ name, type, format, description },
      priority: Number(wide),
    })),
    cells: (object) => columns.map(({ cell }) => cell(object, (time) => age(time, now())) ?? null),
  };
}

function columnsOf(resource: ServedResource): Column[] {
  if (resource.columns?.length) return [NAME, ...resource.columns.map(definedColumn)];
  if (resource.custom) return [NAME, AGE];
  return COLUMNS[resourceKey(resource)] ?? [NAME, createdAt];
}

/** A definition's column; what is missing, or of another type, gives an empty cell. */
function definedColumn({ name, type, format, description, priority, jsonPath }: PrinterColumn): Column {
  const find = parseJsonPath(jsonPath);
  const convert = CONVERSIONS[type] ?? (() => undefined);
  return {
    ...{ name, type, format, description, wide: priority },
    cell: (object, since) => {
      const [value] = find(object);
      return value === undefined || value === null ? undefined : convert(value, since);
    },
  };
}

const CONVERSIONS: Record<string, (value: unknown, since: (time: unknown) => string) => unknown> = {
  string: (value) => (isFields(value) || Array.isArray(value) ? JSON.stringify(value) : String(value)),
  integer: (value) => (typeof value === "number" ? Math.trunc(value) : undefined),
  number: (value) => (typeof value === "number" ? value : undefined),
  boolean: (value) => (typeof value === "boolean" ? value : undefined),
  date: (value, since) => {
    if (typeof value !== "string") return undefined;
    return Number.isNaN(Date.parse(value)) ? "<invalid>" : since(value);
  },
};
