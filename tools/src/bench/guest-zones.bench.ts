import { type ChildProcess, spawn } from 'node:child_process';
import { request } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bootKernel, type Kernel, readStack } from '@cloudos/kernel';
import type { SharedEvent } from '@cloudos/sdk';
import type { Bench } from './bench.ts';
import { median } from './figures.ts';

/** A web server in one line; it answers on a port, or on a socket in the file system where one is named. */
const server =
  "require('node:http').createServer((_, response) => response.end('here')).listen(process.env.SOCKET || 8080)";
const namespaces = ['--pid', '--fork', '--kill-child', '--mount', '--uts', '--ipc', '--net', '--cgroup'];

/** From `apply` to the first HTTP answer of one zone; beside it the same program under a bare `unshare`. */
const bench: Bench = {
  prefix: 'guest.zones',
  async run({ quick, workDir, progress, report }) {
    if (process.getuid?.() !== 0) return progress('passed over: the bound needs root (run as root)');
    const rounds = quick ? 5 : 20;
    const stack = await readStack(
      fileURLToPath(new URL('../../../packages/distributions/local/stack.yaml', import.meta.url)),
    );
    const kernel = await bootKernel({ stack, stateDir: path.join(workDir, 'zones') });
    const zones: number[] = [];
    const bare: number[] = [];
    try {
      for (let round = 0; round < rounds; round++) {
        progress(`round ${round + 1} of ${rounds}`);
        bare.push(await startBare(path.join(workDir, `bare-${round}.sock`)));
        zones.push(await startZone(kernel, `bench-${round}`));
      }
    } finally {
      await kernel.down();
    }
    const [value, bound] = [median(zones), median(bare)];
    const ratio = value / bound;
    report({
      name: 'guest.zones.apply',
      value,
      unit: 'ms',
      bound,
      ratio,
      target: '<= 3 x bare unshare',
      met: ratio <= 3,
    });
  },
};
export default bench;

async function startZone(kernel: Kernel, name: string): Promise<number> {
  const started = startedAddress(kernel);
  const startedAt = performance.now();
  await kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text: pod(name) } });
  const host = await started;
  await firstAnswer({ host, port: 8080 });
  const ms = performance.now() - startedAt;
  const gone = removed(kernel, name);
  await kernel.command({ slot: 'orchestrator', command: { type: 'Remove', kind: 'Pod', name } });
  await gone;
  return ms;
}

function startedAddress(kernel: Kernel): Promise<string> {
  return new Promise((resolve, reject) => {
    const types = ['GuestStarted', 'GuestFailed'];
    const subscription = kernel.log.subscribe(kernel.log.head() + 1, { types }).subscribe(([event]) => {
      const { type, data } = event as SharedEvent;
      subscription.unsubscribe();
      if (type === 'GuestStarted' && data.address) resolve(data.address.host);
      else reject(new Error(`the zone did not start: ${JSON.stringify(data)}`));
    });
  });
}

function removed(kernel: Kernel, name: string): Promise<void> {
  return new Promise((resolve) => {
    const subscription = kernel.log.subscribe(kernel.log.head() + 1, { types: ['GuestRemoved'] }).subscribe((batch) => {
      if (!batch.some(({ data }) => (data as { instance: string }).instance.startsWith(name))) return;
      subscription.unsubscribe();
      resolve();
    });
  });
}

function pod(name: string): string {
  const container = { name: 'main', image: 'host:', command: ['node', '-e', server], ports: [{ containerPort: 8080 }] };
  const spec = { containers: [container], terminationGracePeriodSeconds: 0 };
  return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });
}

async function startBare(socketPath: string): Promise<number> {
  const startedAt = performance.now();
  const child = spawn('unshare', [...namespaces, process.execPath, '-e', server], {
    stdio: 'ignore',
    env: { ...process.env, SOCKET: socketPath },
  });
  await firstAnswer({ socketPath });
  const ms = performance.now() - startedAt;
  await ended(child);
  return ms;
}

/** Asks until something answers. */
async function firstAnswer(where: { host?: string; port?: number; socketPath?: string }): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    const answered = await new Promise<boolean>((resolve) => {
      const sent = request({ ...where, agent: false, timeout: 1_000 }, (response) => {
        response.resume();
        response.on('end', () => resolve(true));
      });
      sent.on('error', () => resolve(false));
      sent.on('timeout', () => sent.destroy());
      sent.end();
    });
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`no answer in 10 s from ${JSON.stringify(where)}`);
}

async function ended(child: ChildProcess): Promise<void> {
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exit;
}
