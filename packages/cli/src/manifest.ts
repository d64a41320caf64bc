import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { CloudosClient } from '@cloudos/client';
import { asCloudosError, type ClusterView, type CommandResult } from '@cloudos/sdk';
import { parseAllDocuments } from 'yaml';
import type { CliContext } from './context.ts';

export interface Manifest {
  readonly text: string;
  /** Path, or `stdin`. */
  readonly source: string;
}

/** The most bytes of manifests that are read at once. */
const manifestMaxBytes = 4 * 1024 * 1024;

/** @throws CloudosError MANIFEST_MALFORMED when a file cannot be read */
export async function readManifests(context: CliContext, files: readonly string[]): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  for (const file of files) {
    if (file === '-') {
      manifests.push({ text: await readAll(context.stdin), source: 'stdin' });
      continue;
    }
    try {
      manifests.push({ text: await readFile(resolve(context.cwd, file), 'utf8'), source: file });
    } catch (error) {
      throw asCloudosError(error, 'MANIFEST_MALFORMED', `the manifest ${file} cannot be read`);
    }
  }
  return manifests;
}

async function readAll(stream: AsyncIterable<Buffer | string>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const buffer = Buffer.from(chunk);
    size += buffer.length;
    if (size > manifestMaxBytes) throw new RangeError(`standard input is longer than ${manifestMaxBytes} bytes`);
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** One object of a manifest, as far as it can be told without knowing the orchestrator. */
export interface ManifestObject {
  /** `deployment.apps`, as kubectl names it. */
  readonly kind: string;
  readonly name: string;
  /** `<namespace>/<name>`. */
  readonly key: string;
}

/** What a manifest declares; empty when it is not a manifest of kinds and names. */
export function manifestObjects(text: string): ManifestObject[] {
  try {
    return parseAllDocuments(text).flatMap((document) => objectsOf(document.toJS()));
  } catch {
    return [];
  }
}

function objectsOf(given: unknown): ManifestObject[] {
  const { kind, apiVersion, metadata, items } = (given ?? {}) as Record<string, unknown>;
  if (kind === 'List' && Array.isArray(items)) return items.flatMap(objectsOf);
  const { name, namespace } = (metadata ?? {}) as Record<string, unknown>;
  if (typeof kind !== 'string' || typeof name !== 'string') return [];
  const group = typeof apiVersion === 'string' && apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : '';
  const inNamespace = typeof namespace === 'string' ? namespace : 'default';
  return [{ kind: `${kind.toLowerCase()}${group}`, name, key: `${inNamespace}/${name}` }];
}

export type Verb = 'created' | 'configured' | 'unchanged' | 'accepted' | 'deleted';

export interface Outcome {
  /** `deployment.apps/web`. */
  readonly object: string;
  readonly key: string;
  readonly verb: Verb;
  readonly what: 'workload' | 'service' | 'other';
}

/** What became of each object of a manifest, told from the events that the command has led to. */
export function applyOutcomes(text: string, before: ClusterView, result: CommandResult): Outcome[] {
  const verbs = new Map<string, Verb>();
  for (const { type, data } of result.events) {
    const { workload, service } = data as { workload?: string; service?: string };
    if (type === 'WorkloadDeclared') verbs.set(`workload ${workload}`, 'created');
    if (type === 'WorkloadChanged') verbs.set(`workload ${workload}`, 'configured');
    if (type === 'ServiceDeclared') {
      const known = before.services.some(({ spec }) => spec.service === service);
      verbs.set(`service ${service}`, known ? 'configured' : 'created');
    }
  }
  const outcomes = manifestObjects(text).map(({ kind, name, key }): Outcome => {
    const what = kind === 'service' ? 'service' : 'workload';
    const verb = verbs.get(`${what} ${key}`);
    verbs.delete(`${what} ${key}`);
    const object = `${kind}/${name}`;
    if (verb) return { object, key, verb, what };
    const known =
      what === 'service'
        ? before.services.some(({ spec }) => spec.service === key)
        : before.workloads.some(({ spec }) => spec.workload === key);
    return known ? { object, key, verb: 'unchanged', what } : { object, key, verb: 'accepted', what: 'other' };
  });
  // What an orchestrator with another language has made of the text.
  for (const [declared, verb] of verbs) {
    const [what, key] = declared.split(' ') as ['workload' | 'service', string];
    outcomes.push({ object: `${what}/${key}`, key, verb, what });
  }
  return outcomes;
}

export interface Applied {
  readonly outcomes: readonly Outcome[];
  readonly warnings: readonly string[];
}

/** Applies one manifest after the other. Each is taken as a whole or not at all. */
export async function applyManifests(client: CloudosClient, manifests: readonly Manifest[]): Promise<Applied> {
  const outcomes: Outcome[] = [];
  const warnings: string[] = [];
  for (const { text, source } of manifests) {
    const before = await client.view();
    const result = await client.command({ slot: 'orchestrator', command: { type: 'Apply', text, source } });
    outcomes.push(...applyOutcomes(text, before, result));
    warnings.push(...result.warnings);
  }
  return { outcomes, warnings };
}

/** What a removal has removed, told from its events and from what was there before. */
export function removalOutcomes(before: ClusterView, result: CommandResult): Outcome[] {
  return result.events.flatMap(({ type, data }): Outcome[] => {
    const { workload, service } = data as { workload?: string; service?: string };
    if (type === 'WorkloadRemoved' && workload !== undefined) {
      const kind = before.workloads.find(({ spec }) => spec.workload === workload)?.spec.kind ?? 'workload';
      return [{ object: `${kind.toLowerCase()}/${workload}`, key: workload, verb: 'deleted', what: 'workload' }];
    }
    if (type === 'ServiceRemoved' && service !== undefined) {
      return [{ object: `service/${service}`, key: service, verb: 'deleted', what: 'service' }];
    }
    return [];
  });
}

/** Every instance of these workloads is there and ready, at the current revision. */
export function workloadsReady(view: ClusterView, keys: readonly string[]): boolean {
  return keys.every((key) => {
    const workload = view.workloads.find(({ spec }) => spec.workload === key);
    return (
      workload !== undefined &&
      workload.ready >= workload.spec.replicas &&
      workload.updated >= workload.spec.replicas &&
      workload.instances === workload.spec.replicas
    );
  });
}

/** Where these workloads stand, for a message. */
export function readyInWords(view: ClusterView, keys: readonly string[]): string {
  return keys
    .map((key) => {
      const workload = view.workloads.find(({ spec }) => spec.workload === key);
      return workload ? `${key} has ${workload.ready} of ${workload.spec.replicas} ready` : `${key} does not exist`;
    })
    .join('; ');
}

/** The same, with what hinders: for when it takes too long. */
export function hindranceInWords(view: ClusterView, keys: readonly string[]): string {
  const hindered = view.instances.find(
    ({ workload, reason, state }) => keys.includes(workload) && reason !== undefined && state !== 'stopping',
  );
  const why = hindered ? ` (${hindered.instance} is ${hindered.state}: ${hindered.reason})` : '';
  return `${readyInWords(view, keys)}${why}`;
}
