import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { guestTraces } from './guest-traces.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'cloudos-traces-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const traces = () => guestTraces({ dataDir: join(root, 'data'), stateDir: join(root, 'state') });

test('what guests leave in the directories of their driver is seen', async () => {
  const before = traces();
  await mkdir(join(root, 'data/guests/one'), { recursive: true });
  await mkdir(join(root, 'state/images/holds'), { recursive: true });
  await writeFile(join(root, 'state/images/holds/one'), '');
  await mkdir(join(root, 'state/network/n1/addresses'), { recursive: true });
  await writeFile(join(root, 'state/network/n1/network.json'), JSON.stringify({ bridge: 'none' }));
  await writeFile(join(root, 'state/network/n1/addresses/10.0.0.2'), '');
  expect(traces()).toEqual({
    ...before,
    files: ['guests', 'guests/one'],
    imagesInUse: ['one'],
    addresses: ['10.0.0.2'],
  });
});

test('a process that names them is seen until it has ended, and those of others are not', async () => {
  const before = traces();
  const leave = (directory: string) => spawn('sleep', ['1000'], { argv0: `${directory}/run`, stdio: 'ignore' });
  const [ours, others] = [leave(join(root, 'data')), leave('/elsewhere/data')];
  try {
    await expect
      .poll(() => traces().processes, { timeout: 60_000 })
      .toEqual([expect.stringContaining(`${join(root, 'data')}/run 1000`)]);
    const ended = once(ours, 'exit');
    ours.kill();
    await ended;
    expect(traces()).toEqual(before);
  } finally {
    others.kill();
  }
});
