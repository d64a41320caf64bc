import { describe, expect, it } from 'vitest';
import { Alibaba2018, alibabaTableOf } from './alibaba-2018.ts';
import { fieldsOf } from './csv.ts';
import { Google2019 } from './google-2019.ts';
import type { TraceRecord } from './trace-record.ts';
import { csvHeader, csvLine, readTrace } from './trace-text.ts';

const gib = 1024 ** 3;
async function* lines(...text: string[]): AsyncGenerator<string> {
  yield* text;
}
const read = async (...text: string[]): Promise<TraceRecord[]> => {
  const records: TraceRecord[] = [];
  for await (const record of readTrace(lines(...text), 'trace')) records.push(record);
  return records;
};

describe('a trace', () => {
  const records: TraceRecord[] = [
    {
      kind: 'node',
      timeMs: 0,
      node: 'n1',
      capacity: { cpuMillis: 4_000, memoryBytes: gib, diskBytes: 0, pids: 0 },
      attributes: { zone: 'a', note: 'x=y' },
      runtimes: ['simulated'],
    },
    {
      kind: 'instance',
      timeMs: 5,
      instance: 'a, the "first"',
      workload: 'w',
      requests: { cpuMillis: 100, memoryBytes: 200, diskBytes: 0, pids: 0 },
      priority: 200,
      durationMs: 60_000,
      owner: 'eng/web',
      tags: ['hbase', 'hot'],
    },
    { kind: 'end', timeMs: 9, instance: 'a, the "first"' },
    { kind: 'node-gone', timeMs: 10, node: 'n1' },
  ];

  it('reads the same from JSON lines and from CSV', async () => {
    expect(await read(...records.map((record) => JSON.stringify(record)))).toEqual(records);
    expect(await read(csvHeader, ...records.map(csvLine), '')).toEqual(records);
  });

  it('needs no more columns than it uses, in any order', async () => {
    expect(await read('timeMs,kind,name,workload,cpuMillis', '3,instance,i,w,250')).toMatchObject([
      { kind: 'instance', timeMs: 3, instance: 'i', requests: { cpuMillis: 250, memoryBytes: 0 }, priority: 100 },
    ]);
  });

  it.each([
    [['nonsense'], 'trace, line 1: expected JSON, or a header'],
    [['kind,timeMs,size'], 'line 1'],
    [['{"kind":"end"}'], /line 1: timeMs: .*, given nothing/],
    [['{"kind":"end","timeMs":1,"instance":"a","extra":1}'], 'extra'],
    [['{'], 'line 1: not JSON'],
    [['kind,timeMs,name', 'end,1'], 'line 2: 2 fields, expected 3'],
    [['kind,timeMs,name', 'end,soon,a'], 'line 2: timeMs'],
    [['kind,timeMs,name', 'end,1,"a'], 'a quote that is not closed'],
  ])('%j is refused', async (text, message) => {
    await expect(read(...text)).rejects.toThrow(message);
    await expect(read(...text)).rejects.toMatchObject({ code: 'TRACE_MALFORMED' });
  });

  it('does not lose what CSV has no column for', () => {
    const rule = { scope: 'node', tags: ['a'], max: 0, required: true };
    expect(() => csvLine({ ...records[1]!, placement: [rule] } as TraceRecord)).toThrow('write JSON lines');
  });
});

describe('fields of CSV', () => {
  it.each([
    ['a,b,', ['a', 'b', '']],
    ['"a ""b"", c",d', ['a "b", c', 'd']],
    ['', ['']],
    ['"",x', ['', 'x']],
  ])('%s', (line, fields) => expect(fieldsOf(line)).toEqual(fields));
});

