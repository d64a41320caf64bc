import { checkEvent, type NewEvent, type RecordedEvent } from '@cloudos/sdk';

/** An event as a log would record it at that position, checked against the vocabulary. Revisions equal positions. */
export function recordedAt(position: number, event: NewEvent, stream: string, time: number): RecordedEvent {
  return {
    position,
    stream,
    revision: position,
    id: `00000000-0000-7000-8000-${position.toString(16).padStart(12, '0')}`,
    type: event.type,
    time,
    data: checkEvent(event.type, event.data),
    meta: { producer: { plugin: 'conformance', generation: 1 }, schema: 1, causation: position - 1 },
  };
}
