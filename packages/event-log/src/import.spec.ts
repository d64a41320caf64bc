import { describe, expect, it } from 'vitest';
import { exportLog } from './export.ts';
import { importLog } from './import.ts';
import { MemoryEventLog } from './memory.log.ts';

async function sample(events = 300): Promise<{ log: MemoryEventLog; text: string }> {
  const log = new MemoryEventLog();
  for (let n = 0; n < events; n++) {
    await log.append(`s-${n % 7}`, [{ type: 'x-a-B', data: { n } }], 'any');
  }
  return { log, text: await textOf(log) };
}

async function textOf(log: MemoryEventLog, from = 0): Promise<string> {
  let text = '';
  for await (const lines of exportLog(log, { from })) text += lines;
  return text;
}

/** Pieces that do not end where lines do. */
function* pieces(text: string): Generator<string> {
  for (let at = 0; at < text.length; at += 1000) yield text.slice(at, at + 1000);
}

describe('export and import', () => {
  it('give the same log, byte for byte', async () => {
    const { text } = await sample();
    const copy = new MemoryEventLog();
    expect(await importLog(copy, pieces(text))).toEqual({ imported: 300, skipped: 0, head: 299 });
    expect(await textOf(copy)).toBe(text);
    expect((await copy.verify()).ok).toBe(true);
  });

  it('do nothing twice, and go on where an import was interrupted', async () => {
    const { text } = await sample();
    const lines = text.split('\n').slice(0, -1);
    const copy = new MemoryEventLog();
    await importLog(
      copy,
      lines.slice(0, 120).map((line) => `${line}\n`),
    );
    expect(await importLog(copy, [text])).toEqual({ imported: 180, skipped: 120, head: 299 });
    expect(await importLog(copy, [text])).toEqual({ imported: 0, skipped: 300, head: 299 });
    expect(await textOf(copy)).toBe(text);
  });

  it('go on from a range', async () => {
    const { log, text } = await sample();
    const copy = new MemoryEventLog();
    await importLog(copy, [text.split('\n').slice(0, 50).join('\n')]);
    expect(await importLog(copy, [await textOf(log, 50)])).toMatchObject({ imported: 250, head: 299 });
    expect(await textOf(copy)).toBe(text);
  });

  it('restore a trimmed log from the export before the trim and the one after', async () => {
    const { log, text } = await sample();
    await log.snapshots.save('p', { version: 1, position: 199, state: null });
    await log.trim(200);
    await log.append('s-0', [{ type: 'x-a-B', data: { n: 300 } }], 'any');
    let rest = '';
    for await (const lines of exportLog(log)) rest += lines;
    const copy = new MemoryEventLog();
    await expect(importLog(copy, [rest])).rejects.toMatchObject({ code: 'LOG_IMPORT_INVALID', details: { line: 1 } });
    await importLog(copy, [text]);
    expect(await importLog(copy, [rest])).toEqual({ imported: 1, skipped: 100, head: 300 });
    expect(await importLog(log, [await textOf(copy)])).toEqual({ imported: 0, skipped: 301, head: 300 });
  });

  it.each<[string, number, (lines: string[]) => void]>([
    ['is not JSON', 3, (lines) => lines.splice(2, 1, '{')],
    ['is not an event', 3, (lines) => lines.splice(2, 1, '{"position":2}')],
    ['is out of order', 3, (lines) => lines.splice(2, 2, lines[3]!, lines[2]!)],
    ['is missing', 5, (lines) => lines.splice(4, 1)],
    ['begins too late', 1, (lines) => lines.splice(0, 1)],
    [
      'has a revision out of order',
      9,
      (lines) => lines.splice(8, 1, lines[8]!.replace('"revision":1', '"revision":2')),
    ],
    ['has another id than the log holds', 30, (lines) => edit(lines, 29)],
  ])('name the line that %s', async (what, line, damage) => {
    const { text } = await sample(30);
    const lines = text.split('\n').slice(0, -1);
    const copy = new MemoryEventLog();
    if (what.startsWith('has another id')) await importLog(copy, [text]);
    damage(lines);
    await expect(importLog(copy, [lines.join('\n')])).rejects.toMatchObject({
      code: 'LOG_IMPORT_INVALID',
      details: { line },
      message: expect.stringContaining(`line ${line}:`),
    });
    expect((await copy.verify()).ok).toBe(true);
  });
});

function edit(lines: string[], index: number): void {
  lines[index] = lines[index]!.replace(/"id":"....../, '"id":"000000');
}
