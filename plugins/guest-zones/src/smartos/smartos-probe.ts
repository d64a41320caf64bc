import { existsSync } from 'node:fs';
import { version } from 'node:os';
import { CloudosError, type GuestFingerprint, messageOf } from '@cloudos/sdk';
import type { HostCommands } from './host-commands.ts';
import type { SmartosConfig } from './smartos-config.ts';
import { tools } from './vmadm.ts';

const runtime = 'zones';

/** What is asked of the machine itself. */
export interface Machine {
  readonly platform: string;
  readonly root: boolean;
  /** Of the platform image: `joyent_20240307T000552Z`. */
  readonly version: string;
  exists(path: string): boolean;
}

export function thisMachine(): Machine {
  return {
    platform: process.platform,
    root: process.geteuid?.() === 0,
    version: version(),
    exists: existsSync,
  };
}

/** Which driver a node gets. SmartOS is told by what only it has: illumos, and vmadm. */
export function chooseDriver(asked: 'auto' | 'linux' | 'smartos', machine: Machine): 'linux' | 'smartos' {
  if (asked !== 'auto') return asked;
  return machine.platform === 'sunos' && machine.exists(tools.vmadm) ? 'smartos' : 'linux';
}

/** Whether zones can be made with vmadm here; if not, what is missing. */
export async function probeSmartos(
  machine: Machine,
  commands: HostCommands,
  config: SmartosConfig,
): Promise<GuestFingerprint> {
  const absent = (reason: string, remedy: string): GuestFingerprint => ({ available: false, runtime, reason, remedy });
  if (machine.platform !== 'sunos') {
    return absent(
      `the driver smartos needs SmartOS, and this is ${machine.platform}`,
      'set driver to auto or linux, or boot SmartOS',
    );
  }
  const missing = Object.values(tools).filter((path) => !machine.exists(path));
  if (missing.length > 0) {
    return absent(`missing tools: ${missing.join(', ')}`, 'run on SmartOS: other illumos systems have no vmadm');
  }
  if (!machine.root) return absent('vmadm needs root', 'run as root');
  try {
    const { stdout } = await commands.run([tools.zonename]);
    if (stdout.trim() !== 'global') {
      return absent(
        `vmadm runs in the global zone alone, and this is the zone ${stdout.trim()}`,
        'run in the global zone',
      );
    }
    const { exitCode, stderr } = await commands.run([tools.vmadm, 'lookup']);
    if (exitCode !== 0)
      throw new CloudosError('HOST_COMMAND_FAILED', `vmadm lookup ended with ${exitCode}: ${stderr.trim()}`);
  } catch (error) {
    return absent(messageOf(error), 'svcadm enable svc:/system/smartdc/vminfod; svcs -xv');
  }
  return available(machine, config);
}

function available(machine: Machine, { network, images }: SmartosConfig): GuestFingerprint {
  const warnings = [
    {
      reason: 'over its memory limit a zone is paged out, and gets no more than that of swap: nothing is killed for it',
      remedy: 'give a zone the memory that its programs need',
    },
    ...(network
      ? []
      : [
          {
            reason: 'zones have no network',
            remedy: 'name a nic tag and a subnet: smartos.network in the configuration',
          },
        ]),
    ...(images['host:']
      ? []
      : [
          {
            reason: 'workloads with the image host: have none here',
            remedy: 'imgadm import an image of SmartOS, and name it: smartos.images["host:"] in the configuration',
          },
        ]),
  ];
  return {
    available: true,
    runtime,
    version: machine.version,
    features: {
      driver: 'smartos',
      rootless: false,
      brands: 'joyent-minimal, lx',
      network: network ? 'nic' : 'none',
      guestNetwork: network !== undefined,
      tty: false,
      pause: false,
      resize: true,
      snapshot: true,
      commandCheck: false,
      imageDigest: false,
      memoryLimit: false,
      cpuLimit: true,
      pidsLimit: true,
      diskLimit: true,
      readOnlyRoot: false,
      secrets: false,
      unprivileged: false,
      logsSince: true,
    },
    warnings,
  };
}
