import { owner as ownerPath } from '@cloudos/sdk';
import type { Fields } from './fields.ts';

/** What has no field in Kubernetes: annotations of the pod, or labels where they are no annotations. */
export const ownerAnnotation = 'cloudos.io/owner';
export const userAnnotation = 'cloudos.io/user';
export const tagsAnnotation = 'cloudos.io/tags';
export const reservationAnnotation = 'cloudos.io/reservation';

/** On whose behalf a pod runs, what it is tagged with, and the reservation that it runs in. */
export interface Ownership {
  readonly owner?: string;
  readonly user?: string;
  readonly tags?: string[];
  readonly reservation?: string;
}

/** @param sources annotations, then labels, of the pod and then of what declares it: the first that says it counts */
export function readOwnership(metadata: Fields, ...sources: Readonly<Record<string, string>>[]): Ownership {
  const said = (name: string) => sources.find((source) => source[name])?.[name];
  const [owner, user, tags, reservation] = [
    said(ownerAnnotation),
    said(userAnnotation),
    said(tagsAnnotation),
    said(reservationAnnotation),
  ];
  if (owner !== undefined && !ownerPath.safeParse(owner).success) {
    const expected = 'names with a slash between them, such as eng/search';
    metadata.report.invalid(metadata.at(`metadata.annotations.${ownerAnnotation}`), owner, expected);
  }
  const listed = tags
    ?.split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  return {
    ...(owner !== undefined && { owner }),
    ...(user !== undefined && { user }),
    ...(listed && listed.length > 0 && { tags: listed }),
    ...(reservation !== undefined && { reservation }),
  };
}
