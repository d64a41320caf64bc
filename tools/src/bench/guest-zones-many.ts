import { readdirSync, readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type GuestDriver, guestTemplate } from '@cloudos/sdk';
import type { BenchOptions } from './bench.ts';
import { median } from './figures.ts';
import { firstAnswer } from './guest-rounds.ts';
import { benchLimits } from './guest-zones-tools.ts';

const atOnce = 50;
const rounds = 3;
/** Who answers as long after it runs has waited for something to be sent again. */
const lateMs = 900;

interface Zone {
  readonly instance: string;
  readonly pid: number;
  /** From the start of all. */
  readonly createdMs: number;
  readonly runningMs: number;
  readonly answeredMs: number;
}

interface Burst {
  readonly zones: readonly Zone[];
  readonly allMs: number;
  readonly driverMs: number;
  /** The longest time that the driver's event loop was held up. */
  readonly heldMs: number;
  /** Processor time of the processes around the zones, and in the control groups of the zones, until all had answered. */
  readonly aroundMs: number;
  readonly insideMs: number;
  readonly memoryMb: number;
}

/** Many at once: the time of all and where it went, and the memory of each when all stand idle. */
export async function zonesAtOnce(driver: GuestDriver, { quick, progress, report }: BenchOptions): Promise<void> {
  const bursts: Burst[] = [];
  for (let round = 0; round < (quick ? 1 : rounds); round++) {
    progress(`${atOnce} at once, round ${round + 1}`);
    bursts.push(await burst(driver, `many-${round}`));
  }
  const row = (name: string, of: (one: Burst) => number, unit = 'ms') => {
    const plain = { bound: null, ratio: null, target: 'reported', met: null };
    report({ name: `guest.zones.${name}`, value: median(bursts.map(of)), unit, ...plain });
  };
  const many = `many.${atOnce}`;
  row(many, ({ allMs }) => allMs);
  row(`${many}.create`, ({ zones }) => median(zones.map(({ createdMs }) => createdMs)));
  row(`${many}.start`, ({ zones }) => median(zones.map(({ runningMs }) => runningMs)));
  const late = bursts.flatMap(({ zones }) => zones).filter((zone) => zone.answeredMs - zone.runningMs > lateMs).length;
  const none = { bound: null, ratio: null, target: 'none', met: late === 0 };
  report({ name: `guest.zones.${many}.late`, value: late, unit: 'zones', ...none });
  row(`${many}.driver-cpu`, ({ driverMs }) => driverMs);
  row(`${many}.loop-held`, ({ heldMs }) => heldMs);
  row(`${many}.around-cpu`, ({ aroundMs }) => aroundMs);
  row(`${many}.inside-cpu`, ({ insideMs }) => insideMs);
  row('memory.around', ({ memoryMb }) => memoryMb, 'MB');
}

async function burst(driver: GuestDriver, prefix: string): Promise<Burst> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const before = process.cpuUsage();
  const begun = performance.now();
  const zones = await Promise.all(Array.from({ length: atOnce }, (_, n) => one(driver, `${prefix}-${n}`, begun)));
  const allMs = performance.now() - begun;
  const { user, system } = process.cpuUsage(before);
  delay.disable();
  const stats = await Promise.all(zones.map(({ instance }) => driver.stats(instance)));
  const around = zones.map(({ pid }) => processesAround(pid));
  const insideNanos = stats.reduce((sum, { cpuNanos = 0 }) => sum + cpuNanos, 0);
  const aroundNanos = around.flatMap(({ beside }) => beside.map(cpuOf)).reduce((sum, nanos) => sum + nanos, 0);
  const memory = around.map(({ beside, inside }) => [...beside, ...inside].reduce((sum, id) => sum + pssOf(id), 0));
  await Promise.all(zones.map(({ instance }) => driver.remove(instance)));
  return {
    zones,
    allMs,
    driverMs: (user + system) / 1000,
    heldMs: delay.max / 1e6,
    aroundMs: aroundNanos / 1e6,
    insideMs: insideNanos / 1e6,
    memoryMb: median(memory) / 1024,
  };
}

async function one(driver: GuestDriver, instance: string, begun: number): Promise<Zone> {
  const template = guestTemplate.parse({
    image: 'counter:1',
    ports: [{ port: 80 }],
    requests: {},
    limits: benchLimits,
  });
  await driver.create({ instance, workload: 'bench', node: 'bench', template });
  const createdMs = performance.now() - begun;
  const { address, pid = 0 } = await driver.start(instance, 1);
  const runningMs = performance.now() - begun;
  await firstAnswer(address?.host ?? '', 80);
  return { instance, pid, createdMs, runningMs, answeredMs: performance.now() - begun };
}

/** The processes of a zone, and those beside it: its shim and its logger. */
function processesAround(pid: number): { beside: number[]; inside: number[] } {
  const group = (of: number) => statOf(of)[2];
  const shims = group(Number(statOf(pid)[1]));
  const all = readdirSync('/proc')
    .map(Number)
    .filter((id) => id > 0);
  return {
    beside: all.filter((id) => shims !== undefined && group(id) === shims),
    inside: all.filter((id) => id === pid || Number(statOf(id)[1]) === pid),
  };
}

/** State, parent, process group, …: from field 3 of proc(5) stat. */
function statOf(pid: number): string[] {
  const text = textOf(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Nanoseconds on a processor. */
function cpuOf(pid: number): number {
  return Number(textOf(`/proc/${pid}/schedstat`).split(' ')[0]);
}

/** Proportional memory in kB. */
function pssOf(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(textOf(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
