import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pluginContext } from '@cloudos/conformance';
import { SeededRandom } from '@cloudos/testing';
import { expect, test } from 'vitest';
import guestZones from './index.ts';

const isRoot = process.geteuid?.() === 0;
const program = fileURLToPath(new URL('./fixtures/busy-driver.mjs', import.meta.url));
const rounds = 6;
/** How long a driver may take to be loaded and ready, and all that it has made to be gone. */
const readyMaxMs = 60_000;

/** What the driver acknowledged before it was killed. */
interface Acknowledged {
  readonly created: Set<string>;
  readonly started: Map<string, number>;
  readonly removing: Set<string>;
  readonly removed: Set<string>;
}

test.skipIf(!isRoot)(
  'a driver killed at any moment leaves zones that the next one takes over (needs root: run as root)',
  async () => {
    const seed = Number(process.env.CLOUDOS_TEST_SEED ?? Date.now() % 1_000_000);
    console.log(`seed ${seed} (CLOUDOS_TEST_SEED=${seed} repeats it)`);
    const random = new SeededRandom(seed);
    const dataDir = await mkdtemp(join(tmpdir(), 'cloudos-crash-'));
    const seen: Acknowledged = { created: new Set(), started: new Map(), removing: new Set(), removed: new Set() };
    try {
      for (let round = 0; round < rounds; round++) {
        await killAfter(dataDir, round * 1_000, random.between(5, 400), seen);
        await checkTakeover(dataDir, seen);
      }
    } finally {
      await purge(dataDir);
      for (const beside of ['vite', 'state']) await rm(`${dataDir}.${beside}`, { recursive: true, force: true });
    }
    expect(readdirSync(dataDir)).toEqual([]);
    const processes = () => execFileSync('ps', ['-eo', 'args']).toString();
    await expect.poll(processes, { timeout: readyMaxMs }).not.toContain(dataDir);
    await rm(dataDir, { recursive: true });
  },
  rounds * readyMaxMs,
);

/** Lets a driver work for that long after it became ready, then kills it with SIGKILL. */
async function killAfter(dataDir: string, first: number, delayMs: number, seen: Acknowledged): Promise<void> {
  const child: ChildProcess = spawn(process.execPath, [program, dataDir, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout ?? process.stdin });
  let isReady = false;
  const late = setTimeout(() => child.kill('SIGKILL'), readyMaxMs);
  lines.on('line', (line) => {
    const [word, instance = '', pid] = line.split(' ');
    if (word === 'ready') {
      isReady = true;
      setTimeout(() => child.kill('SIGKILL'), delayMs);
    }
    if (word === 'created') seen.created.add(instance);
    if (word === 'started') seen.started.set(instance, Number(pid));
    if (word === 'removing') seen.removing.add(instance);
    if (word === 'removed') seen.removed.add(instance);
  });
  const ended = once(child, 'exit');
  const [, signal] = await Promise.all([once(lines, 'close'), ended]).then(([, exit]) => exit as [number, string]);
  clearTimeout(late);
  expect(isReady, `the driver was ready in ${readyMaxMs} ms`).toBe(true);
  expect(signal).toBe('SIGKILL');
}

async function checkTakeover(dataDir: string, seen: Acknowledged): Promise<void> {
  const context = await pluginContext({ dataDir, stateDir: `${dataDir}.state`, node: { id: 'n1' } });
  const driver = await guestZones.create(context, guestZones.config.parse({}));
  const listed = new Map((await driver.list()).map((guest) => [guest.instance, guest]));
  for (const instance of seen.removed) expect(listed.has(instance), `${instance} was removed`).toBe(false);
  for (const [instance, pid] of seen.started) {
    if (seen.removing.has(instance)) continue;
    expect(listed.get(instance), instance).toMatchObject({ state: 'running', attempt: 1, pid });
  }
  for (const instance of seen.created)
    if (!seen.removing.has(instance)) expect(listed.has(instance), instance).toBe(true);
  // Whatever was under way can be finished: started, or removed.
  for (const guest of listed.values()) {
    if (seen.removing.has(guest.instance)) {
      await driver.remove(guest.instance);
      seen.removed.add(guest.instance);
      continue;
    }
    const started = await driver.start(guest.instance, 1);
    expect(started).toMatchObject({ state: 'running', attempt: 1 });
    expect(existsSync(`/proc/${started.pid}`)).toBe(true);
    if (seen.started.has(guest.instance)) expect(started.pid).toBe(seen.started.get(guest.instance));
    seen.created.add(guest.instance);
    seen.started.set(guest.instance, started.pid ?? 0);
  }
  const running = (await driver.list()).filter(({ state }) => state === 'running');
  const addresses = running.map(({ address }) => address?.host);
  expect(new Set(addresses).size).toBe(addresses.length);
  await context.scope.close();
}

async function purge(dataDir: string): Promise<void> {
  const context = await pluginContext({ dataDir, stateDir: `${dataDir}.state`, node: { id: 'n1' } });
  const driver = await guestZones.create(context, guestZones.config.parse({}));
  await driver.purge();
  await context.scope.close();
}
