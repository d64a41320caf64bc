import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import path from 'node:path';
import { bootKernel, type Kernel } from '@cloudos/kernel';
import type { SharedEvent } from '@cloudos/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from './support/kernel-process.ts';
import { get } from './support/web.ts';

const isRoot = process.getuid?.() === 0;
const mib = 2 ** 20;
/** What of the machine's memory guests may have: the owner reserves most of it. */
const shared = 400 * mib;

/** Answers; from `/grow` on it holds 220 MiB more. */
const growing = [
  'let held;',
  "require('node:http').createServer((request, response) => {",
  "  if (request.url === '/grow') held = Buffer.alloc(220 * 2 ** 20, 1);",
  "  response.end(held ? 'grown' : 'small');",
  '}).listen(8080);',
].join('\n');

function pod(name: string, command: string[], memory: string, some: object): string {
  const main = { name: 'main', image: 'host:', command, resources: { requests: { cpu: '10m', memory } } };
  const spec = { terminationGracePeriodSeconds: 3, containers: [main], ...some };
  return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });
}

describe.skipIf(!isRoot)('reclamation with real zones (needs root: run the tests as root)', () => {
  let dir: string;
  let kernel: Kernel;

  beforeAll(async () => {
    dir = mkdtempSync(path.join(tmpdir(), 'cloudos-test-'));
    const host = { plugin: '@cloudos/host-linux', config: { reserve: { memoryBytes: totalmem() - shared } } };
    const stack = {
      apiVersion: 'cloudos/v1',
      kind: 'Stack',
      name: 'reclamation',
      log: 'log-lmdb',
      resources: { plugin: 'resources-borg', config: { reclamation: { margin: 0.25 } } },
      orchestrator: { plugin: 'orchestrator-kubernetes', config: { priorityClasses: { borrowed: 0, owner: 300 } } },
      nodes: [{ name: 'local', host, guests: ['@cloudos/guest-zones'] }],
    };
    const stackFile = path.join(dir, 'stack.yaml');
    writeFileSync(stackFile, JSON.stringify(stack));
    // usage is looked at more often than every ten seconds, and recorded after a second instead of a minute
    const nodes = { usageSampleMs: 500, usageWarmUpMs: 1_000, usageRecordIntervalMs: 1_000 };
    kernel = await bootKernel({ stackFile, stateDir: path.join(dir, 'state'), limits: { nodes } });
  }, 120_000);

  afterAll(async () => {
    await kernel?.down();
    rmSync(dir, { recursive: true, force: true });
  }, 120_000);

  const apply = (text: string) => kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text } });
  const instance = async (name: string) =>
    (await kernel.view()).instances.find(({ workload }) => workload === `default/${name}`);

  it('lends what the owner does not use, and takes it back with notice when the owner needs it', async () => {
    await apply(pod('owner', ['node', '-e', growing], '350Mi', { priorityClassName: 'owner' }));
    let url = '';
    await until(async () => {
      const address = (await instance('owner'))?.address;
      if (address) url = `http://${address.host}:${address.ports?.['8080'] ?? 8080}/`;
      return url !== '' && (await get(url).catch(() => undefined))?.body === 'small';
    });
    await apply(pod('borrower', ['sleep', '1000'], '150Mi', { priorityClassName: 'borrowed', restartPolicy: 'Never' }));
    await until(async () => (await instance('borrower'))?.state === 'ready');
    expect((await get(`${url}grow`)).body).toBe('grown');
    const id = (await instance('borrower'))!.instance;
    const log: SharedEvent[] = [];
    const about = (type: string) =>
      log.find((event) => event.type === type && (event.data as { instance: string }).instance === id);
    await until(async () => {
      log.length = 0;
      for await (const batch of kernel.log.read({})) log.push(...(batch as SharedEvent[]));
      return about('GuestRemoved') !== undefined;
    });
    // it waited until an estimate of what the owner needs was there, and left when another one said more
    const order = ['InstanceUnplaceable', 'InstancePlaced', 'InstancePreempted', 'GuestRemoved'].map(
      (type) => about(type)!.position,
    );
    expect(order).toEqual(order.toSorted((one, other) => one - other));
    const estimates = log.filter(({ type, position }) => type === 'GuestUsageEstimated' && position < order[2]!);
    expect(estimates[0]!.position).toBeLessThan(order[1]!);
    expect(estimates.some(({ position }) => position > order[1]!)).toBe(true);
    expect(about('InstancePreempted')!.data).toMatchObject({
      node: 'local',
      graceMs: 3_000,
      reason: expect.stringContaining('borrowed'),
    });
    expect((await get(url)).body).toBe('grown');
  }, 180_000);
});
