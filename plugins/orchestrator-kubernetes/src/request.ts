import { type EventData, ownerDefault } from '@cloudos/sdk';
import type { RevisionPart } from './state.ts';
import { namespaceOf, tagsOf } from './tags.ts';

/** What all requests of one revision have in common: everything but the name of the instance. */
export type RequestPart = Omit<EventData<'InstanceRequested'>, 'instance'>;

/** Whose pods say nothing else belong to their namespace; that of `default` goes without saying. */
export function requestPart(workload: string, revision: number, part: RevisionPart): RequestPart {
  const { template, priority, constraints, node, user, placement, hostPorts, reservation } = part;
  const { runtime, requests, image, labels } = template;
  const namespace = namespaceOf(workload);
  const owner = part.owner ?? namespace;
  const tags = tagsOf(namespace, part.tags, labels);
  return {
    ...{ workload, revision, requests, priority },
    ...(runtime !== undefined && { runtime }),
    ...(constraints.length > 0 && { constraints }),
    ...(node !== undefined && { node }),
    ...(owner !== '' && owner !== ownerDefault && { owner }),
    ...(user !== undefined && { user }),
    ...(tags.length > 0 && { tags }),
    ...(placement && placement.length > 0 && { placement }),
    ...(hostPorts && hostPorts.length > 0 && { hostPorts }),
    ...(reservation !== undefined && { reservation }),
    // the userland of the host is everywhere
    ...(image !== 'host:' && { image }),
  };
}
