import { newId } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { appendEventsMax, appendRow, appendsMax, controlMethods, controlRequest } from './control-schemas.ts';
import { isPlainRow, plainAppend, plainAppends } from './plain-append.ts';

const seed = Number(process.env.CLOUDOS_SEED ?? Math.floor(Math.random() * 1e9));

/** Numbers from 0 below 1, the same for the same seed (mulberry32). */
function seeded(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Tree = Record<string, unknown>;

const event = (): Tree => ({ type: 'x-a-Happened', data: { n: 1 }, id: newId() });
const sound = (): Tree => ({
  jsonrpc: '2.0',
  id: 7,
  method: 'append',
  params: { stream: 'x-a', events: [event(), event()], expected: 'any' },
});

/** Values that stand in some place of a request, fit for it or not. */
const values: readonly unknown[] = [
  undefined,
  null,
  '',
  'x-a',
  'append',
  '2.0',
  'none',
  'any',
  'x'.repeat(300),
  'x'.repeat(301),
  0,
  -1,
  1.5,
  2 ** 53,
  Number.POSITIVE_INFINITY,
  true,
  {},
  [],
  [{ type: 'x-a-B' }],
  [{ type: '' }],
  [null],
  Array.from({ length: appendEventsMax }, event),
  Array.from({ length: appendEventsMax + 1 }, event),
  '01980000-0000-7000-8000-000000000000',
  '01980000-0000-7000-C000-000000000000',
  '01980000-0000-7000-8000-00000000000G',
  '01980000-0000-4000-8000-000000000000',
  '0198000000-00-7000-8000-000000000000',
];

describe(`a request to append that is plainly in order (CLOUDOS_SEED=${seed})`, () => {
  it('is recognised as programs send it', () => {
    for (const id of [0, 1, 'a', '']) expect(plainAppend({ ...sound(), id })).toMatchObject({ id });
    for (const expected of [undefined, 'any', 'none', 0, 41]) {
      const params = { stream: 'x-a', events: [{ type: 'x-a-B' }], expected };
      expect(plainAppend({ ...sound(), params })?.params).toBe(params);
    }
  });

  it('is one for the schemas too, and says the same', () => {
    const random = seeded(seed);
    const pick = <Value>(some: readonly Value[]) => some[Math.floor(random() * some.length)] as Value;
    const params = ({ params: given }: Tree) => given as Tree;
    const places: ((request: Tree) => readonly [Tree | undefined, string])[] = [
      ...['jsonrpc', 'id', 'method', 'params', 'more'].map((name) => (request: Tree) => [request, name] as const),
      ...['stream', 'events', 'expected', 'more'].map((name) => (request: Tree) => [params(request), name] as const),
      ...['type', 'data', 'id', 'more'].map(
        (name) => (request: Tree) => [(params(request)?.events as Tree[])?.[1], name] as const,
      ),
    ];
    let taken = 0;
    for (let round = 0; round < 5_000; round++) {
      const request = sound();
      for (let changes = 0; changes < (random() < 0.7 ? 1 : 2); changes++) {
        const [where, name] = pick(places)(request);
        if (where && typeof where === 'object') where[name] = structuredClone(pick(values));
      }
      const plain = plainAppend(request);
      if (!plain) continue;
      taken++;
      const { id, method, params: rest } = controlRequest.parse(request);
      expect([id, method]).toEqual([plain.id, 'append']);
      const parsed = controlMethods.append.params.parse(rest);
      const { stream, events, expected } = plain.params;
      const same = events.map((each) => ({ type: each.type, data: each.data, id: each.id }));
      expect({ stream, events: same, expected }).toEqual({ expected: undefined, ...parsed });
    }
    expect(taken).toBeGreaterThan(500);
  });

  it('is the same for many appends, and for each of them', () => {
    const random = seeded(seed);
    const pick = <Value>(some: readonly Value[]) => some[Math.floor(random() * some.length)] as Value;
    const sound = () => ['x-a', [['x-a-Happened', { n: 1 }, newId()], ['x-a-B']], 'any'] as unknown[];
    for (const expected of ['any', 'none', 0, 41]) expect(isPlainRow(['x-a', [['x-a-B']], expected])).toBe(true);
    let taken = 0;
    for (let round = 0; round < 5_000; round++) {
      const row = sound();
      for (let changes = 0; changes < (random() < 0.7 ? 1 : 2); changes++) {
        const events = row[1] as unknown[][] | undefined;
        const where = pick([row, row, events, events?.[0], events?.[1]]);
        if (Array.isArray(where)) where[Math.floor(random() * 4)] = structuredClone(pick(values));
      }
      // As it comes over the wire, where there is no undefined.
      const given = JSON.parse(JSON.stringify(row)) as unknown;
      if (!isPlainRow(given)) continue;
      taken++;
      expect(appendRow.parse(given)).toEqual(given);
    }
    expect(taken).toBeGreaterThan(200);
    for (const appends of [[], Array(appendsMax + 1).fill(0), 'none', undefined]) {
      expect(plainAppends({ jsonrpc: '2.0', id: 1, method: 'appendEach', params: { appends } })).toBeUndefined();
    }
    expect(plainAppends({ jsonrpc: '2.0', id: 1, method: 'appendEach', params: { appends: [0] } })).toBeDefined();
  });
});
