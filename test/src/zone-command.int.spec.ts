import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KernelProcess, until } from './support/kernel-process.ts';

const zone = {
  alias: 'db',
  brand: 'joyent',
  cpu_cap: 50,
  max_physical_memory: 64,
  max_lwps: 40,
  internal_metadata: { 'docker:entrypoint': '["sh","-c","echo up; exec sleep 1000"]' },
  tags: { tier: 'back' },
};

/** A zone's JSON goes in as vmadm takes it, and comes out as it shows it, of a zone that runs. */
describe('cloudos zone', () => {
  const kernel = new KernelProcess({
    ...{ name: 'zoned', log: 'log-memory', resources: 'resources-spread', orchestrator: 'orchestrator-kubernetes' },
    nodes: [{ name: 'n', host: 'host-linux', guests: ['guest-zones'] }],
  });
  beforeAll(() => kernel.start(), 120_000);
  afterAll(() => kernel.dispose(), 60_000);

  const create = (json: object) => {
    const file = path.join(kernel.dir, 'zone.json');
    writeFileSync(file, JSON.stringify(json));
    return kernel.run('zone', 'create', '-f', file);
  };
  const get = async (name: string) => {
    const { stdout } = await kernel.run('zone', 'get', name);
    return JSON.parse(stdout || '{}') as Record<string, unknown>;
  };

  it('makes a zone from JSON, once, and shows it', async () => {
    expect(await create(zone)).toMatchObject({ code: 0, stdout: 'zone/default/db created\n' });
    await until(async () => (await get('db')).state === 'running');
    const shown = await get('db');
    expect(shown).toMatchObject({
      ...{ alias: 'db', brand: 'sparse', zone_state: 'running', pid: expect.any(Number), autoboot: true },
      ...{ cpu_cap: 50, max_physical_memory: 64, max_lwps: 40 },
    });
    expect(await get(String(shown.uuid))).toMatchObject({ uuid: shown.uuid, pid: shown.pid });
    expect(await create(zone)).toMatchObject({ code: 0, stdout: 'zone/default/db unchanged\n' });
  }, 120_000);

  it('shows what it printed since a time', async () => {
    await until(async () => (await kernel.run('logs', 'db', '--since', '1h')).stdout === 'up\n');
    expect(await kernel.run('logs', 'db', '--since', '2100-01-01')).toMatchObject({ code: 0, stdout: '' });
  }, 120_000);

  it('refuses what it does not know by name, and says which zones there are', async () => {
    const unknown = await create({ ...zone, alias: 'other', vcpus: 2 });
    expect(unknown.code).not.toBe(0);
    expect(unknown.stderr).toContain('vcpus');
    expect((await create({ ...zone, alias: 'Not/A/Name' })).stderr).toContain('MANIFEST_INVALID');
    expect((await create({ ...zone, cpu_cap: 60 })).stderr).toContain('COMMAND_REFUSED');
    expect((await kernel.run('zone', 'get', 'nope')).stderr).toContain('INSTANCE_NOT_FOUND');
  }, 120_000);
});
