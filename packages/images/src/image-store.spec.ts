import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { diskFiles, dockerArchive, flatArchive, rootDirectory } from './forms.ts';
import { commandLine, type OciImage } from './image.ts';
import { ImageStore } from './image-store.ts';
import { openStore, storeLayers, tarOf, writeTar } from './images.fixture.ts';
import { formOf, importImage } from './import-image.ts';

let store: ImageStore;
let directory: string;
let file: Awaited<ReturnType<typeof openStore>>['file'];
let close: () => Promise<void>;

beforeEach(async () => {
  ({ store, directory, file, close } = await openStore());
});
afterEach(() => close());

const sample = [
  { name: 'etc', type: 'directory' as const },
  { name: 'etc/name', content: 'sample' },
];
const elf = Buffer.alloc(64);
elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0);
elf.writeUInt16LE(2, 16);

describe('import', () => {
  it('takes archives of a root, compressed or not, and gives them the same root', async () => {
    const tar = await tarOf(sample);
    const paths = [await file('one.tar', tar), await file('two.tar.gz', gzipSync(tar))];
    writeFileSync(join(directory, 'three.tar'), tar);
    execFileSync('xz', [join(directory, 'three.tar')]);
    execFileSync('zstd', ['-q', join(directory, 'one.tar'), '-o', join(directory, 'four.tar.zst')]);
    for (const path of [...paths, join(directory, 'three.tar.xz'), join(directory, 'four.tar.zst')]) {
      const [image] = await importImage(store, { from: path });
      expect(image).toMatchObject({ kind: 'oci' });
      expect(readFileSync(join(await rootDirectory(store, image as OciImage), 'etc/name'), 'utf8')).toBe('sample');
    }
    expect((await store.list()).map(({ reference }) => reference)).toEqual([
      'four:latest',
      'one:latest',
      'three:latest',
      'two:latest',
    ]);
    expect(new Set((await store.list()).map(({ digest }) => digest)).size).toBe(1);
  });

  it('takes a directory, a unikernel and disks for what they are', async () => {
    mkdirSync(join(directory, 'tree/bin'), { recursive: true });
    writeFileSync(join(directory, 'tree/bin/x'), 'x');
    const disk = Buffer.alloc(4_096);
    disk.set([0x55, 0xaa], 510);
    const qcow = Buffer.alloc(4_096);
    qcow.set([0x51, 0x46, 0x49, 0xfb], 0);
    const program = { entrypoint: ['/bin/x'], env: { A: '1' } };
    const [tree] = await importImage(store, { from: join(directory, 'tree') }, { reference: 'tree:1', program });
    expect(tree).toMatchObject({ kind: 'oci', program: { entrypoint: ['/bin/x'], env: { A: '1' } } });
    const [kernel] = await importImage(store, { from: await file('counter.elf', elf) });
    expect(kernel).toMatchObject({ kind: 'unikernel', reference: 'counter:latest', elf: { size: 64 } });
    const [raw] = await importImage(store, { from: await file('disk.img', disk) });
    expect(raw).toMatchObject({ kind: 'disk', format: 'raw', clonable: false });
    const [cow] = await importImage(store, { from: await file('disk.qcow2', qcow) }, { reference: 'cow' });
    expect(cow).toMatchObject({ kind: 'disk', format: 'qcow2', reference: 'cow:latest' });
    const linux = Buffer.alloc(0x206);
    linux.write('HdrS', 0x202, 'latin1');
    const [bzImage, initrd] = [await file('vmlinuz', linux), await file('initrd', disk)];
    const boot = { kernel: bzImage, initrd, commandLine: 'root=/dev/vda' };
    const [direct] = await importImage(
      store,
      { from: await file('direct.img', disk), form: 'disk' },
      { reference: 'direct', boot, clonable: true },
    );
    expect(direct).toMatchObject({
      kind: 'disk',
      clonable: true,
      boot: { kernel: { size: 0x206 }, commandLine: 'root=/dev/vda' },
    });
    if (direct?.kind !== 'disk') throw new Error('no disk');
    const files = await diskFiles(store, direct);
    expect(readFileSync(files.kernel ?? '').equals(linux)).toBe(true);
    expect(readFileSync(files.initrd ?? '').equals(disk)).toBe(true);
    const wrong = { reference: 'wrong', boot: { kernel: initrd } };
    await expect(importImage(store, { from: initrd, form: 'disk' }, wrong)).rejects.toMatchObject({
      code: 'IMAGE_INVALID',
    });
    expect(await store.resolve('host:')).toEqual({ kind: 'host', reference: 'host:' });
  });

  it('takes OCI layouts and docker archives, and what it writes itself', async () => {
    const image = await storeLayers(store, 'app:1', [sample, [{ name: 'etc/more', content: 'more' }]]);
    const archive = await dockerArchive(store, image, 'app:1');
    const other = new ImageStore(join(directory, 'other'));
    const [fromDocker] = await importImage(other, { from: archive });
    expect(fromDocker).toMatchObject({ kind: 'oci', reference: 'app:1', layers: image.layers });
    const third = new ImageStore(join(directory, 'third'));
    const [fromLayout] = await importImage(third, { from: store.root });
    expect(fromLayout).toMatchObject({ digest: image.digest, reference: 'app:1' });
    execFileSync('tar', ['-C', store.root, '-cf', join(directory, 'oci.tar'), 'oci-layout', 'index.json', 'blobs']);
    expect(await formOf(join(directory, 'oci.tar'))).toBe('oci-layout');
    const [fromTar] = await importImage(third, { from: join(directory, 'oci.tar') }, { reference: 'again:2' });
    expect(fromTar).toMatchObject({ digest: image.digest });
    const flat = await flatArchive(third, fromTar as OciImage);
    expect(execFileSync('tar', ['-tf', flat]).toString()).toContain('./etc/more');
  });

  it('tells how far it is', async () => {
    const seen: number[] = [];
    const path = await writeTar(join(directory, 'big.tar'), [{ name: 'big', content: 'x'.repeat(400_000) }]);
    await importImage(store, { from: path }, { onProgress: ({ doneBytes }) => seen.push(doneBytes) });
    expect(seen.at(-1)).toBe(statSync(path).size);
    expect(seen.length).toBeGreaterThan(1);
  });

  it.each([
    ['nothing', undefined, 'IMAGE_NOT_FOUND'],
    ['noise', Buffer.alloc(2_000, 'noise'), 'IMAGE_INVALID'],
    ['an empty archive', Buffer.alloc(10_240), 'IMAGE_INVALID'],
    ['a damaged gzip', Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3, 4]), 'IMAGE_INVALID'],
  ])('refuses %s and stores nothing', async (_what, content, code) => {
    const path = content === undefined ? join(directory, 'none') : await file('source', content);
    await expect(importImage(store, { from: path })).rejects.toMatchObject({ code });
    expect(await store.list()).toEqual([]);
    await store.gc();
    expect(await store.blobs.all()).toEqual([]);
  });

  it('refuses an archive that leads out of its root', async () => {
    const path = await writeTar(join(directory, 'evil.tar'), [{ name: '../../evil', content: '' }]);
    await expect(importImage(store, { from: path })).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  });
});

