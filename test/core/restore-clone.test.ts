import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { isWithin, mapHost } from "../../core/restore/clone/domains.ts";
import { fullImage, mapImage } from "../../core/restore/clone/images.ts";
import { leftovers, leftoverWarning } from "../../core/restore/clone/leftovers.ts";
import { type Mappings, mappingFault } from "../../core/restore/clone/mappings.ts";
import { imageRules } from "../../core/restore/clone/pluginconfig.ts";
import { sample } from "./restore-sample.ts";

describe("domainMapping: a host in the clone", () => {
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
  const domain = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join("."));
  const anyCase = (text: string) =>
    fc
      .array(fc.boolean(), { minLength: text.length, maxLength: text.length })
      .map((up) => [...text].map((letter, at) => (up[at] ? letter.toUpperCase() : letter)).join(""));

  it("is the domain's own, and what is below it, `*.` too", () =>
    fc.assert(
      fc.property(domain, domain, fc.array(fc.oneof(label, fc.constant("*")), { maxLength: 3 }), (from, to, below) => {
        const prefix = below.map((one) => `${one}.`).join("");
        assert.equal(mapHost(prefix + from, { [from]: to }), prefix + to);
        assert.equal(mapHost(`${prefix}${from}.`, { [from]: to }), `${prefix}${to}.`);
      }),
    ));

  it("is another one where only letters, no labels, agree", () =>
    fc.assert(
      fc.property(domain, domain, label, (from, to, more) => {
        for (const host of [more + from, `${from}.${more}`, from.slice(1)].filter((host) => !isWithin(host, from)))
          assert.equal(mapHost(host, { [from]: to }), host);
      }),
    ));

  it("is the same however it is written", () =>
    fc.assert(
      fc.property(
        domain.chain((from) => fc.tuple(fc.constant(from), anyCase(from))),
        domain,
        ([from, written], to) => assert.equal(mapHost(`www.${written}`, { [from]: to }), `www.${to}`),
      ),
    ));

  it("is below the longest domain's", () =>
    fc.assert(
      fc.property(domain, label, domain, domain, (from, below, to, other) => {
        const mapping = { [from]: to, [`${below}.${from}`]: other };
        assert.equal(mapHost(`www.${below}.${from}`, mapping), `www.${other}`);
      }),
    ));
});

describe("registryMapping: an image in the clone", () => {
  const images: [image: string, mapping: Record<string, string>, mapped: string][] = [
    ["nginx", { "docker.io": "m.example" }, "m.example/library/nginx"],
    ["nginx:1.27", { "docker.io/library": "m.example" }, "m.example/nginx:1.27"],
    ["nginx:1.27", { "docker.io/library/nginx": "m.example/proxy" }, "m.example/proxy:1.27"],
    ["docker.io/nginx", { "docker.io/library": "m.example" }, "m.example/nginx"],
    ["index.docker.io/library/nginx", { "docker.io": "m.example" }, "m.example/library/nginx"],
    ["nginx", { "index.docker.io": "m.example" }, "m.example/library/nginx"],
    ["acme/web@sha256:0123", { "docker.io/acme": "m.example/a" }, "m.example/a/web@sha256:0123"],
    ["acme/web", { "docker.io/library": "m.example" }, "acme/web"],
    ["acmes/web", { "docker.io/acme": "m.example" }, "acmes/web"],
    ["r.example/web:1@sha256:0123", { "r.example": "m.example" }, "m.example/web:1@sha256:0123"],
    ["R.example/web", { "r.example": "m.example" }, "m.example/web"],
    ["r.example:5000/web", { "r.example": "m.example" }, "r.example:5000/web"],
    ["r.example:5000/web", { "r.example:5000": "m.example" }, "m.example/web"],
    ["localhost/web", { localhost: "m.example" }, "m.example/web"],
    ["r.example/team/web", { "r.example": "m.example", "r.example/team": "t.example" }, "t.example/web"],
    ["r.example/teams/web", { "r.example/team": "t.example" }, "r.example/teams/web"],
    ["r.example/web", { "r.example": "docker.io/acme" }, "docker.io/acme/web"],
    ["r.example/web", {}, "r.example/web"],
  ];
  for (const [image, mapping, mapped] of images) {
    it(`${image} by ${JSON.stringify(mapping)}`, () => assert.equal(mapImage(image, mapping), mapped));
  }

  it("has its full name only once", () =>
    fc.assert(
      fc.property(
        fc.stringMatching(/^([a-z]{1,4}(\.[a-z]{1,3})?(:[0-9]{2})?\/)?([a-z]{1,4}\/)?[a-z]{1,5}(:[a-z0-9]{1,3})?$/),
        (image) => assert.equal(fullImage(fullImage(image)), fullImage(image)),
      ),
    ));
});

it("Velero's rules for images come in the order of their keys, those without two sides left out", () => {
  assert.deepEqual(imageRules({ b: "c , d,e", a: "1.1.1.1:5000,2.2.2.2:3000", x: "nothing", y: ",z", z: "a," }), [
    { from: "1.1.1.1:5000", to: "2.2.2.2:3000" },
    { from: "c", to: "d,e" },
  ]);
});

