import { settle } from "../backup/capture.ts";
import { HOOK_ANNOTATION, PODS } from "../backup/hooks.ts";
import { listNamespaces, type Namespaces, participants } from "../backup/participants.ts";
import type { Listing } from "../backup/photograph.ts";
import { policiesText } from "../backup/policies.ts";
import { type BackupSpec, backupResources } from "../backup/scope.ts";
import { isLifeboatError, LifeboatError } from "../errors.ts";
import { expectOk, type Kube } from "../kube/client.ts";
import { readClusterUid } from "../kube/clusteruid.ts";
import type { CredentialFacts } from "../kube/credentials.ts";
import { discover } from "../kube/discovery.ts";
import { listPages, METADATA_ONLY } from "../kube/list.ts";
import { type Resource, resourceKey } from "../kube/resource.ts";
import { notKubernetes } from "../kube/scan.ts";
import { NAMESPACES } from "../objects/resources.ts";
import { someOf } from "../report.ts";
import { type Answer, asking } from "./asking.ts";
import { judgeClock, type Reading } from "./clock.ts";
import { type CheckedVolumes, type CopyRole, mayCopyVolumes, neededForCopies } from "./copying.ts";
import type { Check } from "./document.ts";
import { leftInCluster, orphanedSnapshots } from "./orphans.ts";
import { leftByRestores } from "./restores.ts";
import { type Rights, rightsOf, type Wanted } from "./rights.ts";

/** A cluster to ask about. */
export interface CheckedCluster {
  /** As it is named in the configuration, or its context. */
  name: string;
  /** Where its address and its credentials come from, for people: a reference, never a value. */
  from: string;
  open(signal: AbortSignal): Promise<Kube>;
  /** What schedules back up of it; all is asked for where none does. */
  specs: BackupSpec[];
  /** Where its backups lie, of a fleet. */
  location?: string;
}

/** Who the API server takes us for; without a user where it can't tell. */
interface Identity {
  user?: string;
  groups: string[];
}

/** A cluster's namespaces and resources, and the LISTs that its backups make. */
interface Reads {
  resources: Resource[];
  listings: Listing[];
  /** Those of `listings` that may not be made. */
  refused: Listing[];
}

const FIRST_ANSWER_MS = 10_000;
const DAY_MS = 24 * 3_600_000;
/** A credential that somebody must renew: so long before its end they are told. */
const RENEW_DAYS = 14;

const WRITES = ["create", "update", "patch", "delete", "deletecollection"];
/** Where rules aren't told, each right costs a request: of these kinds alone it is asked. */
const TELLING = [NAMESPACES, PODS, "secrets", "deployments.apps"];
/** To run commands in Pods, which hooks need. */
const EXEC: Wanted = { verb: "create", group: "", resource: PODS, subresource: "exec" };
const RBAC = "rbac.authorization.k8s.io";
/** Rights beside those to write a kind, by which whoever has them can come by more. */
const POWERS: Wanted[] = [
  { verb: "create", group: "", resource: "serviceaccounts", subresource: "token" },
  ...["users", "groups", "serviceaccounts"].map((resource) => ({ verb: "impersonate", group: "", resource })),
  ...["escalate", "bind"].map((verb) => ({ verb, group: RBAC, resource: "clusterroles" })),
];

/** Whether a cluster can be backed up, question by question. Throws the signal's reason. */
export async function checkCluster(
  cluster: CheckedCluster,
  volumes: CheckedVolumes,
  signal: AbortSignal,
): Promise<Check[]> {
  const { ask, answers } = asking("cluster", { name: cluster.name, signal });
  const kube = await ask("access", async (signal) => {
    const kube = await cluster.open(signal);
    return { state: "ok", message: `${cluster.from}: ${kube.server}`, value: kube };
  });
  if (!kube) return answers();
  try {
    const clock = await ask("reach", (signal) => reach(kube, signal));
    if (!clock) return answers();
    const identity = await ask("credential", (signal) => identify(kube, signal));
    await ask("clock", async () => judgeClock(clock, "the API server"));
    if (!identity) return answers();
    const resources = await ask("kinds", (signal) => serves(kube, signal));
    if (!resources) return answers();
    const rights = rightsOf(kube, signal);
    const reads = await ask("list", (signal) => mayList({ ...cluster, kube, resources, rights, identity }, signal));
    if (!reads) return answers();
    await ask("secrets", (signal) => readsSecrets(kube, reads, identity, signal));
    await ask("uid", (signal) => tellsUid(kube, identity, signal));
    const hooked = await ask("hooks", (signal) => mayRunHooks({ ...cluster, kube, reads, rights, identity }, signal));
    const granted = (role: CopyRole) => granting(role, identity);
    const copying = { ...cluster, resources, rights, volumes, granting: granted };
    const roles = await ask("volumes", () => mayCopyVolumes(copying));
    await ask("leftovers", (signal) => leftInCluster(kube, volumes, signal));
    await ask("restores", (signal) => leftByRestores(kube, volumes, signal));
    await ask("snapshots", (signal) => orphanedSnapshots(kube, volumes, signal));
    await ask("surplus", () => surplus(reads.resources, rights, { hooked: hooked !== undefined, roles }));
    return answers();
  } finally {
    await kube.close();
  }
}

