import { appendFile, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogRequest } from '@cloudos/sdk';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readVmLogs } from './vm-logs.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cloudos-vm-logs-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const log = () => join(directory, 'stdio.log');
const line = (text: string, second: number, stream = 'stdout') =>
  `${JSON.stringify({ log: text, stream, time: new Date(second * 1_000).toISOString() })}\n`;

async function read(request: LogRequest = {}, hasEnded = async () => true): Promise<string> {
  let text = '';
  for await (const { stream, data } of readVmLogs(directory, request, hasEnded)) {
    text += `${stream === 'stderr' ? '!' : ''}${Buffer.from(data)}`;
  }
  return text;
}

describe('the log of a zone, in the form of json-file as SmartOS documents it', () => {
  test('is empty where there is none', async () => {
    expect(await read()).toBe('');
    expect(await read({ follow: true })).toBe('');
  });

  test('is read over the files that were moved away, by stream, from a time on, or its last lines', async () => {
    await appendFile(`${log()}.2026-03-14T09:00:00Z`, line('one\n', 1) + line('two\n', 2));
    await appendFile(log(), `${line('oops\n', 3, 'stderr')}${line('th', 4)}no json\n${line('r\u00e9e\n', 5)}`);
    expect(await read()).toBe('one\ntwo\n!oops\nthr\u00e9e\n');
    expect(await read({ since: 3_000 })).toBe('!oops\nthr\u00e9e\n');
    expect(await read({ tailLines: 1 })).toBe('!oops\nthr\u00e9e\n');
    expect(await read({ tailLines: 0 })).toBe('');
  });

  test('is followed over a rotation and over a line in two pieces until the zone has ended', async () => {
    await appendFile(log(), line('one\n', 1));
    const whole = line('two\n', 2);
    let step = 0;
    const hasEnded = async () => {
      step += 1;
      if (step === 1) await appendFile(log(), whole.slice(0, 9));
      if (step === 2) await appendFile(log(), whole.slice(9));
      if (step === 3) {
        await appendFile(log(), line('three\n', 3));
        await rename(log(), `${log()}.2026-03-14T09:00:00Z`);
        await appendFile(log(), line('four\n', 4));
      }
      return step > 3;
    };
    expect(await read({ follow: true }, hasEnded)).toBe('one\ntwo\nthree\nfour\n');
  });

  test('is followed until the reader has had enough', async () => {
    await appendFile(log(), line('one\n', 1));
    const enough = new AbortController();
    const hasEnded = async () => {
      enough.abort();
      return false;
    };
    expect(await read({ follow: true, signal: enough.signal }, hasEnded)).toBe('one\n');
  });
});
