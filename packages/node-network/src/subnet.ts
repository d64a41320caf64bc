export interface Subnet {
  /** First address as a number. */
  readonly first: number;
  readonly prefix: number;
}

/** @throws Error when it is not an IPv4 subnet with 8 to 29 bits of prefix and no bits of a host set */
export function parseSubnet(text: string): Subnet {
  const match = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(text);
  const prefix = Number(match?.[2]);
  const first = parseAddress(match?.[1] ?? '');
  if (!Number.isInteger(first) || !(prefix >= 8 && prefix <= 29) || first % 2 ** (32 - prefix) !== 0) {
    throw new Error(`${text} is not an IPv4 subnet such as 198.18.0.0/24 (prefix 8 to 29, no host bits)`);
  }
  return { first, prefix };
}

/** The n-th /24 of 198.18.0.0/15 (RFC 2544: never a real destination). */
export function benchmarkSubnet(n: number): string {
  return `198.${18 + (n >> 8)}.${n & 255}.0/24`;
}

/** Whether {@link parseSubnet} takes it. */
export function isSubnet(text: string): boolean {
  try {
    return parseSubnet(text).first >= 0;
  } catch {
    return false;
  }
}

/** NaN when it is not an IPv4 address. */
export function parseAddress(text: string): number {
  const parts = text.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) return Number.NaN;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export function formatAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

/** A locally administered MAC address that follows from the IPv4 address, as Docker makes them: `02:42:` and its bytes. */
export function macOf(address: string): string {
  const value = parseAddress(address);
  if (Number.isNaN(value)) throw new TypeError(`${address} is not an IPv4 address`);
  const bytes = [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256);
  return ['02', '42', ...bytes.map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
