import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTool } from '@cloudos/host-tools';
import { inside, type VmNetworkState } from '@cloudos/qemu';
import { CloudosError } from '@cloudos/sdk';
import { runTool } from './run-tool.ts';

/** All seeds are of one size: that of a disk is part of the state of a machine. */
export const seedBytes = 2 * 2 ** 20;
/** Label by which cloud-init knows a seed. */
const label = 'CIDATA';

export interface SeedOptions {
  /** The program of the agent, compiled. */
  readonly agent: string;
  /** Public keys that the users of the image get. */
  readonly sshKeys: readonly string[];
  /** What cloud-init shall do beside: as it is, with its first line. */
  readonly userData?: string | undefined;
}

/**
 * Writes the seed of a machine: an ISO 9660 file system with `meta-data`, `user-data`, `vendor-data` and `network-config`
 * (cloud-init, "NoCloud"; network configuration version 1), and beside them the agent with the script that starts it. It
 * holds no variable and no secret: those go to the agent itself.
 * @throws CloudosError HOST_COMMAND_FAILED, DISK_FULL; GUEST_SPEC_INVALID where it does not fit
 */
export async function writeSeed(
  file: string,
  machine: SeedMachine,
  network: VmNetworkState | undefined,
  options: SeedOptions,
): Promise<void> {
  const work = `${file}.new-${randomBytes(4).toString('hex')}`;
  await mkdir(work, { mode: 0o700 });
  try {
    for (const [name, text] of Object.entries(seedFiles(machine, network, options)))
      await writeFile(join(work, name), text);
    await copyFile(options.agent, join(work, 'agent'));
    const image = `${work}.iso`;
    const args = ['-quiet', '-volid', label, '-joliet', '-rock', '-o', image, work];
    await runTool(findTool('genisoimage') ?? 'genisoimage', args);
    const { size } = await stat(image);
    if (size > seedBytes) {
      throw new CloudosError(
        'GUEST_SPEC_INVALID',
        `the seed of ${machine.name} has ${size} bytes, at most ${seedBytes}`,
      );
    }
    const handle = await open(image, 'r+');
    await handle.truncate(seedBytes).finally(() => handle.close());
    await rename(image, file);
  } finally {
    await rm(work, { recursive: true, force: true });
    await rm(`${work}.iso`, { force: true });
  }
}

/** What a seed is about. */
export interface SeedMachine {
  /** The same in every boot of a machine, and no other's. */
  readonly name: string;
  readonly hostname: string;
}

/** The files of a seed by name. JSON is YAML (YAML 1.2, section 1.3). */
export function seedFiles(
  { name, hostname }: SeedMachine,
  network: VmNetworkState | undefined,
  { sshKeys, userData }: Omit<SeedOptions, 'agent'>,
): Readonly<Record<string, string>> {
  const meta = { 'instance-id': name, 'local-hostname': hostname, 'public-keys': sshKeys };
  return {
    'meta-data': json(meta),
    'user-data': userData ?? '#cloud-config\n{}\n',
    'vendor-data': `#cloud-config\n${json(vendorData)}`,
    'network-config': json(networkConfig(network)),
    start: startScript,
  };
}

/** In each boot, before anything of the user's: the agent is there also when what follows fails. */
const vendorData = {
  bootcmd: [
    [
      'sh',
      '-c',
      `mkdir -p /run/cloudos-seed && mount -o ro -L ${label} /run/cloudos-seed && sh /run/cloudos-seed/start; umount /run/cloudos-seed`,
    ],
  ],
};

/**
 * In version 1: of a default route in version 2, cloud-init makes a call of route(8) for Debian's ifupdown, which images need
 * not have, and the route is missing without a word.
 */
function networkConfig(network: VmNetworkState | undefined) {
  if (!network) return { version: 1, config: [] };
  const { address, prefix, gateway, mac } = inside(network);
  const subnets = [{ type: 'static', address: `${address}/${prefix}`, gateway }];
  return { version: 1, config: [{ type: 'physical', name: 'eth0', mac_address: mac, subnets }] };
}

/**
 * Runs the agent from a copy in memory, so that nothing holds the seed; as a service with control groups of its own where
 * there is systemd.
 */
const startScript = `#!/bin/sh
here=\${0%/*}
mkdir -p /run/cloudos
mount -t tmpfs -o mode=700,size=4m cloudos /run/cloudos || exit 1
cp "$here/agent" /run/cloudos/agent && chmod 700 /run/cloudos/agent || exit 1
if [ -d /run/systemd/system ]; then
  exec systemd-run --no-block --quiet --unit=cloudos-agent --property=Delegate=yes --property=Restart=on-failure \\
    --property=DefaultDependencies=no /run/cloudos/agent
fi
setsid /run/cloudos/agent </dev/null >/dev/null 2>&1 &
`;

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 1)}\n`;
}
