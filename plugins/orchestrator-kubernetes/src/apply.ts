import { type Decision, event, type NewEvent, type Refusal, refuse, type WorkloadSpec } from '@cloudos/sdk';
import { compile } from './manifest/compile.ts';
import { isMapping } from './manifest/fields.ts';
import { type DeclaredWorkload, resolveStrategy } from './manifest/workload.ts';
import type { KubernetesOptions } from './options.ts';
import { partOf, type RevisionPart, type State } from './state.ts';
import { namespaceOf } from './tags.ts';

/**
 * Takes a manifest as `kubectl apply` would: what is new is created, what differs is configured, what is the same
 * gives no event. All or nothing.
 */
export function applyManifest(
  state: State,
  text: string,
  source: string,
  options: KubernetesOptions,
): Decision | Refusal {
  const compiled = compile(text, source, options.priorityClasses);
  if ('refused' in compiled) return compiled;
  const events: NewEvent[] = [];
  for (const declared of compiled.workloads) {
    const change = workloadEvent(state, declared, source);
    if (change && 'refused' in change) return change;
    if (change) events.push(change);
  }
  for (const service of compiled.services) {
    if (sameValue(state.services.get(service.service)?.spec, service)) continue;
    events.push(event('ServiceDeclared', service));
  }
  return { events, warnings: compiled.warnings };
}

/** Removes what a manifest declares; a namespace with all that is in it. What does not exist is warned about. */
export function removeManifest(
  state: State,
  text: string,
  source: string,
  options: KubernetesOptions,
): Decision | Refusal {
  const compiled = compile(text, source, options.priorityClasses);
  if ('refused' in compiled) return compiled;
  const warnings: string[] = [];
  const workloads = new Set<string>();
  const services = new Set<string>();
  for (const { workload, kind } of compiled.workloads) {
    if (state.workloads.get(workload)?.spec.kind === kind) workloads.add(workload);
    else warnings.push(`${kind} ${workload} does not exist`);
  }
  for (const { service } of compiled.services) {
    if (state.services.has(service)) services.add(service);
    else warnings.push(`Service ${service} does not exist`);
  }
  for (const namespace of compiled.namespaces) {
    for (const name of state.workloads.keys()) if (namespaceOf(name) === namespace) workloads.add(name);
    for (const name of state.services.keys()) if (namespaceOf(name) === namespace) services.add(name);
  }
  return { events: removals(workloads, services), warnings };
}

/** Services first: nobody is sent to what is about to stop. */
export function removals(workloads: Iterable<string>, services: Iterable<string>): NewEvent[] {
  return [
    ...[...services].map((service) => event('ServiceRemoved', { service })),
    ...[...workloads].map((workload) => event('WorkloadRemoved', { workload })),
  ];
}

function workloadEvent(state: State, declared: DeclaredWorkload, source: string): NewEvent | Refusal | undefined {
  const existing = state.workloads.get(declared.workload)?.spec;
  if (!existing) return event('WorkloadDeclared', specOf(declared, undefined));
  const refusal = immutable(existing, declared, source);
  if (refusal) return refusal;
  const spec = specOf(declared, existing);
  return sameValue(existing, spec) ? undefined : event('WorkloadChanged', spec);
}

function specOf(declared: DeclaredWorkload, existing: WorkloadSpec | undefined): WorkloadSpec {
  const replicas = declared.replicas ?? inheritedReplicas(existing) ?? 1;
  const revision = existing ? existing.revision + (samePart(existing, declared) ? 0 : 1) : 1;
  return { ...declared, revision, replicas, strategy: resolveStrategy(declared.strategy, replicas) };
}

/** A number that the manifest never gave belongs to whoever scales; one that it does not give any more is the default. */
function inheritedReplicas(existing: WorkloadSpec | undefined): number | undefined {
  const manifest = existing?.manifest;
  const gave = isMapping(manifest) && isMapping(manifest.spec) && typeof manifest.spec.replicas === 'number';
  return gave ? undefined : existing?.replicas;
}

/** What a server refuses to change: the kind behind a name, a selector, most of a pod. */
function immutable(existing: WorkloadSpec, declared: DeclaredWorkload, source: string): Refusal | undefined {
  const subject = `${source}: ${declared.kind} ${declared.workload}`;
  if (existing.kind !== declared.kind) {
    const message = `${subject}: the name belongs to a ${existing.kind}; names are unique over kinds`;
    return refuse('MANIFEST_INVALID', message, 'Choose another name, or remove what has it.');
  }
  const [before, after] = [selectorOf(existing.manifest), selectorOf(declared.manifest)];
  if (before !== undefined && after !== undefined && !sameValue(before, after)) {
    const given = `given ${JSON.stringify(after)}, expected ${JSON.stringify(before)}`;
    return refuse(
      'MANIFEST_INVALID',
      `${subject}: spec.selector: is immutable: ${given}`,
      'Remove it, then apply anew.',
    );
  }
  if (declared.kind !== 'Pod') return undefined;
  const withImage = { ...declared, template: { ...declared.template, image: existing.template.image } };
  if (samePart(existing, withImage)) return undefined;
  const message = `${subject}: spec: pod updates may not change fields other than the image`;
  return refuse('MANIFEST_INVALID', message, 'Remove the pod, then apply it anew.');
}

function selectorOf(manifest: unknown): unknown {
  return isMapping(manifest) && isMapping(manifest.spec) ? manifest.spec.selector : undefined;
}

export function samePart(a: RevisionPart, b: RevisionPart): boolean {
  return sameValue(partOf(a), partOf(b));
}

/** Equal as plain values: the order of keys does not count, and a key without a value is no key. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => sameValue(item, b[index]));
  }
  if (!isMapping(a) || !isMapping(b)) return false;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => sameValue(a[key], b[key]));
}
