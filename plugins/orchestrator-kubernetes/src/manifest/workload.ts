import type { UpdateStrategy, WorkloadSpec } from '@cloudos/sdk';
import { type Fields, isMapping } from './fields.ts';
import { readMetadata } from './metadata.ts';
import { type PodPart, readPod, readPodTemplate } from './pod.ts';

/** A workload as a manifest declares it: all but the revision, which depends on what was there before. */
export interface DeclaredWorkload extends Omit<WorkloadSpec, 'revision' | 'replicas' | 'strategy'> {
  /** Absent where the manifest leaves it to whoever scales. */
  readonly replicas?: number;
  readonly strategy: NativeStrategy;
}

export type NativeStrategy =
  | { readonly kind: 'recreate' }
  | { readonly kind: 'rolling'; readonly maxSurge: Bound; readonly maxUnavailable: Bound };

/** A number of pods, or a percentage of those wanted. */
export type Bound = number | string;

/** Percentages in whole pods: the surge is rounded up, the unavailable down; if both come to 0, one may be missing. */
export function resolveStrategy(strategy: NativeStrategy, replicas: number): UpdateStrategy {
  if (strategy.kind === 'recreate') return strategy;
  const maxSurge = resolve(strategy.maxSurge, replicas, Math.ceil);
  const maxUnavailable = resolve(strategy.maxUnavailable, replicas, Math.floor);
  // as ResolveFenceposts of the deployment controller: with both at 0 an update could not move
  return { kind: 'rolling', maxSurge, maxUnavailable: maxSurge + maxUnavailable === 0 ? 1 : maxUnavailable };
}

function resolve(bound: Bound, replicas: number, round: (value: number) => number): number {
  return typeof bound === 'number' ? bound : round((Number.parseInt(bound, 10) * replicas) / 100);
}

const defaultStrategy: NativeStrategy = { kind: 'rolling', maxSurge: '25%', maxUnavailable: '25%' };

/** The strategy that the native manifest of a Deployment asks for; undefined when it is not one. */
export function strategyOfManifest(manifest: unknown): NativeStrategy | undefined {
  if (!isMapping(manifest) || manifest.kind !== 'Deployment' || !isMapping(manifest.spec)) return undefined;
  const given = manifest.spec.strategy;
  if (!isMapping(given)) return defaultStrategy;
  if (given.type === 'Recreate') return { kind: 'recreate' };
  const rolling = isMapping(given.rollingUpdate) ? given.rollingUpdate : {};
  return {
    kind: 'rolling',
    maxSurge: (rolling.maxSurge ?? '25%') as Bound,
    maxUnavailable: (rolling.maxUnavailable ?? '25%') as Bound,
  };
}

/** Deployment or ReplicaSet (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/). */
export function readReplicated(
  fields: Fields,
  kind: 'Deployment' | 'ReplicaSet',
  priorityClasses: Readonly<Record<string, number>>,
): DeclaredWorkload | undefined {
  const metadata = readMetadata(fields, 'subdomain');
  const { name, namespace, labels } = metadata;
  const spec = fields.object('spec');
  if (!spec) {
    if (!fields.has('spec')) fields.report.invalid('spec', undefined, 'a mapping');
    return undefined;
  }
  const replicas = spec.int('replicas', { max: 1_000_000 });
  const pod = readPodTemplate(spec, metadata, priorityClasses);
  readSelector(spec, pod);
  const minReadyMs = (spec.int('minReadySeconds') ?? 0) * 1000;
  const deployment = kind === 'Deployment';
  const strategy = deployment ? readStrategy(spec) : defaultStrategy;
  const deadlineSeconds = (deployment ? spec.int('progressDeadlineSeconds', { min: 1 }) : undefined) ?? 600;
  if (deadlineSeconds * 1000 <= minReadyMs) {
    spec.report.invalid(spec.at('progressDeadlineSeconds'), deadlineSeconds, 'more than minReadySeconds');
  }
  if (deployment) {
    spec.int('revisionHistoryLimit');
    spec.bool('paused');
  }
  spec.done();
  fields.silent(['status']);
  fields.done();
  if (!pod) return undefined;
  return {
    workload: `${namespace}/${name}`,
    kind,
    ...(replicas !== undefined && { replicas }),
    ...pod,
    strategy,
    minReadyMs,
    progressDeadlineMs: deadlineSeconds * 1000,
    labels,
  };
}

/** A pod of its own (https://kubernetes.io/docs/concepts/workloads/pods/): one instance, never updated in steps. */
export function readBarePod(
  fields: Fields,
  priorityClasses: Readonly<Record<string, number>>,
): DeclaredWorkload | undefined {
  const metadata = readMetadata(fields, 'subdomain');
  const { name, namespace, labels } = metadata;
  const pod = readPod(fields, metadata, ['Always', 'OnFailure', 'Never'], priorityClasses);
  fields.silent(['status']);
  fields.done();
  if (!pod) return undefined;
  return {
    workload: `${namespace}/${name}`,
    kind: 'Pod',
    replicas: 1,
    ...pod,
    strategy: { kind: 'recreate' },
    minReadyMs: 0,
    progressDeadlineMs: 600_000,
    labels,
  };
}

function readSelector(spec: Fields, pod: PodPart | undefined): void {
  const selector = spec.object('selector');
  if (!selector) {
    if (!spec.has('selector')) spec.report.invalid(spec.at('selector'), undefined, 'matchLabels');
    return;
  }
  selector.unsupported(['matchExpressions'], 'matchExpressions are not supported: use matchLabels');
  const wanted = selector.stringMap('matchLabels');
  selector.done();
  if (Object.keys(wanted).length === 0) {
    spec.report.invalid(selector.at('matchLabels'), undefined, 'at least one label');
  }
  for (const [name, value] of Object.entries(wanted)) {
    const given = pod?.template.labels[name];
    if (!pod || given === value) continue;
    spec.report.invalid(spec.at(`template.metadata.labels.${name}`), given, `${value}, as the selector says`);
  }
}

function readStrategy(spec: Fields): NativeStrategy {
  const fields = spec.object('strategy');
  if (!fields) return defaultStrategy;
  const type = fields.oneOf('type', ['RollingUpdate', 'Recreate']) ?? 'RollingUpdate';
  const rolling = fields.object('rollingUpdate');
  if (type === 'Recreate') {
    if (rolling) fields.report.refuse(rolling.path, 'may not be given when the type is Recreate');
    fields.done();
    return { kind: 'recreate' };
  }
  const maxSurge = readBound(rolling, 'maxSurge', 1000);
  const maxUnavailable = readBound(rolling, 'maxUnavailable', 100);
  if (Number.parseInt(String(maxSurge), 10) === 0 && Number.parseInt(String(maxUnavailable), 10) === 0) {
    fields.report.refuse(fields.path, 'maxSurge and maxUnavailable may not both be 0: an update could not move');
  }
  rolling?.done();
  fields.done();
  return { kind: 'rolling', maxSurge, maxUnavailable };
}

function readBound(fields: Fields | undefined, key: string, percentMax: number): Bound {
  const given = fields?.raw(key);
  if (given === undefined) return '25%';
  const percent = typeof given === 'string' && /^\d{1,4}%$/.test(given) && Number.parseInt(given, 10) <= percentMax;
  const count = typeof given === 'number' && Number.isInteger(given) && given >= 0 && given <= 1_000_000;
  if (percent || count) return given as Bound;
  fields?.report.invalid(fields.at(key), given, `a whole number from 0, or a percentage from 0% to ${percentMax}%`);
  return '25%';
}
