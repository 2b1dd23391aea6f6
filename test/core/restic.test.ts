import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LifeboatError } from "../../core/errors.ts";
import { fieldProblems } from "../../core/fields.ts";
import type { Kube } from "../../core/kube/client.ts";
import { openSecrets } from "../../core/secrets.ts";
import { readCredentials, withhold } from "../../core/volumes/restic/credentials.ts";
import { failureOf, lacksOnlyAttributes, neverBegan } from "../../core/volumes/restic/failure.ts";
import { jobObject, type ResticJob, secretObject } from "../../core/volumes/restic/job.ts";
import { readOutput } from "../../core/volumes/restic/output.ts";
import { podState } from "../../core/volumes/restic/pod.ts";
import { repositoryAt } from "../../core/volumes/restic/repository.ts";
import { runRestic } from "../../core/volumes/restic/run.ts";
import { RESTIC_TIMING, repositorySecrets, resticSchema, resticSettings } from "../../core/volumes/restic/settings.ts";
import { pinnedTo, unfit } from "../../core/volumes/restic/unfit.ts";
import { answer } from "./restore-sample.ts";

describe("the repository of a namespace at a location", () => {
  const CASES: [location: string, env: Record<string, string>, url: string, told: object, flags?: string[]][] = [
    [
      "s3://b/p/q?region=eu-west-1",
      {},
      "s3:https://s3.eu-west-1.amazonaws.com/b/p/q/restic/shop",
      { AWS_DEFAULT_REGION: "eu-west-1" },
    ],
    [
      "s3://b?region=cn-north-1",
      {},
      "s3:https://s3.cn-north-1.amazonaws.com.cn/b/restic/shop",
      { AWS_DEFAULT_REGION: "cn-north-1" },
    ],
    [
      "s3://b/a%20b",
      { AWS_REGION: "us-east-2" },
      "s3:https://s3.us-east-2.amazonaws.com/b/a%20b/restic/shop",
      { AWS_DEFAULT_REGION: "us-east-2" },
    ],
    ["s3://b", {}, "s3:https://s3.amazonaws.com/b/restic/shop", {}],
    [
      "s3://b/p?endpoint=http://minio:9000/&forcePathStyle=true",
      {},
      "s3:http://minio:9000/b/p/restic/shop",
      {},
      ["-o", "s3.bucket-lookup=path"],
    ],
    ["gs://b/p", {}, "gs:b:/p/restic/shop", {}],
    ["gs://b?endpoint=http://fake:1", {}, "gs:b:/restic/shop", { STORAGE_EMULATOR_HOST: "http://fake:1" }],
    ["azblob://c/p?account=acc", {}, "azure:c:/p/restic/shop", { AZURE_ACCOUNT_NAME: "acc" }],
    ["azblob://c", { AZURE_STORAGE_ACCOUNT: "acc" }, "azure:c:/restic/shop", { AZURE_ACCOUNT_NAME: "acc" }],
    [
      "azblob://c?endpoint=https://acc.blob.core.chinacloudapi.cn",
      {},
      "azure:c:/restic/shop",
      { AZURE_ACCOUNT_NAME: "acc", AZURE_ENDPOINT_SUFFIX: "core.chinacloudapi.cn" },
    ],
  ];
  for (const [location, env, url, told, flags = []] of CASES) {
    test(location, () => assert.deepEqual(repositoryAt(location, "shop", env), { url, env: told, flags }));
  }

  const REFUSED: [location: string, says: RegExp][] = [
    ["file:///backups", /Pods of a cluster don't reach it/],
    ["/backups", /Pods of a cluster don't reach it/],
    ["azblob://c/p", /names no storage account/],
    ["azblob://c/p?account=acc&endpoint=http://127.0.0.1:1/acc", /endpoint/],
  ];
  for (const [location, says] of REFUSED) {
    test(`none at ${location}`, () => assert.throws(() => repositoryAt(location, "shop"), refusal("invalid", says)));
  }
});

describe("credentials for restic", () => {
  test("are lines, or a key of Google's", () => {
    assert.deepEqual(readCredentials("# keys\r\nAWS_ACCESS_KEY_ID=id\n\nAWS_SECRET_ACCESS_KEY=a=b \n"), {
      variables: { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "a=b" },
    });
    const key = '{"type":"service_account","private_key":"x"}';
    assert.deepEqual(readCredentials(key), { variables: {}, googleKey: key });
    assert.deepEqual(repositorySecrets("pass", key), { variables: { RESTIC_PASSWORD: "pass" }, googleKey: key });
  });

  const BAD: [text: string, says: RegExp][] = [
    ["S3cret", /line 1 is not NAME=value/],
    ["AWS_ACCESS_KEY_ID=id\nLD_PRELOAD=S3cret", /line 2 sets something else/],
    ["AWS_ACCESS_KEY_ID=", /line 1 is not NAME=value/],
    ["# S3cret", /there are none in it/],
    ['{"private_key": "S3cret"', /no key of Google's/],
    ['{"private_key": "S3cret"}', /no key of Google's/],
  ];
  for (const [text, says] of BAD) {
    test(`not ${JSON.stringify(text)}`, () => assert.throws(() => readCredentials(text), refusal("invalid", says)));
  }

  test("no password has two lines", () => {
    assert.throws(() => repositorySecrets("S3cret\nS3cret"), refusal("invalid", /more than one line/));
  });

  test("are in no text that was made of restic's", () => {
    const secrets = repositorySecrets("S3cret-1", "AZURE_ACCOUNT_KEY=S3cret+2/==");
    assert.equal(withhold("a S3cret-1, S3cret+2/== and S3cret%2B2%2F%3D%3D", secrets), "a …, … and …");
    const signed = repositorySecrets("S3cret-1", "AZURE_ACCOUNT_SAS=sv=2026&sig=S3cret%2B3%3D&sp=r");
    assert.equal(withhold("GET /c?sig=S3cret%2B3%3D&sp=r&sv=2026: x509", signed), "GET /c?sig=…&sp=r&sv=2026: x509");
  });

  /** Refused, and nothing of the secret quoted. */
  function refusal(kind: string, says: RegExp) {
    return (error: unknown) => {
      assert(error instanceof LifeboatError);
      assert.equal(error.kind, kind);
      assert.match(error.message, says);
      assert.doesNotMatch(`${error.message}${error.hint}`, /S3cret|LD_PRELOAD/);
      return true;
    };
  }
});

describe("volumes.restic of the configuration", () => {
  test("names secrets, which are read when they are needed", async () => {
    const read: string[] = [];
    const secrets = openSecrets({
      secrets: {
        "env:": async () => ({
          async read(reference) {
            read.push(reference);
            return reference === "env:P" ? "pass" : "AWS_ACCESS_KEY_ID=id";
          },
        }),
      },
    });
    const config = resticSchema.parse({ password: "env:P", credentials: "env:C", timeout: "90m" });
    const settings = resticSettings(config, { location: "s3://b", secrets });
    assert.deepEqual(read, []);
    assert.deepEqual(await settings.secrets(AbortSignal.timeout(10_000)), {
      variables: { AWS_ACCESS_KEY_ID: "id", RESTIC_PASSWORD: "pass" },
    });
    assert.match(settings.image, /restic:\d+\.\d+\.\d+$/);
    assert.equal(settings.timing.total, 5_400_000);
  });

  const BAD: [config: object, says: RegExp][] = [
    [{}, /password/],
    [{ password: "S3cret" }, /password.*is no reference/],
    [{ password: "env:P", image: "restic/restic" }, /image.*without its version/],
    [{ password: "env:P", timeout: "long" }, /timeout.*not a duration/],
    [{ password: "env:P", passwrod: "env:P" }, /passwrod/],
  ];
  for (const [config, says] of BAD) {
    test(`not ${JSON.stringify(config)}`, () => {
      const { error } = resticSchema.safeParse(config);
      const problems = error ? fieldProblems(error).map(({ path, message }) => `${path.join(".")} ${message}`) : [];
      assert.match(problems.join("; "), says);
      assert.doesNotMatch(problems.join("; "), /S3cret/);
    });
  }
});

const JOB: ResticJob = {
  name: "lifeboat-1",
  namespace: "shop",
  labels: { "velero.io/backup-name": "b" },
  image: "restic/restic:0.18.1",
  repository: repositoryAt("s3://b/p?region=eu-west-1", "shop"),
  secrets: repositorySecrets("S3cret-1", "AWS_ACCESS_KEY_ID=S3cret-2\nAWS_SECRET_ACCESS_KEY=S3cret-3"),
  commands: [["unlock"], ["backup", "/data"]],
  claim: { name: "data", use: "read" },
  node: "node-1",
  deadline: 60,
};

describe("the Job", () => {
  const text = JSON.stringify(jobObject(JOB));

  test("holds no secret, and its Secret all of them", () => {
    assert.doesNotMatch(text, /S3cret/);
    const { data } = secretObject(JOB, "u") as unknown as { data: Record<string, string> };
    const values = Object.values(data).map((value) => Buffer.from(value, "base64").toString());
    assert.deepEqual(values.sort(), ["S3cret-1", "S3cret-2", "S3cret-3"]);
  });

  test("is in no backup, nor its Pod, nor its Secret, which goes with it", () => {
    const { metadata, spec } = jobObject(JOB) as unknown as Made;
    const secret = secretObject(JOB, "u-1");
    for (const labels of [metadata.labels, spec.template.metadata.labels, secret.metadata.labels ?? {}]) {
      assert.equal(labels["velero.io/exclude-from-backup"], "true");
      assert.equal(labels["velero.io/backup-name"], "b");
    }
    assert.deepEqual(secret.metadata.ownerReferences, [
      { apiVersion: "batch/v1", kind: "Job", name: "lifeboat-1", uid: "u-1" },
    ]);
  });

  const USES: [use: Partial<ResticJob>, readOnly: boolean[], user: number, capabilities: string[] | undefined][] = [
    [{}, [true, true], 0, ["DAC_OVERRIDE"]],
    [
      { claim: { name: "data", use: "write" } },
      [false, false],
      0,
      ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"],
    ],
    [{ claim: undefined }, [], 65532, undefined],
  ];
  for (const [use, readOnly, user, capabilities] of USES) {
    test(`has the least rights for ${JSON.stringify(use)}`, () => {
      const { spec } = (jobObject({ ...JOB, ...use }) as unknown as Made).spec.template;
      const all = [...(spec.initContainers ?? []), ...spec.containers];
      assert.equal(all.length, 2);
      const mounts = all.flatMap(({ volumeMounts }) => volumeMounts.filter(({ name }) => name === "data"));
      assert.deepEqual(
        mounts.map((mount) => mount.readOnly),
        readOnly,
      );
      for (const { securityContext } of all) {
        assert.equal(securityContext.runAsUser, user);
        assert.deepEqual(securityContext.capabilities, { drop: ["ALL"], ...(capabilities && { add: capabilities }) });
      }
    });
  }
});

interface Made {
  metadata: { labels: Record<string, string> };
  spec: {
    template: {
      metadata: { labels: Record<string, string> };
      spec: { initContainers?: MadeContainer[]; containers: MadeContainer[] };
    };
  };
}

interface MadeContainer {
  volumeMounts: { name: string; readOnly?: boolean }[];
  securityContext: { runAsUser: number; capabilities: object };
}

describe("a Pod", () => {
  const container = (state: object, name = "restic") => ({ name, state });
  const CASES: [says: string, status: object, metadata: object, state: string, reason?: string][] = [
    ["just made", {}, {}, "waiting", "Pending"],
    [
      "that fits nowhere",
      { conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/3 nodes" }] },
      {},
      "waiting",
      "Unschedulable",
    ],
    [
      "without its image",
      { containerStatuses: [container({ waiting: { reason: "ErrImagePull" } })] },
      {},
      "waiting",
      "ErrImagePull",
    ],
    [
      "behind what comes first",
      {
        initContainerStatuses: [container({ waiting: { reason: "ImagePullBackOff" } }, "restic-1")],
        containerStatuses: [container({ waiting: { reason: "PodInitializing" } })],
      },
      {},
      "waiting",
      "ImagePullBackOff",
    ],
    [
      "of which a sidecar runs on",
      {
        containerStatuses: [container({ running: {} }, "istio-proxy"), container({ terminated: { exitCode: 0 } })],
      },
      {},
      "ended",
      "",
    ],
    ["whose sidecar alone runs", { containerStatuses: [container({ running: {} }, "proxy")] }, {}, "waiting"],
    [
      "that was evicted",
      {
        phase: "Failed",
        reason: "Evicted",
        message: "low on memory",
        containerStatuses: [container({ terminated: { exitCode: 137, reason: "Error" } })],
      },
      {},
      "lost",
      "Evicted",
    ],
    [
      "that is deleted",
      { containerStatuses: [container({ running: {} })] },
      { deletionTimestamp: "2026-01-01T00:00:00Z" },
      "lost",
      "Deleted",
    ],
    [
      "deleted after it has done all",
      { containerStatuses: [container({ terminated: { exitCode: 0 } })] },
      { deletionTimestamp: "2026-01-01T00:00:00Z" },
      "ended",
    ],
    [
      "taken from a node that is gone",
      { conditions: [{ type: "DisruptionTarget", status: "True", reason: "DeletionByTaintManager" }] },
      { deletionTimestamp: "2026-01-01T00:00:00Z" },
      "lost",
      "DeletionByTaintManager",
    ],
    [
      "out of memory",
      { phase: "Failed", containerStatuses: [container({ terminated: { exitCode: 137, reason: "OOMKilled" } })] },
      {},
      "ended",
      "OOMKilled",
    ],
  ];
  for (const [says, status, metadata, state, reason] of CASES) {
    test(`${says} is ${state}`, () => {
      const found = podState({ apiVersion: "v1", kind: "Pod", metadata: { name: "p", ...metadata }, status });
      assert.equal(found.state, state);
      if (reason !== undefined) assert.equal("reason" in found && found.reason, reason);
    });
  }
});

describe("what restic says", () => {
  test("is progress, problems, words and a summary", () => {
    const log = [
      '{"message_type":"status","total_files":9,"files_done":2,"total_bytes":90,"bytes_done":20}',
      '{"message_type":"error","error":{"message":"open /data/x: permission denied"},"during":"archival","item":"/data/x"}',
      "unable to open cache: read-only",
      '{"message_type":"summary","snapshot_id":"abc"}',
      '{"message_type":"exit_error","code":1,"message":"Fatal: oh no"}',
      '{"cut',
    ];
    assert.deepEqual(readOutput(log.join("\n")), {
      progress: { bytes: 20, files: 2, totalBytes: 90, totalFiles: 9 },
      problems: ["open /data/x: permission denied"],
      words: ["unable to open cache: read-only", "Fatal: oh no", '{"cut'],
      summary: { message_type: "summary", snapshot_id: "abc" },
    });
  });

  const FAILURES: [code: number, says: string, kind: string, message: RegExp][] = [
    [12, "Fatal: wrong password or no key found", "denied", /does not open with this password/],
    [10, "Fatal: repository does not exist: Stat: NoSuchBucket", "missing", /no such bucket/],
    [10, "Fatal: repository does not exist", "missing", /no repository/],
    [11, "unable to create lock in backend: repository is already locked", "busy", /locked by another/],
    [1, "Fatal: unable to open config file: Stat: Access Denied.", "denied", /refused its credentials/],
    [1, "Fatal: googleapi: Error 403: Forbidden", "denied", /refused its credentials/],
    [1, "write /data/x: no space left on device", "invalid", /volume is full/],
    [1, "Fatal: failed to find snapshot: no matching ID found for prefix", "missing", /doesn't hold this copy/],
    [1, "ciphertext verification failed", "corrupt", /damaged/],
    [1, "dial tcp 10.0.0.1:443: i/o timeout", "unreachable", /can't be reached/],
    [1, "Fatal: something else", "unreachable", /exit code 1: Fatal: something else/],
  ];
  for (const [exitCode, words, kind, message] of FAILURES) {
    test(`${exitCode}, ${words}`, () => {
      const error = failureOf({ exitCode, reason: "Error" }, { problems: [], words: [words] }, "copy");
      assert.equal(error.kind, kind);
      assert.match(error.message, message);
      assert(error.message.startsWith("can't copy: "));
    });
  }

  const LEFT: [says: string, errors: number, problems: string[], attributesOnly: boolean][] = [
    ["owners", 2, ["lchown /data/a: operation not permitted", "lchown /data/b: operation not permitted"], true],
    ["attributes", 1, ["xattr.LSet /data/a user.x: operation not supported"], true],
    ["a file too", 2, ["lchown /data/a: operation not permitted", "write /data/b: no space left on device"], false],
    ["more than its log holds", 3, ["chmod /data/a: operation not permitted"], false],
  ];
  for (const [says, errors, problems, attributesOnly] of LEFT) {
    test(`of a restore that lacks ${says}`, () => {
      const words = [`Fatal: There were ${errors} errors`];
      assert.equal(lacksOnlyAttributes({ problems, words }), attributesOnly);
    });
  }

  test("or Kubernetes says why it never began", () => {
    const error = neverBegan({ reason: "Unschedulable", message: "0/3 nodes are available" }, 300, "copy");
    assert.equal(error.kind, "timeout");
    assert.equal(error.message, "can't copy: no node takes its Pod after 300 s: 0/3 nodes are available");
  });
});

describe("a claim", () => {
  const claim = (accessMode: string) => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data" },
    spec: { accessModes: [accessMode] },
  });
  const volume = (volumeMode?: string) => ({
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: "pv" },
    spec: { volumeMode, accessModes: ["ReadWriteOnce", "ReadWriteMany"] },
  });
  const mount = (running: boolean) => ({
    pod: { name: "db-0", uid: "u" },
    running,
    nodeName: "node-1",
    volumeName: "data",
  });
  const CASES: [says: string, ...Parameters<typeof unfit>, reason: RegExp | undefined, node: string | undefined][] = [
    ["in use", claim("ReadWriteOnce"), volume("Filesystem"), mount(true), undefined, "node-1"],
    ["of no Pod", claim("ReadWriteOnce"), volume(), undefined, undefined, undefined],
    ["whose Pod waits", claim("ReadWriteOnce"), volume(), mount(false), undefined, undefined],
    ["of many nodes", claim("ReadWriteMany"), volume(), mount(true), undefined, undefined],
    ["of one Pod alone", claim("ReadWriteOncePod"), volume(), mount(true), /beside db-0/, "node-1"],
    ["of one Pod that isn't there", claim("ReadWriteOncePod"), volume(), undefined, undefined, undefined],
    ["that is a device", claim("ReadWriteOnce"), volume("Block"), undefined, /block device/, undefined],
  ];
  for (const [says, claim, volume, mount, reason, node] of CASES) {
    test(says, () => {
      const found = unfit(claim, volume, mount);
      if (reason) assert.match(found ?? "", reason);
      else assert.equal(found, undefined);
      assert.equal(pinnedTo(claim, volume, mount), node);
    });
  }
});

function refusal(kind: string, says: RegExp) {
  return (error: unknown) => {
    assert(error instanceof LifeboatError);
    assert.equal(error.kind, kind);
    assert.match(error.message, says);
    return true;
  };
}

test("a refused Secret is told of without the words of who refused it, which may quote it", async () => {
  const SECRET = "correct horse";
  const refused = { kind: "Status", reason: "BadRequest", code: 400, message: `webhook denied: found ${SECRET}` };
  const made = { kind: "Job", apiVersion: "batch/v1", metadata: { name: "j", namespace: "n", uid: "u" } };
  const kube = {
    request: ({ method, path }: { method?: string; path: string }) => {
      if (method !== "POST") return answer(404, { kind: "Status", code: 404 });
      return path.endsWith("/secrets") ? answer(400, refused) : answer(201, made);
    },
  } as Partial<Kube> as Kube;
  const job = {
    ...{ name: "j", namespace: "n", labels: {}, image: "restic:1", commands: [["snapshots"]] },
    repository: { url: "s3:x", env: {}, flags: [] },
    secrets: repositorySecrets(SECRET),
  };
  const { signal } = new AbortController();
  await assert.rejects(
    runRestic({ kube, job, what: "look", timing: RESTIC_TIMING, signal }),
    (error: LifeboatError) => {
      assert.equal(error.message.includes(SECRET), false);
      assert.match(error.message, /did not take the Secret n\/j/);
      return true;
    },
  );
});
