import { realpathSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { type GuestExit, type GuestSpec, type GuestTemplate, guestTemplate } from '@cloudos/sdk';
import { VirtualClock } from '@cloudos/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ExchangePlayer, lxZone, vmEvents } from './exchange-player.fixture.ts';
import { smartosConfig } from './smartos-config.ts';
import type { Machine } from './smartos-probe.ts';
import { createSmartosZones } from './smartos-zones.ts';
import type { VmadmDriver } from './vmadm.driver.ts';

const image = '7b5981c4-1889-11e6-b9e7-5f8b1a0b1c2d';
const smartos: Machine = { platform: 'sunos', root: true, version: 'joyent_20260305T000552Z', exists: () => true };
const config = {
  smartos: smartosConfig.parse({
    images: { 'counter:1': image },
    network: { nicTag: 'internal0', subnet: '10.88.0.0/24', gateway: '10.88.0.254' },
  }),
  logs: { maxBytes: 65_536 },
  retryMs: 30_000,
};
const events = vmEvents();

let dataDir: string;
let given: string;
let player: ExchangePlayer;
let context: TestPluginContext;
let clock: VirtualClock;
let driver: VmadmDriver;
let exits: GuestExit[];
let play: ReturnType<typeof lxZone>;

/** Expects these exchanges next, by name. */
const expectNext = (...names: string[]) =>
  player.expect(
    ...names.map((name) => {
      const exchange = play[name];
      if (!exchange) throw new Error(`there is no exchange ${name}`);
      return exchange;
    }),
  );

/** A driver over what the one before has left; `after` is what it looks at once it listens. */
async function attach(...after: string[]): Promise<void> {
  clock = new VirtualClock();
  context = await pluginContext({ dataDir, clock, node: { id: 'n1' } });
  expectNext('zonename', 'lookup', 'events');
  const made = createSmartosZones(context, { ...config, hostPaths: [given] }, smartos, player);
  const before = player.processes.length;
  await until(() => player.processes.length > before);
  expectNext(...after);
  player.processes.at(-1)?.print(events.ready ?? '');
  driver = await made;
  await until(() => player.idle);
  driver.exits.subscribe((exit) => exits.push(exit));
  player.done();
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('did not happen in 60 s');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const spec = (template: Partial<GuestTemplate> = {}): GuestSpec => ({
  instance: 'web-1',
  workload: 'default/web',
  node: 'n1',
  template: guestTemplate.parse({
    image: 'counter:1',
    command: ['/bin/httpd', '-f'],
    env: [{ name: 'COLOUR', value: 'dark green' }],
    workingDir: '/srv',
    user: 1000,
    mounts: [{ hostPath: given, target: '/given' }],
    requests: {},
    limits: { cpuMillis: 1500, memoryBytes: 256 * 2 ** 20, diskBytes: 10 * 2 ** 30, pids: 400 },
    ...template,
  }),
});

async function create(): Promise<void> {
  expectNext('absent', 'image', 'create');
  expect(await driver.create(spec())).toMatchObject({ instance: 'web-1', state: 'created', attempt: 0 });
}

async function run(): Promise<void> {
  await create();
  expectNext('created', 'start', 'running');
  const status = await driver.start('web-1', 1);
  expect(status).toMatchObject({ state: 'running', attempt: 1, pid: 48_812, address: { host: '10.88.0.1' } });
}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'cloudos-smartos-'));
  given = realpathSync(await mkdtemp(join(tmpdir(), 'cloudos-given-')));
  player = new ExchangePlayer();
  play = lxZone(given);
  exits = [];
  await attach();
});

afterEach(async () => {
  await context.scope.close();
  for (const path of [dataDir, given]) rmSync(path, { recursive: true, force: true });
  player.done();
});

