import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pluginContext } from '@cloudos/conformance';
import { type GuestDriver, type GuestExit, type GuestSpec, type GuestTemplate, guestTemplate } from '@cloudos/sdk';
import { guestTraces } from '@cloudos/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import guestZones from './index.ts';

const isRoot = process.geteuid?.() === 0;
const node = process.execPath;
const untilMaxMs = 60_000;

let dataDir: string;
let driver: GuestDriver;
let close: () => Promise<void>;
const exits: GuestExit[] = [];

async function open(directory: string, config: unknown = {}) {
  const context = await pluginContext({ dataDir: directory, stateDir: `${directory}.state`, node: { id: 'n1' } });
  const patient = { startTimeoutMs: untilMaxMs, ...(config as object) };
  const opened = await guestZones.create(context, guestZones.config.parse(patient));
  return { driver: opened, close: () => context.scope.close() };
}

function spec(instance: string, script: string, template: Partial<GuestTemplate> = {}): GuestSpec {
  const command = ['/bin/sh', '-c', script];
  const made = guestTemplate.parse({ image: 'host:', command, requests: {}, limits: {}, ...template });
  return { instance, workload: 'default/zones', node: 'n1', template: made };
}

const none = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };

async function run(instance: string, script: string, template: Partial<GuestTemplate> = {}) {
  await driver.create(spec(instance, script, template));
  return driver.start(instance, 1);
}

