import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NodeNetwork } from './node-network.ts';
import { macOf, parseSubnet } from './subnet.ts';

describe('addresses', () => {
  it('are IPv4 subnets without bits of a host, and give hardware addresses of their own', () => {
    expect(parseSubnet('198.18.0.0/24')).toEqual({ first: 3_323_068_416, prefix: 24 });
    for (const wrong of ['198.18.0.1/24', '198.18.0.0', '1.2.3/24', '300.0.0.0/8', '10.0.0.0/30']) {
      expect(() => parseSubnet(wrong), wrong).toThrow(wrong);
    }
    expect(macOf('198.18.0.10')).toBe('02:42:c6:12:00:0a');
    expect(() => macOf('here')).toThrow(TypeError);
  });
});

const obstacle = NodeNetwork.obstacle();
const title = `the network of a node${obstacle ? ` (cannot run: ${obstacle.reason}: ${obstacle.remedy})` : ''}`;

describe.skipIf(obstacle !== undefined)(title, () => {
  let stateDir: string;
  const opened: NodeNetwork[] = [];
  const open = (node = 'n1', more: { bridge?: string; subnet?: string } = {}) => {
    const network = new NodeNetwork({ stateDir, node, ...more });
    opened.push(network);
    return network;
  };
  beforeEach(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'cloudos-network-'));
  });
  afterEach(async () => {
    for (const network of opened.splice(0)) {
      for (const [address, owner] of await network.claims()) await network.release(owner, address);
      await network.remove();
    }
    await rm(stateDir, { recursive: true });
  });

  it('is one bridge, whoever asks for it first', async () => {
    const networks = Array.from({ length: 4 }, () => open());
    const bridges = await Promise.all(networks.map((network) => network.ensure()));
    expect(new Set(bridges.map(({ name }) => name)).size).toBe(1);
    expect(execFileSync('ip', ['-o', 'address', 'show', 'dev', bridges[0]?.name ?? '']).toString()).toContain(
      `${bridges[0]?.gateway}/${bridges[0]?.prefix}`,
    );
    const other = await open('n2').ensure();
    expect(other.name).not.toBe(bridges[0]?.name);
    expect(other.subnet).not.toBe(bridges[0]?.subnet);
  });

  it('gives each guest of every runtime an address of its own, and the same one again', async () => {
    const [zones, docker] = [open(), open()];
    const names = Array.from({ length: 20 }, (_, n) => n);
    const claimed = await Promise.all(names.flatMap((n) => [zones.claim(`zones ${n}`), docker.claim(`docker ${n}`)]));
    expect(new Set(claimed).size).toBe(40);
    expect(await docker.claim('zones 3')).toBe(claimed[6]);
    await zones.release('docker 3', claimed[6]);
    expect(await zones.claim('zones 3')).toBe(claimed[6]);
    await zones.sweep('zones', new Set(['3']));
    expect([...(await zones.claims()).values()].filter((owner) => owner.startsWith('zones'))).toEqual(['zones 3']);
  });

  it('says when all addresses are taken', async () => {
    const network = open('n1', { bridge: 'cloudosx9', subnet: '198.19.254.0/29' });
    for (let n = 0; n < 5; n++) await network.claim(`zones ${n}`);
    await expect(network.claim('zones 5')).rejects.toMatchObject({ code: 'ADDRESSES_EXHAUSTED' });
  });

  it('stays as long as a guest of any runtime has an address, and leaves nothing after that', async () => {
    const [zones, docker] = [open(), open()];
    const { name, subnet } = await zones.ensure();
    const address = await docker.claim('docker a');
    expect(await zones.remove()).toBe(false);
    expect(existsSync(`/sys/class/net/${name}`)).toBe(true);
    await docker.release('docker a', address);
    expect(await docker.remove()).toBe(true);
    expect(existsSync(`/sys/class/net/${name}`)).toBe(false);
    expect(execFileSync('ip', ['route', 'show', 'type', 'unreachable']).toString()).not.toContain(subnet.split('/')[0]);
    expect(readdirSync(join(stateDir, 'network/n1'))).toEqual(['lock']);
    // The first one had it in memory; it makes another.
    expect(await zones.claim('zones a')).toMatch(/^198\.1[89]\./);
    expect((await zones.ensure()).name).toMatch(/^cloudos\d+$/);
  });

  it('leaves the bridge of somebody else alone', async () => {
    execFileSync('ip', ['link', 'add', 'name', 'cloudosx8', 'type', 'bridge']);
    execFileSync('ip', ['link', 'set', 'dev', 'cloudosx8', 'alias', 'theirs']);
    try {
      await expect(open('n1', { bridge: 'cloudosx8' }).ensure()).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
      expect(readFileSync('/sys/class/net/cloudosx8/ifalias', 'utf8').trim()).toBe('theirs');
    } finally {
      execFileSync('ip', ['link', 'delete', 'cloudosx8']);
    }
  });

  it('keeps its hardware address as guests come and go, by which those that stay know it', async () => {
    const network = open();
    const { name, gateway } = await network.ensure();
    const addresses = [];
    const links = Array.from({ length: 6 }, (_, n) => network.linkName(`hyper ${n}`));
    for (const link of links) {
      await network.plugTap({ link });
      addresses.push(readFileSync(`/sys/class/net/${name}/address`, 'utf8').trim());
    }
    for (const link of links) {
      await network.unplug(link);
      addresses.push(readFileSync(`/sys/class/net/${name}/address`, 'utf8').trim());
    }
    expect(new Set(addresses)).toEqual(new Set([macOf(gateway)]));
  });

  it('plugs taps in', async () => {
    const network = open();
    const { name } = await network.ensure();
    const link = network.linkName('hyper a');
    await network.plugTap({ link });
    expect(existsSync(`/sys/class/net/${name}/brif/${link}`)).toBe(true);
    await network.unplug(link);
    await network.unplug(link);
    expect(existsSync(`/sys/class/net/${link}`)).toBe(false);
  });
});