describe('zones on SmartOS, by exchanges written from its documentation', () => {
  test('a zone is made from a payload, started, stopped with a grace, and deleted', async () => {
    await run();
    expectNext('running', 'stop3s', 'terminated');
    expect(await driver.stop('web-1', 2_500)).toMatchObject({ attempt: 1, reason: 'stopped', signal: 'SIGTERM' });
    expect(exits).toEqual([expect.objectContaining({ instance: 'web-1', reason: 'stopped' })]);
    expectNext('terminated');
    expect(await driver.stop('web-1', 2_500)).toBeUndefined();
    expectNext('terminated', 'delete');
    await driver.remove('web-1');
    await driver.remove('web-1');
    expect(await driver.list()).toEqual([]);
  });

  test('a zone that is created again is the first, and a stranger of its uuid is left alone', async () => {
    await create();
    expectNext('created');
    expect(await driver.create(spec())).toMatchObject({ state: 'created' });
    expectNext('created', 'delete');
    await driver.remove('web-1');
    expectNext('stranger');
    await expect(driver.create(spec())).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    expect(await driver.list()).toEqual([]);
  });

  test('what a crash between create and record left is made anew', async () => {
    expectNext('created', 'delete', 'image', 'create');
    expect(await driver.create(spec())).toMatchObject({ state: 'created' });
  });

  test.each([
    ['imageAbsent', 'IMAGE_NOT_FOUND', []],
    ['createNoSpace', 'DISK_FULL', ['absent']],
    ['createInvalid', 'GUEST_SPEC_INVALID', ['created', 'delete']],
  ])('%s is told as %s, and leaves nothing', async (answer, code, after) => {
    expectNext('absent', ...(answer === 'imageAbsent' ? [] : ['image']), answer, ...after);
    await expect(driver.create(spec())).rejects.toMatchObject({ code });
    expect(await driver.list()).toEqual([]);
  });

  test.each<[string, Partial<GuestTemplate>, string]>([
    ['a read-only root', { readOnlyRoot: true }, 'GUEST_SPEC_INVALID'],
    ['a secret', { env: [{ name: 'A', secret: 'a' }] }, 'GUEST_SPEC_INVALID'],
    [
      'a part of a GiB',
      { limits: { cpuMillis: 0, memoryBytes: 0, diskBytes: 2 ** 29, pids: 0 } },
      'GUEST_SPEC_INVALID',
    ],
    ['another brand', { options: { brand: 'whole-root' } }, 'GUEST_SPEC_INVALID'],
    ['an image without a uuid', { image: 'other:1', mounts: [] }, 'IMAGE_NOT_FOUND'],
    [
      'a path that is not given',
      { mounts: [{ hostPath: '/etc', target: '/x', readOnly: true }] },
      'HOST_PATH_FORBIDDEN',
    ],
  ])('%s is refused without a word to SmartOS', async (_, template, code) => {
    await expect(driver.create(spec(template))).rejects.toMatchObject({ code });
  });

  test('an exit is told once, as it happens, and the attempt is not run again', async () => {
    await run();
    expectNext('exited7');
    player.processes[0]?.print(`${events.touched}${events.stopped}`);
    await until(() => exits.length > 0);
    expect(exits).toEqual([{ instance: 'web-1', attempt: 1, exitCode: 7, signal: null, reason: 'exited' }]);
    await driver.lookAt('0f3b15dc-f253-5476-a5fe-9578142dbb9f');
    expect(exits).toHaveLength(1);
    expectNext('exited7');
    expect(await driver.start('web-1', 1)).toMatchObject({ state: 'exited', exit: { exitCode: 7 } });
    expectNext('exited7', 'start', 'running');
    expect(await driver.start('web-1', 2)).toMatchObject({ state: 'running', attempt: 2 });
    expectNext('running');
    await expect(driver.start('web-1', 3)).rejects.toMatchObject({ code: 'GUEST_STATE' });
  });

  test.each([
    ['killed', { exitCode: null, signal: 'SIGKILL', reason: 'signalled' }],
    ['dumpedCore', { exitCode: null, signal: 'SIGSEGV', reason: 'signalled' }],
    ['failed', { exitCode: null, signal: null, reason: 'lost' }],
    ['absent', { exitCode: null, signal: null, reason: 'lost' }],
  ])('a zone that is %s has ended so', async (answer, exit) => {
    await run();
    expectNext(answer);
    player.processes[0]?.print((answer === 'absent' ? events.deleted : events.stopped) ?? '');
    await until(() => exits.length > 0);
    expect(exits[0]).toMatchObject(exit);
  });

  test('events that ended are listened to again, and what was missed is looked for', async () => {
    await run();
    player.processes[0]?.exit(1);
    await new Promise((resolve) => setImmediate(resolve));
    expectNext('events', 'exited7');
    clock.advanceBy(config.retryMs);
    await until(() => player.processes.length > 1);
    player.processes[1]?.print(events.ready ?? '');
    await until(() => exits.length > 0);
    expect(exits[0]).toMatchObject({ exitCode: 7 });
  });

  test('another driver takes running zones over, and finds the exits that nobody saw', async () => {
    await run();
    expectNext('allRunning');
    const [{ handle } = { handle: undefined }] = await driver.list();
    await context.scope.close();
    expect(player.processes[0]?.killed).toBe(true);
    await attach('running');
    expectNext('running');
    expect(await driver.adopt(JSON.parse(JSON.stringify(handle)))).toMatchObject({ state: 'running', attempt: 1 });
    await expect(driver.adopt({ runtime: 'zones', instance: 'web-1' })).rejects.toMatchObject({
      code: 'GUEST_NOT_FOUND',
    });
    expectNext('allExited');
    expect(await driver.list()).toMatchObject([{ state: 'exited', exit: { exitCode: 7, reason: 'exited' } }]);
  });

  test('a start that fails leaves the zone as it was; one that was cut off counts when the zone runs', async () => {
    await create();
    expectNext('created', 'startFails');
    await expect(driver.start('web-1', 1)).rejects.toMatchObject({ code: 'GUEST_START_FAILED' });
    expectNext('created');
    player.expect({ ...(play.start ?? { argv: [] }), unanswered: true });
    void driver.start('web-1', 1);
    await until(() => player.idle);
    await context.scope.close();
    await attach();
    expectNext('allRunning');
    expect(await driver.list()).toMatchObject([{ state: 'running', attempt: 1 }]);
    expectNext('running');
    expect(await driver.start('web-1', 1)).toMatchObject({ state: 'running', attempt: 1 });
  });

  test('snapshots replace each other, and put a stopped zone back', async () => {
    await run();
    await expect(driver.snapshot('web-1', 'no/slash')).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' });
    expectNext('running', 'createSnapshot', 'snapshotted');
    expect(await driver.snapshot('web-1', 'before')).toEqual({ name: 'before', sizeBytes: 1_048_576, memory: false });
    expectNext('snapshotted', 'deleteSnapshot', 'createSnapshot', 'snapshotted');
    await driver.snapshot('web-1', 'before');
    expectNext('snapshotted', 'halt', 'snapshottedStopped', 'rollback', 'halt', 'snapshottedStopped');
    expect(await driver.restore('web-1', 'before')).toMatchObject({ state: 'exited', attempt: 1 });
    expect(exits).toMatchObject([{ reason: 'stopped', attempt: 1 }]);
    expectNext('snapshottedStopped');
    await expect(driver.restore('web-1', 'other')).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
    // A rollback boots the zone; one that was cut off before the halt is made up for by the next start.
    expectNext('snapshotted', 'halt', 'start', 'running');
    expect(await driver.start('web-1', 2)).toMatchObject({ state: 'running', attempt: 2 });
  });

  test('other limits are given to a running zone', async () => {
    await run();
    const limits = { cpuMillis: 3000, memoryBytes: 512 * 2 ** 20, diskBytes: 10 * 2 ** 30, pids: 400 };
    expectNext('running', 'update');
    expect(await driver.resize('web-1', { limits })).toMatchObject({ state: 'running', attempt: 1 });
    const part = { ...limits, diskBytes: 2 ** 29 };
    expectNext('running');
    await expect(driver.resize('web-1', { limits: part })).rejects.toMatchObject({ code: 'GUEST_SPEC_INVALID' });
  });

  test('a command runs by zlogin, and what dockerexec says before it is not of the command', async () => {
    await run();
    expectNext('running', 'exec');
    const session = await driver.exec('web-1', { command: ['cat', '-'], env: { A: "it's" }, workingDir: '/tmp' });
    const process = player.processes.at(-1);
    await session.write(Buffer.from('to and fro'));
    session.end();
    expect([process?.input, process?.inputEnded]).toEqual(['to and fro', true]);
    process?.print('2026-03-14T09:28:01.000Z DROP PRIVS\n2026-03-14T09:28:01.001Z EX', 'stderr');
    process?.print('EC\nerr\n', 'stderr');
    process?.print('out\n');
    process?.exit(3);
    const seen: string[] = [];
    session.output.subscribe(({ stream, data }) => seen.push(`${stream}: ${Buffer.from(data)}`));
    expect(await session.exitCode).toBe(3);
    expect(seen).toEqual(['stderr: err\n', 'stdout: out\n']);
    expectNext('running');
    const tty = { columns: 80, rows: 24 };
    await expect(driver.exec('web-1', { command: ['sh'], tty })).rejects.toMatchObject({ code: 'GUEST_UNSUPPORTED' });
  });

  test('use of resources is that of kstat, of a running zone', async () => {
    await run();
    expectNext('running', 'kstat');
    expect(await driver.stats('web-1')).toEqual({ cpuNanos: 300_000_000, memoryBytes: 18_915_328, pids: 4 });
    expectNext('exited7');
    await expect(driver.stats('web-1')).rejects.toMatchObject({ code: 'GUEST_STATE' });
  });

  test('purge removes what carries the tag of the node, with a record or without, and nothing else', async () => {
    await create();
    expectNext('allWithOrphan', 'created', 'delete', 'orphan', 'deleteOrphan');
    await driver.purge();
    expect(await driver.list()).toEqual([]);
  });

  test('pause is absent, and so are exports', () => {
    expect(driver).not.toHaveProperty('pause');
    expect(driver).not.toHaveProperty('export');
  });
});
