import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxPrograms, type GuestProgram, pluginContext, type TestPluginContext } from '@cloudos/conformance';
import { findTool, isAlive, signalProcess, startTimeOf, unmountBelow } from '@cloudos/host-tools';
import { ImageStore, importImage } from '@cloudos/images';
import { type GuestExit, type GuestSpec, guestTemplate } from '@cloudos/sdk';
import { obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DockerDriver } from './docker.driver.ts';
import { connect } from './engine.ts';
import { fillDisk } from './full-disk.fixture.ts';
import { guestDocker } from './index.ts';
import { dockerConfig } from './options.ts';
import { OwnEngine } from './own-engine.ts';

const obstacle =
  process.getuid?.() !== 0
    ? 'needs root: run the tests as root'
    : findTool('dockerd')
      ? obstacleToTestImages()
      : 'needs dockerd: apt-get install docker.io';

const diskMaxBytes = 2 ** 29;
/** Processes with that text among their arguments. */
function processesNaming(text: string): number[] {
  const named = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text);
    } catch {
      return false;
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && named(name))
    .map(Number);
}

describe.skipIf(obstacle !== undefined)(`faults under containers (${obstacle ?? 'real engine'})`, () => {
  let root: string;
  let context: TestPluginContext;
  let driver: DockerDriver;
  let engine: OwnEngine;
  const exits: GuestExit[] = [];
  const attach = async () => {
    context = await pluginContext({ node: { id: 'n1' }, dataDir: join(root, 'data'), stateDir: join(root, 'state') });
    const config = dockerConfig.parse({ engine: 'own', pull: false, retryMs: 100, diskMaxBytes });
    driver = (await guestDocker.create(context, config)) as DockerDriver;
    driver.exits.subscribe((exit) => exits.push(exit));
  };

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cloudos-docker-'));
    await shellImage(ImageStore.of(join(root, 'state')));
    await attach();
    engine = new OwnEngine(join(root, 'data'), diskMaxBytes);
  });
  afterAll(async () => {
    await driver.purge();
    await context.scope.close();
    await rm(root, { recursive: true, force: true });
  });

  const spec = (instance: string, program: GuestProgram, image = 'shell:1'): GuestSpec => ({
    instance,
    workload: 'default/faults',
    node: 'n1',
    template: guestTemplate.parse({ image, ...program, requests: {}, limits: {} }),
  });
  const run = async (instance: string, program: GuestProgram) => {
    await driver.create(spec(instance, program));
    return driver.start(instance, 1);
  };
  const cycle = async (name: string) => {
    await run(name, busyboxPrograms.sleepForever());
    await driver.remove(name);
  };
  const until = async <T>(what: string, poll: () => T | Promise<T>): Promise<T> => {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const answer = await poll();
      if (answer) return answer;
      if (Date.now() > deadline) throw new Error(`did not happen in a minute: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const answer = async (host: string | undefined) => {
    const response = await fetch(`http://${host}/`, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
    return response?.text();
  };
  /** As a crash would, and waits until the driver has started another. */
  const killEngine = async () => {
    const pid = Number(readFileSync(join(engine.socket, '../docker.pid'), 'utf8'));
    const daemon = { pid, startTime: startTimeOf(pid) ?? '' };
    signalProcess(daemon, 'SIGKILL');
    await until('the end of the engine', () => !isAlive(daemon));
  };

  test('a guest runs on while its engine is killed and comes back, and is managed as before', async () => {
    const { pid, address } = await run('survivor', busyboxPrograms.httpServer(80, 'here'));
    await until('an answer', async () => (await answer(address?.host)) === 'here');
    await killEngine();
    expect(await answer(address?.host)).toBe('here');
    const found = async () => (await driver.list().catch(() => [])).find(({ instance }) => instance === 'survivor');
    expect(await until('the guest in the list', found)).toMatchObject({ state: 'running', attempt: 1, pid, address });
    expect(await driver.stop('survivor', 5_000)).toMatchObject({ reason: 'stopped' });
    await driver.remove('survivor');
  });

  test('the end of a guest that nobody saw is told when the engine is back', async () => {
    const { pid } = await run('unseen', busyboxPrograms.sleepForever());
    await killEngine();
    process.kill(pid ?? -1, 'SIGKILL');
    await until('the exit', () => exits.find(({ instance }) => instance === 'unseen'));
    expect(exits.filter(({ instance }) => instance === 'unseen')).toHaveLength(1);
    expect(await driver.start('unseen', 2)).toMatchObject({ state: 'running', attempt: 2 });
    await driver.remove('unseen');
  });

  test('a container of the same name that somebody else made is left alone', async () => {
    const docker = connect(engine.socket);
    await run('probe', busyboxPrograms.sleepForever());
    const [mine] = await docker.listContainers();
    const name = (mine?.Names[0] ?? '').slice(1);
    await driver.remove('probe');
    const theirs = await docker.createContainer({ name, Image: mine?.Image ?? '' });
    await driver.create(spec('probe', busyboxPrograms.sleepForever()));
    await expect(driver.start('probe', 1)).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    expect((await theirs.inspect()).Id).toBe(theirs.id);
    await theirs.remove();
    expect(await driver.start('probe', 1)).toMatchObject({ state: 'running' });
    await driver.remove('probe');
  });

  test('limits that a guest cannot take are refused, and it keeps those that it has', async () => {
    const none = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
    const { pid } = await run('large', busyboxPrograms.allocate(64 * 2 ** 20));
    const printed = async () => {
      let text = '';
      for await (const { data } of driver.logs('large', {})) text += Buffer.from(data).toString();
      return text.includes('done');
    };
    await until('the memory to be taken', printed);
    for (const [limits, code] of [
      [{ memoryBytes: 16 * 2 ** 20 }, 'GUEST_STATE'],
      [{ memoryBytes: 4096 }, 'GUEST_SPEC_INVALID'],
      [{ diskBytes: 2 ** 24 }, 'GUEST_UNSUPPORTED'],
    ] as const) {
      await expect(driver.resize('large', { limits: { ...none, pids: 50, ...limits } })).rejects.toMatchObject({
        code,
      });
    }
    const [container] = await connect(engine.socket).listContainers();
    const { HostConfig: kept } = await connect(engine.socket)
      .getContainer(container?.Id ?? '')
      .inspect();
    expect(kept).toMatchObject({ Memory: 0 });
    expect(kept.PidsLimit ?? 0).toBe(0);
    expect((await driver.list())[0]).toMatchObject({ state: 'running', pid });
    await driver.remove('large');
  });

  test('a disk that is full while a guest is created is told, and the node goes on when there is room', async () => {
    const store = ImageStore.of(join(root, 'state'));
    const source = await mkdtemp(join(root, 'large-'));
    writeFileSync(join(source, 'file'), randomBytes(32 * 2 ** 20));
    await importImage(store, { from: source, form: 'root-directory' }, { reference: 'large:1' });
    await driver.create(spec('small', busyboxPrograms.sleepForever()));
    const free = await fillDisk({ dataDir: join(root, 'data') });
    const large = spec('large', busyboxPrograms.sleepForever(), 'large:1');
    await expect(driver.create(large)).rejects.toMatchObject({ code: 'DISK_FULL' });
    expect((await driver.list()).map(({ instance }) => instance)).not.toContain('large');
    expect([...(await store.holds()).values()].flat()).toEqual([expect.stringContaining('small')]);
    await free();
    await until('room', async () => (await driver.create(large).catch(() => undefined))?.state === 'created');
    await driver.remove('large');
    await driver.remove('small');
  });

  test('an engine is found again after a start of the machine, with the guests that it had', async () => {
    await run('before', busyboxPrograms.sleepForever());
    // As the machine would be: no driver, no engine, no process of a guest, nothing mounted.
    await context.scope.close();
    const { pid = -1 } = (await driver.list())[0] ?? {};
    // Some of them end with others.
    const identity = (of: number) => ({ pid: of, startTime: startTimeOf(of) ?? '' });
    const all = [...processesNaming(join(engine.socket, '..')), pid].map(identity);
    for (const each of all) signalProcess(each, 'SIGKILL');
    await until('the end of all', () => processesNaming(join(engine.socket, '..')).length === 0);
    await unmountBelow(join(engine.socket, '..'));
    await unmountBelow(join(root, 'data/engine'));
    expect(readdirSync(join(root, 'data/engine'))).toEqual([]);
    await attach();
    expect(await driver.list()).toMatchObject([{ instance: 'before', state: 'exited' }]);
    await until('the exit', () => exits.find(({ instance }) => instance === 'before'));
    expect(await driver.start('before', 2)).toMatchObject({ state: 'running', attempt: 2 });
    await driver.remove('before');
  });

  /** The containers that the engine has made: others of the machine have their groups beside those of ours. */
  const made = new Set<string>();
  /** Whatever a guest could leave behind. */
  const remains = async () => ({
    containers: (await connect(engine.socket).listContainers({ all: true })).map(({ Names: names }) => names[0]),
    layers: readdirSync(join(root, 'data/engine/image/btrfs/layerdb/mounts')),
    subvolumes: readdirSync(join(root, 'data/engine/btrfs/subvolumes')),
    tasks: processesNaming(join(engine.socket, '../exec/containerd/containerd.sock')).length,
    records: readdirSync(join(root, 'data/guests')),
    holds: [...(await ImageStore.of(join(root, 'state')).holds()).values()].flat(),
    claims: readdirSync(join(root, 'state/network/n1/addresses')),
    interfaces: readdirSync('/sys/class/net'),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').length,
    groups: [...made].filter((id) => existsSync(join('/sys/fs/cgroup/pids/docker', id))),
  });
  const untilNothingMoreThan = async (before: object) => {
    const same = async () => JSON.stringify(await remains()) === JSON.stringify(before);
    await until('nothing more to be left', same).catch(async () => expect(await remains()).toEqual(before));
  };

  test.each([
    [4, 'made'],
    [3, 'running'],
  ] as const)(
    'an engine that is killed when %i of ten containers are %s costs those under way',
    async (count, state) => {
      await cycle('first');
      const watcher = watch(join(root, 'data/engine/containers'), (_event, name) => made.add(name ?? ''));
      const docker = connect(engine.socket);
      const before = await remains();
      const names = Array.from({ length: 10 }, (_, index) => `ten-${state}-${index}`);
      const results = Promise.allSettled(names.map((name) => run(name, busyboxPrograms.sleepForever())));
      await until('the moment', async () => (await docker.listContainers({ all: state === 'made' })).length >= count);
      await killEngine();
      const outcomes = await results;
      for (const result of outcomes) {
        const outcome = result.status === 'rejected' ? result.reason.code : result.value.state;
        expect(['running', 'RUNTIME_UNAVAILABLE', 'GUEST_START_FAILED']).toContain(outcome);
      }
      const again = await Promise.all(names.map((name) => run(name, busyboxPrograms.sleepForever())));
      for (const [index, status] of again.entries()) {
        expect(status).toMatchObject({ state: 'running', attempt: 1 });
        const outcome = outcomes[index];
        if (outcome?.status === 'fulfilled') expect(status.pid).toBe(outcome.value.pid);
      }
      expect((await driver.list()).map(({ instance }) => instance).sort()).toEqual([...names].sort());
      // What was under way at the old engine may take a moment to be cleared away.
      await until('a task for each', async () => (await remains()).tasks === names.length).catch(() => {});
      expect(await remains()).toMatchObject({ containers: { length: 10 }, tasks: 10 });
      await Promise.all(names.map((name) => driver.remove(name)));
      await untilNothingMoreThan(before);
      watcher.close();
      expect(made.size).toBeGreaterThanOrEqual(names.length);
    },
  );

  test('nothing is left of an engine when all is removed, and the next guest has a new one', async () => {
    const devices = () => execFileSync('losetup', ['-a']).toString();
    expect(devices()).toContain(root);
    await driver.purge();
    expect(devices()).not.toContain(root);
    expect(existsSync(join(root, 'data/engine.img'))).toBe(false);
    expect(processesNaming(root)).toEqual([]);
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(root);
    await run('anew', busyboxPrograms.sleepForever());
    await driver.remove('anew');
  });
});
