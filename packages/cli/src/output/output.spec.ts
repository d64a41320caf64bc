import type { RecordedEvent } from '@cloudos/sdk';
import pc from 'picocolors';
import { describe, expect, it } from 'vitest';
import { wantsColor } from '../terminal.ts';
import { detailsOf, subjectOf } from './event-text.ts';
import { address, age, bytes, clockTime, cores, cut, plural } from './format.ts';
import { Table } from './table.ts';
import { paintState } from './tables.ts';

const plain = pc.createColors(false);
const colorful = pc.createColors(true);

describe('figures for people', () => {
  it.each([
    [0, '0s'],
    [119_999, '119s'],
    [120_000, '2m'],
    [7_200_000, '2h'],
    [172_800_000, '2d'],
    [-5, '0s'],
  ])('%i ms is %s', (ms, text) => expect(age(ms)).toBe(text));

  it.each([
    [0, '0 B'],
    [1_023, '1023 B'],
    [1_536, '1.5 KiB'],
    [64 * 2 ** 20, '64 MiB'],
    [2 ** 40 * 5_000, '5000 TiB'],
  ])('%i bytes are %s', (amount, text) => expect(bytes(amount)).toBe(text));

  it('writes cores, counts, times and what is too long', () => {
    expect([cores(100), cores(2_000), cores(1_250)]).toEqual(['0.1', '2', '1.25']);
    expect([plural(1, 'event'), plural(0, 'event')]).toEqual(['1 event', '0 events']);
    const noon = new Date(2026, 4, 3, 12, 0, 0, 7).getTime();
    expect(clockTime(noon, noon)).toBe('12:00:00.007');
    expect(clockTime(noon, noon + 86_400_000)).toBe('2026-05-03 12:00:00.007');
    expect([cut('abcdef', 4), cut('abcd', 4)]).toEqual(['abc…', 'abcd']);
  });

  it('shows ports only where they differ', () => {
    expect(address(undefined)).toBe('-');
    expect(address({ host: '198.18.0.2', ports: { '80': 80 } })).toBe('198.18.0.2');
    expect(address({ host: '127.0.0.1', ports: { '80': 4_000, '81': 81 } })).toBe('127.0.0.1 (80→4000)');
  });
});

describe('a table', () => {
  const columns = [
    { header: 'NAME', value: ({ name }: { name: string }) => name, paint: (text: string) => `<${text}>` },
    { header: 'N', value: () => '7', align: 'right' as const },
    { header: 'REST', value: ({ name }: { name: string }) => name.repeat(2) },
  ];

  it('aligns before it paints', () => {
    expect(new Table(columns, plain).render([{ name: 'a' }, { name: 'long-name' }])).toEqual([
      'NAME        N   REST',
      '<a        >   7   aa',
      '<long-name>   7   long-namelong-name',
    ]);
  });

  it('lets no text of a guest move the cursor or break a row', () => {
    const [, row] = new Table(columns, plain).render([{ name: '\x1b[2Jx\nFAKE ROW' }]);
    expect(row).toBe('<x FAKE ROW>   7   x FAKE ROWx FAKE ROW');
  });

  it('cuts the last column where the terminal ends', () => {
    const [, row] = new Table(columns, plain, 20).render([{ name: 'name-of-ten' }]);
    expect(row).toBe('<name-of-ten>   7   n…');
  });

  it('paints states by what they mean', () => {
    const paint = paintState(colorful);
    expect(paint('ready  ')).toBe(colorful.green('ready  '));
    expect(paint('failed')).toBe(colorful.red('failed'));
    expect(paint('pending')).toBe(colorful.yellow('pending'));
    expect(paint('left')).toBe('left');
  });
});

describe('colours', () => {
  it('are for people at a terminal who have not forbidden them', () => {
    expect(wantsColor(true, {})).toBe(true);
    expect(wantsColor(true, { NO_COLOR: '1' })).toBe(false);
    expect(wantsColor(true, { NO_COLOR: '' })).toBe(true);
    expect(wantsColor(true, { TERM: 'dumb' })).toBe(false);
    expect(wantsColor(false, {})).toBe(false);
    expect(wantsColor(undefined, { FORCE_COLOR: '1' })).toBe(true);
  });
});

describe('an event in a line', () => {
  const event = (type: string, data: unknown): RecordedEvent => ({
    position: 1,
    stream: 's',
    revision: 0,
    id: 'i',
    type,
    time: 0,
    data,
    meta: { producer: { plugin: 'p', generation: 1 }, schema: 1 },
  });

  it('names what it is about, then the facts, without bulk', () => {
    const started = event('GuestStarted', {
      instance: 'web-1',
      node: 'n1',
      attempt: 2,
      address: { host: '198.18.0.2' },
      handle: { big: 'x'.repeat(500) },
      reason: 'two words',
    });
    expect(subjectOf(started)).toBe('web-1');
    expect(detailsOf(started)).toBe('node=n1 attempt=2 address=198.18.0.2 reason="two words"');
    const endpoints = event('ServiceEndpointsChanged', { service: 'default/web', endpoints: [{ instance: 'a' }] });
    expect([subjectOf(endpoints), detailsOf(endpoints)]).toEqual(['default/web', 'endpoints=[a]']);
    expect(detailsOf(event('x-p-Odd', null))).toBe('');
    expect(detailsOf(event('X', { text: 'y'.repeat(500) })).length).toBe(160);
  });
});
