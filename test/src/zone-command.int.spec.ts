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

  it('asks of the node what the zone may use, and lists it', async () => {
    const { stdout } = await kernel.run('get', 'instances', '-o', 'json');
    const [{ requests } = { requests: undefined }] = JSON.parse(stdout) as { requests: unknown }[];
    expect(requests).toEqual({ cpuMillis: 500, memoryBytes: 64 * 2 ** 20, diskBytes: 0, pids: 40 });
    const { uuid } = await get('db');
    const table = (await kernel.run('zone', 'list')).stdout
      .trim()
      .split('\n')
      .map((row) => row.split(/\s+/));
    expect(table).toEqual([
      ['UUID', 'BRAND', 'RAM', 'STATE', 'ALIAS'],
      [uuid, 'sparse', '64', 'running', 'db'],
    ]);
    expect(JSON.parse((await kernel.run('zone', 'list', '-o', 'json')).stdout)).toMatchObject([{ uuid, cpu_cap: 50 }]);
  }, 120_000);

  it('changes limits of the running zone, and refuses what only a new one can take', async () => {
    const { uuid, pid } = await get('db');
    const memory = async () => {
      const { stdout } = await kernel.run('zone', 'get', 'db');
      return (JSON.parse(stdout) as { max_physical_memory: number }).max_physical_memory;
    };
    const limits = ['cpu_cap=80', 'max_physical_memory=96'];
    expect(await kernel.run('zone', 'update', 'db', ...limits)).toMatchObject({
      code: 0,
      stdout: 'zone/default/db updated: cpu_cap, max_physical_memory\n',
    });
    expect(await get('db')).toMatchObject({ uuid, pid, cpu_cap: 80, max_physical_memory: 96, max_lwps: 40 });
    const still = await kernel.run('zone', 'update', 'db', 'hostname=other');
    expect(still.stderr).toMatch(/hostname.*\n?.*--replace/s);
    // Less than it uses is refused by its node, and taken back.
    expect((await kernel.run('zone', 'update', 'db', 'max_physical_memory=1')).stderr).toContain('keeps its limits');
    expect(await memory()).toBe(96);
    expect(await get('db')).toMatchObject({ uuid, pid });
  }, 120_000);

  it('makes the zone anew where that is asked for, with what it may use kept for it', async () => {
    const before = await get('db');
    expect(await kernel.run('zone', 'update', 'db', 'hostname=other', '--replace')).toMatchObject({ code: 0 });
    await until(async () => {
      const now = await get('db');
      return now.state === 'running' && now.uuid !== before.uuid;
    });
    expect((await kernel.run('exec', 'db', '--', 'hostname')).stdout.trim()).toBe('other');
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

  it('deletes it', async () => {
    expect(await kernel.run('zone', 'delete', 'db')).toMatchObject({ code: 0, stdout: 'zone/default/db deleted\n' });
    await until(async () => JSON.parse((await kernel.run('zone', 'list', '-o', 'json')).stdout).length === 0);
    expect((await kernel.run('zone', 'delete', 'db')).stderr).toContain('INSTANCE_NOT_FOUND');
  }, 120_000);
});
