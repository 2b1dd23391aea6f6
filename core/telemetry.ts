import { type Attributes, metrics, type Span, SpanStatusCode, trace } from "@opentelemetry/api";
import manifest from "../package.json" with { type: "json" };
import { messageOf } from "./errors.ts";

/**
 * What is told to OpenTelemetry. Only its API is used: where the process has no SDK (a layer of Lambda, `--import` of an
 * instrumentation), nothing happens. Names and units are in docs/notifications.md. No attribute holds a secret or
 * the name of an object.
 */
const tracer = trace.getTracer("lifeboat", manifest.version);

/** What a job did, for metrics: attributes tell kinds of jobs apart, the numbers are added up or compared. */
export interface JobMeasures {
  kind: string;
  cluster?: string;
  schedule?: string;
  /** "Completed", "PartiallyFailed" or "Failed". */
  phase: string;
  durationMs: number;
  items?: number;
  bytes?: number;
}

/** Runs `work` in a span of this name, which ends with it and bears its error. */
export function traced<T>(name: string, attributes: Attributes, work: (span: Span) => Promise<T>): Promise<T> {
  return tracer.startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Counts a job that ended. The meters are asked for each time: the SDK may have come later than this module. */
export function measureJob({ kind, cluster, schedule, phase, durationMs, items, bytes }: JobMeasures): void {
  const meter = metrics.getMeter("lifeboat", manifest.version);
  const subject = { "lifeboat.job": kind, "lifeboat.cluster": cluster, "lifeboat.schedule": schedule };
  const ended = { ...subject, "lifeboat.phase": phase };
  meter.createCounter("lifeboat.jobs", { unit: "{job}", description: "Jobs that ended" }).add(1, ended);
  meter
    .createHistogram("lifeboat.job.duration", { unit: "s", description: "How long they took" })
    .record(durationMs / 1000, ended);
  if (items !== undefined)
    meter
      .createGauge("lifeboat.job.items", { unit: "{object}", description: "Objects of the last job" })
      .record(items, subject);
  if (bytes !== undefined)
    meter
      .createGauge("lifeboat.job.size", { unit: "By", description: "JSON of the last backup" })
      .record(bytes, subject);
  if (phase === "Completed")
    meter
      .createGauge("lifeboat.job.last_success", { unit: "s", description: "Unix time of the last job that completed" })
      .record(Math.floor(Date.now() / 1000), subject);
}