async function until<T>(what: string, poll: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + untilMaxMs;
  for (;;) {
    const answer = await poll();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`did not happen in ${untilMaxMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What a script prints in a zone of its own, once it has ended. */
async function output(instance: string, script: string, template: Partial<GuestTemplate> = {}): Promise<string> {
  await run(instance, script, template);
  let text = '';
  for await (const chunk of driver.logs(instance, { follow: true })) text += Buffer.from(chunk.data).toString();
  await driver.remove(instance);
  return text;
}

/** The directory of the driver, and the state directory beside it, of which a lock is all that may be left. */
async function removeBoth(directory: string): Promise<void> {
  const left = readdirSync(`${directory}.state`, { recursive: true, encoding: 'utf8' }).sort();
  expect(left).toEqual(['network', 'network/n1', 'network/n1/lock']);
  await rm(`${directory}.state`, { recursive: true });
  await rm(directory, { recursive: true });
}

const traces = () => guestTraces({ dataDir, stateDir: `${dataDir}.state` });

beforeAll(async () => {
  if (!isRoot) return;
  dataDir = await mkdtemp(join(tmpdir(), 'cloudos-zones-'));
  ({ driver, close } = await open(dataDir));
  driver.exits.subscribe((exit) => exits.push(exit));
});

afterAll(async () => {
  if (!isRoot) return;
  await driver.purge();
  await close();
  expect(readdirSync(dataDir)).toEqual([]);
  await removeBoth(dataDir);
});

describe.skipIf(!isRoot)('zones as root (needs root: run as root)', () => {
  describe('isolation', () => {
    test('a zone has its own name, its own processes and none of the host', async () => {
      const text = await output('iso', 'hostname; echo $$; ls /proc | grep -c "^[0-9]"; cat /proc/1/comm');
      const [name, pid, processes, init] = text.trim().split('\n');
      expect(name).toBe('iso');
      expect(name).not.toBe(hostname());
      expect(Number(pid)).toBeLessThan(30);
      expect(Number(processes)).toBeLessThan(8);
      expect(init).toBe('sh');
    });
    test('a zone sees no mount of the host but what was given to it', async () => {
      const text = await output('mounts', 'cat /proc/self/mountinfo; ls -A / /.host; test -e /work || echo no-work');
      const roots = text.split('\n').filter((line) => / - (ext4|xfs|btrfs) /.test(line));
      expect(roots.every((line) => / \/(usr|bin|sbin|lib\w*|opt\/cloudos-node)(\/| )/.test(line))).toBe(true);
      expect(text).not.toContain(dataDir);
      expect(text).not.toContain('/sys/fs/cgroup');
      expect(text).toMatch(/\/\.host:\n/);
      expect(text.split('/.host:\n')[1]).toBe('no-work\n');
    });
    test('a zone cannot write to what it shares with the host, and can to the rest', async () => {
      const script = [
        'for f in /usr/mark /proc/sys/kernel/panic /proc/sysrq-trigger /etc/ld.so.preload; do',
        '  (echo 1 >$f) 2>/dev/null && echo "wrote $f"; done',
        'mv /etc /etc2 2>/dev/null && echo moved; chmod 000 /dev/null 2>/dev/null && echo chmod',
        'mount -o remount,rw /usr 2>/dev/null && echo remounted; mknod /tmp/sda b 8 0 2>/dev/null && echo mknod',
        'umount /proc/sys 2>/dev/null && echo unmounted; chroot / true 2>/dev/null && echo chroot',
        'echo ok >/mark && echo ok >/tmp/mark && echo ok >/dev/shm/mark && cat /mark',
      ].join('\n');
      expect(await output('write', script)).toBe('ok\n');
      expect(existsSync('/usr/mark')).toBe(false);
    });
    test('a zone has no capability, gets none, and holds nothing of the host open', async () => {
      const text = await output(
        'caps',
        'grep -E "^(Cap|NoNewPrivs)" /proc/self/status; ls -l /proc/1/fd | grep -o "> .*"',
      );
      for (const kind of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) expect(text).toContain(`Cap${kind}:\t0000000000000000`);
      expect(text).toContain('NoNewPrivs:\t1');
      const open = text.split('\n').filter((line) => line.startsWith('> '));
      expect(open.filter((line) => !/\/(null|out|err)( \(deleted\))?$/.test(line))).toEqual([]);
    });
    test('a signal to its own process group reaches nobody else', async () => {
      await run('group', 'trap "" TERM; kill -TERM 0; kill -KILL 0; sleep 100');
      const exit = await until('exit', () => exits.find(({ instance }) => instance === 'group'));
      expect(exit).toMatchObject({ signal: 'SIGKILL', reason: 'signalled' });
      await driver.remove('group');
    });
    test('user, working directory and a read-only root are honoured', async () => {
      const script = 'id -u; pwd; (echo x >/mark) 2>/dev/null || echo read-only; echo y >/dev/shm/mark && echo shm';
      const text = await output('user', script, { user: 1000, workingDir: '/var', readOnlyRoot: true });
      expect(text).toBe('1000\n/var\nread-only\nshm\n');
    });
    test('a zone is called as its template says', async () => {
      const script = 'hostname; cat /etc/hostname; echo "$HOSTNAME"; grep -c "db1$" /etc/hosts';
      expect(await output('named', script, { hostname: 'db1' })).toBe('db1\ndb1\ndb1\n1\n');
    });
    test('what a run has written is gone in the next one', async () => {
      await run('fresh', 'test -e /mark && echo old; echo new >/mark');
      await until('exit', () => exits.find(({ instance }) => instance === 'fresh'));
      await driver.start('fresh', 2);
      await until('second exit', () => exits.find(({ instance, attempt }) => instance === 'fresh' && attempt === 2));
      let text = '';
      for await (const chunk of driver.logs('fresh', {})) text += Buffer.from(chunk.data).toString();
      expect(text).toBe('');
      await driver.remove('fresh');
    });
    test('the first process reaps what others leave', async () => {
      const isThere = 'ps -eo comm= | grep -q "^sleep"';
      const script = `(sleep 0.05 &); (sleep 0.05 &); n=0; while ${isThere} && [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done; ${isThere} || echo reaped`;
      expect(await output('reap', script)).toBe('reaped\n');
    });
  });

  describe('limits', () => {
    test('processes beyond the limit cannot be had, and those that are there go on', async () => {
      const limits = { ...none, pids: 30 };
      const greedy = [
        "const { spawn } = require('node:child_process');",
        "let refused = 0; const count = () => { if (++refused === 1) console.log('refused'); };",
        "for (let i = 0; i < 60; i++) spawn('sleep', ['1000']).on('error', count);",
        'setInterval(() => {}, 1000);',
      ].join(' ');
      await run('greedy', `exec ${node} -e "${greedy}"`, { limits });
      await until('the limit', async () => ((await driver.stats('greedy')).pids ?? 0) >= 25);
      for (let look = 0; look < 5; look++) expect((await driver.stats('greedy')).pids).toBeLessThanOrEqual(31);
      let text = '';
      await until('a refusal', async () => {
        text = '';
        for await (const chunk of driver.logs('greedy', {})) text += Buffer.from(chunk.data).toString();
        return text !== '';
      });
      expect(text).toContain('refused');
      await driver.remove('greedy');
    });
    test('memory in a file system of the zone counts', async () => {
      const limits = { ...none, memoryBytes: 16 * 2 ** 20 };
      await run('shm', 'exec dd if=/dev/zero of=/dev/shm/fill bs=1M count=60 status=none', { limits });
      const exit = await until('exit', () => exits.find(({ instance }) => instance === 'shm'));
      expect(exit).toMatchObject({ reason: 'oom-killed', signal: 'SIGKILL' });
      await driver.remove('shm');
    });
    test('a command run in the zone counts against its limits', async () => {
      const limits = { ...none, memoryBytes: 24 * 2 ** 20 };
      await run('exec', 'exec sleep 1000', { limits });
      const session = await driver.exec('exec', { command: [node, '-e', 'Buffer.alloc(200<<20, 1)'] });
      expect(await session.exitCode).toBe(137);
      await driver.remove('exec');
    });
  });

  describe('network', () => {
    const server = (body: string) => ({
      command: [node, '-e', `require('http').createServer((q,s)=>s.end('${body}')).listen(80)`],
      ports: [{ port: 80, protocol: 'tcp' as const }],
    });
    test('the host and the zones reach each other, on low ports too', async () => {
      const one = await run('one', '', server('from one'));
      const host = one.address?.host;
      expect(
        await until('an answer', () =>
          fetch(`http://${host}/`).then(
            (r) => r.text(),
            () => undefined,
          ),
        ),
      ).toBe('from one');
      const ask = `require('http').get('http://${host}/',r=>r.pipe(process.stdout))`;
      expect(await output('two', `exec ${node} -e "${ask}"`)).toBe('from one');
      await driver.remove('one');
    });
    test('an address that is gone is not looked for elsewhere', async () => {
      const { address } = await run('gone', 'exec sleep 1000');
      await driver.remove('gone');
      const route = execFileSync('ip', ['route', 'show', 'type', 'unreachable']).toString();
      const subnet = (address?.host ?? '').replace(/\d+$/, '0/24');
      expect(route).toContain(`unreachable ${subnet}`);
    });
    test('a subnet that is used up is said to be, and is free again after a removal', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'cloudos-zones-'));
      const network = { bridge: 'cloudosx7', subnet: '198.19.255.0/29' };
      const small = await open(directory, { network });
      try {
        for (const name of ['a', 'b', 'c', 'd', 'e']) {
          await small.driver.create(spec(name, 'exec sleep 1000'));
          await small.driver.start(name, 1);
        }
        await small.driver.create(spec('f', 'exec sleep 1000'));
        await expect(small.driver.start('f', 1)).rejects.toMatchObject({ code: 'ADDRESSES_EXHAUSTED' });
        await small.driver.remove('c');
        expect(await small.driver.start('f', 1)).toMatchObject({ state: 'running' });
      } finally {
        await small.driver.purge();
        await small.close();
        expect(existsSync('/sys/class/net/cloudosx7')).toBe(false);
        expect(execFileSync('ip', ['route', 'show', 'type', 'unreachable']).toString()).not.toContain('198.19.255.0');
        await removeBoth(directory);
      }
    });
    test('the bridge of another data directory is left alone', async () => {
      const bridge = await until('a bridge', () =>
        readdirSync('/sys/class/net').find((name) => /^cloudos\d/.test(name)),
      );
      const directory = await mkdtemp(join(tmpdir(), 'cloudos-zones-'));
      const other = await open(directory, { network: { bridge } });
      await expect(other.driver.create(spec('x', 'true'))).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
      await other.driver.purge();
      await other.close();
      expect(existsSync(`/sys/class/net/${bridge}`)).toBe(true);
      await removeBoth(directory);
    });
  });

  test('logs are rotated at their bound, and read over the rotation', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cloudos-zones-'));
    const maxBytes = 64 * 1024;
    const small = await open(directory, { logs: { maxBytes } });
    try {
      await small.driver.create(spec('chatty', 'i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done'));
      await small.driver.start('chatty', 1);
      let text = '';
      for await (const chunk of small.driver.logs('chatty', { follow: true }))
        text += Buffer.from(chunk.data).toString();
      const zone = readdirSync(join(directory, 'zones'))[0] ?? '';
      for (const name of ['stdout', 'stdout.1']) {
        expect((await stat(join(directory, 'zones', zone, name))).size).toBeLessThanOrEqual(maxBytes);
      }
      let kept = '';
      for await (const chunk of small.driver.logs('chatty', {})) kept += Buffer.from(chunk.data).toString();
      expect(kept.trimEnd().split('\n').at(-1)).toBe('line 19999');
      expect(kept.length).toBeLessThanOrEqual(2 * maxBytes);
      const lines = kept
        .split('\n')
        .slice(1, -1)
        .map((line) => Number(line.slice(5)));
      expect(lines.every((line, index) => index === 0 || line === (lines[index - 1] ?? 0) + 1)).toBe(true);
      expect(text).toContain('line 19999');
    } finally {
      await small.driver.purge();
      await small.close();
      await removeBoth(directory);
    }
  });

  test('a terminal is resized while a command runs in it', async () => {
    await run('tty', 'exec sleep 1000');
    const command = ['/bin/sh', '-c', 'trap "stty size; exit 0" WINCH; stty size; while :; do sleep 0.05; done'];
    const session = await driver.exec('tty', { command, tty: { columns: 80, rows: 24 } });
    let text = '';
    session.output.subscribe((chunk) => {
      text += Buffer.from(chunk.data).toString();
    });
    await until('the first size', () => text.includes('24 80'));
    session.resize(132, 50);
    expect(await session.exitCode).toBe(0);
    expect(text).toContain('50 132');
    await driver.remove('tty');
  });

  test('a hundred rounds of create and remove leave nothing', async () => {
    await run('first', 'exec sleep 1000');
    await driver.remove('first');
    const before = traces();
    for (let round = 0; round < 100; round++) {
      const name = `round-${round % 3}`;
      const limits = { ...none, diskBytes: round % 10 === 0 ? 8 * 2 ** 20 : 0 };
      await run(name, round % 2 ? 'exec sleep 1000' : 'echo done', { ports: [{ port: 80, protocol: 'tcp' }], limits });
      await driver.remove(name);
    }
    expect(await until('nothing to be left', () => sameAs(before, traces()))).toBe(true);
  });
});

function sameAs(before: unknown, after: unknown): boolean {
  return JSON.stringify(before) === JSON.stringify(after);
}
