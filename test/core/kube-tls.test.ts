import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { TLSSocket } from "node:tls";
import { connect } from "../../core/kube/client.ts";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import { type Certificate, makeAuthority, makeCertificate } from "../rig/certs.ts";
import { kubeconfig, listen, serve } from "./kube-server.ts";

let dir = "";
let authority: Certificate;
let client: Certificate;
let url = "";
let running: AsyncDisposable;
const base64 = (pem: string) => Buffer.from(pem).toString("base64");

/** Tells who the client's certificate says it is, and which name it asked for. */
const whoAmI: RequestListener = (request, response) => {
  const socket = request.socket as TLSSocket;
  response.end(JSON.stringify({ user: socket.getPeerCertificate().subject?.CN, servername: socket.servername }));
};

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "lifeboat-tls-"));
  authority = await makeAuthority(dir);
  const server = await makeCertificate(dir, "server", { commonName: "kube", server: true });
  client = await makeCertificate(dir, "client", { commonName: "jane" });
  const https = createHttpsServer({ ...server, ca: authority.cert, requestCert: true, rejectUnauthorized: false });
  https.on("upgrade", (request, socket) => {
    const user = (request.socket as TLSSocket).getPeerCertificate().subject?.CN;
    const body = JSON.stringify({ kind: "Status", code: 403, message: `${user} may not` });
    socket.end(`HTTP/1.1 403 Forbidden\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  });
  const listening = await listen(https, whoAmI);
  url = listening.url.replace("http:", "https:");
  running = listening;
});
after(async () => {
  await running[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

async function ask(
  user: object,
  cluster: object,
  server = url,
): Promise<{ user?: string; servername: string | false }> {
  const kube = connect(readKubeconfig(kubeconfig(server, user, cluster), { directory: dir }));
  try {
    return JSON.parse((await kube.request({ path: "/" })).body.toString());
  } finally {
    await kube.close();
  }
}

suite("TLS", () => {
  const trusted = () => ({ "certificate-authority-data": base64(authority.cert) });

  test("trusts the kubeconfig's authority, given in it or in a file, and shows the client's certificate", async () => {
    const user = { "client-certificate-data": base64(client.cert), "client-key-data": base64(client.key) };
    assert.equal((await ask(user, trusted())).user, "jane");
    assert.equal(
      (
        await ask(
          { "client-certificate": "client.crt", "client-key": "client.key" },
          { "certificate-authority": "ca.crt" },
        )
      ).user,
      "jane",
    );
  });

  test("an authority that is not trusted is denied with a hint; skipping the check is the kubeconfig's to say", async () => {
    await assert.rejects(ask({}, {}), {
      kind: "denied",
      message: /not trusted \(.*_CERT.*|_SIGNATURE\)/,
      hint: /certificate-authority-data/,
    });
    assert.deepEqual(Object.keys(await ask({}, { "insecure-skip-tls-verify": true })), ["servername"]);
  });

  test("a certificate for another name is denied, unless tls-server-name asks for its own", async () => {
    const elsewhere = { ...trusted(), "tls-server-name": "kubernetes.example.com" };
    await assert.rejects(ask({}, elsewhere), { kind: "denied", message: /for another name/, hint: /tls-server-name/ });
    assert.equal(
      (await ask({}, { ...trusted(), "tls-server-name": "kubernetes.default.svc" })).servername,
      "kubernetes.default.svc",
    );
  });

  test("a key that doesn't belong to its certificate is denied with a hint", async () => {
    const user = { "client-certificate-data": base64(client.cert), "client-key-data": base64(authority.key) };
    await assert.rejects(ask(user, trusted()), { kind: "denied", hint: /client-key-data must fit together/ });
  });
});

suite("proxy-url", () => {
  test("leads https through a tunnel, with the proxy's password and the cluster's TLS, on kept connections", async () => {
    await using proxy = await startProxy("user:secret-token");
    const kube = connect(
      readKubeconfig(
        kubeconfig(url, {}, { "certificate-authority-data": base64(authority.cert), "proxy-url": proxy.url }),
      ),
    );
    for (let sent = 0; sent < 9; sent++) assert.equal((await kube.request({ path: "/" })).status, 200);
    await kube.close();
    assert.deepEqual([...new Set(proxy.asked)], [`CONNECT ${new URL(url).host}`]);
    assert.ok(proxy.asked.length <= 2, `${proxy.asked.length} tunnels for 9 requests`);
  });

  test("leads commands in containers through the tunnel too, with the client's certificate", async () => {
    await using proxy = await startProxy("user:secret-token");
    const user = { "client-certificate-data": base64(client.cert), "client-key-data": base64(client.key) };
    const cluster = { "certificate-authority-data": base64(authority.cert), "proxy-url": proxy.url };
    const kube = connect(readKubeconfig(kubeconfig(url, user, cluster)));
    const exec = { namespace: "a", pod: "b", container: "c", command: ["d"], timeoutMs: 5000 };
    await assert.rejects(kube.exec(exec), { kind: "denied", message: /jane may not \(403\)$/ });
    await kube.close();
    assert.deepEqual(proxy.asked, [`CONNECT ${new URL(url).host}`]);
  });

  test("leads http through a forwarding proxy", async () => {
    await using server = await serve((_, response) => response.end('{"plain":true}'));
    await using proxy = await startProxy("user:secret-token");
    assert.deepEqual(await ask({}, { "proxy-url": proxy.url }, server.url), { plain: true });
    assert.deepEqual(proxy.asked, [`GET ${server.url}/`]);
  });

  test("that refuses us or is absent is told without its password", async () => {
    await using proxy = await startProxy("user:other");
    const wrong = proxy.url.replace("other", "secret-token");
    await assert.rejects(ask({}, { "proxy-url": wrong }), (error: Error) => {
      assert.match(error.message, /through the kubeconfig's proxy-url\) can't be talked to/);
      assert.doesNotMatch(JSON.stringify(error) + error.message + error.stack, /secret-token/);
      return true;
    });
    await assert.rejects(ask({}, { "proxy-url": "http://127.0.0.1:1" }), {
      kind: "unreachable",
      message: /proxy-url\) refuses connections/,
    });
  });
});

/** A small proxy that asks for a password, tunnels CONNECT, forwards the rest, and remembers what it was asked for. */
async function startProxy(userinfo: string): Promise<AsyncDisposable & { url: string; asked: string[] }> {
  const asked: string[] = [];
  const expected = `Basic ${base64(userinfo)}`;
  const server = createHttpServer();
  server.on("connect", (request, socket) => {
    if (request.headers["proxy-authorization"] !== expected)
      return socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    asked.push(`CONNECT ${request.url}`);
    const { hostname, port } = new URL(`http://${request.url}`);
    const upstream = connectTcp(Number(port), hostname, () => {
      socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    for (const stream of [socket, upstream])
      stream.on("error", () => {}).on("close", () => void [socket.destroy(), upstream.destroy()]);
  });
  const running = await listen(server, async (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const answer = await fetch(request.url!);
    response.writeHead(answer.status).end(await answer.text());
  });
  return { ...running, asked, url: running.url.replace("//", `//${userinfo}@`) };
}
