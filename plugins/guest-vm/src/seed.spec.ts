import { expect, test } from 'vitest';
import { explainEnd } from './explain.ts';
import { seedFiles } from './seed.ts';

const machine = { name: 'web-1', hostname: 'web' };
const network = {
  kind: 'bridge',
  address: '198.18.0.7',
  prefix: 24,
  gateway: '198.18.0.1',
  mac: '52:54:00:01:02:03',
} as const;

test('a seed tells name, address and keys as NoCloud has them, and nothing of the program', () => {
  const files = seedFiles(machine, network, { sshKeys: ['ssh-ed25519 AAAA me'] });
  expect(Object.keys(files).sort()).toEqual(['meta-data', 'network-config', 'start', 'user-data', 'vendor-data']);
  expect(JSON.parse(files['meta-data'] ?? '')).toEqual({
    'instance-id': 'web-1',
    'local-hostname': 'web',
    'public-keys': ['ssh-ed25519 AAAA me'],
  });
  expect(JSON.parse(files['network-config'] ?? '')).toEqual({
    version: 2,
    ethernets: {
      eth0: {
        match: { macaddress: '52:54:00:01:02:03' },
        'set-name': 'eth0',
        addresses: ['198.18.0.7/24'],
        routes: [{ to: '0.0.0.0/0', via: '198.18.0.1' }],
      },
    },
  });
  expect(files['user-data']).toMatch(/^#cloud-config\n/);
  expect(files['vendor-data']).toMatch(/^#cloud-config\n/);
  expect(JSON.parse((files['vendor-data'] ?? '').replace('#cloud-config\n', ''))).toHaveProperty('bootcmd');
});

test('user data is what the configuration has', () => {
  const userData = '#cloud-config\npackages: [nginx]\n';
  expect(seedFiles(machine, undefined, { sshKeys: [], userData })['user-data']).toBe(userData);
});

test('the end of QEMU is that of the program, of the machine, or of QEMU alone', async () => {
  const explain = (record: string, status: number | 'lost', oomKills = 0) =>
    explainEnd(record, { status, oomKills }, async () => 'Kernel panic');
  expect(await explain('end 3 0 0\n', 0)).toEqual({ exitCode: 3, signal: null, reason: 'exited' });
  expect(await explain('end -1 9 1\n', 0)).toMatchObject({ signal: 'SIGKILL', reason: 'oom-killed' });
  expect(await explain('end -1 15 1\n', 0)).toEqual({ exitCode: null, signal: 'SIGTERM', reason: 'signalled' });
  expect(await explain('', 0)).toMatchObject({
    exitCode: 0,
    reason: 'exited',
    message: 'the machine shut itself down',
  });
  expect(await explain('', 137)).toMatchObject({ signal: 'SIGKILL', reason: 'signalled' });
  expect(await explain('', 137, 1)).toMatchObject({ reason: 'oom-killed' });
  expect(await explain('', 1)).toMatchObject({ reason: 'lost', message: expect.stringContaining('Kernel panic') });
  expect(await explain('end 1\n', 'lost')).toMatchObject({ reason: 'lost' });
});
