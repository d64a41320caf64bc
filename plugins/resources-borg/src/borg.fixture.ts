import { type EventData, event, type SharedEventType } from '@cloudos/sdk';
import { policySpec, resources } from '@cloudos/testing';
import { borgPolicy } from './borg.policy.ts';
import { type BorgConfig, borgConfig } from './config.ts';

/** A specification of the policy with the default settings but for some. */
export function borgSpec(some: Partial<BorgConfig> = {}) {
  return policySpec(borgPolicy(borgConfig.parse({ graceMs: 5_000, ...some })));
}

export const gib = 1024 ** 3;

/** A part of a reservation that got a place. */
export function reserved(reservation: string, index: number, node: string, cpuMillis: number) {
  const some = { reservation, index, node, owner: 'eng', resources: resources({ cpuMillis }) };
  return event('ResourcesReserved', some);
}

export function unreserved(reservation: string, index: number, node: string, cpuMillis: number) {
  return event('ResourcesUnreserved', reserved(reservation, index, node, cpuMillis).data);
}

/** The reasons of the last InstanceUnplaceable about that instance. */
export function reasonsOf(log: readonly { type: string; data: unknown }[], instance: string): string[] {
  const told = log.findLast(
    ({ type, data }) => type === 'InstanceUnplaceable' && (data as { instance: string }).instance === instance,
  );
  const { reasons } = (told?.data ?? { reasons: [] }) as EventData<'InstanceUnplaceable'>;
  return reasons.map(({ constraint, message }) => `${constraint}: ${message}`);
}

export function dataOf<Type extends SharedEventType>(
  decided: readonly { type: string; data: unknown }[],
  type: Type,
): EventData<Type>[] {
  return decided.filter((each) => each.type === type).map(({ data }) => data as EventData<Type>);
}
