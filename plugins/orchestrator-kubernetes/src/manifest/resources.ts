import type { ResourceVector } from '@cloudos/sdk';
import type { Fields } from './fields.ts';
import { parseQuantity, quantityForms } from './quantity.ts';

/** A process limit has no field in Kubernetes (there it is a setting of the node); here it is this annotation. */
export const pidsAnnotation = 'cloudos.io/pids-limit';

interface Amounts {
  readonly values: Map<string, number>;
  readonly at: (name: string) => string;
}

/**
 * Requests and limits of a container. What has a limit and no request requests its limit
 * (https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/). Names other than cpu, memory and
 * ephemeral-storage are custom resources, in whole units.
 */
export function readResources(
  container: Fields,
  pidsLimit: number | undefined,
): { requests: ResourceVector; limits: ResourceVector } {
  const fields = container.object('resources');
  const limits = readAmounts(fields, 'limits');
  const requests = readAmounts(fields, 'requests');
  fields?.unsupported(['claims'], 'resource claims are not supported');
  fields?.done();
  for (const [name, limit] of limits.values) {
    const request = requests.values.get(name);
    if (request === undefined) requests.values.set(name, limit);
    else if (request > limit) {
      container.report.refuse(requests.at(name), `the request is larger than the limit (${request} over ${limit})`);
    }
  }
  return { requests: toVector(requests.values, pidsLimit), limits: toVector(limits.values, pidsLimit) };
}

function readAmounts(resources: Fields | undefined, key: string): Amounts {
  const fields = resources?.object(key);
  const values = new Map<string, number>();
  const given = resources?.raw(key);
  for (const name of fields && given !== null && typeof given === 'object' ? Object.keys(given) : []) {
    const amount = parseQuantity(fields?.raw(name), name === 'cpu' ? 3 : 0);
    if (amount === undefined) fields?.report.invalid(fields.at(name), fields.raw(name), quantityForms);
    else values.set(name, amount);
  }
  return { values, at: (name) => fields?.at(name) ?? `${key}.${name}` };
}

function toVector(values: ReadonlyMap<string, number>, pidsLimit: number | undefined): ResourceVector {
  const known = new Set(['cpu', 'memory', 'ephemeral-storage']);
  const custom = [...values].filter(([name]) => !known.has(name));
  return {
    cpuMillis: values.get('cpu') ?? 0,
    memoryBytes: values.get('memory') ?? 0,
    diskBytes: values.get('ephemeral-storage') ?? 0,
    pids: pidsLimit ?? 0,
    ...(custom.length > 0 && { custom: Object.fromEntries(custom) }),
  };
}

export function readPidsLimit(annotations: Readonly<Record<string, string>>, metadata: Fields): number | undefined {
  const given = annotations[pidsAnnotation];
  if (given === undefined) return undefined;
  const limit = Number(given);
  if (/^\d+$/.test(given) && Number.isSafeInteger(limit) && limit > 0) return limit;
  metadata.report.invalid(metadata.at(`metadata.annotations.${pidsAnnotation}`), given, 'a whole number from 1');
  return undefined;
}
