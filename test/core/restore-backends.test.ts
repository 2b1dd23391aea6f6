import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { awaitedBackend } from "../../core/restore/write/backends.ts";
import {
  answer,
  archiveOf,
  type Intercept,
  ownedBy,
  owner,
  references,
  restored,
  said,
  sample,
} from "./restore-sample.ts";
import { restoreTarget } from "./restore-target.ts";

const status = (code: number, message: string) => ({ kind: "Status", code, message });
const UNREACHED =
  'Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: Post "https://hook.guard.svc:443/check?timeout=10s": dial tcp 10.0.0.7:443: connect: connection refused';
const UNCONVERTED =
  'conversion webhook for example.com/v1, Kind=Widget failed: Post "https://convert.guard.svc:443/?timeout=30s": service "convert" not found';

describe("a refusal, and what must be up so that it passes", () => {
  const cases: [name: string, code: number, message: string, backend: string | undefined][] = [
    ["an admission webhook that is down", 500, UNREACHED, 'webhook "check.example.com" (Service guard/hook)'],
    [
      "one whose Service is missing",
      500,
      'Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: Post "https://hook.guard.svc:8443/?timeout=10s": service "hook" not found',
      'webhook "a.b.c" (Service guard/hook)',
    ],
    [
      "one without a certificate that is trusted yet",
      500,
      'Internal error occurred: failed calling webhook "a.b.c": could not get REST client: unable to load root certificates',
      'webhook "a.b.c"',
    ],
    ["a conversion webhook that is down", 500, UNCONVERTED, "the conversion webhook of Widget (Service guard/convert)"],
    [
      "one behind a proxy that answers for it",
      500,
      "conversion webhook for example.com/v1, Kind=Widget failed: the server is currently unable to handle the request",
      "the conversion webhook of Widget",
    ],
    ["an aggregated API that is down", 503, "service unavailable", "what serves example.com/v1"],
    [
      "a quota that isn't counted yet",
      403,
      'pods "web" is forbidden: status unknown for quota: compute, resources: pods',
      "the count of quota compute",
    ],
    ["a quota that is used up", 403, 'pods "web" is forbidden: exceeded quota: compute, requested: pods=1', undefined],
    [
      "a webhook that says no",
      403,
      'admission webhook "check.example.com" denied the request: no Post "https://a.b.svc" today',
      undefined,
    ],
    [
      "a conversion webhook that can't",
      500,
      "conversion webhook for example.com/v1, Kind=Widget failed: spec.size is no number",
      undefined,
    ],
    ["an object that is invalid", 422, 'failed calling webhook "a": so it says', undefined],
    ["success", 201, UNREACHED, undefined],
  ];
  for (const [name, code, message, backend] of cases) {
    it(name, () => {
      const body = Buffer.from(JSON.stringify(status(code, message)));
      const request = { path: "/apis/example.com/v1/namespaces/shop/widgets" };
      assert.equal(awaitedBackend(request, { status: code, body }), backend);
    });
  }
});

