import { newId } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { IdWindow } from './id-window.ts';

describe('IdWindow', () => {
  it('answers for certain on every id that it still holds or that is newer than all it forgot', () => {
    const window = new IdWindow(4);
    const ids = Array.from({ length: 12 }, () => newId());
    for (const [position, id] of ids.entries()) window.add(id, 'a', position, position);
    expect(window.find(ids[11]!, 'a')).toBe(11);
    expect(window.revisionAt(11)).toBe(11);
    expect(window.find(ids[11]!, 'b')).toBe('unknown');
    expect(window.find(ids[0]!, 'a')).toBe('unknown');
    expect(window.find(newId(), 'a')).toBe('absent');
  });

  it('holds no more than its size', () => {
    const window = new IdWindow(4);
    const ids = Array.from({ length: 100 }, () => newId());
    for (const [position, id] of ids.entries()) window.add(id, 'a', position, position);
    const held = ids.filter((id) => typeof window.find(id, 'a') === 'number');
    expect(held.length).toBeGreaterThanOrEqual(4);
    expect(held.length).toBeLessThanOrEqual(4);
    expect(held).toEqual(ids.slice(-held.length));
  });

  it('is not misled by an old id that was appended late', () => {
    const window = new IdWindow(2);
    const old = newId();
    for (let position = 0; position < 6; position++) window.add(newId(), 'a', position, position);
    expect(window.find(old, 'a')).toBe('unknown');
  });

  it('cannot tell of ids that are no UUIDv7 once it forgot one', () => {
    const window = new IdWindow(2);
    window.add('mine', 'a', 0, 0);
    expect(window.find('other', 'a')).toBe('absent');
    for (let position = 1; position < 6; position++) window.add(newId(), 'a', position, position);
    expect(window.find('mine', 'a')).toBe('unknown');
    expect(window.find(newId(), 'a')).toBe('absent');
  });

  it('takes an id back', () => {
    const window = new IdWindow(4);
    const id = newId();
    window.add(id, 'a', 0, 0);
    expect(window.find(id, 'a')).toBe(0);
    window.removeLast();
    expect(window.find(id, 'a')).toBe('absent');
  });

  it('does not answer from a place that an event taken back had overwritten', () => {
    const window = new IdWindow(4);
    const ids = Array.from({ length: 5 }, () => newId());
    for (const [position, id] of ids.entries()) window.add(id, 'a', position, position);
    expect(window.find(ids[4]!, 'a')).toBe(4);
    window.removeLast();
    expect(window.find(ids[0]!, 'a')).toBe('unknown');
    expect(window.find(ids[4]!, 'a')).toBe('absent');
    window.add(ids[4]!, 'b', 0, 4);
    expect(window.find(ids[4]!, 'b')).toBe(4);
  });
});
