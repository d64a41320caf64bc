/** Ten characters of base 36 (about 51 bits) that stand for a plain value: two FNV-1a hashes side by side. */
export function hashOf(value: unknown): string {
  const text = JSON.stringify(value);
  let [a, b] = [0x811c9dc5, 0x9dc5811c];
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    a = Math.imul(a ^ code, 0x01000193) >>> 0;
    b = Math.imul(b ^ (code + 0x5bd1), 0x01000193) >>> 0;
  }
  // final avalanche of MurmurHash3, so that the two differ in more than their start
  const mixed = BigInt(mix(a)) * 0x100000000n + BigInt(mix(b ^ a));
  return (mixed % 36n ** 10n).toString(36).padStart(10, '0');
}

function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
