import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type SharedEventType, sharedEvents } from './index.ts';
import { quickCheckOf, undecided } from './quick-check.ts';

const types = Object.keys(sharedEvents) as SharedEventType[];
const seed = Number(process.env.CLOUDOS_SEED ?? Date.now() % 1_000_000);

/** Numbers below a bound, the same for the same seed. */
function numbers(state: number): (below: number) => number {
  let next = state;
  return (below) => {
    next = (Math.imul(next, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (next >> 8) % below;
  };
}

const odd: readonly unknown[] = [
  undefined,
  null,
  '',
  'a',
  0,
  1,
  -1,
  0.5,
  2 ** 60,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  true,
  [],
  [undefined],
  {},
  { a: undefined, __proto__: { b: 1 } },
  JSON.parse('{"__proto__":{"c":1}}'),
  new Map(),
  new Date(0),
  () => {},
];

type Schema = Record<string, unknown>;

/** Something like what the JSON Schema describes: mostly right, now and then with something odd in it. */
function sample(schema: Schema, random: (below: number) => number): unknown {
  if (random(40) === 0) return odd[random(odd.length)];
  const variants = (schema.anyOf ?? schema.oneOf) as Schema[] | undefined;
  if (variants) return sample(variants[random(variants.length)]!, random);
  if ('const' in schema) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[random(schema.enum.length)];
  switch (schema.type) {
    case 'object': {
      const made: Record<string, unknown> = random(20) === 0 ? { unheardOf: 1 } : {};
      const required = (schema.required ?? []) as string[];
      for (const [key, part] of Object.entries((schema.properties ?? {}) as Record<string, Schema>)) {
        if (required.includes(key) ? random(40) > 0 : random(2) > 0) made[key] = sample(part, random);
      }
      const more = schema.additionalProperties;
      if (typeof more === 'object') for (const key of ['k', '7']) made[key] = sample(more as Schema, random);
      return made;
    }
    case 'array':
      return Array.from({ length: random(3) }, () => sample(schema.items as Schema, random));
    case 'string':
      return ['a', 'node-1', 'default/web', ''][random(4)];
    case 'integer':
      return [1, 2, 100, 0, 1_000, 1_001][random(6)];
    case 'number':
      return [0.5, 1, 0, -3][random(4)];
    case 'boolean':
      return random(2) > 0;
    case 'null':
      return null;
    default:
      return odd[random(odd.length)];
  }
}

/** What JSON does not show is shown too: absent and undefined, and the order of keys. */
const shown = (value: unknown): string =>
  JSON.stringify(value, (_, part) => (part === undefined ? 'undefined' : Number.isNaN(part) ? 'NaN' : part));

describe('a quick check', () => {
  it.each(types)(`of %s gives what the schema gives, or nothing (CLOUDOS_SEED=${seed})`, (type) => {
    const { schema } = sharedEvents[type];
    const quick = quickCheckOf(schema);
    const json = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) as Schema;
    const random = numbers(seed);
    for (let round = 0; round < 300; round++) {
      const data = sample(json, random);
      const checked = quick(data);
      if (checked === undecided) continue;
      const parsed = schema.safeParse(data);
      expect(parsed.success, shown(data)).toBe(true);
      expect(shown(checked)).toBe(shown(parsed.data));
      expect(checked).toEqual(parsed.data);
      expect(checked).not.toBe(data);
    }
  });

  it('decides the events that come with every instance', () => {
    const requests = { cpuMillis: 100, memoryBytes: 2 ** 26, diskBytes: 0, pids: 0 };
    const guest = { instance: 'web-1', node: 'n-1' };
    const usual: [SharedEventType, unknown][] = [
      ['InstanceRequested', { instance: 'web-1', workload: 'default/web', revision: 1, requests, priority: 100 }],
      ['InstancePlaced', { ...guest, score: 0.5 }],
      ['GuestCreated', { ...guest, runtime: 'zones', handle: { pid: 1 } }],
      ['GuestStarted', { ...guest, runtime: 'zones', attempt: 1, address: { host: '::1', ports: { 80: 1 } }, pid: 7 }],
      ['GuestHealthy', { ...guest, attempt: 1, probe: 'readiness' }],
      ['GuestExited', { ...guest, attempt: 1, exitCode: null, signal: 'SIGKILL', reason: 'oom-killed' }],
      ['GuestRemoved', guest],
    ];
    for (const [type, data] of usual) {
      const checked = quickCheckOf(sharedEvents[type].schema)(data);
      expect(checked, type).toEqual(data);
      expect(shown(checked), type).toBe(shown(sharedEvents[type].schema.parse(data)));
    }
  });

  it('leaves to the schema what it completes, refuses, changes or compares', () => {
    const left: [z.ZodType, unknown][] = [
      [z.object({ a: z.int().default(1) }), {}],
      [z.object({ a: z.int().default(1).optional() }), {}],
      [z.object({ a: z.string().optional() }), { a: undefined }],
      [z.strictObject({ a: z.string() }), { a: 'b' }],
      [z.object({ a: z.string() }).refine(() => false), { a: 'b' }],
      [z.string().trim(), ' a'],
      [z.string().regex(/^b/), 'a'],
      [z.coerce.number(), 1],
      [z.number().multipleOf(2), 3],
      [z.array(z.string()).max(1), ['a', 'b']],
      [z.int(), 1.5],
      [z.string().transform((text) => text.length), 'a'],
      [z.email(), 'a'],
    ];
    for (const [schema, data] of left) expect(quickCheckOf(schema)(data)).toBe(undecided);
  });
});
