import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageStore } from '@cloudos/images';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { barText } from './output/progress-bar.ts';
import { CliBench } from './spec-kit.ts';

describe('cloudos image', () => {
  let bench: CliBench;
  let directory: string;
  beforeEach(async () => {
    bench = await CliBench.open({ running: false });
    directory = mkdtempSync(join(tmpdir(), 'cloudos-image-'));
    mkdirSync(join(directory, 'root/bin'), { recursive: true });
    writeFileSync(join(directory, 'root/bin/app'), 'app');
  });
  afterEach(async () => {
    rmSync(directory, { recursive: true, force: true });
    await bench.close();
  });
  const run = (...args: string[]) => bench.run(['image', ...args]);

  it('imports, lists, inspects, removes and collects garbage', async () => {
    const root = join(directory, 'root');
    const imported = await run('import', root, '--reference', 'app:1', '--entrypoint', '/bin/app,-v', '--env', 'A=b=c');
    expect(imported).toMatchObject({ exitCode: 0, err: '' });
    expect(imported.out).toMatch(/^app:1 imported: oci, .* [0-9a-f]{12}\n$/);
    expect((await run('list')).out).toMatch(/^IMAGE +KIND +SIZE +DIGEST +AGE +GUESTS +FORMS\napp:1 +oci /);
    expect(JSON.parse((await run('list', '-o', 'json')).out)).toMatchObject([{ reference: 'app:1', holders: [] }]);
    const about = JSON.parse((await run('inspect', 'app:1', '-o', 'json')).out);
    expect(about).toMatchObject({
      program: { entrypoint: ['/bin/app', '-v'], env: { A: 'b=c' } },
      references: ['app:1'],
    });
    expect((await run('remove', 'app:1')).out).toBe('app:1 removed\n');
    expect((await run('gc')).out).toMatch(/^removed 1 image and 3 blobs, freed /);
    expect((await run('list')).err).toContain('No images');
  });

  it('says what is wrong, with a code', async () => {
    const missing = await run('import', './nothing');
    expect(missing.exitCode).not.toBe(0);
    expect(missing.err).toContain('IMAGE_NOT_FOUND');
    expect((await run('inspect', 'nothing:1')).err).toContain('cloudos image import');
    writeFileSync(join(directory, 'noise'), 'noise'.repeat(500));
    expect((await run('import', join(directory, 'noise'))).err).toContain('IMAGE_INVALID');
    await run('import', join(directory, 'root'), '--reference', 'app:1');
    const store = ImageStore.of(bench.stateDir);
    const image = await store.resolve('app:1');
    if (image.kind !== 'oci') throw new Error('not an image');
    await store.hold(image.digest, 'zones n1/web');
    expect((await run('remove', 'app:1')).err).toMatch(
      /IMAGE_IN_USE[\s\S]*zones n1\/web|zones n1\/web[\s\S]*IMAGE_IN_USE/,
    );
    expect(readFileSync(store.blobs.path(image.digest)).length).toBeGreaterThan(0);
  });

  it('shows how far long work is', () => {
    expect(barText('layer', 512, 1024)).toBe(`layer  ${'█'.repeat(15)}${'░'.repeat(15)}  512 B of 1 KiB`);
    expect(barText('layer', 512, undefined)).toBe('layer  512 B');
  });
});
