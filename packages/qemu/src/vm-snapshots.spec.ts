import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { VmSnapshots } from './vm-snapshots.ts';

let directory: string;
let snapshots: VmSnapshots;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cloudos-snapshots-'));
  snapshots = new VmSnapshots(join(directory, 'a'), 'unikernel');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function make(name: string, state: string): Promise<void> {
  await snapshots.make(name, 'shape 1', async (to) => {
    await writeFile(join(to, 'state'), state);
    await writeFile(join(to, 'disk'), Buffer.alloc(100_000, 7));
  });
}

async function exported(name: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of snapshots.export(name)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Cuts at every size, so that no border of a chunk is a border of the format. */
async function* inPieces(data: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

test('a snapshot replaces the one of its name, and goes away whole when it fails', async () => {
  await make('s', 'first');
  await make('s', 'second');
  expect(await readFile(join(snapshots.path('s'), 'state'), 'utf8')).toBe('second');
  const failing = snapshots.make('s', 'shape 1', async () => Promise.reject(new Error('no space')));
  await expect(failing).rejects.toThrow('no space');
  expect(await readFile(join(snapshots.path('s'), 'state'), 'utf8')).toBe('second');
  expect(await readdir(join(directory, 'a', 'snapshots'))).toHaveLength(1);
  await expect(snapshots.meta('other')).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
});

test.each([1_000_000, 4096, 97])('what is exported comes back in pieces of %i bytes', async (size) => {
  await make('s', 'the state');
  const other = new VmSnapshots(join(directory, 'b'), 'unikernel');
  expect(await other.import(inPieces(await exported('s'), size), 'shape 1')).toMatchObject({ name: 's' });
  expect(await readFile(join(other.path('s'), 'state'), 'utf8')).toBe('the state');
  expect((await readFile(join(other.path('s'), 'disk'))).length).toBe(100_000);
});

test('damaged, cut off, foreign and unfitting data is refused, and nothing is left', async () => {
  await make('s', 'the state');
  const data = await exported('s');
  const other = new VmSnapshots(join(directory, 'b'), 'unikernel');
  const flipped = Buffer.from(data);
  flipped[data.length - 5_000] = 8;
  const cases: readonly [Buffer, string][] = [
    [flipped, 'shape 1'],
    [data.subarray(0, data.length - 1), 'shape 1'],
    [data.subarray(0, 10), 'shape 1'],
    [Buffer.concat([data, Buffer.from('x')]), 'shape 1'],
    [Buffer.from('something else altogether\n\n'), 'shape 1'],
    [data, 'shape 2'],
  ];
  for (const [bytes, shape] of cases) {
    await expect(other.import(inPieces(bytes, 4096), shape)).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' });
  }
  const foreign = new VmSnapshots(join(directory, 'c'), 'hyper').import(inPieces(data, 4096), 'shape 1');
  await expect(foreign).rejects.toMatchObject({ code: 'SNAPSHOT_INVALID' });
  expect(await readdir(join(directory, 'b', 'snapshots')).catch(() => [])).toEqual([]);
});

test('after a crash a snapshot that was whole takes its place, and halves go', async () => {
  await make('s', 'first');
  const made = join(directory, 'a', 'snapshots');
  await rename(snapshots.path('s'), join(made, '.new-whole'));
  await mkdir(join(made, '.old-replaced'));
  await mkdir(join(made, '.new-half'));
  await writeFile(join(made, '.new-half', 'meta.json'), '{"version":1,"files":[{}');
  await snapshots.settle();
  expect(await readFile(join(snapshots.path('s'), 'state'), 'utf8')).toBe('first');
  expect(await readdir(made)).toHaveLength(1);
  await new VmSnapshots(join(directory, 'none'), 'unikernel').settle();
});
