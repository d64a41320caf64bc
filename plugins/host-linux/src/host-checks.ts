import { readFileSync } from 'node:fs';
import type { HostCheck } from '@cloudos/sdk';
import { findProgram, outputOf, runtimeTools } from './host-tools.ts';
import { type KvmReport, probeKvm } from './kvm-probe.ts';
import type { LinuxFacts } from './linux-facts.ts';

/** What a check is made from. */
export interface CheckSubject {
  readonly facts: LinuxFacts;
  readonly runtimes: ReadonlyMap<string, string>;
  readonly root: boolean;
}

const needed: readonly (readonly [program: string, install: string])[] = [
  ['unshare', 'apt-get install util-linux'],
  ['nsenter', 'apt-get install util-linux'],
  ['setpriv', 'apt-get install util-linux'],
  ['mount', 'apt-get install mount'],
  ['ip', 'apt-get install iproute2'],
];

/** Every check of the doctor, in the order in which people read them. */
export async function checkHost(subject: CheckSubject): Promise<readonly HostCheck[]> {
  return [
    checkNode(),
    ...needed.map(([program, install]) => checkProgram(program, install)),
    await checkNamespaces(subject),
    checkControlGroups(subject),
    checkKvm(await probeKvm()),
    ...runtimeTools.map(({ name, install }): HostCheck => {
      const version = subject.runtimes.get(name);
      const label = `runtime ${name}`;
      if (version !== undefined) return { name: label, status: 'ok', found: version };
      return { name: label, status: 'warning', found: 'not installed (optional)', remedy: install };
    }),
  ];
}

function checkNode(): HostCheck {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const recent = major > 20 || (major === 20 && minor >= 19);
  const found = `Node.js ${process.versions.node}`;
  if (recent) return { name: 'node', status: 'ok', found };
  return { name: 'node', status: 'missing', found, remedy: 'install Node.js 20.19 or later: https://nodejs.org' };
}

function checkProgram(program: string, install: string): HostCheck {
  const path = findProgram(program);
  if (path !== undefined) return { name: `tool ${program}`, status: 'ok', found: path };
  return { name: `tool ${program}`, status: 'missing', found: 'not installed', remedy: install };
}

async function checkNamespaces({ facts, root }: CheckSubject): Promise<HostCheck> {
  const name = 'namespaces';
  const unshare = findProgram('unshare');
  const user = root ? [] : ['--user', '--map-root-user'];
  const kinds = [...user, '--mount', '--pid', '--fork', '--net', '--uts', '--ipc', '--cgroup'];
  const works = unshare !== undefined && (await outputOf(unshare, [...kinds, 'true'])) !== undefined;
  const found = `${facts.namespaces.join(', ') || 'none'}${works ? '' : ', which cannot be made'}${root ? '' : ' (as an ordinary user)'}`;
  if (works) return { name, status: 'ok', found };
  return { name, status: 'missing', found, remedy: root ? 'start outside of a container' : userNamespaceRemedy() };
}

/** The setting that keeps ordinary users from making namespaces, where it is one that is known. */
function userNamespaceRemedy(): string {
  const settings: readonly (readonly [name: string, blocked: string, allowed: string])[] = [
    ['kernel.unprivileged_userns_clone', '0', '1'],
    ['kernel.apparmor_restrict_unprivileged_userns', '1', '0'],
    ['user.max_user_namespaces', '0', '15000'],
  ];
  for (const [name, blocked, allowed] of settings) {
    if (settingAt(`/proc/sys/${name.replaceAll('.', '/')}`) === blocked)
      return `sysctl -w ${name}=${allowed} (as root)`;
  }
  return 'run as root';
}

function checkControlGroups({ facts, root }: CheckSubject): HostCheck {
  const name = 'control groups';
  if (facts.cgroup === 'none') {
    return { name, status: 'missing', found: 'none mounted', remedy: 'mount -t cgroup2 none /sys/fs/cgroup' };
  }
  if (root) return { name, status: 'ok', found: facts.cgroup };
  return {
    name,
    status: 'warning',
    found: `${facts.cgroup}, as an ordinary user: limits hold only in a delegated group`,
    remedy: 'systemd-run --user --scope -p Delegate=yes <command>, or run as root',
  };
}

function checkKvm({ state, found }: KvmReport): HostCheck {
  const name = 'kvm';
  if (state === 'sound') return { name, status: 'ok', found };
  const remedies = {
    absent: 'optional; enable virtualisation in the firmware, or run on hardware; guests are emulated otherwise',
    forbidden: 'adduser "$USER" kvm, then log in again',
    unproven: 'apt-get install qemu-system-x86, to try it',
    unsound: 'none needed: guests are emulated; run on hardware for speed',
  };
  return { name, status: 'warning', found: `${state}: ${found}`, remedy: remedies[state] };
}

function settingAt(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
