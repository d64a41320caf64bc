import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { connectUnix, machineDir, type VmDriver } from '@cloudos/qemu';
import { type GuestExit, type GuestSpec, type GuestStatus, guestTemplate } from '@cloudos/sdk';
import { SeededRandom } from '@cloudos/testing';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { engineIsMissing, startEngine } from './engine.fixture.ts';
import plugin, { unikernelConfig } from './index.ts';
import { buildUnikernel, importUnikernel, unikernelReference } from './unikernel-programs.fixture.ts';

const unikernel = buildUnikernel();
afterAll(unikernel.remove);

/** How long anything may take here, and how long one look whether a guest answers. */
const waitMaxMs = 60_000;
const askMaxMs = 5_000;
const snapshotter = fileURLToPath(new URL('./fixtures/snapshotting-driver.mjs', import.meta.url));
const killRounds = 6;

interface Node {
  readonly dataDir: string;
  readonly context: TestPluginContext;
  readonly driver: VmDriver;
  readonly exits: GuestExit[];
}

const nodes: Node[] = [];
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'cloudos-uk-'));
});
afterEach(async () => {
  for (const { driver, context } of nodes.splice(0)) {
    await driver.purge();
    await context.scope.close();
  }
  await rm(root, { recursive: true, force: true });
});

async function node(name = 'n1', config: unknown = { carrier: 'bare' }): Promise<Node> {
  const dataDir = join(root, name);
  const stateDir = join(root, `${name}-state`);
  await importUnikernel(stateDir, unikernel.path);
  const context = await pluginContext({ node: { id: name }, dataDir, stateDir });
  const driver = (await plugin.create(context, unikernelConfig.parse(config))) as VmDriver;
  const exits: GuestExit[] = [];
  const seen = driver.exits.subscribe((exit) => exits.push(exit));
  context.scope.defer('exits', () => seen.unsubscribe());
  const made = { dataDir, context, driver, exits };
  nodes.push(made);
  return made;
}

function spec(instance: string, command: string[] = ['serve'], image = unikernelReference): GuestSpec {
  const template = guestTemplate.parse({
    image,
    command,
    ports: [{ port: 80, protocol: 'tcp' }],
    requests: {},
    limits: { memoryBytes: 8 * 2 ** 20 },
  });
  return { instance, workload: 'default/counter', node: 'n1', template };
}

async function run({ driver }: Pick<Node, 'driver'>, instance: string, command?: string[]): Promise<GuestStatus> {
  await driver.create(spec(instance, command));
  return driver.start(instance, 1);
}

/** One request to a guest, once it answers at all: one that is sent again could count twice. */
async function ask({ address }: GuestStatus, path: string, method = 'GET', body?: string): Promise<string> {
  const url = `http://${address?.host}:${address?.ports?.['80'] ?? 80}`;
  const answer = async (to: string, maxMs: number, more: RequestInit = {}) =>
    (await fetch(to, { ...more, signal: AbortSignal.timeout(maxMs) })).text();
  await until(`an answer from ${url}`, () => answer(`${url}/`, askMaxMs).catch(() => undefined));
  return answer(`${url}${path}`, waitMaxMs, { method, ...(body === undefined ? {} : { body }) });
}

