import { randomUUID } from "node:crypto";
import { GoogleAuth } from "google-auth-library";
import { LifeboatError, polled, unlessMissing } from "../../core/index.ts";
import { googleApi } from "./api.ts";
import { googleError } from "./errors.ts";
import { unlessAborted } from "./http.ts";

/** What the URLs of resources begin with. */
export const BASE = "https://www.googleapis.com/compute/v1/";

/** What is read of Compute Engine's Disk and Snapshot. */
export interface Resource {
  name: string;
  selfLink: string;
  status?: string;
  description?: string;
  type?: string;
  replicaZones?: string[];
  diskSizeGb?: string;
  creationTimestamp?: string;
  provisionedIops?: string;
  provisionedThroughput?: string;
  sourceDisk?: string;
  sourceSnapshot?: string;
  snapshotEncryptionKey?: { kmsKeyName?: string };
}

/** What is read of an operation of Compute Engine. */
export interface Operation {
  selfLink?: string;
  status?: string;
  error?: { errors?: { code?: string; message?: string }[] };
}

/** The path of a resource within the API, "projects/P/…", by its URL. */
export const pathOf = (link: string) => link.replace(/^https?:\/\/[^/]+\/(?:compute\/v1\/)?/, "");

/** The calls of Compute Engine's API, by paths "projects/P/…". `pollMs`: how often an operation is looked at. */
export function computeEngine(pollMs: number) {
  const { call } = googleApi("compute");
  let ownProject: Promise<string> | undefined;

  const ask = <T>(wanted: string, path: string, signal: AbortSignal): Promise<T> =>
    call<T>({ wanted, path: `/compute/v1/${path}`, tellsBusy: true, signal });

  /** What is there now; undefined where nothing is. */
  const find = (wanted: string, path: string, signal: AbortSignal): Promise<Resource | undefined> =>
    unlessMissing(ask<Resource>(wanted, path, signal));

  /** A request that is carried out once, however often it is sent. */
  const change = (wanted: string, path: string, signal: AbortSignal, method: "POST" | "DELETE", data?: object) =>
    call<Operation>({
      wanted,
      path: `/compute/v1/${path}?requestId=${randomUUID()}`,
      method,
      ...(data && { data }),
      tellsBusy: true,
      signal,
    });

  /** Whether an operation has ended. Throws what it came to, where it has failed. */
  const hasEnded = async (wanted: string, { selfLink = "" }: Operation, signal: AbortSignal): Promise<boolean> => {
    const operation = await unlessMissing(ask<Operation>(wanted, pathOf(selfLink), signal));
    const [failure] = operation?.error?.errors ?? [];
    if (!failure) return !operation || operation.status === "DONE";
    const kind = /rateLimit|RATE_EXCEEDED/i.test(failure.code ?? "") ? "busy" : "unreachable";
    throw new LifeboatError(kind, `can't ${wanted}: ${[failure.code, failure.message].filter(Boolean).join(": ")}`);
  };

  /** Waits until an operation has ended. */
  const ended = async (wanted: string, operation: Operation, signal: AbortSignal): Promise<void> => {
    await polled(async () => (await hasEnded(wanted, operation, signal)) || undefined, pollMs, signal);
  };

  /** Removes what may be there, and waits until it is gone. */
  const removed = async (wanted: string, path: string, signal: AbortSignal): Promise<void> => {
    const operation = await unlessMissing(change(wanted, path, signal, "DELETE"));
    if (operation) await ended(wanted, operation, signal);
  };

  /** The project of the credentials, "projects/P": by the environment, the key's file, gcloud or the metadata server. */
  const project = async (signal: AbortSignal): Promise<string> => {
    ownProject ??= new GoogleAuth().getProjectId();
    try {
      return `projects/${await unlessAborted(ownProject, signal)}`;
    } catch (error) {
      signal.throwIfAborted();
      ownProject = undefined;
      throw googleError(error, "find the project of the credentials");
    }
  };

  return { ask, find, change, hasEnded, ended, removed, project };
}
