import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool } from '@cloudos/host-tools';
import { dockerArchive, ImageStore, type ImportOptions, importImage } from '@cloudos/images';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KernelProcess } from './support/kernel-process.ts';
import { Registry } from './support/registry.ts';

const missing = ['skopeo', 'docker-registry'].filter((tool) => !findTool(tool));

/** Images of a real registry on loopback, through the command. */
describe.skipIf(missing.length > 0)(`images of a registry (${missing.join(' ') || 'all there'})`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'cloudos-registry-'));
  const kernel = new KernelProcess({ name: 'images' });
  let registry: Registry;
  let digest: string;
  const source = (suffix = ':1') => `docker://${registry.address}/team/app${suffix}`;
  const image = (...args: string[]) => kernel.cli('image', ...args, '--state-dir', kernel.stateDir);
  const importing = (...args: string[]) => image('import', ...args, '-o', 'json');
  beforeAll(async () => {
    registry = await Registry.start(join(directory, 'registry'));
    mkdirSync(join(directory, 'root'));
    writeFileSync(join(directory, 'root/app'), Buffer.alloc(3 * 2 ** 20, 'app '));
    const store = new ImageStore(join(directory, 'store'));
    const [app] = await importImage(store, { from: join(directory, 'root') }, { reference: 'app:1' });
    if (app?.kind !== 'oci') throw new Error('no image');
    const archive = `docker-archive:${await dockerArchive(store, app, 'app:1')}`;
    const digestFile = join(directory, 'digest');
    const copy = ['copy', '--quiet', '--dest-tls-verify=false', '--digestfile', digestFile, archive, source()];
    execFileSync('skopeo', copy);
    digest = execFileSync('cat', [digestFile]).toString().trim();
  }, 120_000);
  afterAll(async () => {
    await registry.stop();
    await kernel.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  it('are asked for in plain HTTP only where that is allowed by name', async () => {
    const { code, stderr } = await importing(source());
    expect(code).not.toBe(0);
    expect(stderr).toContain('REGISTRY_UNREACHABLE');
    expect(stderr).toContain('--insecure-registry');
    expect((await image('list', '-o', 'name')).stdout).toBe('');
  }, 60_000);

  it('come by tag and by digest, and are the same', async () => {
    const [tagged] = JSON.parse((await importing(source(), '--insecure-registry')).stdout);
    expect(tagged).toMatchObject({ reference: `${registry.address}/team/app:1`, kind: 'oci', digest });
    const [pinned] = JSON.parse((await importing(source(`@${digest}`), '--insecure-registry')).stdout);
    expect(pinned).toMatchObject({ digest, reference: `${registry.address}/team/app:sha256-${digest.slice(7, 19)}` });
    const named = ['--reference', 'mine:2', '--insecure-registry'];
    expect(JSON.parse((await importing(source(`@${digest}`), ...named)).stdout)).toMatchObject([
      { reference: 'mine:2' },
    ]);
    const about = await image('inspect', `${registry.address}/team/app@${digest}`, '-o', 'json');
    expect(JSON.parse(about.stdout)).toMatchObject({ digest });
  }, 60_000);

  it('tell how much of them has come', async () => {
    const seen: Parameters<NonNullable<ImportOptions['onProgress']>>[0][] = [];
    const store = new ImageStore(join(directory, 'other'));
    const options = { insecureRegistry: true, onProgress: (progress: (typeof seen)[0]) => seen.push(progress) };
    await importImage(store, { from: source(), form: 'registry' }, options);
    const copied = seen.filter(({ what }) => what === source());
    expect(copied.length).toBeGreaterThan(0);
    for (const { totalBytes } of copied) expect(totalBytes).toBeGreaterThan(1000);
    expect(seen.at(-1)).toMatchObject({ doneBytes: seen.at(-1)?.totalBytes });
  }, 60_000);

  it('that the registry does not have are not found, by tag and by digest', async () => {
    for (const suffix of [':2', `@sha256:${'0'.repeat(64)}`]) {
      const { code, stderr } = await importing(source(suffix), '--insecure-registry');
      expect([code, stderr]).toEqual([expect.not.toBeOneOf([0]), expect.stringContaining('IMAGE_NOT_FOUND')]);
    }
  }, 60_000);

  it('whose bytes are other than their digest says are refused', async () => {
    registry.damage();
    await image('remove', `${registry.address}/team/app:1`);
    const { code, stderr } = await importing(source(), '--insecure-registry');
    expect([code, stderr]).toEqual([expect.not.toBeOneOf([0]), expect.stringContaining('IMAGE_CORRUPT')]);
    expect((await image('list', '-o', 'name')).stdout).not.toContain('team/app:1');
  }, 60_000);

  it('of one that is gone are not waited for', async () => {
    await registry.stop();
    const { code, stderr } = await importing(source(), '--insecure-registry');
    expect([code, stderr]).toEqual([expect.not.toBeOneOf([0]), expect.stringContaining('REGISTRY_UNREACHABLE')]);
  }, 60_000);
});
