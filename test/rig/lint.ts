import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { binary } from "./binaries.ts";
import { pythonWith } from "./pythontool.ts";

const run = promisify(execFile);

/** A fault that a linter finds: its rule (`terraform_typed_variables`, `CKV_AWS_20`), and the lines it is in. */
export interface Fault {
  rule: string;
  /** Relative to the folder that was looked at. */
  file: string;
  /** First and last line, from 1. */
  lines: [number, number];
  message: string;
}

interface TflintReport {
  issues: {
    rule: { name: string };
    message: string;
    range: { filename: string; start: { line: number }; end: { line: number } };
  }[];
  errors: { message: string }[];
}

/** What tflint finds in every module in `dir`, by the rules of the file `config`. Rejects where a module can't be read. */
export async function tflint(dir: string, config: string): Promise<Fault[]> {
  const args = ["--recursive", `--config=${config}`, "--format=json", "--force"];
  const { stdout } = await run(await binary("tflint"), args, { cwd: dir });
  const { issues, errors }: TflintReport = JSON.parse(stdout);
  if (errors.length > 0) throw new Error(`tflint could not read ${dir}: ${errors.map(({ message }) => message)}`);
  return issues.map(({ rule, message, range }) => ({
    rule: rule.name,
    file: range.filename,
    lines: [range.start.line, range.end.line],
    message,
  }));
}

interface CheckovCheck {
  check_id: string;
  check_name: string;
  file_path: string;
  file_line_range: [number, number];
  resource: string;
}
interface CheckovReport {
  check_type?: string;
  results?: { failed_checks: CheckovCheck[]; skipped_checks: CheckovCheck[]; parsing_errors: string[] };
  summary?: { passed: number };
}

/** What checkov finds in `dir`. Rejects where it can't read a file. */
export async function checkov(dir: string): Promise<{ passed: number; failed: Fault[]; skipped: Fault[] }> {
  const frameworks = ["terraform", "kubernetes", "cloudformation"];
  const offline = ["--skip-download", "--download-external-modules", "false"];
  const args = ["-m", "checkov.main", "-d", dir, "--framework", ...frameworks, ...offline];
  const { stdout } = await run(await pythonWith("checkov"), [...args, "--compact", "--soft-fail", "--output", "json"], {
    // Nothing listens there: were it to ask the network all the same, it would fail.
    env: { ...process.env, HTTPS_PROXY: "http://127.0.0.1:9", HTTP_PROXY: "http://127.0.0.1:9", LOG_LEVEL: "ERROR" },
    maxBuffer: 64 * 1024 * 1024,
  });
  const reports: CheckovReport[] = [JSON.parse(stdout)].flat();
  const results = reports.flatMap(({ results = [] }) => results);
  const unread = results.flatMap((one) => one.parsing_errors);
  if (unread.length > 0) throw new Error(`checkov could not read ${unread.join(", ")}`);
  const faults = (checks: CheckovCheck[]): Fault[] =>
    checks.map(({ check_id, check_name, file_path, file_line_range, resource }) => ({
      rule: check_id,
      file: file_path.replace(/^\//, ""),
      lines: file_line_range,
      message: `${check_name} (${resource})`,
    }));
  return {
    passed: reports.reduce((sum, { summary }) => sum + (summary?.passed ?? 0), 0),
    failed: faults(results.flatMap((one) => one.failed_checks)),
    skipped: faults(results.flatMap((one) => one.skipped_checks)),
  };
}

/** A rule of checkov that is not to be followed somewhere, with the reason that is given for it. */
export interface Suppression {
  rule: string;
  file: string;
  line: number;
  reason: string;
}

/** What is suppressed in a file, inside of what it is for: by a comment in Terraform, an annotation in manifests. */
export function suppressionsIn(file: string, text: string): Suppression[] {
  return text.split("\n").flatMap((content, index) => {
    const [, rule, reason = ""] = /checkov(?::skip=|\.io\/skip\d+: )(\w+)(?:[:=](.*))?/.exec(content) ?? [];
    return rule ? [{ rule, file, line: index + 1, reason: reason.trim() }] : [];
  });
}

/** Faults in words, a line for each. */
export const told = (faults: readonly Fault[]) =>
  faults.map(({ rule, file, lines, message }) => `${rule} ${file}:${lines[0]} ${message}`).join("\n");
