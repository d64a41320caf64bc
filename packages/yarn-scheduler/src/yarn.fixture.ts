import { instanceRequested, nodeJoined, policySpec } from '@cloudos/testing';
import { yarnConfig } from './config.ts';
import { yarnPolicy } from './yarn.policy.ts';

export const gib = 1024 ** 3;
export const spec = (config: object = {}) => policySpec(yarnPolicy(yarnConfig.parse(config)));
/** Instance `<owner>-<n>` of one core and 1 GiB in a workload of its own queue, unless said otherwise. */
export const ask = (instance: string, some: Parameters<typeof instanceRequested>[1] = {}) => {
  const owner = instance.split('-')[0]!;
  return instanceRequested(instance, {
    cpuMillis: 1_000,
    memoryBytes: gib,
    owner,
    workload: `default/${owner}`,
    ...some,
  });
};
export const many = (owner: string, count: number, some: Parameters<typeof instanceRequested>[1] = {}, from = 1) =>
  Array.from({ length: count }, (_, n) => ask(`${owner}-${from + n}`, some));
export const node = (name: string, cores: number, some: Parameters<typeof nodeJoined>[2] = {}) =>
  nodeJoined(name, { cpuMillis: cores * 1_000, memoryBytes: cores * gib }, some);
export const placed = (run: ReturnType<typeof spec>) =>
  run.decided
    .filter(({ type }) => type === 'InstancePlaced')
    .map(({ data }) => (data as { instance: string }).instance);
export const told = (run: ReturnType<typeof spec>) =>
  run.decided
    .filter(({ type }) => type === 'InstanceUnplaceable')
    .map(({ data }) => data as { instance: string; reasons: { constraint: string; message: string }[] });
export const shares = (a: string, b: string, some: object = {}) => ({
  queues: [
    { path: 'root.a', capacity: a, userLimitFactor: -1, ...some },
    { path: 'root.b', capacity: b, userLimitFactor: -1 },
  ],
});
