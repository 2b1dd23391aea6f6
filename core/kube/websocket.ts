import { createHash, randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";

/** What asks for a WebSocket (RFC 6455), and what then proves that the other side understood. */
export interface Handshake {
  headers: Record<string, string>;
  /** The `Sec-WebSocket-Accept` that must come. */
  accept: string;
}

/** A handshake that offers these subprotocols, the best one first. */
export function handshake(protocols: string[]): Handshake {
  const key = randomBytes(16).toString("base64");
  return {
    headers: {
      "sec-websocket-version": "13",
      "sec-websocket-key": key,
      "sec-websocket-protocol": protocols.join(", "),
    },
    accept: createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64"),
  };
}

/** What is heard on a WebSocket. */
export interface Hearing {
  message(payload: Buffer): void;
  /** Once, and nothing after it: the other side ended it, broke the rules, or the connection broke. */
  closed(why: string): void;
}

const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };
/** Far above what servers send at once; what says to be longer is no frame. */
const MOST_BYTES = 16 << 20;
/** Something in between may cut what is silent for a minute. */
const PING_MS = 20_000;
const CLOSE_NORMALLY = Buffer.from([0x03, 0xe8]);

/**
 * Listens on a connection that has become a WebSocket: joins fragments, answers pings, keeps the way open by pings of its
 * own. Gives the function that ends it. Only what `exec` needs is here: messages are heard, never sent. (undici's WebSocket
 * says neither status nor body of a refused handshake, and its import costs what send.ts avoids.)
 */
export function hearWebSocket(socket: Duplex, hearing: Hearing): () => void {
  let unread: Buffer = Buffer.alloc(0);
  let fragments: Buffer[] = [];
  let held = 0;
  let over = false;
  const pinging = setInterval(() => socket.write(controlFrame(OPCODES.ping)), PING_MS);
  const end = (why?: string) => {
    if (over) return;
    over = true;
    clearInterval(pinging);
    socket.end(controlFrame(OPCODES.close, CLOSE_NORMALLY), () => socket.destroy());
    if (why !== undefined) hearing.closed(why);
  };
  const hear = ({ opcode, final, payload }: Frame) => {
    if (opcode === OPCODES.ping) socket.write(controlFrame(OPCODES.pong, payload));
    else if (opcode === OPCODES.close) end(closeReason(payload));
    else if (opcode !== OPCODES.pong) {
      fragments.push(payload);
      held += payload.length;
      if (held > MOST_BYTES) return end("it sent a message without end");
      if (!final) return;
      const message = Buffer.concat(fragments);
      fragments = [];
      held = 0;
      hearing.message(message);
    }
  };
  socket.on("data", (chunk: Buffer) => {
    unread = unread.length ? Buffer.concat([unread, chunk]) : chunk;
    for (let next = readFrame(unread); next && !over; next = readFrame(unread)) {
      if (next === "broken") return end("it sent what is no WebSocket frame");
      unread = unread.subarray(next.size);
      hear(next);
    }
  });
  socket.on("error", () => {});
  socket.on("close", () => end("the connection was cut"));
  return () => end();
}

interface Frame {
  opcode: number;
  final: boolean;
  payload: Buffer;
  /** Of the whole frame. */
  size: number;
}

/** The first frame of the bytes; undefined where it isn't whole yet. Servers don't mask. */
function readFrame(bytes: Buffer): Frame | "broken" | undefined {
  if (bytes.length < 2) return undefined;
  const [first, second] = [bytes[0]!, bytes[1]!];
  if (first & 0x70 || second & 0x80) return "broken";
  const start = second === 126 ? 4 : second === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const length =
    second === 126 ? bytes.readUInt16BE(2) : second === 127 ? Number(bytes.readBigUInt64BE(2)) : second & 0x7f;
  if (length > MOST_BYTES) return "broken";
  if (bytes.length < start + length) return undefined;
  return {
    opcode: first & 0x0f,
    final: (first & 0x80) !== 0,
    payload: bytes.subarray(start, start + length),
    size: start + length,
  };
}

/** A control frame as clients send it, masked; its payload has at most 125 bytes. */
function controlFrame(opcode: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const mask = randomBytes(4);
  const masked = payload.map((byte, at) => byte ^ mask[at % 4]!);
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, masked]);
}

function closeReason(payload: Buffer): string {
  if (payload.length < 2) return "the other side closed it";
  const reason = payload.toString("utf8", 2);
  return `the other side closed it (${payload.readUInt16BE(0)}${reason && `, ${reason}`})`;
}
