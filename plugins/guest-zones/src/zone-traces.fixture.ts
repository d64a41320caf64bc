import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { digest } from '@cloudos/host-tools';

/** Everything that a zone could leave on the machine. */
export function zoneTraces({ dataDir, stateDir }: { dataDir: string; stateDir: string }): Record<string, string[]> {
  const list = (command: string, args: string[]) => execFileSync(command, args).toString().split('\n').filter(Boolean);
  const under = (path: string) => (existsSync(path) ? readdirSync(path).sort() : []);
  const parent = `cloudos-${digest(dataDir, 10)}`;
  const groups = under('/sys/fs/cgroup')
    .map((hierarchy) => join('/sys/fs/cgroup', hierarchy, parent))
    .flatMap((path) => under(path).map((name) => join(path, name)))
    .filter((path) => existsSync(join(path, 'cgroup.procs')));
  const nodes = under(join(stateDir, 'network'));
  const bridges = nodes.flatMap((node) => {
    const file = join(stateDir, 'network', node, 'network.json');
    return existsSync(file) ? [(JSON.parse(readFileSync(file, 'utf8')) as { bridge: string }).bridge] : [];
  });
  return {
    mounts: readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(dataDir)),
    links: bridges.flatMap((bridge) => under(`/sys/class/net/${bridge}/brif`)),
    disks: list('losetup', ['-a']).filter((line) => line.includes(dataDir)),
    groups,
    processes: list('ps', ['-eo', 'args']).filter((line) => line.includes(dataDir)),
    files: ['zones', 'exits'].flatMap((name) => under(join(dataDir, name))),
    addresses: nodes.flatMap((node) => under(join(stateDir, 'network', node, 'addresses'))),
    images: under(join(stateDir, 'images', 'holds')),
  };
}
