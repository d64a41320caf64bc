import { createHash } from 'node:crypto';

/** Hex digits of the SHA-256 of the text. */
export function digest(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/**
 * Name of a zone's directory and control groups: what is readable of the instance id, and a hash of all of it. Safe as
 * one path segment, at most 51 characters, and never the same for two ids, whatever they contain.
 */
export function zoneName(instance: string): string {
  const readable = instance
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '');
  return `${readable || 'zone'}-${digest(instance, 10)}`;
}

/** Name of the host's end of a zone's cable: 12 characters (the kernel takes 15), told apart by data directory. */
export function linkName(dataDir: string, zone: string): string {
  return `cz${digest(`${dataDir}\n${zone}`, 10)}`;
}

/** What a host name may contain (RFC 1123), at most 63 characters. */
export function hostName(instance: string): string {
  const name = instance
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '');
  return name || 'zone';
}
