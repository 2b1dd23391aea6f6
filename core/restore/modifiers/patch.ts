import { canonical, entriesOf, type Fields, isFields } from "../../objects/fields.ts";

/**
 * The JSON merge patch (RFC 7386) that makes `from` say what `to` says; undefined where it does already. Both are in
 * their comparable form. What only `from` has is removed; a list is replaced whole, by that of `full`, which is `to`
 * with what comparing disregards. Labels and annotations are removed one by one: the live object may have more of them
 * than `from` shows.
 */
export function mergePatchBetween(from: Fields, to: Fields, full: Fields = to): Fields | undefined {
  const maps = ["labels", "annotations"].filter((map) => isFields(fieldsOf(from.metadata)[map]));
  if (maps.length === 0) return difference(from, to, full);
  const emptied = Object.fromEntries(maps.map((map) => [map, {}]));
  return difference(from, { ...to, metadata: { ...emptied, ...fieldsOf(to.metadata) } }, full);
}

/** The object that a merge patch (RFC 7386) makes of another, which stays as it is. */
export function merged(target: Fields, patch: Fields): Fields {
  const result = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = isFields(value) ? merged(fieldsOf(result[key]), value) : value;
  }
  return result;
}

function difference(from: Fields, to: Fields, full: Fields): Fields | undefined {
  const patch: Fields = {};
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const [old, wanted] = [from[key] ?? undefined, to[key] ?? undefined];
    if (isFields(old) && isFields(wanted)) {
      const inner = difference(old, wanted, fieldsOf(full[key]));
      if (inner) patch[key] = inner;
    } else if (wanted === undefined) {
      if (old !== undefined) patch[key] = null;
    } else if (old === undefined || canonical(old) !== canonical(wanted)) {
      patch[key] = full[key] ?? wanted;
    }
  }
  return Object.keys(patch).length ? patch : undefined;
}

/**
 * What a live ServiceAccount lacks of the restored one, as a merge patch; undefined where it lacks nothing. Nothing of
 * it is overwritten or removed (Velero mergeServiceAccounts, velero-format: 5.6).
 */
export function accountAdditions(live: Fields, wanted: Fields): Fields | undefined {
  const patch: Fields = {};
  for (const list of ["secrets", "imagePullSecrets"]) {
    const has = new Set(entriesOf(live, list).map(({ name }) => name));
    const missing = entriesOf(wanted, list).filter(({ name }) => !has.has(name));
    if (missing.length) patch[list] = [...entriesOf(live, list), ...missing];
  }
  const metadata: Fields = {};
  for (const map of ["labels", "annotations"]) {
    const has = fieldsOf(fieldsOf(live.metadata)[map]);
    const missing = Object.entries(fieldsOf(fieldsOf(wanted.metadata)[map])).filter(
      ([key]) => !Object.hasOwn(has, key),
    );
    if (missing.length) metadata[map] = Object.fromEntries(missing);
  }
  if (Object.keys(metadata).length) patch.metadata = metadata;
  return Object.keys(patch).length ? patch : undefined;
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}
