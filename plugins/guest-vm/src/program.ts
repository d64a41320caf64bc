import { randomBytes } from 'node:crypto';
import { hostName } from '@cloudos/host-tools';
import { type ExecDefaults, type Fields, inside, type Vm } from '@cloudos/qemu';
import { ownOf } from './vm-spec.ts';

/** What the agent is told to run. */
export function programFields(state: Vm['state'], { env, workingDir, user }: ExecDefaults): Fields {
  const { limits, readOnlyRoot } = state.spec.template;
  return [
    ...ownOf(state).command.map((word) => ['arg', word] as const),
    ...Object.entries(env).map(([name, value]) => ['env', `${name}=${value}`] as const),
    ['cwd', workingDir],
    ['user', String(user)],
    ...(limits.pids > 0 ? [['pids', String(limits.pids)] as const] : []),
    ...(readOnlyRoot ? [['readonly', '1'] as const] : []),
  ];
}

/** What a machine that goes on from a state has to know anew: the seed is read in a boot alone. */
export function identity({ spec, network }: Vm['state']): Fields {
  const card = network && inside(network);
  return [
    ['time', String(Date.now() * 1000)],
    ['entropy', randomBytes(32).toString('hex')],
    ['hostname', spec.template.hostname ?? hostName(spec.instance)],
    ...(card
      ? ([
          ['ip', card.address],
          ['prefix', String(card.prefix)],
          ['gateway', card.gateway],
          ['mac', card.mac],
        ] as const)
      : []),
  ];
}
