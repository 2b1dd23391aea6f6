import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { describe, it } from "node:test";
import { readKubeconfig } from "../../core/kube/kubeconfig.ts";
import type { PodExec } from "../../core/kube/podexec.ts";
import { client, kubeconfig, listen } from "./kube-server.ts";

/** What the server does with one request for a WebSocket. */
type Answer = (request: IncomingMessage, socket: Duplex) => void;

/** A real server of WebSockets that gives its answers in turn, the last one for good. */
async function serve(...answers: Answer[]) {
  const requests: IncomingMessage[] = [];
  const sockets: Duplex[] = [];
  const http = createServer().on("upgrade", (request, socket) => {
    requests.push(request);
    sockets.push(socket);
    socket.on("error", () => {}).on("end", () => socket.end());
    answers[Math.min(requests.length, answers.length) - 1]!(request, socket);
    socket.resume();
  });
  const { url, ...server } = await listen(http, (_, response) => response.end());
  return {
    url,
    requests,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

const accepted = (key: string) =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

/** Accepts in the best of these protocols that is offered, then sends the bytes. */
const accept =
  (parts: (Buffer | "end")[], known = ["v5.channel.k8s.io", "v4.channel.k8s.io"]): Answer =>
  (request, socket) => {
    const protocol = request.headers["sec-websocket-protocol"]!.split(", ").find((offered) => known.includes(offered));
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accepted(request.headers["sec-websocket-key"]!)}\r\n${protocol ? `Sec-WebSocket-Protocol: ${protocol}\r\n` : ""}\r\n`,
    );
    for (const part of parts) part === "end" ? socket.destroy() : socket.write(part);
  };

const refuse =
  (code: number, reason: string, message: string, headers = ""): Answer =>
  (_, socket) => {
    const body = JSON.stringify({ kind: "Status", status: "Failure", code, reason, message });
    socket.end(`HTTP/1.1 ${code} No\r\nContent-Length: ${body.length}\r\n${headers}Connection: close\r\n\r\n${body}`);
  };

/** A frame as servers send it: unmasked. */
function frame(payload: Buffer, first = 0x82): Buffer {
  const { length } = payload;
  const size =
    length < 126
      ? Buffer.from([length])
      : length < 65_536
        ? Buffer.from([126, length >> 8, length & 0xff])
        : Buffer.concat([Buffer.from([127]), bigEndian(length)]);
  return Buffer.concat([Buffer.from([first]), size, payload]);
}

function bigEndian(length: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(length));
  return bytes;
}

const channel = (number: number, text: string) => Buffer.from(`${String.fromCharCode(number)}${text}`);
const status = (body: object) => frame(channel(3, JSON.stringify({ metadata: {}, ...body })));
const SUCCESS = status({ status: "Success" });
const exit = (code: number) =>
  status({
    status: "Failure",
    reason: "NonZeroExitCode",
    message: "command terminated with non-zero exit code",
    details: { causes: [{ reason: "ExitCode", message: String(code) }] },
  });

const exec = (more: Partial<PodExec> = {}): PodExec => ({
  namespace: "shop",
  pod: "db-0",
  container: "db",
  command: ["sh", "-c", "a & b"],
  timeoutMs: 5000,
  ...more,
});

describe("a command in a container", () => {
  it("is asked for with its words, the credentials and both protocols", async () => {
    await using server = await serve(accept([SUCCESS]));
    await using kube = client(server);
    assert.deepEqual(await kube.exec(exec()), { exitCode: 0, stdout: "", stderr: "" });
    const { url, headers } = server.requests[0]!;
    assert.equal(
      url,
      "/api/v1/namespaces/shop/pods/db-0/exec?container=db&stdout=true&stderr=true&command=sh&command=-c&command=a+%26+b",
    );
    assert.equal(headers.authorization, "Bearer secret-token");
    assert.equal(headers["sec-websocket-protocol"], "v5.channel.k8s.io, v4.channel.k8s.io");
  });

  it("gives its output and exit code, in the older protocol too, whatever the frames", async () => {
    const [start, end] = [Buffer.from("\u0001on"), Buffer.from("e\n")];
    const parts = [
      frame(channel(1, "")),
      frame(start, 0x02),
      frame(Buffer.from("ping"), 0x89),
      frame(end, 0x80),
      frame(channel(2, "x".repeat(200))),
      frame(channel(1, `${"y".repeat(70_000)}z`)),
      exit(3),
    ];
    const bytes = Buffer.concat(parts);
    for (const split of [
      parts,
      [bytes],
      [...bytes.subarray(0, 600)].map((byte) => Buffer.from([byte])).concat(bytes.subarray(600)),
    ]) {
      await using server = await serve(accept(split, ["v4.channel.k8s.io"]));
      await using kube = client(server);
      const { exitCode, stdout, stderr } = await kube.exec(exec());
      assert.deepEqual([exitCode, stderr], [3, "x".repeat(200)]);
      assert.equal(stdout, `[65909 bytes left out] ${"y".repeat(4 * 1024 - 1)}z`, "the end of what it wrote");
    }
  });

  it("answers a ping", async () => {
    const pong = Promise.withResolvers<Buffer>();
    await using server = await serve((request, socket) => {
      accept([frame(Buffer.from("hi"), 0x89)])(request, socket);
      socket.once("data", (bytes: Buffer) => {
        pong.resolve(bytes);
        socket.write(SUCCESS);
      });
    });
    await using kube = client(server);
    await kube.exec(exec());
    const bytes = await pong.promise;
    const [first, length, ...rest] = bytes;
    assert.deepEqual([first, length], [0x8a, 0x82]);
    assert.equal(String.fromCharCode(rest[4]! ^ rest[0]!, rest[5]! ^ rest[1]!), "hi");
  });

  const failing: { name: string; answer: Answer; kind: string; message: RegExp; hint?: RegExp; requests?: number }[] = [
    {
      name: "a connection cut before its end",
      answer: accept([frame(channel(1, "half")), "end"]),
      kind: "unreachable",
      message:
        /^the connection to the command in container db of pod shop\/db-0 ended before it: the connection was cut$/,
      hint: /may go on/,
    },
    {
      name: "a connection closed before its end",
      answer: accept([frame(Buffer.from("\u0003\u00e8bye", "latin1"), 0x88)]),
      kind: "unreachable",
      message: /closed it \(1000, bye\)$/,
    },
    {
      name: "bytes that are no frame",
      answer: accept([Buffer.from("HTTP/1.1 200 OK")]),
      kind: "unreachable",
      message: /no WebSocket frame$/,
    },
    {
      name: "a node that can't be reached",
      answer: accept([status({ status: "Failure", code: 500, reason: "InternalError", message: "dial tcp: refused" })]),
      kind: "unreachable",
      message: /^the API server did not run the command in container db of pod shop\/db-0: dial tcp: refused \(500\)$/,
    },
    {
      name: "no rights",
      answer: refuse(403, "Forbidden", 'pods "db-0" is forbidden: User "x" cannot create resource "pods/exec"'),
      kind: "denied",
      message: /cannot create resource "pods\/exec" \(403\)$/,
    },
    { name: "no Pod", answer: refuse(404, "NotFound", 'pods "db-0" not found'), kind: "missing", message: /not found/ },
    {
      name: "credentials that stay refused",
      answer: refuse(401, "Unauthorized", "Unauthorized"),
      kind: "denied",
      message: /Unauthorized/,
      requests: 2,
    },
    {
      name: "a protocol nobody asked for",
      answer: accept([SUCCESS], []),
      kind: "unreachable",
      message: /opened no WebSocket for the command: it chose the protocol ""$/,
    },
    {
      name: "a request cut",
      answer: (_, socket) => socket.destroy(),
      kind: "unreachable",
      message: /cut the connection/,
    },
  ];
  for (const { name, answer, kind, message, hint = /./, requests = 1 } of failing) {
    it(`is told to have failed by ${name}, and isn't run again`, async () => {
      await using server = await serve(answer);
      await using kube = client(server);
      await kube.request({ path: "/version" });
      await assert.rejects(kube.exec(exec()), (error: { kind: string; message: string; hint?: string }) => {
        assert.equal(error.kind, kind);
        assert.match(error.message, message);
        assert.match(error.hint ?? "-", hint);
        return true;
      });
      assert.equal(server.requests.length, requests);
    });
  }

  it("is sent again where it was not begun: after a 429, and with new credentials after a 401", async () => {
    await using server = await serve(
      refuse(401, "Unauthorized", "Unauthorized"),
      refuse(429, "TooManyRequests", "slow down", "Retry-After: 0\r\n"),
      accept([SUCCESS]),
    );
    const fresh = readKubeconfig(kubeconfig(server.url, { token: "fresh" }));
    await using kube = client(server, { reload: async () => fresh });
    assert.equal((await kube.exec(exec())).exitCode, 0);
    assert.deepEqual(
      server.requests.map(({ headers }) => headers.authorization),
      ["Bearer secret-token", "Bearer fresh", "Bearer fresh"],
    );
  });

  it("ends with its time, with its signal and with the client, and leaves no connection behind", async () => {
    for (const hangs of [accept([frame(channel(1, "working"))]), () => {}]) {
      const gone: Promise<void>[] = [];
      await using server = await serve((request, socket) => {
        gone.push(new Promise((resolve) => socket.once("close", resolve)));
        hangs(request, socket);
      });
      const kube = client(server);
      await assert.rejects(kube.exec(exec({ timeoutMs: 100 })), {
        kind: "timeout",
        message: "the command in container db of pod shop/db-0 did not end within 0.1 s",
      });
      const reason = new Error("enough");
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 100);
      await assert.rejects(kube.exec(exec({ signal: controller.signal })), reason);
      await assert.rejects(kube.exec(exec({ signal: AbortSignal.abort(reason) })), reason);
      setTimeout(() => kube.close(), 100);
      await assert.rejects(kube.exec(exec()), { kind: "unreachable", message: /is closed$/ });
      await Promise.all(gone);
    }
  });
});
