import { formatAddress } from '@cloudos/node-network';
import { initCommand, type LaunchPlan } from './launch-script.ts';
import { mountCall } from './mount-calls.ts';

/** Name of the file in the zone's directory by which the spawner launches it. */
export function planName(launch: string): string {
  return `plan-${launch}`;
}

/** Name of that file once the spawner has taken it. */
export const takenPlanName = 'plan';

/**
 * A plan as the spawner reads it: records of a name, a count and as many values, all ended by NUL, which no value contains.
 */
export function launchPlanText(plan: LaunchPlan): string {
  const { link, shimGroup, oomFile } = plan;
  const records: (readonly [name: string, ...values: (string | number)[]])[] = [
    ['hostname', plan.hostName],
    ['user', plan.user],
    ['logs', plan.logMaxBytes],
    ['exit', plan.exitFile],
    ...(shimGroup === undefined ? [] : [['shims', shimGroup] as const]),
    ...(oomFile === undefined ? [] : [['oom', oomFile] as const]),
    ...plan.controlGroups.map((group) => ['group', group] as const),
    ...plan.mounts.map(mountCall).map((call) => {
      const { source, target, type, flags, again, data } = call;
      return ['mount', source, target, type, flags, again, data] as const;
    }),
    ...(link ? [['link', link.bridge, link.name, link.mac, link.address, maskOf(link.prefix)] as const] : []),
    ['command', ...plan.root.seccomp, ...initCommand(plan)],
  ];
  return records.map(([name, ...values]) => [name, values.length, ...values, ''].join('\0')).join('');
}

function maskOf(prefix: number): string {
  return formatAddress(2 ** 32 - 2 ** (32 - prefix));
}
