import { afterEach, expect, it, vi } from 'vitest';
import { newId } from './ids.ts';

afterEach(() => vi.useRealTimers());

const timeOf = (id = '') => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);

it('makes valid UUIDv7 that increase and carry the time', () => {
  const before = Date.now();
  const ids = Array.from({ length: 10_000 }, () => newId());
  const after = Date.now();
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
  expect(timeOf(ids[0])).toBeGreaterThanOrEqual(before);
  expect(timeOf(ids.at(-1))).toBeLessThanOrEqual(after + 1);
});

it('goes on where a clock stands still or was set back a little, and begins anew where it was set back by much', () => {
  vi.useFakeTimers({ now: Date.now() + 3_600_000, toFake: ['Date'] });
  const ids = Array.from({ length: 5_000 }, () => newId());
  vi.setSystemTime(Date.now() - 9_000);
  ids.push(newId(), newId());
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids.map((id) => timeOf(id))).size).toBe(1);
  vi.setSystemTime(Date.now() - 100_000);
  const later = newId();
  expect(timeOf(later)).toBe(Date.now());
  expect(later < newId()).toBe(true);
});
