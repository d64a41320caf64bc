import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Projection } from '@cloudos/event-log';
import { LmdbEventLog } from '@cloudos/log-lmdb';
import type { Bench, BenchOptions } from './bench.ts';
import { median } from './figures.ts';
import { closedLoop, eventPool, type Load, streamCount, streams } from './log-load.ts';
import { RawFile } from './log-raw-file.ts';

const bench: Bench = {
  prefix: 'log',
  async run(options) {
    await appendRows(options);
    await replayRow(options);
  },
};
export default bench;

/**
 * Both in turn, in short rounds, so that what else the machine does falls on both; the ratio is the median of the ratios
 * of the rounds.
 */
async function appendRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const rounds = quick ? 1 : 20;
  const durationMs = 500;
  const raw = new RawFile(join(workDir, 'raw'), 128 << 20);
  const log = await LmdbEventLog.open({ directory: join(workDir, 'log') });
  const appendRaw = (n: number) => raw.append(streams[n % streamCount]!, eventPool[n % eventPool.length]!);
  const appendLog = (n: number) => log.append(streams[n % streamCount]!, [eventPool[n % eventPool.length]!], 'any');
  const results = new Map<number, { log: Load[]; raw: Load[] }>();
  progress('log.append: warming up');
  await closedLoop(1024, 1000, appendRaw);
  await closedLoop(1024, 2000, appendLog);
  for (let round = 0; round < rounds; round++) {
    for (const inFlight of [1024, 64, 1]) {
      progress(`log.append: ${inFlight} in flight, round ${round + 1} of ${rounds}`);
      const result = results.get(inFlight) ?? { log: [], raw: [] };
      results.set(inFlight, result);
      result.raw.push(await closedLoop(inFlight, durationMs, appendRaw));
      result.log.push(await closedLoop(inFlight, durationMs, appendLog));
    }
  }
  await log.close();
  raw.close();
  const of = (inFlight: number, figure: keyof Load) => {
    const { log: subject, raw: bound } = results.get(inFlight)!;
    return compared(
      subject.map((load) => load[figure]),
      bound.map((load) => load[figure]),
    );
  };
  for (const [inFlight, least] of [
    [1024, 0.85],
    [64, 0.5],
  ] as const) {
    const { value, bound, ratio } = of(inFlight, 'perSecond');
    const target = `>= ${least} of the bound`;
    report({
      name: `log.append.throughput.${inFlight}`,
      value,
      unit: 'events/s',
      bound,
      ratio,
      target,
      met: ratio >= least,
    });
  }
  for (const [name, inFlight, figure, most] of [
    ['log.append.latency.p50', 1, 'p50Ms', 2.2],
    ['log.append.latency.p99.1024', 1024, 'p99Ms', 1.6],
  ] as const) {
    const { value, bound, ratio } = of(inFlight, figure);
    report({ name, value, unit: 'ms', bound, ratio, target: `<= ${most} of the bound`, met: ratio <= most });
  }
}

/** Medians of figures and bounds that were measured in turn, and of their ratios. */
function compared(values: readonly number[], bounds: readonly number[]) {
  const ratio = median(values.map((value, round) => value / bounds[round]!));
  return { value: median(values), bound: median(bounds), ratio };
}

interface Counts {
  events: number;
  readonly perStream: Map<string, number>;
}

const counting: Projection<Counts> = {
  name: 'bench',
  initial: () => ({ events: 0, perStream: new Map() }),
  evolve(state, event) {
    state.events++;
    state.perStream.set(event.stream, event.revision);
    return state;
  },
};

async function replayRow({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const total = quick ? 100_000 : 1_000_000;
  const directory = join(workDir, 'replay');
  let log = await LmdbEventLog.open({ directory });
  progress(`log.replay: writing ${total} events`);
  let next = 0;
  const lane = async () => {
    for (let n = next++; n < total; n = next++) {
      await log.append(streams[n % streamCount]!, [eventPool[n % eventPool.length]!], 'any');
    }
  };
  await Promise.all(Array.from({ length: 1024 }, lane));
  await log.close();
  const opening = performance.now();
  log = await LmdbEventLog.open({ directory });
  const openMs = performance.now() - opening;
  const { value, bound, ratio } = await replayInTurn(log, total, quick ? 1 : 5, progress);
  await log.close();
  report({
    name: 'log.replay',
    value,
    unit: 'events/s',
    bound,
    ratio,
    target: '>= 0.7 of the bound',
    met: ratio >= 0.7,
  });
  const target = `< 1000 ms with ${total} events`;
  report({ name: 'log.open', value: openMs, unit: 'ms', bound: null, ratio: null, target, met: openMs < 1000 });
}

/** Positions that are scanned and replayed in turn. */
const sliceEvents = 50_000;

async function replayInTurn(
  log: LmdbEventLog,
  total: number,
  rounds: number,
  progress: BenchOptions['progress'],
): Promise<ReturnType<typeof compared>> {
  const replays: number[] = [];
  const scans: number[] = [];
  for (let round = 0; round < rounds; round++) {
    progress(`log.replay: round ${round + 1}`);
    let state = counting.initial();
    let scanned = 0;
    for (let from = 0; from < total; from += sliceEvents) {
      const to = from + sliceEvents - 1;
      let begin = performance.now();
      const inSlice = log.scanRaw(from, to);
      scans.push((inSlice / (performance.now() - begin)) * 1000);
      scanned += inSlice;
      begin = performance.now();
      const before = state.events;
      for await (const batch of log.read({ from, to })) {
        for (const event of batch) state = counting.evolve(state, event);
      }
      replays.push(((state.events - before) / (performance.now() - begin)) * 1000);
    }
    if (state.events !== total || scanned !== total)
      throw new Error(`${state.events} and ${scanned} of ${total} events`);
  }
  return compared(replays, scans);
}
