/** How a user proves who it is: by client certificate (PEM) or by bearer token. */
export type KubeUser = { cert: string; key: string } | { token: string };

/** A kubeconfig, as YAML, for one cluster and one user. `ca` is PEM. */
export function kubeconfig(url: string, ca: string, user: KubeUser): string {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const credential =
    "token" in user
      ? `token: ${JSON.stringify(user.token)}`
      : `client-certificate-data: ${base64(user.cert)}\n      client-key-data: ${base64(user.key)}`;
  return `apiVersion: v1
kind: Config
current-context: rig
clusters:
  - name: rig
    cluster:
      server: ${url}
      certificate-authority-data: ${base64(ca)}
users:
  - name: rig
    user:
      ${credential}
contexts:
  - name: rig
    context: { cluster: rig, user: rig }
`;
}
