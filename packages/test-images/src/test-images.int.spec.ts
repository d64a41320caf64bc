import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageStore, rootDirectory } from '@cloudos/images';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildProgram } from './programs.ts';
import { counterImage, obstacleToTestImages, shellImage } from './test-images.ts';

const obstacle = obstacleToTestImages();

describe.skipIf(obstacle !== undefined)(`test images${obstacle ? ` (cannot run: ${obstacle})` : ''}`, () => {
  let directory: string;
  let store: ImageStore;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'cloudos-test-images-'));
    store = new ImageStore(directory);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('hold a static program alone, or a small userland', async () => {
    const counter = await counterImage(store);
    const root = await rootDirectory(store, counter);
    expect(statSync(join(root, 'counter')).size).toBeLessThan(1_000_000);
    expect(counter.program.entrypoint).toEqual(['/counter']);
    const shell = await rootDirectory(store, await shellImage(store));
    for (const name of ['bin/sh', 'bin/probe', 'bin/counter', 'bin/httpd'])
      expect(existsSync(join(shell, name)), name).toBe(true);
    if (process.geteuid?.() === 0) {
      expect(execFileSync('chroot', [shell, '/bin/sh', '-c', 'echo hello from $(id -un)']).toString()).toBe(
        'hello from root\n',
      );
    }
  });

  it('the counter counts, and keeps values by key', async () => {
    const port = 18_000 + (process.pid % 1_000);
    const child = spawn(await buildProgram('counter'), [String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const ask = async (method: string, path: string, body?: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        ...(body === undefined ? {} : { body }),
      });
      return `${response.status} ${await response.text()}`;
    };
    try {
      expect(await ask('GET', '/')).toBe('200 0');
      expect(await ask('POST', '/inc')).toBe('200 1');
      expect(await ask('PUT', '/kv/colour', 'green')).toBe('200 ok\n');
      expect(await ask('PUT', '/kv/colour', 'blue')).toBe('200 ok\n');
      expect(await ask('GET', '/kv/colour')).toBe('200 blue');
      expect(await ask('GET', '/kv/size')).toBe('404 no such key\n');
      expect(await ask('DELETE', '/kv/colour')).toBe('200 ok\n');
      expect(await ask('GET', '/kv/colour')).toBe('404 no such key\n');
      expect(await ask('PUT', '/kv/big', 'x'.repeat(1_025))).toMatch(/^413/);
      expect(await ask('GET', '/nothing')).toMatch(/^404/);
      expect(await ask('GET', '/')).toBe('200 1');
    } finally {
      child.kill('SIGTERM');
    }
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});
