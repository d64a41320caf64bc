import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isAlive } from './endpoint.ts';

const bin = fileURLToPath(new URL('../bin/cloudos.mjs', import.meta.url));
const plugins = ['log-lmdb', 'resources-borg', 'orchestrator-kubernetes', 'host-simulated', 'guest-simulated'];
const { resolve } = createRequire(import.meta.url);
const built =
  existsSync(fileURLToPath(new URL('../dist/main.js', import.meta.url))) &&
  plugins.every((name) => {
    try {
      return existsSync(resolve(`@cloudos/${name}`));
    } catch {
      return false;
    }
  });

const stack = `apiVersion: cloudos/v1
kind: Stack
name: sim
log: log-lmdb
resources: resources-borg
orchestrator: orchestrator-kubernetes
nodes: [{ name: sim, count: 2, host: host-simulated, guests: [guest-simulated] }]
`;
const manifest = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 3
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: 'host:', command: [sleep], ports: [{ containerPort: 8080 }] }] }
`;

/** A `cloudos` in a process of its own. */
class Running {
  out = '';
  err = '';
  readonly child: ChildProcess;
  readonly exit: Promise<number | null>;

  constructor(args: readonly string[], home: string) {
    this.child = spawn(process.execPath, [bin, ...args], {
      cwd: home,
      env: { ...process.env, CLOUDOS_HOME: join(home, 'state'), NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (data: Buffer) => {
      this.out += data.toString();
    });
    this.child.stderr?.on('data', (data: Buffer) => {
      this.err += data.toString();
    });
    this.exit = new Promise((settle) => this.child.on('close', settle));
  }

  async saw(text: string | RegExp): Promise<void> {
    await expect.poll(() => this.out + this.err, { timeout: 200_000 }).toMatch(text);
  }
}

describe.skipIf(!built)(
  'the kernel from the command line (needs the build: npm run build)',
  { timeout: 600_000 },
  () => {
    let home: string;
    let running: Running[];
    const start = (...args: string[]) => {
      const each = new Running(args, home);
      running.push(each);
      return each;
    };
    const run = async (...args: string[]) => {
      const each = start(...args);
      return { exitCode: await each.exit, out: each.out, err: each.err };
    };

    beforeEach(async () => {
      home = await mkdtemp(join(tmpdir(), 'cloudos-up-'));
      running = [];
      await writeFile(join(home, 'cloudos.yaml'), stack);
      await writeFile(join(home, 'web.yaml'), manifest);
    });
    afterEach(async () => {
      for (const { child } of running) child.kill('SIGKILL');
      await Promise.all(running.map(({ exit }) => exit));
      await rm(home, { recursive: true, force: true });
    });

    it('runs once: boots, applies, shows, removes, and ends with 0', async () => {
      const { exitCode, out, err } = await run('up', '--apply', 'web.yaml', '--show', '--once');
      expect(err).toBe('');
      expect(exitCode).toBe(0);
      expect(out).toContain('deployment.apps/web created');
      expect(out.match(/^ {2}started +web-\S+ /gm)).toHaveLength(3);
      expect(out).toContain('default/web has 3 of 3 ready');
      expect(out).toMatch(/GuestStarted +web-\S+ +node=sim-/);
      expect(out).toContain('npx cloudos scale web 5');
      expect(out.match(/^ {2}removed +web-\S+$/gm)).toHaveLength(3);
      expect(out).toContain('nothing is left');
      expect(existsSync(join(home, 'state', 'endpoint.json'))).toBe(false);
      // A simulated guest is nowhere: no page is asked of its address.
      expect(out).not.toContain('Answers');
    });

    it('stays in the foreground, serves other terminals, and stops at Ctrl-C with 0', async () => {
      const kernel = start('up', '--apply', 'web.yaml');
      await kernel.saw('Ctrl-C stops it');
      expect((await run('get', 'instances', '-o', 'name')).out.trim().split('\n')).toHaveLength(3);
      const second = await run('up');
      expect(second.exitCode).toBe(1);
      expect(second.err).toContain('KERNEL_ALREADY_RUNNING');
      expect((await run('scale', 'web', '4', '--wait')).out).toContain('4 of 4 ready');
      await kernel.saw(/started +web-\S+-3 /);
      const again = await run('up', '--apply', 'web.yaml');
      expect(again).toMatchObject({ exitCode: 0, out: expect.stringContaining('deployment.apps/web configured') });
      kernel.child.kill('SIGINT');
      kernel.child.kill('SIGINT');
      expect(await kernel.exit).toBe(0);
      expect(kernel.out).toContain('Stopping the kernel. 3 guests go on running');
      expect((await run('status')).exitCode).toBe(3);
    });

    it('runs in the background until it is taken down, and its process is gone then', async () => {
      const { exitCode, out } = await run('up', '--detach', '--apply', 'web.yaml');
      expect(exitCode).toBe(0);
      const pid = Number(/process (\d+)/.exec(out)?.[1]);
      expect((await run('status', '-o', 'json')).out).toContain(`"pid": ${pid}`);
      const down = await run('down');
      expect(down).toMatchObject({ exitCode: 0, out: expect.stringContaining('nothing is left') });
      // Its parent has long ended: it is reaped by the first process of the machine, or of a container by nobody.
      await expect.poll(() => isAlive(pid)).toBe(false);
      expect((await run('log', 'verify')).out).toMatch(/^sound: \d+ events/);
      expect((await run('log', 'trim', '--before', '2020-01-01')).out).toContain('0 events removed, the log begins at');
      const refused = await run('log', 'trim', '--before', '999999');
      expect(refused).toMatchObject({ exitCode: 4, err: expect.stringContaining('LOG_TRIM_REFUSED') });
      expect(refused.err).toMatch(/the snapshot \S+ has the events up to position \d+/);
      expect((await run('log', 'trim', '--before', '2999-01-01')).out).toMatch(/^[1-9]\d* events removed/);
      expect((await run('log', 'verify')).out).toMatch(/^sound: \d+ events/);
    });

    it('is not misled by what a killed kernel has left', async () => {
      const kernel = start('up');
      await kernel.saw('Ctrl-C stops it');
      kernel.child.kill('SIGKILL');
      await kernel.exit;
      expect(existsSync(join(home, 'state', 'endpoint.json'))).toBe(true);
      expect((await run('status')).exitCode).toBe(3);
      const next = start('up');
      await next.saw('Ctrl-C stops it');
      expect((await run('stop')).exitCode).toBe(0);
      expect(await next.exit).toBe(0);
      expect(next.out).toContain('guests go on running');
      const down = await run('down');
      expect(down).toMatchObject({ exitCode: 0, out: expect.stringContaining('nothing is left') });
    });

    it('says what went wrong in the background', async () => {
      await writeFile(join(home, 'cloudos.yaml'), stack.replace('resources-borg', 'resources-unknown'));
      const { exitCode, err } = await run('up', '--detach');
      expect(exitCode).toBe(3);
      expect(err).toContain('PLUGIN_NOT_FOUND');
      expect(await readFile(join(home, 'state', 'kernel.out'), 'utf8')).toContain('resources-unknown');
    });
  },
);
