import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

const MIB = 1 << 20;

/** Fills a folder with `files` small files and one of all that a volume may hold: links, holes, owners, modes, times, devices. */
export function makeTree(dir: string, { files, largeMiB }: { files: number; largeMiB: number }): void {
  for (let index = 0; index < files; index++) {
    const folder = join(dir, "many", String(index % 100));
    if (index < 100) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `file-${index}`), `${index} ${"x".repeat(index % 300)}\n`);
  }
  const at = (name: string) => join(dir, name);
  writeFileSync(at("large"), randomBytes(largeMiB * MIB));
  const sparse = openSync(at("sparse"), "w");
  writeSync(sparse, "begin");
  writeSync(sparse, "end", 64 * MIB);
  ftruncateSync(sparse, 128 * MIB);
  closeSync(sparse);
  writeFileSync(at("empty"), "");
  writeFileSync(at("häßlich \n\t'name\""), "x");
  writeFileSync(Buffer.concat([Buffer.from(at("no-utf8-")), Buffer.from([0xff, 0xfe])]), "x");
  symlinkSync("large", at("link"));
  symlinkSync("/nowhere/at all", at("dangling"));
  writeFileSync(at("twin-1"), "twins");
  linkSync(at("twin-1"), at("twin-2"));
  mkdirSync(at("empty-folder"));
  execFileSync("mkfifo", [at("pipe")]);
  execFileSync("mknod", [at("null"), "c", "1", "3"]);
  python("os.setxattr(sys.argv[1], 'user.colour', b'blue')", at("twin-1"));
  const MODES = { private: 0o600, nobody: 0o000, setuid: 0o4755, setgid: 0o2750, all: 0o7777, odd: 0o1421 };
  for (const [index, [name, mode]] of Object.entries(MODES).entries()) {
    writeFileSync(at(name), name);
    chownSync(at(name), 1000 + index, 70_000 + index);
    chmodSync(at(name), mode);
    utimesSync(at(name), 1e9 + index, 1e9 + index + 0.123456);
  }
  lutimesSync(at("link"), 5e8, 5e8);
  mkdirSync(at("sticky"));
  chownSync(at("sticky"), 999, 999);
  chmodSync(at("sticky"), 0o3770);
  utimesSync(at("sticky"), 1e9, 1e9);
  chownSync(dir, 26, 26);
  chmodSync(dir, 0o2751);
  utimesSync(dir, 1.1e9, 1.1e9);
}

/** All that tells an entry of a tree from another, by its path ("" is the root): a line each. */
export function readTree(dir: string): Map<string, string> {
  const tree = new Map<string, string>();
  const inodes = new Map<bigint, string>();
  const visit = (path: Buffer, name: string) => {
    const { mode, uid, gid, size, mtimeNs, ino, nlink, rdev } = lstatSync(path, { bigint: true });
    const kind = Number(mode & 0o170000n);
    const isFile = kind === 0o100000;
    const content = isFile ? createHash("sha256").update(readFileSync(path)).digest("hex") : "";
    const target = kind === 0o120000 ? readlinkSync(path, "latin1") : "";
    const first = isFile && nlink > 1n ? (inodes.get(ino) ?? name) : "";
    if (first) inodes.set(ino, first);
    const of = { mode: mode.toString(8), uid, gid, mtimeNs, size: isFile ? size : 0, rdev, content, target, first };
    tree.set(
      name,
      Object.entries(of)
        .map(([key, value]) => `${key}=${value}`)
        .join(" "),
    );
    if (kind !== 0o040000) return;
    for (const entry of readdirSync(path, { encoding: "buffer" }).sort(Buffer.compare))
      visit(Buffer.concat([path, Buffer.from("/"), entry]), `${name}/${entry.toString("latin1")}`);
  };
  visit(Buffer.from(dir), "");
  tree.set("attributes", python("print(os.getxattr(sys.argv[1], 'user.colour'))", join(dir, "twin-1")));
  return tree;
}

/** Extended attributes are what Node doesn't know. */
function python(line: string, ...args: string[]): string {
  return execFileSync("python3", ["-c", `import os, sys; ${line}`, ...args], { encoding: "utf8" });
}

/** The bytes that a file takes on its disk, holes not counted. */
export function bytesOnDisk(path: string): number {
  return lstatSync(path).blocks * 512;
}
