import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LmdbEventLog } from '@cloudos/log-lmdb';
import { hasCode } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('a log on a full disk (needs a small tmpfs: run as root)', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cloudos-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', directory]);
  });
  afterEach(() => {
    execFileSync('umount', ['-l', directory]);
    rmSync(directory, { recursive: true });
  });

  it('refuses appends with LOG_FULL, loses nothing acknowledged, and goes on when there is space', async () => {
    const ballast = join(directory, 'ballast');
    writeFileSync(ballast, Buffer.alloc(4 * 1024 * 1024, 1));
    const path = join(directory, 'log');
    let log = await LmdbEventLog.open({ directory: path });
    const acknowledged: number[] = [];
    const fill = async () => {
      for (let n = 0; n < 100_000; n++) {
        const events = Array.from({ length: 20 }, () => ({ type: 'x-full-Filler', data: 'f'.repeat(500) }));
        const { first, last } = await log.append(`s-${n % 5}`, events, 'any');
        for (let position = first; position <= last; position++) acknowledged.push(position);
      }
    };
    const full = await fill().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(hasCode(full, 'LOG_FULL'), String(full)).toBe(true);
    const large = { type: 'x-full-Filler', data: 'f'.repeat(1024 * 1024) };
    await expect(log.append('s-0', [large], 'any')).rejects.toMatchObject({ code: 'LOG_FULL' });
    expect(log.head()).toBe(acknowledged.length - 1);
    rmSync(ballast);
    const { first } = await log.append('s-0', [{ type: 'x-full-After', data: 1 }], await log.revision('s-0'));
    expect(first).toBe(acknowledged.length);
    await log.close();
    log = await LmdbEventLog.open({ directory: path });
    const positions: number[] = [];
    for await (const batch of log.read({})) for (const event of batch) positions.push(event.position);
    expect(positions).toEqual([...acknowledged, acknowledged.length]);
    expect(await log.verify()).toMatchObject({ ok: true, events: acknowledged.length + 1 });
    await log.close();
  });

  it('goes on after a trim, in the room that came free within the database', async () => {
    const log = await LmdbEventLog.open({ directory: join(directory, 'log') });
    const filler = Array.from({ length: 20 }, () => ({ type: 'x-full-Filler', data: 'f'.repeat(500) }));
    const fill = async (appends: number) => {
      for (let n = 0; n < appends; n++) await log.append(`s-${n % 5}`, filler, 'any');
    };
    await fill(100);
    const position = log.head();
    await log.snapshots.save('p', { version: 1, position, state: null });
    await expect(fill(100_000)).rejects.toMatchObject({ code: 'LOG_FULL' });
    const head = log.head();
    const { first } = await log.trim(position + 1);
    expect(first).toBeGreaterThan(position - 100);
    await fill(20);
    expect(log.head()).toBe(head + 400);
    expect(await log.verify()).toMatchObject({ ok: true, first, head: head + 400 });
    await log.close();
  });

  it('makes no journal where there is no room for one, and makes it when there is', async () => {
    const ballast = join(directory, 'ballast');
    const { bavail, bsize } = statfsSync(directory);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize - 5 * 1024 * 1024, 1));
    const path = join(directory, 'log');
    const log = await LmdbEventLog.open({ directory: path });
    for (let n = 0; n < 50; n++) await log.append('s', [{ type: 'x-full-Small', data: n }], 'any');
    expect(existsSync(join(path, 'journal'))).toBe(false);
    rmSync(ballast);
    await expect
      .poll(
        async () => {
          await log.append('s', [{ type: 'x-full-Small', data: 0 }], 'any');
          return existsSync(join(path, 'journal', 'segment-0'));
        },
        { timeout: 20_000 },
      )
      .toBe(true);
    await log.close();
  });
});
