import { execFile } from "node:child_process";
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { promisify } from "node:util";
import type { Command } from "commander";
import { parse } from "yaml";
import { closeOptionalValues } from "../../functions/cli/options.ts";
import { createProgram } from "../../functions/cli/program.ts";
import { blocksOf } from "../infra/blocks.ts";
import { commandsOf, type ShellCommand } from "./shell.ts";

const run = promisify(execFile);

/** A page of the documentation: `path` from the repository's root. */
export interface Page {
  path: string;
  text: string;
}

/** What is wrong on a page, and where. */
export interface Finding {
  at: string;
  reason: string;
}

interface Fence {
  language: string;
  /** Of its first line. */
  line: number;
  lines: string[];
}

/** What the commands of a page have been up to so far: they are read from top to bottom, from the repository's root. */
interface Reading {
  root: string;
  /** Where the page's `cd` have led, from the root. */
  cwd: string;
  /** The page without its fenced blocks, where placeholders are explained. */
  prose: string;
  /** Names that the page's commands have set so far. */
  variables: Set<string>;
}

const SHELL = new Set(["sh", "bash", "console", ""]);

/** The programs that pages may ask for. Others are a typing error, or belong here and among what the page says it needs. */
const PROGRAMS = new Set(
  `age age-keygen aws az bash cat cd cp curl date eval export gcloud git grep kubectl lifeboat ls mkdir mv node npm npx openssl rm
  sed sha256sum sleep tar terraform unset xargs`.split(/\s+/),
);

/** Environment variables that are explained by those who read them. */
const KNOWN_VARIABLE = /^(AWS|AZURE|CLOUDSDK|GOOGLE|LIFEBOAT|TF)_[A-Z_]+$|^(HOME|KUBECONFIG|PATH|PWD|USER)$/;

/** Words in capitals that stand for nothing else. */
const NO_PLACEHOLDER = /^(GET|POST|PUT|DELETE|PATCH|AWS_\w+|LIFEBOAT_\w+|CRON_TZ|JSON)$/;

/** Spans of OpenTelemetry, which are no commands. */
const TRACES = new Set(["survey", "capture", "commit", "plan", "keep", "write"].map((name) => `lifeboat ${name}`));

