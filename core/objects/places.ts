import { type Fields, isFields } from "./fields.ts";

/** A place in an object: "spec.tls[].hosts[]", `[]` standing for each entry of a list; as steps where a key has dots. */
export type Place = string | string[];

/** The annotation's place. */
export const annotation = (key: string): Place => ["metadata", "annotations", key];

/** Changes every text at the place, in the object itself. Of a list of texts, those that become the same are kept once. */
export function changeAt(object: Fields, place: Place, change: (text: string) => string): void {
  changeBelow(object, typeof place === "string" ? place.split(".") : place, change);
}

function changeBelow(holder: unknown, [step = "", ...rest]: string[], change: (text: string) => string): void {
  const key = step.replace("[]", "");
  if (!isFields(holder) || !Object.hasOwn(holder, key)) return;
  const found = holder[key];
  if (rest.length) {
    const inner = step.endsWith("[]") && Array.isArray(found) ? found : [found];
    for (const one of inner) changeBelow(one, rest, change);
  } else if (Array.isArray(found) && step.endsWith("[]")) {
    holder[key] = changeTexts(found, change);
  } else if (typeof found === "string") {
    holder[key] = change(found);
  }
}

function changeTexts(texts: unknown[], change: (text: string) => string): unknown[] {
  const changed = texts.map((text) => (typeof text === "string" ? change(text) : text));
  return changed.some((text, at) => text !== texts[at]) ? [...new Set(changed)] : texts;
}

/** Where the specs of Pods stand, by group-resource string: Pods', and those that controllers make Pods from. */
export const POD_SPECS: Record<string, string> = {
  pods: "spec",
  podtemplates: "template.spec",
  replicationcontrollers: "spec.template.spec",
  "replicasets.apps": "spec.template.spec",
  "deployments.apps": "spec.template.spec",
  "statefulsets.apps": "spec.template.spec",
  "daemonsets.apps": "spec.template.spec",
  // A StatefulSet whose revisions had another template than itself would replace all its Pods.
  "controllerrevisions.apps": "data.spec.template.spec",
  "jobs.batch": "spec.template.spec",
  "cronjobs.batch": "spec.jobTemplate.spec.template.spec",
};
