import type { RecordedEvent } from '@cloudos/sdk';
import { cut } from './format.ts';

/** What an event is about: the most particular name in its data. */
export function subjectOf(event: RecordedEvent): string {
  const data = (event.data ?? {}) as Record<string, unknown>;
  for (const key of ['instance', 'workload', 'service', 'migration', 'slot', 'node', 'owner', 'stack', 'plugin']) {
    const value = data[key];
    if (typeof value === 'string') return value;
  }
  return '';
}

const hidden = new Set(['handle', 'manifest', 'template', 'digest', 'config', 'pid', 'correlation']);
const detailMax = 160;

/** The other facts of an event, in one line: `node=local attempt=1`. */
export function detailsOf(event: RecordedEvent): string {
  const subject = subjectOf(event);
  const parts: string[] = [];
  for (const [key, value] of Object.entries((event.data ?? {}) as Record<string, unknown>)) {
    if (hidden.has(key) || value === subject) continue;
    const text = valueText(value);
    if (text !== undefined) parts.push(`${key}=${text}`);
  }
  return cut(parts.join(' '), detailMax);
}

function valueText(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return /\s/.test(value) ? JSON.stringify(value) : value;
  if (Array.isArray(value)) {
    const names = value.map(nameOf);
    return names.every((name) => name !== undefined) ? `[${names.join(' ')}]` : `[${value.length}]`;
  }
  const host = (value as { host?: unknown } | null)?.host;
  return typeof host === 'string' ? host : undefined;
}

function nameOf(item: unknown): string | undefined {
  if (typeof item === 'string') return item;
  const { instance, message, name } = (item ?? {}) as Record<string, unknown>;
  const found = [instance, message, name].find((value) => typeof value === 'string');
  return found as string | undefined;
}