async function until<T>(what: string, poll: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = Date.now() + waitMaxMs;
  for (;;) {
    const answer = await poll();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`did not happen in ${waitMaxMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const exitOf = ({ exits }: Node, instance: string) =>
  until(`exit of ${instance}`, () => exits.find((exit) => exit.instance === instance));

describe('the key-value counter', () => {
  test('counts and keeps values over its network card', async () => {
    const guest = await run(await node(), 'a');
    expect(await ask(guest, '/')).toBe('0');
    expect(await ask(guest, '/inc', 'POST')).toBe('1');
    expect(await ask(guest, '/inc')).toBe('2');
    expect(await ask(guest, '/kv/colour', 'PUT', 'dark green')).toBe('ok\n');
    expect(await ask(guest, '/kv/colour')).toBe('dark green');
    expect(await ask(guest, '/kv/colour', 'DELETE')).toBe('ok\n');
    expect(await ask(guest, '/kv/colour')).toBe('no such key\n');
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask(guest, '/inc', 'POST')));
    expect(answers.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, n) => n + 3));
  });

  test('answers on its console channel as well', async () => {
    const { dataDir, driver } = await node();
    await driver.create(spec('a'));
    await driver.start('a', 1);
    const [name = ''] = readdirSync(join(dataDir, 'guests'));
    const socket = await connectUnix(join(dataDir, 'guests', name, machineDir, 'hvc0'), 2_000);
    let said = '';
    socket.on('data', (data) => {
      said += data.toString();
    });
    socket.write(
      'POST /inc HTTP/1.1\r\n\r\nPUT /kv/k HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /kv/k HTTP/1.1\r\n\r\n',
    );
    await until('three answers', () => (said.endsWith('abc') ? said : undefined));
    expect(said.match(/HTTP\/1.1 200 OK/g)).toHaveLength(3);
    socket.destroy();
  });

  test('takes no more than its memory', async () => {
    const { driver } = await node();
    // Of the 3 MiB it has two thirds itself: what its program takes first leaves room for some 240 values.
    const full = spec('a', ['serve', `allocate=${12 * 2 ** 16}`]);
    await driver.create({
      ...full,
      template: { ...full.template, limits: { ...full.template.limits, memoryBytes: 3 * 2 ** 20 } },
    });
    const guest = await driver.start('a', 1);
    let stored = 0;
    const refused = await until('memory to be full', async () => {
      const keys = Array.from({ length: 8 }, () => stored++);
      const answers = await Promise.all(keys.map((key) => ask(guest, `/kv/${key}`, 'PUT', 'x'.repeat(1024))));
      if (stored > 3_000) return 'never';
      return answers.find((answer) => answer !== 'ok\n');
    });
    expect(refused).toBe('no memory is left\n');
    expect(await ask(guest, '/')).toBe('0');
  });
});

describe('snapshots', () => {
  test('a guest goes back to a snapshot and on from it, with its pid of then gone and its attempt kept', async () => {
    const n1 = await node();
    const guest = await run(n1, 'a');
    await ask(guest, '/inc', 'POST');
    await ask(guest, '/kv/k', 'PUT', 'then');
    expect(await n1.driver.snapshot('a', 's')).toMatchObject({ name: 's', memory: true });
    expect(await ask(guest, '/inc', 'POST')).toBe('2');
    await ask(guest, '/kv/k', 'PUT', 'now');
    const restored = await n1.driver.restore('a', 's');
    expect(restored).toMatchObject({ state: 'running', attempt: 1 });
    expect(await ask(restored, '/')).toBe('1');
    expect(await ask(restored, '/kv/k')).toBe('then');
    expect(n1.exits).toEqual([]);
    expect(await n1.driver.stop('a', 5_000)).toMatchObject({ reason: 'stopped', attempt: 1 });
    await expect(n1.driver.restore('a', 'other')).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
  });

  test('a paused guest stays so, however many are taken of it', async () => {
    const { driver } = await node();
    const guest = await run({ driver }, 'a');
    await driver.pause('a');
    for (const name of ['s', 't']) expect(await driver.snapshot('a', name)).toMatchObject({ name, memory: true });
    expect(await driver.list()).toMatchObject([{ state: 'paused' }]);
    await driver.resume('a');
    expect(await ask(guest, '/inc')).toBe('1');
  });

  test('a driver that is killed while it takes one leaves a guest that the next lets go on', async () => {
    const { dataDir, context, driver } = await node('n1');
    const guest = await run({ driver }, 'a');
    await ask(guest, '/inc');
    const seed = Number(process.env.CLOUDOS_TEST_SEED ?? Date.now() % 1_000_000);
    const random = new SeededRandom(seed);
    let held = 0;
    for (let round = 0; round < killRounds; round++) {
      const words = [dataDir, context.stateDir, 'n1', JSON.stringify({ carrier: 'bare' }), 'a'];
      const child = spawn(process.execPath, [snapshotter, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
      await once(createInterface({ input: child.stdout }), 'line', { signal: AbortSignal.timeout(waitMaxMs) });
      setTimeout(() => child.kill('SIGKILL'), random.between(0, 100));
      await once(child, 'exit');
      const [name = ''] = readdirSync(join(dataDir, 'guests'));
      if (readFileSync(join(dataDir, 'guests', name, 'state.json'), 'utf8').includes('heldBy')) held++;
      const next = await node('n1');
      const about = `seed ${seed}, round ${round}`;
      expect(await ask(guest, '/', 'GET'), about).toBe('1');
      expect(await next.driver.snapshot('a', 'again'), about).toMatchObject({ memory: true });
      expect(await next.driver.list(), about).toMatchObject([{ state: 'running', pid: guest.pid, attempt: 1 }]);
      expect(readdirSync(join(dataDir, 'guests', name, 'snapshots')), about).toHaveLength(1);
    }
    expect(held, `seed ${seed}: how many were killed while the guest was held`).toBeGreaterThan(0);
  });

  test('a guest leaves its node as bytes and runs on at another, under the address that it gets there', async () => {
    const n1 = await node('n1');
    const guest = await run(n1, 'a');
    await ask(guest, '/kv/k', 'PUT', 'carried');
    await n1.driver.snapshot('a', 's');
    const n2 = await node('n2');
    const imported = await n2.driver.import(spec('b'), n1.driver.export('a', 's'));
    expect(imported).toMatchObject({ state: 'created', attempt: 0 });
    const started = await n2.driver.start('b', 1);
    expect(started.address).not.toEqual(guest.address);
    expect(await ask(started, '/kv/k')).toBe('carried');
    expect(await ask(guest, '/kv/k')).toBe('carried');
    const small = {
      ...spec('c'),
      template: { ...spec('c').template, limits: { ...spec('c').template.limits, memoryBytes: 4 * 2 ** 20 } },
    };
    await expect(n2.driver.import(small, n1.driver.export('a', 's'))).rejects.toMatchObject({
      code: 'SNAPSHOT_INVALID',
    });
    expect((await n2.driver.list()).map(({ instance }) => instance)).toEqual(['b']);
  });
});

describe('faults', () => {
  test('QEMU that is killed is an exit by its signal', async () => {
    const n1 = await node();
    const { pid = 0 } = await run(n1, 'a');
    process.kill(pid, 'SIGKILL');
    expect(await exitOf(n1, 'a')).toMatchObject({ reason: 'signalled', signal: 'SIGKILL', exitCode: null });
  });

  test('an end that nobody could record is lost, and the guest can be started again', async () => {
    const n1 = await node();
    const { pid = 0 } = await run(n1, 'a');
    const parent = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]);
    process.kill(parent, 'SIGKILL');
    expect(await n1.driver.list()).toMatchObject([{ state: 'running', pid }]);
    process.kill(pid, 'SIGKILL');
    expect(await exitOf(n1, 'a')).toMatchObject({ reason: 'lost' });
    expect(await ask(await n1.driver.start('a', 2), '/')).toBe('0');
  });

  test('a unikernel that takes no notice is killed after the grace', async () => {
    const n1 = await node();
    await run(n1, 'a', ['unstoppable']);
    const before = Date.now();
    expect(await n1.driver.stop('a', 300)).toMatchObject({ reason: 'stopped', signal: 'SIGKILL' });
    // A timer may be a little early by this clock.
    expect(Date.now() - before).toBeGreaterThanOrEqual(290);
  });

  test('what cannot be booted is refused before it is made', async () => {
    const { driver, context } = await node();
    await importUnikernel(context.stateDir, '/bin/true', 'true:1');
    await expect(driver.create(spec('a', ['serve'], 'true:1'))).rejects.toMatchObject({ code: 'IMAGE_UNSUITABLE' });
    await expect(driver.create(spec('a', ['serve'], 'host:'))).rejects.toMatchObject({ code: 'IMAGE_UNSUITABLE' });
    const template = { ...spec('a').template, limits: { ...spec('a').template.limits, memoryBytes: 1024 } };
    await expect(driver.create({ ...spec('a'), template })).rejects.toMatchObject({ code: 'GUEST_SPEC_INVALID' });
    await expect(driver.create(spec('a', ['x'.repeat(3_000)])).then(() => driver.start('a', 1))).rejects.toMatchObject({
      code: 'GUEST_SPEC_INVALID',
    });
    expect(await driver.list()).toMatchObject([{ state: 'created' }]);
  });

  test('a full disk refuses a guest and a snapshot, and the node goes on', async () => {
    const dataDir = join(root, 'full');
    await mkdir(dataDir);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160k', 'tmpfs', dataDir]);
    try {
      const n1 = await node('full');
      const guest = await run(n1, 'a');
      await expect(n1.driver.snapshot('a', 's')).rejects.toMatchObject({ code: 'DISK_FULL' });
      expect(await ask(guest, '/inc')).toBe('1');
      await writeFile(join(dataDir, 'filler'), Buffer.alloc(1024 * 1024)).catch(() => {});
      await expect(n1.driver.create(spec('b'))).rejects.toMatchObject({ code: 'DISK_FULL' });
      await rm(join(dataDir, 'filler'));
      expect(await n1.driver.create(spec('b'))).toMatchObject({ state: 'created' });
      await n1.driver.purge();
      await n1.context.scope.close();
      nodes.pop();
    } finally {
      execFileSync('umount', ['-l', dataDir]);
    }
  });

  test.skipIf(engineIsMissing() !== undefined)(
    'an engine that is killed and comes back finds the guest running, and is told of its end',
    async () => {
      const engine = await startEngine();
      try {
        const n1 = await node('engine', { carrier: 'docker', docker: { socket: engine.socket } });
        const guest = await run(n1, 'a');
        await ask(guest, '/inc', 'POST');
        await engine.restart();
        expect(await n1.driver.list()).toMatchObject([{ state: 'running', pid: guest.pid, address: guest.address }]);
        expect(await ask(guest, '/')).toBe('1');
        process.kill(guest.pid ?? 0, 'SIGKILL');
        expect(await exitOf(n1, 'a')).toMatchObject({ reason: 'signalled', signal: 'SIGKILL' });
        await n1.driver.purge();
        await n1.context.scope.close();
        nodes.pop();
      } finally {
        await engine.remove();
      }
    },
  );
});
