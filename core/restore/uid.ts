/** A UID in 16 characters of one byte each: what a restore keeps of the UIDs of owners. */
export function compactUid(uid: string): string {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uid)
    ? Buffer.from(uid.replaceAll("-", ""), "hex").toString("latin1")
    : uid;
}
