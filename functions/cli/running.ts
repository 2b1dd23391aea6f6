import {
  type Bucket,
  type Config,
  claimLock,
  type Kube,
  type LockClaim,
  type RunLog,
  startRunLog,
  thisProcess,
} from "../../core/index.ts";
import { pointingToLog } from "./failure.ts";
import type { SharedOptions } from "./options.ts";
import { secrets, terminal } from "./platform.ts";
import { startProgress } from "./progress.ts";
import { COMMAND, locationFlags, openBucket, openCluster } from "./session.ts";

/** What a job is run with that the terminal does itself; its lines go to the progress, its log's only where asked for. */
export function jobContext({
  progress,
  verbose,
  ...given
}: Pick<Session, "bucket" | "progress"> & { config: Config; verbose?: boolean; signal: AbortSignal }) {
  const { clusters, disks } = terminal;
  return {
    ...{ ...given, clusters, disks, secrets: secrets(), by: thisProcess() },
    listen: verbose ? progress.line : undefined,
    say: verbose ? undefined : progress.line,
    warn: (message: string) => progress.line(`warning: ${message}`),
  };
}

/** What a command works with that makes something of a cluster. */
export interface Session {
  kube: Kube;
  bucket: Bucket;
  progress: ReturnType<typeof startProgress>;
}

/** Does `work` with the cluster and the location of the options; `told` says in two words what is done, and what first. */
export async function inSession<T>(
  { options, signal }: { options: SharedOptions; signal: AbortSignal },
  [doing, first]: [string, (kube: Kube) => string],
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const kube = await openCluster(options, signal);
  const progress = startProgress(doing, first(kube));
  try {
    return await work({ kube, bucket: await openBucket(options), progress });
  } finally {
    progress.end();
    await kube.close();
  }
}

/** One run of a backup or restore: its log, its lock, and what ends it. */
export interface Running {
  log: RunLog;
  lock: () => Promise<void>;
  signal: AbortSignal;
}

/**
 * Does the work of a run under the locks of its names, which the work itself takes before it writes; the first name is what is
 * made. Throws `busy` where another run is at one of them. Once it has ended, the progress line ends too.
 */
export async function underLock<T>(
  {
    kind,
    names,
    options,
    signal,
  }: {
    kind: "backup" | "restore";
    names: readonly string[];
    options: SharedOptions;
    signal: AbortSignal;
  },
  { bucket, progress }: Session,
  work: (running: Running) => Promise<T>,
): Promise<{ result: T; durationMs: number }> {
  const [name = ""] = names;
  await using claims = new AsyncDisposableStack();
  const taken: LockClaim[] = [];
  for (const locked of names)
    taken.push(claims.use(await claimLock({ bucket, kind: `${kind}s`, name: locked }, { signal, by: thisProcess() })));
  const log = startRunLog({ [kind]: `velero/${name}` }, options.verbose ? progress.line : undefined);
  const startedAt = performance.now();
  const running: Running = {
    log,
    lock: async () => {
      for (const claim of taken) await claim.take();
    },
    signal: AbortSignal.any([signal, ...taken.map((claim) => claim.signal)]),
  };
  const logs = `${COMMAND} ${kind} logs ${name}${locationFlags(options)}`;
  const result = await pointingToLog(log, logs, () => work(running));
  progress.end();
  return { result, durationMs: Math.round(performance.now() - startedAt) };
}
