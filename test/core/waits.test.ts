import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type AwaitedCopy, looking } from "../../core/backup/waits.ts";
import type { Doing } from "../../core/volumes/doing.ts";

const CUT = "waits for its snapshot to be cut";
const SILENT: Doing = { what: CUT, why: "the CSI driver has not answered" };
const copy = (name: string, doing: Doing): AwaitedCopy & { now: Doing } => {
  const one = { name: `shop/${name}`, now: doing, doing: () => one.now };
  return one;
};
const read = (bytes: number, totalBytes: number): Doing => {
  return { what: "waits for restic", progress: { bytes, totalBytes } };
};
const MIB = 1 << 20;

describe("what copies wait for", () => {
  it("is told once it lasts, then every half a minute, with the reason as it is then", () => {
    const look = looking(1);
    const db = copy("db", SILENT);
    const told = (seconds: number) => look([db], seconds * 1000);
    assert.deepEqual(told(0), []);
    assert.deepEqual(told(14), []);
    assert.deepEqual(told(15), [`claim shop/db ${CUT}, since 15 s: the CSI driver has not answered`]);
    db.now = { what: CUT, why: "no quota" };
    assert.deepEqual(told(30), []);
    assert.deepEqual(told(45), [`claim shop/db ${CUT}, since 45 s: no quota`]);
    assert.deepEqual(told(7530), [`claim shop/db ${CUT}, since 2h5m: no quota`]);
  });

  it("begins anew with what comes next", () => {
    const look = looking(1);
    const db = copy("db", SILENT);
    for (const seconds of [0, 15]) look([db], seconds * 1000);
    db.now = { what: "waits for its snapshot to be ready to use" };
    assert.deepEqual(look([db], 30_000), []);
    assert.deepEqual(look([db], 45_000), ["claim shop/db waits for its snapshot to be ready to use, since 15 s"]);
  });

  it("is one line for all that wait for the same, and each is in one line in half a minute", () => {
    const look = looking(4);
    const copies = [copy("a", SILENT), copy("b", SILENT), copy("c", { what: "waits for its turn" })];
    assert.deepEqual(look(copies, 0), []);
    copies.push(copy("d", SILENT));
    assert.deepEqual(look(copies, 15_000), [
      `2 of 4 claims: each ${CUT}, shop/a since 15 s: the CSI driver has not answered`,
      "claim shop/c waits for its turn, since 15 s",
    ]);
    assert.deepEqual(look(copies, 30_000), [`claim shop/d ${CUT}, since 15 s: the CSI driver has not answered`]);
  });

  it("of restic is how far it has come, of several together", () => {
    const look = looking(2);
    const copies = [copy("a", read(0, 0)), copy("b", read(0, 0))];
    look(copies, 0);
    for (const one of copies) one.now = read(20 * MIB, 1024 * MIB);
    assert.deepEqual(look(copies, 15_000), [
      "2 of 2 claims: each waits for restic, 40.0 MiB of 2.0 GiB, shop/a since 15 s",
    ]);
    assert.deepEqual(look(copies.slice(1), 75_000), [
      "claim shop/b waits for restic, 20.0 MiB of 1.0 GiB, since 1m15s",
    ]);
  });
});
