import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type ErrorKind, isLifeboatError } from "../../core/errors.ts";
import { restoreCommand } from "../../core/volumes/restic/commands.ts";
import { copyFiles } from "../../core/volumes/restic/copy.ts";
import { fillClaim } from "../../core/volumes/restic/fill.ts";
import { jobObject, type ResticJob, secretObject } from "../../core/volumes/restic/job.ts";
import { bucketRepositories } from "../../core/volumes/restic/repositories.ts";
import { repositoryAt } from "../../core/volumes/restic/repository.ts";
import { RESTIC_IMAGE, type ResticTiming, repositorySecrets } from "../../core/volumes/restic/settings.ts";
import { s3Bucket } from "../../functions/aws/bucket.ts";
import { binary } from "../rig/binaries.ts";
import type { Kubelet } from "../rig/kubelet.ts";
import { until } from "../rig/process.ts";
import { type S3, startS3 } from "../rig/s3.ts";
import { claimOf, type FolderCluster, folderCluster, resticSkip, SHOP, settingsFor } from "./restic.ts";

const PASSWORD = "correct-horse-battery";
/** A copy that no repository holds. */
const NO_COPY = "0".repeat(64);
const STRICT = "strict";

/** A restore that comes to nothing. */
interface Case {
  says: string;
  /** In place of a claim that is bound: none that gets a volume, or one of a namespace that admits no such Pod. */
  claim?: "unbound" | "strict";
  /** Of the claim's node, from the beginning. */
  trouble?: Kubelet["trouble"];
  /** No node is there that its Pod may go to. */
  noNode?: boolean;
  /** The bucket takes connections and is silent: restic runs until something ends it. */
  silent?: boolean;
  /** Done once restic runs. */
  once?: (at: { cluster: FolderCluster; kubelet: Kubelet; pod: string; abort: AbortController }) => Promise<unknown>;
  password?: string;
  secretKey?: string;
  timing?: Partial<ResticTiming>;
  kind?: ErrorKind;
  message: RegExp;
}

