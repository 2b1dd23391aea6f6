import { LifeboatError } from "../../errors.ts";
import { type Fields, isFields } from "../../objects/fields.ts";
import type { MergeRules } from "./mergekeys.ts";

/**
 * A strategic merge patch applied to an object: Kubernetes' own merging (k8s.io/apimachinery strategicpatch), with its directives `$patch`,
 * `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…`. Changes neither. Throws `invalid` for a
 * patch that contradicts itself or the object.
 */
export function strategicallyMerged(original: Fields, patch: Fields, rules: MergeRules): Fields {
  const directive = patch[DIRECTIVE];
  if (directive === "delete") return {};
  if (directive === "replace") return plain(without(patch, DIRECTIVE)) as Fields;
  if (directive !== undefined) throw wrong(`$patch is "${String(directive)}"; an object takes delete and replace`);
  const result = retained(original, patch);
  const rest = orderLists(result, without(patch, RETAIN), rules);
  for (const [key, value] of Object.entries(rest)) {
    const deleting = key.startsWith(DELETE_FROM);
    const field = deleting ? key.slice(DELETE_FROM.length) : key;
    if (value === null) delete result[field];
    else if (deleting) {
      if (Array.isArray(result[field]))
        result[field] = result[field].filter((one) => !listAt(value, key).includes(one));
    } else setOrDrop(result, field, mergedValue(result[field], value, field, rules));
  }
  return result;
}

const DIRECTIVE = "$patch";
const RETAIN = "$retainKeys";
const ORDER = "$setElementOrder/";
const DELETE_FROM = "$deleteFromPrimitiveList/";

function mergedValue(old: unknown, value: unknown, field: string, rules: MergeRules): unknown {
  const rule = Object.hasOwn(rules, field) ? rules[field]! : {};
  if (isFields(old) && isFields(value)) {
    return rule.replaced ? value : strategicallyMerged(old, value, rule.fields ?? {});
  }
  if (Array.isArray(old) && Array.isArray(value)) {
    return rule.key === undefined ? value : mergedList(old, value, rule.key, rule.fields ?? {});
  }
  return plain(value);
}

/** The fields that `$retainKeys` leaves of the original. */
function retained(original: Fields, patch: Fields): Fields {
  if (!Object.hasOwn(patch, RETAIN)) return { ...original };
  const kept = listAt(patch[RETAIN], RETAIN);
  const stray = Object.keys(patch).find((key) => {
    return patch[key] !== null && key !== RETAIN && !isParallel(key) && !kept.includes(key);
  });
  if (stray !== undefined) throw wrong(`${RETAIN} doesn't name "${stray}", which the patch sets`);
  return Object.fromEntries(Object.entries(original).filter(([key]) => kept.includes(key)));
}

/** Merges the lists that have a `$setElementOrder` into `result` and orders them; gives the patch without them. */
function orderLists(result: Fields, patch: Fields, rules: MergeRules): Fields {
  let rest = patch;
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith(ORDER)) continue;
    const field = key.slice(ORDER.length);
    const [order, mine] = [listAt(value, key), patch[field]];
    const mergeKey = (Object.hasOwn(rules, field) && rules[field]!.key) || "";
    rest = without(rest, key);
    if (mine === undefined && result[field] === undefined) continue;
    const old = listAt(result[field] ?? [], field);
    if (mine !== undefined) checkOrder(listAt(mine, field), order, mergeKey, key);
    rest = without(rest, field);
    const merged = mine === undefined ? old : mergedValue(result[field], mine, field, rules);
    result[field] = interleaved(listAt(merged, field), order, old, mergeKey);
  }
  return rest;
}

