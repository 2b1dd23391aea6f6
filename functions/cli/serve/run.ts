import { once } from "node:events";
import { readFile } from "node:fs/promises";
import {
  type Config,
  createService,
  EXIT_CODES,
  everySchedule,
  LifeboatError,
  type LogLevel,
  logLine,
  memberLocation,
  memoryJobs,
  messageOf,
  openBucket,
  problemResponse,
  type Service,
  thisProcess,
} from "../../../core/index.ts";
import { fleetConfig } from "../config.ts";
import type { Invocation } from "../options.ts";
import { say } from "../output.ts";
import { terminal } from "../platform.ts";
import { openConfigBucket } from "../session.ts";
import { nextStage } from "../signals.ts";
import { missedBy, runClock, timedJobs } from "./clock.ts";
import { foreignReason, listen, readAddress } from "./listen.ts";
import { createRunner, type Runner, type Timed } from "./runner.ts";

/** As long as an answer may take once the server stops. */
const LONGEST_REQUEST_MS = 10_000;

interface ServeOptions {
  listen: string;
  tokenFile?: string;
}

/** One structured line on stderr. */
export type Tell = (level: LogLevel, message: string, fields?: Record<string, string | number>) => void;

const tell: Tell = (level, message, fields) => say(logLine(level, message, fields));

/**
 * `lifeboat serve`: until the first signal, then what runs is finished; a second signal stops that too, and then the
 * exit code says so.
 */
export async function serve({ options, signal }: Invocation<ServeOptions>): Promise<number> {
  const started = new Date();
  const stopped = nextStage();
  const token = await readToken(options.tokenFile);
  const address = readAddress(options.listen, token);
  const config = () => fleetConfig(options);
  const current = { config: await config() };
  const { fleet } = current.config;
  const schedules = everySchedule(current.config);
  const bucket = await openConfigBucket(current.config, options);
  const bucketOf = async (cluster?: string) =>
    fleet && cluster !== undefined ? openBucket(terminal, memberLocation(current.config.location, cluster)) : bucket;

  const jobs = memoryJobs((job) => runner.run(job));
  const service = createService(
    { ...terminal, jobs: async () => jobs },
    { config, token, by: thisProcess(), listen: say },
  );
  const runner = createRunner(
    { service, jobs, bucketOf, tell, atOnce: fleet?.concurrency },
    { stopping: signal, stopped },
  );

  for (const schedule of schedules) {
    await makeUp(runner, schedule, await missedBy(bucket, schedule, started, signal));
  }
  const { url, server } = await listen(address, answerWith(service, token));
  tell("info", "listens", { url, location: bucket.location, schedules: schedules.length });
  const clocks = [
    runClock({ schedules: () => schedulesNow(config, current), take: runner.take }, signal, started),
    runClock(
      { schedules: async () => timedJobs(current.config, jobs), take: ({ begin }, slot) => begin(slot) },
      signal,
      started,
    ),
  ];

  if (!signal.aborted) await once(signal, "abort");
  tell("info", "stops; what runs is finished, unless a second signal comes");
  const closed = once(server, "close");
  server.close();
  const patience = setTimeout(() => server.closeAllConnections(), LONGEST_REQUEST_MS);
  await Promise.all([closed, ...clocks]);
  clearTimeout(patience);
  await jobs.idle();
  tell("info", "has stopped");
  return stopped.aborted ? EXIT_CODES.cancelled : EXIT_CODES.ok;
}

/** Tells of missed slots, and hands over the newest one. */
async function makeUp(runner: Runner, schedule: Timed, missed: Date[]): Promise<void> {
  const newest = missed.at(-1);
  if (!newest) return;
  const rest = schedule.skipImmediately ? "none of them is made up for" : "the newest one is made up for";
  const about = { schedule: schedule.name, missed: missed.length, newest: newest.toISOString() };
  tell("warning", `slots have no backup: ${rest}`, about);
  if (!schedule.skipImmediately) runner.take(schedule, newest);
}

function answerWith({ fetch }: Service, token: string | undefined) {
  return async (request: Request, from: string | undefined): Promise<Response> => {
    const reason = token ? undefined : foreignReason(request);
    const answer = reason
      ? problemResponse(new LifeboatError("denied", reason))
      : await fetch(request, { caller: from });
    tell("info", `${request.method} ${new URL(request.url).pathname}`, { status: answer.status, from: from ?? "" });
    return answer;
  };
}

/** The schedules of the configuration as it is now, which becomes the current one unless it can't be used. */
async function schedulesNow(read: () => Promise<Config>, current: { config: Config }): Promise<Timed[]> {
  try {
    current.config = await read();
  } catch (error) {
    tell("error", messageOf(error));
  }
  return everySchedule(current.config);
}

/** What requests must bear: the content of `file`, else LIFEBOAT_TOKEN. Throws `invalid` for none where a file is named. */
async function readToken(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return process.env.LIFEBOAT_TOKEN?.trim() || undefined;
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new LifeboatError("invalid", `--token-file: ${file} can't be read: ${error.code}`);
  });
  if (text.trim()) return text.trim();
  throw new LifeboatError("invalid", `--token-file: ${file} is empty`);
}
