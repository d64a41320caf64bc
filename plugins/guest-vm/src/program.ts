import { type ExecDefaults, type Fields, mountFields, type Vm } from '@cloudos/qemu';
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
    ...mountFields(state.spec, 0),
  ];
}
