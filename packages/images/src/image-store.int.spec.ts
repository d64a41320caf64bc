import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom } from '@cloudos/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rootDirectory } from './forms.ts';
import { ImageStore } from './image-store.ts';
import { openStore, storeLayers, writeTar } from './images.fixture.ts';
import { importImage } from './import-image.ts';

const isRoot = process.geteuid?.() === 0;
const built = new URL('../dist/index.js', import.meta.url).href;

let store: ImageStore;
let directory: string;
let close: () => Promise<void>;

beforeEach(async () => {
  ({ store, directory, close } = await openStore());
});
afterEach(() => close());

/** Another process that works on the store. Its script finds the package as `images` and the store as `store`. */
function inProcess(script: string): ChildProcess {
  const program = `import * as images from ${JSON.stringify(built)};
    import { appendFileSync } from 'node:fs';
    const store = new images.ImageStore(${JSON.stringify(store.root)});
    ${script}`;
  return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
}

const archive = (name: string, bytes: number) =>
  writeTar(join(directory, `${name}.tar`), [
    { name: 'etc', type: 'directory' },
    { name: 'etc/name', content: name },
    { name: 'big', content: 'x'.repeat(bytes) },
  ]);

describe('several processes on one store', () => {
  it('make a form once, and lose no reference', async () => {
    const image = await storeLayers(store, 'shared:1', [[{ name: 'a', content: 'a' }]]);
    const made = join(directory, 'made');
    const script = (n: number) => `
      await store.derive('${image.digest}', 'once', async () => {
        appendFileSync(${JSON.stringify(made)}, 'made\\n');
        await new Promise((resolve) => setTimeout(resolve, 50));
      });
      for (let n = 0; n < 5; n++) await store.tag({ mediaType: 'm', digest: '${image.digest}', size: 1 }, 'p${n}:' + n);`;
    const processes = [1, 2, 3].map((n) => inProcess(script(n)));
    const codes = await Promise.all(processes.map(async (child) => (await once(child, 'exit'))[0]));
    expect(codes).toEqual([0, 0, 0]);
    expect(readFileSync(made, 'utf8')).toBe('made\n');
    expect((await store.list()).length).toBe(1 + 3 * 5);
  });

  it('wait for a lock no longer than they may', async () => {
    const { withFileLock } = await import('@cloudos/host-tools');
    const lock = join(directory, 'lock');
    const holder = spawn('flock', [lock, 'sh', '-c', 'echo held; exec sleep 100'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    await once(holder.stdout, 'data');
    const options = { waitMs: 100, busyCode: 'IMAGE_STORE_BUSY' as const };
    const run = () => withFileLock(lock, async () => 'mine', options);
    await expect(run()).rejects.toMatchObject({ code: 'IMAGE_STORE_BUSY' });
    process.kill(-(holder.pid ?? 0), 'SIGKILL');
    expect(await withFileLock(lock, async () => 'mine', { waitMs: 60_000 })).toBe('mine');
  });
});

it('a process that is killed at any moment of an import leaves a sound store', async () => {
  const seed = Number(process.env.CLOUDOS_TEST_SEED ?? Date.now() % 1_000_000);
  console.log(`seed ${seed} (CLOUDOS_TEST_SEED=${seed} repeats it)`);
  const random = new SeededRandom(seed);
  await importImage(store, { from: await archive('kept', 1_000) });
  for (let round = 0; round < 8; round++) {
    const path = await archive(`killed-${round}`, 8_000_000);
    const child = inProcess(`
      console.log('begin');
      const [image] = await images.importImage(store, { from: ${JSON.stringify(path)} });
      await images.rootDirectory(store, image);
      console.log('done');`);
    // It may have ended before what it printed is read.
    const ended = once(child, 'exit');
    await once(child.stdout ?? child, 'data');
    setTimeout(() => child.kill('SIGKILL'), random.between(0, 150));
    await ended;
    for (const { reference } of await store.list()) {
      const image = await store.resolve(reference);
      if (image.kind !== 'oci') throw new Error('not an image');
      const name = readFileSync(join(await rootDirectory(store, image), 'etc/name'), 'utf8');
      expect(`${name}:latest`).toBe(reference);
    }
    await store.gc();
    expect(readdirSync(join(store.root, 'tmp')).filter((name) => !name.startsWith(`${process.pid}-`))).toEqual([]);
  }
  expect((await store.list()).map(({ reference }) => reference)).toContain('kept:latest');
});

describe.skipIf(!isRoot)('a full disk (needs root: run as root)', () => {
  it('is said to be one, and what is there stays', async () => {
    const small = join(directory, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', small]);
    try {
      const full = new ImageStore(join(small, 'images'));
      const [kept] = await importImage(full, { from: await archive('kept', 1_000_000) });
      const big = await archive('big', 8_000_000);
      await expect(importImage(full, { from: big })).rejects.toMatchObject({ code: 'DISK_FULL' });
      if (kept?.kind !== 'oci') throw new Error('not an image');
      writeFileSync(join(small, 'filler'), Buffer.alloc(2_500_000));
      await expect(rootDirectory(full, kept)).rejects.toMatchObject({ code: 'DISK_FULL' });
      execFileSync('rm', [join(small, 'filler')]);
      await full.gc();
      expect((await full.list()).map(({ reference }) => reference)).toEqual(['kept:latest']);
      expect(existsSync(join(await rootDirectory(full, kept), 'etc/name'))).toBe(true);
    } finally {
      execFileSync('umount', [small]);
    }
  });
});
