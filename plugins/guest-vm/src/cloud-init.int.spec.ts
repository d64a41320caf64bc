import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildAgent } from '@cloudos/qemu';
import { cloudRoot, obstacleToTestImages, obstacleToVmImage } from '@cloudos/test-images';
import { expect, test } from 'vitest';
import { bootCloudImage } from './cloud-image.fixture.ts';
import { bootWithCloudInit } from './cloud-init.fixture.ts';
import { writeSeed } from './seed.ts';

const obstacle = obstacleToTestImages() ?? obstacleToVmImage();
/** The root is made once on a machine. */
const timeoutMs = 600_000;

test.skipIf(obstacle !== undefined)(
  `Debian's cloud-init takes a seed: name, address, keys, user data, and the agent${obstacle ? ` (cannot run: ${obstacle})` : ''}`,
  { timeout: timeoutMs },
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cloudos-seed-'));
    try {
      const agent = await buildAgent(directory, 'service');
      const seed = join(directory, 'seed.iso');
      const mac = '52:54:00:01:02:03';
      const network = { kind: 'bridge', address: '198.18.0.7', prefix: 24, gateway: '198.18.0.1', mac } as const;
      const userData = '#cloud-config\nlocale: C.UTF-8\nruncmd: [[sh, -c, "echo ran >/run/of-the-user"]]\n';
      const sshKeys = ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2U2NA me'];
      await writeSeed(seed, { name: 'web-1', hostname: 'web' }, network, { agent, sshKeys, userData });
      const read = await bootWithCloudInit(await cloudRoot(), seed, mac);
      const text = (name: string) => read(name).toString();

      const { v1: result } = JSON.parse(text('result.json'));
      expect(result).toMatchObject({
        datasource: expect.stringContaining('DataSourceNoCloud [seed=/dev/loop'),
        errors: [],
      });
      const { v1: instance } = JSON.parse(text('instance-data.json'));
      expect(instance).toMatchObject({ instance_id: 'web-1', local_hostname: 'web' });
      expect(text('hostname')).toBe('web\n');
      expect(text('interfaces')).toMatch(
        /iface eth0 inet static\n +address 198\.18\.0\.7\/24\n +gateway 198\.18\.0\.1\n/,
      );
      // As it came up: a card is renamed by its address.
      expect(text('address')).toContain('inet 198.18.0.7/24');
      expect(text('route')).toContain('default via 198.18.0.1 dev eth0');
      expect(text('keys')).toContain(sshKeys[0]);
      expect(text('of-the-user')).toBe('ran\n');
      expect(read('agent').equals(await readFile(agent))).toBe(true);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
);

// Emulated, a complete system takes a minute of a processor: too long for every change, so it is asked for.
if (process.env.CLOUDOS_TEST_CLOUD_IMAGE) {
  test(
    'a complete Debian boots in a machine, and its cloud-init takes the seed',
    { timeout: 1_800_000 },
    bootCloudImage,
  );
}
