import { CloudosError } from '@cloudos/sdk';

export type ResourceKind = 'nodes' | 'instances' | 'workloads' | 'services' | 'plugins' | 'events';

/** Names by which people know them, singular and plural, kubectl's short ones included. */
export const resourceNames: Readonly<Record<ResourceKind, readonly string[]>> = {
  nodes: ['nodes', 'node', 'no'],
  instances: ['instances', 'instance', 'pods', 'pod', 'po', 'guests', 'guest'],
  workloads: ['workloads', 'workload', 'deployments', 'deployment', 'deploy', 'replicasets', 'replicaset', 'rs'],
  services: ['services', 'service', 'svc'],
  plugins: ['plugins', 'plugin'],
  events: ['events', 'event', 'ev'],
};

/** @throws CloudosError USAGE naming the kinds */
export function resourceKindOf(given: string): ResourceKind {
  const lower = given.toLowerCase();
  for (const [kind, names] of Object.entries(resourceNames)) if (names.includes(lower)) return kind as ResourceKind;
  throw new CloudosError('USAGE', `unknown kind ${given}; expected ${Object.keys(resourceNames).join(', ')}`, {
    remedy: 'See `cloudos get --help`.',
  });
}

/** `deployment/web` or `web`: the kind, if one was given, and the name. A namespace is no kind: `default/web`. */
export function splitReference(reference: string): { kind?: string; name: string } {
  const at = reference.indexOf('/');
  const kind = reference.slice(0, Math.max(0, at)).toLowerCase();
  const known = Object.values(resourceNames).some((names) => names.includes(kind.split('.')[0] ?? ''));
  return known ? { kind, name: reference.slice(at + 1) } : { name: reference };
}
