import { CloudosError, type GuestStats } from '@cloudos/sdk';
import type { HostCommands } from './host-commands.ts';
import { tools } from './vmadm.ts';

/**
 * What a running zone uses, by kstat(8): `zones` counts its processor time, `memory_cap` its resident memory (what
 * zonememstat(8) shows), `caps` its processes.
 */
export async function vmStats(commands: HostCommands, zoneid: number): Promise<GuestStats> {
  const wanted = [
    `zones:${zoneid}::/^nsec_(user|sys)$/`,
    `memory_cap:${zoneid}::rss`,
    `caps:${zoneid}:/^nprocs_zone_/:usage`,
  ];
  const argv = [tools.kstat, '-p', ...wanted];
  const { exitCode, stdout, stderr } = await commands.run(argv);
  // It ends with 1 where nothing matches: the zone has halted meanwhile.
  if (exitCode !== 0)
    throw new CloudosError('HOST_COMMAND_FAILED', `${argv.join(' ')} ended with ${exitCode}: ${stderr.trim()}`);
  const figures = new Map<string, number>();
  for (const line of stdout.split('\n')) {
    const [name = '', value] = line.split('\t');
    if (value !== undefined) figures.set(`${name.split(':')[0]}.${name.split(':').at(-1)}`, Number(value));
  }
  const user = figures.get('zones.nsec_user');
  const memoryBytes = figures.get('memory_cap.rss');
  const pids = figures.get('caps.usage');
  return {
    ...(user === undefined ? {} : { cpuNanos: user + (figures.get('zones.nsec_sys') ?? 0) }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(pids === undefined ? {} : { pids }),
  };
}
