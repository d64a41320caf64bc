import {
  type ControlEvent,
  type ControlMarkers,
  type ControlName,
  type ControlNotification,
  controlTypePrefix,
} from '@cloudos/client';
import { newId } from '@cloudos/sdk';
import { type EncodingName, isBatched } from './encoding.ts';
import { textFrame } from './frames.ts';

/** A marker as it is said on a connection of that kind. */
export function markerBytes<Name extends ControlName>(
  encoding: EncodingName,
  stack: string,
  name: Name,
  data: ControlMarkers[Name],
): Buffer {
  if (isBatched(encoding)) return textFrame(JSON.stringify(notificationOf(name, data)));
  const text = JSON.stringify(controlEventOf(stack, name, data));
  if (encoding === 'ndjson') return Buffer.from(`${text}\n`);
  // Not the default event of an EventSource: its `onmessage` gets events of the log alone.
  if (encoding === 'sse') return Buffer.from(`${reachedId(data)}event: control\ndata: ${text}\n\n`);
  return textFrame(text);
}

/** With the id of how far it is, an EventSource that lost its connection before any event came back goes on from there. */
function reachedId(data: ControlMarkers[ControlName]): string {
  return 'position' in data ? `id: ${data.position}\n` : '';
}

export function controlEventOf<Name extends ControlName>(
  stack: string,
  name: Name,
  data: ControlMarkers[Name],
): ControlEvent<Name> {
  return {
    specversion: '1.0',
    type: `${controlTypePrefix}${name}`,
    source: `/cloudos/${encodeURIComponent(stack)}`,
    id: newId(),
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    data,
  };
}

export function notificationOf<Name extends ControlName>(
  name: Name,
  data: ControlMarkers[Name],
): ControlNotification<Name> {
  const method = `${name.charAt(0).toLowerCase()}${name.slice(1)}` as Uncapitalize<Name>;
  return { jsonrpc: '2.0', method, params: data };
}
