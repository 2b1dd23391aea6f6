/** Headers of answers that name other paths of the API. */
const LINKS = ["location", "link"];

/** The cluster whose API a request of a fleet's is for, and the request as that API takes it; undefined for the fleet's own. */
export function clusterRequest(request: Request): { base: string; cluster: string; request: Request } | undefined {
  const url = new URL(request.url);
  const [, base, name = "", path = ""] = /^(\/clusters\/([^/]+))(\/.*)$/.exec(url.pathname) ?? [];
  if (base === undefined) return undefined;
  url.pathname = path;
  let cluster = name;
  try {
    cluster = decodeURIComponent(name);
  } catch {}
  return { base, cluster, request: new Request(url, request) };
}

/** An answer of an API that stands below `base`: the paths in its headers begin there. */
export function answerBelow(base: string, answer: Response): Response {
  for (const header of LINKS) {
    const value = answer.headers.get(header);
    if (value !== null) answer.headers.set(header, value.replace(/^(<?)\//, `$1${base}/`));
  }
  return answer;
}
