import { readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/**
 * A process that serves the function `target` of the folder `dir` on 127.0.0.1 and writes its URL to the file
 * `address`. The framework's own command would listen on every interface.
 */
const [dir = "", target = "", address = ""] = process.argv.slice(2);
const { main } = JSON.parse(await readFile(join(dir, "package.json"), "utf8"));
const entry = join(dir, main);
const { getTestServer } = createRequire(entry)("@google-cloud/functions-framework/testing");
await import(pathToFileURL(entry).href);
const server = getTestServer(target);
server.listen(0, "127.0.0.1", async () => {
  const { port } = server.address() as AddressInfo;
  await writeFile(`${address}.new`, `http://127.0.0.1:${port}`);
  await rename(`${address}.new`, address);
});
