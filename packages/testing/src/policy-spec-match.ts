import { AssertionError } from 'node:assert';
import { inspect, isDeepStrictEqual } from 'node:util';
import type { NewEvent, RecordedEvent } from '@cloudos/sdk';
import { expectedData } from './events.ts';

/**
 * Whether the actual value has all that is expected: objects may have more, arrays have the same length,
 * a function is a predicate, a regular expression is tested.
 */
export function matches(actual: unknown, expected: unknown): boolean {
  if (typeof expected === 'function') return Boolean((expected as (value: unknown) => unknown)(actual));
  if (expected instanceof RegExp) return typeof actual === 'string' && expected.test(actual);
  if (Array.isArray(expected)) {
    return (
      Array.isArray(actual) &&
      actual.length === expected.length &&
      expected.every((item, index) => matches(actual[index], item))
    );
  }
  if (expected !== null && typeof expected === 'object') {
    if (actual === null || typeof actual !== 'object') return false;
    return Object.entries(expected).every(([key, value]) => matches((actual as Record<string, unknown>)[key], value));
  }
  return isDeepStrictEqual(actual, expected);
}

export function eventMatches(actual: RecordedEvent, expected: NewEvent): boolean {
  return actual.type === expected.type && matches(actual.data, expectedData(expected));
}

/** Fails with both lists, the first difference marked, unless actual and expected events match one by one. */
export function assertEvents(actual: readonly RecordedEvent[], expected: readonly NewEvent[]): void {
  const length = Math.max(actual.length, expected.length);
  const lines: string[] = [];
  let sound = true;
  for (let index = 0; index < length; index++) {
    const got = actual[index];
    const want = expected[index];
    if (got && want && eventMatches(got, want)) {
      lines.push(`  = ${show(got.type, got.data)}`);
      continue;
    }
    sound = false;
    if (want) lines.push(`  - ${show(want.type, expectedData(want))}`);
    if (got) lines.push(`  + ${show(got.type, want && want.type === got.type ? project(got.data, want) : got.data)}`);
  }
  if (sound) return;
  fail(
    `decisions differ (- expected, + decided, = both):\n${lines.join('\n')}`,
    actual.map(({ type, data }, index) => ({
      type,
      data: expected[index]?.type === type ? project(data, expected[index]) : data,
    })),
    expected.map((event) => ({ type: event.type, data: expectedData(event) })),
  );
}

/** Of what was decided only what the expectation is about, so that a difference stands out. */
function project(data: unknown, expected: NewEvent): unknown {
  const about = expectedData(expected);
  if (data === null || typeof data !== 'object' || about === null || typeof about !== 'object') return data;
  return Object.fromEntries(Object.keys(about).map((key) => [key, (data as Record<string, unknown>)[key]]));
}

export function show(type: string, data: unknown): string {
  return `${type} ${inspect(data, { depth: 6, breakLength: Number.POSITIVE_INFINITY, compact: true })}`;
}

export function fail(message: string, actual: unknown, expected: unknown): never {
  throw new AssertionError({ message, actual, expected, operator: 'policySpec' });
}
