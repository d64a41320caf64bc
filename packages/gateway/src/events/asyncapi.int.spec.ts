import asyncApiSchema from '@asyncapi/specs/schemas/3.0.0.json' with { type: 'json' };
import { Ajv } from 'ajv';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Bench, openBench, until } from '../spec-kit.ts';
import { feedMessages } from './asyncapi.ts';
import { controlMethods } from './control-schemas.ts';

interface Document {
  readonly asyncapi: string;
  readonly operations: Record<'tell' | 'ask', { readonly messages: readonly { readonly $ref: string }[] }>;
  readonly components: {
    readonly messages: Record<string, { payload?: object; examples?: { payload: unknown }[] }>;
    readonly schemas: Record<string, object>;
  };
}

describe('the AsyncAPI document', () => {
  let bench: Bench;
  let document: Document;
  let byName: Map<string, ValidateFunction>;
  beforeAll(async () => {
    bench = await openBench();
    document = (await (await bench.get('/v1/asyncapi.json')).json()) as Document;
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    byName = new Map(
      Object.entries(document.components.messages).flatMap(([name, { payload }]) =>
        payload ? [[name, ajv.compile(payload)]] : [],
      ),
    );
  });
  afterAll(() => bench.close());

  /** The messages of the document that one on the wire can be. An answer has the form of its method alone. */
  const fitting = (message: unknown) => [...byName].filter(([, fits]) => fits(message)).map(([name]) => name);
  const told = (operation: 'tell' | 'ask') =>
    document.operations[operation].messages.map(({ $ref }) => $ref.split('/').at(-1));

  it('is valid against the schema of AsyncAPI 3.0', () => {
    // It brings the schema of schemas itself.
    const ajv = new Ajv({ strict: false, validateFormats: false, meta: false, validateSchema: false });
    const valid = ajv.compile(asyncApiSchema);
    expect([valid(document), valid.errors]).toEqual([true, null]);
    // It would say so if it were not.
    const { tell } = document.operations;
    expect(valid({ ...document, operations: { tell: { ...tell, action: 'shout' } } })).toBe(false);
  });

  it('has examples that match their schemas, and data schemas that match the vocabulary', () => {
    expect(document.asyncapi).toBe('3.0.0');
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    for (const [name, { examples = [] }] of Object.entries(document.components.messages)) {
      for (const { payload } of examples) expect(fitting(payload), name).toContain(name);
    }
    for (const [type, schema] of Object.entries(document.components.schemas))
      expect(() => ajv.compile(schema), type).not.toThrow();
    const { payload } = document.components.messages.Event?.examples?.[0] ?? {};
    expect(ajv.validate(document.components.schemas.GuestHealthy ?? {}, (payload as { data: unknown }).data)).toBe(
      true,
    );
  });

  it('names every message that is said or taken, and no other', async () => {
    const seen = new Set<string>();
    const record = (count: number) =>
      bench.kernel.events.record(
        ...Array.from({ length: count }, () => ({ stream: 'kernel', type: 'StackAssembled' })),
      );
    record(10);
    bench.kernel.events.trim(5);
    const named = await bench.listen('/v1/events?subscription=audit&from=5').opened();
    await until('it has its events', () => named.messages.length >= 5);
    for (const protocol of ['cloudevents.json', 'cloudos.batch.v1']) {
      const listener = await bench.listen('/v1/events?from=0&markers=true&heartbeatMs=100', {}, [protocol]).opened();
      await until('every marker has come', () =>
        ['live', 'heartbeat', 'gap'].every((name) =>
          listener.messages.some((text) => text.toLowerCase().includes(name)),
        ),
      );
      for (const [method, { example }] of Object.entries(controlMethods)) {
        // Of a named subscription alone.
        const socket = method === 'acknowledge' ? named : listener;
        const before = socket.messages.length;
        const request = {
          jsonrpc: '2.0',
          id: `${protocol}-${method}`,
          method,
          params: method === 'snapshot' ? {} : example,
        };
        expect(fitting(request)).toEqual([`${method.charAt(0).toUpperCase()}${method.slice(1)}Request`]);
        seen.add(fitting(request)[0] ?? '');
        socket.socket.send(JSON.stringify(request));
        const answer = () => socket.messages.slice(before).filter((text) => text.includes(`"${protocol}-${method}"`));
        await until(`${method} is answered`, () => answer().length > 0);
        expect(JSON.parse(answer()[0] ?? ''), method).toHaveProperty('result');
        seen.add(`${method.charAt(0).toUpperCase()}${method.slice(1)}Answer`);
        expect(fitting(JSON.parse(answer()[0] ?? ''))).toContain(
          `${method.charAt(0).toUpperCase()}${method.slice(1)}Answer`,
        );
      }
      listener.socket.send('{"jsonrpc":"2.0","id":"odd","method":"fly"}');
      await until('it is refused', () => listener.messages.some((text) => text.includes('"odd"')));
      const binary = new Set(listener.binary.map((message) => message.toString()));
      if (binary.size > 0) seen.add('Batch');
      for (const text of listener.messages.filter((each) => !binary.has(each))) {
        const names = fitting(JSON.parse(text));
        expect(names, text).not.toEqual([]);
        if (names.length === 1) seen.add(names[0] ?? '');
      }
      listener.socket.close();
    }
    named.socket.close();
    expect([...seen].sort()).toEqual([...told('tell'), ...told('ask')].sort());
    expect(Object.keys(document.components.messages).sort()).toEqual(Object.keys(feedMessages()).sort());
  });
});