/** An answer, whatever it says: it tells the server's time. The second one's connection is there already. */
async function reach(kube: Kube, signal: AbortSignal): Promise<Answer<Reading>> {
  const ask = () => kube.request({ path: "/version", timeoutMs: FIRST_ANSWER_MS, signal });
  const first = await ask();
  const refused = first.status === 401 || first.status === 403;
  const version = refused ? undefined : versionIn(expectOk(first, "tell its version").body);
  const sent = Date.now();
  const { headers, latencyMs } = refused ? first : await ask();
  const said = Date.parse(headers.date ?? "");
  const what = version ? `Kubernetes ${version}` : "it tells its version only to whom it knows";
  return {
    state: "ok",
    message: `${what}, ${Math.ceil(latencyMs)} ms`,
    value: { sent: sent - (refused ? latencyMs : 0), received: Date.now(), said: Number.isNaN(said) ? sent : said },
  };
}

function versionIn(body: Buffer): string {
  try {
    const { gitVersion } = JSON.parse(body.toString("utf8")) as { gitVersion?: unknown };
    if (typeof gitVersion === "string") return gitVersion;
  } catch {}
  throw notKubernetes("not the version of a Kubernetes API server");
}

/** Who we are. SelfSubjectReview is there since Kubernetes 1.28, for whoever is anybody. */
async function identify(kube: Kube, signal: AbortSignal): Promise<Answer<Identity>> {
  const facts = await kube.credential(signal);
  const review = await kube.request({
    method: "POST",
    path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    body: JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" }),
    signal,
  });
  if (review.status >= 400) expectOk(await kube.request({ path: "/api", signal }), "accept the credential");
  const { username, groups = [] } = review.status < 400 ? JSON.parse(review.body.toString("utf8")).status.userInfo : {};
  if (username === "system:anonymous") {
    throw new LifeboatError("denied", "the API server takes us for nobody (system:anonymous)", {
      hint: "give the kubeconfig's user a token or a client certificate",
    });
  }
  return { ...judgeEnd(facts, username), value: { user: username, groups } };
}

function judgeEnd({ means, ends, renewed }: CredentialFacts, user = "accepted"): Answer<Identity> {
  if (renewed) return { state: "ok", message: `${user}, by a ${means} that is renewed by itself` };
  if (!ends) return { state: "ok", message: `${user}, by a ${means} that tells no end` };
  const left = ends.getTime() - Date.now();
  const message = `${user}, by a ${means} that ends on ${ends.toISOString().slice(0, 16).replace("T", " ")} UTC`;
  if (left > RENEW_DAYS * DAY_MS) return { state: "ok", message };
  return {
    state: "warning",
    message: `${message}, in ${left < DAY_MS ? `${(left / 3_600_000).toFixed(1)} hours` : `${Math.floor(left / DAY_MS)} days`}`,
    todo: "renew it before, or take one that renews itself (eks, gke or aks in place of a kubeconfig)",
  };
}

async function serves(kube: Kube, signal: AbortSignal): Promise<Answer<Resource[]>> {
  const discovery = await discover(kube, { signal });
  const resources = backupResources(discovery);
  const message = `${resources.length} kinds of objects that can be backed up`;
  const [dead] = discovery.warnings;
  if (!dead) return { state: "ok", message, value: resources };
  return {
    state: "warning",
    message: `${message}; of ${someOf(discovery.warnings.map(({ group }) => group))} none: ${dead.message}`,
    todo: "see why its backend is down: kubectl get apiservices",
    value: resources,
  };
}

interface Asked {
  kube: Kube;
  rights: Rights;
  identity: Identity;
  specs: BackupSpec[];
}

