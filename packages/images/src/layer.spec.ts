import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Entry, tarOf } from './images.fixture.ts';
import { applyLayer } from './layer.ts';

const isRoot = process.geteuid?.() === 0;
let outside: string;
let root: string;

const apply = async (...entries: Entry[]) => applyLayer(root, Readable.from([await tarOf(entries)]));
const text = (path: string) => readFileSync(join(root, path), 'utf8');

beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), 'cloudos-layer-'));
  root = join(outside, 'root');
  mkdirSync(root);
});
afterEach(() => rm(outside, { recursive: true, force: true }));

describe('a layer', () => {
  it('brings files, modes, owners, links, devices and times', async () => {
    const unpacked = await apply(
      { name: './', type: 'directory', mode: 0o751 },
      { name: 'bin', type: 'directory', mode: 0o555 },
      { name: 'bin/su', content: 'su', mode: 0o4755, uid: 0, gid: 5 },
      { name: 'bin/hard', type: 'link', linkname: 'bin/su' },
      { name: 'sh', type: 'symlink', linkname: 'bin/su' },
      { name: 'pipe', type: 'fifo', mode: 0o600 },
      { name: 'null', type: 'character-device', mode: 0o666, devmajor: 1, devminor: 3 },
    );
    const su = statSync(join(root, 'bin/su'));
    expect(su.mode & 0o7777).toBe(0o4755);
    expect(su.mtimeMs).toBe(1_000_000_000_000);
    expect(statSync(join(root, 'bin/hard')).ino).toBe(su.ino);
    expect(statSync(join(root, 'bin')).mode & 0o777).toBe(0o555);
    expect(statSync(root).mode & 0o777).toBe(0o751);
    expect(readlinkSync(join(root, 'sh'))).toBe('bin/su');
    expect(lstatSync(join(root, 'pipe')).isFIFO()).toBe(true);
    if (isRoot) {
      expect(su.gid).toBe(5);
      expect(lstatSync(join(root, 'null')).rdev).toBe(0x103);
    }
    expect(unpacked.devicesLeftOut).toBe(isRoot ? 0 : 1);
  });

  it('replaces what is below it, a directory by a file too', async () => {
    await apply({ name: 'a/b/c', content: 'old' }, { name: 'd', content: 'old' });
    await apply({ name: 'a/b', content: 'new' }, { name: 'd', type: 'symlink', linkname: '/nowhere' });
    await apply({ name: 'd', content: 'newer' });
    expect([text('a/b'), text('d')]).toEqual(['new', 'newer']);
  });

  it('removes what its whiteouts name, of the layers below alone', async () => {
    await apply({ name: 'a/old', content: '' }, { name: 'a/gone', content: '' }, { name: 'b', content: '' });
    await apply(
      { name: 'a/new', content: 'new' },
      { name: 'a/.wh..wh..opq', content: '' },
      { name: '.wh.b', content: '' },
      { name: '.wh.never', content: '' },
    );
    expect([existsSync(join(root, 'a/old')), existsSync(join(root, 'b')), text('a/new')]).toEqual([
      false,
      false,
      'new',
    ]);
  });

  it('is written below its root through symbolic links of layers before, and never elsewhere', async () => {
    await writeFile(join(outside, 'secret'), 'untouched');
    await apply(
      { name: 'absolute', type: 'symlink', linkname: '/' },
      { name: 'upwards', type: 'symlink', linkname: '../../../..' },
      { name: 'lib', type: 'symlink', linkname: 'usr/lib' },
    );
    await apply(
      { name: 'absolute/secret', content: 'one' },
      { name: 'upwards/tmp/two', content: 'two' },
      { name: 'lib/three', content: 'three' },
    );
    expect([text('secret'), text('tmp/two'), text('usr/lib/three')]).toEqual(['one', 'two', 'three']);
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('untouched');
  });

  it.each<[string, Entry]>([
    ['a name that leads out', { name: '../escaped', content: 'x' }],
    ['a name that leads out in its middle', { name: 'a/../../escaped', content: 'x' }],
    ['a hard link to a file outside', { name: 'link', type: 'link', linkname: '../secret' }],
    ['a hard link to nothing', { name: 'link', type: 'link', linkname: 'missing' }],
    ['a whiteout of its directory', { name: 'a/.wh...', content: '' }],
  ])('is refused for %s', async (_what, entry) => {
    await writeFile(join(outside, 'secret'), 'untouched');
    await expect(apply(entry)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    expect(existsSync(join(outside, 'escaped'))).toBe(false);
  });

  it('leaves alone what a link leads to that came in the place of a directory', async () => {
    mkdirSync(join(outside, 'victim'), { mode: 0o700 });
    await apply(
      { name: 'd/victim', type: 'directory', mode: 0o777, uid: 1000 },
      { name: 'd/pipe', type: 'fifo' },
      { name: 'e/victim/deeper', type: 'directory', mode: 0o777 },
      { name: 'e/device', type: 'character-device', devmajor: 1, devminor: 3 },
      { name: 'd', type: 'symlink', linkname: '..' },
      { name: 'e', type: 'symlink', linkname: outside },
    );
    expect(statSync(join(outside, 'victim'))).toMatchObject({ mode: 0o40700, uid: process.geteuid?.() });
    expect(readdirSync(outside).sort()).toEqual(['root', 'victim']);
  });

  it('follows no circle of symbolic links', async () => {
    await apply({ name: 'a', type: 'symlink', linkname: 'b' }, { name: 'b', type: 'symlink', linkname: 'a' });
    await expect(apply({ name: 'a/x', content: '' })).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  });

  it('is refused when it is cut off, or no archive', async () => {
    const whole = await tarOf([{ name: 'a', content: 'x'.repeat(2_000) }]);
    const part = applyLayer(root, Readable.from([whole.subarray(0, 1_000)]));
    await expect(part).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    const noise = applyLayer(root, Readable.from([Buffer.alloc(2_048, 'noise')]));
    await expect(noise).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  });
});
