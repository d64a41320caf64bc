import type { ResourceVector } from '@cloudos/sdk';

/** The resources that every node has, in the order in which typed arrays hold them. */
export const dimensions = ['cpu', 'memory', 'disk', 'pids'] as const;
export type Dimension = (typeof dimensions)[number];

/** Numbers that one vector takes in a typed array. */
export const width = dimensions.length;

/** Writes the named resources; custom ones are kept elsewhere. */
export function writeVector(target: Float64Array, offset: number, vector: ResourceVector): void {
  target[offset] = vector.cpuMillis;
  target[offset + 1] = vector.memoryBytes;
  target[offset + 2] = vector.diskBytes;
  target[offset + 3] = vector.pids;
}

export function readVector(source: Float64Array, offset: number): ResourceVector {
  return {
    cpuMillis: source[offset]!,
    memoryBytes: source[offset + 1]!,
    diskBytes: source[offset + 2]!,
    pids: source[offset + 3]!,
  };
}

/** An amount as people write it: `1500m`, `2 GiB`, `30`. */
export function describeAmount(dimension: string, amount: number): string {
  if (dimension === 'cpu') return `${Math.round(amount)}m`;
  if (dimension !== 'memory' && dimension !== 'disk') return String(amount);
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let left = amount;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit++;
  }
  return `${Math.round(left * 10) / 10} ${units[unit]}`;
}
