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

  it.each([
    ['in capitals', (id: string) => id.toUpperCase()],
    ['with a character that is no digit', (id: string) => `${id.slice(0, -1)}g`],
    ['with a character beyond ASCII', (id: string) => `${id.slice(0, -1)}ł`],
    ['with a digit for a dash', (id: string) => `${id.slice(0, 8)}0${id.slice(9)}`],
    ['of another version', (id: string) => `${id.slice(0, 14)}4${id.slice(15)}`],
    ['that is none', (id: string) => id.slice(1)],
  ])('keeps a UUID %s apart from all others, and remembers that it forgot it', (_what, change) => {
    const window = new IdWindow(4);
    const first = newId();
    const odd = change(newId());
    window.add(first, 'a', 0, 0);
    window.add(odd, 'a', 1, 1);
    expect(window.find(odd, 'a')).toBe(1);
    expect(window.find(first, 'a')).toBe(0);
    for (let position = 2; position < 8; position++) window.add(newId(), 'a', position, position);
    expect(window.find(odd, 'a')).toBe('unknown');
    expect(window.find(first, 'a')).toBe('unknown');
  });

  it('answers as one that keeps all ids as they are', () => {
    const size = 8;
    const window = new IdWindow(size);
    const added: string[] = [];
    const pool = Array.from({ length: 40 }, (_, n) => (n % 5 === 0 ? `own-${n}` : newId()));
    let state = Number(process.env.CLOUDOS_SEED ?? 7);
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return (state >> 8) % below;
    };
    for (let round = 0; round < 2_000; round++) {
      const id = pool[random(pool.length)]!;
      const answer = window.find(id, 'a');
      const place = added.lastIndexOf(id);
      if (place >= Math.max(0, added.length - size)) expect(answer, `round ${round}`).toBe(place);
      else if (place >= 0) expect(answer, `round ${round}`).toBe('unknown');
      else expect(typeof answer, `round ${round}`).not.toBe('number');
      if (typeof answer === 'number') continue;
      window.add(id, 'a', added.length, added.length);
      added.push(id);
    }
    expect(added.length).toBeGreaterThan(size * 4);
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