describe('references', () => {
  it('mean the latest import, by name and tag or by digest', async () => {
    const one = await storeLayers(store, 'app', [sample]);
    const two = await storeLayers(store, 'app:latest', [[{ name: 'two', content: '2' }]]);
    expect(await store.resolve('app')).toMatchObject({ digest: two.digest, reference: 'app:latest' });
    expect(await store.resolve(one.digest)).toMatchObject({ digest: one.digest });
    expect(await store.resolve(`whatever@${one.digest}`)).toMatchObject({ digest: one.digest });
    await expect(store.resolve('other')).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
    await expect(store.resolve('No such $name')).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
  });
});

describe('damage', () => {
  const flip = (path: string) => {
    const content = readFileSync(path);
    content[Math.floor(content.length / 2)] = (content[Math.floor(content.length / 2)] ?? 0) ^ 0xff;
    writeFileSync(path, content);
  };

  it('of a layer is found when it is unpacked, and nothing is kept of the attempt', async () => {
    const image = await storeLayers(store, 'app:1', [sample]);
    flip(store.blobs.path(image.layers[0]?.digest ?? ''));
    const found = await rootDirectory(store, image).catch((error: unknown) => error);
    expect(found).toMatchObject({ code: 'IMAGE_CORRUPT', details: { expected: image.layers[0]?.digest } });
    expect((found as { details: { found: string } }).details.found).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(existsSync(join(store.root, 'derived'))).toBe(false);
    // Importing again mends it.
    await storeLayers(store, 'app:1', [sample]);
    expect(existsSync(join(await rootDirectory(store, image), 'etc/name'))).toBe(true);
  });

  it('of a manifest is found when the image is looked up', async () => {
    const image = await storeLayers(store, 'app:1', [sample]);
    flip(store.blobs.path(image.digest));
    await expect(store.resolve('app:1')).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' });
  });

  it('of a source is found while it is imported', async () => {
    const image = await storeLayers(store, 'app:1', [sample]);
    flip(store.blobs.path(image.layers[0]?.digest ?? ''));
    const other = new ImageStore(join(directory, 'other'));
    await expect(importImage(other, { from: store.root })).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' });
    expect(await other.list()).toEqual([]);
  });
});

