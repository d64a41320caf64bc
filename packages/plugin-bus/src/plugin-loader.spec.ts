import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectSlot, loadPlugin } from './plugin-loader.ts';

let dir: string;
const definition = (more: string) =>
  `export default { name: 'host-x', slot: 'host', apiVersion: 1, description: '', config: {}, create() {}, ${more} };`;

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'plugin-loader-'));
  await mkdir(path.join(dir, 'good'));
  await writeFile(
    path.join(dir, 'good/package.json'),
    '{"version":"1.2.3","type":"module","exports":{".":{"default":"./main.js"}}}',
  );
  await writeFile(path.join(dir, 'good/main.js'), definition(''));
  await writeFile(path.join(dir, 'old.mjs'), definition('apiVersion: 0'));
  await writeFile(path.join(dir, 'slot.mjs'), definition(`slot: 'hosst'`));
  await writeFile(path.join(dir, 'empty.mjs'), 'export const x = 1;');
  await writeFile(path.join(dir, 'broken.mjs'), 'export default {');
  await mkdir(path.join(dir, 'node_modules/cloudos-plugin-far'), { recursive: true });
  await writeFile(
    path.join(dir, 'node_modules/cloudos-plugin-far/package.json'),
    '{"version":"3.0.0","type":"module","main":"i.js"}',
  );
  await writeFile(path.join(dir, 'node_modules/cloudos-plugin-far/i.js'), definition(''));
});
afterAll(() => rm(dir, { recursive: true }));

describe('loading a plugin', () => {
  it('takes a package folder by path', async () => {
    expect(await loadPlugin('./good', dir)).toMatchObject({ version: '1.2.3', definition: { name: 'host-x' } });
  });

  it('takes a short name of a package installed beside the stack file', async () => {
    expect(await loadPlugin('far', dir)).toMatchObject({ version: '3.0.0' });
  });

  it.each([
    ['./nowhere', 'PLUGIN_NOT_FOUND', 'nowhere'],
    ['no-such-plugin', 'PLUGIN_NOT_FOUND', '@cloudos/no-such-plugin'],
    ['./broken.mjs', 'PLUGIN_NOT_FOUND', 'broken.mjs'],
    ['./empty.mjs', 'PLUGIN_INVALID', 'default export'],
    ['./slot.mjs', 'PLUGIN_INVALID', 'slots are log, resources'],
    ['./old.mjs', 'PLUGIN_API_VERSION', 'apiVersion 0, this kernel has apiVersion 1'],
  ])('refuses %s with %s', async (reference, code, message) => {
    await expect(loadPlugin(reference, dir)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it('refuses a plugin given for another slot', async () => {
    const plugin = await loadPlugin('./good', dir);
    expect(() => expectSlot(plugin, 'guest')).toThrow('made for slot host, it was given for slot guest');
  });
});
