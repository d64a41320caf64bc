import { type Refusal, refuse } from '@cloudos/sdk';
import { nearest } from './manifest/fields.ts';
import { localName, type State, type Workload } from './state.ts';

/** What a name in a command stands for. */
export type Target =
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: string };

const aliases: Readonly<Record<string, string>> = {
  deployment: 'Deployment',
  deployments: 'Deployment',
  deploy: 'Deployment',
  replicaset: 'ReplicaSet',
  replicasets: 'ReplicaSet',
  rs: 'ReplicaSet',
  pod: 'Pod',
  pods: 'Pod',
  po: 'Pod',
  service: 'Service',
  services: 'Service',
  svc: 'Service',
};

/** The most names that a refusal lists. */
const listedMax = 10;

interface Wanted {
  readonly kind: string | undefined;
  readonly namespace: string | undefined;
  readonly name: string;
}

/** `web`, `default/web`, `deployment/web`, `deploy/web`, `deployments.apps/web` or `deploy/default/web`. */
function parseName(given: string, kind: string | undefined): Wanted {
  const parts = given.split('/');
  const named = kind ?? (parts.length > 1 ? kindOf(parts[0] ?? '') : undefined);
  if (kind === undefined && named !== undefined) parts.shift();
  const name = parts.pop() ?? '';
  return { kind: named && (kindOf(named) ?? named), namespace: parts.length > 0 ? parts.join('/') : undefined, name };
}

function kindOf(word: string): string | undefined {
  const alias = word.toLowerCase().replace(/\.(apps|v1|apps\.v1|v1\.apps)$/, '');
  return Object.hasOwn(aliases, alias) ? aliases[alias] : undefined;
}

/** Finds the one thing that is meant. Without a namespace, `default` goes before all others. */
export function findTarget(state: State, given: string, kind?: string, only?: 'workload'): Target | Refusal {
  const wanted = parseName(given, kind);
  const found: { key: string; kind: string; target: Target }[] = [];
  for (const workload of state.workloads.values()) {
    const { kind, workload: key } = workload.spec;
    if (matches(wanted, kind, key)) found.push({ key, kind, target: { kind: 'workload', workload } });
  }
  for (const key of only ? [] : state.services.keys()) {
    if (matches(wanted, 'Service', key))
      found.push({ key, kind: 'Service', target: { kind: 'service', service: key } });
  }
  const preferred = found.filter(({ key }) => key === `default/${wanted.name}`);
  const candidates = wanted.namespace === undefined && preferred.length > 0 ? preferred : found;
  if (candidates.length === 1 && candidates[0]) return candidates[0].target;
  if (candidates.length === 0) return notFound(state, given, kind);
  const names = candidates.map((one) => `${one.kind.toLowerCase()}/${one.key}`).slice(0, listedMax);
  return refuse('COMMAND_REFUSED', `${given} may be any of ${names.join(', ')}`, 'Say which one by its whole name.');
}

function matches({ kind, namespace, name }: Wanted, ofKind: string, key: string): boolean {
  if (kind !== undefined && kind.toLowerCase() !== ofKind.toLowerCase()) return false;
  return namespace === undefined ? localName(key) === name : key === `${namespace}/${name}`;
}

function notFound(state: State, given: string, kind: string | undefined): Refusal {
  const known = [...state.workloads.keys()];
  const locals = new Map([...known, ...state.services.keys()].map((key) => [localName(key), key]));
  const near = nearest(given, locals.keys());
  const listed = known.slice(0, listedMax).join(', ') || 'none';
  const more = known.length > listedMax ? ` and ${known.length - listedMax} more` : '';
  const hint = near && near !== given ? `; did you mean ${locals.get(near)}?` : '';
  const what = kind ? `${kind} ${given}` : given;
  return refuse('WORKLOAD_NOT_FOUND', `${what} does not exist; there are ${listed}${more}${hint}`);
}
