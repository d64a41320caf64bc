import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootKernel } from '@cloudos/kernel';
import type { RecordedEvent } from '@cloudos/sdk';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { CliBench } from './spec-kit.ts';

let bench: CliBench;
let dir: string;
const file = async (name: string, text: string) => {
  await writeFile(join(dir, name), text);
  return join(dir, name);
};
const stack = (name: string, resources: string) =>
  file(
    `${name}.yaml`,
    `apiVersion: cloudos/v1
kind: Stack
name: ${name}
log: log-lmdb
resources: ${resources}
orchestrator: orchestrator-kubernetes
nodes:
  - name: n
    count: 4
    host: { plugin: host-simulated, config: { world: what-if, cpuMillis: 4000 } }
    guests: [{ plugin: guest-simulated, config: { world: what-if } }]
`,
  );
interface Result {
  readonly records: number;
  readonly runs: readonly {
    readonly name: string;
    readonly durationMs: number;
    readonly measures: Record<string, number>;
    readonly orchestration: Record<string, number>;
  }[];
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cloudos-what-if-'));
  bench = await CliBench.open({ running: false });
});
afterAll(async () => {
  await bench.close();
  await rm(dir, { recursive: true });
});

/** Twelve small jobs of a minute and a large one, on two nodes. */
const trace = () =>
  [
    ...['n1', 'n2'].map((node) => ({
      kind: 'node',
      timeMs: 0,
      node,
      capacity: { cpuMillis: 4_000, memoryBytes: 2 ** 33 },
    })),
    ...Array.from({ length: 12 }, (_, at) => ({
      kind: 'instance',
      timeMs: at * 1_000,
      instance: `s${at}`,
      workload: 'small',
      requests: { cpuMillis: 1_000, memoryBytes: 2 ** 28 },
      durationMs: 60_000,
    })),
    {
      kind: 'instance',
      timeMs: 2_500,
      instance: 'big',
      workload: 'big',
      priority: 300,
      requests: { cpuMillis: 4_000 },
      durationMs: 60_000,
    },
  ]
    .map((record) => JSON.stringify(record))
    .join('\n');