describe("mappings that make no sense", () => {
  const refused: [spec: Mappings, said: RegExp][] = [
    [{ domainMapping: { "a.example": "A.example" } }, /^maps "a\.example" to "A\.example": that is the same$/],
    [{ domainMapping: { "": "b.example" } }, /"" is empty/],
    [{ domainMapping: { "a.example": "" } }, /"" is empty/],
    [{ domainMapping: { "*.a.example": "b.example" } }, /"\*\.a\.example" is no domain/],
    [{ domainMapping: { "https://a.example": "b.example" } }, /is no domain/],
    [{ domainMapping: { "a.example.": "b.example" } }, /is no domain/],
    [
      { domainMapping: { "a.example": "b.example", "A.EXAMPLE": "c.example" } },
      /"A\.EXAMPLE" is mapped too, which is the same/,
    ],
    [
      { domainMapping: { "a.example": "b.example", "b.example": "c.example" } },
      /"b\.example" is mapped too: a chain; map "a\.example" to where it should end/,
    ],
    [{ domainMapping: { "a.example": "www.b.example", "b.example": "c.example" } }, /a chain/],
    [{ registryMapping: { "r.example": "r.example" } }, /the same/],
    [
      { registryMapping: { nginx: "m.example/nginx" } },
      /"nginx" names no registry; of images on Docker Hub it is "docker\.io\/nginx", or "docker\.io\/library\/nginx"/,
    ],
    [{ registryMapping: { "r.example/": "m.example" } }, /is no registry/],
    [{ registryMapping: { "r.example": "https://m.example" } }, /is no registry/],
    [{ registryMapping: { "r.example": "m.example/a", "m.example": "n.example" } }, /a chain/],
    [{ storageClassMapping: { gp2: "gp2" } }, /the same/],
    [{ storageClassMapping: { gp2: "gp3", gp3: "gp4" } }, /a chain/],
    [{ ingressClassMapping: { nginx: "Traefik" } }, /"Traefik" can't be an ingress class's name/],
  ];
  for (const [spec, said] of refused) {
    it(JSON.stringify(spec), () => {
      const fault = mappingFault(spec);
      assert.deepEqual([fault?.field], Object.keys(spec));
      assert.match(fault?.message ?? "", said);
    });
  }

  it("and those that do", () => {
    assert.equal(
      mappingFault({
        domainMapping: { "shop.example": "green.shop.example", "www.shop.example": "www.green.example" },
      }),
      undefined,
    );
    assert.equal(
      mappingFault({ registryMapping: { "docker.io": "m.example:5000/docker.io", "quay.io/a": "m.example/quay" } }),
      undefined,
    );
    assert.equal(mappingFault({ storageClassMapping: { gp2: "gp4", gp3: "gp4" }, ingressClassMapping: {} }), undefined);
  });
});

describe("where the old name is left", () => {
  const mapping = { "a.example": "b.example" };
  const base64 = (text: string | Buffer) => Buffer.from(text).toString("base64");
  const text = (value: string) =>
    leftovers(sample("v1", "ConfigMap", "shop/c", { data: { x: value } }), mapping).length > 0;

  const named = [
    "a.example",
    "A.Example",
    "https://shop.a.example/x",
    "owner@a.example",
    "*.a.example",
    "hosts: a.example, b",
    "a.example.",
    "a.example.\nnext",
    "x\\na.example",
    "u=https%3A%2F%2Fa.example",
    "a.example:443",
    "notaa.example a.example",
    `-----BEGIN CERTIFICATE-----\n${base64("\x30\x82\x0eshop.a.example\xa0")}\n-----END CERTIFICATE-----\n`,
  ];
  for (const value of named) it(`is found in ${JSON.stringify(value)}`, () => assert.ok(text(value)));

  const others = [
    "notaa.example",
    "nota.example",
    "a.example.org",
    "a.examples",
    "a-example",
    "b.example",
    "a.example-x",
    "",
    "aXexample",
  ];
  for (const value of others) it(`is not found in ${JSON.stringify(value)}`, () => assert.ok(!text(value)));

  it("is told by path, keys among them, and never by value", () => {
    const secret = sample("v1", "Secret", "shop/s", {
      type: "Opaque",
      metadata: { annotations: { "a.example/note": "x", url: "http://a.example" } } as never,
      data: { "tls.crt": base64("CN=shop.a.example, hunter2"), other: base64("hunter2") },
    });
    assert.equal(
      leftoverWarning(secret, mapping),
      'a.example still stands in data["tls.crt"], metadata.annotations["a.example/note"] (its key), metadata.annotations.url',
    );
    const pod = sample("v1", "Pod", "shop/p", {
      spec: { containers: [{ name: "a", env: [{ name: "HOST", value: "in.a.example" }] }, { name: "a.example" }] },
    });
    assert.deepEqual(leftovers(pod, mapping), ["spec.containers[0].env[0].value", "spec.containers[1].name"]);
  });

  it("is found in what is packed: bytes of a ConfigMap, a release of Helm", () => {
    const map = sample("v1", "ConfigMap", "shop/c", {
      binaryData: { b: base64("a.example") },
      data: { a: base64("a.example") },
    });
    assert.deepEqual(leftovers(map, mapping), ["binaryData.b"]);
    const release = base64(base64(gzipSync(JSON.stringify({ config: { host: "a.example" } }))));
    const helm = sample("v1", "Secret", "shop/h", { type: "helm.sh/release.v1", data: { release } });
    assert.deepEqual(leftovers(helm, mapping), ["data.release"]);
    assert.deepEqual(leftovers({ ...helm, type: "Opaque" }, mapping), []);
  });

  it("is not the clone's own name where that lies below it", () => {
    const below = { "a.example": "green.a.example" };
    const object = (x: string) => sample("v1", "ConfigMap", "shop/c", { data: { x } });
    assert.deepEqual(leftovers(object("https://www.green.a.example, green.a.example"), below), []);
    assert.deepEqual(leftovers(object("www.green.a.example a.example"), below), ["data.x"]);
    assert.deepEqual(leftovers(object("evergreen.a.example"), below), ["data.x"]);
  });

  it("is never told of an object's type", () =>
    assert.deepEqual(leftovers(sample("a.example/v1", "Widget", "shop/w"), mapping), []));
});