function checkOrder(list: unknown[], order: unknown[], mergeKey: string, directive: string): void {
  const places = list
    .filter((one) => !(isFields(one) && DIRECTIVE in one))
    .map((one) => order.findIndex((other) => idOf(one, mergeKey) === idOf(other, mergeKey)));
  const fits = places.every((place, at) => place >= 0 && (at === 0 || place > places[at - 1]!));
  if (order.length && !fits) throw wrong(`the list has other entries than ${directive}, or another order`);
}

function mergedList(old: unknown[], patch: unknown[], mergeKey: string, rules: MergeRules): unknown[] {
  if (!mergeKey) return interleaved([...new Set([...old, ...patch])], patch, old, mergeKey);
  const entries = patch.map((one) => {
    if (!isFields(one)) throw wrong(`a list that is merged by "${mergeKey}" holds an entry that is no object`);
    return one;
  });
  const added = entries.filter((one) => one[DIRECTIVE] === undefined);
  if (entries.some((one) => one[DIRECTIVE] === "replace")) return added.map(plain);
  let kept = old;
  for (const entry of entries.filter((one) => one[DIRECTIVE] !== undefined)) {
    if (entry[DIRECTIVE] !== "delete")
      throw wrong(`$patch is "${String(entry[DIRECTIVE])}"; an entry of a list takes delete and replace`);
    const id = idOf(entry, mergeKey);
    kept = kept.filter((one) => !isFields(one) || one[mergeKey] !== id);
  }
  const merged = [...kept];
  for (const entry of added) {
    const id = idOf(entry, mergeKey);
    const place = merged.findIndex((one) => isFields(one) && one[mergeKey] === id);
    if (place < 0) merged.push(plain(entry));
    else merged[place] = strategicallyMerged(merged[place] as Fields, entry, rules);
  }
  return interleaved(merged, added, kept, mergeKey);
}

/** What the patch names in the patch's order, the rest in the old one, each of these before the first named one that it stood before. */
function interleaved(list: unknown[], order: unknown[], old: unknown[], mergeKey: string): unknown[] {
  const placeIn = (others: unknown[]) => {
    const places = new Map(others.map((one, place) => [idOf(one, mergeKey), place] as const).reverse());
    return (one: unknown) => places.get(idOf(one, mergeKey));
  };
  const [inOrder, inOld] = [placeIn(order), placeIn(old)];
  const named = list.filter((one) => inOrder(one) !== undefined).sort((a, b) => inOrder(a)! - inOrder(b)!);
  const result: unknown[] = [];
  for (const other of list.filter((one) => inOrder(one) === undefined)) {
    while (named.length && !(inOld(named[0])! > inOld(other)!)) result.push(named.shift());
    result.push(other);
  }
  return [...result, ...named];
}

function idOf(one: unknown, mergeKey: string): unknown {
  if (!mergeKey) return one;
  if (!isFields(one) || !Object.hasOwn(one, mergeKey))
    throw wrong(`a list that is merged by "${mergeKey}" holds an entry without it`);
  return one[mergeKey];
}

/** What a patch says where there is nothing to merge it with: without its directives and nulls; undefined where it is one itself. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain).filter((one) => one !== undefined);
  if (!isFields(value)) return value;
  if (Object.hasOwn(value, DIRECTIVE)) return undefined;
  const fields = Object.entries(value).filter(([key, one]) => one !== null && key !== RETAIN && !isParallel(key));
  return Object.fromEntries(fields.map(([key, one]) => [key, plain(one)]).filter(([, one]) => one !== undefined));
}

function isParallel(key: string): boolean {
  return key.startsWith(ORDER) || key.startsWith(DELETE_FROM);
}

function setOrDrop(holder: Fields, key: string, value: unknown): void {
  if (value === undefined) delete holder[key];
  else holder[key] = value;
}

function without(fields: Fields, key: string): Fields {
  const { [key]: _, ...rest } = fields;
  return rest;
}

function listAt(value: unknown, key: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw wrong(`"${key}" is no list`);
}

function wrong(message: string): LifeboatError {
  return new LifeboatError("invalid", message);
}
