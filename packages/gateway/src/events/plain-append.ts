import type { AppendParams } from '@cloudos/client';
import { appendEventsMax } from './control-schemas.ts';

/** A request to append that is plainly in order. */
export interface PlainAppend {
  readonly id: number | string;
  readonly params: AppendParams;
}

const nameMax = 300;
const idLength = 36;

/**
 * Recognises a request to append as programs send it, at a fraction of what the schemas cost. Whatever it takes the
 * schemas (`controlRequest`, and the parameters of `append`) take as well, with the same meaning; what it leaves is for
 * them to judge, and to say what is wrong with it.
 */
export function plainAppend(request: unknown): PlainAppend | undefined {
  if (typeof request !== 'object' || request === null) return undefined;
  const { jsonrpc, id, method, params } = request as Record<string, unknown>;
  if (jsonrpc !== '2.0' || method !== 'append') return undefined;
  if (typeof id === 'number' ? !Number.isFinite(id) : !isText(id, 0)) return undefined;
  if (typeof params !== 'object' || params === null) return undefined;
  const { stream, events, expected } = params as Record<string, unknown>;
  if (!isText(stream, 1) || !Array.isArray(events) || events.length === 0 || events.length > appendEventsMax) {
    return undefined;
  }
  if (expected !== undefined && expected !== 'any' && expected !== 'none' && !isPosition(expected)) return undefined;
  for (const event of events) if (!isPlainEvent(event)) return undefined;
  return { id, params: params as AppendParams } as PlainAppend;
}

function isPlainEvent(event: unknown): boolean {
  if (typeof event !== 'object' || event === null) return false;
  const { type, id } = event as Record<string, unknown>;
  return isText(type, 1) && (id === undefined || isUuid7(id));
}

function isText(value: unknown, least: number): boolean {
  return typeof value === 'string' && value.length >= least && value.length <= nameMax;
}

function isPosition(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** In lower case, as they are made. */
function isUuid7(id: unknown): boolean {
  if (typeof id !== 'string' || id.length !== idLength) return false;
  for (let index = 0; index < idLength; index++) {
    const code = id.charCodeAt(index);
    if (index === 8 || index === 13 || index === 18 || index === 23) {
      if (code !== 45) return false;
    } else if ((code < 48 || code > 57) && (code < 97 || code > 102)) return false;
  }
  const variant = id.charCodeAt(19);
  // 7; then 8, 9, a or b.
  return id.charCodeAt(14) === 55 && (variant === 56 || variant === 57 || variant === 97 || variant === 98);
}
