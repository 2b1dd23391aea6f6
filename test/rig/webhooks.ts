import { createServer } from "node:https";
import { json } from "node:stream/consumers";
import type { KubeObject } from "./api.ts";
import type { Certificate } from "./certs.ts";

/** A backend of admission and conversion webhooks, on 127.0.0.1. */
export interface WebhookBackend {
  /** What it was asked: "CREATE configmaps shop/a", "convert Widget shop/a to example.com/v1". */
  asked: string[];
  /** Refuses what is created from now on. */
  denies: boolean;
  stop(): Promise<void>;
}

interface Review extends KubeObject {
  request: {
    uid: string;
    operation?: string;
    resource?: { resource: string };
    namespace?: string;
    name?: string;
    desiredAPIVersion?: string;
    objects?: KubeObject[];
  };
}

/** Starts a backend that admits everything, and converts by `convert`. Both kinds of reviews may be sent to any path. */
export async function startWebhooks(
  port: number,
  { cert, key }: Certificate,
  convert: (object: KubeObject, apiVersion: string) => KubeObject,
): Promise<WebhookBackend> {
  const backend: WebhookBackend = {
    asked: [],
    denies: false,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const answerTo = ({ kind, request }: Review) => {
    const { uid, operation, resource, namespace, name, desiredAPIVersion = "", objects = [] } = request;
    if (kind === "AdmissionReview") {
      backend.asked.push(`${operation} ${resource?.resource} ${namespace}/${name}`);
      return { uid, allowed: !backend.denies, status: { message: "not today" } };
    }
    for (const { kind, metadata } of objects)
      backend.asked.push(`convert ${kind} ${metadata.namespace}/${metadata.name} to ${desiredAPIVersion}`);
    const convertedObjects = objects.map((object) => convert(object, desiredAPIVersion));
    return { uid, result: { status: "Success" }, convertedObjects };
  };
  const server = createServer({ cert, key }, async (incoming, outgoing) => {
    const review = (await json(incoming)) as Review;
    const { apiVersion, kind } = review;
    outgoing.setHeader("content-type", "application/json");
    outgoing.end(JSON.stringify({ apiVersion, kind, response: answerTo(review) }));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return backend;
}
