/**
 * Gives back the memory under `bytes` at once. The garbage collector comes around when some 60 MB of buffers wait for it.
 * Only for who made the bytes and is the last to look at them: they, and all slices of them, are empty afterwards.
 */
export function release(bytes: Buffer): void {
  const { buffer } = bytes;
  // Small ones lie in a pool, beside others'.
  if (buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0);
}