describe('cloudos what-if', () => {
  it('replays a trace through several stacks, side by side, and draws it', async () => {
    const [borg, spread] = [await stack('packed', 'resources-borg'), await stack('spread', 'resources-spread')];
    const chart = join(dir, 'chart.svg');
    const args = ['what-if', '--stack', borg, '--stack', spread, '--trace', await file('jobs.jsonl', trace())];
    const { out, exitCode, err } = await bench.run([...args, '--chart', chart]);
    expect([exitCode, err]).toEqual([0, expect.stringContaining('drawn in')]);
    expect(out).toMatch(/MEASURE\s+PACKED \(BORG\)\s+SPREAD \(SPREAD\)/);
    // the one preempts a small one for the large one, the other lets it wait until a node is whole
    expect(out).toMatch(/placements\s+14\s+13/);
    expect(out).toMatch(/preemptions\s+1\s+0/);
    expect(await readFile(chart, 'utf8')).toContain('spread (spread)');
    const { runs } = JSON.parse((await bench.run([...args, '-o', 'json'])).out) as Result;
    const waits = runs.map(({ measures }) => (measures.waitMs as unknown as { max: number }).max);
    expect(waits[0]).toBeLessThan(waits[1]!);
    expect(runs.map(({ durationMs }) => durationMs)).toEqual([expect.any(Number), expect.any(Number)]);
  });

  it('replays what a log has recorded, beside what really happened', async () => {
    const simulated = await stack('real', 'resources-spread');
    const kernel = await bootKernel({ stackFile: simulated, stateDir: bench.stateDir });
    const labels = { app: 'web' };
    const containers = [{ name: 'main', image: 'host:', command: ['sleep'], resources: { requests: { cpu: '500m' } } }];
    const manifest = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web' },
      spec: {
        replicas: 8,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers } },
      },
    };
    await kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text: JSON.stringify(manifest) } });
    await vi.waitFor(
      async () => expect((await kernel.view()).instances.filter(({ node }) => node)).toHaveLength(8),
      60_000,
    );
    await kernel.stop();
    const half = await stack(
      'half',
      '{ plugin: resources-yarn, config: { queues: [{ path: root.default, maximumCapacity: "12.5%" }] } }',
    );
    const args = ['what-if', '--log-stack', simulated, '--stack', half, '-o', 'json'];
    const { records, runs } = JSON.parse((await bench.run(args)).out) as Result;
    expect(records).toBe(12);
    expect(runs.map(({ name }) => name)).toEqual(['recorded', 'half (yarn)']);
    expect(runs[0]!.measures).toMatchObject({ placed: 8, nodesInUse: 4, placements: 8 });
    expect(runs[1]!.measures).toMatchObject({ placed: 4, pending: 4, nodesInUse: 1 });
    // the nodes of another stack
    const more = await bench.run([...args, '--nodes', 'stack']);
    expect((JSON.parse(more.out) as Result).runs[1]!.measures).toMatchObject({ nodes: 4, placed: 4 });
    const exported = await bench.run(['trace', 'export', '--stack', simulated, '--format', 'jsonl']);
    expect(
      exported.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).kind)
        .sort(),
    ).toEqual([...Array.from({ length: 8 }, () => 'instance'), ...Array.from({ length: 4 }, () => 'node')]);
    const wrong = await bench.run([...args, '--from', '5', '--to', '100000']);
    expect([wrong.exitCode, wrong.err]).toEqual([4, expect.stringContaining('is not in the log')]);
  });

  it('replays what was declared through the orchestrator of the stack: requests are made anew', async () => {
    const simulated = await stack('declared', 'resources-spread');
    const kernel = await bootKernel({ stackFile: simulated, stateDir: bench.stateDir });
    const labels = { app: 'shop' };
    const release = (version: string) => {
      const env = [{ name: 'RELEASE', value: version }];
      const resources = { requests: { cpu: '500m' } };
      const containers = [{ name: 'main', image: 'host:', command: ['sleep'], env, resources }];
      const spec = {
        replicas: 8,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers } },
      };
      return JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'shop' }, spec });
    };
    // what stood at the beginning would be declared again
    await kernel.command({ slot: 'orchestrator', command: { type: 'RemoveAll' } });
    await vi.waitFor(async () => expect((await kernel.view()).instances).toEqual([]), 60_000);
    const from = kernel.log.head() + 1;
    for (const [at, version] of ['one', 'two'].entries()) {
      await kernel.command({ slot: 'orchestrator', command: { type: 'Apply', text: release(version) } });
      const done = async () => {
        const seen: RecordedEvent[] = [];
        for await (const batch of kernel.log.read({ from })) seen.push(...batch);
        const complete = { workload: 'default/shop', revision: at + 1, phase: 'complete' };
        expect(seen).toContainEqual(
          expect.objectContaining({ type: 'RolloutAdvanced', data: expect.objectContaining(complete) }),
        );
      };
      await vi.waitFor(done, 60_000);
    }
    await kernel.stop();
    const narrow = await stack(
      'narrow',
      '{ plugin: resources-yarn, config: { queues: [{ path: root.default, maximumCapacity: "12.5%" }] } }',
    );
    const args = ['what-if', '--log-stack', simulated, '--from', String(from), '--stack', simulated, '--stack', narrow];
    const { out } = await bench.run([...args, '--orchestrator', 'stack', '-o', 'json']);
    const [recorded, same, less] = (JSON.parse(out) as Result).runs;
    expect(recorded!.orchestration).toMatchObject({ requested: 16, withdrawn: 8, rollouts: 2 });
    // guests are as quick as they were, and nothing else is in the way: all of it is done again
    expect(same!.orchestration).toMatchObject({ requested: 16, withdrawn: 8, rollouts: 2 });
    // four fit, so that neither release gets anywhere, and the second is not asked for in full
    expect(less!.orchestration).toMatchObject({ rollouts: 0 });
    expect(less!.orchestration.requested).toBeLessThan(16);
    const asRecorded = JSON.parse((await bench.run([...args, '-o', 'json'])).out) as Result;
    expect(asRecorded.runs[2]!.orchestration).toBeUndefined();
    const table = await bench.run([...args, '--orchestrator', 'stack']);
    expect(table.out).toMatch(/declared \(spread\): 16 requested, 8 withdrawn, 0 restarts, 2 rollouts in/);
    const traced = await bench.run(['what-if', '--stack', narrow, '--trace', 'x.jsonl', '--orchestrator', 'stack']);
    expect([traced.exitCode, traced.err]).toEqual([2, expect.stringContaining('no declarations')]);
  });

  it('says what is wrong with a trace, and where', async () => {
    const borg = await stack('packed', 'resources-borg');
    const bad = await file('bad.jsonl', '{"kind":"node","timeMs":0,"node":"n","capacity":{}}\n{"kind":"instance"}\n');
    const { exitCode, err } = await bench.run(['what-if', '--stack', borg, '--trace', bad]);
    expect([exitCode, err]).toEqual([4, expect.stringContaining('bad.jsonl, line 2')]);
  });
});

