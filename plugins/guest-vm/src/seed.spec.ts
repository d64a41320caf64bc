import { expect, test } from 'vitest';
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
    version: 1,
    config: [
      {
        type: 'physical',
        name: 'eth0',
        mac_address: '52:54:00:01:02:03',
        subnets: [{ type: 'static', address: '198.18.0.7/24', gateway: '198.18.0.1' }],
      },
    ],
  });
  expect(files['user-data']).toMatch(/^#cloud-config\n/);
  expect(files['vendor-data']).toMatch(/^#cloud-config\n/);
  expect(JSON.parse((files['vendor-data'] ?? '').replace('#cloud-config\n', ''))).toHaveProperty('bootcmd');
});

test('user data is what the configuration has', () => {
  const userData = '#cloud-config\npackages: [nginx]\n';
  expect(seedFiles(machine, undefined, { sshKeys: [], userData })['user-data']).toBe(userData);
});