/** Whether all LISTs may be made that the backups make: those of the specs, as the cluster is now. */
async function mayList(
  { kube, resources, rights, identity, specs }: Asked & { resources: Resource[] },
  signal: AbortSignal,
): Promise<Answer<Reads>> {
  const namespaces = await namespacesIn(kube, resources, signal);
  const whole = resources.map((resource): Listing => ({ resource }));
  const wanted = namespaces
    ? (await Promise.all(specs.map((spec) => listingsOf(spec, { kube, resources, namespaces, signal })))).flat()
    : [];
  const listings = distinct(wanted.length ? [...whole.filter(isOf(NAMESPACES)), ...wanted] : whole);
  const allowed = await Promise.all(
    listings.map(({ resource: { group, name }, namespace }) =>
      rights.may({ verb: "list", group, resource: name, namespace }),
    ),
  );
  const refused = listings.filter((_, at) => !allowed[at]);
  const value = { resources, listings, refused };
  // Secrets are a question of their own.
  const names = refused.filter((listing) => !isOf("secrets")(listing)).map(listingText);
  const all = `all ${listings.length}${wanted.length ? " that the schedules store" : ""}`;
  if (names.length === 0) return { state: "ok", message: `may list ${all}`, value };
  const others = someOf(names.filter((name) => name !== NAMESPACES));
  const lacks = names.includes(NAMESPACES)
    ? `namespaces, without which there is no backup${others && `, nor ${others}`}`
    : `${names.length} of ${listings.length}: ${others}`;
  return {
    state: "failed",
    error: "denied",
    message: `may not list ${lacks}`,
    todo: granting("backup", identity),
    resources: names,
    value,
  };
}

/** Undefined where they may not be listed. */
async function namespacesIn(kube: Kube, resources: Resource[], signal: AbortSignal): Promise<Namespaces | undefined> {
  try {
    return await listNamespaces(kube, resources, signal);
  } catch (error) {
    if (isLifeboatError(error, "denied")) return undefined;
    throw error;
  }
}

/** The LISTs of a backup of that spec. Throws `invalid` where the spec can't be carried out in this cluster. */
async function listingsOf(
  spec: BackupSpec,
  facts: { kube: Kube; resources: Resource[]; namespaces: Namespaces; signal: AbortSignal },
): Promise<Listing[]> {
  const { kube, resources, namespaces, signal } = facts;
  const resourcePolicyRules = await policiesText(spec, kube, signal);
  const { scope } = settle(spec, { resources, namespaces, resourcePolicyRules });
  return resources.filter(scope.collects).flatMap(participants(scope, namespaces).everything);
}

function distinct(listings: Listing[]): Listing[] {
  return [...new Map(listings.map((listing) => [listingText(listing), listing])).values()];
}

function listingText({ resource, namespace }: Listing): string {
  return `${resourceKey(resource)}${namespace ? ` in ${namespace}` : ""}`;
}

function isOf(key: string) {
  return ({ resource }: Listing) => resourceKey(resource) === key;
}

/** Reads one Secret, and looks at nothing of it: what is denied on the way, or can't be decrypted there, shows only so. */
async function readsSecrets(kube: Kube, reads: Reads, identity: Identity, signal: AbortSignal): Promise<Answer> {
  const [listing] = reads.listings.filter(isOf("secrets"));
  if (!listing) return { state: "notAsked", message: "no schedule stores Secrets" };
  if (reads.refused.some(isOf("secrets"))) {
    return {
      state: "failed",
      error: "denied",
      message: "may not list Secrets, without which most applications don't start",
      todo: granting("backup", identity),
      resources: ["secrets"],
    };
  }
  const { resource, namespace } = listing;
  for await (const _ of listPages(kube, resource, { namespace, limit: 1, signal })) break;
  return { state: "ok", message: "may be read" };
}

/** By its UID a backup is known to be of this cluster. */
async function tellsUid(kube: Kube, identity: Identity, signal: AbortSignal): Promise<Answer> {
  const uid = await readClusterUid(kube, signal);
  if (uid) return { state: "ok", message: uid };
  return {
    state: "warning",
    message: "may not read the UID of Namespace kube-system, by which a backup is known to be of this cluster",
    todo: granting("backup", identity),
  };
}

