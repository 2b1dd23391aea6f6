import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { startRunLog } from "../../core/log.ts";
import { problemLine, toVeleroResult } from "../../core/report.ts";

describe("reports", () => {
  const problems = [
    { message: "API group metrics.k8s.io: no answer" },
    { resource: "clusterroles.rbac.authorization.k8s.io", namespace: "", name: "admin", message: "refused" },
    { resource: "pods", namespace: "shop", name: "web-1", message: "refused" },
    { resource: "secrets", namespace: "shop", message: "forbidden" },
  ];

  it("sorts problems into Velero's three places", () => {
    assert.deepEqual(toVeleroResult(problems), {
      velero: ["API group metrics.k8s.io: no answer"],
      cluster: ["clusterroles.rbac.authorization.k8s.io admin: refused"],
      namespaces: { shop: ["pods shop/web-1: refused", "secrets: forbidden"] },
    });
    assert.deepEqual(toVeleroResult([]), {});
  });

  it("writes a problem as one line", () => {
    assert.equal(problemLine(problems[2]!), "pods shop/web-1: refused");
    assert.equal(problemLine(problems[0]!), "API group metrics.k8s.io: no answer");
  });

  it("logs in logrus' text format, quoting what needs it", () => {
    const heard: string[] = [];
    const { log, gzipped } = startRunLog({ backup: "velero/full" }, (line) => heard.push(line));
    log("warning", 'said "no"', { resource: "pods", count: 3, note: "two words" });
    const text = gunzipSync(gzipped()).toString();
    assert.match(
      text,
      /^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=warning msg="said \\"no\\"" backup=velero\/full resource=pods count=3 note="two words"\n$/,
    );
    assert.equal(`${heard.join("\n")}\n`, text);
  });
});