const CASES: Case[] = [
  {
    says: "its container never starts",
    trouble: "idle",
    timing: { start: 3_000 },
    kind: "timeout",
    message: /its Pod is still ContainerCreating after \d+ s/,
  },
  {
    says: "its image can't be pulled",
    trouble: "pull",
    timing: { refused: 1_000 },
    kind: "missing",
    message: /its image can't be pulled after \d+ s: Back-off pulling image "docker.io\/restic/,
  },
  {
    says: "the time is over while its image can't be pulled",
    trouble: "pull",
    timing: { total: 12_000 },
    kind: "timeout",
    message: /the time for it, 12 s, is over: its image can't be pulled: Back-off pulling image/,
  },
  {
    says: "no node takes its Pod",
    noNode: true,
    timing: { start: 3_000 },
    kind: "timeout",
    message: /no node takes its Pod after \d+ s: .*node affinity\/selector/,
  },
  {
    says: "its claim gets no volume",
    claim: "unbound",
    timing: { start: 3_000 },
    kind: "timeout",
    message: /no node takes its Pod after \d+ s: .*unbound.* PersistentVolumeClaims/i,
  },
  {
    says: "the namespace admits no such Pod",
    claim: "strict",
    timing: { refused: 1_000 },
    kind: "denied",
    message: /the cluster refuses its Pod after \d+ s: .*violates PodSecurity "restricted/,
  },
  {
    says: "it is evicted",
    trouble: "evict",
    silent: true,
    kind: "unreachable",
    message: /\(Evicted\): The node was low on/,
  },
  {
    says: "its Pod is deleted",
    silent: true,
    once: ({ cluster, pod }) => cluster.cluster.api.request("DELETE", `/api/v1/namespaces/${SHOP}/pods/${pod}`),
    kind: "unreachable",
    message: /\(Deleted\): somebody has deleted it|\(Deleted\): it is gone/,
  },
  {
    says: "its node does not answer any more",
    silent: true,
    timing: { node: 1_000, end: 2_000 },
    once: ({ kubelet }) => kubelet.die(),
    kind: "unreachable",
    message: /its Pod's node [a-z-]+ has not been ready for 1 s/,
  },
  {
    says: "its node is gone",
    silent: true,
    once: async ({ cluster, kubelet }) => {
      await kubelet.die();
      await cluster.cluster.api.request("DELETE", `/api/v1/nodes/${kubelet.node}`);
    },
    kind: "unreachable",
    message: /its Pod's node [a-z-]+ is gone|its Pod was ended by the cluster/,
  },
  {
    says: "restic comes no further",
    silent: true,
    timing: { stall: 2_000 },
    kind: "timeout",
    message: /restic comes no further since 2 s/,
  },
  {
    says: "the time for it is over",
    silent: true,
    timing: { total: 4_000 },
    kind: "timeout",
    message: /the time for it, 4 s, is over/,
  },
  {
    says: "the run is called off",
    silent: true,
    once: async ({ abort }) => abort.abort(new Error("called off")),
    message: /^called off$/,
  },
  { says: "the password is another", password: "another", kind: "denied", message: /does not open with this password/ },
  {
    says: "the credentials are wrong",
    secretKey: "wrong-secret-access-key",
    kind: "denied",
    message: /refused its credentials/,
  },
  { says: "there is no such copy", kind: "missing", message: /doesn't hold this copy/ },
];

describe("work of restic that fails", { skip: resticSkip(["versitygw"]) }, () => {
  const stack = new AsyncDisposableStack();
  const told: string[] = [];
  let cluster: FolderCluster;
  let s3: S3;
  let silent: Server;

  before(async () => {
    s3 = stack.use(await startS3());
    Object.assign(process.env, s3.env);
    silent = createServer((socket) => socket.on("error", () => {}));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    stack.defer(() => void silent.close());
    cluster = stack.use(
      await folderCluster({ controllerFlags: ["--node-monitor-grace-period=8s", "--node-monitor-period=1s"] }),
    );
    await cluster.cluster.api.request("POST", "/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: STRICT, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    await copy("first");
  });
  after(() => stack.disposeAsync());

  const location = () => s3.location("here");
  const nowhere = () => {
    const endpoint = `http://127.0.0.1:${(silent.address() as { port: number }).port}`;
    return `s3://backups/here?${new URLSearchParams({ region: "us-east-1", forcePathStyle: "true", endpoint })}`;
  };
  const credentials = (secret = s3.secretAccessKey) =>
    `AWS_ACCESS_KEY_ID=${s3.accessKeyId}\nAWS_SECRET_ACCESS_KEY=${secret}`;

  async function copy(name: string, { at = location(), fill = (_: string) => {} } = {}) {
    const { claim, volume, folder } = await cluster.claim(name);
    writeFileSync(join(folder, "file"), name.repeat(10_000));
    fill(folder);
    const repositories = bucketRepositories(s3Bucket(new URL(at)));
    const settings = settingsFor(at, PASSWORD, credentials());
    const signal = AbortSignal.timeout(60_000);
    return copyFiles(cluster.kube, settings, { claim, volume, backupName: "b", repositories, signal }).done;
  }

  async function fill(
    name: string,
    wanted: Partial<Case> & { snapshotId?: string; node?: string; signal?: AbortSignal } = {},
  ) {
    const { snapshotId = NO_COPY, node, signal = AbortSignal.timeout(60_000), timing } = wanted;
    const where = wanted.silent ? nowhere() : location();
    const settings = settingsFor(where, wanted.password ?? PASSWORD, credentials(wanted.secretKey), timing);
    return fillClaim(cluster.kube, settings, {
      claim: { namespace: wanted.claim === "strict" ? STRICT : SHOP, name },
      from: { namespace: SHOP, snapshotId },
      restoreName: name,
      sparse: false,
      ...(node && {
        placement: { nodeSelector: { "kubernetes.io/hostname": node }, tolerations: [{ operator: "Exists" }] },
      }),
      signal,
    });
  }

  /** What is said of work that fails. */
  async function refusal(work: Promise<unknown>): Promise<{ kind: ErrorKind | undefined; message: string }> {
    const error = await work.then(
      () => assert.fail("nothing was thrown"),
      (error: unknown) => error,
    );
    if (!isLifeboatError(error)) return { kind: undefined, message: error instanceof Error ? error.message : "" };
    told.push(`${error.message} ${error.hint}`);
    return { kind: error.kind, message: error.message };
  }

  describe("is named, in time, and leaves nothing", { concurrency: 12 }, () => {
    for (const [at, one] of CASES.entries()) {
      it(one.says, async () => {
        const name = `case-${String.fromCharCode(97 + at)}`;
        if (one.claim === "unbound") {
          const path = `/api/v1/namespaces/${SHOP}/persistentvolumeclaims`;
          await cluster.cluster.api.request("POST", path, claimOf(name, "nowhere"));
        } else if (!one.claim) await cluster.claim(name);
        const ownNode = one.trouble || one.once || one.silent;
        const kubelet = ownNode ? await cluster.addNode(name) : cluster.kubelet;
        kubelet.trouble = one.trouble;
        const abort = new AbortController();
        const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(60_000)]);
        const node = one.noNode ? "nowhere" : ownNode ? name : undefined;
        const failing = refusal(fill(name, { ...one, node, signal }));
        if (one.once) {
          const pod = await until("its container", async () => {
            const pod = kubelet.pods[0]?.metadata.name;
            return pod && kubelet.isRunning(pod) ? pod : undefined;
          });
          await one.once({ cluster, kubelet, pod, abort });
        }
        const { kind, message } = await failing;
        assert.match(message, one.message);
        assert.equal(kind, one.kind);
        assert.doesNotMatch(message, /still in the cluster/);
        assert.deepEqual(
          await cluster.left(`velero.io/restore-name=${name}`, one.claim === "strict" ? STRICT : SHOP),
          [],
        );
      });
    }

    it("goes by itself where nobody is left to see to it", async () => {
      const { api } = cluster.cluster;
      const labels = { "velero.io/restore-name": "abandoned" };
      const job: ResticJob = {
        name: "abandoned",
        namespace: SHOP,
        labels,
        image: RESTIC_IMAGE,
        repository: repositoryAt(nowhere(), SHOP),
        secrets: repositorySecrets(PASSWORD, credentials()),
        commands: [restoreCommand(NO_COPY, { lock: 0 }, { sparse: false })],
        deadline: 3,
      };
      const object = jobObject(job) as unknown as { spec: { ttlSecondsAfterFinished: number } };
      object.spec.ttlSecondsAfterFinished = 1;
      const { metadata } = await api.request("POST", `/apis/batch/v1/namespaces/${SHOP}/jobs`, object);
      await api.request("POST", `/api/v1/namespaces/${SHOP}/secrets`, secretObject(job, String(metadata.uid)));
      const left = () => cluster.left("velero.io/restore-name=abandoned");
      await until("its Pod", async () => (await left()).length === 3);
      await until("its end", async () => (await left()).length === 0);
    });

    it("says what a copy waits for meanwhile", async () => {
      const { claim, volume } = await cluster.claim("waiting");
      const settings = settingsFor(nowhere(), PASSWORD, credentials(), { stall: 2_000 });
      const repositories = { ensure: async () => {} };
      const signal = AbortSignal.timeout(60_000);
      const { done, doing } = copyFiles(cluster.kube, settings, {
        ...{ claim, volume, backupName: "waiting", repositories, signal },
      });
      const seen: (string | undefined)[] = [];
      const looking = setInterval(() => seen.push(doing()?.what), 20);
      const { message } = await refusal(done).finally(() => clearInterval(looking));
      assert.match(message, /^can't copy its files: restic comes no further/);
      assert.equal(seen.at(-1), "waits for restic");
      assert.ok(seen.includes("waits for the Pod of its Job to begin"), String(new Set(seen)));
    });

    it("says of files that can't be read that they are in no copy", async () => {
      const { files, warnings } = await copy("unreadable", {
        fill(folder) {
          writeFileSync(join(folder, "broken"), "");
          mount(stack, "--bind", "/proc/self/mem", join(folder, "broken"));
        },
      });
      assert.equal(files?.files, 1);
      assert.equal(warnings?.length, 1);
      assert.match(warnings?.[0] ?? "", /could not be read.*: open \/data\/broken: no such process/);
    });

    it("says of a volume that it is too small", async () => {
      const { files } = await copy("large", {
        fill: (folder) => writeFileSync(join(folder, "large"), Buffer.alloc(3 << 20, "large")),
      });
      const { folder } = await cluster.claim("small");
      mount(stack, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder);
      const { kind, message } = await refusal(fill("small", { snapshotId: files!.snapshotId }));
      assert.match(message, /the volume is full/);
      assert.equal(kind, "invalid");
    });

    it("waits for who has locked the repository, and then says so", async () => {
      const at = s3.location("locked");
      await copy("locked", { at });
      const locks = join(s3.dir, "data", s3.bucket, "locked", "restic", SHOP, "locks");
      const env = {
        ...s3.env,
        RESTIC_REPOSITORY: `s3:${s3.endpoint}/${s3.bucket}/locked/restic/${SHOP}`,
        RESTIC_PASSWORD: PASSWORD,
      };
      const holder = spawn(await binary("restic"), ["check", "--no-cache"], { env, stdio: "ignore" });
      stack.defer(() => void holder.kill("SIGKILL"));
      await until("the lock", async () => existsSync(locks) && readdirSync(locks).length > 0, { everyMs: 2 });
      holder.kill("SIGSTOP");
      const settings = settingsFor(at, PASSWORD, credentials(), { lock: 1_000 });
      await cluster.claim("waits");
      const waiting = fillClaim(cluster.kube, settings, {
        claim: { namespace: SHOP, name: "waits" },
        from: { namespace: SHOP, snapshotId: NO_COPY },
        restoreName: "waits",
        sparse: false,
        signal: AbortSignal.timeout(60_000),
      });
      const { kind, message } = await refusal(waiting);
      assert.match(message, /locked by another/);
      assert.equal(kind, "busy");
    });

    it("makes a repository once, however many runs need it", async () => {
      const at = s3.location("contended");
      const copies = await Promise.all(["one", "two", "three"].map((name) => copy(`contender-${name}`, { at })));
      const made = (await cluster.kubelet.logs()).split("\n").filter((line) => /"initialized".*contended/.test(line));
      assert.equal(made.length, 1);
      for (const { files } of copies) assert.equal(files?.files, 1);
    });
  });

  it("tells no secret, nor does restic", async () => {
    assert(told.length > CASES.length);
    const texts = [...told, await cluster.kubelet.logs()];
    for (const secret of [PASSWORD, s3.accessKeyId, s3.secretAccessKey])
      assert(texts.every((text) => !text.includes(secret)));
  });

  it("leaves nothing of all that", async () => assert.deepEqual(await cluster.left(), []));
});

/** Mounts something until the end. */
function mount(stack: AsyncDisposableStack, ...args: string[]): void {
  execFileSync("mount", args);
  stack.defer(() => void execFileSync("umount", ["-l", args.at(-1)!]));
}
