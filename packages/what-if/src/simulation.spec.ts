import borg from '@cloudos/resources-borg';
import spread from '@cloudos/resources-spread';
import yarn from '@cloudos/resources-yarn';
import type { RecordedEvent, SharedEvent } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { Agenda } from './agenda.ts';
import { chart } from './chart.ts';
import { LogDemand } from './log-demand.ts';
import { simulate } from './simulation.ts';
import { type TraceInput, type TraceRecord, traceRecord } from './trace-record.ts';

const gib = 1024 ** 3;
const node = (name: string, cores = 4, timeMs = 0): TraceInput => ({
  kind: 'node',
  timeMs,
  node: name,
  capacity: { cpuMillis: cores * 1_000, memoryBytes: cores * gib },
});
const job = (instance: string, timeMs: number, some: object = {}): TraceInput => ({
  kind: 'instance',
  timeMs,
  instance,
  workload: 'w',
  requests: { cpuMillis: 4_000, memoryBytes: gib },
  durationMs: 10_000,
  ...some,
});
type Plugin = typeof borg | typeof spread | typeof yarn;
const run = (plugin: Plugin, records: TraceInput[], config: unknown = {}, untilMs?: number) =>
  simulate({
    name: plugin.name,
    policy: plugin.create({} as never, plugin.config.parse(config) as never) as never,
    records: records.map((record) => traceRecord.parse(record)) as TraceRecord[],
    ...(untilMs === undefined ? {} : { untilMs }),
  });

describe('a simulation', () => {
  it('lets instances last from their placement, and those who wait come after', async () => {
    const { measures, durationMs } = await run(borg, [node('n1'), job('a', 0), job('b', 0), job('c', 5_000)]);
    expect(durationMs).toBe(30_000);
    expect(measures).toMatchObject({ placements: 3, placed: 0, pending: 0, preemptions: 0 });
    expect(measures.waitMs).toMatchObject({ p50: expect.closeTo(10_000, -3), max: 15_000 });
    expect(measures.utilisationMean.cpu).toBeCloseTo(1);
    expect(measures.utilisationPeak).toBe(1);
  });

  it('ends what is withdrawn, and gives back what is lost with a node', async () => {
    const withdrawn = [
      node('n1'),
      job('a', 0, { durationMs: undefined }),
      { kind: 'end' as const, timeMs: 3_000, instance: 'a' },
    ];
    expect((await run(spread, withdrawn)).measures).toMatchObject({ placements: 1, placed: 0 });
    const lost: TraceInput[] = [
      node('n1'),
      job('a', 0),
      { kind: 'node-gone', timeMs: 4_000, node: 'n1' },
      node('n2', 4, 6_000),
    ];
    const { measures, durationMs } = await run(spread, lost);
    expect(measures.placements).toBe(2);
    expect(durationMs).toBe(16_000);
  });

  it('removes whom the manager preempts after the grace, and asks for it anew', async () => {
    const records = [node('n1'), job('low', 0, { priority: 10 }), job('high', 2_000, { priority: 300 })];
    const { measures, durationMs } = await run(borg, records, { graceMs: 1_000 });
    expect(measures).toMatchObject({ preemptions: 1, placements: 3 });
    expect(durationMs).toBe(23_000); // low for 2 s and its grace, high for 10 s, low again for 10 s
    expect((await run(spread, records)).measures).toMatchObject({ preemptions: 0, placements: 2 });
  });

  it('wakes the manager when it wants to be woken, on the virtual clock', async () => {
    const small = ['a', 'b', 'c', 'd'].map((name) =>
      job(name, 0, { workload: 'small', requests: { cpuMillis: 1_000 }, durationMs: 3_600_000 }),
    );
    const stream = Array.from({ length: 200 }, (_, at) =>
      job(`s${at}`, 1_000 + at * 30_000, { workload: 'small', requests: { cpuMillis: 1_000 }, durationMs: 3_000_000 }),
    );
    const big = job('big', 500, { workload: 'big' });
    const { measures } = await run(
      yarn,
      [node('n1'), ...small, big, ...stream],
      { reservations: { afterMs: 60_000 } },
      4_000_000,
    );
    // the reservation keeps the stream of small ones from starving the big one
    expect(measures.waitMs.max).toBeLessThan(3_700_000);
    expect(measures.waitMs.max).toBeGreaterThan(3_500_000);
  });

  it('comes to an end where somebody can never be placed', async () => {
    const { measures } = await run(yarn, [node('n1', 2), job('huge', 0)]);
    expect(measures).toMatchObject({ placements: 0, pending: 1 });
  });

  it('is the same each time, and draws what it saw', async () => {
    const records = [node('n1'), node('n2'), ...Array.from({ length: 40 }, (_, at) => job(`j${at}`, at * 700))];
    const [one, other] = [await run(borg, records), await run(borg, records)];
    expect(other).toEqual(one);
    const svg = chart([one, { ...(await run(spread, records)), name: 'a <b> & "c"' }]);
    expect(svg).toMatch(/^<svg /);
    expect(svg.match(/<polyline/g)).toHaveLength(8);
    expect(svg).toContain('a &lt;b&gt; &amp; &quot;c&quot;');
    expect(one.series.length).toBeGreaterThan(50);
  });
});