describe('garbage', () => {
  it('is what neither a reference nor a guest keeps, with all that was made of it', async () => {
    const one = await storeLayers(store, 'app:1', [sample]);
    await rootDirectory(store, one);
    await store.hold(one.digest, 'zones n1/a');
    const two = await storeLayers(store, 'app:1', [[{ name: 'two', content: '2' }]]);
    expect(await store.gc()).toMatchObject({ images: [], blobs: 0 });
    expect(await store.resolve(one.digest)).toMatchObject({ digest: one.digest });
    await store.release(one.digest, 'zones n1/a');
    const report = await store.gc();
    expect(report).toMatchObject({ images: [one.digest], blobs: 3 });
    expect(report.freedBytes).toBeGreaterThan(0);
    expect(readdirSync(join(store.root, 'derived'))).toEqual([]);
    await expect(store.hold(one.digest, 'zones n1/b')).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
    expect(await store.holds()).toEqual(new Map());
    expect((await store.blobs.all()).length).toBe(3);
    expect(await store.resolve('app:1')).toMatchObject({ digest: two.digest });
  });

  it('is not what a guest uses: the last reference is not taken from it', async () => {
    const image = await storeLayers(store, 'app:1', [sample]);
    await store.tag({ mediaType: 'x', digest: image.digest, size: 1 }, 'app:2');
    await store.hold(image.digest, 'docker n1/a');
    await store.remove('app:2');
    await expect(store.remove('app:1')).rejects.toMatchObject({
      code: 'IMAGE_IN_USE',
      message: expect.stringContaining('docker n1/a'),
    });
    await store.sweepHolds('docker n1/', new Set());
    await store.remove('app:1');
    expect(await store.list()).toMatchObject([{ reference: image.digest }]);
    await store.gc();
    expect(await store.list()).toEqual([]);
  });
});

describe('a command line', () => {
  const program = { entrypoint: ['/bin/x'], cmd: ['a', 'b'] };
  it.each([
    [{}, ['/bin/x', 'a', 'b']],
    [{ args: ['c'] }, ['/bin/x', 'c']],
    [{ command: ['/y'] }, ['/y']],
    [{ command: ['/y'], args: ['c'] }, ['/y', 'c']],
  ])('of %j', (template, expected) => {
    expect(commandLine(template, program)).toEqual(expected);
  });
});