describe('the Google trace of 2019', () => {
  // hand-made rows in the schema of clusterdata_trace_format_v3.proto, as BigQuery exports them
  const of = (row: object) => ({
    collection_id: '7',
    instance_index: '0',
    priority: 103,
    alloc_collection_id: '0',
    ...row,
  });
  const convert = (...rows: Record<string, unknown>[]) => {
    const converter = new Google2019({ cpuMillis: 1_000, memoryBytes: 1_000 });
    return [...rows.flatMap((row) => converter.take(row)), ...converter.end()];
  };

  it('has machines that come, change and go', () => {
    const capacity = { cpus: 0.5, memory: 0.25 };
    expect(
      convert(
        { time: '0', machine_id: '3', type: 1, switch_id: 's1', platform_id: 'p', capacity },
        { time: '2000000', machine_id: '3', type: '3', 'capacity.cpus': '1', 'capacity.memory': '0.5' },
        { time: '3000000', machine_id: '3', type: 2 },
      ),
    ).toMatchObject([
      {
        kind: 'node',
        timeMs: 0,
        node: 'm3',
        capacity: { cpuMillis: 500, memoryBytes: 250 },
        attributes: { rack: 's1' },
      },
      { kind: 'node', timeMs: 2_000, capacity: { cpuMillis: 1_000, memoryBytes: 500 } },
      { kind: 'node-gone', timeMs: 3_000, node: 'm3' },
    ]);
  });

  it('has instances that last from their last scheduling to their end', () => {
    const submit = of({ time: '1000000', type: 0, resource_request: { cpus: 0.1, memory: 0.2 } });
    const records = convert(
      submit,
      of({ time: '2000000', type: 3 }),
      of({ time: '3000000', type: 4 }),
      of({ time: '5000000', type: 3 }),
      of({ time: '9000000', type: 6 }),
    );
    expect(records).toEqual([
      {
        kind: 'instance',
        timeMs: 1_000,
        instance: 'c7-0',
        workload: 'google/c7',
        requests: { cpuMillis: 100, memoryBytes: 200, diskBytes: 0, pids: 0 },
        priority: 100,
        owner: 'best-effort-batch',
        durationMs: 4_000,
      },
    ]);
  });

  it('has instances that are never scheduled, go on, or run in an alloc', () => {
    expect(convert(of({ time: '0', type: 0 }), of({ time: '5000000', type: 7 }))).toMatchObject([
      { kind: 'instance', timeMs: 0 },
      { kind: 'end', timeMs: 5_000 },
    ]);
    const [goesOn] = convert(of({ time: '0', type: 0, priority: 200 }), of({ time: '1', type: 3 }));
    expect(goesOn).toMatchObject({ owner: 'production', priority: 280 });
    expect(goesOn).not.toHaveProperty('durationMs');
    expect(convert(of({ time: '0', type: 0, alloc_collection_id: '12' }))).toEqual([]);
    expect(() => convert({ something: 1 })).toThrow('machine_events or instance_events');
  });
});

describe('the Alibaba trace of 2018', () => {
  it('knows its files by name', () => {
    expect(['/a/machine_meta.csv', 'batch_task.csv', 'container_usage.csv'].map(alibabaTableOf)).toEqual([
      'machine_meta',
      'batch_task',
      undefined,
    ]);
  });

  it('has machines, containers that stay, and tasks of many instances', () => {
    const converter = new Alibaba2018({ memoryBytes: 1_000 });
    const machine = 'm_1,0,42,d7,96,100,USING'.split(',');
    expect(converter.take('machine_meta', machine)).toMatchObject([
      { kind: 'node', node: 'm_1', capacity: { cpuMillis: 96_000, memoryBytes: 1_000 }, attributes: { zone: '42' } },
    ]);
    expect(converter.take('machine_meta', machine)).toEqual([]);
    const container = 'c_1,m_1,10,app_5,started,400,400,3.13'.split(',');
    expect(converter.take('container_meta', container)).toEqual([
      {
        kind: 'instance',
        timeMs: 10_000,
        instance: 'c_1',
        workload: 'online/app_5',
        requests: { cpuMillis: 4_000, memoryBytes: 32, diskBytes: 0, pids: 0 },
        priority: 200,
        owner: 'online',
      },
    ]);
    expect(converter.take('batch_task', 'M1,2,j_3,1,Terminated,100,160,50,0.5'.split(','))).toMatchObject([
      {
        instance: 'j_3-M1-0',
        workload: 'batch/j_3/M1',
        timeMs: 100_000,
        durationMs: 60_000,
        requests: { cpuMillis: 500 },
      },
      { instance: 'j_3-M1-1', owner: 'batch' },
    ]);
    const [goesOn] = converter.take('batch_task', 'M2,1,j_3,1,Running,100,0,50,'.split(','));
    expect(goesOn).not.toHaveProperty('durationMs');
    expect(() => converter.take('batch_task', ['a'])).toThrow('1 fields, expected 9');
  });
});
