import { createHash } from 'node:crypto';

/** Hex digits of the SHA-256 of the text. */
export function digest(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/**
 * Name for a guest's directory, control groups or container: what is readable of the instance id, and a hash of all of
 * it. Safe as one path segment, at most 51 characters of `a-z0-9-`, and never the same for two ids, whatever they
 * contain.
 * @param fallback stands for an id of which nothing is readable
 */
export function guestName(instance: string, fallback = 'guest'): string {
  const readable = instance
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '');
  return `${readable || fallback}-${digest(instance, 10)}`;
}

/** What a host name may contain (RFC 1123), at most 63 characters. */
export function hostName(instance: string, fallback = 'guest'): string {
  const name = instance
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '');
  return name || fallback;
}