describe('the demand of a log', () => {
  let position = 0;
  const at = (time: number, type: string, data: object): RecordedEvent =>
    ({ position: position++, stream: 's', revision: 0, id: '', type, time, data, meta: {} }) as unknown as SharedEvent;
  const requests = { cpuMillis: 1, memoryBytes: 1, diskBytes: 0, pids: 0 };
  const asked = (time: number, instance: string) =>
    at(time, 'InstanceRequested', { instance, workload: 'w', revision: 1, requests, priority: 100, owner: 'eng' });
  const demand = (from: number, events: RecordedEvent[]) => {
    const taken = new LogDemand(from);
    for (const event of events) taken.take(event);
    return taken.records;
  };

  it('has durations for those who exited, ends for those who were withdrawn, no places', () => {
    position = 0;
    const records = demand(0, [
      at(1, 'NodeJoined', { node: 'n', capacity: requests, attributes: {}, runtimes: [{ name: 'zones' }] }),
      asked(2, 'job'),
      asked(2, 'service'),
      at(5, 'InstancePlaced', { instance: 'job', node: 'n' }),
      at(5, 'InstancePlaced', { instance: 'service', node: 'n' }),
      at(25, 'GuestExited', { instance: 'job', node: 'n', attempt: 1, exitCode: 0, signal: null, reason: 'exited' }),
      at(30, 'InstanceWithdrawn', { instance: 'job' }),
      at(40, 'InstanceWithdrawn', { instance: 'service' }),
      at(41, 'GuestRemoved', { instance: 'service', node: 'n' }),
    ]);
    expect(records).toMatchObject([
      { kind: 'node', node: 'n', runtimes: ['zones'] },
      { kind: 'instance', instance: 'job', durationMs: 20, owner: 'eng' },
      { kind: 'instance', instance: 'service' },
      { kind: 'end', timeMs: 40, instance: 'service' },
    ]);
    expect(records).toHaveLength(4);
  });

  it('begins at a position with what is live and what was said there', () => {
    position = 0;
    const records = demand(5, [
      at(1, 'NodeJoined', { node: 'n', capacity: requests, attributes: {}, runtimes: [] }),
      asked(2, 'gone'),
      asked(3, 'stays'),
      at(4, 'InstanceWithdrawn', { instance: 'gone' }),
      at(5, 'NodeCordoned', { node: 'n', reason: '' }),
      asked(9, 'new'),
    ]);
    expect(records.map((record) => [record.kind, record.timeMs])).toEqual([
      ['node', 9],
      ['fact', 9],
      ['instance', 9],
      ['instance', 9],
    ]);
  });
});

it('an agenda gives what is due, the earliest first', () => {
  const agenda = new Agenda<number>();
  for (const [what, due] of [5, 1, 3, 1, 4].entries()) agenda.add(due, what);
  const taken = [];
  for (let what = agenda.take(4); what !== undefined; what = agenda.take(4)) taken.push(what);
  expect(taken).toEqual([1, 3, 2, 4]);
  expect(agenda.dueAt).toBe(5);
});
