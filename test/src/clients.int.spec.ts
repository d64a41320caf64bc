import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CloudosClient } from '@cloudos/client';
import type { RecordedEvent } from '@cloudos/sdk';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import wscat from 'wscat/package.json' with { type: 'json' };
import { KernelProcess, readyInstances, until } from './support/kernel-process.ts';
import { deployment } from './support/manifests.ts';
import { readmeCode } from './support/readme.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Clients of others against one endpoint, with the commands of the README as they are written there. */
describe('third-party clients', () => {
  const pages = [pageServer(), pageServer()];
  let kernel: KernelProcess;
  let client: CloudosClient;
  let events: readonly RecordedEvent[];
  let environment: NodeJS.ProcessEnv;
  const running = new Set<ChildProcess>();
  beforeAll(async () => {
    const [allowed] = await Promise.all(pages.map(listening));
    // One port for all of its lives.
    const held = pageServer();
    const port = Number(new URL(await listening(held)).port);
    held.close();
    kernel = new KernelProcess({
      ...{ name: 'read', log: 'log-lmdb', resources: 'resources-borg', orchestrator: 'orchestrator-kubernetes' },
      nodes: [{ name: 'n', host: 'host-simulated', guests: ['guest-simulated'] }],
      gateway: { origins: [allowed], port },
    });
    client = await kernel.start();
    await client.command({ slot: 'orchestrator', command: { type: 'Apply', text: deployment('web', 5) } });
    await readyInstances(client, 'web', 5);
    events = (await client.eventsPage({ types: ['Guest*'], limit: 1_000 })).events;
    expect(events.length).toBeGreaterThanOrEqual(10);
    environment = {
      ...process.env,
      CLOUDOS_HOME: kernel.stateDir,
      // What they print is read here: no colours, whoever runs the tests.
      NO_COLOR: '1',
      FORCE_COLOR: '0',
      // The commands of this checkout, and Debian's python3 before any other.
      PATH: [join(root, 'node_modules/.bin'), '/usr/bin', process.env.PATH].join(delimiter),
    };
    const setup = `${readmeCode('bash', 'cloudos token create')}\nprintf '%s\\n%s\\n' "$url" "$token"`;
    const [url, token] = (await finished(setup)).trim().split('\n');
    expect(token).toMatch(/^cloudos_/);
    Object.assign(environment, { url, token });
  }, 300_000);
  afterAll(async () => {
    for (const child of running) child.kill('SIGKILL');
    for (const page of pages) page.close();
    await kernel?.dispose();
  }, 60_000);

  /** Runs a script in bash, in a process group of its own. */
  const start = (script: string): ChildProcess => {
    const child = spawn('bash', ['-c', script], { cwd: root, env: environment, detached: true, stdio: 'pipe' });
    running.add(child);
    child.once('exit', () => running.delete(child));
    return child;
  };

  const finished = (script: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const child = start(script);
      let out = '';
      let err = '';
      child.stdout?.on('data', (data: Buffer) => {
        out += data.toString();
      });
      child.stderr?.on('data', (data: Buffer) => {
        err += data.toString();
      });
      // Not `exit`: what it wrote may come after that.
      child.once('close', (code) => (code === 0 ? resolve(out) : reject(new Error(`exit code ${code}: ${out}${err}`))));
    });

  /** Lets a client that goes on run until it has shown an event that comes after it began; returns what it wrote. */
  const followed = async (script: string): Promise<string> => {
    const child = start(script);
    let out = '';
    const gather = (data: Buffer) => {
      out += data.toString();
    };
    child.stdout?.on('data', gather);
    child.stderr?.on('data', gather);
    try {
      const last = events.at(-1);
      await until(
        () => shows(out, last),
        120_000,
        () => out.slice(-2_000),
      );
      // One more guest: what happens from now on comes as well.
      const replicas = ((await client.view()).workloads[0]?.spec.replicas ?? 0) + 1;
      await client.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'default/web', replicas } });
      await readyInstances(client, 'web', replicas);
      events = (await client.eventsPage({ types: ['Guest*'], limit: 1_000 })).events;
      const newest = events.at(-1);
      await until(
        () => shows(out, newest),
        120_000,
        () => out.slice(-2_000),
      );
    } finally {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    }
    return out;
  };

  /** Whether the whole line of an event is there, with its id or, in some clients, with `<position> <type>`. */
  const shows = (out: string, event: RecordedEvent | undefined) =>
    new RegExp(`${event?.id}.*\n|^${event?.position} (io\\.cloudos\\.)?${event?.type} .*\n`, 'm').test(out);
  const positions = () => events.map(({ position }) => position);
  const positionsOf = (lines: readonly string[]) =>
    lines.map((line) => (JSON.parse(line) as { position: number }).position);
  const lineWith = (text: string) =>
    readmeCode('bash', 'npx wscat')
      .split('\n')
      .find((line) => line.includes(text)) ?? '';

  it(`wscat ${wscat.version}`, async () => {
    const out = await followed(lineWith('npx wscat'));
    const lines = out.split('\n').flatMap((line) => /\{"specversion.*\}/.exec(line)?.[0] ?? []);
    expect(positionsOf(lines)).toEqual(positions());
  }, 300_000);

  it('curl, Server-Sent Events', async () => {
    const out = await followed(lineWith('text/event-stream'));
    const data = [...out.matchAll(/^data: (\{"specversion":"1.0","type":"io.cloudos.Guest.*\})$/gm)].map(
      ([, line = '']) => line,
    );
    expect(positionsOf(data)).toEqual(positions());
    const ids = [...out.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
    expect(ids).toEqual(expect.arrayContaining(positions()));
  }, 300_000);

  it('curl, JSON lines', async () => {
    const out = await followed(lineWith('application/x-ndjson'));
    expect(positionsOf(out.trim().split('\n'))).toEqual(positions());
  }, 300_000);

  it('curl, one page', async () => {
    const page = JSON.parse(await finished(readmeCode('bash', 'to=1000'))) as { events: { position: number }[] };
    expect(page.events.map(({ position }) => position)).toEqual(positions());
  });

  it('Python, with python3-websockets', async () => {
    const out = await followed(`python3 -c '${readmeCode('python', 'websockets').replaceAll("'", "'\\''")}'`);
    const lines = out.trim().split('\n');
    expect(lines.map((line) => Number(line.split(' ')[0]))).toEqual(positions());
  }, 300_000);

  it('a subscriber in ten lines of TypeScript', async () => {
    const code = readmeCode('ts', 'new CloudosClient');
    expect(code.trim().split('\n').length).toBeLessThanOrEqual(10);
    const script = `cd test && node --input-type=module -e '${code.replaceAll("'", "'\\''")}'`;
    const out = await followed(script);
    const shown = [...out.matchAll(/^(\d+) Guest\w+ /gm)].map(([, position]) => Number(position));
    expect(shown).toEqual(positions());
  }, 300_000);

  describe('in Chromium', { timeout: 300_000 }, () => {
    /** What it may take to start and to load a page: Playwright's own half a minute is short on a busy machine. */
    const browserMaxMs = 120_000;
    let browser: Browser;
    let script: string;
    beforeAll(async () => {
      // Fails on an import that no browser has: `platform: 'browser'` resolves no built-ins of Node.js.
      const bundle = await build({
        entryPoints: [fileURLToPath(new URL('./fixtures/browser-page.mjs', import.meta.url))],
        ...{ bundle: true, write: false, platform: 'browser', format: 'esm', target: 'es2022', logLevel: 'silent' },
      });
      script = bundle.outputFiles[0]?.text ?? '';
      for (const page of pages) page.script = script;
      browser = await chromium.launch({
        executablePath: '/usr/bin/chromium',
        timeout: browserMaxMs,
        args: [
          ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
          ...['--disable-component-update', '--disable-sync'],
        ],
      });
    }, 300_000);
    afterAll(() => browser?.close());

    const evaluate = async (page: PageServer, call: 'subscribe' | 'attempt', argument: object): Promise<unknown> => {
      const tab = await browser.newPage();
      const urls: string[] = [];
      tab.on('request', (request) => urls.push(request.url()));
      tab.on('websocket', (socket) => urls.push(socket.url()));
      try {
        await tab.goto(page.url, { timeout: browserMaxMs });
        const result = await tab.evaluate(
          ([name, given]) => (globalThis as unknown as Record<string, (given: object) => unknown>)[name]?.(given),
          [call, argument] as const,
        );
        expect(urls.filter((url) => url.includes('cloudos_') || url.includes(String(environment.token)))).toEqual([]);
        return result;
      } finally {
        await tab.close();
      }
    };

    it('reads the past and what is to come, and sends a command', async () => {
      const made = await client.createToken({ name: 'page', scopes: ['events:read', 'orchestrator:command'] });
      const argument = { url: environment.url, token: made.token, count: events.length };
      const result = (await evaluate(pages[0] as PageServer, 'subscribe', argument)) as {
        positions: number[];
        caused: { replicas: number };
        status: { pid: number };
      };
      expect(result.positions.slice(0, events.length)).toEqual(positions());
      expect(result.caused.replicas).toBe(1);
      expect(result.status.pid).toBe(kernel.pid);
    });

    it('is let in from the origin that was configured, and from no other', async () => {
      const argument = { url: environment.url, token: environment.token };
      const [own, other] = pages as [PageServer, PageServer];
      expect(await evaluate(own, 'attempt', argument)).toEqual({ request: 'answered 200', socket: 'open' });
      expect(await evaluate(other, 'attempt', argument)).toEqual({ request: 'blocked', socket: 'blocked' });
    });

    it('goes on from where it was when the server was killed, or the page loaded again', async () => {
      const { token } = await client.createToken({ name: 'follower', scopes: ['events:read'] });
      const tab = await browser.newPage();
      const scale = (replicas: number) =>
        client.command({ slot: 'orchestrator', command: { type: 'Scale', workload: 'default/web', replicas } });
      try {
        await tab.goto((pages[0] as PageServer).url, { timeout: browserMaxMs });
        await follow(tab, { url: kernel.endpoint(), token });
        await levelWith(tab, (await client.status()).head);
        // What this makes happen is under way when the server dies.
        await scale(30);
        await kernel.end('SIGKILL');
        await until(async () => (await followers(tab)).every(({ losses }) => losses > 0));
        client = await kernel.start();
        await scale(8);
        await readyInstances(client, 'web', 8);
        await levelWith(tab, (await client.status()).head);
        // What the page has stored itself outlives it.
        const before = (await followers(tab)).find(({ form }) => form === 'consumer')?.positions.length ?? 0;
        await tab.reload({ timeout: browserMaxMs });
        await scale(2);
        await follow(tab, { url: kernel.endpoint(), token });
        await readyInstances(client, 'web', 2);
        await levelWith(tab, (await client.status()).head);
        const [consumer] = (await followers(tab)).filter(({ form }) => form === 'consumer');
        expect(consumer?.positions.length).toBeGreaterThan(before);
      } finally {
        await tab.close();
      }
    });

    const follow = (tab: Page, argument: object) =>
      tab.evaluate((given) => (globalThis as unknown as { follow(given: object): void }).follow(given), argument);

    const followers = async (tab: Page): Promise<readonly Follower[]> => {
      const followed = await tab.evaluate(() => (globalThis as unknown as { followed: object }).followed);
      return Object.entries(followed).map(([form, seen]) => ({ form, ...(seen as Omit<Follower, 'form'>) }));
    };

    /** Each has had every event up to there, once and in order. */
    const levelWith = async (tab: Page, head: number) => {
      let seen: readonly Follower[] = [];
      await until(
        async () => {
          seen = await followers(tab);
          return seen.every(({ positions, failure }) => positions.length > head || failure !== undefined);
        },
        120_000,
        () => JSON.stringify(seen.map(({ form, positions, losses }) => [form, positions.length, losses])),
      );
      for (const { form, positions, failure } of seen) {
        expect([form, failure]).toEqual([form, undefined]);
        expect([form, positions]).toEqual([form, positions.map((_, at) => at)]);
      }
    };
  });
});

/** What a subscriber in the page has seen. */
interface Follower {
  readonly form: string;
  readonly positions: readonly number[];
  /** Of its connection. */
  readonly losses: number;
  readonly failure: string | undefined;
}

interface PageServer {
  readonly server: Server;
  url: string;
  script: string;
  close(): void;
}

/** Serves one page with a script. */
function pageServer(): PageServer {
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? page.script : '<!doctype html><script type="module" src="/page.js"></script>');
  });
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  const page: PageServer = { server, url: '', script: '', close };
  return page;
}

async function listening(page: PageServer): Promise<string> {
  await new Promise<void>((resolve) => page.server.listen(0, '127.0.0.1', resolve));
  page.url = `http://127.0.0.1:${(page.server.address() as AddressInfo).port}`;
  return page.url;
}
