import { CloudosError } from '@cloudos/sdk';

/** Accounted resources in the order in which typed arrays hold them: the default resource types of YARN. */
export const accounted = ['cpu', 'memory'] as const;
/** Numbers that one amount takes. Disk, processes, ports and custom resources are limited by nodes, not by queues. */
export const accountedWidth = accounted.length;

/** An amount as a queue is given it. */
export interface AbsoluteAmount {
  readonly cpuMillis?: number | undefined;
  readonly memoryBytes?: number | undefined;
}

/** What a queue may have: a share of its parent, a weight among its siblings, or an absolute amount. */
export type QueueCapacity =
  | { readonly kind: 'share'; readonly share: number }
  | { readonly kind: 'weight'; readonly weight: number }
  | { readonly kind: 'absolute'; readonly amount: AbsoluteAmount };

/**
 * Reads a capacity as `capacity-scheduler.xml` spells it: `40%` (or the number 40), `2w`, or an absolute amount.
 * Hadoop documentation, "Capacity Scheduler", Resource Allocation and Weight Mode.
 * @throws CloudosError PLUGIN_CONFIG_INVALID
 */
export function parseCapacity(given: string | number | AbsoluteAmount, where: string): QueueCapacity {
  if (typeof given === 'object') return { kind: 'absolute', amount: given };
  const text = typeof given === 'number' ? `${given}%` : given;
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*(%|w)\s*$/.exec(text) ?? [];
  const number = Number(digits);
  if (unit === 'w') return { kind: 'weight', weight: number };
  if (unit === '%' && number <= 100) return { kind: 'share', share: number / 100 };
  throw new CloudosError(
    'PLUGIN_CONFIG_INVALID',
    `${where}: ${JSON.stringify(given)} is not a capacity; expected "40%", "2w" or {cpuMillis, memoryBytes}`,
  );
}

/** An absolute amount as accounted numbers; what it does not name has the given value. */
export function amountOf({ cpuMillis, memoryBytes }: AbsoluteAmount, absent: number): [number, number] {
  return [cpuMillis ?? absent, memoryBytes ?? absent];
}