describe("a restore whose backends come up late", () => {
  const { create, intercept, kube, live } = restoreTarget();

  /** A webhook on the creation of some objects, that answers after `failing` calls. */
  function webhook(refuses: (path: string, name: string) => boolean, failing: number, message = UNREACHED): Intercept {
    let calls = 0;
    return ({ method, path, body }) => {
      const name = method === "POST" ? JSON.parse(String(body)).metadata.name : "";
      if (!name || !refuses(path, name) || calls++ >= failing) return undefined;
      return answer(500, status(500, message));
    };
  }
  const posts = () => kube.writes.filter((line) => line.startsWith("POST")).map((line) => line.split("/").at(-1));

  it("creates what was refused, and then what it owns, with the new UID", async () => {
    intercept(webhook((path) => path.endsWith("/configmaps"), 3));
    const items = [
      sample("v1", "Namespace", "shop"),
      sample("v1", "ConfigMap", "shop/parent", owner(1)),
      sample("v1", "Secret", "shop/child", { type: "Opaque", ...ownedBy("ConfigMap", "parent", 1) }),
      sample("v1", "Service", "shop/web", { spec: { ports: [{ port: 80 }] } }),
    ];
    const { result } = await restored(kube, await archiveOf(items));
    assert.deepEqual([result.phase, said(result.problems.errors), result.counts.created], ["Completed", "", 4]);
    assert.deepEqual(posts(), [
      "namespaces",
      "configmaps",
      "configmaps",
      "services",
      "configmaps",
      "configmaps",
      "secrets",
    ]);
    const parent = await live("/api/v1/namespaces/shop/configmaps/parent");
    assert.deepEqual(references(await live("/api/v1/namespaces/shop/secrets/child")), [
      { kind: "ConfigMap", name: "parent", uid: parent.metadata.uid },
    ]);
  });

  it("holds back the controller of Pods that wait, and what lies in a Namespace that waits", async () => {
    intercept(webhook((path, name) => path.endsWith("/pods") || name === "held", 4));
    const items = [
      sample("v1", "Namespace", "held"),
      sample("v1", "ConfigMap", "held/inner"),
      sample("v1", "Namespace", "shop"),
      sample("apps/v1", "ReplicaSet", "shop/web", { spec: { replicas: 1 }, ...owner(1) }),
      sample("v1", "Pod", "shop/web-a", { spec: { nodeName: "n" }, ...ownedBy("ReplicaSet", "web", 1) }),
    ];
    const { result } = await restored(kube, await archiveOf(items));
    assert.deepEqual([result.phase, said(result.problems.errors), result.counts.created], ["Completed", "", 5]);
    const order = posts();
    assert.ok(order.lastIndexOf("pods") < order.indexOf("replicasets"), `${order}`);
    assert.ok(order.lastIndexOf("namespaces") < order.indexOf("configmaps"), `${order}`);
  });

  it("asks for one of many that wait for the same, not for each", async () => {
    intercept(webhook((path) => path.endsWith("/configmaps"), 53));
    const items = Array.from({ length: 50 }, (_, n) => sample("v1", "ConfigMap", `shop/c${n}`));
    const { result } = await restored(kube, await archiveOf([sample("v1", "Namespace", "shop"), ...items]));
    assert.deepEqual([result.phase, result.counts.created], ["Completed", 51]);
    assert.equal(posts().filter((path) => path === "configmaps").length, 103);
  });

  it("fails when it is not up in time, and says what was missing; what it would own comes without it", async () => {
    intercept(webhook((path) => path.endsWith("/configmaps"), Number.POSITIVE_INFINITY));
    const items = [
      sample("v1", "Namespace", "shop"),
      sample("v1", "ConfigMap", "shop/parent", owner(1)),
      sample("v1", "Secret", "shop/child", { type: "Opaque", ...ownedBy("ConfigMap", "parent", 1) }),
    ];
    const { result, lines } = await restored(kube, await archiveOf(items), {}, { waitMs: 1000 });
    assert.equal(result.phase, "PartiallyFailed");
    assert.match(
      said(result.problems.errors),
      /^configmaps shop\/parent: webhook "check\.example\.com" \(Service guard\/hook\) was not up within 1 s: .*connection refused/,
    );
    assert.deepEqual(
      lines.filter((line) => line.includes("secrets")),
      ["created secrets shop/child: without its owner ConfigMap parent, which isn't restored"],
    );
  });

  it("looks at each object of a kind that can't be listed yet, and finds those that are there", async () => {
    let lists = 0;
    const refuse = webhook((path) => path.endsWith("/secrets"), 4, UNCONVERTED);
    intercept((request, next) => {
      if (!request.method && request.path.endsWith("/secrets")) {
        lists++;
        return answer(500, status(500, UNCONVERTED));
      }
      return refuse(request, next);
    });
    const items = [
      sample("v1", "Namespace", "shop"),
      sample("v1", "Secret", "shop/missing", { type: "Opaque" }),
      sample("v1", "Secret", "shop/there", { type: "Opaque" }),
    ];
    await create("/api/v1/namespaces", items[0]!);
    await create("/api/v1/namespaces/shop/secrets", items[2]!);
    const { result, lines } = await restored(kube, await archiveOf(items));
    assert.deepEqual([result.phase, said(result.problems.errors)], ["Completed", ""]);
    assert.equal(lists, 1);
    assert.deepEqual(lines.map((line) => line.split(":")[0]).sort(), [
      "created secrets shop/missing",
      "skipped namespaces shop",
      "skipped secrets shop/there",
    ]);
  });
});
