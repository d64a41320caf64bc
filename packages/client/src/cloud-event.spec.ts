import type { RecordedEvent } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { CloudEventWriter, fromCloudEvent, toCloudEvent } from './cloud-event.ts';

const event: RecordedEvent = {
  position: 12,
  stream: 'node-n1',
  revision: 3,
  id: '0190a0b0-0000-7000-8000-000000000000',
  type: 'GuestStarted',
  time: 1_700_000_000_001,
  data: { instance: 'web-1' },
  meta: { producer: { plugin: 'node-agent', generation: 1 }, schema: 1 },
};

describe('CloudEvents', () => {
  it.each([
    ['a bare event', event],
    ['a private one', { ...event, type: 'x-borg-Cached', data: null }],
    [
      'one with all of its meta',
      { ...event, meta: { ...event.meta, causation: 0, correlation: 'c', traceparent: 't' } },
    ],
  ])('carry %s there and back', (_name, given) => {
    const wire = JSON.parse(JSON.stringify(toCloudEvent(given, 'local')));
    expect(fromCloudEvent(wire)).toEqual(given);
    const writer = new CloudEventWriter('my "stack');
    for (const odd of [given, { ...given, stream: 'a"b', id: 'x"y', data: undefined }, given]) {
      expect(writer.write(odd)).toBe(JSON.stringify(toCloudEvent(odd, 'my "stack')));
    }
  });

  it('have names that the specification allows', () => {
    for (const name of Object.keys(toCloudEvent({ ...event, meta: { ...event.meta, causation: 1 } }, 'my stack'))) {
      expect(name).toMatch(/^[a-z0-9]{1,20}$/);
    }
    expect(toCloudEvent(event, 'my stack').source).toBe('/cloudos/my%20stack');
  });
});
