import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BenchRow } from './bench.ts';
import { type BenchMessage, checkRow, concerns, runBench } from './child.ts';

const row: BenchRow = { name: 'log.replay', value: 1, unit: 'x', bound: null, ratio: null, target: '', met: null };

describe('selecting benchmarks', () => {
  it.each([
    ['log', null, true],
    ['log', 'log', true],
    ['log', 'log.append', true],
    ['guest.zones', 'guest', true],
    ['log', 'lo', false],
    ['cluster', 'log', false],
  ])('prefix %s with --only %s: %s', (prefix, only, expected) => {
    expect(concerns(prefix, only)).toBe(expected);
  });
});

describe('a row', () => {
  it('is taken when it is complete', () => {
    expect(checkRow(row)).toBe(row);
  });

  it.each([{ value: Number.NaN }, { bound: Number.POSITIVE_INFINITY }, { name: 'replay' }, { ratio: Number.NaN }])(
    'is refused with %j',
    (wrong) => {
      expect(() => checkRow({ ...row, ...wrong })).toThrow(/benchmark row/);
    },
  );
});

describe('a benchmark file', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bench-'));
    const rows = `report({ ...${JSON.stringify(row)} }); report({ ...${JSON.stringify(row)}, name: 'log.append' });`;
    const run = `async run({ report, progress }) { progress('now'); ${rows} }`;
    writeFileSync(join(folder, 'good.mjs'), `export default { prefix: 'log', ${run} };`);
    writeFileSync(join(folder, 'bad.mjs'), 'export const nothing = 1;');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = async (name: string, only: string | null) => {
    const messages: BenchMessage[] = [];
    const job = { file: join(folder, name), only, quick: true, workDir: folder };
    await runBench(job, (message) => messages.push(message));
    return messages.map((message) => (message.kind === 'row' ? message.row.name : message.kind));
  };

  it('hands in the rows that are selected', async () => {
    expect(await run('good.mjs', null)).toEqual(['progress', 'log.replay', 'log.append']);
    expect(await run('good.mjs', 'log.append')).toEqual(['progress', 'log.append']);
    expect(await run('good.mjs', 'guest')).toEqual(['passed-over']);
  });

  it('is refused without a default export', async () => {
    await expect(run('bad.mjs', null)).rejects.toThrow(/default export/);
  });
});