async function mayRunHooks(
  { kube, reads, rights, identity, specs }: Asked & { reads: Reads },
  signal: AbortSignal,
): Promise<Answer<"hooked">> {
  const pods = reads.listings.filter(isOf(PODS));
  const inSpecs = specs.some(({ hooks }) => hooks?.resources?.length);
  const who = inSpecs ? "a schedule has hooks" : await hookedPod(kube, pods, reads, signal);
  if (!who) return { state: "notAsked", message: "neither a schedule nor a Pod has hooks" };
  const wanted = pods.flatMap(({ namespace }) => [
    { verb: "get", group: "", resource: PODS, namespace },
    { verb: "get", group: "", resource: PODS, subresource: "exec", namespace },
    { ...EXEC, namespace },
  ]);
  const allowed = await Promise.all(wanted.map(rights.may));
  if (!allowed.includes(false)) return { state: "ok", message: `${who}, and pods/exec is allowed`, value: "hooked" };
  const lacks = wanted
    .filter((_, at) => !allowed[at])
    .map(({ verb, subresource }) => `${verb} ${PODS}${subresource ? `/${subresource}` : ""}`);
  return {
    state: "failed",
    error: "denied",
    message: `${who}, and it may not ${[...new Set(lacks)].join(", ")}`,
    todo: granting("hooks", identity),
    resources: ["pods/exec"],
    value: "hooked",
  };
}

/** The first Pod with hooks of its own, told as who has them. */
async function hookedPod(kube: Kube, pods: Listing[], { refused }: Reads, signal: AbortSignal) {
  for (const { resource, namespace } of pods.filter((listing) => !refused.includes(listing))) {
    const pages = listPages(kube, resource, { namespace, limit: 1000, accept: METADATA_ONLY, signal });
    for await (const { items } of pages) {
      const hooked = items.find((body) => body.includes(HOOK_ANNOTATION));
      if (!hooked) continue;
      const { metadata } = JSON.parse(hooked.toString("utf8"));
      return `Pod ${metadata.namespace}/${metadata.name} has hooks`;
    }
  }
  return undefined;
}

/** Whether the identity may write: what a backup never does, and a restore must; or run commands, where there are no hooks. */
async function surplus(
  resources: Resource[],
  rights: Rights,
  { hooked, roles = [] }: { hooked: boolean; roles?: CopyRole[] },
): Promise<Answer> {
  const { incomplete, allow } = await rights.rules();
  const kinds = incomplete ? resources.filter((resource) => TELLING.includes(resourceKey(resource))) : resources;
  const needed = new Set(neededForCopies(roles).map((one) => `${one.verb} ${wantedText(one)}`));
  const wanted = [
    ...kinds.flatMap(({ group, name }) => WRITES.map((verb): Wanted => ({ verb, group, resource: name }))),
    ...(hooked ? [] : [EXEC]),
    ...POWERS,
  ].filter((one) => !needed.has(`${one.verb} ${wantedText(one)}`));
  const allowed = await Promise.all(wanted.map((one) => (incomplete ? rights.may(one) : allow(one))));
  const surplus = wanted.filter((_, at) => allowed[at]);
  const others = incomplete ? "; of other kinds it was not asked, since the authorizers tell no rules" : "";
  if (surplus.length === 0) {
    const asked = kinds.map(resourceKey).join(", ");
    return { state: "ok", message: incomplete ? `may not write ${asked}${others}` : "may write nothing" };
  }
  const verbs = [...new Set(surplus.map(({ verb }) => verb))];
  const names = [...new Set(surplus.map(wantedText))];
  const everything = surplus.length === wanted.length && !incomplete;
  return {
    state: "note",
    message: everything ? "may write everything" : `may also ${verbs.join(", ")}: ${someOf(names, 3)}${others}`,
    todo: "right for restores; what only backs up needs no more than infra/kubernetes/backup.yaml",
    resources: names,
  };
}

function wantedText({ group, resource, subresource }: Wanted): string {
  const key = resourceKey({ group, name: resource });
  return subresource ? `${key}/${subresource}` : key;
}

/** The commands that give the identity what a file of infra/kubernetes holds. */
function granting(file: "backup" | "hooks" | CopyRole, { user = "", groups }: Identity): string {
  const apply = `kubectl apply -f infra/kubernetes/${file}.yaml`;
  if (groups.includes(`lifeboat:${file}`)) return apply;
  const account = /^system:serviceaccount:([^:]+):(.+)$/.exec(user);
  const quoted = /^[\w:.@/-]*$/.test(user) ? user || "USER" : `'${user.replaceAll("'", "'\\''")}'`;
  const subject = account ? `--serviceaccount=${account[1]}:${account[2]}` : `--user=${quoted}`;
  const name = `lifeboat-${file}-${user.replaceAll(/[^\w.-]+/g, "-") || "user"}`;
  return `${apply} && kubectl create clusterrolebinding ${name} --clusterrole=lifeboat-${file} ${subject}`;
}
