import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** A variable or an output of a Terraform module. */
export interface Block {
  name: string;
  description: string;
  type: string;
  default?: string;
}

/** The variables or outputs of a module, as `terraform fmt` writes them. */
export async function blocksOf(folder: string, kind: "variable" | "output"): Promise<Block[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".tf")).sort();
  const text = (await Promise.all(files.map((name) => readFile(join(folder, name), "utf8")))).join("\n");
  return [...text.matchAll(new RegExp(`^${kind} "(\\w+)" \\{\\n(.*?)^\\}`, "gms"))].map(([, name = "", body = ""]) => {
    const field = (wanted: string) => new RegExp(`^  ${wanted} += (.*)$`, "m").exec(body)?.[1];
    const description = JSON.parse(field("description") ?? '""');
    return { name, description, type: (field("type") ?? "").replace(/\(?[{(]+$/, ""), default: field("default") };
  });
}
