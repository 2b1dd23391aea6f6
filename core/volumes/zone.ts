import { createHash } from "node:crypto";

/** What joins the zones of a disk that is in several. */
export const ZONES = "__";

/**
 * The forms of zones, each with its region: AWS's (eu-west-1a, also local zones as us-west-2-lax-1a), Google Cloud's
 * (europe-west1-b) and Azure's, as its nodes' labels have them (westeurope-1). None has the form of another.
 */
const FORMS = [
  /^([a-z]{2,4}(?:-[a-z]+)+?-\d{1,2})(?:[a-z]|-[a-z0-9-]+)$/,
  /^([a-z]+-[a-z]+\d+)-[a-z0-9]+$/,
  /^([a-z0-9]+)-\d$/,
];

/** The region of a zone, or of the first of several; undefined for what is none, such as the "0" of Azure's nodes without zones. */
export function regionOfZone(zone: string): string | undefined {
  const [first = ""] = zone.split(ZONES);
  return FORMS.map((form) => form.exec(first)?.[1]).find(Boolean);
}

/**
 * The zone for a disk that is made of a snapshot: where it was if the target has nodes there, else one of the target's in
 * the same region, by `seed`, so that many disks spread and each comes to the same one again. A disk of several zones
 * stays where it was if any of them has nodes. `zones`: those of the target's nodes. `reason`: why there is none.
 */
export function zoneFor(wanted: string, zones: readonly string[], seed: string): { zone: string } | { reason: string } {
  const had = wanted.split(ZONES);
  if (had.some((zone) => zones.includes(zone))) return { zone: wanted };
  const region = regionOfZone(wanted);
  const zoned = [...new Set(zones)].filter((zone) => regionOfZone(zone)).sort();
  const places = region ? zoned.filter((zone) => regionOfZone(zone) === region) : zoned;
  if (places.length > 0) {
    const first = createHash("sha256").update(seed).digest().readUInt32BE() % places.length;
    const rotated = [...places.slice(first), ...places.slice(0, first)];
    // The disk's other zones need no nodes.
    return { zone: [...rotated, ...had].slice(0, had.length).join(ZONES) };
  }
  if (zoned.length === 0) return { zone: zones.length > 0 ? "" : wanted };
  const others = [...new Set(zoned.map((zone) => regionOfZone(zone)))].join(", ");
  return {
    reason: `its snapshot is in ${region}, the target's nodes are in ${others}: a disk is made where its snapshot is`,
  };
}
