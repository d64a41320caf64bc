import type { ResourceVector } from '@cloudos/sdk';
import { z } from 'zod';

const mebibyte = 2 ** 20;

const labelled = z.object({ labels: z.array(z.object({ key: z.string(), value: z.string().optional() })).optional() });

/** A resource as Mesos writes it (include/mesos/v1/mesos.proto). */
export const mesosResource = z.object({
  name: z.string().min(1),
  type: z.string().optional(),
  scalar: z.object({ value: z.number().nonnegative() }).optional(),
  ranges: z
    .object({
      range: z
        .array(z.object({ begin: z.coerce.number().int().min(1), end: z.coerce.number().int().max(65_535) }))
        .max(1_024),
    })
    .optional(),
  role: z.string().optional(),
  reservation: z.object({ principal: z.string().optional(), labels: labelled.optional() }).optional(),
  reservations: z
    .array(
      z.object({
        type: z.string().optional(),
        role: z.string().min(1),
        principal: z.string().optional(),
        labels: labelled.optional(),
      }),
    )
    .max(16)
    .optional(),
});
export type MesosResource = z.infer<typeof mesosResource>;

/** Ports that one task may name. */
const portsMax = 64;

export interface Amounts {
  readonly resources: ResourceVector;
  readonly ports: number[];
}

/** Amounts in our terms. @throws RangeError for more ports than a task may have */
export function amountsOf(resources: readonly MesosResource[]): Amounts {
  const sums = new Map<string, number>();
  const ports: number[] = [];
  for (const { name, scalar, ranges } of resources) {
    if (scalar) sums.set(name, (sums.get(name) ?? 0) + scalar.value);
    if (name !== 'ports') continue;
    for (const { begin, end } of ranges?.range ?? []) {
      if (ports.length + end - begin >= portsMax) throw new RangeError(`a task may name at most ${portsMax} ports`);
      for (let port = begin; port <= end; port++) ports.push(port);
    }
  }
  const { cpus = 0, mem = 0, disk = 0, gpus, ...others } = Object.fromEntries(sums);
  const custom = { ...others, ...(gpus !== undefined && { gpu: gpus }) };
  return {
    resources: {
      cpuMillis: Math.round(cpus * 1_000),
      memoryBytes: Math.round(mem * mebibyte),
      diskBytes: Math.round(disk * mebibyte),
      pids: 0,
      ...(Object.keys(custom).length > 0 && { custom }),
    },
    ports,
  };
}

/** Scalars of Mesos: `cpus`, `mem` and `disk` in MiB, `gpus`, and named ones. What there is nothing of is left out. */
export function scalarsOf({
  cpuMillis,
  memoryBytes,
  diskBytes,
  custom,
}: ResourceVector): [name: string, value: number][] {
  const all: [string, number][] = [
    ['cpus', cpuMillis / 1_000],
    ['mem', Math.floor(memoryBytes / mebibyte)],
    ['disk', Math.floor(diskBytes / mebibyte)],
    ...Object.entries(custom ?? {}).map(([name, amount]): [string, number] => [name === 'gpu' ? 'gpus' : name, amount]),
  ];
  return all.filter(([, value]) => value > 0);
}
