import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import guestZones from '@cloudos/guest-zones';
import { ImageStore, rootDirectory } from '@cloudos/images';
import { type GuestDriver, guestTemplate, newId, Scope, silentLogger, systemClock } from '@cloudos/sdk';
import { counterImage, obstacleToTestImages } from '@cloudos/test-images';
import type { Bench } from './bench.ts';
import { median } from './figures.ts';

const namespaces = ['--pid', '--fork', '--kill-child', '--mount', '--uts', '--ipc', '--net', '--cgroup'];
const atOnce = 50;

/**
 * The driver of zones by itself, with a static program of 800 kB that answers as soon as it runs: what a zone costs. Beside
 * it the same program in the same root under a bare `unshare` and `chroot`.
 */
const bench: Bench = {
  prefix: 'guest.zones',
  async run({ quick, workDir, progress, report }) {
    const obstacle = process.getuid?.() === 0 ? obstacleToTestImages() : 'needs root (run as root)';
    if (obstacle) return progress(`passed over: ${obstacle}`);
    const rounds = quick ? 5 : 20;
    const stateDir = path.join(workDir, 'state');
    const images = ImageStore.of(stateDir);
    const root = await rootDirectory(images, await counterImage(images));
    const scope = new Scope('bench');
    const context = { scope, clock: systemClock, newId, logger: silentLogger, generation: 1, fail: () => {} };
    const dataDir = path.join(workDir, 'zones');
    const driver = await guestZones.create(
      { ...context, dataDir, stateDir, node: { id: 'bench' } },
      guestZones.config.parse({}),
    );
    try {
      const [bare, starts, answers]: number[][] = [[], [], []];
      for (let round = 0; round < rounds; round++) {
        progress(`round ${round + 1} of ${rounds}`);
        bare?.push(await startBare(root));
        const zone = await startZone(driver, `round-${round}`);
        starts?.push(zone.running);
        answers?.push(zone.answered);
        await driver.remove(`round-${round}`);
      }
      const bound = median(bare ?? []);
      const row = (name: string, value: number, target: string, met: boolean) =>
        report({ name: `guest.zones.${name}`, value, unit: 'ms', bound, ratio: value / bound, target, met });
      const [start, answer] = [median(starts ?? []), median(answers ?? [])];
      row('start', start, '<= 60 ms', start <= 60);
      row('answer', answer, '<= 60 ms, or 25 ms over bare unshare', answer <= Math.max(60, bound + 25));
      await many(driver, progress, report);
    } finally {
      await driver.purge();
      await scope.close();
    }
  },
};
export default bench;

async function startZone(driver: GuestDriver, instance: string) {
  const startedAt = performance.now();
  const template = guestTemplate.parse({ image: 'counter:1', ports: [{ port: 80 }], requests: {}, limits: {} });
  await driver.create({ instance, workload: 'bench', node: 'bench', template });
  const created = performance.now() - startedAt;
  const { address, pid } = await driver.start(instance, 1);
  const running = performance.now() - startedAt;
  while (
    !(await fetch(`http://${address?.host}/`).then(
      (answer) => answer.ok,
      () => false,
    ))
  );
  return { created, running, answered: performance.now() - startedAt, pid };
}

/** Until it says that it listens: there is no network to ask it over. */
async function startBare(root: string): Promise<number> {
  const startedAt = performance.now();
  const child = spawn('unshare', [...namespaces, 'chroot', root, '/counter'], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  const ms = performance.now() - startedAt;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
  return ms;
}

/** Many at once: the time of all, the processor time in it, and the memory of each when all stand idle. */
async function many(
  driver: GuestDriver,
  progress: (text: string) => void,
  report: Parameters<Bench['run']>[0]['report'],
) {
  progress(`${atOnce} at once`);
  const before = process.cpuUsage();
  const startedAt = performance.now();
  const zones = await Promise.all(Array.from({ length: atOnce }, (_, n) => startZone(driver, `many-${n}`)));
  const all = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(before);
  const plain = { unit: 'ms', bound: null, ratio: null, target: 'reported', met: null };
  report({ name: `guest.zones.many.${atOnce}`, value: all, ...plain });
  report({ name: `guest.zones.many.${atOnce}.create`, value: median(zones.map(({ created }) => created)), ...plain });
  report({ name: `guest.zones.many.${atOnce}.driver-cpu`, value: (user + system) / 1000, ...plain });
  const memory = median(zones.map(({ pid }) => memoryAround(pid ?? 0)));
  report({ name: 'guest.zones.memory', value: memory / 1024, ...plain, unit: 'MB' });
}

/** Proportional memory, in kB, of a zone's processes and of those beside it: its shim and its logger. */
function memoryAround(pid: number): number {
  const group = (of: number) => statOf(of)[2];
  const session = group(Number(statOf(pid)[1]));
  const mine = readdirSync('/proc')
    .map(Number)
    .filter(
      (id) =>
        id > 0 && (id === pid || Number(statOf(id)[1]) === pid || (session !== undefined && group(id) === session)),
    );
  return mine.reduce((sum, id) => sum + pssOf(id), 0);
}

/** State, parent, process group, …: from field 3 of proc(5) stat. */
function statOf(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

function pssOf(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