describe('cloudos trace convert', () => {
  it('converts tables of the Google trace, of both forms', async () => {
    const machines = await file(
      'machine_events.csv',
      'time,machine_id,type,switch_id,capacity.cpus,capacity.memory,platform_id\n0,1,1,s,1,1,p\n',
    );
    const instances = await file(
      'instance_events.json',
      [
        {
          time: '0',
          type: 0,
          collection_id: '5',
          instance_index: 0,
          priority: 25,
          resource_request: { cpus: 0.5, memory: 0.5 },
        },
        { time: '1000000', type: 3, collection_id: '5', instance_index: 0, machine_id: '1' },
        { time: '61000000', type: 6, collection_id: '5', instance_index: 0 },
      ]
        .map((row) => JSON.stringify(row))
        .join('\n'),
    );
    const { out, exitCode } = await bench.run([
      'trace',
      'convert',
      '--from',
      'google-2019',
      '--machine-cores',
      '8',
      machines,
      instances,
    ]);
    expect(exitCode).toBe(0);
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toMatchObject([
      { kind: 'node', node: 'm1', capacity: { cpuMillis: 8_000 } },
      { kind: 'instance', requests: { cpuMillis: 4_000 }, durationMs: 60_000, owner: 'free' },
    ]);
    const borg = await stack('packed', 'resources-borg');
    const replayed = await bench.run([
      'what-if',
      '--stack',
      borg,
      '--trace',
      await file('cell.jsonl', out),
      '-o',
      'json',
    ]);
    expect((JSON.parse(replayed.out) as Result).runs[0]).toMatchObject({
      durationMs: 60_000,
      measures: { placements: 1 },
    });
  });

  it('converts tables of the Alibaba trace, known by their names, to CSV', async () => {
    const machines = await file('machine_meta.csv', 'm_1,0,1,d,96,100,USING\n');
    const tasks = await file('batch_task.csv', 'M1,3,j_1,1,Terminated,10,20,100,1\n');
    const { out } = await bench.run(['trace', 'convert', '--from', 'alibaba-2018', '--format', 'csv', machines, tasks]);
    const rows = out.trim().split('\n');
    expect(rows).toHaveLength(5);
    expect(rows[1]).toMatch(/^node,0,m_1,,96000,/);
    expect(rows[4]).toMatch(/^instance,10000,j_1-M1-2,batch\/j_1\/M1,1000,\d+,0,0,100,10000,batch,/);
    const other = await bench.run(['trace', 'convert', '--from', 'alibaba-2018', await file('usage.csv', '')]);
    expect([other.exitCode, other.err]).toEqual([2, expect.stringContaining('machine_meta')]);
  });
});
