import assert from "node:assert/strict";
import { test } from "node:test";
import { isLoopback } from "../../core/loopback.ts";

const HOSTS: [host: string, loopback: boolean][] = [
  ["127.0.0.1", true],
  ["127.9.9.9", true],
  ["::1", true],
  ["[::1]", true],
  ["::ffff:127.0.0.1", true],
  [new URL("http://[::ffff:127.0.0.1]").hostname, true],
  ["localhost", true],
  ["LocalHost", true],
  ["localhost.", false],
  ["[localhost]", false],
  ["localhost.evil.com", false],
  ["127.0.0.1.evil.com", false],
  ["127.0.0.1.", false],
  ["127.0.0.256", false],
  ["128.0.0.1", false],
  ["0.0.0.0", false],
  ["::", false],
  ["[::2]", false],
  ["::ffff:10.0.0.1", false],
  ["10.0.0.1", false],
  ["", false],
];
for (const [host, loopback] of HOSTS) {
  test(`"${host}" is ${loopback ? "" : "not "}this machine alone`, () => assert.equal(isLoopback(host), loopback));
}
