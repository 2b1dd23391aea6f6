/** Headers of answers that name other paths of the API. */
const LINKS = ["location", "link"];

/** A request to the API of one of a fleet's clusters. */
interface ClusterRequest {
  base: string;
  cluster: string;
  /** Whether it takes no more than what lies in the cluster's location. */
  reads: boolean;
  /** As that API takes it. */
  request: Request;
}

/** What is of a location alone, beside reading it; a restore's cluster its own body tells. */
const STORED = /^\/v1\/(backups\/[^/]+\/(verify|pin)|restores)$/;

/** The cluster whose API a request of a fleet's is for; undefined for the fleet's own. */
export function clusterRequest(request: Request): ClusterRequest | undefined {
  const url = new URL(request.url);
  const [, base, name = "", path = ""] = /^(\/clusters\/([^/]+))(\/.*)$/.exec(url.pathname) ?? [];
  if (base === undefined) return undefined;
  url.pathname = path;
  let cluster = name;
  try {
    cluster = decodeURIComponent(name);
  } catch {}
  const reads = request.method === "GET" ? path !== "/v1/retention" : STORED.test(path);
  return { base, cluster, reads, request: new Request(url, request) };
}

/** An answer of an API that stands below `base`: the paths in its headers begin there. */
export function answerBelow(base: string, answer: Response): Response {
  for (const header of LINKS) {
    const value = answer.headers.get(header);
    if (value !== null) answer.headers.set(header, value.replace(/^(<?)\//, `$1${base}/`));
  }
  return answer;
}
