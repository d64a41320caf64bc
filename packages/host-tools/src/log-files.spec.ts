import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readLogFiles } from './log-files.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cloudos-logs-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A record of the times of a log: from that byte on it was written then. */
const record = (time: number, offset: number) => {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(BigInt(time), 0);
  bytes.writeBigUInt64BE(BigInt(offset), 8);
  return bytes;
};

async function since(time: number): Promise<string> {
  let text = '';
  for await (const { data } of readLogFiles(directory, { since: time }, () => true))
    text += Buffer.from(data).toString();
  return text;
}

it('begins with a line that was ended at or after the time asked for, whole, and not with one that was ended before', async () => {
  await writeFile(join(directory, 'stdout'), 'first\nlast\n');
  const times = [record(1_000, 0), record(2_000, 'fir'.length), record(3_000, 'first\n'.length)];
  await writeFile(join(directory, 'stdout.times'), Buffer.concat(times));
  expect([await since(1_000), await since(1_001), await since(2_000)]).toEqual(Array(3).fill('first\nlast\n'));
  expect([await since(2_001), await since(3_000), await since(3_001)]).toEqual(['last\n', 'last\n', '']);
});
