import type { AppendParams, AppendRow } from '@cloudos/client';
import { appendEventsMax, appendsMax } from './control-schemas.ts';

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
  if (typeof params !== 'object' || params === null || Array.isArray(params)) return undefined;
  const { stream, events, expected } = params as Record<string, unknown>;
  if (!isText(stream, 1) || !Array.isArray(events) || events.length === 0 || events.length > appendEventsMax) {
    return undefined;
  }
  if (expected !== undefined && expected !== 'any' && expected !== 'none' && !isPosition(expected)) return undefined;
  for (const event of events) if (!isPlainEvent(event)) return undefined;
  return { id, params: params as AppendParams } as PlainAppend;
}

/** A request for many appends, each of which is still to be looked at. */
export interface PlainAppends {
  readonly id: number | string;
  readonly appends: readonly unknown[];
}

/** The same for a request for many appends, but for what stands in each. */
export function plainAppends(request: unknown): PlainAppends | undefined {
  if (typeof request !== 'object' || request === null) return undefined;
  const { jsonrpc, id, method, params } = request as Record<string, unknown>;
  if (jsonrpc !== '2.0' || method !== 'appendEach') return undefined;
  if (typeof id === 'number' ? !Number.isFinite(id) : !isText(id, 0)) return undefined;
  if (typeof params !== 'object' || params === null) return undefined;
  const { appends } = params as Record<string, unknown>;
  if (!Array.isArray(appends) || appends.length === 0 || appends.length > appendsMax) return undefined;
  return { id, appends } as PlainAppends;
}

/** Whether one of many appends is plainly in order: what it takes `appendRow` takes as well. */
export function isPlainRow(row: unknown): row is AppendRow {
  if (!Array.isArray(row) || row.length < 2 || row.length > 3) return false;
  const events = row[1] as unknown;
  if (!isText(row[0], 1) || !Array.isArray(events) || events.length === 0 || events.length > appendEventsMax) {
    return false;
  }
  const expected = row[2] as unknown;
  if (expected !== undefined && expected !== 'any' && expected !== 'none' && !isPosition(expected)) return false;
  for (const event of events) {
    if (!Array.isArray(event) || event.length === 0 || event.length > 3 || !isText(event[0], 1)) return false;
    if (event[2] !== undefined && !isUuid7(event[2])) return false;
  }
  return true;
}

function isPlainEvent(event: unknown): boolean {
  if (typeof event !== 'object' || event === null || Array.isArray(event)) return false;
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
