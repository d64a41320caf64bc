import { CloudosError } from '@cloudos/sdk';

/** The userland of the host, read-only: the one image that no store holds. */
export const hostReference = 'host:';

const digestPattern = /^sha256:[0-9a-f]{64}$/;
const namePattern = /^[a-zA-Z0-9][\w.-]*(:\d+)?(\/[a-zA-Z0-9][\w.-]*)*(:[\w][\w.-]{0,127})?$/;

export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

/**
 * A reference in the one form in which the store keeps it: `name:tag`, with `latest` where no tag is given, or a digest.
 * `name@sha256:…` means the digest. @throws CloudosError IMAGE_NOT_FOUND when it cannot be a reference
 */
export function normalReference(text: string): string {
  if (text === hostReference || isDigest(text)) return text;
  const at = text.indexOf('@');
  if (at >= 0 && isDigest(text.slice(at + 1))) return text.slice(at + 1);
  if (!namePattern.test(text) || text.length > 255) {
    throw new CloudosError('IMAGE_NOT_FOUND', `${JSON.stringify(text)} is no reference to an image`, {
      remedy: 'use name:tag, sha256:<digest>, or host:',
    });
  }
  return text.lastIndexOf(':') > text.lastIndexOf('/') ? text : `${text}:latest`;
}
