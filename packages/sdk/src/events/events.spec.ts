import { describe, expect, it } from 'vitest';
import { checkEvent, eventsByLayer, jsonSchemaOf, type SharedEventType, sharedEvents } from './index.ts';

const types = Object.keys(sharedEvents) as SharedEventType[];

describe('the shared events', () => {
  it('each belongs to one layer and is named in the past tense, in PascalCase', () => {
    const named = Object.values(eventsByLayer).flatMap((layer) => Object.keys(layer));
    expect(new Set(named).size).toBe(named.length);
    expect([...named].sort()).toEqual([...types].sort());
    for (const type of types) expect(type).toMatch(/^([A-Z][a-z]+)+$/);
  });

  it.each(types)('%s says what it means and has a JSON Schema', (type) => {
    expect(sharedEvents[type].doc.length).toBeGreaterThan(20);
    expect(jsonSchemaOf(type)).toMatchObject({ type: 'object', properties: expect.any(Object) });
  });

  it('are checked and completed with defaults', () => {
    expect(checkEvent('InstanceWithdrawn', { instance: 'a', reason: 'scaled down', graceMs: 10 })).toEqual({
      instance: 'a',
      reason: 'scaled down',
      graceMs: 10,
      drainMs: 0,
    });
  });

  it('are refused with path, given and expected', () => {
    expect(() => checkEvent('InstancePlaced', { instance: 'a', node: 7 })).toThrow(
      /InstancePlaced: node: .*expected string.*given 7/,
    );
    expect(() => checkEvent('InstanceTeleported', {})).toThrow('"InstanceTeleported" is not part of the vocabulary');
  });

  it('go on without what was added later', () => {
    const asked = { instance: 'a', workload: 'default/web', revision: 1, requests: {}, priority: 100 };
    const zero = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
    expect(checkEvent('InstanceRequested', asked)).toEqual({ ...asked, requests: zero });
    const reserved = { owner: 'eng', node: 'n1', resources: zero };
    expect(checkEvent('ResourcesReserved', reserved)).toEqual(reserved);
    expect(checkEvent('QuotaSet', { owner: 'eng', limit: { pids: 5 } })).toEqual({ owner: 'eng', limit: { pids: 5 } });
  });

  it.each([
    ['owner', 'eng//search', 'names with a slash between them'],
    ['placement', [{ scope: 'node', tags: ['a'], required: true }], 'at least one of min, max and maxSkew'],
    ['hostPorts', [0], 'hostPorts'],
  ])('refuse a request with %s = %j', (field, given, message) => {
    const asked = { instance: 'a', workload: 'default/web', revision: 1, requests: {}, priority: 100, [field]: given };
    expect(() => checkEvent('InstanceRequested', asked)).toThrow(message);
  });

  it('leave private events alone', () => {
    expect(checkEvent('x-resources-borg-Hint', { anything: 1 })).toEqual({ anything: 1 });
  });
});
