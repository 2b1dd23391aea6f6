import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { metrics, trace } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { LifeboatError } from "../../core/errors.ts";
import { measureJob, traced } from "../../core/telemetry.ts";

const spans = new InMemorySpanExporter();
const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 2 ** 30 });
const meters = new MeterProvider({ readers: [reader] });
const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });

before(() => {
  trace.setGlobalTracerProvider(tracers);
  metrics.setGlobalMeterProvider(meters);
});
after(async () => {
  await Promise.all([meters.shutdown(), tracers.shutdown()]);
});

it("work in a span gives its result, and its error to the span", async () => {
  assert.equal(await traced("lifeboat survey", { "lifeboat.job": "backup" }, async () => 7), 7);
  const error = new LifeboatError("unreachable", "no answer");
  await assert.rejects(
    traced("lifeboat capture", {}, () => Promise.reject(error)),
    error,
  );
  const [survey, capture] = spans.getFinishedSpans();
  assert.deepEqual(
    [survey?.name, survey?.attributes, survey?.status.code],
    ["lifeboat survey", { "lifeboat.job": "backup" }, 0],
  );
  assert.deepEqual([capture?.name, capture?.status], ["lifeboat capture", { code: 2, message: "no answer" }]);
});

it("jobs are counted by how they ended", async () => {
  const job = { kind: "backup", cluster: "prod", schedule: "hourly", durationMs: 1500 };
  measureJob({ ...job, phase: "Completed", items: 12, bytes: 3400 });
  measureJob({ ...job, phase: "Failed" });
  await reader.forceFlush();
  const found = measured.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
  const points = (name: string) => found.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
  assert.deepEqual(
    points("lifeboat.jobs").map(({ attributes, value }) => [attributes["lifeboat.phase"], value]),
    [
      ["Completed", 1],
      ["Failed", 1],
    ],
  );
  assert.deepEqual([points("lifeboat.job.items")[0]?.value, points("lifeboat.job.size")[0]?.value], [12, 3400]);
  assert(Number(points("lifeboat.job.last_success")[0]?.value) > 1_700_000_000);
});