const REPOSITORY_PATH = /^(?:\.\.?\/)*(?:\.ci|bench|core|docs|functions|infra|test)\/[\w./*-]*$/;

/** All that is wrong with the commands, paths and links of a page; `root` is the repository. */
export async function findingsOf({ path, text }: Page, root: string): Promise<Finding[]> {
  const fences = fencesOf(text);
  const lines = text.split("\n");
  for (const { line, lines: inside } of fences) lines.fill("", line - 1, line - 1 + inside.length);
  const prose = lines.join("\n");
  const reading: Reading = { root, cwd: ".", prose, variables: new Set() };
  const findings: Finding[] = [];
  const find = (line: number, reasons: string[]) =>
    findings.push(...reasons.map((reason) => ({ at: `${path}:${line}`, reason })));

  for (const fence of fences.filter(({ language }) => SHELL.has(language))) {
    const script = scriptOf(fence);
    const fault = await syntaxFault(script);
    if (fault) find(fence.line, [fault]);
    else
      for (const command of commandsOf(script, fence.line)) find(command.line, await faultsOf(command, reading, fence));
  }
  for (const [at, line] of lines.entries()) {
    for (const [, span = ""] of line.matchAll(/`([^`]+)`/g)) find(at + 1, await spanFaults(span, text, root));
    for (const [, target = ""] of line.matchAll(/\]\(([^)\s]+)\)/g)) find(at + 1, linkFaults(target, path, root));
  }
  return findings;
}

/** The commands in the blocks of a page's shells, without what they set before their names. */
export function commandsIn({ text }: Page): string[][] {
  const scripts = fencesOf(text)
    .filter(({ language }) => SHELL.has(language))
    .map(scriptOf);
  return scripts
    .flatMap((script) => commandsOf(script))
    .map(({ words }) => words.filter((word) => !/^\w+=/.test(word)));
}

/** One command that is typed into a console, and the lines that the page shows for its answer. */
export interface Typed {
  command: string;
  answer: string[];
}

/** What the page types into consoles, block by block, each with the heading that it stands below. */
export function consolesIn({ text }: Page): { heading: string; typed: Typed[] }[] {
  const lines = text.split("\n");
  return fencesOf(text)
    .filter(({ language }) => language === "console")
    .map((fence) => {
      const heading = lines.slice(0, fence.line).findLast((line) => line.startsWith("## ")) ?? "";
      const script = scriptOf(fence).split("\n");
      const typed: Typed[] = [];
      for (const [at, line] of fence.lines.entries()) {
        const last = typed.at(-1);
        if (line.startsWith("$ ")) typed.push({ command: script[at]!, answer: [] });
        else if (script[at] && last) last.command += `\n${script[at]}`;
        else last?.answer.push(line);
      }
      return { heading: heading.replace(/^## /, ""), typed };
    });
}

function fencesOf(text: string): Fence[] {
  const fences: Fence[] = [];
  let open: Fence | undefined;
  for (const [at, line] of text.split("\n").entries()) {
    const fence = /^ *```(\w*)/.exec(line);
    if (!fence) open?.lines.push(line);
    else if (open) open = undefined;
    else {
      open = { language: fence[1]!, line: at + 2, lines: [] };
      fences.push(open);
    }
  }
  return fences;
}

/** The commands of a block as a script with the same lines: of a session in a console only what is typed. */
function scriptOf({ language, lines }: Fence): string {
  if (language !== "console") return lines.join("\n");
  let typing = false;
  const typed = lines.map((line) => {
    const entered = typing ? line : /^\$ (.*)/.exec(line)?.[1];
    typing = entered?.endsWith("\\") ?? false;
    return entered ?? "";
  });
  return typed.join("\n");
}

async function syntaxFault(script: string): Promise<string | undefined> {
  const checking = run("bash", ["-n"]);
  checking.child.stdin?.end(script);
  return checking.then(
    () => undefined,
    (error) => `no shell takes it: ${error.stderr.trim()}`,
  );
}

async function faultsOf({ words: all, line }: ShellCommand, reading: Reading, fence: Fence): Promise<string[]> {
  const { root, cwd, variables } = reading;
  const assigned = all.findIndex((word) => !/^\w+=/.test(word));
  const words = assigned === -1 ? [] : all.slice(assigned);
  const [program = "", ...args] = words;
  const faults = placeholderFaults(all, reading, fence, line);
  for (const word of [...all.slice(0, assigned === -1 ? undefined : assigned), ...(program === "export" ? args : [])])
    variables.add(word.replace(/=[\s\S]*/, ""));
  if (program === "for") variables.add(args[0] ?? "");
  if (words.length === 0 || program === "for") return faults;
  if (!PROGRAMS.has(program)) return [...faults, `${program} is no program that the pages know of`];
  if (program === "cd") return [...faults, ...changeFolder(args[0] ?? "", reading)];
  for (const word of args) {
    const named = word.replace(/^(@|file:\/\/|file:)/, "");
    if (REPOSITORY_PATH.test(named) && globSync(join(root, cwd, named)).length === 0)
      faults.push(`${named} is not in ${folderText(cwd)}`);
  }
  const special: Record<string, () => string[] | Promise<string[]>> = {
    lifeboat: () => lifeboatFaults(args),
    npx: () => npxFaults(args, root),
    npm: () => npmFaults(args, root),
    node: () =>
      args[0]?.startsWith("-") || existsSync(join(root, cwd, args[0] ?? ""))
        ? []
        : [`${args[0]} is not in ${folderText(cwd)}`],
    terraform: () => terraformFaults(args, root, cwd),
  };
  return [...faults, ...((await special[program]?.()) ?? [])];
}

const folderText = (cwd: string) => (cwd === "." ? "the repository's root" : cwd);

function changeFolder(to: string, reading: Reading): string[] {
  const cwd = to === "$(git rev-parse --show-toplevel)" ? "." : normalize(join(reading.cwd, to));
  if (!existsSync(join(reading.root, cwd)) || cwd.startsWith(".."))
    return [`cd ${to}: there is no such folder in ${folderText(reading.cwd)}, where the page's commands are by now`];
  reading.cwd = cwd;
  return [];
}

/** Words in capitals that the page's prose doesn't explain, dots for what the reader can't know, variables that nobody has set. */
function placeholderFaults(words: string[], { prose, variables }: Reading, fence: Fence, line: number): string[] {
  const faults: string[] = [];
  const above = fence.lines.slice(0, line - fence.line).join("\n");
  for (const word of words.slice(1)) {
    for (const [, name = ""] of word.matchAll(/(?<![\w$.{/-])([A-Z][A-Z0-9_]{2,})(?![\w=])/g))
      if (!NO_PLACEHOLDER.test(name) && !new RegExp(`\\b${name}\\b`).test(prose))
        faults.push(`${name} is nowhere explained`);
    if (/<[a-z][\w -]*>/.test(word)) faults.push(`${word}: write what stands for something else in capitals`);
    if (word.includes("…") && !above.includes(word))
      faults.push(`${word}: the reader can't know what the dots stand for`);
    for (const [, name = ""] of word.matchAll(/\$\{?(\w+)/g))
      if (!KNOWN_VARIABLE.test(name) && !variables.has(name)) faults.push(`$${name} is set nowhere before`);
  }
  return faults;
}

/** The command line's own tree, whose commands do nothing. */
function silentProgram(): Command {
  const program = createProgram(new AbortController().signal);
  const silence = (command: Command) => {
    command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
    if (command.commands.length === 0) command.action(() => {});
    command.commands.forEach(silence);
  };
  silence(program);
  return program;
}

/** What the command line's own parser says of these arguments. */
async function lifeboatFaults(args: string[]): Promise<string[]> {
  const program = silentProgram();
  try {
    await program.parseAsync(closeOptionalValues(args, program), { from: "user" });
    return [];
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return ["commander.version", "commander.helpDisplayed"].includes(code)
      ? []
      : [`lifeboat ${args.join(" ")}: ${message.replace(/^error: |\n[\s\S]*/g, "")}`];
  }
}

/** Of a command in running text, which may be cut short: whether command and flags exist. */
function lifeboatNameFaults(args: string[]): string[] {
  let command = silentProgram();
  const names = ["lifeboat"];
  const flags = new Set<string>();
  const note = () => {
    for (const { long, short } of command.options) flags.add(long ?? "").add(short ?? "");
  };
  note();
  for (const arg of args) {
    if (arg === "--") break;
    const flag = arg.replace(/=.*/, "");
    if (/^--?[a-z]/.test(arg) && !flags.has(flag) && !["--help", "-h"].includes(flag))
      return [`${names.join(" ")} has no flag ${flag}`];
    const next = command.commands.find((child) => child.name() === arg);
    if (next) {
      command = next;
      names.push(arg);
      note();
    } else if (command.commands.length > 0 && /^[a-z]+$/.test(arg)) return [`${names.join(" ")} has no command ${arg}`];
  }
  return [];
}

function npxFaults([program = "", ...args]: string[], root: string): string[] | Promise<string[]> {
  if (program === "lifeboat") return lifeboatFaults(args);
  if (program === "--yes") return oslsFaults(args, root);
  return existsSync(join(root, "node_modules/.bin", program)) ? [] : [`npx ${program}: no package here has it`];
}

function npmFaults([verb = "", script = ""]: string[], root: string): string[] {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  if (verb === "run") return script in scripts ? [] : [`package.json has no script ${script}`];
  return ["ci", "install", "pack", "test"].includes(verb) ? [] : [`npm ${verb} is not what a page should ask for`];
}

/** Of osls, which isn't installed here: only in the version that the rig has, and with settings that serverless.yml takes. */
function oslsFaults([program = "", , ...args]: string[], root: string): string[] {
  const read = (path: string) => readFileSync(join(root, path), "utf8");
  const tested = `osls@${JSON.parse(read("test/rig/npm/osls/package.json")).dependencies.osls}`;
  const { params } = parse(read("serverless.yml"), { logLevel: "silent" });
  const named = args.filter((_, at) => args[at - 1] === "--param").map((setting) => setting.split("=", 1)[0] ?? "");
  return [
    ...(program === tested ? [] : [`npx --yes ${program}: ${tested} is what is tested`]),
    ...named
      .filter((name) => name !== "bucket" && !Object.hasOwn(params.default, name))
      .map((name) => `osls --param ${name}: serverless.yml has no such setting`),
  ];
}

async function terraformFaults(given: string[], root: string, cwd: string): Promise<string[]> {
  const elsewhere = /^-chdir=(.*)/.exec(given[0] ?? "")?.[1];
  const args = given.slice(elsewhere === undefined ? 0 : 1);
  const where = folderText(join(cwd, elsewhere ?? "."));
  const folder = join(root, cwd, elsewhere ?? ".");
  const [verb = ""] = args;
  if (globSync(join(folder, "*.tf")).length === 0) return [`terraform ${verb} in ${where}, which has no *.tf`];
  if (verb === "output") {
    const outputs = (await blocksOf(folder, "output")).map(({ name }) => name);
    const asked = args.slice(1).filter((arg) => !arg.startsWith("-"));
    return asked.filter((name) => !outputs.includes(name)).map((name) => `${where} has no output ${name}`);
  }
  if (!["apply", "plan", "destroy"].includes(verb)) return [];
  const variables = await blocksOf(folder, "variable");
  const set = args.flatMap((arg, at) =>
    /^--?var$/.test(args[at - 1] ?? "") ? [arg] : (/^--?var=(.*)/.exec(arg)?.[1] ?? []),
  );
  const names = set.map((one) => one.replace(/=[\s\S]*/, ""));
  const unknown = names.filter((name) => !variables.some((one) => one.name === name));
  const missing = variables.filter((one) => one.default === undefined && !names.includes(one.name));
  return [
    ...unknown.map((name) => `${where} has no variable ${name}`),
    ...(args.some((arg) => /^--?var-file/.test(arg))
      ? []
      : missing.map(({ name }) => `terraform ${verb} lacks -var ${name}`)),
  ];
}

/** What is wrong with code in running text: commands of ours, outputs of the page's examples, files of the repository. */
async function spanFaults(span: string, page: string, root: string): Promise<string[]> {
  const text = span.replaceAll("\\|", "|");
  const ours = TRACES.has(text) ? undefined : /^(?:npx )?lifeboat (.*)/.exec(text);
  if (ours) return lifeboatNameFaults(commandsOf(ours[1]!)[0]?.words ?? []);
  const script = /^npm run ([\w-]+)/.exec(text)?.[1];
  if (script) return npmFaults(["run", script], root);
  const [, program = text] = /^node (\S+)/.exec(text) ?? [];
  if (REPOSITORY_PATH.test(program) && globSync(join(root, program)).length === 0)
    return [`${program} is not in the repository`];
  const output = /^terraform output -raw (\w+)/.exec(text)?.[1];
  if (!output) return [];
  const examples = [...page.matchAll(/infra\/examples\/[\w-]+/g)]
    .map(([path]) => join(root, path))
    .filter((path) => existsSync(path));
  const outputs = (await Promise.all(examples.map((path) => blocksOf(path, "output")))).flat();
  return outputs.some(({ name }) => name === output) ? [] : [`none of the page's examples has an output ${output}`];
}

function linkFaults(target: string, page: string, root: string): string[] {
  if (/^[a-z]+:/.test(target)) return [];
  const [file = "", anchor] = target.split("#");
  const path = file === "" ? join(root, page) : join(root, dirname(page), file);
  if (!existsSync(path) || relative(root, path).startsWith("..")) return [`${file} is not there`];
  if (anchor === undefined || statSync(path).isDirectory()) return [];
  const headings = [...readFileSync(path, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(/\s/g, "-"),
  );
  return headings.includes(anchor) ? [] : [`${file} has no heading #${anchor}`];
}
